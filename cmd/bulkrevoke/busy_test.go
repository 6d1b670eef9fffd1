package main

import (
	"database/sql"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// holdLedger keeps a ledger as a database browser does that is about to write, and
// returns what lets it go.
func (r *rig) holdLedger(name string, statements ...string) (letGo func()) {
	r.t.Helper()
	db, err := sql.Open("sqlite", r.path(name))
	must(r.t, err)
	db.SetMaxOpenConns(1)
	for _, statement := range append(statements, "BEGIN IMMEDIATE") {
		_, err = db.Exec(statement)
		must(r.t, err)
	}
	open := true
	letGo = func() {
		if open {
			open = false
			_, err := db.Exec("ROLLBACK")
			must(r.t, err)
			must(r.t, db.Close())
		}
	}
	r.t.Cleanup(letGo)
	return letGo
}

// A ledger that another program holds ends a command with 4 before anything is sent,
// or is waited for. What is only read does not need it.
func TestLedgerHeldByAnotherProgram(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		hold []string // before the transaction
		args []string
		want int
	}{
		{"run", nil, []string{"run", "off.csv"}, exitHeld},
		{"run that begins anew", nil, []string{"run", "--fresh", "off.csv"}, exitHeld},
		{"results, which notes what it has written", nil, []string{"results", "off.csv"}, exitHeld},
		{"results shown, not written", nil, []string{"results", "--open", "off.csv"}, exitDone},
		{"plan reads", nil, []string{"plan", "off.csv"}, exitDone},
		{"verify reads", nil, []string{"verify", "off.csv"}, exitDone},
		{"run, where nobody may even read", []string{"PRAGMA locking_mode=EXCLUSIVE", "BEGIN IMMEDIATE", "COMMIT"}, []string{"run", "off.csv"}, exitHeld},
		{"plan, where nobody may even read", []string{"PRAGMA locking_mode=EXCLUSIVE", "BEGIN IMMEDIATE", "COMMIT"}, []string{"plan", "off.csv"}, exitHeld},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path := r.sheet(leads(2)...)
			r.runs(exitDone, "run", path)
			before := r.changes()
			r.sheet(leads(3)...)
			if tc.want == exitDone {
				r.sheet(leads(2)...)
			}
			letGo := r.holdLedger("off.ledger.db", tc.hold...)
			tc.args[len(tc.args)-1] = path
			if tc.args[0] == "run" {
				tc.args = append(tc.args, "--report", r.path("r.html"))
			}
			got := r.runs(tc.want, tc.args...)
			if tc.want == exitHeld && (!strings.Contains(got.stderr, "in use by another program") || !strings.Contains(got.stderr, "--wait 10m")) {
				t.Errorf("it says:\n%s", got.stderr)
			}
			if tc.args[0] == "run" && !strings.Contains(r.read("r.html"), "Not started: another run or program was at it.") {
				t.Errorf("the page says:\n%s", r.read("r.html"))
			}
			if n := r.changes(); n != before {
				t.Errorf("%d changes were sent", n-before)
			}
			letGo()
			r.sheet(leads(3)...)
			r.runs(exitDone, "run", path)
		})
	}
}

// --wait waits for such a program too, with every command that says so.
func TestLedgerHeldIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"run", "results"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path := r.sheet(leads(1)...)
			r.runs(exitDone, "run", path)
			r.sheet(leads(2)...)
			letGo := r.holdLedger("off.ledger.db")
			ended := make(chan ran, 1)
			go func() { ended <- r.run(command, "--wait", "1m", path) }()
			select {
			case got := <-ended:
				t.Fatalf("it did not wait and ended with %d:\n%s", got.code, got.stderr)
			case <-time.After(leastBusyWait + time.Second):
			}
			letGo()
			if got := <-ended; got.code != exitDone {
				t.Fatalf("it ended with %d:\n%s", got.code, got.stderr)
			}
		})
	}
}

// A program that takes the ledger in the middle of a run is waited for: nothing is
// sent meanwhile, and no row is in doubt.
func TestLedgerHeldInTheMiddleOfARun(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{Latency: func() time.Duration { return 20 * time.Millisecond }})
	path := r.sheet(leads(40)...)
	ended := make(chan ran, 1)
	go func() { ended <- r.run("run", "--workers", "2", path) }()
	until(t, "no change has arrived", func() bool { return r.changes() > 3 })
	letGo := r.holdLedger("off.ledger.db", "PRAGMA busy_timeout=5000")
	during := r.changes()
	time.Sleep(2500 * time.Millisecond) // longer than SQLite itself waits
	if n := r.changes() - during; n > 2 {
		t.Errorf("%d changes were sent while nothing could be written down", n)
	}
	letGo()
	if got := <-ended; got.code != exitDone {
		t.Fatalf("it ended with %d:\n%s", got.code, got.stderr)
	}
	if words := r.words("result"); slices.ContainsFunc(words, func(w string) bool { return w != "done" }) {
		t.Errorf("results are %q", words)
	}
	if n := r.changes(); n != 40 {
		t.Errorf("%d changes were sent, want 40", n)
	}
}
