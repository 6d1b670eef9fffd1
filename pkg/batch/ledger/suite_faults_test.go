package ledger_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Step is a part of some nights with a ledger. It can be done again if it has failed.
type Step struct {
	Name    string
	Changes bool // durable tables
	// Sheet and Rows are, where the step takes in a sheet, its name and its rows.
	Sheet, Rows string
	Do          func(ctx context.Context, l *ledger.Ledger) error
}

// Steps are nights with two sheets, with all that changes a ledger, and what reads it.
func Steps() []Step {
	sheet := func(step, name, words string) Step {
		return Step{step, true, name, words + " m o", func(ctx context.Context, l *ledger.Ledger) error { return takeIn(ctx, l, name, Rows(words)) }}
	}
	begin := func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.BeginRun(ctx, ledger.RunInfo{Version: "v1", Args: []string{"run"}})
		return err
	}
	// first finds the first head that is to be done.
	first := func(ctx context.Context, l *ledger.Ledger) (ledger.Op, error) {
		ops, err := l.Next(ctx, "main", ledger.Cursor{}, 1)
		if err == nil && len(ops) == 0 {
			err = errors.New("there is nothing to do")
		}
		if err != nil {
			return ledger.Op{}, err
		}
		return ops[0], nil
	}
	look := crm.State{Looked: true, Rewrites: true, Grants: []crm.Grant{{Kind: "user", ID: "a"}, {Kind: "user", ID: "z"}}}
	intend := func(call string, before crm.State) func(context.Context, *ledger.Ledger) error {
		return func(ctx context.Context, l *ledger.Ledger) error {
			op, err := first(ctx, l)
			if err != nil {
				return err
			}
			return l.Intend(ctx, ledger.Intent{CallID: call, Account: "main", Ops: []ledger.Op{op}, Attempt: 1, Before: before, At: At})
		}
	}
	record := func(call string, state crm.Status) func(context.Context, *ledger.Ledger) error {
		return func(ctx context.Context, l *ledger.Ledger) error {
			op, err := first(ctx, l)
			if err != nil {
				return err
			}
			return l.Record(ctx, []ledger.Outcome{OutcomeOf(op, call, state)})
		}
	}
	confirm := func(ctx context.Context, l *ledger.Ledger) error {
		ops, err := l.Unconfirmed(ctx, "main", 0, 9)
		if err != nil {
			return err
		}
		var outcomes []ledger.Outcome
		for _, op := range ops {
			outcomes = append(outcomes, ledger.Outcome{Op: op, Status: crm.Done, Confirm: true, ConfirmedAt: At})
		}
		return l.Record(ctx, outcomes)
	}
	end := func(ctx context.Context, l *ledger.Ledger) error {
		runs, err := l.Runs(ctx)
		if err != nil {
			return err
		}
		return l.EndRun(ctx, runs[len(runs)-1].ID, nil)
	}
	return []Step{
		{"bind", true, "", "", func(ctx context.Context, l *ledger.Ledger) error {
			return l.Bind(ctx, ledger.Binding{Account: "main", CRM: "leadsquared", Host: "h", Org: "o"})
		}},
		sheet("the first sheet", "", "r1a r1a s2b *3"),
		{"begin", true, "", "", begin},
		{"intend a group", true, "", "", intend("c1", look)},
		{"accept it", true, "", "", record("c1", crm.Accepted)},
		{"intend", true, "", "", intend("c2", crm.State{})},
		{"refuse it", true, "", "", record("c2", crm.Failed)},
		{"intend what nobody answers", true, "", "", intend("c3", look)},
		{"confirm", true, "", "", confirm},
		{"end", true, "", "", end},
		{"remember the result", true, "", "", func(ctx context.Context, l *ledger.Ledger) error { return l.Wrote(ctx, "x.csv") }},
		sheet("the undo sheet", ".undo", "s1a r2b"),
		{"begin the undo", true, "", "", begin},
		{"intend the undo", true, "", "", intend("u1", look)},
		{"undo", true, "", "", record("u1", crm.Done)},
		sheet("the second night", "", "r1a s2b *3"),
		{"begin the second night", true, "", "", begin},
		{"intend again", true, "", "", intend("c4", look)},
		{"done", true, "", "", record("c4", crm.Done)},

		{"results", false, "", "", func(ctx context.Context, l *ledger.Ledger) error { return drain(l.Results(ctx)) }},
		{"results by person", false, "", "", func(ctx context.Context, l *ledger.Ledger) error { return drain(l.ResultsByPerson(ctx)) }},
		{"counts", false, "", "", func(ctx context.Context, l *ledger.Ledger) error { _, err := l.Counts(ctx); return err }},
		{"history", false, "", "", func(ctx context.Context, l *ledger.Ledger) error { return drain(l.History(ctx)) }},
		{"events", false, "", "", func(ctx context.Context, l *ledger.Ledger) error { return drain(l.Events(ctx, 0)) }},
		{"chain", false, "", "", func(ctx context.Context, l *ledger.Ledger) error { return l.VerifyChain(ctx) }},
		{"rows", false, "", "", func(ctx context.Context, l *ledger.Ledger) error { return l.VerifyRows(ctx) }},
		{"the earlier sheet", false, "", "", func(ctx context.Context, l *ledger.Ledger) error {
			ok, err := l.Choose(ctx, ".undo")
			if err == nil && !ok {
				err = errors.New("it is gone")
			}
			err = errors.Join(err, drain(l.Results(ctx)))
			_, back := l.Choose(ctx, "")
			return errors.Join(err, back)
		}},
		{"bystanders", false, "", "", func(ctx context.Context, l *ledger.Ledger) error {
			_, err := l.Bystanders(ctx, []int64{1, 2, 3}, ByRecord)
			return err
		}},
		{"review", false, "", "", func(ctx context.Context, l *ledger.Ledger) error {
			r, err := l.Review(ctx)
			if err != nil {
				return err
			}
			return errors.Join(drain(r.Rows(ctx)), r.Ask(ctx, []ledger.Question{{Ord: 1, Account: "main", Ticket: "t"}}),
				drain(r.Questions(ctx, "main")), r.Answer(ctx, []ledger.Answer{{Ord: 1, Holds: "yes"}}), drain(r.Answers(ctx)))
		}},
	}
}

