package ledger

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestWorkQueries(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	rows := stagedRows("r1a r1b r2a s1a r2b r3c")
	rows[5].Account = "eu"
	s := stageOf(t, l, rows)
	if err := s.Index(t.Context(), func(_ string, op crm.Operation) (string, string) {
		if op.User == "b" {
			return op.Record, "group"
		}
		return op.Record, ""
	}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Match(t.Context(), overlap); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(t.Context(), Source{}); err != nil {
		t.Fatal(err)
	}
	begun(t, l)
	ops := todo(t, l)
	if got, want := words(ops), "r1a/2 r1b/2 r2a/2 s1a/2 r2b/2"; got != want {
		t.Errorf("Todo: got %q, want %q", got, want)
	}
	page := func(ops []Op, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return words(ops)
	}
	ctx := t.Context()
	if got, want := page(l.Todo(ctx, "main", ops[1].Cursor(), 2)), "r2a/2 s1a/2"; got != want {
		t.Errorf("a page of Todo: got %q, want %q", got, want)
	}
	if got, want := page(l.Todo(ctx, "eu", Cursor{}, 9)), "r3c/2"; got != want {
		t.Errorf("Todo of another account: got %q, want %q", got, want)
	}
	if got := page(l.Todo(ctx, "none", Cursor{}, 9)); got != "" {
		t.Errorf("Todo of an unknown account: got %q", got)
	}
	if got, want := page(l.Round(ctx, "main", ops[0].Key, 0, 9)), "r1a/2 r1b/2 s1a/2"; got != want {
		t.Errorf("Round: got %q, want %q", got, want)
	}
	if got, want := page(l.Round(ctx, "main", ops[0].Key, 0, 1)), "r1a/2"; got != want {
		t.Errorf("Round of one: got %q, want %q", got, want)
	}
	if got, want := page(l.Round(ctx, "main", ops[0].Key, ops[0].Ord, 9)), "r1b/2 s1a/2"; got != want {
		t.Errorf("a page of Round: got %q, want %q", got, want)
	}
	if got, want := page(l.TodoBundle(ctx, "main", ops[1].Bundle, Cursor{}, 9)), "r1b/2 r2b/2"; got != want {
		t.Errorf("TodoBundle: got %q, want %q", got, want)
	}
	if got := page(l.TodoBundle(ctx, "main", ops[0].Bundle, Cursor{}, 9)); got != "" || ops[0].Bundle != 0 {
		t.Errorf("an operation without a bundle has %d and company %q", ops[0].Bundle, got)
	}
	if ops[0].Target != ops[3].Target || ops[0].Target == ops[1].Target || ops[0].Key == ops[2].Key {
		t.Error("targets or keys are not told apart")
	}

	finish(t, l, ops[2], Accepted)
	finish(t, l, ops[0], Accepted)
	finish(t, l, ops[1], Done)
	if got, want := page(l.Waiting(ctx, "main", 0, 9)), "r2a/0 r1a/0"; got != want {
		t.Errorf("Waiting: got %q, want the longest accepted first, %q", got, want)
	}
	waiting, err := l.Waiting(ctx, "main", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := page(l.Waiting(ctx, "main", waiting[0].Seq, 9)), "r1a/0"; got != want {
		t.Errorf("a page of Waiting: got %q, want %q", got, want)
	}
	if got, want := page(l.Todo(ctx, "main", Cursor{}, 9)), "s1a/2 r2b/2"; got != want {
		t.Errorf("Todo after some work: got %q, want %q", got, want)
	}
	if got, want := page(l.Round(ctx, "main", ops[0].Key, 0, 9)), "r1a/0 s1a/2"; got != want {
		t.Errorf("Round after some work: got %q, want what is accepted to hold its key, %q", got, want)
	}
}

// TestWorkQueriesUseTheirIndex keeps settled rows from costing anything: each
// query searches its own index and sorts nothing.
func TestWorkQueriesUseTheirIndex(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	for _, tt := range []struct {
		query, index string
		args         []driver.Value
	}{
		{todoQuery, "op_todo", []driver.Value{"main", int64(0), int64(0), int64(9)}},
		{todoBundleQuery, "op_bundle", []driver.Value{int64(1), "main", int64(0), int64(0), int64(9)}},
		{roundQuery, "op_round", []driver.Value{int64(1), "main", int64(0), int64(9)}},
		{waitingQuery, "op_wait", []driver.Value{"main", int64(0), int64(9)}},
	} {
		var plan []string
		if err := l.alone(t.Context(), func(c *conn) error {
			return c.query("EXPLAIN QUERY PLAN "+tt.query, func(v []driver.Value) error {
				plan = append(plan, text(v[3]))
				return nil
			}, tt.args...)
		}); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(plan, "; ")
		if !strings.Contains(got, "SEARCH o USING INDEX "+tt.index) || strings.Contains(got, "TEMP B-TREE") || strings.Contains(got, "SCAN") {
			t.Errorf("%s: %s", tt.index, got)
		}
	}
}

func TestIntendAndSettle(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	adopted(t, l, stagedRows("r1a r1a s2b"))
	run := begun(t, l)
	op := todo(t, l)[0]
	later := at.Add(time.Minute)
	intend := func(call string, attempt int) {
		t.Helper()
		if err := l.Intend(t.Context(), Intent{CallID: call, Account: "main", Ops: []int64{op.ID}, Attempt: attempt, At: at}); err != nil {
			t.Fatal(err)
		}
	}
	settle := func(s Settle) {
		t.Helper()
		s.Op = op.ID
		if err := l.Settle(t.Context(), []Settle{s}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, want Result) {
		t.Helper()
		for i, got := range collect(t, l.Results(t.Context()))[:2] {
			want.Ord, want.Line, want.Cells, want.Account, want.Op = int64(i+1), i+2, []string{"r1a", ""}, "main", lead("r1a")
			want.ID, want.Joined = op.ID+int64(i), i == 1
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, row %d (-want +got):\n%s", what, i+1, diff)
			}
		}
	}
	intend("c1", 1)
	check("intended", Result{State: Sent, Turn: TurnNormal, Open: true, CallID: "c1", Attempts: 1, SentAt: at, FirstRun: run})
	intend("c1", 2)
	check("repeated", Result{State: Sent, Turn: TurnNormal, Open: true, CallID: "c1", Attempts: 2, SentAt: at, FirstRun: run})
	settle(Settle{CallID: "c1", State: Pending, Turn: TurnNormal, Open: true, Attempts: 0, Code: "busy", HTTPStatus: 429})
	check("refused by the limit", Result{State: Pending, Turn: TurnNormal, Open: true, CallID: "c1", Code: "busy", HTTPStatus: 429, FirstRun: run})
	intend("c2", 1)
	settle(Settle{CallID: "c2", State: Accepted, Open: true, RequestID: "R", Ticket: "T", HTTPStatus: 200, Attempts: 2, SentAt: later})
	check("accepted", Result{State: Accepted, Open: true, CallID: "c2", RequestID: "R", Ticket: "T", HTTPStatus: 200, Attempts: 2, SentAt: later, FirstRun: run})
	settle(Settle{CallID: "c2", State: Accepted, Open: true, Confirm: true, Code: "5", Message: "in progress"})
	check("looked at", Result{State: Accepted, Open: true, CallID: "c2", RequestID: "R", Ticket: "T", Code: "5", Message: "in progress", Attempts: 2, SentAt: later, FirstRun: run})
	settle(Settle{CallID: "c2", State: Done, Confirm: true, HTTPStatus: 200, ConfirmedAt: later})
	check("confirmed", Result{State: Done, CallID: "c2", RequestID: "R", Ticket: "T", HTTPStatus: 200, Attempts: 2, SentAt: later, ConfirmedAt: later, FirstRun: run})
	if got, want := words(todo(t, l)), "s2b/2"; got != want {
		t.Errorf("to do: got %q, want %q", got, want)
	}
}

func TestSettleWithoutIntent(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	adopted(t, l, stagedRows("r1a r2b"))
	begun(t, l)
	ops := todo(t, l)
	if err := l.Settle(t.Context(), []Settle{
		{CallID: "c", Op: ops[0].ID, State: Unchanged, ConfirmedAt: at},
		{CallID: "c", Op: ops[1].ID, State: Pending, Turn: TurnNormal, Open: true, Code: "busy"},
	}); err != nil {
		t.Fatal(err)
	}
	if got, want := states(t, l), "r1a:unchanged r2b:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	events := collect(t, l.Events(t.Context(), 3))
	if len(events) != 1 || events[0].Kind != "outcome" {
		t.Errorf("got %d events for one call, want one", len(events))
	}
	// The second was never tried: it comes back as new, the first is history.
	adopted(t, l, stagedRows("r1a r2b"))
	if got, want := words(todo(t, l)), "r2b/2"; got != want {
		t.Errorf("to do: got %q, want %q", got, want)
	}
}

func TestRefusedChangesLeaveTheOthersAlone(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	adopted(t, l, stagedRows("r1a r1a r2b r3c r4d"))
	begun(t, l)
	ops := todo(t, l)
	intent := func(ids ...int64) Intent {
		return Intent{CallID: fmt.Sprint(ids), Account: "main", Ops: ids, Attempt: 1, At: at}
	}
	wantIs(t, l.Settle(t.Context(), []Settle{{Op: ops[1].ID, State: Done}, {Op: 999, State: Done}}), ErrUnknownOp)
	wantIs(t, l.Intend(t.Context(), intent(ops[0].ID+1)), ErrUnknownOp) // goes with another
	if err := l.Intend(t.Context(), Intent{}); err == nil {
		t.Error("an intent of nothing was taken")
	}
	if got, want := states(t, l), "r1a:not_attempted r1a:not_attempted r2b:not_attempted r3c:not_attempted r4d:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	// Held up, the writer finds them all waiting and puts them in one commit.
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.alone(background(), func(*conn) error { close(held); <-hold; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-held
	errs := make([]error, 4)
	for i, id := range []int64{ops[0].ID, 999, ops[2].ID, ops[3].ID} {
		wg.Go(func() { errs[i] = l.Intend(background(), intent(id)) })
	}
	gone, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if err := l.Intend(gone, intent(ops[1].ID)); !errors.Is(err, context.Canceled) {
			t.Errorf("an intent given up while it waited: got %v", err)
		}
	})
	for len(l.jobs) < 5 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	for cancelled := false; !cancelled; time.Sleep(time.Millisecond) {
		cancelled = gone.Err() != nil
	}
	time.Sleep(10 * time.Millisecond) // for the one that gives up to do so
	close(hold)
	wg.Wait()
	wantIs(t, errs[1], ErrUnknownOp)
	if err := errors.Join(errs[0], errs[2], errs[3]); err != nil {
		t.Errorf("the others suffer for it: %v", err)
	}
	if got, want := states(t, l), "r1a:in_doubt r1a:in_doubt r2b:not_attempted r3c:in_doubt r4d:in_doubt"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := l.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	var rows []Staged
	for i := range 64 {
		op := lead("r1a")
		op.Record = fmt.Sprint(i)
		rows = append(rows, Staged{Line: i + 2, Cells: []string{"x"}, Account: "main", Op: op})
	}
	adopted(t, l, rows)
	begun(t, l)
	var wg sync.WaitGroup
	for _, op := range todo(t, l) {
		wg.Go(func() { finish(t, l, op, Done) })
		wg.Go(func() {
			for _, err := range l.Results(background()) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := strings.Count(states(t, l), "x:done"); got != len(rows) {
		t.Errorf("got %d rows done, want %d", got, len(rows))
	}
	if err := l.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
}
