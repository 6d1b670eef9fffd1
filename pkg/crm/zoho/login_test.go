package zoho

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const grantToken = "1000.grant-token-value"

// A grant token is traded for a refresh token with the first request, once.
func TestGrantToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.grant = func(n int) answer {
			f.valid["1000.access.1"] = true
			return says(200, `{"access_token":"1000.access.1","refresh_token":"1000.new","api_domain":"https://www.zohoapis.eu","expires_in":3600}`)
		}
		p := provider(t, f, Config{GrantToken: transport.NewSecret(grantToken)}, nil)
		if !p.RefreshToken().IsZero() {
			t.Error("there is a refresh token before anything was asked")
		}
		for range 2 {
			if o := p.Do(t.Context(), callOf(revoke("5")), &journal{})[0]; o.Status != crm.Unchanged {
				t.Errorf("got %s %s, want unchanged", brief(o), o.Message)
			}
		}
		want := []url.Values{{
			"grant_type": {"authorization_code"}, "client_id": {"1000.CLIENT"},
			"client_secret": {"client-secret-value"}, "code": {grantToken},
		}}
		if diff := cmp.Diff(want, f.forms); diff != "" {
			t.Errorf("token requests (-want +got):\n%s", diff)
		}
		if got := p.RefreshToken().Reveal(); got != "1000.new" {
			t.Errorf("refresh token: got %q, want 1000.new", got)
		}
	})
}

// A trade that fails is told as what it is, and never tried again.
func TestGrantTokenRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer     answer
		code, says string
	}{
		"used or expired": {says(200, `{"error":"invalid_code"}`), crm.EndKeys, "accounts.zoho.eu refuses the grant token"},
		"client":          {says(200, `{"error":"invalid_client"}`), crm.EndKeys, "does not know the client id"},
		"secret":          {says(200, `{"error":"invalid_client_secret"}`), crm.EndKeys, "client secret"},
		"too many":        {says(400, accessDenied), crm.EndQuota, "too many tokens within 10 minutes"},
		"no refresh token": {says(200, `{"access_token":"1000.a","api_domain":"https://www.zohoapis.eu"}`), crm.EndKeys,
			"no refresh token"},
		"another host": {says(200, `{"access_token":"1000.a","refresh_token":"1000.r","api_domain":"https://evil.example"}`), crm.EndHost, "evil.example"},
		"broken":       {says(502, "<html>"), crm.EndUnreachable, "HTTP 502"},
		"lost":         {answer{err: errors.New("cut off")}, crm.EndUnreachable, "cut off"},
		"echo":         {says(200, `{"error":"odd `+grantToken+`"}`), crm.EndKeys, "odd [redacted]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.grant = func(int) answer { return tt.answer }
				p := provider(t, f, Config{GrantToken: transport.NewSecret(grantToken)}, nil)
				for range 2 {
					_, err := p.Identify(t.Context())
					end, ok := errors.AsType[*crm.AccountError](err)
					if !ok || end.Code != tt.code || !strings.Contains(end.Error(), tt.says) || end.Hint == "" {
						t.Fatalf("got %v, want %s with %q", err, tt.code, tt.says)
					}
					if strings.Contains(end.Error()+end.Hint, grantToken) {
						t.Errorf("%v shows the grant token", err)
					}
				}
				if len(f.forms) != 1 {
					t.Errorf("%d requests for a token, want 1", len(f.forms))
				}
			})
		})
	}
}

func TestConsole(t *testing.T) {
	t.Parallel()
	for dc, want := range map[string]string{
		"us": "https://api-console.zoho.com", "eu": "https://api-console.zoho.eu", "au": "https://api-console.zoho.com.au",
		"ca": "https://api-console.zohocloud.ca", "": "",
	} {
		api, accounts := "", ""
		if dc == "" {
			api, accounts = "http://127.0.0.1:1", "http://127.0.0.1:1"
		}
		if got := Console(dc, api, accounts); got != want {
			t.Errorf("%q: got %q, want %q", dc, got, want)
		}
	}
}
