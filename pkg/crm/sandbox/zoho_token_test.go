package sandbox_test

import (
	"net/http"
	"net/url"
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
