package sandbox_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// TestZohoBusy has a write in processing for two seconds.
func TestZohoBusy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		cfg   sandbox.ZohoConfig
		write int
		read  string // of a look while the record is busy
	}{
		{"readable", sandbox.ZohoConfig{}, 400, zohoB},
		{"not readable", sandbox.ZohoConfig{BusyReads: true, BusyStatus: 403}, 403, `"INVALID_DATA","details":{},"message":"Scheduler is running."`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tt.cfg.Processing = lasting(2 * time.Second)
				z := newZohoClient(t, sandbox.Config{Zoho: tt.cfg})
				z.server.SeedZoho("Leads", zohoLead, user(zohoA, crm.Read), user(zohoB, crm.Write))
				z.expect("PUT", pathLead, shareBody(entry(zohoA, "users", "read_only")), 201, "SUCCESS")
				time.Sleep(2*time.Second - time.Nanosecond)
				_, body := z.call("GET", pathLead, "")
				if !strings.Contains(body, tt.read) {
					t.Errorf("look: got %s, want %s", body, tt.read)
				}
				z.expect("PUT", pathLead, shareBody(entry(zohoB, "users", "read_only")), tt.write, `"CANNOT_PROCESS","details":{},"message":"Scheduler is running"`)
				z.expect("DELETE", pathLead, "", tt.write, "Scheduler is running")
				z.expect("GET", strings.Replace(pathLead, "Leads", "Deals", 1), "", 204, "")
				time.Sleep(time.Nanosecond)
				z.checkGrants(user(zohoA, crm.Read))
				z.expect("DELETE", pathLead, "", 200, "Sharing Revoked")
			})
		})
	}
}

func TestZohoSettings(t *testing.T) {
	t.Parallel()
	write := shareBody(entry(zohoA, "users", "read_only"))
	unknown := strings.Replace(write, `,"notify_on`, `,"notify":false,"notify_on`, 1)
	tests := []struct {
		name         string
		cfg          sandbox.ZohoConfig
		method, body string
		status       int
		want         string
		mails        int
	}{
		{"success as 200", sandbox.ZohoConfig{SuccessStatus: 200}, "POST", write, 200, "SUCCESS", 0},
		{"nothing to revoke", sandbox.ZohoConfig{NothingCode: "BAD_REQUEST"}, "DELETE", "", 400, `"BAD_REQUEST","details":{},"message":"No sharing through this record is available to revoke."`, 0},
		{"empty list", sandbox.ZohoConfig{EmptyList: true}, "GET", "", 200, `{"share":[]}`, 0},
		{"legacy notification", sandbox.ZohoConfig{LegacyNotify: true}, "PUT", write, 201, "SUCCESS", 1},
		{"legacy notification declined", sandbox.ZohoConfig{LegacyNotify: true}, "PUT", unknown, 201, "SUCCESS", 0},
		{"owner notified", sandbox.ZohoConfig{}, "PUT", strings.Replace(write, "completion\":false", "completion\":true", 1), 201, "SUCCESS", 1},
		{"members notified", sandbox.ZohoConfig{Feeds: true}, "PUT", strings.Replace(write, "members\":false", "members\":true", 1), 201, "SUCCESS", 1},
		{"members and owner", sandbox.ZohoConfig{Feeds: true}, "PUT", `{"share":[` + entry(zohoA, "users", "read_only") + `],"notify_shared_members":true}`, 201, "SUCCESS", 2},
		{"unknown key ignored", sandbox.ZohoConfig{}, "PUT", unknown, 201, "SUCCESS", 0},
		{"unknown key refused", sandbox.ZohoConfig{StrictKeys: true}, "PUT", unknown, 400, `"json_path":"$.notify"`, 0},
		{"unknown key of an entry refused", sandbox.ZohoConfig{StrictKeys: true}, "PUT", strings.Replace(write, `"permission"`, `"shared_by":1,"permission"`, 1), 400, `"json_path":"$.share[0].shared_by"`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			z := newZohoClient(t, sandbox.Config{Zoho: tt.cfg})
			z.expect(tt.method, pathLead, tt.body, tt.status, tt.want)
			if got := z.server.Mails(); got != tt.mails {
				t.Errorf("mails: got %d, want %d", got, tt.mails)
			}
		})
	}
}

