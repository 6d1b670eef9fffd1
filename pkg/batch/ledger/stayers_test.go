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
	seen := crm.State{Looked: true, Grants: []crm.Grant{
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
			got, err := l.Stayers(t.Context(), ops[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("who was to stay (-want +got):\n%s", diff)
			}
		})
	}
}