// takeIn makes the rows, and one with an address and one that is invalid, a sheet.
func takeIn(ctx context.Context, l *ledger.Ledger, name string, rows []ledger.ImportRow) error {
	s, err := l.Import(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	rows = append(rows,
		ledger.ImportRow{Line: 90, Account: "main", Cells: []string{"m"}, Op: crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "8"}, Email: "m@x.de"},
		ledger.ImportRow{Line: 91, Account: "main", Cells: []string{"o"}, Op: Lead("r8o"), Marks: []ledger.Mark{{Name: "odd", Column: "user", Value: "o"}}},
	)
	for _, r := range rows {
		if err := s.Add(r); err != nil {
			return err
		}
	}
	if err := s.Resolve(ctx, "main", "m@x.de", "m"); err != nil {
		return err
	}
	if _, err := s.Reject(ctx, ledger.Where{Mark: "odd"}, ledger.Rejection{Code: "odd_id", Problem: "is odd"}); err != nil {
		return err
	}
	if err := s.Match(ctx, EachTarget(Overlap)); err != nil {
		return err
	}
	if _, err := s.Counts(ctx); err != nil {
		return err
	}
	return s.Commit(ctx, ledger.Source{Name: "off" + name + ".csv", Sheet: name})
}

func drain[T any](seq func(func(T, error) bool)) (err error) {
	for _, e := range seq {
		err = errors.Join(err, e)
	}
	return err
}

// errFault is what a statement fails with.
var errFault = errors.New("the cable was pulled")

// faults has statements fail. While at is 0, none does.
type faults struct {
	changes bool // only statements that may change durable tables, or end a transaction, count

	mu    sync.Mutex // guards what follows
	at    int        // the number of the statement that fails
	dead  bool       // so do all after it
	count int
	query string // that failed first
}

// changing tells statements that may change durable tables.
var changing = regexp.MustCompile(`^(INSERT INTO|UPDATE|DELETE FROM) (?:[^i]|i[^m])|^COMMIT|FOR UPDATE`)

