package sandbox_test

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/google/go-cmp/cmp"
)

const (
	groupID = "ed3ea545-b1fa-11e9-9371-0666b2d6ef5e"

	pathGroups      = "/v2/UserGroup.svc/Retrieve"
	pathGroupUsers  = "/v2/UserGroup.svc/RetrieveUsers"
	pathAddUsers    = "/v2/UserGroup.svc/AddUsers"
	pathRemoveUsers = "/v2/UserGroup.svc/RemoveUsers"

	addA    = `{"GroupId":"` + groupID + `","GroupUsers":[{"UserId":"` + userA + `","ViewAllAccountsOfGroup":true,"ViewAllLeadsOfGroup":true,"ModifyAllLeadsOfGroup":false}],"CallbackURL":"https://hook.example/x"}`
	removeA = `{"GroupId":"` + groupID + `","UserIds":["` + userA + `"]}`
)

type groupAnswer struct {
	Status   string
	Response struct{ RequestType, RequestId string }
}

type groupList struct {
	RecordCount int
	UserGroups  []struct{ GroupId, Name, UserCount string }
}

// member is a sales group's entry of Shares.
func member(user string, p crm.Permissions) sandbox.Share {
	return sandbox.Share{Object: crm.SalesGroup, Record: groupID, User: user, Permissions: p}
}

func (c client) checkShares(want ...sandbox.Share) {
	c.tb.Helper()
	if diff := cmp.Diff(want, c.server.Shares()); diff != "" {
		c.tb.Errorf("shares (-want +got):\n%s", diff)
	}
}

// TestGroupMembership has somebody added and removed, each with effect a second
// later.
func TestGroupMembership(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := sandbox.Config{Processing: lasting(time.Second), Journal: filepath.Join(t.TempDir(), "journal")}
		c := newClient(t, cfg)
		got := ask[groupAnswer](c, http.MethodPost, pathAddUsers, addA)
		if got.Status != "Success" || got.Response.RequestType != "Add Group Users" ||
			!regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(got.Response.RequestId) {
			t.Errorf("got %+v, want a success with a GUID", got)
		}
		requests := c.server.Requests()
		if len(requests) != 1 || requests[0].ID != got.Response.RequestId || requests[0].Callback != "https://hook.example/x" {
			t.Errorf("requests: got %+v, want the one that was answered", requests)
		}
		c.checkShares()
		if status, body := c.do(c.request(http.MethodGet, pathStatus+"?id="+got.Response.RequestId, "")); status != 500 {
			t.Errorf("status of a group request: got %d %s, want an exception", status, body)
		}
		time.Sleep(time.Second)
		want := member(userA, crm.ViewAllAccountsOfGroup|crm.ViewAllLeadsOfGroup)
		c.checkShares(want)
		_, body := c.do(c.request(http.MethodGet, pathGroupUsers+"?GroupId="+groupID, ""))
		for _, text := range []string{`"RecordCount":1`, `"UserId":"` + userA + `"`, `"ViewAllLeadsOfGroup":true`, `"ModifyAllLeadsOfGroup":false`, `"AddUsersToGroup":false`} {
			if !strings.Contains(body, text) {
				t.Errorf("members: got %s, want %s in it", body, text)
			}
		}
		if strings.Contains(body, "AccountsOfGroup") {
			t.Errorf("members: got %s, want no permissions about accounts", body)
		}
		if err := c.server.Close(); err != nil {
			t.Fatal(err)
		}
		c = newClient(t, cfg)
		c.checkShares(want)
		if got := ask[groupAnswer](c, http.MethodPost, pathRemoveUsers, removeA); got.Response.RequestType != "Remove Group Users" {
			t.Errorf("got %+v, want a removal", got)
		}
		c.checkShares(want)
		time.Sleep(time.Second)
		c.checkShares()
		if got := ask[groupList](c, http.MethodGet, pathGroups, ""); got.RecordCount != 1 || got.UserGroups[0].UserCount != "0" {
			t.Errorf("groups: got %+v, want one without users", got)
		}
		if n := c.server.OpenOnOneTarget(); n != 0 {
			t.Errorf("open on one target: got %d, want 0", n)
		}
	})
}

func TestGroupsOfAUser(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{})
	for _, op := range []crm.Operation{
		{Action: crm.Revoke, Object: crm.SalesGroup, Record: groupID, User: userA},
		{Action: crm.Share, Object: crm.SalesGroup, Record: oppID, User: userA},
		{Action: crm.Revoke, Object: crm.SalesGroup, Record: oppID, User: userB},
	} {
		c.server.Seed(op)
	}
	if got := ask[groupList](c, http.MethodGet, pathGroups, ""); got.RecordCount != 2 {
		t.Errorf("all groups: got %+v, want 2", got)
	}
	got := ask[groupList](c, http.MethodGet, pathGroups+"?UserId="+strings.ToUpper(userA), "")
	if got.RecordCount != 1 || got.UserGroups[0].GroupId != groupID || got.UserGroups[0].UserCount != "1" {
		t.Errorf("groups of a user: got %+v, want one with one user", got)
	}
}

