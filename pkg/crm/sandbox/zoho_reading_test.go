package sandbox_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/google/go-cmp/cmp"
)

const pathQuery = "/crm/v8/coql"

// queryBody returns the body of a query.
func queryBody(query string) string {
	body, _ := json.Marshal(map[string]string{"select_query": query})
	return string(body)
}

// ids asks for a page and returns its ids, and whether more follow.
func (z *zohoClient) ids(query string) (ids []string, more bool) {
	z.tb.Helper()
	status, body := z.call("POST", pathQuery, queryBody(query))
	if status == 204 {
		return nil, false
	}
	var got struct {
		Data []struct{ ID string }
		Info struct {
			Count int
			More  bool `json:"more_records"`
		}
	}
	if err := json.Unmarshal([]byte(body), &got); status != 200 || err != nil || got.Info.Count != len(got.Data) {
		z.tb.Fatalf("%s: got %d %s (%v)", query, status, body, err)
	}
	for _, row := range got.Data {
		ids = append(ids, row.ID)
	}
	return ids, got.Info.More
}

func TestZohoQueriesListInRisingOrder(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{})
	z.server.SeedZohoRecords("Leads", "98", 3)              // 98, 99, 100
	z.server.SeedZoho("Leads", "7", user(zohoA, crm.Read))  // before them
	z.server.SeedZoho("Leads", "99", user(zohoA, crm.Read)) // one of them
	z.server.SeedZoho("Leads", "99999999999999999999")      // beyond what a machine word holds
	z.server.SeedZoho("Leads", "20000000000000000000")      // likewise, and before it
	z.server.SeedZoho("Deals", "50")                        // elsewhere
	want := []string{"7", "98", "99", "100", "20000000000000000000", "99999999999999999999"}
	for _, limit := range []int{1, 2, 3, 4, 5, 6, 7} {
		var got []string
		after, more := "is not null", true
		for more {
			var page []string
			page, more = z.ids(fmt.Sprintf("select id from Leads where id %s order by id limit %d", after, limit))
			if len(page) > limit || more && len(page) < limit {
				t.Fatalf("limit %d: a page of %d, more %v", limit, len(page), more)
			}
			got = append(got, page...)
			after = "> " + got[len(got)-1]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", limit, diff)
		}
	}
	if got, more := z.ids("SELECT id FROM Leads WHERE id > 99999999999999999999 LIMIT 5"); got != nil || more {
		t.Errorf("behind the last one: got %v, more %v", got, more)
	}
}

func TestZohoQueriesCount(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{})
	z.server.SeedZohoRecords("Leads", "100", 5, zohoA, zohoB)
	z.server.OwnZoho("Leads", "104", zohoB)
	z.server.SeedZoho("Leads", "7")
	z.expect("POST", pathQuery, queryBody("select count(id) from Leads where id is not null"), 200, `"data":[{"count(id)":6}]`)
	z.expect("POST", pathQuery, queryBody("select count(id) from Quotes where id is not null"), 200, `"data":[{"count(id)":0}]`)
	got := z.expect("POST", pathQuery, queryBody("select count(id), Owner from Leads where id is not null group by Owner limit 2000"), 200, "")
	for _, want := range []string{
		`{"Owner":{"id":"` + zohoA + `"},"count(id)":2}`, `{"Owner":{"id":"` + zohoB + `"},"count(id)":3}`,
		`{"Owner":{"id":"5000000000000000001"},"count(id)":1}`, `"more_records":false`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
	z.expect("POST", pathQuery, queryBody("select count(id), Owner from Leads where id is not null group by Owner limit 2"), 200, `"more_records":true`)
}

