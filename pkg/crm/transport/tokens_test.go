package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestRoundTripperForTokens(t *testing.T) {
	t.Parallel()
	var strangers atomic.Int32
	other := serve(t, func(http.ResponseWriter, *http.Request) { strangers.Add(1) })
	accounts := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/token":
			if r.Method != "POST" || r.PostFormValue("refresh_token") != "r" || r.Header.Get("Authorization") != "" || len(r.TransferEncoding) > 0 {
				t.Errorf("got %s with form %v, header %v", r.Method, r.PostForm, r.Header)
			}
			_, _ = io.WriteString(w, `{"access_token":"a"}`)
		case "/moved":
			http.Redirect(w, r, other+"/?x=sesame", http.StatusTemporaryRedirect)
		case "/busy":
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			t.Errorf("unexpected request for %s", r.URL)
		}
	})
	c := newTestClient(t, "http://localhost:1", Config{Authorize: func(context.Context, *http.Request) error {
		t.Error("keys were added to a token request")
		return nil
	}})
	client := &http.Client{Transport: c.RoundTripper("token")}
	post := func(path string) (string, error) {
		resp, err := client.PostForm(accounts+path, url.Values{"refresh_token": {"r"}})
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.Status + " " + string(b), err
	}
	if got, err := post("/token"); err != nil || got != `200 OK {"access_token":"a"}` {
		t.Errorf("got %q, error %v", got, err)
	}
	_, err := post("/moved")
	if wantEnd(t, err, crm.EndRedirect); strings.Contains(err.Error(), "sesame") {
		t.Errorf("the error prints the address: %v", err)
	}
	if _, err := client.Get("http://accounts.example.com/token"); err == nil || strings.Contains(err.Error(), "no such host") {
		t.Errorf("got error %v for plain http, want a refusal", err)
	}
	if got, err := post("/busy"); err != nil || !strings.HasPrefix(got, "429 ") {
		t.Errorf("got %q, error %v", got, err)
	}
	if u := c.gate.Usage(); u.Calls != 3 || u.Refused != 1 || u.PausedUntil.IsZero() || u.InFlight != 0 {
		t.Errorf("got usage %+v, want 3 calls through the gate and a pause", u)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", accounts+"/token", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v at a paused gate, want %v", err, context.Canceled)
	}
	if got := strangers.Load(); got != 0 {
		t.Errorf("the other host got %d requests, want none", got)
	}
}

// TestAuthorizeMayUseTheGate: workers that all need a token before they can send
// must not hold the slots that the token's own request needs.
func TestAuthorizeMayUseTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c *Client
		var mu sync.Mutex
		token := ""
		var tokens, calls atomic.Int32
		c = newTestClient(t, "http://localhost", Config{
			Gate: newTestGate(t, GateConfig{Limit: 1, Window: time.Second}),
			Authorize: func(ctx context.Context, r *http.Request) error {
				mu.Lock()
				defer mu.Unlock()
				if token == "" {
					req, err := http.NewRequestWithContext(ctx, "POST", "https://accounts.example.com/token", nil)
					if err != nil {
						return err
					}
					resp, err := c.RoundTripper("token").RoundTrip(req)
					if err != nil {
						return err
					}
					b, err := io.ReadAll(resp.Body)
					if err != nil {
						return err
					}
					token = string(b)
				}
				r.Header.Set("Authorization", token)
				return nil
			},
			RoundTripper: tripFunc(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path == "/token" {
					tokens.Add(1)
					return answer(200, "t1"), nil
				}
				calls.Add(1)
				if got := r.Header.Get("Authorization"); got != "t1" {
					t.Errorf("got authorisation %q", got)
				}
				return answer(200, ""), nil
			}),
		})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, err := c.Send(t.Context(), Request{Op: "op", Method: "GET"}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if tokens.Load() != 1 || calls.Load() != 5 {
			t.Errorf("got %d tokens and %d calls, want 1 and 5", tokens.Load(), calls.Load())
		}
	})
}

// TestStaleAuthorisation: a request that waited long at the gate is authorised anew,
// and what Authorize refuses is not sent.
func TestStaleAuthorisation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begin := time.Now()
		g := newTestGate(t, GateConfig{Limit: 1, Window: time.Second})
		no := &crm.AccountError{Code: crm.EndKeys, Err: errors.New("invalid_code")}
		var refusal error
		c := newTestClient(t, "http://localhost", Config{
			Gate:         g,
			Authorize:    func(context.Context, *http.Request) error { at = append(at, time.Since(begin)); return refusal },
			RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) { return answer(200, ""), nil }),
		})
		g.mu.Lock()
		g.pause(time.Now(), 5*time.Minute, "test")
		g.mu.Unlock()
		if _, err := c.Send(t.Context(), Request{Op: "op", Method: "GET"}); err != nil {
			t.Fatal(err)
		}
		if len(at) != 2 || at[0] != 0 || at[1] != 5*time.Minute {
			t.Errorf("authorised at %v, want at once and after the pause", at)
		}
		refusal = no
		_, err := c.Send(t.Context(), Request{Op: "op", Method: "GET"})
		wantEnd(t, err, crm.EndKeys)
		refusal = errors.New("no token")
		_, err = c.Send(t.Context(), Request{Op: "op", Method: "GET"})
		wantError(t, err, false)
		if u := c.gate.Usage(); u.Calls != 1 || u.InFlight != 0 {
			t.Errorf("got usage %+v, want one call", u)
		}
	})
}