// set has the statement of the number fail next, counted from now on.
func (f *faults) set(at int, dead bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.dead, f.count, f.query = at, dead, 0, ""
}

// hit returns the statement that has failed, "" if none has.
func (f *faults) hit() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.query
}

func (f *faults) statement(query string, _ []any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes && !changing.MatchString(query) && !(f.dead && f.count >= f.at) {
		return nil
	}
	if f.count++; f.at == 0 || f.count < f.at || f.count > f.at && !f.dead {
		return nil
	}
	if f.query == "" {
		f.query = query
	}
	return errFault
}

// testFaults has every statement of every step fail once. The error comes out, the ledger is
// as it was before or as it is after, and the step can be done again.
func testFaults(t *testing.T, newStore NewStore) {
	var f faults
	o := tap{before: f.statement}.on(Options())
	store := newStore(t)
	l, err := store.Open(o)
	Must(t, err)
	defer l.Close()
	statements := 0
	for _, step := range Steps() {
		before := Dump(t, store)
		for n := 1; ; n++ {
			f.set(n, false)
			err := step.Do(t.Context(), l)
			query := f.hit()
			f.set(0, false)
			if query == "" {
				Must(t, err)
				break
			}
			statements++
			if !errors.Is(err, errFault) && query != "DISCARD TEMP" { // that connection is closed instead
				t.Errorf("%s: statement %d (%s) fails, and the error is %v", step.Name, n, query, err)
			}
			before = step.before(t, l, store, before, query)
		}
		Agrees(t, l)
	}
	t.Logf("%d statements have failed", statements)
}

// before checks, after a statement has failed, that the tables are as they were before the
// step, and returns them. Taking in a sheet is the one step that has something to do after
// it has become durable: its sheet may be the ledger's, all of it.
func (s Step) before(t testing.TB, l *ledger.Ledger, store Store, before, query string) string {
	t.Helper()
	after := Dump(t, store)
	if after == before {
		return before
	}
	var rows []string
	if s.Rows != "" {
		_, err := l.Choose(t.Context(), s.Sheet)
		Must(t, err)
		for _, r := range Collect(t, l.Results(t.Context())) {
			rows = append(rows, r.Cells[0])
		}
	}
	if s.Rows == "" || strings.Join(rows, " ") != s.Rows {
		t.Fatalf("%s: %s fails, and the tables have changed (-before +after):\n%s", s.Name, query, cmp.Diff(before, after))
	}
	Agrees(t, l)
	return after
}

// testKilled has everything fail from every statement of every step on that changes a
// durable table or ends a transaction, as when the database goes away, and as when the process is killed.
// When it is back, and opened again, the ledger is as it was before, and the step can be
// done.
func testKilled(t *testing.T, newStore NewStore) {
	store := newStore(t)
	f := faults{changes: true}
	o := tap{before: f.statement}.on(Options())
	l, err := store.Open(o)
	Must(t, err)
	defer func() { l.Close() }()
	kills := 0
	for _, step := range Steps() {
		if !step.Changes {
			continue
		}
		before := Dump(t, store)
		// fail does the step with all that fails from the statement on, and says whether any has.
		fail := func(n int) bool {
			f.set(n, true)
			err := step.Do(t.Context(), l)
			query := f.hit()
			if query == "" {
				Must(t, err)
				f.set(0, false)
				return false
			}
			kills++
			if !errors.Is(err, errFault) {
				t.Errorf("%s: all fails from statement %d (%s), and the error is %v", step.Name, n, query, err)
			}
			return true
		}
		for n := 1; fail(n); n++ {
			query := f.hit()
			f.set(0, false) // the database is back
			before = step.before(t, l, store, before, query)
			if !fail(n) {
				t.Fatalf("%s: statement %d does not fail again", step.Name, n)
			}
			query = f.hit()
			l.Close() // as well as it can
			f.set(0, false)
			l, err = store.Open(o)
			Must(t, err)
			before = step.before(t, l, store, before, query)
		}
		Agrees(t, l)
	}
	t.Logf("%d kills", kills)
}
