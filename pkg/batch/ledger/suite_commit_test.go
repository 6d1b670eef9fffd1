package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// testNights commits one sheet after the other, lets some of the work end, and
// compares what is left to do and what the rows show.
func testNights(t *testing.T, newStore NewStore) {
	type night struct {
		sheet  string
		todo   string // before the night's work
		finish []crm.Status
		states string // after it
	}
	for _, tt := range []struct {
		name   string
		nights []night
	}{
		{"the same again sends nothing", []night{
			{"r1a r2b", "r1a/2 r2b/2", []crm.Status{crm.Done, crm.Unchanged}, "r1a:done r2b:unchanged"},
			{"r1a r2b", "", nil, "r1a:done r2b:unchanged"},
		}},
		{"what was stopped goes on", []night{
			{"r1a r2b r3c", "r1a/2 r2b/2 r3c/2", []crm.Status{crm.Done}, "r1a:done r2b:not_attempted r3c:not_attempted"},
			{"r1a r2b r3c", "r2b/2 r3c/2", []crm.Status{crm.Done, crm.Done}, "r1a:done r2b:done r3c:done"},
		}},
		{"accepted is confirmed first, failed goes last", []night{
			{"r1a r2b r3c", "r1a/2 r2b/2 r3c/2", []crm.Status{crm.Failed, crm.Done, crm.Accepted}, "r1a:failed r2b:done r3c:accepted"},
			{"r4d r1a r2b r3c", "r3c/1 r4d/2 r1a/3", []crm.Status{crm.Done, crm.Done, crm.Done}, "r4d:done r1a:done r2b:done r3c:done"},
		}},
		{"a growing and shrinking sheet", []night{
			{"r1a r2b", "r1a/2 r2b/2", []crm.Status{crm.Done}, "r1a:done r2b:not_attempted"},
			{"r3c r1a", "r3c/2", nil, "r3c:not_attempted r1a:done"},
			{"r2b r1a r3c", "r2b/2 r3c/2", []crm.Status{crm.Done, crm.Done}, "r2b:done r1a:done r3c:done"},
		}},
		{"equal rows go as one and share the outcome", []night{
			{"r1a r2b r1a r1a", "r1a/2 r2b/2", []crm.Status{crm.Failed}, "r1a:failed r2b:not_attempted r1a:failed r1a:failed"},
			{"r1a r2b r1a r1a", "r2b/2 r1a/3 r1a/3 r1a/3", []crm.Status{crm.Done, crm.Done, crm.Done, crm.Done}, "r1a:done r2b:done r1a:done r1a:done"},
			{"r1a r1a r1a r1a", "r1a/2", []crm.Status{crm.Done}, "r1a:done r1a:done r1a:done r1a:done"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := Open(t, newStore(t))
			for i, n := range tt.nights {
				Commit(t, l, Rows(n.sheet))
				Begin(t, l)
				ops := Next(t, l)
				if got := Words(ops); got != n.todo {
					t.Errorf("night %d: to do %q, want %q", i+1, got, n.todo)
				}
				for j, state := range n.finish {
					Finish(t, l, ops[j], state)
				}
				if got := States(t, l); got != n.states {
					t.Errorf("night %d: rows %q, want %q", i+1, got, n.states)
				}
			}
			if err := l.VerifyChain(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// testWhatLeavesTheSheet: what was tried and is not in the sheet any more has nothing to do
// and holds nobody up, whatever became of it.
func testWhatLeavesTheSheet(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a r2a r2a r3a"))
	Begin(t, l)
	ops := Next(t, l)
	Must(t, l.Intend(t.Context(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{ops[0]}, Attempt: 1, At: At}))
	Finish(t, l, ops[1], crm.Accepted)
	Must(t, l.Intend(t.Context(), ledger.Intent{CallID: "d", Account: "main", Ops: []ledger.Op{ops[2]}, Attempt: 1, At: At}))
	Must(t, l.Record(t.Context(), []ledger.Outcome{{CallID: "d", Op: ops[2], Status: crm.Pending, Turn: ledger.TurnNormal, Open: true, Attempts: 1}}))
	Commit(t, l, Rows("r1b r2b r3b r9z"))
	Begin(t, l)
	if got, want := Words(Next(t, l)), "r1b/2 r2b/2 r3b/2 r9z/2"; got != want {
		t.Errorf("to do: got %q, want %q", got, want)
	}
	if got, err := l.Unconfirmed(t.Context(), "main", 0, 9); err != nil || len(got) > 0 {
		t.Errorf("to be confirmed: %v, %v", got, err)
	}
	for _, op := range Next(t, l)[:3] {
		got, err := l.OfKey(t.Context(), "main", ByRecord(op.Operation), 0, 9)
		if err != nil || len(got) != 1 || got[0].ID != op.ID {
			t.Errorf("record %s: got %q, %v, want its row alone", op.Operation.Record, Words(got), err)
		}
	}
	if got := len(Collect(t, l.History(t.Context()))); got != 4 {
		t.Errorf("the history has %d operations, want 4", got)
	}
}

func testDroppedHeadLeavesItsMembersAlone(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a r1a"))
	Begin(t, l)
	Finish(t, l, Next(t, l)[0], crm.Failed)
	Commit(t, l, Rows("r1a")) // takes the first, the second is history
	Begin(t, l)
	Finish(t, l, Next(t, l)[0], crm.Done)
	s := Import(t, l, Rows("r1a"))
	if err := s.Match(t.Context(), EachTarget(func(past, rows []ledger.Entry) []ledger.Choice {
		if len(past) != 2 || past[0].Status != crm.Failed || past[1].Status != crm.Done {
			t.Errorf("got past %+v, want the second row's failure and then the first row's success", past)
		}
		return Overlap(past, rows)
	})); err != nil {
		t.Fatal(err)
	}
}

func testCommitTakesMembers(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a r1a s2b"))
	Begin(t, l)
	Finish(t, l, Next(t, l)[0], crm.Accepted)
	// Both accepted rows go on together, under the second's operation or the first's.
	s := Import(t, l, Rows("s2b r1a r1a"))
	if err := s.Match(t.Context(), EachTarget(func(past, rows []ledger.Entry) []ledger.Choice {
		if len(rows) != 2 || len(past) != 2 {
			t.Errorf("got %d rows and %d past", len(rows), len(past))
		}
		return []ledger.Choice{
			{Take: 0, Head: 0, Turn: ledger.TurnAsk, Prior: crm.PriorAccepted},
			{Take: 1, Head: 0, Turn: ledger.TurnAsk, Prior: crm.PriorAccepted},
		}
	})); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), ledger.Source{}); err != nil {
		t.Fatal(err)
	}
	Begin(t, l)
	ops := Next(t, l)
	if got, want := Words(ops), "r1a/1 s2b/2"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	if op := ops[0]; op.Rows != 2 || op.Prior != crm.PriorAccepted || op.Ticket != "Tcall-1" || op.Ord != 2 || op.Line != 3 || op.FirstRun != 1 || op.Status != crm.Accepted {
		t.Errorf("got %+v", op)
	}
	if err := l.Record(t.Context(), []ledger.Outcome{{CallID: "look", Op: ops[0], Status: crm.Done, Confirm: true, ConfirmedAt: At}}); err != nil {
		t.Fatal(err)
	}
	if got, want := States(t, l), "s2b:not_attempted r1a:done r1a:done"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, r := range Collect(t, l.Results(t.Context()))[1:] {
		if r.RequestID != "Rcall-1" || r.Ticket != "Tcall-1" || r.Attempts != 1 || !r.SentAt.Equal(At) || !r.ConfirmedAt.Equal(At) {
			t.Errorf("a look has changed what was sent: %+v", r)
		}
	}
}

func testCounts(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	rows := Rows("r1a r1a s2b r3c")
	rows[3].Code, rows[3].Problem = "object", "unknown"
	Commit(t, l, rows)
	Begin(t, l)
	Finish(t, l, Next(t, l)[1], crm.Failed)
	rows = Rows("r1a r1a s2b r3c r4d")
	rows[3].Code, rows[3].Problem = "object", "unknown"
	s := Matched(t, l, rows)
	of := func(n ledger.Count) ledger.Count {
		if n.Account, n.Object = "main", crm.Lead; n.Status == crm.Uncertain {
			n.Status = crm.Pending
		}
		return n
	}
	want := []ledger.Count{
		of(ledger.Count{Action: crm.Revoke, Turn: ledger.TurnNormal, Rows: 2}),
		of(ledger.Count{Action: crm.Revoke, Turn: ledger.TurnNormal, Member: true, Rows: 1}),
		of(ledger.Count{Action: crm.Revoke, Invalid: true, Rows: 1}),
		of(ledger.Count{Action: crm.Share, Taken: true, Status: crm.Failed, Turn: ledger.TurnLate, Rows: 1}),
	}
	got, err := s.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("imported (-want +got):\n%s", diff)
	}
	if err := s.Commit(t.Context(), ledger.Source{}); err != nil {
		t.Fatal(err)
	}
	if got, err = l.Counts(t.Context()); err != nil {
		t.Fatal(err)
	}
	want = []ledger.Count{
		{Account: "main", Invalid: true, Status: crm.Pending, Rows: 1}, want[0], want[1], want[3],
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
}

// testCommitInBulk has so many rows that the indexes are made anew, for those that come
// and for those that go.
func testCommitInBulk(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a"))
	rows := Rows("r1a r2b r2c")
	for i := range 20_001 {
		op := Lead("r1x")
		op.Record = fmt.Sprint(100 + i)
		rows = append(rows, ledger.ImportRow{Line: i + 5, Account: "main", Op: op})
	}
	for _, rows := range [][]ledger.ImportRow{rows, rows[:3]} {
		Commit(t, l, rows)
		ops := Next(t, l)
		if got, want := Words(ops[:3]), "r1a/2 r2b/2 r2c/2"; got != want || len(ops) != min(len(rows), 1000) {
			t.Errorf("got %d operations and first %q, want %q", len(ops), got, want)
		}
		if got, err := l.OfKey(t.Context(), "main", ByRecord(ops[1].Operation), 0, 10); err != nil || Words(got) != "r2b/2 r2c/2" {
			t.Errorf("got %q, %v by key", Words(got), err)
		}
	}
}

func testCommitCancelled(t *testing.T, newStore NewStore) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	o := tap{before: func(query string, _ []any) error {
		if strings.HasPrefix(query, "INSERT INTO sheet_row") {
			cancel(why)
		}
		return nil
	}}.on(Options())
	store := newStore(t)
	Commit(t, Open(t, store), Rows("r1a"))
	l, err := store.Open(o)
	Must(t, err)
	defer l.Close()
	s := Matched(t, l, Rows(strings.Repeat("r2b s3c ", 100)))
	WantIs(t, s.Commit(ctx, ledger.Source{}), why) // half way
	WantIs(t, s.Commit(ctx, ledger.Source{}), why) // before it begins
	if got, want := States(t, l), "r1a:not_attempted"; got != want {
		t.Errorf("half of a sheet was committed: got %q, want %q", got, want)
	}
	Must(t, l.VerifyChain(t.Context()))
}

// testConservation commits sheets of every kind of row: each must come back once,
// in order.
func testConservation(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	for round := range 3 {
		var rows []ledger.ImportRow
		for i := range 60 {
			r := ledger.ImportRow{Line: i*2 + round, Cells: []string{fmt.Sprint(round, i)}, Account: []string{"main", "eu"}[i%2], Op: Lead("r1a")}
			r.Op.Record = fmt.Sprint(i % 7)
			switch i % 5 {
			case 1:
				r.Code, r.Problem = "x", "y"
			case 2:
				r.Op.Action = crm.Share
			case 3:
				r.Op.Action, r.Op.User = crm.RevokeAll, ""
			}
			rows = append(rows, r)
		}
		Commit(t, l, rows[round*5:])
		Begin(t, l)
		for i, op := range Next(t, l) {
			Finish(t, l, op, []crm.Status{crm.Done, crm.Failed, crm.Accepted, crm.Uncertain, crm.Unchanged}[i%5])
		}
		got := Collect(t, l.Results(t.Context()))
		if len(got) != len(rows)-round*5 {
			t.Fatalf("got %d rows, want %d", len(got), len(rows)-round*5)
		}
		seen := make(map[int64]bool)
		for i, r := range got {
			want := rows[round*5+i]
			if r.Line != want.Line || r.Cells[0] != want.Cells[0] || r.Account != want.Account || r.Invalid != (want.Code != "") || !r.Invalid && r.Op != want.Op {
				t.Errorf("row %d: got %+v, want %+v", i, r, want)
			}
			if !r.Invalid && seen[r.ID] {
				t.Errorf("row %d shares operation %d with another", i, r.ID)
			}
			seen[r.ID] = true
		}
	}
}
