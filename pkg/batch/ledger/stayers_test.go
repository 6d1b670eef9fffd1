package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Stayers are those who were seen before, but for those whom rows touch that were
// sent since or are still to be sent. Who was touched and settled before stays.
func TestStayers(t *testing.T) {
	t.Parallel()
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
		{"another row settled before", "s1b", "r1a s1b", "", seen, []crm.Grant{b, seen.Grants[2], e, g}},
		{"another row still open", "", "r1a r1d", "", seen, []crm.Grant{b, e, g}},
		{"another row sent since", "", "r1a r1d", "1", seen, []crm.Grant{b, e, g}},
		{"another record", "", "r1a r2d", "1", seen, []crm.Grant{b, seen.Grants[2], e, g}},
		{"everybody is to lose it", "", "r1a *1", "", seen, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := mustOpen(t, newFile(t))
			adopted(t, l, stagedRows(tt.first))
			begun(t, l)
			for _, op := range todo(t, l) {
				finish(t, l, op, Done)
			}
			adopted(t, l, stagedRows(tt.then))
			begun(t, l)
			ops := todo(t, l)
			send := func(op Op, look crm.State, after time.Duration) {
				t.Helper()
				if err := l.Intend(t.Context(), Intent{CallID: "c", Account: "main", Ops: []int64{op.ID}, Attempt: 1, Before: look, At: at.Add(after)}); err != nil {
					t.Fatal(err)
				}
			}
			send(ops[0], tt.look, time.Hour)
			if tt.sent != "" {
				send(ops[1], crm.State{Looked: true}, 2*time.Hour)
				if err := l.Settle(t.Context(), []Settle{{CallID: "c", Op: ops[1].ID, State: Done, Attempts: 1}}); err != nil {
					t.Fatal(err)
				}
			}
			for n := range ops[:1+len(tt.sent)] {
				got, err := l.Stayers(t.Context(), []int64{ops[0].ID, ops[n].ID})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got[ops[0].ID]); diff != "" {
					t.Errorf("who was to stay (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// Rows that went in one call and have left the sheet since were touched all the same.
func TestStayersOfRowsThatLeftTheSheet(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	adopted(t, l, stagedRows("r1a r1b"))
	begun(t, l)
	ops := todo(t, l)
	if err := l.Intend(t.Context(), Intent{CallID: "c", Account: "main", Ops: []int64{ops[0].ID, ops[1].ID}, Attempt: 1, At: at, Before: crm.State{
		Looked: true, Rewrites: true, Grants: []crm.Grant{{Kind: "user", ID: "a"}, {Kind: "user", ID: "b"}, {Kind: "user", ID: "c"}},
	}}); err != nil {
		t.Fatal(err)
	}
	adopted(t, l, stagedRows("r1a"))
	op := todo(t, l)[0]
	got, err := l.Stayers(t.Context(), []int64{op.ID})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int64][]crm.Grant{op.ID: {{Kind: "user", ID: "c"}}}, got); diff != "" {
		t.Errorf("who was to stay (-want +got):\n%s", diff)
	}
}

// What was seen before the last sending counts where the ones before had no effect.
func TestStayersAfterARefusedSending(t *testing.T) {
	t.Parallel()
	for _, fresh := range []bool{true, false} {
		l := mustOpen(t, newFile(t))
		adopted(t, l, stagedRows("r1a"))
		begun(t, l)
		op := todo(t, l)[0]
		for n, who := range []string{"b", "c"} {
			if err := l.Intend(t.Context(), Intent{CallID: "c", Account: "main", Ops: []int64{op.ID}, Attempt: n + 1, At: at, Before: crm.State{
				Looked: true, Rewrites: true, Fresh: fresh, Grants: []crm.Grant{{Kind: "user", ID: who}},
			}}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := l.Stayers(t.Context(), []int64{op.ID})
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{true: "c", false: "b"}[fresh]
		if len(got[op.ID]) != 1 || got[op.ID][0].ID != want {
			t.Errorf("fresh %v: %v was to stay, want user %s", fresh, got, want)
		}
	}
}
