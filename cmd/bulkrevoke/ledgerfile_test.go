package main

import (
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// offline has the commands that follow work with files.
func (r *rig) offline() (url string) {
	url = r.env["BULKREVOKE_DATABASE"]
	delete(r.env, "BULKREVOKE_DATABASE")
	return url
}

func (r *rig) online(url string) { r.env["BULKREVOKE_DATABASE"] = url }

// A ledger that is taken out of the database can be read and verified anywhere, and is worked
// on where it was, until it is brought in again.
func TestLedgerCopiedOut(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	off := r.sheet(leads(3)...)
	file := r.path("copy.ledger.db")
	r.runs(exitRefused, "results", "--ledger-file", file, off).says(t, "there is no ledger off in the database")
	r.runs(exitDone, "run", off)
	r.runs(exitDone, "results", "--ledger-file", file, off).says(t, "off", file)
	r.runs(exitRefused, "results", "--ledger-file", file, off).says(t, file, "already")
	r.runs(exitRefused, "results", "--ledger-file", r.path("copy.csv"), off).says(t, "--ledger-file", "copy.csv")
	r.runs(exitRefused, "results", "--move", off).says(t, "--ledger-file")
	r.runs(exitRefused, "results", "--ledger-file", r.path("x.ledger.db"), "--open", off)
	r.runs(exitRefused, "results", "--ledger-file", r.path("no/such/folder.ledger.db"), off).says(t, "no/such/folder.ledger.db")
	database := r.offline()
	r.runs(exitRefused, "results", "--ledger-file", r.path("x.ledger.db"), off).says(t, "--database")
	r.runs(exitDone, "verify", "--ledger", file, off)
	r.runs(exitDone, "results", "--ledger", file, off, "-o", r.path("copied.csv"))
	if n := len(r.results("copied.csv")); n != 3 {
		t.Errorf("%d rows", n)
	}
	r.runs(exitDone, "results", "--open", "--ledger", file, off)
	r.runs(exitDone, "undo", "--ledger", file, off, "-o", r.path("back.csv"))
	n := r.changes()
	for _, args := range [][]string{{"run"}, {"run", "--redo-in-doubt"}, {"plan"}} {
		code := exitRefused
		if args[0] == "plan" {
			code = exitDone // it only reads
		}
		got := r.runs(code, append(args, "--ledger", file, off)...)
		if code == exitRefused {
			got.says(t, "copy", "submit --ledger-file")
		}
	}
	if r.changes() != n {
		t.Error("something was sent by a copy")
	}
	// In the database it goes on; the copy does not follow.
	r.online(database)
	r.sheet(append(leads(3), lead("revoke", 9))...)
	r.runs(exitDone, "run", off)
	r.runs(exitRefused, "submit", "--ledger-file", file, off).says(t, "into off in the database", file, "event 14", "event 20", "Keep both")
	r.runs(exitDone, "verify", off)
	// A copy whose ledger has not gone on is there already.
	second := r.path("second.ledger.db")
	r.runs(exitDone, "results", "--ledger-file", second, off)
	r.runs(exitDone, "submit", "--ledger-file", second, "--ledger", "off").says(t, "already", "nothing has changed")
	if n := r.changes(); n != 4 {
		t.Errorf("%d changes of 4 rows", n)
	}
}

// A ledger that was moved is worked on where it went, and says so where it was.
func TestLedgerMovedOutAndBack(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	off := r.sheet(leads(3)...)
	file := r.path("off.ledger.db")
	r.runs(exitDone, "run", off)
	r.runs(exitDone, "results", "--move", "--ledger-file", file, off).says(t, "off", file, "from now on")
	r.runs(exitDone, "results", "--move", "--ledger-file", file, off) // all of it is done already
	for _, command := range []string{"run", "submit"} {
		r.runs(exitRefused, command, off).says(t, "moved", "--ledger")
	}
	r.runs(exitDone, "results", off)
	r.runs(exitDone, "verify", off)
	database := r.offline()
	r.sheet(append(leads(3), lead("revoke", 9))...)
	r.runs(exitDone, "run", off)
	if n := r.changes(); n != 4 {
		t.Errorf("%d changes of 4 rows", n)
	}
	// And back, with the sheet, for a worker.
	r.online(database)
	r.sheet(append(leads(3), lead("revoke", 9), lead("revoke", 10))...)
	r.runs(exitDone, "submit", "--ledger-file", file, off).says(t, file, "off", "from now on", "is queued")
	r.begin("worker", "--quiet")
	r.becomes("off", "done")
	if n := r.changes(); n != 5 {
		t.Errorf("%d changes of 5 rows", n)
	}
	r.runs(exitDone, "submit", "--ledger-file", file).says(t, "already")
	r.offline()
	r.runs(exitRefused, "run", off).says(t, "moved", "--database")
	r.runs(exitDone, "results", off, "-o", r.path("old.csv"))
	if n := len(r.results("old.csv")); n != 4 {
		t.Errorf("%d rows of what it was then", n)
	}
}

// Files of earlier days go into the database, with all that they know.
func TestLedgerBroughtIn(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	database := r.offline()
	off := r.sheet(leads(3)...)
	r.runs(exitDone, "run", off)
	file := r.path("off.ledger.db")
	r.online(database)
	// What is refused leaves nothing there, and the file as it is.
	r.runs(exitRefused, "submit", "--ledger-file", r.path("none.ledger.db")).says(t, "none.ledger.db")
	r.runs(exitRefused, "submit", "--ledger-file", r.write("junk.ledger.db", "junk"), "--ledger", "junk").says(t, "junk")
	r.runs(exitRefused, "submit", "--ledger-file", file, off, off).says(t, "--ledger-file", "one by one")
	r.runs(exitDone, "plan", "--ledger", "junk", off) // there is no such ledger
	// The ledger goes in first, and stays there if the sheet is refused.
	bad := r.write("bad.csv", rigHead+lead("fire", 1)+"\n")
	r.runs(exitRefused, "submit", "--ledger-file", file, bad, "--ledger", "off").says(t, "fire", "is in the database as off from now on")
	r.runs(exitDone, "submit", "--ledger-file", file).says(t, "already")
	r.runs(exitRefused, "submit", "--ledger-file", file, "--ledger", "other").says(t, "--ledger")
	r.runs(exitDone, "run", "--ledger", "off", off) // which writes the same result again
	if n := r.changes(); n != 3 {
		t.Errorf("%d changes of 3 rows", n)
	}
	r.runs(exitDone, "verify", off)
	r.runs(exitDone, "undo", off)
	r.offline()
	r.runs(exitRefused, "run", off).says(t, "moved", "--database")
}
