package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// takenRows are revokes on everything that can be revoked, and seed what they take.
func takenRows(r *rig) []string {
	r.seedQuote(1, 1)
	r.seedGroup(1, 1)
	opportunity := "lsq,revoke,opportunity," + guidOf('o', 1) + ",," + guidOf('u', 1) + ",read"
	return []string{lead("revoke", 1), opportunity, quote("revoke", 1, 1), member("revoke", 1, 1)}
}

// giveBackByHand turns the rows around, as somebody does in a spreadsheet.
func giveBackByHand(rows []string) string {
	back := slices.Clone(rows)
	for i, row := range back {
		back[i] = strings.Replace(row, ",revoke,", ",share,", 1)
	}
	back[2] += "read"
	return rigHead + strings.Join(back, "\n") + "\n"
}

// holdsWith returns what a verification says of each row, with the code.
func holdsWith(t *testing.T, stdout string) (words []string) {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	must(t, err)
	for _, line := range lines[1:] {
		words = append(words, line[2]+" "+line[3])
	}
	return words
}

// What bulkrevoke gives back in the name of a ledger, by the undo sheet or by one made
// by hand, is no longer done for the sheet that took it: plan says so before anything
// is sent, verify and results say so, and the sheet, run again, takes it away again.
func TestWhatIsGivenBackIsNoLongerDone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		back func(r *rig, off string, rows []string) (sheet string, args []string)
	}{
		{"undo", func(r *rig, off string, _ []string) (string, []string) {
			r.runs(exitDone, "undo", off)
			return r.path("off.undo.csv"), nil
		}},
		{"undo under a name of its own", func(r *rig, off string, _ []string) (string, []string) {
			r.runs(exitDone, "undo", off, "-o", r.path("back.csv"))
			return r.path("back.csv"), []string{"--ledger", r.path("off.ledger.db")}
		}},
		{"undo with the result elsewhere", func(r *rig, off string, _ []string) (string, []string) {
			must(r.t, os.Mkdir(r.path("out"), 0o700))
			r.runs(exitDone, "undo", off)
			return r.path("off.undo.csv"), []string{"-o", filepath.Join(r.path("out"), "undone.csv")}
		}},
		{"by hand", func(r *rig, _ string, rows []string) (string, []string) {
			return r.write("back.csv", giveBackByHand(rows)), []string{"--ledger", r.path("off.ledger.db")}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			rows := takenRows(r)
			off := r.sheet(rows...)
			r.runs(exitDone, "run", off)
			if got := r.runs(exitDone, "verify", off); strings.Contains(got.stdout, "no,") {
				t.Fatalf("right after the run:\n%s", got.stdout)
			}
			back, args := tc.back(r, off, rows)
			if got := r.runs(exitDone, "plan", off); strings.Contains(got.stdout, "again") || !strings.Contains(got.stdout, " 0 to send") {
				t.Errorf("before the undo is run the plan says\n%s", got.stdout)
			}
			r.runs(exitDone, append([]string{"run", back}, args...)...)
			if all, err := filepath.Glob(r.path("*.ledger.db")); err != nil || len(all) != 1 {
				t.Errorf("ledgers %v, %v; want the one of the sheet", all, err)
			}
			if diff := cmp.Diff([]string{"done", "done", "done", "done"}, r.words("result")); diff != "" {
				t.Errorf("the run of the undo has touched the result of the sheet:\n%s", diff)
			}

			got := r.runs(exitOpen, "verify", off)
			if diff := cmp.Diff([]string{"no given_back", "no given_back", "no given_back", "no given_back"}, holdsWith(t, got.stdout)); diff != "" {
				t.Errorf("verify (-want +got):\n%s\n%s", diff, got.stdout)
			}
			if !strings.Contains(got.stderr, filepath.Base(back)+" was run after") || strings.Contains(got.stderr, "sheet of their own") {
				t.Errorf("verify says\n%s", got.stderr)
			}
			got = r.runs(exitDone, "results", off)
			if !strings.Contains(got.stderr, "4 not done, or not any more") {
				t.Errorf("results says\n%s", got.stderr)
			}
			for _, row := range r.results("off.results.csv") {
				if row["action"] != "revoke" || row["result"] != "not_attempted" || row["code"] != "undone" || !strings.Contains(row["message"], "undone since") {
					t.Errorf("the result has %v", row)
				}
			}
			r.runs(exitDone, append([]string{"results", back}, args...)...)

			got = r.runs(exitDone, "plan", off)
			if !strings.Contains(got.stdout, "4  of those to send: take away again what an undo or another sheet of this ledger gave back") {
				t.Errorf("the plan says\n%s", got.stdout)
			}
			var plan struct {
				ToSend int64 `json:"to_send"`
				Taken  int64 `json:"taken_again"`
				Given  int64 `json:"given_again"`
			}
			must(t, json.Unmarshal([]byte(r.runs(exitDone, "plan", "--json", off).stdout), &plan))
			if plan.ToSend != 4 || plan.Taken != 4 || plan.Given != 0 {
				t.Errorf("the plan counts %+v", plan)
			}
			sent := r.changes()
			r.runs(exitDone, "run", off)
			if n := r.changes() - sent; n != 4 {
				t.Errorf("%d changes were sent, want 4", n)
			}
			r.runs(exitDone, "verify", off)
			r.runs(exitDone, "run", off)
			if n := r.changes() - sent; n != 4 {
				t.Errorf("%d changes were sent in two runs, want 4", n)
			}
			// And back once more: the same sheet gives back what was taken again.
			r.runs(exitDone, append([]string{"run", back}, args...)...)
			r.runs(exitOpen, "verify", off)
		})
	}
}

