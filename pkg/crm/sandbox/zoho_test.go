package sandbox_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	zohoLead = "4150868000001148212"
	zohoA    = "3652397000000281001"
	zohoB    = "3652397000000186017"
	zohoGrp  = "3652397000000700001"
	zohoRole = "3652397000000800001"

	pathLead  = "/crm/v8/Leads/" + zohoLead + "/actions/share"
	pathToken = "/oauth/v2/token"
)

// zohoClient asks the Zoho half of one server with an access token.
type zohoClient struct {
	client
	token string
}

func newZohoClient(tb testing.TB, cfg sandbox.Config) zohoClient {
	tb.Helper()
	z := zohoClient{client: newClient(tb, cfg)}
	z.refresh()
	return z
}

var refreshForm = url.Values{
	"grant_type": {"refresh_token"}, "client_id": {"1000.C"}, "client_secret": {"s"}, "refresh_token": {"1000.r.r"},
}

// tokens asks the token endpoint, with values in place of those of a right request.
func (z *zohoClient) tokens(change url.Values) (int, map[string]any) {
	z.tb.Helper()
	form := url.Values{}
	for name, values := range refreshForm {
		form[name] = values
	}
	for name, values := range change {
		form[name] = values
	}
	return z.ask(form)
}

// ask sends a form to the token endpoint.
func (z *zohoClient) ask(form url.Values) (int, map[string]any) {
	z.tb.Helper()
	r := z.request(http.MethodPost, pathToken, form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body := z.do(r)
	return status, decoded(z.tb, body)
}

func decoded(tb testing.TB, body string) map[string]any {
	tb.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		tb.Fatalf("decode %q: %v", body, err)
	}
	return v
}

func (z *zohoClient) refresh() {
	z.tb.Helper()
	status, body := z.tokens(nil)
	token, _ := body["access_token"].(string)
	if status != http.StatusOK || token == "" {
		z.tb.Fatalf("token: got %d %v", status, body)
	}
	z.token = token
}

// call sends a request with the token and returns status and body.
func (z *zohoClient) call(method, path, body string) (int, string) {
	z.tb.Helper()
	r := z.request(method, path, body)
	r.Header = http.Header{"Authorization": {"Zoho-oauthtoken " + z.token}}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return z.do(r)
}

// expect is call with an answer that must have the status and contain text.
func (z *zohoClient) expect(method, path, body string, status int, text string) string {
	z.tb.Helper()
	got, answer := z.call(method, path, body)
	if got != status || !strings.Contains(answer, text) {
		z.tb.Fatalf("%s %s %s: got %d %s, want %d with %q", method, path, body, got, answer, status, text)
	}
	return answer
}

// entry returns an entry of a v8 body.
func entry(id, kind, permission string) string {
	return `{"shared_with":{"id":"` + id + `","type":"` + kind + `"},"permission":"` + permission + `","share_related_records":false,"type":"private"}`
}

// shareBody returns a v8 body that notifies nobody.
func shareBody(entries ...string) string {
	return `{"share":[` + strings.Join(entries, ",") + `],"notify_shared_members":false,"notify_on_completion":false}`
}

func user(id string, access crm.Access) crm.Grant {
	return crm.Grant{Kind: "user", ID: id, Access: access, Type: "private"}
}

// checkGrants compares the list of the lead.
func (z *zohoClient) checkGrants(want ...crm.Grant) {
	z.tb.Helper()
	if diff := cmp.Diff(want, z.server.Grants("Leads", zohoLead), cmpopts.EquateEmpty()); diff != "" {
		z.tb.Errorf("grants (-want +got):\n%s", diff)
	}
}

