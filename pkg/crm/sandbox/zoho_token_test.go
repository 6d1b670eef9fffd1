package sandbox_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

func TestZohoTokenReply(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  sandbox.ZohoConfig
		form url.Values
		want map[string]any
	}{
		{"right", sandbox.ZohoConfig{}, nil,
			map[string]any{"expires_in": 3600.0, "token_type": "Bearer", "api_domain": "https://api-in21.leadsquared.com"}},
		{"legacy expiry", sandbox.ZohoConfig{LegacyExpiry: true, TokenLife: time.Minute}, nil,
			map[string]any{"expires_in": 60000.0, "expires_in_sec": 60.0}},
		{"another domain", sandbox.ZohoConfig{APIDomain: "https://www.zohoapis.eu"}, nil, map[string]any{"api_domain": "https://www.zohoapis.eu"}},
		{"grant type", sandbox.ZohoConfig{}, url.Values{"grant_type": {"password"}}, map[string]any{"error": "unsupported_grant_type"}},
		{"client", sandbox.ZohoConfig{ClientID: "1000.X"}, nil, map[string]any{"error": "invalid_client"}},
		{"secret", sandbox.ZohoConfig{ClientSecret: "x"}, nil, map[string]any{"error": "invalid_client_secret"}},
		{"refresh token", sandbox.ZohoConfig{RefreshToken: "x"}, nil, map[string]any{"error": "invalid_code"}},
		{"no client", sandbox.ZohoConfig{}, url.Values{"client_id": {""}}, map[string]any{"error": "invalid_client"}},
		{"owner inactive", sandbox.ZohoConfig{Owner: crm.User{ID: "7"}}, nil, map[string]any{"error": "invalid_code"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			z := zohoClient{client: newClient(t, sandbox.Config{Zoho: tt.cfg})}
			status, got := z.tokens(tt.form)
			if status != http.StatusOK {
				t.Errorf("status: got %d, want 200", status)
			}
			for name, want := range tt.want {
				if got[name] != want {
					t.Errorf("%s: got %v, want %v", name, got[name], want)
				}
			}
			if _, failed := tt.want["error"]; failed && got["access_token"] != nil {
				t.Errorf("got a token with an error: %v", got)
			}
		})
	}
}

func TestZohoTokenByQuery(t *testing.T) {
	t.Parallel()
	z := zohoClient{client: newClient(t, sandbox.Config{})}
	r := z.request(http.MethodPost, pathToken+"?"+refreshForm.Encode(), "")
	if status, body := z.do(r); status != http.StatusOK || !strings.Contains(body, "access_token") {
		t.Errorf("got %d %s, want a token", status, body)
	}
	r = z.request(http.MethodPost, pathToken, refreshForm.Encode())
	if status, body := z.do(r); status != http.StatusOK || body != `{"error":"general_error"}` {
		t.Errorf("form sent as JSON: got %d %s", status, body)
	}
	r = z.request(http.MethodGet, pathToken, "")
	if status, _ := z.do(r); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: got %d, want 405", status)
	}
	if got := z.server.TokenRequests(); got != 3 {
		t.Errorf("token requests: got %d, want 3", got)
	}
}

func TestZohoTokenThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		z := zohoClient{client: newClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{TokenThrottleStatus: 400}})}
		for range 10 {
			z.refresh()
			time.Sleep(6 * time.Second)
		}
		time.Sleep(9*time.Minute - time.Nanosecond)
		if status, got := z.tokens(nil); status != 400 || got["error"] != "Access Denied" ||
			!strings.Contains(got["error_description"].(string), "too many requests continuously") {
			t.Errorf("eleventh: got %d %v, want the throttle", status, got)
		}
		if _, got := z.tokens(url.Values{"refresh_token": {"1000.other"}}); got["access_token"] == nil {
			t.Errorf("another refresh token: got %v, want a token", got)
		}
		time.Sleep(time.Nanosecond)
		z.refresh()
	})
}

func TestZohoTokenEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  sandbox.ZohoConfig
		end  func(z *zohoClient)
	}{
		{"after its life", sandbox.ZohoConfig{}, func(*zohoClient) { time.Sleep(time.Hour) }},
		{"after its calls", sandbox.ZohoConfig{TokenCalls: 1}, func(*zohoClient) {}},
		{"pushed out", sandbox.ZohoConfig{LiveTokens: 1}, func(z *zohoClient) { z.tokens(nil) }},
		{"owner deactivated", sandbox.ZohoConfig{Owner: crm.User{ID: "7", Active: true}}, func(z *zohoClient) { z.server.AddUser(crm.User{ID: "7"}, "") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				z := newZohoClient(t, sandbox.Config{Zoho: tt.cfg})
				z.expect("GET", pathLead, "", 204, "")
				tt.end(&z)
				z.expect("GET", pathLead, "", 401, `{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}`)
			})
		})
	}
}