// An undo that was given back in part only: the rest of the sheet still holds, and the
// share that took the place of another level counts as given again.
func TestUndoInPart(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	off := r.sheet(lead("revoke", 1), lead("revoke", 2), lead("share", 3))
	r.runs(exitDone, "run", off)
	r.runs(exitDone, "undo", off)
	raw, err := os.ReadFile(r.path("off.undo.csv"))
	must(t, err)
	lines := slices.DeleteFunc(strings.SplitAfter(string(raw), "\n"), func(l string) bool { return strings.Contains(l, ",7002,") })
	r.runs(exitDone, "run", r.write("off.undo.csv", strings.Join(lines, "")))
	got := r.runs(exitOpen, "verify", off)
	if diff := cmp.Diff([]string{"no given_back", "yes status_6", "no taken_away"}, holdsWith(t, got.stdout)); diff != "" {
		t.Errorf("verify (-want +got):\n%s", diff)
	}
	got = r.runs(exitDone, "plan", off)
	for _, want := range []string{"2 to send", "1  of those to send: take away again", "1  of those to send: give again"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the plan says nothing of %q:\n%s", want, got.stdout)
		}
	}
	if got := r.runs(exitDone, "results", "--open", off); strings.Count(got.stdout, ",undone,") != 2 {
		t.Errorf("open rows:\n%s", got.stdout)
	}
}

// An undo sheet without the ledger that it came from is refused, and so is whatever
// would begin a new one for it. Nothing is sent and nothing is made.
func TestUndoSheetWithoutItsLedgerIsRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		do   func(r *rig, off, undo string) []string // what is run
		want string
	}{
		{"in another folder", func(r *rig, _, undo string) []string {
			must(r.t, os.Mkdir(r.path("elsewhere"), 0o700))
			must(r.t, os.Rename(undo, r.path("elsewhere/off.undo.csv")))
			return []string{"run", r.path("elsewhere/off.undo.csv")}
		}, "there is no ledger"},
		{"its ledger is gone", func(r *rig, _, undo string) []string {
			must(r.t, os.Remove(r.path("off.ledger.db")))
			return []string{"run", undo}
		}, "there is no ledger"},
		{"under a name of its own", func(r *rig, _, undo string) []string {
			must(r.t, os.Rename(undo, r.path("back.csv")))
			return []string{"run", r.path("back.csv")}
		}, "Name the ledger of off.csv with --ledger"},
		{"under the name of another sheet", func(r *rig, _, undo string) []string {
			r.runs(exitDone, "run", r.write("other.csv", rigHead+lead("revoke", 9)+"\n"))
			must(r.t, os.Rename(undo, r.path("other.undo.csv")))
			return []string{"run", r.path("other.undo.csv")}
		}, "it was not written from the ledger"},
		{"its ledger was put aside", func(r *rig, off, undo string) []string {
			r.runs(exitDone, "run", "--fresh", off)
			return []string{"run", undo}
		}, "it was not written from the ledger"},
		{"--fresh", func(_ *rig, _, undo string) []string { return []string{"run", "--fresh", undo} }, "--fresh would put that aside"},
		{"without its column, in another folder", func(r *rig, _, _ string) []string {
			must(r.t, os.Mkdir(r.path("elsewhere"), 0o700))
			return []string{"run", r.write("elsewhere/off.undo.csv", rigHead+lead("share", 1)+"\n")}
		}, "there is no ledger"},
		{"plan", func(r *rig, _, undo string) []string {
			must(r.t, os.Remove(r.path("off.ledger.db")))
			return []string{"plan", undo}
		}, "there is no ledger"},
		{"undo of an undo sheet", func(_ *rig, _, undo string) []string { return []string{"undo", undo} }, "Run the sheet that it undoes once more"},
		{"results of a sheet that the ledger has no rows of", func(r *rig, _, _ string) []string {
			return []string{"results", "--ledger", r.path("off.ledger.db"), r.write("other.csv", rigHead+lead("share", 1)+"\n")}
		}, "has the rows of off.csv now, and not those of"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			off := r.sheet(lead("revoke", 1))
			r.runs(exitDone, "run", off)
			r.runs(exitDone, "undo", off)
			args := tc.do(r, off, r.path("off.undo.csv"))
			sent, before := r.changes(), files(t, r.dir)
			if got := r.runs(exitRefused, args...); !strings.Contains(got.stderr, tc.want) {
				t.Errorf("it says\n%s\nwant %q", got.stderr, tc.want)
			}
			if r.changes() != sent {
				t.Errorf("%d changes were sent", r.changes()-sent)
			}
			if diff := cmp.Diff(before, files(t, r.dir)); diff != "" {
				t.Errorf("files (-before +after):\n%s", diff)
			}
		})
	}
}