func TestGroupSettings(t *testing.T) {
	t.Parallel()
	again := strings.Replace(addA, `"ViewAllLeadsOfGroup":true`, `"AddUsersToGroup":true`, 1)
	tests := []struct {
		name string
		cfg  sandbox.Config
		want crm.Permissions
	}{
		{"permissions replaced", sandbox.Config{}, crm.ViewAllAccountsOfGroup | crm.AddUsersToGroup},
		{"permissions kept", sandbox.Config{KeepPermissions: true, ShowAllPermissions: true}, crm.ViewAllAccountsOfGroup | crm.ViewAllLeadsOfGroup},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, tt.cfg)
			ask[groupAnswer](c, http.MethodPost, pathAddUsers, addA)
			ask[groupAnswer](c, http.MethodPost, pathAddUsers, again)
			c.checkShares(member(userA, tt.want))
			_, body := c.do(c.request(http.MethodGet, pathGroupUsers+"?GroupId="+groupID, ""))
			if got := strings.Contains(body, `"ViewAllAccountsOfGroup":true`); got != tt.cfg.ShowAllPermissions {
				t.Errorf("members: got %s, all permissions %v", body, tt.cfg.ShowAllPermissions)
			}
		})
	}
}

func TestGroupRefusals(t *testing.T) {
	t.Parallel()
	closed := sandbox.Config{Closed: true}
	tests := []struct {
		name         string
		cfg          sandbox.Config
		method, path string
		body         string
		status       int
		want         string
	}{
		{"verb", sandbox.Config{}, "GET", pathAddUsers, "", 405, "Method not allowed"},
		{"path", sandbox.Config{}, "POST", "/v2/UserGroup.svc/DropUsers", removeA, 404, "Endpoint not found"},
		{"array", sandbox.Config{}, "POST", pathAddUsers, "[" + addA + "]", 400, "not a JSON object"},
		{"no group", sandbox.Config{}, "POST", pathRemoveUsers, `{"UserIds":["` + userA + `"]}`, 500, "'GroupId' is mandatory"},
		{"group no GUID", sandbox.Config{}, "POST", pathRemoveUsers, strings.Replace(removeA, groupID, "7", 1), 500, "GroupId is not a GUID"},
		{"no users", sandbox.Config{}, "POST", pathRemoveUsers, `{"GroupId":"` + groupID + `"}`, 500, "'UserIds' is mandatory"},
		{"empty users", sandbox.Config{}, "POST", pathRemoveUsers, strings.Replace(removeA, `"`+userA+`"`, "", 1), 500, "must be an array"},
		{"user no GUID", sandbox.Config{}, "POST", pathRemoveUsers, strings.Replace(removeA, userA, "7", 1), 500, "UserId is not a GUID"},
		{"too many", sandbox.Config{MaxGroupUsers: 1}, "POST", pathRemoveUsers, strings.Replace(removeA, `"]`, `","`+userB+`"]`, 1), 500, "at most 1"},
		{"permission no boolean", sandbox.Config{}, "POST", pathAddUsers, strings.Replace(addA, ":true", ":1", 1), 500, "ViewAllAccountsOfGroup must be"},
		{"unknown key", sandbox.Config{}, "POST", pathAddUsers, strings.Replace(addA, "ModifyAllLeads", "Own", 1), 500, "MXUnknownAttributeException"},
		{"callback", sandbox.Config{}, "POST", pathAddUsers, strings.Replace(addA, "https://hook.example/x", "hook", 1), 500, "CallbackURL"},
		{"not a member", sandbox.Config{RefuseAbsent: true}, "POST", pathRemoveUsers, removeA, 500, "not in the group"},
		{"unknown user", closed, "POST", pathRemoveUsers, removeA, 500, "MXUnknownUserException"},
		{"error as 200", sandbox.Config{Closed: true, ErrorStatus: 200}, "POST", pathRemoveUsers, removeA, 200, "MXUnknownUserException"},
		{"unknown group", closed, "GET", pathGroupUsers + "?GroupId=" + groupID, "", 500, "MXUnknownUserGroupException"},
		{"members of nothing", closed, "GET", pathGroupUsers, "", 500, "'GroupId' is mandatory"},
		{"groups of no GUID", closed, "GET", pathGroups + "?UserId=7", "", 500, "UserId is not a GUID"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, tt.cfg)
			if status, body := c.do(c.request(tt.method, tt.path, tt.body)); status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("got %d %s, want %d with %s", status, body, tt.status, tt.want)
			}
			if got := c.server.Requests(); len(got) != 0 {
				t.Errorf("requests: got %+v, want none", got)
			}
		})
	}
}

// TestGroupBadUser has one user in a call who can not be a member.
func TestGroupBadUser(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{})
	c.server.AddUser(crm.User{ID: userB, Active: true}, "Marketing_User")
	both := strings.Replace(addA, `}],`, `},{"UserId":"`+userB+`"}],`, 1)
	if status, body := c.do(c.request(http.MethodPost, pathAddUsers, both)); status != 500 || !strings.Contains(body, userB+" is not a sales user") {
		t.Errorf("got %d %s, want a refusal that names the user", status, body)
	}
	c.checkShares()
	ask[groupAnswer](c, http.MethodPost, pathAddUsers, addA)
}

// TestGroupRepeat has a removal repeated in another call while it is in
// processing, as after a kill.
func TestGroupRepeat(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{Processing: lasting(time.Hour)})
	ask[groupAnswer](c, http.MethodPost, pathRemoveUsers, removeA)
	ask[groupAnswer](c, http.MethodPost, pathRemoveUsers, strings.Replace(removeA, `"]`, `","`+userB+`"]`, 1))
	if got := c.server.OpenOnOneTarget(); got != 0 {
		t.Errorf("repeated: got %d, want 0", got)
	}
	ask[groupAnswer](c, http.MethodPost, pathAddUsers, addA)
	if got := c.server.OpenOnOneTarget(); got != 2 {
		t.Errorf("added while two removals are open: got %d, want 2", got)
	}
}