func TestZohoQueryRefusals(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{}})
	z.server.SetZohoModule(sandbox.ZohoModule{Name: "Cases", NoQueries: true})
	z.server.SetZohoModule(sandbox.ZohoModule{Name: "Vendors", NoAPI: true})
	for _, tt := range []struct {
		body   string
		status int
		want   string
	}{
		{"", 400, "INVALID_DATA"},
		{`{}`, 400, "MANDATORY_NOT_FOUND"},
		{`{"select_query":5}`, 400, "INVALID_DATA"},
		{queryBody("delete from Leads where id > 1"), 400, "SYNTAX_ERROR"},
		{queryBody("select id"), 400, `"clause":"from"`},
		{queryBody("select id from Leads limit 5"), 400, `"clause":"where"`},
		{queryBody("select Email from Leads where id > 1"), 400, "INVALID_QUERY"},
		{queryBody("select id from Leads where Email = 'x'"), 400, "INVALID_QUERY"},
		{queryBody("select id from Leads where id > 1 order by id desc"), 400, "INVALID_QUERY"},
		{queryBody("select id from Leads where id > 1 limit 5 offset 5"), 400, "INVALID_QUERY"},
		{queryBody("select id from Nowhere where id > 1"), 400, `"module":"Nowhere"`},
		{queryBody("select id from lead where id > 1"), 400, `"module":"lead"`},
		{queryBody("select id from Vendors where id > 1"), 400, `"module":"Vendors"`},
		{queryBody("select id from Cases where id > 1"), 401, "OAUTH_SCOPE_MISMATCH"},
		{queryBody("select id from Leads where id > 1 limit 2001"), 400, "LIMIT_EXCEEDED"},
		{queryBody("select id from Leads where id > 1 limit 0"), 400, "LIMIT_EXCEEDED"},
		{queryBody("select id from Leads where id > 1 group by Owner"), 400, `"clause":"group by"`},
		{queryBody("select count(id), Owner from Leads where id is not null"), 400, `"clause":"group by"`},
		{queryBody("select count(id) from Leads where id is not null order by id"), 400, "INVALID_QUERY"},
	} {
		z.expect("POST", pathQuery, tt.body, tt.status, tt.want)
	}
	z.expect("GET", pathQuery, "", 400, "INVALID_REQUEST_METHOD")
	z.expect("POST", "/crm/v3/coql", queryBody("select id from Leads where id > 1 limit 201"), 400, "LIMIT_EXCEEDED")
	z.expect("POST", "/crm/v8/coql/1", "", 404, "INVALID_URL_PATTERN")
	z.expect("GET", "/crm/v7/settings/data_sharing", "", 400, "API_NOT_SUPPORTED")
	z.expect("POST", "/crm/v8/settings/modules", "{}", 400, "INVALID_REQUEST_METHOD")
	z.expect("GET", "/crm/v8/org/1/actions/associated_groups", "", 404, "INVALID_URL_PATTERN")
	z.expect("GET", "/crm/v8/users/404/actions/associated_groups", "", 400, "INVALID_DATA")
	z.expect("GET", "/crm/v8/users/5000000000000000001/actions/associated_groups?include=x", "", 400, "PATTERN_NOT_MATCHED")
}

func TestZohoQueriesCostCredits(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{Credits: 8}})
	z.server.SeedZohoRecords("Leads", "1", 5000)
	for i, limit := range []int{200, 201, 1001} {
		z.ids(fmt.Sprintf("select id from Leads where id is not null order by id limit %d", limit))
		if got, want := z.server.ZohoCredits(), []int{1, 3, 6}[i]; got != want {
			t.Errorf("after a limit of %d: %d credits, want %d", limit, got, want)
		}
	}
	z.ids("select id from Leads where id is not null order by id limit 2000")
	z.expect("POST", pathQuery, queryBody("select id from Leads where id > 1"), 429, "credits")
}

func TestZohoModulesAndDefaults(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{})
	z.server.SetZohoModule(sandbox.ZohoModule{Name: "Deals", ShareType: "public"})
	z.server.SetZohoModule(sandbox.ZohoModule{Name: "Members", Linking: true})
	z.server.SetZohoModule(sandbox.ZohoModule{Name: "Boats", NoShares: true})
	modules := z.expect("GET", "/crm/v8/settings/modules", "", 200, "")
	for _, want := range []string{
		`"api_name":"Leads","module_name":"Leads","api_supported":true,"generated_type":"default"`,
		`"api_name":"Tasks","module_name":"Tasks","api_supported":true,"generated_type":"default"`,
		`"api_name":"Members","module_name":"Members","api_supported":true,"generated_type":"linking"`,
		`"api_name":"Boats","module_name":"Boats","api_supported":true,"generated_type":"custom"`,
		`"api_name":"Home","module_name":"Home","api_supported":false,"generated_type":"web"`,
	} {
		if !strings.Contains(modules, want) {
			t.Errorf("modules: got %s, want %s in it", modules, want)
		}
	}
	settings := z.expect("GET", "/crm/v8/settings/data_sharing", "", 200, "")
	var got struct {
		List []struct {
			Type   string `json:"share_type"`
			Module struct {
				Name string `json:"api_name"`
			}
		} `json:"data_sharing"`
	}
	if err := json.Unmarshal([]byte(settings), &got); err != nil {
		t.Fatal(err)
	}
	for _, s := range got.List {
		if want := map[string]string{"Deals": "public"}[s.Module.Name]; s.Type != want && (want != "" || s.Type != "private") || s.Module.Name == "Members" {
			t.Errorf("%s is %s, want %q or private", s.Module.Name, s.Type, want)
		}
	}
	z.expect("GET", "/crm/v8/Boats/1/actions/share", "", 401, "OAUTH_SCOPE_MISMATCH")
	z.expect("GET", "/crm/v8/Members/1/actions/share", "", 401, "OAUTH_SCOPE_MISMATCH")
}

