package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// What a killed run left of the files that it was writing is gone after the next run of
// the sheet; what is somebody else's, or is being written, stays.
func TestNextRunSweeps(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(leads(1)...)
	for name, want := range map[string]bool{ // whether it stays
		".off.results.csv.ABCDEFGHIJ.tmp":      false,
		".off.results.csv.2345672345.tmp":      false,
		".r.html.ABCDEFGHIJ.tmp":               false,
		".s.json.ABCDEFGHIJ.tmp":               false,
		".ledger-974b68981185.123.tmp":         false, // the hash is that of off.ledger.db
		".ledger-974b68981185.123.tmp-journal": false,
		".ledger-0123456789ab.123.tmp":         true, // of another ledger
		".off.results.csv.abcdefghij.tmp":      true, // not of our form
		".off.results.csv.ABCDEFGHIJK.tmp":     true,
		".off.results.csv.ABCDEFGHIJ.tmp.x":    true,
		".off2.results.csv.ABCDEFGHIJ.tmp":     true, // of another sheet
		"off.results.csv.ABCDEFGHIJ.tmp":       true,
		".off.results.csv.KLMNOPQRST.tmp":      true, // written to just now
	} {
		file := r.write(name, "somebody's data")
		written := time.Now().Add(-time.Minute)
		if name == ".off.results.csv.KLMNOPQRST.tmp" {
			written = time.Now().Add(time.Hour)
		}
		must(t, os.Chtimes(file, written, written))
		defer func() {
			if _, err := os.Stat(file); (err == nil) != want {
				t.Errorf("%s: stays %v, want %v", name, err == nil, want)
			}
		}()
	}
	must(t, os.Mkdir(filepath.Join(r.dir, ".off.results.csv.ZZZZZZZZZZ.tmp"), 0o700))
	r.runs(exitDone, "run", path, "--report", r.path("r.html"), "--summary", r.path("s.json"))
	for _, tc := range []struct{ file, command, output string }{
		{".off.undo.csv.ABCDEFGHIJ.tmp", "undo", "off.undo.csv"},
		{".v.csv.ABCDEFGHIJ.tmp", "verify", "v.csv"},
		{".all.csv.ABCDEFGHIJ.tmp", "results", "all.csv"},
	} {
		file := r.write(tc.file, "somebody's data")
		must(t, os.Chtimes(file, time.Now().Add(-time.Minute), time.Now().Add(-time.Minute)))
		r.runs(exitDone, tc.command, path, "-o", r.path(tc.output))
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: %s stays", tc.command, tc.file)
		}
	}
	if _, err := os.Stat(r.path(".off.results.csv.ZZZZZZZZZZ.tmp")); err != nil {
		t.Errorf("a folder was taken for a file: %v", err)
	}
}
