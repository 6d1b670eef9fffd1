package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A result file under any name belongs to the ledger that wrote it, and nothing of
// it is sent again; one whose ledger is not beside it is refused.
func TestResultFileFindsItsLedger(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	share := "lsq,share,opportunity," + guidOf('a', 1) + ",," + guidOf('b', 1) + ",read"
	path := r.sheet(share, lead("revoke", 1))
	for _, name := range []string{"june.csv", "june.xlsx"} {
		r.runs(exitDone, "run", path, "-o", r.path(name))
		sent := r.changes()
		for _, args := range [][]string{{"run"}, {"plan"}, {"results"}, {"run", "-o", r.path("july.csv")}, {"verify"}} {
			r.runs(exitDone, append(args, r.path(name))...)
		}
		if r.changes() != sent {
			t.Errorf("%d changes were sent again from %s", r.changes()-sent, name)
		}
	}
	r.only("off.csv", "june.csv", "june.xlsx", "july.csv", "off.ledger.db")

	raw, err := os.ReadFile(r.path("june.csv"))
	must(t, err)
	sent := r.changes()
	r.runs(exitDone, "run", r.write("renamed.csv", string(raw)))
	must(t, os.Mkdir(r.path("elsewhere"), 0o700))
	stray := r.write("elsewhere/stray.csv", string(raw))
	r.runs(exitDone, "run", r.path("off.csv"), "-o", r.path("may.results.csv"))
	r.runs(exitDone, "run", r.path("may.results.csv"))
	if r.changes() != sent {
		t.Errorf("%d changes were sent again from files by other names", r.changes()-sent)
	}
	for _, command := range []string{"run", "plan"} {
		if got := r.runs(exitRefused, command, stray); !strings.Contains(got.stderr, "the ledger that wrote it is not beside it") {
			t.Errorf("%s says:\n%s", command, got.stderr)
		}
	}
	r.runs(exitDone, "run", "--ledger", r.path("off.ledger.db"), stray)
	if r.changes() != sent {
		t.Errorf("%d changes were sent again with the ledger named", r.changes()-sent)
	}
	r.runs(exitDone, "run", "--ledger", r.path("new.ledger.db"), "-o", r.path("new.csv"), stray)
	if r.changes() != sent+2 {
		t.Errorf("%d changes were sent with a new ledger, want 2", r.changes()-sent)
	}
}

// Of several ledgers that wrote a name, the one counts whose calls stand in the file:
// after --fresh, and where two sheets took turns with one name.
func TestResultFileFindsTheRightLedger(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(lead("revoke", 1))
	r.runs(exitDone, "run", path, "-o", r.path("june.csv"))
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultException, Type: "MXNoException", Text: "no"})
	r.runs(exitOpen, "run", "--fresh", path, "-o", r.path("june.csv"))
	r.runs(exitOpen, "run", r.path("june.csv"))
	if got := r.results("june.csv")[0]["result"]; got != "failed" {
		t.Errorf("the row is %s, want it failed as the CRM has refused it", got)
	}
	r.server.ClearFaults()
	share := "lsq,share,opportunity," + guidOf('a', 1) + ",," + guidOf('b', 1) + ",read"
	r.runs(exitDone, "run", r.write("a.csv", rigHead+lead("revoke", 2)+"\n"), "-o", r.path("out.csv"))
	must(t, os.Remove(r.path("out.csv")))
	r.runs(exitDone, "run", r.write("b.csv", rigHead+share+"\n"), "-o", r.path("out.csv"))
	sent := r.changes()
	r.runs(exitDone, "run", r.path("out.csv"))
	if r.changes() != sent {
		t.Errorf("%d changes were sent again", r.changes()-sent)
	}
}

// The files of a sheet may be moved together.
func TestFolderIsMoved(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	must(t, os.Mkdir(r.path("a"), 0o700))
	path := filepath.Join(r.path("a"), "off.csv")
	must(t, os.WriteFile(path, []byte(rigHead+lead("revoke", 1)+"\n"), 0o600))
	r.runs(exitDone, "run", path)
	must(t, os.Rename(r.path("a"), r.path("b")))
	path = filepath.Join(r.path("b"), "off.csv")
	r.runs(exitDone, "run", path)
	r.runs(exitDone, "results", path)
	if r.changes() != 1 {
		t.Errorf("%d changes, want 1", r.changes())
	}
}

// A result name of the configuration is that of runs: it takes no other command's
// output.
func TestConfiguredOutputIsTheResults(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(lead("revoke", 1), lead("revoke", 2))
	must(t, os.Mkdir(r.path("done"), 0o700))
	all := filepath.Join(r.path("done"), "all.csv")
	r.env["BULKREVOKE_OUTPUT"] = all
	r.runs(exitDone, "run", path)
	before, err := os.ReadFile(all)
	must(t, err)
	for _, args := range [][]string{{"results", "--open"}, {"verify"}, {"undo"}} {
		r.runs(exitDone, append(args, path)...)
		after, err := os.ReadFile(all)
		must(t, err)
		if string(after) != string(before) {
			t.Errorf("%v has changed the result:\n%s", args, after)
		}
	}
}

// A result is not written over the sheet, and the refusal does not take the sheet for a
// result; of a folder that is not there it says which.
func TestResultsThatCanNotStandThere(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(leads(1)...)
	before := r.read("off.csv")
	for _, command := range []string{"run", "plan"} {
		got := r.runs(exitRefused, command, path, "-o", path)
		if !strings.Contains(got.stderr, "off.csv: is the sheet itself") || strings.Contains(got.stderr, "result of an earlier run") || strings.Contains(got.stderr, "not of this run") {
			t.Errorf("%s says:\n%s", command, got.stderr)
		}
	}
	if r.read("off.csv") != before {
		t.Error("the sheet was written to")
	}
	got := r.runs(exitRefused, "run", path, "-o", r.path(filepath.Join("none", "o.csv")))
	if !strings.Contains(got.stderr, "the folder of the ledger, "+r.path("none")+": ") {
		t.Errorf("it says:\n%s", got.stderr)
	}
	r.only("off.csv")
}
