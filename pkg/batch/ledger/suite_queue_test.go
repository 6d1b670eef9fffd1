package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func testWorkQueries(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	rows := Rows("r1a r1b r2a s1a r2b r3c")
	rows[5].Account = "eu"
	Commit(t, l, rows)
	Begin(t, l)
	ops := Next(t, l)
	if got, want := Words(ops), "r1a/2 r1b/2 r2a/2 s1a/2 r2b/2"; got != want {
		t.Errorf("Next: got %q, want %q", got, want)
	}
	page := func(ops []ledger.Op, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return Words(ops)
	}
	ctx := t.Context()
	if got, want := page(l.Next(ctx, "main", ops[1].Cursor(), 2)), "r2a/2 s1a/2"; got != want {
		t.Errorf("a page of Next: got %q, want %q", got, want)
	}
	if got, want := page(l.Next(ctx, "eu", ledger.Cursor{}, 9)), "r3c/2"; got != want {
		t.Errorf("Next of another account: got %q, want %q", got, want)
	}
	if got := page(l.Next(ctx, "none", ledger.Cursor{}, 9)); got != "" {
		t.Errorf("Next of an unknown account: got %q", got)
	}
	if got, want := page(l.OfKey(ctx, "main", ByRecord(ops[0].Operation), 0, 9)), "r1a/2 r1b/2 s1a/2"; got != want {
		t.Errorf("OfKey: got %q, want %q", got, want)
	}
	if got, want := page(l.OfKey(ctx, "main", ByRecord(ops[0].Operation), 0, 1)), "r1a/2"; got != want {
		t.Errorf("OfKey of one: got %q, want %q", got, want)
	}
	if got, want := page(l.OfKey(ctx, "main", ByRecord(ops[0].Operation), ops[0].Ord, 9)), "r1b/2 s1a/2"; got != want {
		t.Errorf("a page of OfKey: got %q, want %q", got, want)
	}
	ofUser := crm.Target{Object: crm.Lead, Record: "1", User: "a"}
	if got, want := page(l.OfKey(ctx, "main", ofUser, 0, 9)), "r1a/2 s1a/2"; got != want {
		t.Errorf("OfKey of a user: got %q, want %q", got, want)
	}
	ofUser.Context = "c"
	if got := page(l.OfKey(ctx, "main", ofUser, 0, 9)); got != "" {
		t.Errorf("OfKey of a context that no row has: got %q", got)
	}
	if got := page(l.OfKey(ctx, "eu", ByRecord(ops[0].Operation), 0, 9)); got != "" {
		t.Errorf("OfKey of another account: got %q", got)
	}
	if ops[0].Target() != ops[3].Target() || ops[0].Target() == ops[1].Target() {
		t.Error("targets are not told apart")
	}

	alone := func(account string) (words string) {
		ops, err := l.Next(ctx, account, ledger.Cursor{}, 9)
		Must(t, err)
		return Words(slices.DeleteFunc(ops, func(op ledger.Op) bool { return !op.Alone }))
	}
	if got := alone("main") + alone("eu"); got != "r3c/2" {
		t.Errorf("alone on their records: got %q, want the other account's row", got)
	}

	Finish(t, l, ops[2], crm.Accepted)
	Finish(t, l, ops[0], crm.Accepted)
	Finish(t, l, ops[1], crm.Done)
	if got, want := page(l.Unconfirmed(ctx, "main", 0, 9)), "r2a/0 r1a/0"; got != want {
		t.Errorf("Unconfirmed: got %q, want the longest accepted first, %q", got, want)
	}
	waiting, err := l.Unconfirmed(ctx, "main", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := page(l.Unconfirmed(ctx, "main", waiting[0].Seq, 9)), "r1a/0"; got != want {
		t.Errorf("a page of Unconfirmed: got %q, want %q", got, want)
	}
	if got, want := page(l.Next(ctx, "main", ledger.Cursor{}, 9)), "s1a/2 r2b/2"; got != want {
		t.Errorf("Next after some work: got %q, want %q", got, want)
	}
	if got, want := page(l.OfKey(ctx, "main", ByRecord(ops[0].Operation), 0, 9)), "r1a/0 s1a/2"; got != want {
		t.Errorf("OfKey after some work: got %q, want what is accepted to hold its key, %q", got, want)
	}
}

func testIntendAndRecord(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a r1a s2b"))
	run := Begin(t, l)
	op := Next(t, l)[0]
	later := At.Add(time.Minute)
	intend := func(call string, attempt int) {
		t.Helper()
		if err := l.Intend(t.Context(), ledger.Intent{CallID: call, Account: "main", Ops: []ledger.Op{op}, Attempt: attempt, At: At}); err != nil {
			t.Fatal(err)
		}
	}
	record := func(s ledger.Outcome) {
		t.Helper()
		s.Op = op
		if err := l.Record(t.Context(), []ledger.Outcome{s}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, want ledger.Result) {
		t.Helper()
		for i, got := range Collect(t, l.Results(t.Context()))[:2] {
			want.Ord, want.Line, want.Cells, want.Account, want.Op = int64(i+1), i+2, []string{"r1a", ""}, "main", Lead("r1a")
			want.ID, want.Member = op.ID+int64(i), i == 1
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, row %d (-want +got):\n%s", what, i+1, diff)
			}
		}
	}
	intend("c1", 1)
	check("intended", ledger.Result{Status: crm.Sent, Turn: ledger.TurnNormal, Open: true, CallID: "c1", Attempts: 1, SentAt: At, FirstRun: run})
	intend("c1", 2)
	check("repeated", ledger.Result{Status: crm.Sent, Turn: ledger.TurnNormal, Open: true, CallID: "c1", Attempts: 2, SentAt: At, FirstRun: run})
	record(ledger.Outcome{CallID: "c1", Status: crm.Pending, Turn: ledger.TurnNormal, Open: true, Attempts: 0, Code: "busy", HTTPStatus: 429})
	check("refused by the limit", ledger.Result{Status: crm.Pending, Turn: ledger.TurnNormal, Open: true, CallID: "c1", Code: "busy", HTTPStatus: 429, FirstRun: run})
	intend("c2", 1)
	record(ledger.Outcome{CallID: "c2", Status: crm.Accepted, Open: true, RequestID: "R", Ticket: "T", HTTPStatus: 200, Attempts: 2, SentAt: later})
	check("accepted", ledger.Result{Status: crm.Accepted, Open: true, CallID: "c2", RequestID: "R", Ticket: "T", HTTPStatus: 200, Attempts: 2, SentAt: later, FirstRun: run})
	record(ledger.Outcome{CallID: "c2", Status: crm.Accepted, Open: true, Confirm: true, Code: "5", Message: "in progress"})
	check("looked at", ledger.Result{Status: crm.Accepted, Open: true, CallID: "c2", RequestID: "R", Ticket: "T", Code: "5", Message: "in progress", Attempts: 2, SentAt: later, FirstRun: run})
	record(ledger.Outcome{CallID: "c2", Status: crm.Done, Confirm: true, HTTPStatus: 200, ConfirmedAt: later})
	check("confirmed", ledger.Result{Status: crm.Done, CallID: "c2", RequestID: "R", Ticket: "T", HTTPStatus: 200, Attempts: 2, SentAt: later, ConfirmedAt: later, FirstRun: run})
	if got, want := Words(Next(t, l)), "s2b/2"; got != want {
		t.Errorf("to do: got %q, want %q", got, want)
	}
	seqs := func(want ...int64) {
		t.Helper()
		var got []int64
		for _, h := range Collect(t, l.History(t.Context())) {
			got = append(got, h.Seq)
		}
		if !slices.Equal(got, want) {
			t.Errorf("places in the history: got %v, want %v", got, want)
		}
	}
	seqs(7, 8) // where they were when they were accepted
}

// testTriedAgain: what failed and is sent again another night keeps its ticket and what it
// was answered until there is a new outcome, but it is no longer confirmed.
func testTriedAgain(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a"))
	run := Begin(t, l)
	op := Next(t, l)[0]
	intend := func(call string, attempt int) {
		t.Helper()
		Must(t, l.Intend(t.Context(), ledger.Intent{CallID: call, Account: "main", Ops: []ledger.Op{op}, Attempt: attempt, At: At}))
	}
	intend("c1", 1)
	Must(t, l.Record(t.Context(), []ledger.Outcome{{CallID: "c1", Op: op, Status: crm.Failed, RequestID: "R", Code: "inherited", HTTPStatus: 200, Attempts: 2, SentAt: At, ConfirmedAt: At}}))
	Commit(t, l, Rows("r1a"))
	Begin(t, l)
	intend("c2", 1)
	want := ledger.Result{
		Ord: 1, Line: 2, Cells: []string{"r1a", ""}, Account: "main", Op: Lead("r1a"), ID: op.ID, Status: crm.Sent, Turn: ledger.TurnLate, Open: true,
		CallID: "c2", RequestID: "R", Code: "inherited", HTTPStatus: 200, Attempts: 3, SentAt: At, FirstRun: run,
	}
	if diff := cmp.Diff([]ledger.Result{want}, Collect(t, l.Results(t.Context()))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func testRecordWithoutIntent(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a r2b"))
	Begin(t, l)
	ops := Next(t, l)
	if err := l.Record(t.Context(), []ledger.Outcome{
		{CallID: "c", Op: ops[0], Status: crm.Unchanged, ConfirmedAt: At},
		{CallID: "c", Op: ops[1], Status: crm.Pending, Turn: ledger.TurnNormal, Open: true, Code: "busy"},
	}); err != nil {
		t.Fatal(err)
	}
	if got, want := States(t, l), "r1a:unchanged r2b:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	events := Collect(t, l.Events(t.Context(), 3))
	if len(events) != 1 || events[0].Kind != "outcome" {
		t.Errorf("got %d events for one call, want one", len(events))
	}
	// The second was never tried: it comes back as new, the first is history.
	Commit(t, l, Rows("r1a r2b"))
	if got, want := Words(Next(t, l)), "r2b/2"; got != want {
		t.Errorf("to do: got %q, want %q", got, want)
	}
}

func testManyAtOnce(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	var rows []ledger.ImportRow
	for i := range 64 {
		op := Lead("r1a")
		op.Record = fmt.Sprint(i)
		rows = append(rows, ledger.ImportRow{Line: i + 2, Cells: []string{"x"}, Account: "main", Op: op})
	}
	Commit(t, l, rows)
	Begin(t, l)
	var wg sync.WaitGroup
	for _, op := range Next(t, l) {
		wg.Go(func() { Finish(t, l, op, crm.Done) })
		wg.Go(func() {
			for _, err := range l.Results(context.Background()) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := strings.Count(States(t, l), "x:done"); got != len(rows) {
		t.Errorf("got %d rows done, want %d", got, len(rows))
	}
	if err := l.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
}

// testFailedCommitKeepsTheChain: what a transaction that was taken back had moved
// in memory is taken back too.
func testFailedCommitKeepsTheChain(t *testing.T, newStore NewStore) {
	why := errors.New("enough")
	var full atomic.Bool
	o := tap{before: func(query string, _ []any) error {
		if query == "COMMIT" && full.Load() {
			return why
		}
		return nil
	}}.on(Options())
	l, err := newStore(t).Open(o)
	Must(t, err)
	defer l.Close()
	Commit(t, l, Rows("r1a r2b"))
	Begin(t, l)
	before, _, err := l.Head(t.Context())
	Must(t, err)
	ops := Next(t, l)
	full.Store(true)
	WantIs(t, l.Intend(t.Context(), ledger.Intent{CallID: "x", Account: "main", Ops: []ledger.Op{ops[1]}, Attempt: 1, At: At}), why)
	full.Store(false)
	Finish(t, l, ops[0], crm.Done)
	Must(t, l.VerifyChain(t.Context()))
	after, _, err := l.Head(t.Context())
	if err != nil || after != before+2 {
		t.Errorf("the head is at %d, %v, want %d", after, err, before+2)
	}
	if got, err := l.OfKey(t.Context(), "main", ops[0].Target(), 0, 9); err != nil || len(got) != 0 {
		t.Errorf("what is done is still open: %v, %v", got, err)
	}
	if got := Collect(t, l.History(t.Context())); len(got) != 1 || got[0].Seq != 2 {
		t.Errorf("the history is %+v, want one operation in place 2", got)
	}
}

// testCommitWithoutAnswer: whether a commit has happened whose answer was lost, nobody
// assumes. The change is reported as failed, the ledger says what has become of it, and goes
// on from there.
func testCommitWithoutAnswer(t *testing.T, newStore NewStore) {
	var gone atomic.Bool
	l, err := newStore(t).Open(tap{after: func(query string) error {
		if query == "COMMIT" && gone.Load() {
			return errFault
		}
		return nil
	}}.on(Options()))
	Must(t, err)
	defer l.Close()
	Commit(t, l, Rows("r1a r2b"))
	Begin(t, l)
	ops := Next(t, l)
	gone.Store(true)
	WantIs(t, l.Intend(t.Context(), ledger.Intent{CallID: "x", Account: "main", Ops: []ledger.Op{ops[1]}, Attempt: 1, At: At}), errFault)
	gone.Store(false)
	if got, want := States(t, l), "r1a:not_attempted r2b:in_doubt"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	Agrees(t, l)
	Finish(t, l, ops[0], crm.Done)
	Finish(t, l, ops[1], crm.Done)
	if got, want := States(t, l), "r1a:done r2b:done"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	Agrees(t, l)
}

// testRefusedChanges: a change that can not be made changes nothing, whatever is in it.
func testRefusedChanges(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a r1a r2b"))
	Begin(t, l)
	ops := Next(t, l)
	WantIs(t, l.Record(t.Context(), []ledger.Outcome{{Op: ops[1], Status: crm.Done}, {Op: ledger.Op{ID: 999, Rows: 1}, Status: crm.Done}}), ledger.ErrUnknownOp)
	WantIs(t, l.Intend(t.Context(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{{ID: ops[0].ID + 1, Rows: 1}}, Attempt: 1, At: At}), ledger.ErrUnknownOp) // goes with another
	if err := l.Intend(t.Context(), ledger.Intent{}); err == nil {
		t.Error("an intent of nothing was taken")
	}
	if got, want := States(t, l), "r1a:not_attempted r1a:not_attempted r2b:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	Must(t, l.VerifyChain(t.Context()))
}

// testRecordAnyBytes: what a CRM says is kept whatever bytes it is of, as text that can be
// read, and agrees with the events.
func testRecordAnyBytes(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a"))
	Begin(t, l)
	out := OutcomeOf(Next(t, l)[0], "c", crm.Failed)
	out.RequestID, out.Code, out.Message, out.Note = "R\xff\x00", "\u2028\"", "line\nbreak \xff\xfe\x00<", "'\\"
	Must(t, l.Record(t.Context(), []ledger.Outcome{out}))
	r := Collect(t, l.Results(t.Context()))[0]
	if !strings.HasPrefix(r.RequestID, "R") || r.Code != out.Code || r.Note != out.Note || !strings.HasPrefix(r.Message, "line\nbreak ") || !strings.HasSuffix(r.Message, "<") {
		t.Errorf("got %+v", r)
	}
	Must(t, l.VerifyChain(t.Context()))
	Must(t, l.VerifyRows(t.Context()))
}
