package sandbox_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/google/go-cmp/cmp"
)

func TestShareAndRevoke(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{})
	lead := sandbox.Share{Object: crm.Lead, Record: "869196", Context: activity, User: userA, Access: crm.Write, Minutes: 30}
	opp := sandbox.Share{Object: crm.Opportunity, Record: oppID, User: userB, Access: crm.Read, Minutes: 129600}

	id := c.accept(pathShare, leadShare)
	c.accept(pathShare, oppShare)
	if diff := cmp.Diff([]sandbox.Share{lead, opp}, c.server.Shares()); diff != "" {
		t.Errorf("shares after sharing (-want +got):\n%s", diff)
	}
	got := c.status(id)
	if got.Status != "Success" || got.ShareStatus != 6 || got.ErrorMessage != nil || got.Message.ResponseText != "Request processed successfully." {
		t.Errorf("status: got %+v, want the documented success", got)
	}

	c.accept(pathRevoke, leadRevoke)
	if diff := cmp.Diff([]sandbox.Share{opp}, c.server.Shares()); diff != "" {
		t.Errorf("shares after the lead's revoke (-want +got):\n%s", diff)
	}
	c.accept(pathRevoke, strings.Replace(oppRevoke, oppID, strings.ToUpper(oppID), 1))
	if got := c.server.Shares(); len(got) != 0 {
		t.Errorf("shares after all revokes: got %v, want none", got)
	}

	var kinds []string
	for _, r := range c.server.Requests() {
		kinds = append(kinds, r.Kind)
	}
	if diff := cmp.Diff([]string{"share", "share", "revoke", "revoke"}, kinds); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if r := c.server.Requests()[0]; r.ID != id || r.Status != 6 || !cmp.Equal(r.Entries, []sandbox.Share{lead}) {
		t.Errorf("first request: got %+v, want id %s of %+v", r, id, lead)
	}
}

func TestContextsAreIndependent(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{})
	other := strings.ReplaceAll(leadShare, activity, userB)
	c.accept(pathShare, leadShare)
	c.accept(pathShare, other)
	c.accept(pathRevoke, leadRevoke)
	got := c.server.Shares()
	if len(got) != 1 || got[0].Context != userB {
		t.Errorf("shares: got %v, want only that of context %s", got, userB)
	}
}

func TestSeveralEntriesShareOneID(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{})
	two := leadShare[:len(leadShare)-1] + "," + strings.Replace(leadShare, userA, userB, 1)[1:]
	c.accept(pathShare, two)
	if got := c.server.Shares(); len(got) != 2 {
		t.Errorf("shares: got %v, want two", got)
	}
	if got := c.server.Requests(); len(got) != 1 || len(got[0].Entries) != 2 {
		t.Errorf("requests: got %+v, want one of two entries", got)
	}
}

func TestUsersGet(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{})
	c.server.AddUser(crm.User{ID: userA, Email: "Bob.Doe@example.com"}, "")
	c.server.AddUser(crm.User{ID: userB, Active: true}, "Marketing_User")
	type user struct {
		ID           string
		EmailAddress *string
		Role         string
		StatusCode   int
	}
	got := ask[[]user](c, http.MethodGet, pathUsers, "")
	want := []user{
		{"5a0d0b0c-0000-4000-8000-000000000001", new("admin@sandbox.example"), "Administrator", 0},
		{userA, new("Bob.Doe@example.com"), "Sales_User", 1},
		{userB, nil, "Marketing_User", 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	_, raw := c.do(c.request(http.MethodGet, pathUsers, ""))
	if !strings.Contains(raw, `"ID":"`+userA+`"`) || strings.Contains(raw, `"UserId"`) {
		t.Errorf("got %s, want the key ID", raw)
	}
}

func TestUserByAccessKey(t *testing.T) {
	t.Parallel()
	owner := crm.User{ID: userA, Email: "eve@example.com", Active: true}
	for _, tt := range []struct {
		name       string
		cfg        sandbox.Config
		role, host string
	}{
		{"admin", sandbox.Config{Owner: owner, Org: "77"}, "Administrator", "api-in21.leadsquared.com"},
		{"sales user", sandbox.Config{Owner: owner, Org: "77", NotAdmin: true}, "Sales_User", "api-in21.leadsquared.com"},
		{"elsewhere", sandbox.Config{Owner: owner, Org: "77", Host: "api-ir31.leadsquared.com"}, "Administrator", "api-ir31.leadsquared.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, tt.cfg)
			got := ask[map[string]any](c, http.MethodGet, pathWhoAmI, "")
			urls, _ := got["LSQCommonServiceURLs"].(map[string]any)
			if got["Id"] != userA || got["OrgId"] != "77" || got["EmailAddress"] != "eve@example.com" ||
				got["Role"] != tt.role || urls["api"] != "https://"+tt.host+"/v2/" {
				t.Errorf("got %v, want %s in org 77 as %s at %s", got, userA, tt.role, tt.host)
			}
		})
	}
}