func TestZohoVisibleInOtherWords(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{AmbiguousVisible: true}})
	z.server.SeedZoho("Leads", zohoLead, crm.Grant{Kind: "public"})
	z.expect("GET", pathLead, "", 200, `"type":"public"`)
	z.expect("POST", pathLead, shareBody(entry(zohoA, "users", "read_only")), 400, `"cannot share to the user"`)
}

// TestZohoPartial has a PUT one of whose entries fails, about a holder who is not
// active any more, while another holder is not listed.
func TestZohoPartial(t *testing.T) {
	t.Parallel()
	keep, gone, bad := user(zohoA, crm.Read), user(zohoB, crm.Write), user("901", crm.Full)
	tests := []struct {
		name   string
		cfg    sandbox.ZohoConfig
		status int
		want   []crm.Grant
	}{
		{"drop", sandbox.ZohoConfig{}, 207, []crm.Grant{keep}},
		{"keep", sandbox.ZohoConfig{Partial: sandbox.PartialKeep}, 207, []crm.Grant{keep, bad}},
		{"nobody", sandbox.ZohoConfig{Partial: sandbox.PartialNobody}, 207, []crm.Grant{keep, gone, bad}},
		{"inactive written back", sandbox.ZohoConfig{KeepInactive: true}, 201, []crm.Grant{keep, bad}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			z := newZohoClient(t, sandbox.Config{Zoho: tt.cfg})
			z.server.SeedZoho("Leads", zohoLead, keep, gone, bad)
			z.server.AddUser(crm.User{ID: bad.ID}, "")
			z.expect("PUT", pathLead, shareBody(entry(keep.ID, "users", "read_only"), entry(bad.ID, "users", "full_access")), tt.status, "SUCCESS")
			z.checkGrants(tt.want...)
		})
	}
}

func TestZohoLimitPerEntry(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{LimitPerEntry: true}})
	groups := []crm.Grant{}
	for _, id := range []string{"1", "2", "3", "4"} {
		groups = append(groups, crm.Grant{Kind: "group", ID: id, Access: crm.Read, Type: "private"})
	}
	z.server.SeedZoho("Leads", zohoLead, groups...)
	z.expect("POST", pathLead, shareBody(entry("5", "groups", "read_only"), entry("6", "groups", "read_only"), entry("6", "roles", "read_only")), 207,
		`"LIMIT_EXCEEDED","details":{"api_name":"type","json_path":"$.share[1].shared_with.type","limit":5}`)
	z.checkGrants(append(groups, crm.Grant{Kind: "group", ID: "5", Access: crm.Read, Type: "private"},
		crm.Grant{Kind: "role", ID: "6", Access: crm.Read, Type: "private"})...)
}

// TestZohoConcurrency has calls in flight for a second each.
func TestZohoConcurrency(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		throttle sandbox.ZohoThrottle
		want     string
	}{
		{"with a body", 0, `{"code":"TOO_MANY_REQUESTS","details":{},"message":"The concurrency limit`},
		{"without a cause", sandbox.ThrottleVague, `"message":"You have made too many requests"`},
		{"with a number", sandbox.ThrottleNumber, `{"code":429,`},
		{"as an error", sandbox.ThrottleError, `{"error":"TOO_MANY_REQUESTS"`},
		{"as a page", sandbox.ThrottlePage, `<html>`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				z := newZohoClient(t, sandbox.Config{Latency: lasting(time.Second), RetryAfter: "3",
					Zoho: sandbox.ZohoConfig{Concurrency: 6, Throttle: tt.throttle}})
				var wg sync.WaitGroup
				wg.Go(func() { z.call("POST", "/crm/v8/__composite_requests", "{}") })
				time.Sleep(time.Millisecond)
				wg.Go(func() { z.expect("GET", pathLead, "", 204, "") })
				time.Sleep(time.Millisecond)
				r := z.request("GET", pathLead, "")
				r.Header.Set("Authorization", "Zoho-oauthtoken "+z.token)
				resp, err := z.rt.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "3" {
					t.Errorf("got %d %v, want 429 and Retry-After", resp.StatusCode, resp.Header)
				}
				wg.Wait()
				for range 7 {
					z.expect("GET", pathLead, "", 204, "")
				}
				z.server.Fault(sandbox.Fault{Kind: sandbox.FaultThrottle, Times: 1})
				z.expect("GET", pathLead, "", 429, tt.want)
				refused := 0
				for _, a := range z.server.Arrivals() {
					if a.Refused {
						refused++
					}
				}
				if refused != 2 {
					t.Errorf("refused arrivals: got %d, want 2", refused)
				}
			})
		})
	}
}

