package report

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
)

// What is logged is told in words on a terminal, with nothing in it that a terminal would obey.
func TestLogOnATerminal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	s := NewScreen(&b)
	s.UseTerminal(true)
	log := s.Log(slog.LevelDebug)
	log.Info("sheet read", "rows", 3)
	log.With("account", "main").WithGroup("call").With("id", 1).Warn("no answer \x1b[31m", "open_calls", 2, "error", errors.New("it\nbroke"), "after", time.Second)
	log.Error("no room")
	log.Debug("call")
	s.Log(slog.LevelWarn).Info("not told")
	want := "sheet read: rows 3\n" +
		"warning: no answer \ufffd[31m: account main, call.id 1, call.open calls 2, call.error it broke, call.after 1s\n" +
		"error: no room\ndebug: call\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The words of results have colours on a terminal that shows some, and nothing else has.
func TestColoursOfResults(t *testing.T) {
	t.Parallel()
	const text = "off.csv: 3 rows\n  done          2\n         1  failed\n  failed        1\n         1  E7\ndone 5\n"
	coloured := "off.csv: 3 rows\n  \x1b[32mdone\x1b[0m          2\n         1  failed\n  \x1b[31mfailed\x1b[0m        1\n         1  E7\ndone 5\n"
	for name, tt := range map[string]struct {
		use  func(s *Screen)
		want string
	}{
		"file":       {func(*Screen) {}, text},
		"terminal":   {func(s *Screen) { s.UseTerminal(true) }, coloured},
		"no colours": {func(s *Screen) { s.UseTerminal(false) }, text},
		"machine":    {func(s *Screen) { s.UseTerminal(true); s.UseJSON() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			s := NewScreen(&b)
			tt.use(s)
			s.Tell(Event{Text: text})
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, r := range results(&batch.Counts{}) {
		if summaryColours[r.Word] == "" {
			t.Errorf("%s has no colour", r.Word)
		}
	}
}
