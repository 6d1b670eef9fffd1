package ledger_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// What bystanders have lost stays on record, with the row or without it, until a look or
// a row of their own says otherwise.
func testLost(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a r2b r3c"))
	Begin(t, l)
	ops := Next(t, l)
	grants := func(users ...string) (all []crm.Grant) {
		for _, u := range users {
			all = append(all, crm.Grant{Kind: crm.KindUser, ID: u, Access: crm.Write, Related: true})
		}
		return all
	}
	record := func(op ledger.Op, lost []crm.Grant) {
		t.Helper()
		Must(t, l.Intend(t.Context(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{op}, Attempt: 1, At: At}))
		o := OutcomeOf(op, "c", crm.Done)
		o.Lost, o.Code, o.Message = lost, crm.CodeBystanderLost, "x lost it"
		Must(t, l.Record(t.Context(), []ledger.Outcome{o}))
	}
	record(ops[0], grants("x", "y"))
	record(ops[1], grants("z"))
	record(ops[2], nil)
	lost := func() (all []ledger.Lost, words string) {
		t.Helper()
		all, err := l.Lost(t.Context(), "main")
		Must(t, err)
		var b strings.Builder
		for _, o := range all {
			fmt.Fprintf(&b, "%s line %d:", o.Operation.Record, o.Line)
			for _, g := range o.Grants {
				b.WriteString(" " + g.ID)
			}
			b.WriteString("; ")
		}
		return all, b.String()
	}
	check := func(want string, count int64) {
		t.Helper()
		if _, got := lost(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if n, err := l.CountLost(t.Context()); n != count || err != nil {
			t.Errorf("%d rows, %v, want %d", n, err, count)
		}
	}
	check("1 line 2: x y; 2 line 3: z; ", 2)
	all, _ := lost()
	if diff := cmp.Diff(grants("x", "y"), all[0].Grants); diff != "" {
		t.Errorf("what they had (-want +got):\n%s", diff)
	}
	Commit(t, l, Rows("r2b r3c r1x"))
	check("1 line 0: y; 2 line 2: z; ", 2)
	again := OutcomeOf(ops[1], "c", crm.Done)
	again.Confirm = true
	Must(t, l.Record(t.Context(), []ledger.Outcome{again}))
	check("1 line 0: y; 2 line 2: z; ", 2)

	all, _ = lost()
	Must(t, l.StillLost(t.Context(), all[0], all[0].Grants))
	Must(t, l.StillLost(t.Context(), all[1], nil))
	check("1 line 0: y; ", 1)
	if none, err := l.Lost(t.Context(), "eu"); len(none) > 0 || err != nil {
		t.Errorf("of another account: %v, %v", none, err)
	}
	Commit(t, l, Rows("r2b r3c *1"))
	check("1 line 0:; ", 1)
	for _, r := range Collect(t, l.Results(t.Context())) {
		if r.Code == crm.CodeBystanderLost && r.Op.Record == "2" {
			t.Errorf("the row still says %s: %s", r.Code, r.Message)
		}
	}
	Must(t, l.VerifyChain(t.Context()))
	Must(t, l.VerifyRows(t.Context()))
}