// TestZohoLifeOfARecord has a record shared, changed, reduced and revoked.
func TestZohoLifeOfARecord(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{})
	z.expect("GET", pathLead, "", 204, "")
	z.expect("POST", pathLead, shareBody(entry(zohoA, "users", "read_only"), entry(zohoGrp, "groups", "read_write")), 201,
		`{"share":[{"code":"SUCCESS","details":{},"message":"record will be shared successfully","status":"success"},`)
	z.checkGrants(user(zohoA, crm.Read), crm.Grant{Kind: "group", ID: zohoGrp, Access: crm.Write, Type: "private"})
	body := z.expect("GET", pathLead, "", 200, `"shared_with":{"name":"group `+zohoGrp+`","id":"`+zohoGrp+`","type":"groups"}`)
	if !strings.Contains(body, `"permission":"read_only"`) || !strings.Contains(body, `"shared_through":{"module":{"name":"Leads"`) {
		t.Errorf("look: got %s", body)
	}
	z.expect("PUT", pathLead, shareBody(entry(zohoB, "users", "read_only"), entry(zohoA, "users", "full_access")), 201, "SUCCESS")
	z.checkGrants(user(zohoA, crm.Full), user(zohoB, crm.Read))
	z.expect("GET", pathLead, "", 200, zohoB)
	z.expect("DELETE", pathLead, "", 200,
		`{"share":{"code":"SUCCESS","details":{"id":"`+zohoLead+`"},"message":"Sharing Revoked","status":"success"}}`)
	z.checkGrants()
	z.expect("DELETE", pathLead, "", 400, `"CANNOT_PROCESS","details":{},"message":"No sharing through this record is available to revoke"`)
	if got := z.server.WritesWithoutLook(); got != 1 {
		t.Errorf("writes without a look: got %d, want that of the second DELETE", got)
	}
	if got := z.server.Mails(); got != 0 {
		t.Errorf("mails: got %d, want none", got)
	}
	var ops []string
	for _, a := range z.server.Arrivals() {
		ops = append(ops, a.Op)
	}
	want := "Zoho.Token Zoho.Share.Get Zoho.Share.Post Zoho.Share.Get Zoho.Share.Put Zoho.Share.Get Zoho.Share.Delete Zoho.Share.Delete"
	if got := strings.Join(ops, " "); got != want {
		t.Errorf("arrivals: got %s, want %s", got, want)
	}
}

