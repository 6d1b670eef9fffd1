package sandbox_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/google/go-cmp/cmp"
)

func TestSeed(t *testing.T) {
	t.Parallel()
	revoke := crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "869196", Context: activity, User: userA, Access: crm.Write}
	share := revoke
	share.Action = crm.Share
	held := sandbox.Share{Object: crm.Lead, Record: "869196", Context: activity, User: userA, Access: crm.Write, Minutes: 129600}
	read := held
	read.Access = crm.Read
	unsaid := revoke
	unsaid.Access = crm.AccessUnset
	upper := revoke
	upper.User, upper.Context = strings.ToUpper(userA), strings.ToUpper(activity)
	tests := []struct {
		name string
		ops  []crm.Operation
		want []sandbox.Share
	}{
		{"revoke", []crm.Operation{revoke}, []sandbox.Share{held}},
		{"revoke without access", []crm.Operation{unsaid}, []sandbox.Share{read}},
		{"GUIDs in upper case", []crm.Operation{upper}, []sandbox.Share{held}},
		{"twice", []crm.Operation{revoke, revoke}, []sandbox.Share{held}},
		{"share", []crm.Operation{share}, nil},
		{"share before revoke", []crm.Operation{share, revoke}, nil},
		{"revoke before share", []crm.Operation{revoke, share}, []sandbox.Share{held}},
		{"member of a group", []crm.Operation{{Action: crm.Revoke, Object: crm.SalesGroup, Record: oppID, User: userA}},
			[]sandbox.Share{{Object: crm.SalesGroup, Record: oppID, User: userA}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, sandbox.Config{})
			for _, op := range tt.ops {
				c.server.Seed(op)
			}
			if diff := cmp.Diff(tt.want, c.server.Shares()); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
			if _, body := c.do(c.request(http.MethodGet, pathUsers, "")); !strings.Contains(body, `"`+userA+`"`) {
				t.Errorf("users: got %s, want %s among them", body, userA)
			}
		})
	}
}

// TestSeedLeavesChangesAlone has a sheet seeded again after it was worked on.
func TestSeedLeavesChangesAlone(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{})
	op := crm.Operation{Action: crm.Revoke, Object: crm.Opportunity, Record: oppID, User: userB}
	c.server.Seed(op)
	c.accept(pathRevoke, oppRevoke)
	c.server.Seed(op)
	if got := c.server.Shares(); len(got) != 0 {
		t.Errorf("seeded, revoked, seeded: got %v, want none", got)
	}

	op = crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "869196", Context: activity, User: userA}
	c.accept(pathRevoke, leadRevoke)
	c.server.Seed(op)
	if got := c.server.Shares(); len(got) != 0 {
		t.Errorf("revoked, seeded: got %v, want none", got)
	}
}

// TestSeedByAddress has the same address stand for the same user, in every server.
func TestSeedByAddress(t *testing.T) {
	t.Parallel()
	user := func(address string, add ...crm.User) string {
		c := newClient(t, sandbox.Config{})
		for _, u := range add {
			c.server.AddUser(u, "")
		}
		c.server.Seed(crm.Operation{Action: crm.Revoke, Object: crm.Opportunity, Record: oppID, User: address})
		return c.server.Shares()[0].User
	}
	made := user("Bob@example.com")
	if again := user("bob@EXAMPLE.com"); again != made || len(made) != 36 {
		t.Errorf("got %q and %q, want one GUID", made, again)
	}
	if other := user("rob@example.com"); other == made {
		t.Errorf("another address: got the same user %q", other)
	}
	known := crm.User{ID: userA, Email: "bob@example.com"}
	if got := user("Bob@example.com", known); got != userA {
		t.Errorf("known address: got %q, want %q", got, userA)
	}
	freed := known
	freed.Email = "old@example.com"
	if got := user("bob@example.com", known, freed, crm.User{ID: userB, Email: "bob@example.com"}); got != userB {
		t.Errorf("address that was given to another user: got %q, want %q", got, userB)
	}
}
