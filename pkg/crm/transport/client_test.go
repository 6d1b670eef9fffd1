package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// tripFunc is a server in memory.
type tripFunc func(*http.Request) (*http.Response, error)

func (f tripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer returns a reply with a header given as "Name: value" lines.
func answer(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// newTestClient returns a client on a wide gate, unless cfg brings another.
func newTestClient(t *testing.T, base string, cfg Config) *Client {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Base = u
	if cfg.Gate == nil {
		cfg.Gate = newTestGate(t, GateConfig{Limit: 1000, Window: time.Second})
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if own, ok := c.rt.(*http.Transport); ok {
		t.Cleanup(own.CloseIdleConnections)
	}
	return c
}

// wantError returns the *Error in err and fails unless it is sent or not as wanted.
func wantError(t *testing.T, err error, sent bool) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got error %v, want an *Error", err)
	}
	if e.Sent != sent {
		t.Fatalf("got error %v with Sent %v, want %v", e, e.Sent, sent)
	}
	return e
}

func TestNewChecksItsBase(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"https://api.example.com":         true,
		"https://api.example.com:8443/v2": true,
		"http://localhost:8080":           true,
		"http://LOCALHOST":                true,
		"http://127.0.0.1:8080/base/":     true,
		"http://[::1]:8080":               true,
		"http://api.example.com":          false,
		"http://localhost.example.com":    false,
		"http://10.0.0.1":                 false,
		"ftp://localhost":                 false,
		"//api.example.com":               false,
		"https://":                        false,
		"https://:443":                    false,
		"https://user:pw@api.example.com": false,
		"https://api.example.com?key=x":   false,
		"https://api.example.com#x":       false,
		"api.example.com":                 false,
	}
	g := newTestGate(t, GateConfig{Limit: 1, Window: time.Second})
	for base, want := range tests {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(Config{Base: u, Gate: g})
		if (err == nil) != want {
			t.Errorf("%s: got error %v, want none: %v", base, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("the error prints a password: %v", err)
		}
	}
	if _, err := New(Config{Base: &url.URL{Scheme: "https", Host: "x"}}); err == nil {
		t.Error("got a client without a gate")
	}
	if _, err := New(Config{Base: &url.URL{Scheme: "https", Host: "x"}, Gate: g, CAFile: "/does/not/exist.pem"}); err == nil {
		t.Error("got a client without its roots")
	}
}

func TestPathsStayUnderTheBase(t *testing.T) {
	t.Parallel()
	tests := map[string]string{ // path: what is asked for; empty: refused
		"x":              "/base/x",
		"/x/y":           "/base/x/y",
		"a%2Fb":          "/base/a%2Fb",
		"":               "/base/",
		"a..b":           "/base/a..b",
		"https://evil/x": "", "//evil/x": "", "x?y=1": "", "x#y": "", "../x": "", "x/../../y": "", "x/%2e%2e/y": "",
		"x/./y": "", "%zz": "", "a\nb": "", "a%0d%0ab": "", `..\x`: "",
	}
	for path, want := range tests {
		var got string
		c := newTestClient(t, "http://localhost/base/", Config{RoundTripper: tripFunc(func(r *http.Request) (*http.Response, error) {
			got = r.URL.EscapedPath()
			if r.URL.Host != "localhost" {
				t.Errorf("%q leads to host %s", path, r.URL.Host)
			}
			return answer(200, ""), nil
		})})
		_, err := c.Send(t.Context(), Request{Op: "op", Method: "GET", Path: path})
		if want == "" {
			wantError(t, err, false)
		} else if err != nil {
			t.Errorf("%q: %v", path, err)
		}
		if got != want {
			t.Errorf("%q asks for %q, want %q", path, got, want)
		}
		if u := c.gate.Usage(); u.InFlight != 0 {
			t.Errorf("%q leaves a call open", path)
		}
	}
}

func TestThrottledReplies(t *testing.T) {
	t.Parallel()
	const window = 5 * time.Second
	inspect := func(r *Response) Signal {
		if strings.Contains(string(r.Body), "exceeded the limit of 10") {
			return Signal{Throttled: true, Throttle: Throttle{Limit: 10, Window: window, Text: string(r.Body)}}
		}
		return Signal{}
	}
	tests := map[string]struct {
		reply     func() *http.Response
		low, high time.Duration
		limit     int
	}{
		"429":               {func() *http.Response { return answer(429, "") }, 5050 * time.Millisecond, 5200 * time.Millisecond, 25},
		"429, seconds":      {func() *http.Response { return answer(429, "", "Retry-After: 30") }, 30 * time.Second, 33 * time.Second, 25},
		"429, date":         {func() *http.Response { return answer(429, "", "Retry-After: "+httpDate(20*time.Second)) }, 20 * time.Second, 22 * time.Second, 25},
		"429, nonsense":     {func() *http.Response { return answer(429, "", "Retry-After: 1e23") }, 5050 * time.Millisecond, 5200 * time.Millisecond, 25},
		"429, zero":         {func() *http.Response { return answer(429, "", "Retry-After: 0") }, 5050 * time.Millisecond, 5200 * time.Millisecond, 25},
		"200 with text":     {func() *http.Response { return answer(200, "exceeded the limit of 10 in 5 second(s)") }, 5050 * time.Millisecond, 5200 * time.Millisecond, 10},
		"403, text, header": {func() *http.Response { return answer(403, "exceeded the limit of 10", "Retry-After: 7") }, 7 * time.Second, 7700 * time.Millisecond, 10},
	}
	for name, tt := range tests {
		for _, streamed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, streamed %v", name, streamed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					calls := 0
					c := newTestClient(t, "http://localhost", Config{
						Gate:    newTestGate(t, GateConfig{Limit: 25, Window: window}),
						Inspect: inspect,
						RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) {
							if calls++; calls > 1 {
								return answer(200, "good"), nil
							}
							return tt.reply(), nil
						}),
					})
					var got string
					r := Request{Op: "op", Method: "GET", CallID: "c1"}
					if streamed {
						r.Stream = func(body io.Reader) error {
							b, err := io.ReadAll(body)
							got += string(b)
							return err
						}
					}
					begin := time.Now()
					reply, err := c.Send(t.Context(), r)
					if err != nil || !reply.Throttled || calls != 1 || reply.CallID != "c1" || got != "" {
						t.Fatalf("got %+v, error %v after %d calls, want one refusal", reply, err, calls)
					}
					reply, err = c.Read(t.Context(), r)
					if err != nil || reply.Throttled || calls != 2 {
						t.Fatalf("got %+v, error %v after %d calls, want an answer to the second", reply, err, calls)
					}
					if got += string(reply.Body); got != "good" {
						t.Errorf("got body %q, want %q", got, "good")
					}
					between(t, "the pause", time.Since(begin), tt.low, tt.high)
					if u := c.gate.Usage(); u.Limit != tt.limit || u.Calls != 2 || u.Refused != 1 || u.Repeats != 0 {
						t.Errorf("got usage %+v, want limit %d, 2 calls, 1 refused", u, tt.limit)
					}
				})
			})
		}
	}
}