func TestZohoGroupsOfAUser(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{PageSize: 2}})
	z.server.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: zohoA, Active: true, Role: zohoRole}})
	for i, g := range []sandbox.ZohoGroup{
		{Users: []string{zohoB}}, {Users: []string{zohoB, zohoA}}, {Roles: []string{zohoRole}}, {Users: []string{zohoA}},
	} {
		g.ID, g.Name = fmt.Sprint(7000+i), fmt.Sprint("group ", i)
		z.server.AddZohoGroup(g)
	}
	path := "/crm/v8/users/" + zohoA + "/actions/associated_groups"
	first := z.expect("GET", path+"?include=sources", "", 200, `"more_records":true`)
	if !strings.Contains(first, `"id":"7001"`) || !strings.Contains(first, `"id":"7002"`) || !strings.Contains(first, `{"source":{"id":"`+zohoRole+`"`) {
		t.Errorf("first page: got %s", first)
	}
	z.expect("GET", path+"?page=2", "", 200, `"id":"7003","name":"group 3"`)
	z.expect("GET", path+"?page=3", "", 204, "")
	z.expect("GET", "/crm/v8/users/5000000000000000001/actions/associated_groups", "", 204, "")
	z.expect("GET", "/crm/v8/users/"+zohoA, "", 200, `"role":{"name":"Role `+zohoRole+`","id":"`+zohoRole+`"`)
}

// TestZohoVanishing has records go away between their listing and the look at them.
func TestZohoVanishing(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{})
	z.server.SeedZohoRecords("Leads", "100", 3)
	z.server.SeedZoho("Leads", zohoLead, user(zohoA, crm.Read))
	z.server.Fault(sandbox.Fault{Op: "Zoho.Query", Kind: sandbox.FaultVanish, Times: 1, Body: `{"module":"Leads","record_ids":["101","` + zohoLead + `"]}`})
	const query = "select id from Leads where id is not null order by id"
	if got, _ := z.ids(query); len(got) != 4 {
		t.Errorf("before: got %v, want four", got)
	}
	z.expect("GET", pathLead, "", 400, "ENTITY_ID_INVALID")
	z.expect("GET", "/crm/v8/Leads/101/actions/share", "", 400, "ENTITY_ID_INVALID")
	z.expect("GET", "/crm/v8/Leads/100/actions/share", "", 204, "")
	if got, _ := z.ids(query); !cmp.Equal(got, []string{"100", "102"}) {
		t.Errorf("after: got %v, want 100 and 102", got)
	}
	z.server.SeedZoho("Leads", "101", user(zohoB, crm.Read))
	z.expect("GET", "/crm/v8/Leads/101/actions/share", "", 200, zohoB)
	z.server.Fault(sandbox.Fault{Op: "Zoho.Query", Kind: sandbox.FaultVanish, Body: `{"who":1}`})
	z.ids(query)
	z.expect("PUT", pathLead, shareBody(entry(zohoA, "users", "read_only")), 400, "ENTITY_ID_INVALID")
	z.expect("PUT", strings.Replace(pathLead, "Leads", "Deals", 1), shareBody(entry(zohoA, "users", "read_only")), 500, "read the body of fault vanish")
}

// TestZohoRunsInAClosedWorld: many records exist without one being kept.
func TestZohoRunsInAClosedWorld(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{Closed: true})
	z.server.SeedZohoRecords("Leads", "5000000000001000001", 1_000_000, zohoA)
	z.expect("GET", "/crm/v8/Leads/5000000000002000000/actions/share", "", 204, "")
	z.expect("GET", "/crm/v8/Leads/5000000000002000001/actions/share", "", 400, "ENTITY_ID_INVALID")
	z.expect("GET", "/crm/v8/Leads/5000000000001000000/actions/share", "", 400, "ENTITY_ID_INVALID")
	z.expect("POST", pathQuery, queryBody("select count(id) from Leads where id is not null"), 200, `{"count(id)":1000000}`)
	z.expect("POST", pathQuery, queryBody("select id from Deals where id is not null"), 400, "INVALID_QUERY")
	if got, more := z.ids("select id from Leads where id > 5000000000001999998 order by id"); more || len(got) != 2 {
		t.Errorf("the last ones: got %v, more %v", got, more)
	}
}