// files are all files below a folder.
func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	}))
	return all
}

// In the sandbox the same names hold, with .sandbox in them, and the command that undo
// prints works as it is.
func TestUndoInTheSandbox(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	off := r.write("off.csv", "action,object,record_id,user\nrevoke,Quotes,"+zohoRecord(1)+","+zohoUser(1)+"\n")
	r.runs(exitDone, "run", "--sandbox", off)
	got := r.runs(exitDone, "undo", "--sandbox", off)
	if want := "bulkrevoke run --sandbox " + r.path("off.sandbox.undo.csv") + "\n"; !strings.Contains(got.stderr, want) {
		t.Errorf("it says\n%s\nwant %q", got.stderr, want)
	}
	r.runs(exitDone, "run", "--sandbox", r.path("off.sandbox.undo.csv"))
	r.runs(exitOpen, "verify", "--sandbox", off)
	if got := r.runs(exitDone, "plan", "--sandbox", off); !strings.Contains(got.stdout, "take away again") {
		t.Errorf("the plan says\n%s", got.stdout)
	}
	r.runs(exitDone, "run", "--sandbox", off)
	r.runs(exitDone, "verify", "--sandbox", off)
	r.runs(exitRefused, "run", r.path("off.sandbox.undo.csv")) // not of a real ledger
	r.only("off.csv", "off.sandbox.ledger.db", "off.sandbox.results.csv", "off.sandbox.state", "off.sandbox.undo.csv", "off.sandbox.undo.results.csv")
}

// A row that somebody has changed in the ledger beside its events makes verify end with
// 3 and name the line, and undo refuses to rely on it.
func TestChangedRowsOfTheLedgerAreFoundOut(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"state":      "UPDATE op SET state = 'done' WHERE id = (SELECT op FROM sheet_row WHERE line = 3)",
		"user":       "UPDATE op SET user_id = '" + guidOf('u', 9) + "' WHERE id = (SELECT op FROM sheet_row WHERE line = 3)",
		"request Id": "UPDATE op SET request_id = 'x' WHERE id = (SELECT op FROM sheet_row WHERE line = 3)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			off := r.sheet(lead("revoke", 1), lead("revoke", 2), lead("revoke", 3))
			r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: guidOf('u', 2), Kind: sandbox.FaultException, Type: "MXInvalidInputException", Text: "no"})
			r.runs(exitOpen, "run", off)
			r.tamper(change)
			if got := r.runs(exitStopped, "verify", off); !strings.Contains(got.stderr, "is broken: line 3: ") {
				t.Errorf("verify says\n%s", got.stderr)
			}
			if got := r.runs(exitRefused, "undo", off); !strings.Contains(got.stderr, "line 3: ") {
				t.Errorf("undo says\n%s", got.stderr)
			}
		})
	}
}

// A ledger under another name than the sheet's, a copy for one, or one that was set aside, is
// read all the same.
func TestLedgerUnderAnotherName(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	off := r.sheet(lead("revoke", 1), lead("revoke", 2))
	r.runs(exitDone, "run", off)
	must(t, os.Rename(r.path("off.ledger.db"), r.path("kept.db")))
	r.runs(exitDone, "verify", "--ledger", r.path("kept.db"), off)
	r.runs(exitDone, "results", "--ledger", r.path("kept.db"), "-o", r.path("again.csv"), r.path("off.results.csv"))
	if got := len(r.results("again.csv")); got != 2 {
		t.Errorf("the result has %d rows, want 2", got)
	}
}
