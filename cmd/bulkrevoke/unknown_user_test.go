package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A revoke for a user id that the organisation does not have takes nothing from
// anybody: it fails, and is found out with one list for each account.
func TestUnknownUser(t *testing.T) {
	t.Parallel()
	const groupOnly = 4
	lists := func(r *rig, op string) (n int) {
		for _, a := range r.server.Arrivals() {
			if a.Op == op {
				n++
			}
		}
		return n
	}
	for name, c := range map[string]struct {
		fault sandbox.Fault
		want  []string // results of: group unknown, group known, quote unknown, quote known, quote deleted
		says  string   // in the third row's message
		code  int
	}{
		"listed":     {sandbox.Fault{}, []string{"failed", "unchanged", "failed", "unchanged", "unchanged"}, zohoUser(77), exitOpen},
		"not listed": {sandbox.Fault{Op: "Zoho.Users", After: 1, Kind: sandbox.FaultException, Status: http.StatusUnauthorized, Type: "OAUTH_SCOPE_MISMATCH", Text: "invalid oauth scope to access this URL"}, []string{"failed", "unchanged", "unchanged", "unchanged", "unchanged"}, "could not be found out", exitOpen},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			r.seedGroup(1, 1)
			r.server.AddUser(crm.User{ID: guidOf('u', groupOnly), Email: "u4@rig.example", Active: false}, "Sales_User")
			r.seedQuote(1, 1, 2)
			r.server.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: zohoUser(8), Email: "gone@rig.example"}, Deleted: true})
			if c.fault.Op != "" {
				r.server.Fault(c.fault)
			}
			got := r.run("run", r.sheet(member("revoke", 1, 77), member("revoke", 1, groupOnly), quote("revoke", 1, 77), quote("revoke", 1, 9), quote("revoke", 1, 8)))
			if words := r.words("result"); !slices.Equal(words, c.want) || got.code != c.code {
				t.Errorf("ended with %d and %q, want %d and %q\n%s", got.code, words, c.code, c.want, got.stderr)
			}
			if says := r.words("message")[2]; !strings.Contains(says, c.says) {
				t.Errorf("message %q, want %q", says, c.says)
			}
			if n := lists(r, "Users.Get"); n != 1 {
				t.Errorf("%d lists of LeadSquared's users, want 1", n)
			}
			if n := lists(r, "Zoho.Users"); n > 3 { // whose token it is, everybody, the deleted
				t.Errorf("%d requests for Zoho's users, want at most 3", n)
			}
			if r.changes() != 0 {
				t.Error("a change was sent")
			}
		})
	}
}