func TestZohoAuthorization(t *testing.T) {
	t.Parallel()
	z := newZohoClient(t, sandbox.Config{})
	for header, want := range map[string]string{
		"": "AUTHENTICATION_FAILURE", "Bearer " + z.token: "AUTHENTICATION_FAILURE", "Zoho-oauthtoken x": "INVALID_TOKEN",
	} {
		r := z.request(http.MethodGet, pathLead, "")
		r.Header.Set("Authorization", header)
		if status, body := z.do(r); status != 401 || !strings.Contains(body, want) {
			t.Errorf("%q: got %d %s, want %s", header, status, body, want)
		}
	}
}

// grantForm asks for a refresh token.
func grantForm(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "client_id": {"1000.CLIENT"}, "client_secret": {"secret"}, "code": {code}}
}

func TestZohoGrantToken(t *testing.T) {
	t.Parallel()
	z := zohoClient{client: newClient(t, sandbox.Config{Zoho: sandbox.ZohoConfig{
		ClientID: "1000.CLIENT", ClientSecret: "secret", RefreshToken: "1000.old", GrantToken: "1000.grant"}})}
	for name, tt := range map[string]struct {
		change url.Values
		want   string
	}{
		"another grant token": {url.Values{"code": {"1000.other"}}, "invalid_code"},
		"none":                {url.Values{"code": {""}}, "invalid_code"},
		"another client":      {url.Values{"client_id": {"1000.OTHER"}}, "invalid_client"},
		"another secret":      {url.Values{"client_secret": {"other"}}, "invalid_client_secret"},
	} {
		form := grantForm("1000.grant")
		maps.Copy(form, tt.change)
		if _, got := z.ask(form); got["error"] != tt.want || got["refresh_token"] != nil {
			t.Errorf("%s: got %v, want %s", name, got, tt.want)
		}
	}
	_, got := z.ask(grantForm("1000.grant"))
	refresh, _ := got["refresh_token"].(string)
	if refresh == "" || got["access_token"] == nil || got["api_domain"] == nil {
		t.Fatalf("got %v, want a refresh token beside an access token", got)
	}
	if _, again := z.ask(grantForm("1000.grant")); again["error"] != "invalid_code" {
		t.Errorf("the grant token a second time: got %v, want invalid_code", again)
	}
	for token, works := range map[string]bool{refresh: true, "1000.old": true, "1000.other": false} {
		form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"1000.CLIENT"}, "client_secret": {"secret"}, "refresh_token": {token}}
		if _, got := z.ask(form); (got["access_token"] != nil) != works {
			t.Errorf("refresh token %s: got %v", token, got)
		}
	}
}

// The eleventh refresh token in ten minutes is refused, and the twenty-first that lives
// pushes out the first.
func TestZohoGrantLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "journal")
		z := zohoClient{client: newClient(t, sandbox.Config{Journal: path})}
		var tokens []string
		for n := range 21 {
			if n%10 == 0 && n > 0 {
				if _, got := z.ask(grantForm(fmt.Sprint("1000.late.", n))); got["error"] != "Access Denied" {
					t.Errorf("refresh token %d in ten minutes: got %v, want a refusal", n+1, got)
				}
				time.Sleep(10 * time.Minute)
			}
			_, got := z.ask(grantForm(fmt.Sprint("1000.grant.", n)))
			tokens = append(tokens, got["refresh_token"].(string))
		}
		check := func(z zohoClient) {
			for n, works := range map[int]bool{0: false, 1: true, 20: true} {
				_, got := z.tokens(url.Values{"refresh_token": {tokens[n]}})
				if (got["access_token"] != nil) != works {
					t.Errorf("refresh token %d: got %v", n, got)
				}
			}
			if _, got := z.ask(grantForm("1000.grant.5")); got["error"] != "invalid_code" {
				t.Errorf("a used grant token: got %v, want invalid_code", got)
			}
		}
		check(z)
		if err := z.server.Close(); err != nil {
			t.Fatal(err)
		}
		check(zohoClient{client: newClient(t, sandbox.Config{Journal: path})})
	})
}
