package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name                  string
		sheet, output, ledger string
		isResult, sandbox     bool
		want                  [4]string // the sheet and its result, ledger and state
	}{
		{"beside the sheet", "d/off.csv", "", "", false, false, [4]string{"d/off.csv", "d/off.results.csv", "d/off.ledger.db", "d/off.state"}},
		{"tabs", "off.tsv", "", "", false, false, [4]string{"off.tsv", "off.results.csv", "off.ledger.db", "off.state"}},
		{"no extension", "off", "", "", false, false, [4]string{"off", "off.results.csv", "off.ledger.db", "off.state"}},
		{"result elsewhere", "in/off.csv", "out/done.csv", "", false, false, [4]string{"in/off.csv", "out/done.csv", "out/off.ledger.db", "out/off.state"}},
		{"ledger elsewhere", "off.csv", "", "x/l.db", false, false, [4]string{"off.csv", "off.results.csv", "x/l.db", "x/l.db.state"}},
		{"sandbox", "d/off.csv", "", "", false, true, [4]string{"d/off.csv", "d/off.sandbox.results.csv", "d/off.sandbox.ledger.db", "d/off.sandbox.state"}},
		{"result as input", "off.results.csv", "", "", true, false, [4]string{"off.results.csv", "off.results.csv", "off.ledger.db", "off.state"}},
		{"result of a sandbox as input", "off.sandbox.results.csv", "", "", true, true, [4]string{"off.sandbox.results.csv", "off.sandbox.results.csv", "off.sandbox.ledger.db", "off.sandbox.state"}},
		{"result tried in a sandbox", "off.results.csv", "", "", true, true, [4]string{"off.results.csv", "off.sandbox.results.csv", "off.sandbox.ledger.db", "off.sandbox.state"}},
		{"called a result and none", "off.results.csv", "", "", false, false, [4]string{"off.results.csv", "off.results.results.csv", "off.results.ledger.db", "off.results.state"}},
		{"a result by another name", "mend.csv", "", "", true, false, [4]string{"mend.csv", "mend.results.csv", "mend.ledger.db", "mend.state"}},
		{"workbook", "off.xlsx", "", "", false, false, [4]string{"off.xlsx", "off.results.csv", "off.ledger.db", "off.state"}},
		{"workbook as the result", "d/off.csv", "d/off.results.xlsx", "", false, false, [4]string{"d/off.csv", "d/off.results.xlsx", "d/off.ledger.db", "d/off.state"}},
		{"workbook result as input", "off.results.xlsx", "", "", true, false, [4]string{"off.results.xlsx", "off.results.csv", "off.ledger.db", "off.state"}},
		{"undo sheet", "d/off.undo.csv", "", "", false, false, [4]string{"d/off.undo.csv", "d/off.undo.results.csv", "d/off.ledger.db", "d/off.state"}},
		{"undo sheet as a workbook", "off.Undo.xlsx", "", "", false, false, [4]string{"off.Undo.xlsx", "off.Undo.results.csv", "off.ledger.db", "off.state"}},
		{"undo sheet, result elsewhere", "d/off.undo.csv", "out/back.csv", "", false, false, [4]string{"d/off.undo.csv", "out/back.csv", "out/off.ledger.db", "out/off.state"}},
		{"result of an undo sheet", "off.undo.results.csv", "", "", true, false, [4]string{"off.undo.results.csv", "off.undo.results.csv", "off.ledger.db", "off.state"}},
		{"undo sheet of a sandbox", "off.sandbox.undo.csv", "", "", false, true, [4]string{"off.sandbox.undo.csv", "off.sandbox.undo.results.csv", "off.sandbox.ledger.db", "off.sandbox.state"}},
		{"undo sheet tried in a sandbox", "off.undo.csv", "", "", false, true, [4]string{"off.undo.csv", "off.sandbox.undo.results.csv", "off.sandbox.ledger.db", "off.sandbox.state"}},
		{"undo sheet with a ledger", "off.undo.csv", "", "l.ledger.db", false, false, [4]string{"off.undo.csv", "off.undo.results.csv", "l.ledger.db", "l.state"}},
		{"standard input", "-", "o.csv", "l.ledger.db", false, false, [4]string{"-", "o.csv", "l.ledger.db", "l.state"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := namesOf(filepath.FromSlash(tc.sheet), filepath.FromSlash(tc.output), filepath.FromSlash(tc.ledger), tc.isResult, tc.sandbox, false)
			if err != nil {
				t.Fatal(err)
			}
			files := [4]string{filepath.ToSlash(got.sheet), filepath.ToSlash(got.output), filepath.ToSlash(got.ledger), filepath.ToSlash(got.state)}
			if diff := cmp.Diff(tc.want, files); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamesThatCollideAreRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ sheet, output, ledger, want string }{
		{"-", "", "l.db", "needs -o and --ledger"},
		{"-", "o.csv", "", "needs -o and --ledger"},
		{"off.csv", "", "./off.csv", "the ledger and the sheet"},
		{"off.csv", "x.db", "x.db", "the ledger and the result"},
	} {
		if _, err := namesOf(tc.sheet, tc.output, tc.ledger, false, false, false); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("namesOf(%q, %q, %q): error is %v, want one with %q", tc.sheet, tc.output, tc.ledger, err, tc.want)
		}
	}
}

func TestAsideNamesKeepTheKind(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"d/off.results.csv":         "d/off.S.results.csv",
		"d/off.results.xlsx":        "d/off.S.results.xlsx",
		"d/off.sandbox.ledger.db":   "d/off.sandbox.S.ledger.db",
		"off.state":                 "off.S.state",
		"done.csv":                  "done.S.csv",
		"ledger":                    "ledger.S",
		"d.results.csv/off.results": "d.results.csv/off.S.results",
	} {
		if got := filepath.ToSlash(asideName(filepath.FromSlash(path), "S")); got != want {
			t.Errorf("asideName(%q) is %q, want %q", path, got, want)
		}
	}
}

func TestStateFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got, err := stateFolder(environment(map[string]string{"BULKREVOKE_STATE": dir, "XDG_STATE_HOME": "/elsewhere"}))
	if err != nil || got != dir {
		t.Errorf("folder is %q, error %v; want %q", got, err, dir)
	}
}