// TestZohoScopes: what a token lacks it can not do, and its reply says what it has.
func TestZohoScopes(t *testing.T) {
	t.Parallel()
	all := map[string][2]string{
		"ZohoCRM.coql.READ":                  {"POST", pathQuery},
		"ZohoCRM.settings.modules.READ":      {"GET", "/crm/v8/settings/modules"},
		"ZohoCRM.settings.data_sharing.READ": {"GET", "/crm/v8/settings/data_sharing"},
		"ZohoCRM.settings.user_groups.READ":  {"GET", "/crm/v8/users/5000000000000000001/actions/associated_groups"},
		"ZohoCRM.users.READ":                 {"GET", "/crm/v8/users"},
		"ZohoCRM.org.READ":                   {"GET", "/crm/v8/org"},
		"ZohoCRM.composite_requests.CUSTOM":  {"POST", "/crm/v8/__composite_requests"},
	}
	for lacks := range all {
		z := newZohoClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{Lacks: []string{lacks}}})
		_, token := z.tokens(nil)
		for scope, call := range all {
			status, body := z.call(call[0], call[1], "")
			if refused := status == 401 && strings.Contains(body, "OAUTH_SCOPE_MISMATCH"); refused != (scope == lacks) {
				t.Errorf("without %s, %v: got %d %s", lacks, call, status, body)
			}
			if has := strings.Contains(token["scope"].(string), scope); has != (scope != lacks) {
				t.Errorf("without %s: the token says %v", lacks, token["scope"])
			}
		}
	}
}

// TestZohoReadingSideOutlivesARestart: the journal has the world that find looks at.
func TestZohoReadingSideOutlivesARestart(t *testing.T) {
	t.Parallel()
	cfg := sandbox.Config{Closed: true, Journal: filepath.Join(t.TempDir(), "journal")}
	first := newZohoClient(t, cfg)
	first.server.SeedZohoRecords("Boats", "100", 4, "anna@sandbox.example", zohoB)
	first.server.OwnZoho("Boats", "7", zohoB)
	first.server.VanishZoho("Boats", "101")
	first.server.SetZohoModule(sandbox.ZohoModule{Name: "Boats", ShareType: "public"})
	first.server.AddZohoGroup(sandbox.ZohoGroup{ID: "7000", Name: "Sailors", Users: []string{zohoA}})
	first.server.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: zohoA, Active: true, Role: zohoRole}})
	paths := []string{"/crm/v8/users/" + zohoA + "/actions/associated_groups?include=sources", "/crm/v8/settings/data_sharing", "/crm/v8/users/" + zohoA}
	queries := []string{
		"select id from Boats where id is not null order by id",
		"select count(id), Owner from Boats where id is not null group by Owner",
	}
	answers := func(z zohoClient) (all []string) {
		for _, path := range paths {
			all = append(all, z.expect("GET", path, "", 200, ""))
		}
		for _, query := range queries {
			all = append(all, z.expect("POST", pathQuery, queryBody(query), 200, ""))
		}
		return all
	}
	before := answers(first)
	if err := first.server.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, answers(newZohoClient(t, cfg))); diff != "" {
		t.Errorf("answers (-before +after):\n%s", diff)
	}
}

func TestZohoCompositeNamesItsParts(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{SubRequestIDs: true, Backwards: true}})
	sub := func(id string) string {
		return `{"sub_request_id":"` + id + `","method":"GET","uri":"` + pathLead + `"}`
	}
	got := z.expect("POST", "/crm/v8/__composite_requests", `{"__composite_requests":[`+sub("a")+`,`+sub("b")+`]}`, 200, `"sub_request_id":"b"`)
	if strings.Index(got, `"sub_request_id":"a"`) < strings.Index(got, `"sub_request_id":"b"`) {
		t.Errorf("got %s, want b before a", got)
	}
}