// TestBodyRefusals has the entries that Share and Revoke do not take.
func TestBodyRefusals(t *testing.T) {
	t.Parallel()
	const (
		invalid = "MXInvalidInputException"
		missing = "MXMandatoryAttributeMissingException"
		unknown = "MXUnknownAttributeException"
	)
	edit := func(body, old, new string) string {
		if !strings.Contains(body, old) {
			t.Fatalf("%s has no %s", body, old)
		}
		return strings.Replace(body, old, new, 1)
	}
	tests := []struct {
		name, path, body string
		status           int
		kind, text       string
	}{
		{"not JSON", pathRevoke, `[{`, 400, invalid, "not valid JSON"},
		{"nothing", pathRevoke, ``, 400, invalid, "not valid JSON"},
		{"object", pathRevoke, leadRevoke[1 : len(leadRevoke)-1], 500, invalid, "array"},
		{"null", pathRevoke, `null`, 500, invalid, "array"},
		{"empty array", pathRevoke, `[]`, 500, invalid, "empty"},
		{"array of numbers", pathRevoke, `[1]`, 500, invalid, "object"},
		{"array of null", pathRevoke, `[null]`, 500, invalid, "object"},
		{"too long", pathRevoke, "[" + strings.Repeat(leadRevoke[1:len(leadRevoke)-1]+",", 3) + oppRevoke[1:], 500, invalid, "at most 3"},
		{"mixed entities", pathRevoke, leadRevoke[:len(leadRevoke)-1] + "," + oppRevoke[1:], 500, invalid, "same Entity"},
		{"no user", pathRevoke, edit(leadRevoke, `"UserId":"`+userA+`",`, ""), 500, missing, "UserId"},
		{"null user", pathRevoke, edit(leadRevoke, `"`+userA+`"`, "null"), 500, missing, "UserId"},
		{"user no GUID", pathRevoke, edit(leadRevoke, userA, "u1"), 500, invalid, "UserId"},
		{"user in braces", pathRevoke, edit(leadRevoke, userA, "{"+userA+"}"), 500, invalid, "UserId"},
		{"wrong entity", pathRevoke, edit(leadRevoke, `"Entity":1`, `"Entity":2`), 500, invalid, "Entity"},
		{"no entity", pathRevoke, edit(leadRevoke, `"Entity":1,`, ``), 500, missing, "Entity"},
		{"entity as text", pathRevoke, edit(leadRevoke, `"Entity":1`, `"Entity":"1"`), 500, invalid, "Entity must be an integer"},
		{"wrong entity type", pathRevoke, edit(leadRevoke, `"EntityType":3`, `"EntityType":1`), 500, invalid, "EntityType"},
		{"no entity type", pathRevoke, edit(leadRevoke, `"EntityType":3,`, ``), 500, missing, "EntityType"},
		{"GUID as lead", pathRevoke, edit(leadRevoke, "869196", oppID), 500, invalid, "ProspectAutoId"},
		{"number as lead", pathRevoke, edit(leadRevoke, `"869196"`, `869196`), 500, invalid, "EntityId must be a string"},
		{"no lead", pathRevoke, edit(leadRevoke, `"EntityId":"869196",`, ``), 500, missing, "EntityId"},
		{"digits as opportunity", pathRevoke, edit(oppRevoke, oppID, "869196"), 500, invalid, "EntityId"},
		{"lead without context entity", pathRevoke, edit(leadRevoke, `"ContextEntity":1,`, ``), 500, missing, "ContextEntity"},
		{"lead without context id", pathRevoke, edit(leadRevoke, `"ContextEntityId":"`+activity+`",`, ``), 500, missing, "ContextEntityId"},
		{"wrong context entity", pathRevoke, edit(leadRevoke, `"ContextEntity":1`, `"ContextEntity":5`), 500, invalid, "ContextEntity"},
		{"context no GUID", pathRevoke, edit(leadRevoke, activity, "12"), 500, invalid, "ContextEntityId"},
		{"context on opportunity", pathRevoke, edit(oppRevoke, `"AccessType"`, `"ContextEntity":1,"AccessType"`), 500, unknown, "ContextEntity"},
		{"access 3", pathRevoke, edit(leadRevoke, `"AccessType":2`, `"AccessType":3`), 500, invalid, "AccessType"},
		{"access as text", pathRevoke, edit(leadRevoke, `"AccessType":2`, `"AccessType":"2"`), 500, invalid, "AccessType"},
		{"share without access", pathShare, edit(leadShare, `"AccessType":2,`, ``), 500, missing, "AccessType"},
		{"duration on revoke", pathRevoke, edit(leadRevoke, `"AccessType":2`, `"AccessType":2,"DurationInMinutes":30`), 500, unknown, "DurationInMinutes"},
		{"duration zero", pathShare, edit(leadShare, `:30`, `:0`), 500, invalid, "DurationInMinutes"},
		{"duration as text", pathShare, edit(leadShare, `:30`, `:"30"`), 500, invalid, "DurationInMinutes"},
		{"unknown field", pathShare, edit(leadShare, `"AccessType"`, `"Access":1,"AccessType"`), 500, unknown, "Access"},
		{"share with administrator", pathShare, edit(leadShare, userA, "5A0D0B0C-0000-4000-8000-000000000001"), 500, invalid, "sales user"},
	}
	for _, tt := range tests {
		for _, errorStatus := range []int{0, http.StatusOK} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				c := newClient(t, sandbox.Config{MaxEntries: 3, ErrorStatus: errorStatus})
				want := tt.status
				if want == 500 && errorStatus != 0 {
					want = errorStatus
				}
				c.wantProblem(c.request(http.MethodPost, tt.path, tt.body), want, tt.kind, tt.text)
				if got := c.server.Requests(); len(got) != 0 {
					t.Errorf("requests: got %v, want none", got)
				}
			})
		}
	}
}