func httpDate(in time.Duration) string { return time.Now().Add(in).UTC().Format(http.TimeFormat) }

// TestReadWaitsOutRefusals: refusals do not count as attempts, and end as a quota.
func TestReadWaitsOutRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := newTestClient(t, "http://localhost", Config{
			Gate:         newTestGate(t, GateConfig{Limit: 25, Window: 5 * time.Second}),
			Redact:       NewRedactor(NewSecret("sesame")),
			Inspect:      func(r *Response) Signal { return Signal{Throttle: Throttle{Text: string(r.Body)}} },
			RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) { calls++; return answer(429, "key sesame is busy"), nil }),
		})
		_, err := c.Read(t.Context(), Request{Op: "op", Method: "GET"})
		if end, ok := errors.AsType[*crm.AccountError](err); !ok || end.Code != crm.EndQuota || strings.Contains(err.Error(), "sesame") {
			t.Fatalf("got %v, want a quota, and no secret", err)
		}
		if calls < 20 {
			t.Errorf("gave up after %d calls, want two minutes of trying", calls)
		}
	})
}

func TestBeforeDecides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		no := errors.New("the disk is full")
		c := newTestClient(t, "http://localhost", Config{
			Gate:         newTestGate(t, GateConfig{Limit: 1, Window: time.Hour}),
			RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) { return answer(200, ""), nil }),
		})
		open := -1
		_, err := c.Send(t.Context(), Request{Op: "op", Method: "POST", Before: func(context.Context) error {
			open = c.gate.Usage().InFlight
			return no
		}})
		if wantError(t, err, false); !errors.Is(err, no) || open != 1 {
			t.Errorf("got error %v with %d slots held, want %v and one", err, open, no)
		}
		begin := time.Now()
		if _, err := c.Send(t.Context(), Request{Op: "op", Method: "POST"}); err != nil || time.Since(begin) != 0 {
			t.Errorf("the next call took %v, error %v, want it to find the slot free", time.Since(begin), err)
		}
	})
}

