package zoho

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// TestMissingScopes: the message of a refused row names the scope that is missing, the
// account and what to do, for every request, and a request that is refused for a
// module is not sent for another record of it.
func TestMissingScopes(t *testing.T) {
	t.Parallel()
	mismatch := envelope("OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL")
	at := func(object, id string, op crm.Operation) crm.Operation {
		op.Object, op.Record = object, id
		return op
	}
	tests := []struct {
		name    string
		object  string
		method  string
		body    string
		op      crm.Operation
		says    []string
		methods string // of two records
	}{
		{"look", "Quotes", "GET", mismatch, revoke("5"), []string{"account sales-eu", "ZohoCRM.share.quotes.READ", "ZohoCRM.share.quotes.ALL", "ZohoCRM.share.all", "authorise"}, "GET"},
		{"PUT", "Sales_Orders", "PUT", mismatch, revoke("5"), []string{"ZohoCRM.share.salesorders.UPDATE", "ZohoCRM.share.salesorders.ALL"}, "GET PUT GET"},
		{"POST", "Price_Books", "POST", mismatch, give("7", crm.Read), []string{"ZohoCRM.share.pricebooks.CREATE"}, "GET POST GET"},
		{"DELETE", "Leads", "DELETE", mismatch, crm.Operation{Action: crm.RevokeAll}, []string{"ZohoCRM.share.leads.DELETE"}, "GET DELETE GET"},
		{"custom module", "Houses", "GET", mismatch, revoke("5"), []string{"ZohoCRM.share.custom.READ", "Houses is no module"}, "GET"},
		{"profile", "Deals", "PUT", envelope("NO_PERMISSION", "permission denied - access the api"), revoke("5"), []string{"profile", "sales-eu", "administrator"}, "GET PUT GET PUT"},
		{"permission by name", "Leads", "GET", `{"code":"NO_PERMISSION","details":{"permissions":["Crm_Implied_View_Leads"]},"message":"permission denied","status":"error"}`, revoke("5"), []string{"Crm_Implied_View_Leads", "sales-eu"}, "GET GET"},
		{"privilege", "Leads", "PUT", envelope("AUTHORIZATION_FAILED", "User does not have sufficient privilege to share records"), revoke("5"), []string{"profile", "administrator"}, "GET PUT GET PUT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				for _, id := range []string{"1", "2"} {
					f.lists[tt.object+"/"+id] = []share{user("5", "read_only"), user("6", "read_only")}
				}
				p := provider(t, f, Config{Account: "sales-eu"}, nil)
				for _, id := range []string{"1", "2"} {
					f.steps = []step{refuses(tt.method, 401, tt.body)}
					if strings.Contains(tt.body, "NO_PERMISSION") || strings.Contains(tt.body, "AUTHORIZATION") {
						f.steps = []step{refuses(tt.method, 403, tt.body)}
					}
					o := p.Do(t.Context(), callOf(at(tt.object, id, tt.op)), &journal{})[0]
					f.steps = nil
					for _, want := range tt.says {
						if o.Status != crm.Failed || !strings.Contains(o.Message, want) {
							t.Errorf("%s: %q, want %q", brief(o), o.Message, want)
						}
					}
				}
				if got := f.methods(); got != tt.methods {
					t.Errorf("requests %s, want %s", got, tt.methods)
				}
			})
		})
	}
}

func TestMissingScopeOfUsers(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.steps = []step{
		refuses("GET", 401, envelope("OAUTH_SCOPE_MISMATCH", "invalid oauth scope")),
		refuses("GET", 401, envelope("OAUTH_SCOPE_MISMATCH", "invalid oauth scope")),
	}
	p := provider(t, f, Config{Account: "sales-eu"}, nil)
	_, listed := collect(p, t.Context())
	_, preflight := p.Identify(t.Context())
	for _, err := range []error{listed, preflight} {
		if err == nil || !strings.Contains(err.Error(), "account sales-eu lacks the scope ZohoCRM.users.READ") {
			t.Errorf("got %v, want the scope for users", err)
		}
	}
}

// TestCompositeIsGivenUp: a composite request that is refused is told once, and no
// other one is sent.
func TestCompositeIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.lists[quotes] = []share{user("6", "read_only")}
		f.steps = []step{refuses(http.MethodPost, 401, envelope("OAUTH_SCOPE_MISMATCH", "invalid oauth scope"))}
		p := provider(t, f, Config{Account: "sales-eu", Composite: true}, nil)
		var log bytes.Buffer
		p.log = slog.New(slog.NewTextHandler(&log, nil))
		p.composite.send(t.Context(), []wanted{{"Quotes", record}, {"Quotes", record}})
		for range 4 {
			if f := p.composite.look(t.Context(), "Quotes", record); f.Class != shown || len(f.list) != 1 {
				t.Errorf("look: %+v, want the list", f)
			}
		}
		if got := f.methods(); got != "POST GET GET GET GET" {
			t.Errorf("requests %s, want one that is refused and a look each", got)
		}
		if n := strings.Count(log.String(), "ZohoCRM.composite_requests.CUSTOM"); n != 1 {
			t.Errorf("told %d times, want once: %s", n, log.String())
		}
	})
}

// TestScopesOfAllModules: the words inside a scope are those of the vendor's page.
func TestScopesOfAllModules(t *testing.T) {
	t.Parallel()
	for object, word := range map[string]string{
		"Leads": "leads", "Accounts": "accounts", "Contacts": "contacts", "Deals": "deals", "Campaigns": "campaigns", "Cases": "cases",
		"Solutions": "solutions", "Products": "products", "Vendors": "vendors", "Price_Books": "pricebooks", "Quotes": "quotes",
		"Sales_Orders": "salesorders", "Purchase_Orders": "purchaseorders", "Invoices": "invoices", "CustomModule1": "custom",
	} {
		if got := shareScope(verbLook, object); !strings.HasPrefix(got, "ZohoCRM.share."+word+".READ ") {
			t.Errorf("%s: %s, want the word %s", object, got, word)
		}
	}
}
