package main

import (
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A terminal that can not draw over a line gets lines, and no escape sequence.
func TestProgressOnADumbTerminal(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		term string
		bar  bool
	}{{"dumb", false}, {"xterm", true}, {"", true}} {
		t.Run(tc.term, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{Latency: func() time.Duration { return 400 * time.Millisecond }})
			r.env["TERM"] = tc.term
			got := r.runs(exitDone, "run", "--progress", "always", r.sheet(leads(2)...)).stderr
			if bar := strings.ContainsAny(got, "\x1b\r"); bar != tc.bar {
				t.Errorf("a line is drawn over: %v, want %v: %q", bar, tc.bar, got)
			}
			if line := strings.Contains(got, "running: 2 of 2 rows done"); line == tc.bar {
				t.Errorf("a line says how it went: %v, want %v: %q", line, !tc.bar, got)
			}
		})
	}
}
