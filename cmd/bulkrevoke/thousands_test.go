package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// Thousands of equal mistakes are told in a few lines. As JSON the first thousand have a
// line each, and a result that was asked for has them all.
func TestThousandsOfEqualMistakes(t *testing.T) {
	t.Parallel()
	const rows = 3_100
	r := newRig(t, sandbox.Config{})
	var text strings.Builder
	text.WriteString(rigHead)
	for i := range rows {
		fmt.Fprintln(&text, strings.Replace(lead("revoke", i), fmt.Sprintf(",%d,", 7000+i), fmt.Sprintf(",%dX,", 7000+i), 1))
	}
	off := r.write("off.csv", text.String()+lead("revoke", rows)+"\n")
	got := r.runs(exitRefused, "run", off)
	for _, want := range []string{`off.csv:2: record_id: `, `"7000X"`, "off.csv:6: ", "and 3095 more like it (lines 7-3101)", "3100 rows are invalid, nothing was sent"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("it says nothing of %q:\n%.2000s", want, got.stderr)
		}
	}
	if n := strings.Count(got.stderr, "\n"); n > 10 {
		t.Errorf("%d lines for one kind of mistake", n)
	}
	got = r.runs(exitRefused, "run", "--log-format", "json", off)
	if n := strings.Count(got.stderr, `"value":`); n != 1_000 {
		t.Errorf("%d rows as JSON, want the first 1000", n)
	}
	if n := r.changes(); n != 0 {
		t.Errorf("%d changes were sent", n)
	}
	r.runs(exitOpen, "run", "--skip-invalid", off)
	raw, err := os.ReadFile(r.path("off.results.csv"))
	must(t, err)
	if n := strings.Count(string(raw), ",invalid,"); n < rows {
		t.Errorf("the result has %d invalid rows, want %d", n, rows)
	}
}
