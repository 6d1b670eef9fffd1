package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A sheet that can not be opened is told once, with what is there instead.
func TestSheetsThatAreNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))
	must(t, os.Mkdir(filepath.Join(dir, "list.numbers"), 0o700))
	must(t, os.Mkdir(filepath.Join(dir, "many"), 0o700))
	for _, name := range []string{"offboarding.csv", "offboarding.results.csv", "june.xlsx", "notes.md", "many/a.csv", "many/b.csv", "many/c.tsv", "many/d.txt", "many/e.xlsx", "many/f.csv"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("x\n"), 0o600))
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, tc := range []struct{ name, sheet, want, hint string }{
		{"a slip", "ofboarding.csv", "open the sheet: there is no file " + in("ofboarding.csv"), "Did you mean " + in("offboarding.csv") + "?"},
		{"another ending", "june.csv", "open the sheet: there is no file " + in("june.csv"), "Did you mean " + in("june.xlsx") + "?"},
		{"no ending", "JUNE", "open the sheet: there is no file " + in("JUNE"), "Did you mean " + in("june.xlsx") + "?"},
		{"nothing near", "x.csv", "open the sheet: there is no file " + in("x.csv"), "The folder has june.xlsx, offboarding.csv."},
		{"nothing there", "empty/x.csv", "open the sheet: there is no file " + in("empty/x.csv"), "There is no sheet in that folder."},
		{"no folder", "ofboarding/x.csv", "open the sheet: there is no folder " + in("ofboarding") + ", and no x.csv in it", "Check the path; it counts from the current folder."},
		{"a folder", "many", in("many") + " is a folder, not a sheet", "The folder has a.csv, b.csv, c.tsv, d.txt, e.xlsx and 1 more."},
		{"an empty folder", "empty", in("empty") + " is a folder, not a sheet", "There is no sheet in that folder."},
		{"Numbers", "list.numbers", in("list.numbers") + " is a spreadsheet of Apple Numbers", "Export it as Excel (.xlsx) or as CSV UTF-8 (File, Export To)."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, command := range []string{"run", "plan"} {
				var stdout, stderr bytes.Buffer
				code := run(t.Context(), []string{command, "--sandbox", in(tc.sheet)}, strings.NewReader(""), &stdout, &stderr)
				want := "bulkrevoke: error: " + tc.want + "\nbulkrevoke: hint: " + tc.hint + "\n"
				if code != exitRefused || stderr.String() != want {
					t.Errorf("%s ended with %d and %q, want %q", command, code, stderr.String(), want)
				}
			}
		})
	}
}

// A result file away from its ledger would be sent again as a whole: it is told what
// it is, and what can be done.
func TestResultWithoutItsLedger(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.runs(exitDone, "run", r.sheet(lead("revoke", 1)))
	must(t, os.Mkdir(r.path("away"), 0o700))
	data, err := os.ReadFile(r.path("off.results.csv"))
	must(t, err)
	name := r.write("away/off.results.csv", string(data))
	for _, command := range []string{"plan", "run"} {
		got := r.runs(exitRefused, command, name)
		for _, want := range []string{"is the result of an earlier run, and its ledger " + r.path("away/off.ledger.db") + " is not there", "--ledger", "-o"} {
			if !strings.Contains(got.stderr, want) {
				t.Errorf("%s: got %q, want %q in it", command, got.stderr, want)
			}
		}
	}
	got := r.runs(exitRefused, "run", name, "--ledger", r.path("away/other.ledger.db"))
	if want := "other.ledger.db is not there"; !strings.Contains(got.stderr, want) {
		t.Errorf("got %q, want %q in it", got.stderr, want)
	}
	if n := r.changes(); n != 1 {
		t.Errorf("%d changes, want 1", n)
	}
	r.runs(exitDone, "run", name, "-o", r.path("away/again.csv"))
	if n := r.changes(); n != 2 {
		t.Errorf("%d changes after starting over, want 2", n)
	}
}

// A result file that somebody has given another column, or taken one from, is none any
// more: it would have a ledger of its own, and all of it would be sent again.
func TestResultWithAnEditedBlock(t *testing.T) {
	t.Parallel()
	const block = "line,result,request_id,code,message,http_status,attempts,call_id,sent_at,confirmed_at"
	for _, tc := range []struct{ name, header, want string }{
		{"a column behind it", "action,object,record_id,user,context_id," + block + ",comment", "do not stand in their order at the end"},
		{"another order", "action,object,record_id,user,context_id,result,line" + strings.TrimPrefix(block, "line,result"), "do not stand in their order at the end"},
		{"in front", block + ",action,object,record_id,user,context_id", "do not stand in their order at the end"},
		{"a column taken out", "action,object,record_id,user,context_id," + strings.Replace(block, ",sent_at", "", 1), "are not whole, without sent_at"},
		{"some columns of these names", "action,object,record_id,user,context_id,line,result,code,message", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			cells := strings.Split(tc.header, ",")
			for i, name := range cells {
				cells[i] = map[string]string{"action": "revoke", "object": "lead", "record_id": "869196",
					"user": "00000000-0000-4000-8000-000000000001", "context_id": "00000000-0000-4000-8000-000000000002"}[name]
			}
			name := r.write("off.results.csv", tc.header+"\n"+strings.Join(cells, ",")+"\n")
			if tc.want == "" {
				r.runs(exitDone, "plan", name)
				return
			}
			for _, command := range []string{"plan", "run"} {
				if got := r.runs(exitRefused, command, name); !strings.Contains(got.stderr, "has the columns of a result, which "+tc.want) {
					t.Errorf("%s: got %q, want %q in it", command, got.stderr, tc.want)
				}
			}
			r.runs(exitDone, "run", name, "--ledger", r.path("new.ledger.db"))
			if n := r.changes(); n != 1 {
				t.Errorf("%d changes, want 1", n)
			}
		})
	}
}

// A slip in the name of a column that need not be there has its values carried through
// and not heeded: it is told.
func TestNearColumns(t *testing.T) {
	t.Parallel()
	const needed = "action,object,record_id,user"
	for _, tc := range []struct{ name, header, want string }{
		{"a slip", needed + ",acount", "column=acount near=account"},
		{"in another name of ours", needed + ",DurationInMinuts", "column=DurationInMinuts near=duration_minutes"},
		{"a permission", needed + ",AddUserToGroup", "column=AddUserToGroup near=AddUsersToGroup"},
		{"the column is there", needed + ",accounts,account", ""},
		{"another way to name the user", needed + ",mail", ""},
		{"nothing near", needed + ",note,Department", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			more := strings.Count(tc.header, ",") - strings.Count(needed, ",")
			name := r.write("off.csv", tc.header+"\nrevoke,opportunity,00000000-0000-4000-8000-000000000003,00000000-0000-4000-8000-000000000001"+strings.Repeat(",", more)+"\n")
			got := r.runs(exitDone, "plan", name)
			if told := strings.Contains(got.stderr, "nearly called as one of ours"); told != (tc.want != "") || !strings.Contains(got.stderr, tc.want) {
				t.Errorf("got %q, want %q in it", got.stderr, tc.want)
			}
			if tc.want != "" {
				column, _, _ := strings.Cut(strings.TrimPrefix(tc.want, "column="), " ")
				if got := r.runs(exitDone, "plan", name, "--map", column+"=none"); strings.Contains(got.stderr, "nearly called") {
					t.Errorf("got %q of a column that --map names", got.stderr)
				}
			}
		})
	}
}
