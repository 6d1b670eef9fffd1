package report

import (
	"context"
	"log/slog"
	"regexp"
	"slices"
	"strings"
)

// UseTerminal has the screen write for somebody who sits before it from now on: what is logged is
// told in words, and with colour the words of results have one. A screen for machines stays one.
func (s *Screen) UseTerminal(colour bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.terminal, s.colour = true, colour
}

// summaryLine is a line of a summary that begins with the word of a result.
var summaryLine = regexp.MustCompile(`(?m)^  (done|unchanged|accepted|failed|in_doubt|invalid|not_attempted|not_due)( +\d)`)

// summaryColours are those of a terminal, by what a word asks of somebody: nothing, to wait, to
// look, to mend.
var summaryColours = map[string]string{
	"done": "32", "unchanged": "32", "accepted": "36", "not_due": "36", "not_attempted": "33", "in_doubt": "33", "invalid": "31", "failed": "31",
}

// coloured gives the words of results their colours.
func coloured(text string) string {
	return summaryLine.ReplaceAllStringFunc(text, func(line string) string {
		m := summaryLine.FindStringSubmatch(line)
		return "  \x1b[" + summaryColours[m[1]] + "m" + m[1] + "\x1b[0m" + m[2]
	})
}

// spoken is a log whose lines are told to somebody before a terminal.
type spoken struct {
	s     *Screen
	level slog.Level
	group string // "" or what keys begin with
	attrs []slog.Attr
}

func (h spoken) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h spoken) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	switch {
	case r.Level >= slog.LevelError:
		b.WriteString("error: ")
	case r.Level >= slog.LevelWarn:
		b.WriteString("warning: ")
	case r.Level < slog.LevelInfo:
		b.WriteString("debug: ")
	}
	b.WriteString(Printable(r.Message))
	between := ": "
	tell := func(a slog.Attr) {
		a = safeAttr(nil, a)
		b.WriteString(between + strings.ReplaceAll(a.Key, "_", " ") + " " + a.Value.Resolve().String())
		between = ", "
	}
	for _, a := range h.attrs {
		tell(a)
	}
	r.Attrs(func(a slog.Attr) bool {
		a.Key = h.group + a.Key
		tell(a)
		return true
	})
	b.WriteByte('\n')
	_, err := h.s.line([]byte(b.String()))
	return err
}

func (h spoken) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		a.Key = h.group + a.Key
		h.attrs = append(h.attrs, a)
	}
	return h
}

func (h spoken) WithGroup(name string) slog.Handler {
	if name != "" {
		h.group += name + "."
	}
	return h
}
