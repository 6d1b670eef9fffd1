package ledger_test

import (
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// lastCounts takes a row as done if it is the last thing that happened to its target.
func lastCounts(past, rows []ledger.Entry) []ledger.Choice {
	choices := make([]ledger.Choice, len(rows))
	for i := range rows {
		choices[i] = ledger.Choice{Take: -1, Head: i, Turn: ledger.TurnNormal}
	}
	n := len(past)
	for n > 0 && past[n-1].Status == crm.Failed {
		n--
	}
	if n > 0 && *past[n-1].Op == *rows[0].Op && past[n-1].Status == crm.Done {
		choices[0] = ledger.Choice{Take: n - 1}
	}
	return choices
}

// Chosen returns the rows of a sheet as States writes them, "none" if the ledger does
// not keep them.
func Chosen(t *testing.T, l *ledger.Ledger, sheet string) string {
	t.Helper()
	ok, err := l.Choose(t.Context(), sheet)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return "none"
	}
	return States(t, l)
}

// A ledger keeps the rows of the last two sheets, each with its own outcomes, and of
// the earlier one those that were undone since are to be done again.
func testTwoSheetsOfOneLedger(t *testing.T, newStore NewStore) {
	store := newStore(t)
	l := Open(t, store)
	want := func(step, own, undo, hand string) {
		t.Helper()
		for sheet, want := range map[string]string{"": own, ".undo": undo, "hand": hand} {
			if got := Chosen(t, l, sheet); got != want {
				t.Errorf("%s: sheet %q has %q, want %q", step, sheet, got, want)
			}
		}
	}
	all := func(state crm.Status) {
		t.Helper()
		Begin(t, l)
		for _, op := range Next(t, l) {
			Finish(t, l, op, state)
		}
	}
	want("new", "none", "none", "none")
	CommitAs(t, l, "", "r1a r2a s3a r4a")
	Begin(t, l)
	for _, op := range Next(t, l)[:3] {
		Finish(t, l, op, crm.Done)
	}
	CommitAs(t, l, "", "r1a r2a s3a r4a")
	want("stopped", "r1a:done r2a:done s3a:done r4a:not_attempted", "none", "none")

	CommitAs(t, l, ".undo", "s1a r3a s2a")
	want("undo committed", "r1a:done r2a:done s3a:done r4a:not_attempted", "s1a:not_attempted r3a:not_attempted s2a:not_attempted", "none")
	Begin(t, l)
	ops := Next(t, l)
	Finish(t, l, ops[0], crm.Done)
	Finish(t, l, ops[1], crm.Done)
	Finish(t, l, ops[2], crm.Failed)
	want("undone", "r1a:not_attempted r2a:done s3a:not_attempted r4a:not_attempted", "s1a:done r3a:done s2a:failed", "none")
	if ok, err := l.Choose(t.Context(), ""); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for i, r := range Collect(t, l.Results(t.Context())) {
		undone := i == 0 || i == 2
		if (r.Code == ledger.CodeUndone) != undone || strings.Contains(r.Message, "undone since") != undone {
			t.Errorf("row %d has code %q and message %q", i+1, r.Code, r.Message)
		}
	}
	if src, ok, err := l.Source(t.Context()); err != nil || !ok || src.Name != "off.csv" {
		t.Errorf("the chosen sheet is %+v, %t, %v", src, ok, err)
	}

	CommitAs(t, l, "", "r1a r2a s3a r4a")
	want("the first again", "r1a:not_attempted r2a:done s3a:not_attempted r4a:not_attempted", "s1a:done r3a:done s2a:failed", "none")
	all(crm.Done)
	want("all again", "r1a:done r2a:done s3a:done r4a:done", "s1a:not_attempted r3a:not_attempted s2a:failed", "none")

	// A third name: the one that was committed before the last goes.
	CommitAs(t, l, "hand", "s1a r5a")
	want("a third", "r1a:done r2a:done s3a:done r4a:done", "none", "s1a:not_attempted r5a:not_attempted")
	all(crm.Uncertain)
	want("perhaps undone", "r1a:not_attempted r2a:done s3a:done r4a:done", "none", "s1a:in_doubt r5a:in_doubt")

	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = Open(t, store)
	want("opened again", "r1a:not_attempted r2a:done s3a:done r4a:done", "none", "s1a:in_doubt r5a:in_doubt")
}

// On a record that was taken from everybody, what was given to one user afterwards
// undoes that, and their own revoke, and nobody else's.
func testUndoneOnAWholeRecord(t *testing.T, newStore NewStore) {
	for _, tc := range []struct{ name, first, second, want string }{
		{"everybody, then one is given back", "*1", "s1a", "*1:not_attempted"},
		{"everybody, one is given back and another taken", "*1", "s1a r1b", "*1:not_attempted"},
		{"everybody twice", "*1", "s1a *1", "*1:done"},
		{"one, then another is given it", "r1a *1", "s1b", "r1a:done *1:not_attempted"},
		{"a share, then everybody", "s1a", "*1", "s1a:not_attempted"},
		{"a revoke, then everybody", "r1a", "*1", "r1a:done"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := Open(t, newStore(t))
			for sheet, words := range []string{tc.first, tc.second} {
				CommitAs(t, l, []string{"", ".undo"}[sheet], words)
				Begin(t, l)
				for ops := Next(t, l); len(ops) > 0; ops = Next(t, l) {
					Finish(t, l, ops[0], crm.Done)
				}
			}
			if got := Chosen(t, l, ""); got != tc.want {
				t.Errorf("the first sheet has %q, want %q", got, tc.want)
			}
		})
	}
	if (crm.Operation{Action: crm.Share, User: "a"}).Undoes(crm.Operation{Action: crm.Revoke, User: "b"}) {
		t.Error("a share of one user undoes another's revoke")
	}
}