func TestControlOfTheReadingSide(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{Closed: true})
	z := zohoClient{client: c}
	z.refresh()
	c.mustControl("POST", "/_sandbox/many", `{"module":"Leads","first":"100","count":3,"owners":["`+zohoA+`"]}`)
	c.mustControl("POST", "/_sandbox/records", `{"module":"Leads","record_id":"200","owner":"`+zohoB+`","grants":[
		{"id":"`+zohoA+`","access":"write"},{"kind":"user","id":"`+zohoB+`","access":"read","through":"Accounts/9"},
		{"kind":"group","id":"`+zohoGrp+`","access":"read"},{"kind":"role","id":"`+zohoRole+`","access":"read"}]}`)
	c.mustControl("POST", "/_sandbox/modules", `[{"module":"Deals","share_type":"public"},{"module":"Cases","no_shares":true}]`)
	c.mustControl("POST", "/_sandbox/groups", `{"id":"`+zohoGrp+`","name":"Sales","users":["`+zohoA+`"]}`)
	c.mustControl("POST", "/_sandbox/users", `{"id":"`+zohoA+`","email":"a@sandbox.example","role_id":"`+zohoRole+`"}`)
	c.mustControl("POST", "/_sandbox/vanish", `{"module":"Leads","record_ids":["101"]}`)
	c.mustControl("POST", "/_sandbox/seed", `{"action":"revoke","object":"sales_group","record_id":"`+oppID+`","user":"`+userA+`","group_permissions":"ViewAllLeadsOfGroup;AddUsersToGroup"}`)
	if got, _ := z.ids("select id from Leads where id is not null order by id"); !cmp.Equal(got, []string{"100", "102", "200"}) {
		t.Errorf("ids: got %v", got)
	}
	z.expect("POST", pathQuery, queryBody("select count(id), Owner from Leads where id is not null group by Owner"), 200, `{"Owner":{"id":"`+zohoB+`"},"count(id)":1}`)
	z.expect("GET", "/crm/v8/Leads/200/actions/share", "", 200, `"type":"roles"`)
	z.expect("GET", "/crm/v8/Cases/1/actions/share", "", 401, "")
	z.expect("GET", "/crm/v8/users/"+zohoA+"/actions/associated_groups", "", 200, "Sales")
	z.expect("GET", "/crm/v8/settings/data_sharing", "", 200, `"share_type":"public"`)
	_, members := c.do(c.request("GET", "/v2/UserGroup.svc/RetrieveUsers?GroupId="+oppID, ""))
	if !strings.Contains(members, `"AddUsersToGroup":true`) || !strings.Contains(members, `"ModifyAllLeadsOfGroup":false`) {
		t.Errorf("members: got %s", members)
	}
	for path, body := range map[string]string{
		"many":    `{"module":"Leads","first":"0","count":3}`,
		"modules": `{"module":"Deals","share_type":"secret"}`,
		"groups":  `{"name":"Sales"}`,
		"vanish":  `{"module":"Leads"}`,
		"seed":    `{"action":"revoke","object":"sales_group","record_id":"x","user":"y","group_permissions":"Fly"}`,
	} {
		if status, text := c.do(c.plain("POST", "/_sandbox/"+path, body)); status != 400 || text == "" {
			t.Errorf("%s %s: got %d %q, want 400", path, body, status, text)
		}
	}
}

// FuzzZohoQuery: whatever a query says, it is answered or refused, and never with more rows
// than a page has.
func FuzzZohoQuery(f *testing.F) {
	for _, query := range []string{
		"select id from Leads where id is not null order by id limit 2000", "select id from Leads where id > 101 order by id asc",
		"select count(id) from Leads where id is not null", "select count(id), Owner from Leads where id is not null group by Owner limit 2000",
		"SELECT id FROM Leads WHERE (id > '5') LIMIT 0", "select id from Leads", "select", "", "select id from Leads where id > 99999999999999999999",
	} {
		f.Add(query)
	}
	z := newZohoClient(f, sandbox.Config{Zoho: sandbox.ZohoConfig{TokenLimit: -1}})
	z.server.SeedZohoRecords("Leads", "100", 3000, zohoA, zohoB)
	f.Fuzz(func(t *testing.T, query string) {
		z := z
		z.tb = t
		if status, body := z.call("POST", pathQuery, queryBody(query)); status != 200 && status != 204 && status != 400 || strings.Count(body, `"id"`) > 2000 {
			t.Errorf("%q: got %d %.200q", query, status, body)
		}
	})
}