func (c client) wantProblem(r *http.Request, status int, kind, text string) {
	c.tb.Helper()
	gotStatus, body := c.do(r)
	var got problem
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		c.tb.Fatalf("got %d %q: %v", gotStatus, body, err)
	}
	if gotStatus != status || got.Status != "Error" || got.ExceptionType != kind || !strings.Contains(got.ExceptionMessage, text) {
		c.tb.Errorf("got %d %+v, want %d %s with %q", gotStatus, got, status, kind, text)
	}
}

func TestRevokeWithoutAccessIsTaken(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{})
	c.accept(pathRevoke, strings.Replace(leadRevoke, `,"AccessType":2`, "", 1))
	if got := c.server.Requests()[0].Entries[0].Access; got != crm.Read {
		t.Errorf("access: got %v, want the documented default, read", got)
	}
}

func TestRequestRefusals(t *testing.T) {
	t.Parallel()
	keys := sandbox.Config{AccessKey: "u$r1", SecretKey: "secret"}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	tests := []struct {
		name         string
		cfg          sandbox.Config
		method, path string
		edit         func(*http.Request)
		status       int
		kind, text   string // no kind: a page with the text
	}{
		{"wrong access key", keys, "GET", pathUsers, header("x-LSQ-AccessKey", "other"), 401, "MXAuthenticationFailedException", "Invalid AccessKey"},
		{"wrong secret key", keys, "POST", pathRevoke, header("x-LSQ-SecretKey", "other"), 401, "MXAuthenticationFailedException", "Invalid AccessKey"},
		{"no keys", keys, "GET", pathWhoAmI, func(r *http.Request) { r.Header = http.Header{} }, 401, "MXUnAuthorizedAccessException", "required"},
		{"no secret", sandbox.Config{}, "GET", pathWhoAmI, func(r *http.Request) { r.Header.Del("x-LSQ-SecretKey") }, 401, "MXUnAuthorizedAccessException", "required"},
		{"wrong keys in query", keys, "GET", pathUsers + "?accessKey=u%24r1&secretKey=no", func(r *http.Request) { r.Header = http.Header{} }, 401, "MXAuthenticationFailedException", "Invalid"},
		{"keys of inactive user", sandbox.Config{Owner: crm.User{ID: userA}}, "GET", pathWhoAmI, nil, 401, "MXAuthenticationFailedException", "not active"},
		{"revoke as sales user", sandbox.Config{NotAdmin: true}, "POST", pathRevoke, nil, 401, "MXUnAuthorizedAccessException", "administrators only"},
		{"share as sales user", sandbox.Config{NotAdmin: true}, "POST", pathShare, nil, 401, "MXUnAuthorizedAccessException", "administrators only"},
		{"wrong region", sandbox.Config{Host: "api-ir31.leadsquared.com"}, "POST", pathRevoke, nil, 401, "MXUnAuthorizedAccessException", "https://api-ir31.leadsquared.com/v2/"},
		{"form body", sandbox.Config{}, "POST", pathRevoke, header("Content-Type", "application/x-www-form-urlencoded"), 400, "MXInvalidInputException", "Content-Type"},
		{"no content type", sandbox.Config{}, "POST", pathRevoke, func(r *http.Request) { r.Header.Del("Content-Type") }, 400, "MXInvalidInputException", "Content-Type"},
		{"status without id", sandbox.Config{}, "GET", pathStatus, nil, 500, "MXMandatoryAttributeMissingException", "id"},
		{"status of unknown id", sandbox.Config{}, "GET", pathStatus + "?id=4c224152d0e74190b29038397e3d93af", nil, 500, "MXInvalidInputException", "id"},
		{"unknown path", sandbox.Config{}, "GET", "/v2/EntityAccess.svc/Grant", nil, 404, "", "Endpoint not found"},
		{"path without v2", sandbox.Config{}, "POST", "/EntityAccess.svc/Revoke", nil, 404, "", "Endpoint not found"},
		{"revoke by GET", sandbox.Config{}, "GET", pathRevoke, nil, 405, "", "Method not allowed"},
		{"share by PUT", sandbox.Config{}, "PUT", pathShare, nil, 405, "", "Method not allowed"},
		{"status by POST", sandbox.Config{}, "POST", pathStatus + "?id=1", nil, 405, "", "Method not allowed"},
		{"users by POST", sandbox.Config{}, "POST", pathUsers, nil, 405, "", "Method not allowed"},
		{"body too large", sandbox.Config{}, "POST", pathRevoke, func(r *http.Request) {

			big := strings.NewReader(strings.Repeat(" ", 1<<20+1))
			r.Body = readCloser{big}
		}, 413, "", "Too Large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, tt.cfg)
			r := c.request(tt.method, tt.path, leadRevoke)
			if tt.edit != nil {
				tt.edit(r)
			}
			if tt.kind != "" {
				c.wantProblem(r, tt.status, tt.kind, tt.text)
				return
			}
			if status, body := c.do(r); status != tt.status || !strings.Contains(body, tt.text) {
				t.Errorf("got %d %q, want %d with %q", status, body, tt.status, tt.text)
			}
		})
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestKeysInQuery(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{AccessKey: "u$r1", SecretKey: "secret"})
	r := c.request(http.MethodPost, pathRevoke+"?accessKey=u%24r1&secretKey=secret", oppRevoke)
	r.Header.Del("x-LSQ-AccessKey")
	r.Header.Del("x-LSQ-SecretKey")
	if status, body := c.do(r); status != http.StatusOK {
		t.Errorf("got %d %s, want 200", status, body)
	}
	if got := c.server.Arrivals()[0].Path; got != pathRevoke {
		t.Errorf("arrival's path: got %q, want it without the keys", got)
	}
}

