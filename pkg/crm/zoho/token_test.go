package zoho

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const accessDenied = `{"error":"Access Denied","error_description":"You have made too many requests continuously. Please try again after some time.","status":"failure"}`

func openStore(t *testing.T) *transport.Store {
	t.Helper()
	store, err := transport.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestTokenRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := provider(t, f, Config{}, nil)
		p.Do(t.Context(), callOf(revoke("5")), &journal{})
		want := []url.Values{{
			"grant_type": {"refresh_token"}, "client_id": {"1000.CLIENT"},
			"client_secret": {"client-secret-value"}, "refresh_token": {"1000.refresh-token-value"},
		}}
		if diff := cmp.Diff(want, f.forms); diff != "" {
			t.Errorf("token requests (-want +got):\n%s", diff)
		}
	})
}

func TestOneTokenForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := provider(t, f, Config{}, nil)
		work := func() {
			var all sync.WaitGroup
			for n := range 20 {
				all.Go(func() {
					op := revoke("5")
					op.Record = fmt.Sprint(1000 + n)
					if o := p.Do(t.Context(), callOf(op), &journal{})[0]; o.Status != crm.Unchanged {
						t.Errorf("got %s %s, want unchanged", brief(o), o.Message)
					}
				})
			}
			all.Wait()
		}
		work()
		if f.tokens != 1 {
			t.Errorf("%d tokens for 20 records, want 1", f.tokens)
		}
		f.mu.Lock()
		clear(f.valid) // it ends early
		f.mu.Unlock()
		work()
		if f.tokens != 2 {
			t.Errorf("%d tokens after the first was refused, want 2", f.tokens)
		}
		time.Sleep(time.Hour - 59*time.Second)
		work()
		if f.tokens != 3 {
			t.Errorf("%d tokens a minute before the second ends, want 3", f.tokens)
		}
	})
}

func TestTokenIsRemembered(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	f := newFake(t)
	for range 3 {
		p := provider(t, f, Config{}, store)
		if o := p.Do(t.Context(), callOf(revoke("5")), &journal{})[0]; o.Status != crm.Unchanged {
			t.Fatalf("got %s %s, want unchanged", brief(o), o.Message)
		}
	}
	if f.tokens != 1 {
		t.Errorf("%d tokens for three runs, want 1", f.tokens)
	}
	// A remembered token that has been revoked costs one more.
	clear(f.valid)
	p := provider(t, f, Config{}, store)
	if o := p.Do(t.Context(), callOf(revoke("5")), &journal{})[0]; o.Status != crm.Unchanged || f.tokens != 2 {
		t.Errorf("got %s with %d tokens, want unchanged with 2", brief(o), f.tokens)
	}
	// A remembered host that is nobody's is not believed.
	until := time.Now().Add(time.Hour)
	if err := store.Remember(tokenName, rememberedToken{"1000.access.2", "https://evil.example", until}, until); err != nil {
		t.Fatal(err)
	}
	p = provider(t, f, Config{}, store)
	if o := p.Do(t.Context(), callOf(revoke("5")), &journal{})[0]; o.Status != crm.Unchanged || f.tokens != 3 {
		t.Errorf("got %s with %d tokens, want unchanged with 3", brief(o), f.tokens)
	}
}

// A check puts the keys to the test, and does not use up the ten tokens in ten minutes.
func TestAskAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		f := newFake(t)
		for n, want := range []int{1, 1, 2, 3, 3} {
			if AskAgain(store); n == 2 || n == 3 {
				time.Sleep(2*time.Minute + time.Second)
				AskAgain(store)
			}
			provider(t, f, Config{}, store).Do(t.Context(), callOf(revoke("5")), &journal{})
			if f.tokens != want {
				t.Errorf("time %d: %d tokens, want %d", n+1, f.tokens, want)
			}
		}
	})
}

func TestNewTokenRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.lists[quotes] = []share{user("5", "read_only")}
		refuse := refuses("GET", 401, `{"code":"INVALID_TOKEN","message":"invalid oauth token","status":"error"}`)
		f.steps = []step{refuse}
		p := provider(t, f, Config{}, nil)
		o := p.Do(t.Context(), callOf(revoke("5")), &journal{})[0]
		if got, want := brief(o), "not_attempted keys ended:keys x0"; got != want || f.tokens != 1 {
			t.Errorf("got %s with %d tokens, want %s with 1", got, f.tokens, want)
		}
	})
}

func TestTokenErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer answer
		code   string // the account's end; "" where it goes on
		says   string
		asked  int
	}{
		{"refresh token", says(200, `{"error":"invalid_code"}`), crm.EndKeys, "refresh token", 1},
		{"client id", says(200, `{"error":"invalid_client"}`), crm.EndKeys, "client id", 1},
		{"client secret", says(400, `{"error":"invalid_client_secret"}`), crm.EndKeys, "client secret", 1},
		{"another error", says(200, `{"error":"general_error"}`), crm.EndKeys, "general_error", 1},
		{"JSON as plain text", answer{status: 200, body: `{"error":"invalid_code"}`, header: http.Header{"Content-Type": {"text/plain"}}}, crm.EndKeys, "refresh token", 1},
		{"no such path", says(404, "<html>"), crm.EndHost, "404", 1},
		{"redirect", answer{status: 302, header: http.Header{"Location": {"https://evil.example/?x=1"}}}, crm.EndRedirect, "302", 1},
		{"server error", says(500, "<html>"), "", "500", 3},
		{"a page", says(200, "<html>"), "", "get an access token", 3},
		{"no token in it", says(200, `{"scope":"x"}`), "", "access_token", 3},
		{"another host", says(200, `{"access_token":"1000.a.b","api_domain":"https://evil.example","expires_in":3600}`), crm.EndHost, "evil.example", 1},
		{"no scheme of ours", says(200, `{"access_token":"1000.a.b","api_domain":"http://www.zohoapis.eu","expires_in":3600}`), crm.EndHost, "API host", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.grant = func(int) answer { return tt.answer }
				p := provider(t, f, Config{}, nil)
				o := p.Do(t.Context(), callOf(revoke("5")), &journal{})[0]
				if o.Status != crm.Pending || (o.Ended != nil) != (tt.code != "") || o.Ended != nil && o.Ended.Code != tt.code {
					t.Errorf("got %s %v, want an end %q", brief(o), o.Ended, tt.code)
				}
				if !strings.Contains(o.Message, tt.says) {
					t.Errorf("message %q, want %q in it", o.Message, tt.says)
				}
				if len(f.forms) != tt.asked || f.methods() != "" {
					t.Errorf("%d token requests and %q, want %d and none", len(f.forms), f.methods(), tt.asked)
				}
				if tt.code != "" {
					p.Do(t.Context(), callOf(revoke("6")), &journal{})
					if len(f.forms) != tt.asked {
						t.Errorf("asked again for a token that will not come")
					}
				}
			})
		})
	}
}

func TestTokenThrottle(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 400} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			f.grant = func(n int) answer {
				if n == 1 {
					return says(status, accessDenied)
				}
				return answer{}
			}
			p := provider(t, f, Config{}, nil)
			begin := time.Now()
			o := p.Do(t.Context(), callOf(revoke("5")), &journal{})[0]
			took := time.Since(begin)
			if o.Status != crm.Unchanged || took < 10*time.Minute || took > 12*time.Minute {
				t.Errorf("got %s after %v, want unchanged after some ten minutes", brief(o), took)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			f.grant = func(int) answer { return says(status, accessDenied) }
			p := provider(t, f, Config{}, nil)
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the run was stopped"))
			defer cancel()
			begin := time.Now()
			o := p.Do(ctx, callOf(revoke("5")), &journal{})[0]
			if o.Status != crm.Pending || o.Ended != nil || time.Since(begin) > 61*time.Second {
				t.Errorf("got %s after %v, want not_attempted after a minute", brief(o), time.Since(begin))
			}
			o = p.Do(t.Context(), callOf(revoke("5")), &journal{})[0]
			if o.Ended == nil || o.Ended.Code != crm.EndQuota {
				t.Errorf("got %s, want the account ended when ten minutes of waiting do not help", brief(o))
			}
		})
	}
}

func TestSandboxHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.apiHost = "https://sandbox.zohoapis.eu"
		p := provider(t, f, Config{}, nil)
		if o := p.Do(t.Context(), callOf(revoke("5")), &journal{})[0]; o.Status != crm.Unchanged {
			t.Errorf("got %s %s, want unchanged", brief(o), o.Message)
		}
	})
}

func TestLife(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in    int64
		extra map[string]any
		want  time.Duration
	}{
		{3600, nil, time.Hour},
		{3600000, map[string]any{"expires_in_sec": float64(3600)}, time.Hour},
		{3600000, nil, time.Hour},
		{0, nil, time.Hour},
		{5, nil, 5 * time.Second},
	}
	for _, tt := range tests {
		tok := &oauth2.Token{ExpiresIn: tt.in}
		if tt.extra != nil {
			tok = tok.WithExtra(tt.extra)
			tok.ExpiresIn = tt.in
		}
		if got := life(tok); got != tt.want {
			t.Errorf("life of %d, %v: %v, want %v", tt.in, tt.extra, got, tt.want)
		}
	}
}

// No secret reaches a log, an outcome or an error, whatever the server repeats.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const told = "client-secret-value 1000.refresh-token-value 1000.access.1"
		f := newFake(t)
		f.lists[quotes] = []share{user("5", "read_only"), user("6", "read_only")}
		f.steps = []step{
			refuses("PUT", 207, `{"share":[`+envelope("INVALID_DATA", told)+`]}`),
			refuses("GET", 400, envelope("X "+told, told)),
			refuses("GET", 403, envelope("NO_PERMISSION", told)),
		}
		var log bytes.Buffer
		gate, err := transport.NewGate(transport.GateConfig{Limit: 100, Window: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		p, err := New(Config{
			DC: "eu", ClientID: "1000.CLIENT",
			ClientSecret: transport.NewSecret("client-secret-value"), RefreshToken: transport.NewSecret("1000.refresh-token-value"),
		}, transport.Config{Gate: gate, RoundTripper: f, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, nil)
		if err != nil {
			t.Fatal(err)
		}
		out := p.Do(t.Context(), callOf(revoke("5")), &journal{})
		out = append(out, confirm(t.Context(), p, crm.Item{Op: revoke("5")})...)
		all := fmt.Sprintf("%+v %+v\n%s", out, p, log.String())
		for secret := range strings.FieldsSeq(told) {
			if strings.Contains(all, secret) {
				t.Errorf("%s is told", secret)
			}
		}
		if !strings.Contains(all, "[redacted]") || log.Len() == 0 {
			t.Error("nothing was redacted or logged: the test is blind")
		}
	})
}