func TestZohoCredits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		z := newZohoClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{Credits: 4, TokenLife: 48 * time.Hour}})
		for _, want := range []string{"", "2", "1", "0"} {
			r := z.request("GET", pathLead, "")
			r.Header.Set("Authorization", "Zoho-oauthtoken "+z.token)
			resp, err := z.rt.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := resp.Header.Get("X-API-CREDITS-REMAINING"); got != want {
				t.Errorf("credits remaining: got %q, want %q", got, want)
			}
		}
		z.expect("GET", pathLead, "", 429, "credits of the last 24 hours")
		time.Sleep(24*time.Hour - time.Nanosecond)
		z.expect("GET", pathLead, "", 429, "credits of the last 24 hours")
		time.Sleep(time.Nanosecond)
		z.expect("GET", pathLead, "", 204, "")
	})
}

// TestZohoLooks has writes with and without a look before them.
func TestZohoLooks(t *testing.T) {
	t.Parallel()
	const look, write, deny, lose, change = "look", "write", "deny", "lose", "change"
	tests := []struct {
		name         string
		steps        []string
		blind, stale int
	}{
		{"good", []string{look, write, look, write}, 0, 0},
		{"never looked", []string{write}, 1, 0},
		{"one look for two", []string{look, write, write}, 1, 0},
		{"repeated after a refusal", []string{look, deny, write}, 1, 0},
		{"looked after a refusal", []string{look, deny, look, write}, 0, 0},
		{"look whose answer was lost", []string{lose, write}, 1, 0},
		{"somebody else after the look", []string{look, change, write}, 0, 1},
		{"somebody else before the look", []string{change, look, write}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			z := newZohoClient(t, sandbox.Config{})
			body := shareBody(entry(zohoA, "users", "read_only"))
			for _, step := range tt.steps {
				switch step {
				case look:
					z.call("GET", pathLead, "")
				case lose:
					z.server.Fault(sandbox.Fault{Op: "Zoho.Share.Get", Kind: sandbox.FaultEmpty500, Times: 1})
					z.expect("GET", pathLead, "", 500, "")
				case write:
					z.expect("PUT", pathLead, body, 201, "")
				case deny:
					z.server.Fault(sandbox.Fault{Op: "Zoho.Share.Put", Kind: sandbox.FaultThrottle, Times: 1})
					z.expect("PUT", pathLead, body, 429, "")
				case change:
					z.server.SeedZoho("Leads", zohoLead, user(zohoB, crm.Read))
				}
			}
			if got := z.server.WritesWithoutLook(); got != tt.blind {
				t.Errorf("writes without a look: got %d, want %d", got, tt.blind)
			}
			if got := z.server.StaleWrites(); got != tt.stale {
				t.Errorf("stale writes: got %d, want %d", got, tt.stale)
			}
		})
	}
}

func TestZohoTwoWriters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		z := newZohoClient(t, sandbox.Config{Latency: lasting(time.Second)})
		body := shareBody(entry(zohoA, "users", "read_only"))
		other := strings.Replace(pathLead, "Leads", "Deals", 1)
		var wg sync.WaitGroup
		wg.Go(func() { z.call("PUT", pathLead, body) })
		wg.Go(func() { z.call("PUT", other, body) })
		wg.Wait()
		z.call("PUT", pathLead, body)
		if got := z.server.OpenOnOneTarget(); got != 0 {
			t.Fatalf("two records and one after the other: got %d, want 0", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		wg.Go(func() {
			r := z.request(http.MethodPut, pathLead, body).WithContext(ctx)
			r.Header.Set("Authorization", "Zoho-oauthtoken "+z.token)
			z.dropped(r)
		})
		wg.Go(func() { z.call("PUT", pathLead, body) })
		wg.Wait()
		z.call("DELETE", pathLead, "")
		if got := z.server.OpenOnOneTarget(); got != 1 {
			t.Errorf("both in flight: got %d, want 1", got)
		}
	})
}
