package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRepeats: what Send and Read repeat, and how often.
func TestRepeats(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: errors.New("connect: connection refused")}
	reset := &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	type reply = func() (*http.Response, error)
	fails := func(err error) reply { return func() (*http.Response, error) { return nil, err } }
	says := func(status int, body string) reply {
		return func() (*http.Response, error) { return answer(status, body), nil }
	}
	breaks := func() (*http.Response, error) {
		r := answer(200, "")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("half a"), errReader{reset}))
		return r, nil
	}
	tests := map[string]struct {
		reply      reply
		send, read int // calls made
		sent       bool
		status     int // 0: an error
	}{
		"good":                      {says(200, "{}"), 1, 1, false, 200},
		"refused row":               {says(500, `{"Status":"Error","ExceptionType":"MXInvalidInputException"}`), 1, 1, false, 500},
		"bad request":               {says(400, ""), 1, 1, false, 400},
		"redirect":                  {says(302, ""), 1, 1, false, 302},
		"500 of something in front": {says(500, "<html>"), 1, 3, false, 500},
		"503":                       {says(503, `{"message":"x"}`), 1, 3, false, 503},
		"reset":                     {fails(reset), 1, 3, true, 0},
		"body breaks off":           {breaks, 1, 3, true, 0},
		"connection refused":        {fails(refused), 3, 3, false, 0},
		"inside an URL error":       {fails(&url.Error{Op: "Get", URL: "http://localhost/?secret=sesame", Err: reset}), 1, 3, true, 0},
	}
	for name, tt := range tests {
		for method, want := range map[string]int{"Send": tt.send, "Read": tt.read} {
			t.Run(name+", "+method, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var calls, before int
					c := newTestClient(t, "http://localhost", Config{RoundTripper: tripFunc(func(r *http.Request) (*http.Response, error) {
						calls++
						return tt.reply()
					})})
					do := map[string]func(context.Context, Request) (*Response, error){"Send": c.Send, "Read": c.Read}[method]
					got, err := do(t.Context(), Request{Op: "op", Method: "GET", Before: func(context.Context) error { before++; return nil }})
					if calls != want {
						t.Errorf("made %d calls, want %d", calls, want)
					}
					if wantBefore := map[string]int{"Send": want}[method]; before != wantBefore {
						t.Errorf("announced %d calls, want %d", before, wantBefore)
					}
					if tt.status == 0 {
						if e := wantError(t, err, tt.sent); strings.Contains(e.Error(), "sesame") {
							t.Errorf("the error prints the URL: %v", e)
						}
					} else if err != nil || got.Status != tt.status {
						t.Errorf("got %+v, error %v, want status %d", got, err, tt.status)
					}
					if u := c.gate.Usage(); u.Calls != int64(want) || u.Repeats != int64(want-1) || u.InFlight != 0 {
						t.Errorf("got usage %+v, want %d calls, %d repeats, none open", u, want, want-1)
					}
				})
			})
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestBudgetOfRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestClient(t, "http://localhost", Config{RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) { return answer(200, ""), nil })})
		spend := func() (n int) {
			for c.Backoff(t.Context(), 1) {
				n++
			}
			return n
		}
		if got := spend(); got != 10 {
			t.Errorf("got %d repeats without a call, want 10", got)
		}
		for range 50 {
			if _, err := c.Send(t.Context(), Request{Op: "op", Method: "GET"}); err != nil {
				t.Fatal(err)
			}
		}
		if got := spend(); got != 5 {
			t.Errorf("got %d more repeats after 50 calls, want 5", got)
		}
	})
}

func TestBackoffGrowsAndStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestClient(t, "http://localhost", Config{})
		most := map[int]time.Duration{}
		for range 400 {
			for attempt, high := range map[int]time.Duration{0: backoffBase, 1: backoffBase, 2: 2 * backoffBase, 3: 4 * backoffBase, 100: backoffCap} {
				c.gate.repeats = 0
				begin := time.Now()
				if !c.Backoff(t.Context(), attempt) {
					t.Fatal("no repeat is allowed")
				}
				between(t, "the wait", time.Since(begin), 0, high)
				most[attempt] = max(most[attempt], time.Since(begin))
			}
		}
		if most[3] < 3*backoffBase || most[100] < backoffCap*3/4 {
			t.Errorf("the longest waits were %v: too short to be a backoff", most)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if c.Backoff(ctx, 1) {
			t.Error("a repeat is allowed although the context is done")
		}
	})
}
