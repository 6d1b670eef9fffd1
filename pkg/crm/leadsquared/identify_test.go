package leadsquared

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	ownerPath = "GET /v2/Authentication.svc/UserByAccessKey.Get"
	ownerBody = `{"Id":"` + leaver + `","Name":"Ann Admin","Role":"Administrator","EmailAddress":"ann@example.com","OrgId":"17","OrgShortCode":"ORG",
		"TimeZone":"Asia/Kolkata","UserType":0,"LSQCommonServiceURLs":{"api":"https://api-in21.leadsquared.com/v2/","web":"https://in21.leadsquared.com","async":"https://asyncapi-in21.leadsquared.com"}}`
)

func TestIdentify(t *testing.T) {
	t.Parallel()
	ann := crm.Identity{User: leaver, Email: "ann@example.com", Name: "Ann Admin", Org: "17", Role: "Administrator", Shares: crm.Yes}
	edit := func(old, new string) []step { return []step{{reply: strings.Replace(ownerBody, old, new, 1)}} }
	page := step{status: 500, reply: "<html>"}
	for name, c := range map[string]struct {
		host  string
		steps []step
		want  crm.Identity
		ended string
		says  string
	}{
		"an administrator":   {"", edit("", ""), ann, "", ""},
		"no address":         {"", edit(`"ann@example.com"`, "null"), crm.Identity{User: leaver, Name: "Ann Admin", Org: "17", Role: ann.Role, Shares: crm.Yes}, "", ""},
		"only a short code":  {"", edit(`"OrgId":"17",`, ""), crm.Identity{User: leaver, Email: ann.Email, Name: ann.Name, Org: "ORG", Role: ann.Role, Shares: crm.Yes}, "", ""},
		"a number for an id": {"", edit(`"OrgId":"17"`, `"OrgId":17`), ann, "", ""},
		"throttled":          {"", append([]step{{reply: limitBody}}, edit("", "")...), ann, "", ""},
		"a sales user":       {"", edit("Administrator", "Sales_User"), crm.Identity{}, crm.EndKeys, "Sales_User"},
		"another region":     {"api.leadsquared.com", edit("", ""), crm.Identity{}, crm.EndHost, "api-in21.leadsquared.com"},
		"another region, in a list": {"api.leadsquared.com", edit(`"https://api-in21.leadsquared.com/v2/"`, `["API-us11.leadsquared.com"]`),
			crm.Identity{}, crm.EndHost, "api-us11.leadsquared.com"},
		"a stand-in on this machine": {"http://127.0.0.1:8080", edit("", ""), ann, "", ""},
		"no hosts named":             {"api.leadsquared.com", edit("api-in21.leadsquared.com/v2/", "x"), ann, "", ""},
		"refused keys": {"", []step{{status: 401, reply: exception("MXUnAuthorizedAccessException", "call api-us11.leadsquared.com")}},
			crm.Identity{}, crm.EndKeys, "api-us11.leadsquared.com"},
		"wrong path":      {"", []step{{status: 404, reply: "x"}}, crm.Identity{}, crm.EndHost, "404"},
		"no organisation": {"", edit(`"OrgId":"17","OrgShortCode":"ORG"`, `"OrgId":null`), crm.Identity{}, crm.EndUnreachable, "no organisation"},
		"nobody":          {"", []step{{reply: "{}"}}, crm.Identity{}, crm.EndUnreachable, "no user"},
		"only pages":      {"", []step{page, page, page}, crm.Identity{}, crm.EndUnreachable, "500"},
		"beside an error": {"", edit(`{"Id"`, `{"ExceptionMessage":"try later","Id"`), crm.Identity{}, crm.EndUnreachable, "try later"},
		"not a 200":       {"", []step{{status: 202, reply: ownerBody}}, crm.Identity{}, crm.EndUnreachable, "HTTP 202"},
		"his own status":  {"", edit(`{"Id"`, `{"Status":"Active","Id"`), ann, "", ""},
		"an id twice":     {"", edit(`{"Id"`, `{"Id":"`+colleague+`","Id"`), crm.Identity{}, crm.EndUnreachable, "no user"},
		"an odd body":     {"", []step{{reply: "<html>"}}, crm.Identity{}, crm.EndUnreachable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range c.steps {
				c.steps[i].want = ownerPath
			}
			synctest.Test(t, func(t *testing.T) {
				s := newScript(t, c.steps...)
				got, err := newTestProvider(t, Config{Host: c.host}, s).Identify(t.Context())
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("identity (-want +got):\n%s", diff)
				}
				end, ok := errors.AsType[*crm.AccountError](err)
				if ok != (c.ended != "") || (err != nil) != ok || ok && end.Code != c.ended {
					t.Errorf("error %v, want the account ended by %q", err, c.ended)
				} else if ok && !strings.Contains(end.Error()+end.Hint, c.says) {
					t.Errorf("error %v does not say %q", err, c.says)
				}
			})
		})
	}
}

func TestIdentityIsRemembered(t *testing.T) {
	t.Parallel()
	store, err := transport.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t, step{want: ownerPath, reply: ownerBody})
	first, err := storedProvider(t, Config{}, s, store).Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := storedProvider(t, Config{}, s, store).Identify(t.Context())
	if err != nil || again != first || first.User != leaver {
		t.Errorf("second time: %+v, %v; want %+v without a request", again, err, first)
	}
}

func TestIdentifyDoesNotRememberANo(t *testing.T) {
	t.Parallel()
	store, err := transport.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t, step{want: ownerPath, reply: strings.Replace(ownerBody, "Administrator", "Sales_User", 1)}, step{want: ownerPath, reply: ownerBody})
	p := storedProvider(t, Config{}, s, store)
	if _, err := p.Identify(t.Context()); err == nil {
		t.Fatal("a sales user passed")
	}
	if _, err := p.Identify(t.Context()); err != nil {
		t.Errorf("after the role was given: %v", err)
	}
}