// TestZohoRefusals has one request each that is refused as a whole.
func TestZohoRefusals(t *testing.T) {
	t.Parallel()
	inherited := crm.Grant{ID: zohoB, Through: "Accounts/77"}
	eleven := make([]string, 11)
	for i := range eleven {
		eleven[i] = entry("36523970000009"+strconv.Itoa(100+i), "users", "read_only")
	}
	many := make([]string, 21)
	for i := range many {
		many[i] = entry(zohoA, "users", "read_only")
	}
	public := `{"permission":"read_only","type":"public"}`
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"version", "GET", "/crm/v9/Leads/1/actions/share", "", 404, `"INVALID_URL_PATTERN"`},
		{"path", "GET", "/crm/v8/Leads/1/actions/unshare", "", 404, `"INVALID_URL_PATTERN"`},
		{"verb", "PATCH", pathLead, "", 400, `"INVALID_REQUEST_METHOD"`},
		{"verb of users", "POST", "/crm/v8/users", "{}", 400, `"INVALID_REQUEST_METHOD"`},
		{"record", "GET", "/crm/v8/Leads/x1/actions/share", "", 400, `"details":{"resource_path_index":1},"message":"ENTITY_ID_INVALID"`},
		{"activity", "GET", "/crm/v8/Tasks/1/actions/share", "", 401, `"OAUTH_SCOPE_MISMATCH"`},
		{"module", "GET", "/crm/v8/sales_group/1/actions/share", "", 400, `"INVALID_MODULE"`},
		{"view", "GET", pathLead + "?view=manage", "", 400, `"PATTERN_NOT_MATCHED"`},
		{"no JSON", "POST", pathLead, "{", 400, `"INVALID_DATA"`},
		{"no list", "POST", pathLead, "{}", 400, `"MANDATORY_NOT_FOUND"`},
		{"empty list", "PUT", pathLead, `{"share":[]}`, 400, `"json_path":"$.share"`},
		{"too many entries", "PUT", pathLead, shareBody(many...), 400, `"maximum_length":20`},
		{"too many users by POST", "POST", pathLead, shareBody(eleven...), 403, `"LIMIT_EXCEEDED"`},
		{"too many users by PUT", "PUT", pathLead, shareBody(eleven...), 403, `"SHARE_LIMIT_EXCEEDED"`},
		{"public among others", "PUT", pathLead, shareBody(public, entry(zohoA, "users", "read_only")), 400, `"AMBIGUITY_DURING_PROCESSING"`},
		{"members to be told", "PUT", pathLead, strings.Replace(shareBody(entry(zohoA, "users", "read_only")), "members\":false", "members\":true", 1), 403, `"Feeds is not enabled`},
		{"nothing of its own", "DELETE", pathLead, "", 400, "No sharing through this record"},
		{"composite under v2", "POST", "/crm/v2/__composite_requests", "{}", 400, `"API_NOT_SUPPORTED"`},
		{"composite of none", "POST", "/crm/v8/__composite_requests", `{"__composite_requests":[]}`, 400, `"INVALID_DATA"`},
		{"user", "GET", "/crm/v8/users/77", "", 400, `"INVALID_DATA"`},
		{"users of no type", "GET", "/crm/v8/users?type=Friends", "", 400, `"PATTERN_NOT_MATCHED"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			z := newZohoClient(t, sandbox.Config{})
			z.server.SeedZoho("Leads", zohoLead, inherited)
			z.expect(tt.method, tt.path, tt.body, tt.status, tt.want)
			z.checkGrants(crm.Grant{Kind: "user", ID: zohoB, Access: crm.Read, Type: "private", Through: "Accounts/77"})
		})
	}
}

// TestZohoClosed has a world in which only what was seeded exists.
func TestZohoClosed(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{Closed: true})
	z.expect("GET", pathLead, "", 400, "INVALID_MODULE")
	z.server.SeedZoho("Leads", "1", user(zohoA, crm.Read), crm.Grant{Kind: "role", ID: zohoRole})
	z.expect("GET", pathLead, "", 400, "ENTITY_ID_INVALID")
	z.server.SeedZoho("Leads", zohoLead)
	z.expect("GET", pathLead, "", 204, "")
	z.expect("POST", pathLead, shareBody(entry(zohoB, "users", "read_only")), 400, `"invalid user Id"`)
	z.expect("POST", pathLead, shareBody(entry(zohoGrp, "groups", "read_only")), 400, `"invalid group Id"`)
	z.expect("POST", pathLead, shareBody(entry(zohoA, "users", "read_only"), entry(zohoRole, "roles", "read_only")), 201, "SUCCESS")
}

func TestZohoEntries(t *testing.T) {
	t.Parallel()
	const inactive, unconfirmed, deleted = "901", "902", "903"
	full := `{"shared_with":{"id":"` + zohoA + `","type":"users"},"type":"private"}`
	tests := []struct {
		name, method, entry string
		want                string // part of the entry's error, empty for none
		grant               crm.Grant
	}{
		{"type missing", "PUT", strings.Replace(full, `,"type":"private"`, "", 1), `"MANDATORY_NOT_FOUND","details":{"api_name":"type","json_path":"$.share[1].type"}`, crm.Grant{}},
		{"type unknown", "PUT", strings.Replace(full, "private", "secret", 1), `"regex":"private|public"`, crm.Grant{}},
		{"permission unknown", "PUT", entry(zohoA, "users", "owner"), `"regex":"read_only|read_write|full_access"`, crm.Grant{}},
		{"permission missing in POST", "POST", full, `"MANDATORY_NOT_FOUND","details":{"api_name":"permission"`, crm.Grant{}},
		{"permission missing in PUT", "PUT", full, "", user(zohoA, crm.Full)},
		{"nobody", "PUT", `{"permission":"read_only","type":"private"}`, `"MANDATORY_NOT_FOUND","details":{"api_name":"shared_with"`, crm.Grant{}},
		{"key of v2", "PUT", `{"user":{"id":"1"},"permission":"read_only","type":"private"}`, `"api_name":"shared_with"`, crm.Grant{}},
		{"kind unknown", "PUT", entry(zohoA, "teams", "read_only"), `"dependee":{"api_name":"type"`, crm.Grant{}},
		{"id a number", "PUT", strings.Replace(full, `"`+zohoA+`"`, "1", 1), `"message":"invalid user Id"`, crm.Grant{}},
		{"id with letters", "PUT", entry("4.1E18", "roles", "read_only"), `"details":{"api_name":"id","json_path":"$.share[1].shared_with.id"},"message":"invalid role Id"`, crm.Grant{}},
		{"inactive", "PUT", entry(inactive, "users", "read_only"), `"details":{"api_name":"shared_with","json_path":"$.share[1].shared_with"},"message":"cannot share to the user"`, crm.Grant{}},
		{"unconfirmed", "POST", entry(unconfirmed, "users", "read_only"), `"cannot share to the user"`, crm.Grant{}},
		{"deleted", "POST", entry(deleted, "users", "read_only"), `"invalid user Id"`, crm.Grant{}},
		{"related no boolean", "PUT", strings.Replace(entry(zohoA, "users", "read_only"), "false", `"no"`, 1), `"api_name":"share_related_records"`, crm.Grant{}},
		{"twice in PUT", "PUT", entry(zohoB, "users", "read_only"), `"DUPLICATE_DATA"`, crm.Grant{}},
		{"twice in POST", "POST", entry(zohoB, "users", "read_only"), `"record is already visible to the user."`, crm.Grant{}},
		{"by inheritance", "POST", entry("55", "users", "read_only"), `"record is already visible to the user."`, crm.Grant{}},
		{"role", "POST", entry(zohoRole, "roles", "read_write"), "", crm.Grant{Kind: "role", ID: zohoRole, Access: crm.Write, Type: "private"}},
		{"with related records", "PUT", strings.Replace(entry(zohoA, "users", "read_only"), "false", "true", 1), "",
			crm.Grant{Kind: "user", ID: zohoA, Access: crm.Read, Related: true, Type: "private"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			z := newZohoClient(t, sandbox.Config{})
			z.server.AddUser(crm.User{ID: inactive, Email: "i@x.example"}, "")
			z.server.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: unconfirmed, Active: true}, Unconfirmed: true})
			z.server.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: deleted}, Deleted: true})
			parent := crm.Grant{Kind: "user", ID: "55", Access: crm.Read, Type: "private", Through: "Contacts/5"}
			z.server.SeedZoho("Leads", zohoLead, parent)
			want := []crm.Grant{parent, user(zohoB, crm.Write)}
			status := 207
			if tt.want == "" {
				status, want = 201, append(want, tt.grant)
			}
			z.expect(tt.method, pathLead, shareBody(entry(zohoB, "users", "read_write"), tt.entry), status, tt.want)
			z.checkGrants(want...)
		})
	}
}

// TestZohoVersions looks at and writes a list with everything on it.
func TestZohoVersions(t *testing.T) {
	t.Parallel()
	inherited := crm.Grant{Kind: "user", ID: "55", Access: crm.Read, Type: "private", Through: "Contacts/5"}
	group := crm.Grant{Kind: "group", ID: zohoGrp, Access: crm.Write, Type: "private"}
	legacy := `{"share":[{"user":{"id":"` + zohoA + `"},"permission":"read_only"}]}`
	typed := `{"share":[{"user":{"id":"` + zohoA + `"},"permission":"read_only","type":"private"}],"notify":true}`
	tests := []struct {
		version  string
		has, not []string
		put      string
		mails    int
	}{
		{"v2", []string{`"user":{`, `"shareable_user":[`, `"shared_through":{"module":{"name":"Contacts"`}, []string{"shared_with", zohoGrp, `"type":"private"`}, legacy, 0},
		{"v2.1", []string{`"user":{`}, []string{"shared_with", zohoGrp}, legacy, 0},
		{"v3", []string{`"user":{`, `"type":"private"`}, []string{"shared_with", zohoGrp}, typed, 1},
		{"v4", []string{`"shared_with":{`, zohoGrp}, []string{`"user":`}, typed, 1},
		{"v5", []string{`"shared_with":{`, zohoGrp}, []string{`"user":`}, shareBody(entry(zohoA, "users", "read_only")), 0},
		{"v8", []string{`"shared_with":{`, zohoGrp}, []string{`"user":`}, `{"share":[` + entry(zohoA, "users", "read_only") + `]}`, 1},
	}
	for _, tt := range tests {
		t.Run(tt.version, func(t *testing.T) {
			t.Parallel()
			z := newZohoClient(t, sandbox.Config{})
			z.server.SeedZoho("Leads", zohoLead, inherited, user(zohoB, crm.Full), group)
			path := strings.Replace(pathLead, "v8", tt.version, 1)
			body := z.expect("GET", path, "", 200, zohoB)
			for _, text := range tt.has {
				if !strings.Contains(body, text) {
					t.Errorf("look: got %s, want %s in it", body, text)
				}
			}
			for _, text := range tt.not {
				if strings.Contains(body, text) {
					t.Errorf("look: got %s, want no %s in it", body, text)
				}
			}
			z.expect("PUT", path, tt.put, 201, "SUCCESS")
			z.checkGrants(inherited, user(zohoA, crm.Read))
			if got := z.server.Mails(); got != tt.mails {
				t.Errorf("mails: got %d, want %d", got, tt.mails)
			}
		})
	}
}
