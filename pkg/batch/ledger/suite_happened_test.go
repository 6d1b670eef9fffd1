package ledger_test

import (
	"iter"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// What has happened although it failed, and what was accepted before it failed, is told
// by all who are asked, until another outcome says otherwise.
func testHappened(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a r2b r3c"))
	Begin(t, l)
	ops := Next(t, l)
	intend := func(call string, op ledger.Op) {
		t.Helper()
		if err := l.Intend(t.Context(), ledger.Intent{CallID: call, Account: "main", Ops: []ledger.Op{op}, Attempt: 1, At: At}); err != nil {
			t.Fatal(err)
		}
	}
	record := func(o ledger.Outcome) {
		t.Helper()
		if err := l.Record(t.Context(), []ledger.Outcome{o}); err != nil {
			t.Fatal(err)
		}
	}
	failed := ledger.Outcome{CallID: "a", Op: ops[0], Status: crm.Failed, Happened: true}
	record(failed)
	intend("b", ops[1])
	record(ledger.Outcome{CallID: "b", Op: ops[1], Status: crm.Accepted, Open: true, Ticket: "T", Attempts: 1})
	record(ledger.Outcome{CallID: "b", Op: ops[1], Status: crm.Failed, Confirm: true, Uncertain: true})
	record(ledger.Outcome{CallID: "c", Op: ops[2], Status: crm.Failed})

	type told struct{ happened, accepted bool }
	want := map[string]told{"1": {true, false}, "2": {false, true}, "3": {}}
	check := func(t *testing.T) {
		t.Helper()
		got := make(map[string]told)
		s := Import(t, l, Rows("r1a r2b r3c"))
		if err := s.Match(t.Context(), func(entries iter.Seq2[ledger.Entry, error], _ func([]ledger.Entry, []ledger.Entry, bool, []ledger.Choice) error) error {
			return Targets(entries, func(past, _ []ledger.Entry, _ bool) error {
				for _, e := range past {
					got[e.Op.Record] = told{e.Happened, e.Accepted}
				}
				return nil
			})
		}); err != nil {
			t.Fatal(err)
		}
		for record, w := range want {
			if got[record] != w {
				t.Errorf("Match: record %s is %+v, want %+v", record, got[record], w)
			}
		}
		for _, h := range Collect(t, l.History(t.Context())) {
			if w := want[h.Op.Record]; h.Happened != w.happened {
				t.Errorf("History: record %s is %t, want %t", h.Op.Record, h.Happened, w.happened)
			}
		}
		rows := Collect(t, Review(t, l).Rows(t.Context()))
		if len(rows) != len(want) {
			t.Errorf("%d rows to review, want %d", len(rows), len(want))
		}
		for _, r := range rows {
			if w := want[r.Op.Record]; r.Happened != w.happened {
				t.Errorf("Review: record %s is %t, want %t", r.Op.Record, r.Happened, w.happened)
			}
		}
	}
	check(t)
	failed.Happened, failed.Confirm = false, true
	record(failed)
	want["1"] = told{}
	check(t)
}