func TestOwnersKeysDie(t *testing.T) {
	t.Parallel()
	owner := crm.User{ID: userA, Email: "eve@example.com", Active: true}
	c := newClient(t, sandbox.Config{Owner: owner})
	ask[map[string]any](c, http.MethodGet, pathWhoAmI, "")
	owner.Active = false
	c.server.AddUser(owner, "Administrator")
	c.wantProblem(c.request(http.MethodGet, pathWhoAmI, ""), 401, "MXAuthenticationFailedException", "not active")
}

func TestClosedWorld(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{Closed: true})
	op := crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "869196", Context: activity, User: userA}
	c.server.Seed(op)
	post := func(body string) *http.Request { return c.request(http.MethodPost, pathRevoke, body) }
	c.wantProblem(post(strings.Replace(leadRevoke, userA, userB, 1)), 500, "MXUnknownUserException", userB)
	c.wantProblem(post(strings.Replace(leadRevoke, "869196", "1", 1)), 500, "MXUnknownLeadException", "1")
	c.wantProblem(post(strings.Replace(leadRevoke, activity, userB, 1)), 500, "MXUnknownProspectActivityException", userB)
	c.wantProblem(post(strings.Replace(oppRevoke, userB, userA, 1)), 500, "MXUnknownOpportunityException", oppID)
	c.accept(pathRevoke, leadRevoke)
}

func TestRefuseAbsent(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{RefuseAbsent: true})
	c.wantProblem(c.request(http.MethodPost, pathRevoke, leadRevoke), 500, "MXInvalidInputException", "not shared")
	c.accept(pathShare, leadShare)
	c.accept(pathRevoke, leadRevoke)
	c.wantProblem(c.request(http.MethodPost, pathRevoke, leadRevoke), 500, "MXInvalidInputException", "not shared")
}

func TestRevokeExact(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{RevokeExact: true})
	c.accept(pathShare, leadShare)
	c.accept(pathRevoke, strings.Replace(leadRevoke, `"AccessType":2`, `"AccessType":1`, 1))
	if got := c.server.Shares(); len(got) != 1 {
		t.Errorf("after a revoke of read: got %v, want the write share still", got)
	}
	c.accept(pathRevoke, leadRevoke)
	if got := c.server.Shares(); len(got) != 0 {
		t.Errorf("after a revoke of write: got %v, want none", got)
	}
}
