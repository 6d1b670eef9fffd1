package main

import (
	"os"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A name that promises another format than what is written is refused, whichever
// file it is of, and before anything is sent.
func TestNamesThatPromiseAnotherFormat(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(leads(1)...)
	for _, tc := range []struct {
		flag, name, promised, choice string
	}{
		{"-o", "r.ods", "an OpenDocument spreadsheet", ".xlsx"},
		{"-o", "r.xls", "an old Excel workbook", ".xlsx"},
		{"-o", "r.XLSM", "an Excel workbook with macros", ".csv"},
		{"-o", "r.xlsb", "a binary Excel workbook", ".csv"},
		{"-o", "r.numbers", "a Numbers spreadsheet", ".csv"},
		{"-o", "r.json", "JSON", ".csv"},
		{"-o", "r.csv.gz", "gzip", ".csv"},
		{"--ledger", "l.csv", "CSV", ".db"},
		{"--report", "r.pdf", "PDF", ".html"},
		{"--summary", "s.csv", "CSV", ".json"},
		{"--metrics-file", "m.html", "HTML", ".prom"},
	} {
		got := r.runs(exitRefused, "run", path, tc.flag, r.path(tc.name))
		if !strings.Contains(got.stderr, tc.name+": the name says "+tc.promised) || !strings.Contains(got.stderr, tc.choice) {
			t.Errorf("%s %s: it says:\n%s", tc.flag, tc.name, got.stderr)
		}
	}
	r.runs(exitDone, "run", path)
	for _, tc := range []struct{ command, name string }{
		{"results", "r.ods"}, {"undo", "u.xlsx"}, {"undo", "u.ods"}, {"verify", "v.xlsx"}, {"verify", "v.numbers"},
	} {
		got := r.runs(exitRefused, tc.command, path, "-o", r.path(tc.name))
		if !strings.Contains(got.stderr, tc.name+": the name says ") {
			t.Errorf("%s -o %s: it says:\n%s", tc.command, tc.name, got.stderr)
		}
	}
	entries, err := os.ReadDir(r.dir)
	must(t, err)
	for _, e := range entries {
		switch e.Name() {
		case "off.csv", "off.results.csv", "off.ledger.db", "bulkrevoke.yaml", "state":
		default:
			t.Errorf("%s was made", e.Name())
		}
	}
	// What promises nothing, or the right thing, is written.
	r.runs(exitDone, "run", path, "--report", r.path("r.htm"), "--summary", r.path("s.txt"), "--metrics-file", r.path("m"))
}
