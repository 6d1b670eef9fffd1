package ledger_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Bystanders are those who were seen before, but for those whom rows touch that were
// sent since or are still to be sent. Who was touched and finished before is one.
func testBystanders(t *testing.T, newStore NewStore) {
	seen := crm.State{Looked: true, Rewrites: true, Grants: []crm.Grant{
		{Kind: "user", ID: "a"}, {Kind: "user", ID: "b", Access: crm.Read}, {Kind: "user", ID: "d"}, {Kind: "user", ID: "e"}, {Kind: "group", ID: "d"},
	}}
	b, e, g := seen.Grants[1], seen.Grants[3], seen.Grants[4]
	for _, tt := range []struct {
		name, first, then string
		sent              string // of then, beside the first row, by its number
		look              crm.State
		want              []crm.Grant
	}{
		{"alone", "", "r1a", "", seen, []crm.Grant{b, seen.Grants[2], e, g}},
		{"nobody looked", "", "r1a", "", crm.State{}, nil},
		{"nobody was written back", "", "s1c", "", crm.State{Looked: true, Grants: seen.Grants}, nil},
		{"another row finished before", "s1b", "r1a s1b", "", seen, []crm.Grant{b, seen.Grants[2], e, g}},
		{"another row still open", "", "r1a r1d", "", seen, []crm.Grant{b, e, g}},
		{"another row sent since", "", "r1a r1d", "1", seen, []crm.Grant{b, e, g}},
		{"another record", "", "r1a r2d", "1", seen, []crm.Grant{b, seen.Grants[2], e, g}},
		{"everybody is to lose it", "", "r1a *1", "", seen, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := Open(t, newStore(t))
			Commit(t, l, Rows(tt.first))
			Begin(t, l)
			for _, op := range Next(t, l) {
				Finish(t, l, op, crm.Done)
			}
			Commit(t, l, Rows(tt.then))
			Begin(t, l)
			ops := Next(t, l)
			send := func(op ledger.Op, look crm.State, after time.Duration) {
				t.Helper()
				if err := l.Intend(t.Context(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{op}, Attempt: 1, Before: look, At: At.Add(after)}); err != nil {
					t.Fatal(err)
				}
			}
			send(ops[0], tt.look, time.Hour)
			if tt.sent != "" {
				send(ops[1], crm.State{Looked: true}, 2*time.Hour)
				if err := l.Record(t.Context(), []ledger.Outcome{{CallID: "c", Op: ops[1], Status: crm.Done, Attempts: 1}}); err != nil {
					t.Fatal(err)
				}
			}
			for n := range ops[:1+len(tt.sent)] {
				got, err := l.Bystanders(t.Context(), []int64{ops[0].ID, ops[n].ID}, ByRecord)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got[ops[0].ID]); diff != "" {
					t.Errorf("who is a bystander (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// Rows that went in one call and have left the sheet since were touched all the same.
func testBystandersOfRowsThatLeftTheSheet(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a r1b"))
	Begin(t, l)
	ops := Next(t, l)
	if err := l.Intend(t.Context(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{ops[0], ops[1]}, Attempt: 1, At: At, Before: crm.State{
		Looked: true, Rewrites: true, Grants: []crm.Grant{{Kind: "user", ID: "a"}, {Kind: "user", ID: "b"}, {Kind: "user", ID: "c"}},
	}}); err != nil {
		t.Fatal(err)
	}
	Commit(t, l, Rows("r1a"))
	op := Next(t, l)[0]
	got, err := l.Bystanders(t.Context(), []int64{op.ID}, ByRecord)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int64][]crm.Grant{op.ID: {{Kind: "user", ID: "c"}}}, got); diff != "" {
		t.Errorf("who is a bystander (-want +got):\n%s", diff)
	}
}

// What was seen before the last sending counts where the ones before had no effect.
func testBystandersAfterARefusedSending(t *testing.T, newStore NewStore) {
	for _, fresh := range []bool{true, false} {
		l := Open(t, newStore(t))
		Commit(t, l, Rows("r1a"))
		Begin(t, l)
		op := Next(t, l)[0]
		for n, who := range []string{"b", "c"} {
			if err := l.Intend(t.Context(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{op}, Attempt: n + 1, At: At, Before: crm.State{
				Looked: true, Rewrites: true, Fresh: fresh, Grants: []crm.Grant{{Kind: "user", ID: who}},
			}}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := l.Bystanders(t.Context(), []int64{op.ID}, ByRecord)
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{true: "c", false: "b"}[fresh]
		if len(got[op.ID]) != 1 || got[op.ID][0].ID != want {
			t.Errorf("fresh %v: %v is a bystander, want user %s", fresh, got, want)
		}
	}
}
