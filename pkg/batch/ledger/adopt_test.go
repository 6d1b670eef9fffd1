package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// TestNights adopts one sheet after the other, lets some of the work end, and
// compares what is left to do and what the rows show.
func TestNights(t *testing.T) {
	t.Parallel()
	type night struct {
		sheet  string
		todo   string // before the night's work
		finish []State
		states string // after it
	}
	for _, tt := range []struct {
		name   string
		nights []night
	}{
		{"the same again sends nothing", []night{
			{"r1a r2b", "r1a/2 r2b/2", []State{Done, Unchanged}, "r1a:done r2b:unchanged"},
			{"r1a r2b", "", nil, "r1a:done r2b:unchanged"},
		}},
		{"what was stopped goes on", []night{
			{"r1a r2b r3c", "r1a/2 r2b/2 r3c/2", []State{Done}, "r1a:done r2b:not_attempted r3c:not_attempted"},
			{"r1a r2b r3c", "r2b/2 r3c/2", []State{Done, Done}, "r1a:done r2b:done r3c:done"},
		}},
		{"accepted is asked about first, failed goes last", []night{
			{"r1a r2b r3c", "r1a/2 r2b/2 r3c/2", []State{Failed, Done, Accepted}, "r1a:failed r2b:done r3c:accepted"},
			{"r4d r1a r2b r3c", "r3c/1 r4d/2 r1a/3", []State{Done, Done, Done}, "r4d:done r1a:done r2b:done r3c:done"},
		}},
		{"a growing and shrinking sheet", []night{
			{"r1a r2b", "r1a/2 r2b/2", []State{Done}, "r1a:done r2b:not_attempted"},
			{"r3c r1a", "r3c/2", nil, "r3c:not_attempted r1a:done"},
			{"r2b r1a r3c", "r2b/2 r3c/2", []State{Done, Done}, "r2b:done r1a:done r3c:done"},
		}},
		{"equal rows go as one and share the outcome", []night{
			{"r1a r2b r1a r1a", "r1a/2 r2b/2", []State{Failed}, "r1a:failed r2b:not_attempted r1a:failed r1a:failed"},
			{"r1a r2b r1a r1a", "r2b/2 r1a/3 r1a/3 r1a/3", []State{Done, Done, Done, Done}, "r1a:done r2b:done r1a:done r1a:done"},
			{"r1a r1a r1a r1a", "r1a/2", []State{Done}, "r1a:done r1a:done r1a:done r1a:done"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := mustOpen(t, newFile(t))
			for i, n := range tt.nights {
				adopted(t, l, stagedRows(n.sheet))
				begun(t, l)
				ops := todo(t, l)
				if got := words(ops); got != n.todo {
					t.Errorf("night %d: to do %q, want %q", i+1, got, n.todo)
				}
				for j, state := range n.finish {
					finish(t, l, ops[j], state)
				}
				if got := states(t, l); got != n.states {
					t.Errorf("night %d: rows %q, want %q", i+1, got, n.states)
				}
			}
			if err := l.VerifyChain(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDroppedLeaderLeavesItsFollowersAlone(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	adopted(t, l, stagedRows("r1a r1a"))
	begun(t, l)
	finish(t, l, todo(t, l)[0], Failed)
	adopted(t, l, stagedRows("r1a")) // takes the first, the second is history
	begun(t, l)
	finish(t, l, todo(t, l)[0], Done)
	s := stageOf(t, l, stagedRows("r1a"))
	if err := s.Index(t.Context(), recordKey, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Match(t.Context(), func(past []Past, rows []crm.Operation) []Choice {
		if len(past) != 2 || past[0].State != Failed || past[1].State != Done {
			t.Errorf("got past %+v, want the second row's failure and then the first row's success", past)
		}
		return overlap(past, rows)
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAdoptTakesJoinedRows(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	adopted(t, l, stagedRows("r1a r1a s2b"))
	begun(t, l)
	finish(t, l, todo(t, l)[0], Accepted)
	// Both accepted rows go on together, under the second's operation or the first's.
	s := stageOf(t, l, stagedRows("s2b r1a r1a"))
	if err := s.Index(t.Context(), recordKey, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Match(t.Context(), func(past []Past, rows []crm.Operation) []Choice {
		if len(rows) != 2 || len(past) != 2 {
			t.Errorf("got %d rows and %d past", len(rows), len(past))
		}
		return []Choice{
			{Take: 0, Join: 0, Turn: TurnAsk, Prior: crm.PriorAccepted},
			{Take: 1, Join: 0, Turn: TurnAsk, Prior: crm.PriorAccepted},
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(t.Context(), Source{}); err != nil {
		t.Fatal(err)
	}
	begun(t, l)
	ops := todo(t, l)
	if got, want := words(ops), "r1a/1 s2b/2"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	if op := ops[0]; op.Rows != 2 || op.Prior != crm.PriorAccepted || op.Ticket != "Tcall-1" || op.Ord != 2 || op.Line != 3 || op.FirstRun != 1 || op.State != Accepted {
		t.Errorf("got %+v", op)
	}
	if err := l.Settle(t.Context(), []Settle{{CallID: "look", Op: ops[0].ID, State: Done, Confirm: true, ConfirmedAt: at}}); err != nil {
		t.Fatal(err)
	}
	if got, want := states(t, l), "s2b:not_attempted r1a:done r1a:done"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, r := range collect(t, l.Results(t.Context()))[1:] {
		if r.RequestID != "Rcall-1" || r.Ticket != "Tcall-1" || r.Attempts != 1 || !r.SentAt.Equal(at) || !r.ConfirmedAt.Equal(at) {
			t.Errorf("a look has changed what was sent: %+v", r)
		}
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	rows := stagedRows("r1a r1a s2b r3c")
	rows[3].Code, rows[3].Problem = "object", "unknown"
	adopted(t, l, rows)
	begun(t, l)
	finish(t, l, todo(t, l)[1], Failed)
	rows = stagedRows("r1a r1a s2b r3c r4d")
	rows[3].Code, rows[3].Problem = "object", "unknown"
	s := matched(t, l, rows)
	tally := func(t Tally) Tally { t.Account, t.Object = "main", crm.Lead; return t }
	want := []Tally{
		tally(Tally{Action: crm.Revoke, Turn: TurnNormal, Rows: 2}),
		tally(Tally{Action: crm.Revoke, Turn: TurnNormal, Joined: true, Rows: 1}),
		tally(Tally{Action: crm.Revoke, Invalid: true, Rows: 1}),
		tally(Tally{Action: crm.Share, Taken: true, State: Failed, Turn: TurnLate, Rows: 1}),
	}
	got, err := s.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("staged (-want +got):\n%s", diff)
	}
	if err := s.Adopt(t.Context(), Source{}); err != nil {
		t.Fatal(err)
	}
	if got, err = l.Counts(t.Context()); err != nil {
		t.Fatal(err)
	}
	want = []Tally{
		{Account: "main", Invalid: true, Rows: 1}, want[0], want[1], want[3],
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("adopted (-want +got):\n%s", diff)
	}
}

// TestAdoptInBulk goes the way on which indexes are made anew.
func TestAdoptInBulk(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	adopted(t, l, stagedRows("r1a"))
	s := matched(t, l, stagedRows("r1a r2b r2c"))
	if err := s.l.change(t.Context(), func(c *conn) error {
		a := adoption{c: c, ctx: t.Context(), base: s.base, bulk: 1}
		return a.run([]byte("{}"))
	}); err != nil {
		t.Fatal(err)
	}
	ops := todo(t, l)
	if got, want := words(ops), "r1a/2 r2b/2 r2c/2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, err := l.Round(t.Context(), "main", ops[1].Key, 0, 10); err != nil || words(got) != "r2b/2 r2c/2" {
		t.Errorf("got %q, %v by key", words(got), err)
	}
}

func TestAdoptCancelled(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	adopted(t, l, stagedRows("r1a"))
	s := matched(t, l, stagedRows(strings.Repeat("r2b s3c ", 100)))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	err := l.change(t.Context(), func(c *conn) error {
		a := adoption{c: c, ctx: ctx, base: s.base, bulk: bulk}
		a.do("DELETE FROM row")
		cancel(why)
		return a.run([]byte("{}"))
	})
	wantIs(t, err, why)
	wantIs(t, s.Adopt(ctx, Source{}), why)
	if got, want := states(t, l), "r1a:not_attempted"; got != want {
		t.Errorf("half of a sheet was adopted: got %q, want %q", got, want)
	}
}

// TestConservation adopts sheets of every kind of row: each must come back once,
// in order.
func TestConservation(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	for round := range 3 {
		var rows []Staged
		for i := range 60 {
			r := Staged{Line: i*2 + round, Cells: []string{fmt.Sprint(round, i)}, Account: []string{"main", "eu"}[i%2], Op: lead("r1a")}
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
		adopted(t, l, rows[round*5:])
		begun(t, l)
		for i, op := range todo(t, l) {
			finish(t, l, op, []State{Done, Failed, Accepted, InDoubt, Unchanged}[i%5])
		}
		got := collect(t, l.Results(t.Context()))
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
