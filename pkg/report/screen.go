package report

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// Screen is where a command talks to its user: everything that goes to standard error
// goes through it, in one of two forms. For people it is whole lines, and on a terminal
// one status line below them, where logs too are told in words; for machines, after UseJSON, it is one JSON object a line,
// each with time, level and msg. It is safe for concurrent use.
type Screen struct {
	mu      sync.Mutex // guards everything below
	w       io.Writer
	status  string
	asking  bool // a question stands at the end of the last line
	machine bool // JSON

	terminal bool // for somebody before a terminal
	colour   bool // the words of results have one there
}

// NewScreen returns a screen on w, for people.
func NewScreen(w io.Writer) *Screen { return &Screen{w: w} }

// UseJSON has the screen write for machines from now on.
func (s *Screen) UseJSON() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine = true
}

// JSON reports whether the screen writes for machines.
func (s *Screen) JSON() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine
}

// Event is something to tell, in both forms.
type Event struct {
	Text string // whole lines for people; "" tells them nothing
	// Name is the msg for machines, the same each time; "" tells them nothing. Level and
	// Attrs stand beside it.
	Name  string
	Level slog.Level
	Attrs []slog.Attr
}

// Tell tells of an event.
func (s *Screen) Tell(e Event) {
	if !s.JSON() {
		s.mu.Lock()
		colour := s.colour
		s.mu.Unlock()
		if colour {
			e.Text = coloured(e.Text)
		}
		_, _ = s.line([]byte(e.Text))
		return
	}
	if e.Name == "" {
		return
	}
	s.Log(slog.LevelDebug).LogAttrs(context.Background(), e.Level, e.Name, e.Attrs...)
}

// Log returns a log that writes lines of at least the given level to the screen, in the
// form that it has now.
func (s *Screen) Log(level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: safeAttr}
	s.mu.Lock()
	machine, terminal := s.machine, s.terminal
	s.mu.Unlock()
	switch {
	case machine:
		return slog.New(slog.NewJSONHandler(lines{s}, opts))
	case terminal:
		return slog.New(spoken{s: s, level: level})
	}
	return slog.New(slog.NewTextHandler(lines{s}, opts))
}

// Missed is the line that tells of so many that nobody has read and that were dropped.
func (s *Screen) Missed(n int) []byte {
	var b bytes.Buffer
	other := &Screen{w: &b, machine: s.JSON()}
	text := Count(int64(n), "line") + plural(int64(n), " has", " have") + " not been shown here: nobody read them in time"
	other.Tell(Event{Text: text + "\n", Name: "lines dropped", Level: slog.LevelWarn, Attrs: []slog.Attr{slog.Int("lines", n)}})
	return b.Bytes()
}

// lines writes lines to a screen as they are.
type lines struct{ s *Screen }

func (l lines) Write(p []byte) (int, error) { return l.s.line(p) }

// clearLine goes to the start of the line and clears it.
const clearLine = "\r\x1b[K"

// Write writes whole lines above the status line. For machines each of them is the msg
// of an object.
func (s *Screen) Write(p []byte) (int, error) {
	if !s.JSON() {
		return s.line(p)
	}
	for text := range strings.Lines(string(p)) {
		if text = strings.TrimSpace(text); text != "" {
			s.Tell(Event{Name: Printable(text)})
		}
	}
	return len(p), nil
}

// line writes whole lines as they are, above the status line and below a question.
func (s *Screen) line(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	around := bytes.Buffer{}
	switch {
	case s.asking:
		around.WriteByte('\n')
	case s.status != "":
		around.WriteString(clearLine)
	}
	s.asking = false
	around.Write(p)
	around.WriteString(s.status)
	_, err := s.w.Write(around.Bytes())
	return len(p), err
}

// Ask shows a question, which the answer is to stand behind.
func (s *Screen) Ask(question string) {
	if s.JSON() {
		s.Tell(Event{Name: "question", Attrs: []slog.Attr{slog.String("question", question)}})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking = true
	_, _ = io.WriteString(s.w, question)
}

// Answered says that somebody has answered, and so ended the line.
func (s *Screen) Answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking = false
}

// Status shows text as the status line, or takes the line away if text is empty.
// It is for terminals: the line is rewritten in place.
func (s *Screen) Status(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == s.status || s.machine {
		return
	}
	s.status = text
	// A terminal that has gone away is no reason to stop the run.
	_, _ = io.WriteString(s.w, clearLine+text)
}

// safeAttr takes out of an attribute what a text from outside could do to a terminal or
// to another line.
func safeAttr(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		a.Value = slog.StringValue(Printable(v))
	case error:
		a.Value = slog.StringValue(Printable(v.Error()))
	}
	return a
}
