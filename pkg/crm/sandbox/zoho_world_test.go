package sandbox_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/google/go-cmp/cmp"
)

func TestZohoMeddling(t *testing.T) {
	t.Parallel()
	before := []crm.Grant{user(zohoA, crm.Read), user(zohoB, crm.Write)}
	group := crm.Grant{Kind: "group", ID: zohoGrp, Access: crm.Read, Type: "private"}
	tests := []struct {
		name, body string
		want       []crm.Grant
	}{
		{"add", `{"add":[{"kind":"group","id":"` + zohoGrp + `"}]}`, append(before[:2:2], group)},
		{"change", `{"add":[{"id":"` + zohoA + `","access":3}]}`, []crm.Grant{before[1], user(zohoA, crm.Full)}},
		{"remove", `{"remove":["` + zohoA + `"]}`, before[1:]},
		{"clear", `{"clear":true}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			z := newZohoClient(t, sandbox.Config{})
			z.server.SeedZoho("Leads", zohoLead, before...)
			z.server.Fault(sandbox.Fault{Op: "Zoho.Share.Get", Match: "/Leads/" + zohoLead + "/", Kind: sandbox.FaultMeddle, Body: tt.body, Times: 1})
			z.expect("GET", strings.Replace(pathLead, "Leads", "Deals", 1), "", 204, "")
			z.checkGrants(before...)
			z.expect("GET", pathLead, "", 200, zohoA)
			z.checkGrants(tt.want...)
			z.expect("DELETE", pathLead, "", map[bool]int{true: 400, false: 200}[tt.want == nil], "")
			if got := z.server.StaleWrites(); got != 1 {
				t.Errorf("stale writes: got %d, want 1", got)
			}
			if got := z.server.WritesWithoutLook(); got != 0 {
				t.Errorf("writes without a look: got %d, want 0", got)
			}
		})
	}
}

func TestZohoMeddlingUnreadable(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{})
	z.server.Fault(sandbox.Fault{Kind: sandbox.FaultMeddle, Body: `{"plus":[]}`})
	z.expect("GET", pathLead, "", 204, "")
	z.expect("PUT", pathLead, shareBody(entry(zohoA, "users", "read_only")), 500, "read the body of fault meddle")
}

func TestZohoRefusedEntry(t *testing.T) {
	t.Parallel()
	body := shareBody(entry(zohoA, "users", "read_only"), entry(zohoB, "users", "read_only"))
	for _, fault := range []sandbox.Fault{
		{Match: zohoB, Type: "INVALID_DATA", Text: "Permission is invalid"},
		{Code: 1, Type: "INVALID_DATA", Text: "Permission is invalid"},
	} {
		z := newZohoClient(t, sandbox.Config{})
		fault.Op, fault.Kind, fault.Times = "Zoho.Share.Put", sandbox.FaultRefuseEntry, 1
		z.server.Fault(fault)
		z.expect("PUT", pathLead, body, 207, `{"code":"INVALID_DATA","details":{"api_name":"shared_with","json_path":"$.share[1].shared_with"},"message":"Permission is invalid","status":"error"}`)
		z.checkGrants(user(zohoA, crm.Read))
		z.expect("PUT", pathLead, body, 201, "SUCCESS")
	}
}

func TestZohoDroppedEntry(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{})
	z.server.Fault(sandbox.Fault{Op: "Zoho.Share.Put", Kind: sandbox.FaultDropEntry, Match: zohoB})
	z.expect("PUT", pathLead, shareBody(entry(zohoA, "users", "read_only"), entry(zohoB, "users", "read_only")), 201, "SUCCESS")
	z.checkGrants(user(zohoA, crm.Read))
}

// TestZohoFaults has faults that are not Zoho's own meet a PUT.
func TestZohoFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault   sandbox.Fault
		status  int
		want    string
		carried bool
	}{
		{sandbox.Fault{Kind: sandbox.FaultException}, 500, `{"code":"INTERNAL_ERROR","details":{},"message":"Internal Server Error","status":"error"}`, false},
		{sandbox.Fault{Kind: sandbox.FaultException, Processed: true}, 500, "INTERNAL_ERROR", true},
		{sandbox.Fault{Kind: sandbox.FaultException, Type: "CANNOT_PROCESS", Text: "Scheduler is running", Status: 403}, 403, `"message":"Scheduler is running"`, false},
		{sandbox.Fault{Kind: sandbox.FaultNoID}, 200, `{"status":"success"}`, false},
		{sandbox.Fault{Kind: sandbox.FaultWrongHost, URL: "https://www.zohoapis.in"}, 401, "www.zohoapis.in", false},
		{sandbox.Fault{Kind: sandbox.FaultProcessFailed}, 201, "SUCCESS", false},
	}
	for _, tt := range tests {
		t.Run(string(tt.fault.Kind), func(t *testing.T) {
			t.Parallel()
			z := newZohoClient(t, sandbox.Config{})
			tt.fault.Op = "Zoho.Share.Put"
			z.server.Fault(tt.fault)
			z.expect("PUT", pathLead, shareBody(entry(zohoA, "users", "read_only")), tt.status, tt.want)
			if got := len(z.server.Grants("Leads", zohoLead)) == 1; got != tt.carried {
				t.Errorf("carried out: got %v, want %v", got, tt.carried)
			}
		})
	}
}

func TestZohoNeverProcessed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		z := newZohoClient(t, sandbox.Config{})
		z.server.Fault(sandbox.Fault{Op: "Zoho.Share.Put", Kind: sandbox.FaultNeverProcess, Times: 1})
		z.expect("PUT", pathLead, shareBody(entry(zohoA, "users", "read_only")), 201, "SUCCESS")
		time.Sleep(time.Minute)
		z.expect("GET", pathLead, "", 204, "")
		z.expect("DELETE", pathLead, "", 400, "Scheduler is running")
	})
}

func TestZohoSeed(t *testing.T) {
	t.Parallel()
	revoke := crm.Operation{Action: crm.Revoke, Object: "Leads", Record: zohoLead, User: zohoA}
	another := revoke
	another.User, another.Access = "leaver@example.com", crm.Full
	share := revoke
	share.Action, share.Access = crm.Share, crm.Write
	all := crm.Operation{Action: crm.RevokeAll, Object: "Leads", Record: zohoLead}
	var full []crm.Operation
	for i := range 12 {
		op := revoke
		op.User = strconv.Itoa(700 + i)
		full = append(full, op)
	}
	tests := []struct {
		name string
		ops  []crm.Operation
		// users of the sheet, and how many colleagues
		users, colleagues int
	}{
		{"revoke", []crm.Operation{revoke}, 1, 1},
		{"two revokes", []crm.Operation{revoke, another}, 2, 1},
		{"again", []crm.Operation{revoke, another, revoke, another}, 2, 1},
		{"share", []crm.Operation{share}, 0, 0},
		{"share before revoke", []crm.Operation{share, revoke}, 0, 0},
		{"revoke of all", []crm.Operation{all}, 0, 2},
		{"revoke of all and of one", []crm.Operation{all, revoke}, 1, 2},
		{"more leavers than a record can have", full, 10, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			z := newZohoClient(t, sandbox.Config{Closed: true})
			for _, op := range tt.ops {
				z.server.Seed(op)
			}
			got := z.server.Grants("Leads", zohoLead)
			colleagues := 0
			for _, g := range got {
				if strings.HasPrefix(g.ID, "500000000000000010") {
					colleagues++
				}
			}
			if colleagues != tt.colleagues || len(got)-colleagues != tt.users {
				t.Errorf("got %+v, want %d users and %d colleagues", got, tt.users, tt.colleagues)
			}
			status, _ := z.call("GET", pathLead, "")
			if want := map[bool]int{true: 204, false: 200}[len(got) == 0]; status != want {
				t.Errorf("look: got %d, want %d", status, want)
			}
			twin := newZohoClient(t, sandbox.Config{})
			for _, op := range tt.ops {
				twin.server.Seed(op)
			}
			twin.checkGrants(got...)
		})
	}
}

func TestZohoJournal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := sandbox.Config{Journal: filepath.Join(t.TempDir(), "journal"), Processing: lasting(2 * time.Second)}
		z := newZohoClient(t, cfg)
		z.server.Seed(crm.Operation{Action: crm.Revoke, Object: "Deals", Record: "12", User: "leaver@example.com"})
		z.server.SeedZoho("Leads", zohoLead, user(zohoA, crm.Read), crm.Grant{Kind: "user", ID: "55", Access: crm.Read, Type: "private", Through: "Accounts/7"})
		z.server.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: zohoB, Email: "b@x.example"}})
		z.expect("PUT", pathLead, `{"share":[`+entry("66", "users", "read_write")+`]}`, 201, "SUCCESS")
		if err := z.server.Close(); err != nil {
			t.Fatal(err)
		}
		again := zohoClient{client: newClient(t, cfg), token: z.token}
		again.expect("POST", pathLead, shareBody(entry("67", "users", "read_only")), 400, "Scheduler is running")
		time.Sleep(2 * time.Second)
		again.checkGrants(crm.Grant{Kind: "user", ID: "55", Access: crm.Read, Type: "private", Through: "Accounts/7"}, user("66", crm.Write))
		again.expect("POST", pathLead, shareBody(entry(zohoB, "users", "read_only")), 400, "cannot share to the user")
		if diff := cmp.Diff(z.server.Records()["Deals/12"], again.server.Records()["Deals/12"]); diff != "" {
			t.Errorf("seeded record (-before +after):\n%s", diff)
		}
		if got := again.server.Mails(); got != 1 {
			t.Errorf("mails: got %d, want 1", got)
		}
		for range 9 {
			again.refresh()
		}
		if _, got := again.tokens(nil); got["error"] != "Access Denied" {
			t.Errorf("eleventh token: got %v, want the throttle", got)
		}
	})
}

func TestZohoJournalClosed(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{Journal: filepath.Join(t.TempDir(), "journal")})
	if err := z.server.Close(); err != nil {
		t.Fatal(err)
	}
	z.expect("PUT", pathLead, shareBody(entry(zohoA, "users", "read_only")), 500, "write journal")
	z.checkGrants()
}

type userPage struct {
	Users []struct{ ID, Email, Status string }
	Info  struct {
		Count, Page int
		More        bool `json:"more_records"`
	}
}

func TestZohoUsers(t *testing.T) {
	t.Parallel()
	owner := crm.User{ID: "1", Email: "admin@x.example", Active: true}
	z := newZohoClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{Owner: owner, Org: "600", PageSize: 2}})
	z.server.AddUser(crm.User{ID: "2", Email: "b@x.example", Active: true}, "")
	z.server.AddUser(crm.User{ID: "3", Email: "c@x.example"}, "")
	z.server.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: "4", Active: true}, Unconfirmed: true})
	z.server.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: "5"}, Deleted: true})
	tests := []struct {
		query string
		ids   string // empty: 204
		more  bool
	}{
		{"", "1 2", true},
		{"?type=AllUsers&page=2&per_page=200", "3 4", false},
		{"?page=3", "", false},
		{"?per_page=1&page=2", "2", true},
		{"?type=ActiveUsers&page=2", "4", false},
		{"?type=DeactiveUsers", "3", false},
		{"?type=NotConfirmedUsers", "4", false},
		{"?type=DeletedUsers", "5", false},
		{"?type=ActiveConfirmedUsers", "1 2", false},
		{"?type=AdminUsers", "1", false},
		{"?type=CurrentUser", "1", false},
		{"/3", "3", false},
	}
	for _, tt := range tests {
		status, body := z.call("GET", "/crm/v8/users"+tt.query, "")
		if tt.ids == "" {
			if status != http.StatusNoContent || body != "" {
				t.Errorf("%s: got %d %s, want 204", tt.query, status, body)
			}
			continue
		}
		var page userPage
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatalf("%s: got %d %s", tt.query, status, body)
		}
		var ids []string
		for _, u := range page.Users {
			ids = append(ids, u.ID)
		}
		if got := strings.Join(ids, " "); got != tt.ids || page.Info.More != tt.more {
			t.Errorf("%s: got %s more %v, want %s more %v", tt.query, got, page.Info.More, tt.ids, tt.more)
		}
	}
	z.expect("GET", "/crm/v8/users/3", "", 200, `"email":"c@x.example","first_name":"c","last_name":"","full_name":"c","status":"disabled","confirm":true`)
	z.expect("GET", "/crm/v8/org", "", 200, `"zgid":"600"`)
}

func TestZohoComposite(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{})
	z.server.SeedZoho("Leads", zohoLead, user(zohoA, crm.Read))
	const path = "/crm/v8/__composite_requests"
	sub := func(id, method, uri string) string {
		return `{"sub_request_id":"` + id + `","method":"` + method + `","uri":"` + uri + `"}`
	}
	body := func(subs ...string) string { return `{"__composite_requests":[` + strings.Join(subs, ",") + `]}` }
	got := z.expect("POST", path, body(sub("a", "GET", pathLead), sub("b", "GET", "/crm/v8/Deals/1/actions/share"),
		sub("c", "GET", "/crm/v8/Tasks/1/actions/share"), sub("d", "GET", "/crm/v8/users?type=CurrentUser")), 200, `"status_code":200`)
	for _, want := range []string{`"status_code":204`, `"body":null`, `"status_code":401`, zohoA, "admin@sandbox.example"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
	z.expect("PUT", pathLead, shareBody(entry(zohoB, "users", "read_only")), 201, "")
	if n := z.server.WritesWithoutLook(); n != 0 {
		t.Errorf("writes without a look after a composite one: got %d, want 0", n)
	}
	z.expect("POST", path, body(sub("a", "GET", pathLead), sub("b", "PUT", pathLead)), 207, `"NOT_SUPPORTED","details":{"allowed_services":`)
	z.expect("POST", path, body(sub("a", "DELETE", pathLead)), 400, `"NOT_SUPPORTED"`)
	z.expect("POST", path, body(sub("-", "GET", pathLead)), 400, `"api_name":"sub_request_id"`)
	two := body(sub("a", "GET", pathLead), sub("b", "GET", "/crm/v8/Deals/1/actions/share"))
	for _, backwards := range []bool{false, true} {
		z := newZohoClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{Backwards: backwards}})
		z.server.SeedZoho("Leads", zohoLead, user(zohoA, crm.Read))
		got := z.expect("POST", path, two, 200, zohoA)
		if turned := strings.Index(got, zohoA) > strings.Index(got, `"status_code":204`); turned != backwards {
			t.Errorf("backwards %v: got %s", backwards, got)
		}
	}
	six := make([]string, 6)
	for i := range six {
		six[i] = sub("x", "GET", pathLead)
	}
	z.expect("POST", path, body(six...), 400, `"maximum_length":5`)
	z.expect("POST", "/crm/v5/__composite_requests", body(sub("a", "GET", pathLead)), 400, `"NOT_SUPPORTED"`)
	z.checkGrants(user(zohoB, crm.Read))
}

func TestZohoControl(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{})
	z.expect("POST", "/_sandbox/records", `{"module":"Leads","record_id":"`+zohoLead+`","grants":[{"id":"`+zohoA+`","access":"full"},{"kind":"group","id":"`+zohoGrp+`"},{"id":"55","through":"Accounts/7"}]}`, 204, "")
	z.checkGrants(user(zohoA, crm.Full), crm.Grant{Kind: "group", ID: zohoGrp, Access: crm.Read, Type: "private"},
		crm.Grant{Kind: "user", ID: "55", Access: crm.Read, Type: "private", Through: "Accounts/7"})
	z.expect("POST", "/_sandbox/users", `{"id":"`+zohoB+`","email":"b@x.example","active":false}`, 204, "")
	z.expect("POST", pathLead, shareBody(entry(zohoB, "users", "read_only")), 400, "cannot share to the user")
	z.expect("POST", "/_sandbox/seed", `{"action":"revoke","object":"Deals","record_id":"9","user":"77"}`, 204, "")
	state := z.expect("GET", "/_sandbox/state", "", 200, `"token_requests":1`)
	for _, want := range []string{`"writes_without_look":1`, `"Deals/9":[`, `"id":"77"`, `"shares":[]`} {
		if !strings.Contains(state, want) {
			t.Errorf("state: got %s, want %s in it", state, want)
		}
	}
	for _, body := range []string{`{"module":"Le ads","record_id":"1"}`, `{"module":"Leads","record_id":"x"}`,
		`{"module":"Leads","record_id":"1","grants":[{"kind":"team","id":"1"}]}`, `{"module":"Leads","record_id":"1","grants":[{"id":"x"}]}`,
		`{"module":"Leads","record_id":"1","grants":[{"id":"1","access":"all"}]}`} {
		z.expect("POST", "/_sandbox/records", body, 400, "sandbox: element 0")
	}
}