// TestCancelling stops what waits and nothing that is on its way.
func TestCancelling(t *testing.T) {
	t.Parallel()
	cause := errors.New("ctrl-c")
	tests := map[string]struct {
		prepare func(t *testing.T, c *Client)
		trip    tripFunc
		took    time.Duration
		good    bool
	}{
		"on its way": {nil, func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(10 * time.Second):
				return answer(200, ""), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}, 10 * time.Second, true},
		"at the gate": {func(t *testing.T, c *Client) { acquireSent(t, c.gate) }, nil, time.Second, false},
		"between tries": {nil, func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		}, time.Second, false},
		"beforehand": {func(t *testing.T, c *Client) { time.Sleep(2 * time.Second) }, nil, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newTestClient(t, "http://localhost", Config{
					Gate: newTestGate(t, GateConfig{Limit: 1, Window: time.Hour}), RoundTripper: tt.trip,
				})
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(cause) })
				if tt.prepare != nil {
					tt.prepare(t, c)
				}
				begin := time.Now()
				_, err := c.Send(ctx, Request{Op: "op", Method: "GET"})
				if tt.good {
					if err != nil {
						t.Errorf("got error %v for a call that was on its way", err)
					}
				} else if wantError(t, err, false); !errors.Is(err, cause) {
					t.Errorf("got error %v, want it to be the context's cause", err)
				}
				if took := time.Since(begin); took != tt.took {
					t.Errorf("came back after %v, want %v", took, tt.took)
				}
			})
		})
	}
}

func TestTimeLimit(t *testing.T) {
	t.Parallel()
	for configured, want := range map[time.Duration]time.Duration{0: attemptLimit, time.Second: time.Second, time.Hour: attemptLimit} {
		t.Run(configured.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newTestGate(t, GateConfig{Limit: 1, Window: 5 * time.Second})
				c := newTestClient(t, "http://localhost", Config{Gate: g, Timeout: configured, RoundTripper: tripFunc(func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				})})
				begin := time.Now()
				_, err := c.Send(t.Context(), Request{Op: "op", Method: "POST"})
				if e := wantError(t, err, true); !e.Timeout || !errors.Is(e, context.DeadlineExceeded) {
					t.Errorf("got %v, want a timeout", e)
				}
				if took := time.Since(begin); took != want {
					t.Errorf("gave up after %v, want %v", took, want)
				}
				acquireSent(t, g)
				if took := time.Since(begin); took != attemptLimit+5*time.Second {
					t.Errorf("the slot came back after %v, want %v", took, attemptLimit+5*time.Second)
				}
			})
		})
	}
}
