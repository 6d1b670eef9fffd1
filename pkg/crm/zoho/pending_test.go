package zoho

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// What one process had accepted, and the CRM does not show yet, no other process undoes
// by a list that is not true any more.
func TestAcceptedWritesAreRememberedForOthers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		shown bool // the effect comes
		prior crm.Prior
		now   string // what another process makes of its row at once
		then  string // and when it comes back
		after []string
	}{
		{"shown later", true, crm.PriorNone, "not_attempted not_yet x0", "accepted x1", []string{"7 read_only"}},
		{"never shown", false, crm.PriorNone, "not_attempted not_yet x0", "accepted x1", []string{"5 read_only", "7 read_only"}},
		// It has asked about what it had accepted itself, and knows the rest by its order.
		{"of the process that had it accepted", false, crm.PriorAccepted, "accepted x1", "done x0", []string{"5 read_only", "7 read_only"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				store, err := transport.OpenStore(dir)
				if err != nil {
					t.Fatal(err)
				}
				f := newFake(t)
				f.lists[quotes] = []share{user("5", "read_only"), user("6", "read_only"), user("7", "read_only")}
				late := f.lists[quotes]
				f.steps = []step{{"PUT", func(f *fake, carryOut func() answer) answer {
					old := f.lists[quotes]
					a := carryOut()
					f.lists[quotes], late = old, f.lists[quotes]
					return a
				}}}
				do := func(item crm.Item) string {
					return brief(provider(t, f, Config{}, store).Do(t.Context(), crm.Call{ID: "c", Items: []crm.Item{item}}, &journal{})[0])
				}
				if got := do(crm.Item{Op: revoke("5")}); got != "accepted x1" {
					t.Fatalf("first: got %s", got)
				}
				item := crm.Item{Op: revoke("6"), Prior: tt.prior}
				if got := do(item); got != tt.now {
					t.Errorf("at once: got %s, want %s", got, tt.now)
				}
				time.Sleep(pendingLooks*defaultVerifyAfter - 5*time.Second)
				if tt.shown {
					f.lists[quotes] = late
				} else {
					time.Sleep(6 * time.Second)
				}
				if got := do(item); got != tt.then {
					t.Errorf("later: got %s, want %s", got, tt.then)
				}
				if diff := cmp.Diff(tt.after, f.who(quotes)); diff != "" {
					t.Errorf("in force (-want +got):\n%s", diff)
				}
				time.Sleep(2 * time.Minute)
				provider(t, f, Config{}, store)
				if left, err := filepath.Glob(filepath.Join(dir, pendingPrefix+"*")); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
			})
		})
	}
}
