package report

import (
	"io"
	"sync"
)

// Screen is where a run talks to its user: whole lines, and on a terminal one
// status line below them. It is safe for concurrent use, so that a log and a
// progress bar can share it.
type Screen struct {
	mu     sync.Mutex // guards everything below
	w      io.Writer
	status string
}

// NewScreen returns a screen on w.
func NewScreen(w io.Writer) *Screen { return &Screen{w: w} }

// clearLine goes to the start of the line and clears it.
const clearLine = "\r\x1b[K"

// Write writes whole lines above the status line.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == "" {
		return s.w.Write(p)
	}
	if _, err := io.WriteString(s.w, clearLine); err != nil {
		return 0, err
	}
	n, err := s.w.Write(p)
	if err == nil {
		_, err = io.WriteString(s.w, s.status)
	}
	return n, err
}

// Status shows text as the status line, or takes the line away if text is empty.
// It is for terminals: the line is rewritten in place.
func (s *Screen) Status(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == s.status {
		return
	}
	s.status = text
	// A terminal that has gone away is no reason to stop the run.
	_, _ = io.WriteString(s.w, clearLine+text)
}
