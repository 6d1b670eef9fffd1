package ledger

import (
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// adoptedAs makes a sheet of the words (r1a revokes, s1a shares) the one of that name.
func adoptedAs(t *testing.T, l *Ledger, sheet, words string) {
	t.Helper()
	s := stageOf(t, l, stagedRows(words))
	if err := s.Index(t.Context(), recordKey, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Match(t.Context(), lastCounts); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(t.Context(), Source{Name: "off" + sheet + ".csv", Sheet: sheet}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// lastCounts takes a row as done if it is the last thing that happened to its target.
func lastCounts(past []Past, rows []crm.Operation) []Choice {
	choices := make([]Choice, len(rows))
	for i := range rows {
		choices[i] = Choice{Take: -1, Join: i, Turn: TurnNormal}
	}
	n := len(past)
	for n > 0 && past[n-1].State == Failed {
		n--
	}
	if n > 0 && past[n-1].Op == rows[0] && past[n-1].State == Done {
		choices[0] = Choice{Take: n - 1}
	}
	return choices
}

// chosen returns the rows of a sheet as states writes them, "none" if the ledger does
// not keep them.
func chosen(t *testing.T, l *Ledger, sheet string) string {
	t.Helper()
	ok, err := l.Choose(t.Context(), sheet)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return "none"
	}
	return states(t, l)
}

// A ledger keeps the rows of the last two sheets, each with its own outcomes, and of
// the earlier one those that were undone since are to be done again.
func TestTwoSheetsOfOneLedger(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	l := mustOpen(t, path)
	want := func(step, own, undo, hand string) {
		t.Helper()
		for sheet, want := range map[string]string{"": own, ".undo": undo, "hand": hand} {
			if got := chosen(t, l, sheet); got != want {
				t.Errorf("%s: sheet %q has %q, want %q", step, sheet, got, want)
			}
		}
	}
	all := func(state State) {
		t.Helper()
		begun(t, l)
		for _, op := range todo(t, l) {
			finish(t, l, op, state)
		}
	}
	want("new", "none", "none", "none")
	adoptedAs(t, l, "", "r1a r2a s3a r4a")
	begun(t, l)
	for _, op := range todo(t, l)[:3] {
		finish(t, l, op, Done)
	}
	adoptedAs(t, l, "", "r1a r2a s3a r4a")
	want("stopped", "r1a:done r2a:done s3a:done r4a:not_attempted", "none", "none")

	adoptedAs(t, l, ".undo", "s1a r3a s2a")
	want("undo taken up", "r1a:done r2a:done s3a:done r4a:not_attempted", "s1a:not_attempted r3a:not_attempted s2a:not_attempted", "none")
	begun(t, l)
	ops := todo(t, l)
	finish(t, l, ops[0], Done)
	finish(t, l, ops[1], Done)
	finish(t, l, ops[2], Failed)
	want("undone", "r1a:not_attempted r2a:done s3a:not_attempted r4a:not_attempted", "s1a:done r3a:done s2a:failed", "none")
	if ok, err := l.Choose(t.Context(), ""); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for i, r := range collect(t, l.Results(t.Context())) {
		undone := i == 0 || i == 2
		if (r.Code == CodeUndone) != undone || strings.Contains(r.Message, "undone since") != undone {
			t.Errorf("row %d has code %q and message %q", i+1, r.Code, r.Message)
		}
	}
	if src, ok, err := l.Source(t.Context()); err != nil || !ok || src.Name != "off.csv" {
		t.Errorf("the chosen sheet is %+v, %t, %v", src, ok, err)
	}

	adoptedAs(t, l, "", "r1a r2a s3a r4a")
	want("the first again", "r1a:not_attempted r2a:done s3a:not_attempted r4a:not_attempted", "s1a:done r3a:done s2a:failed", "none")
	all(Done)
	want("all again", "r1a:done r2a:done s3a:done r4a:done", "s1a:not_attempted r3a:not_attempted s2a:failed", "none")

	// A third name: the one that was taken up before the last goes.
	adoptedAs(t, l, "hand", "s1a r5a")
	want("a third", "r1a:done r2a:done s3a:done r4a:done", "none", "s1a:not_attempted r5a:not_attempted")
	all(InDoubt)
	want("perhaps undone", "r1a:not_attempted r2a:done s3a:done r4a:done", "none", "s1a:in_doubt r5a:in_doubt")

	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, path)
	want("opened again", "r1a:not_attempted r2a:done s3a:done r4a:done", "none", "s1a:in_doubt r5a:in_doubt")
}

// On a record that was taken from everybody, what was given to one user afterwards
// undoes that, and their own revoke, and nobody else's.
func TestUndoneOnAWholeRecord(t *testing.T) {
	t.Parallel()
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
			l := mustOpen(t, newFile(t))
			for sheet, words := range []string{tc.first, tc.second} {
				adoptedAs(t, l, []string{"", ".undo"}[sheet], words)
				begun(t, l)
				for ops := todo(t, l); len(ops) > 0; ops = todo(t, l) {
					finish(t, l, ops[0], Done)
				}
			}
			if got := chosen(t, l, ""); got != tc.want {
				t.Errorf("the first sheet has %q, want %q", got, tc.want)
			}
		})
	}
	if (crm.Operation{Action: crm.Share, User: "a"}).Undoes(crm.Operation{Action: crm.Revoke, User: "b"}) {
		t.Error("a share of one user undoes another's revoke")
	}
}
