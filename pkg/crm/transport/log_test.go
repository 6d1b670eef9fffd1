package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// TestLogHoldsNoSecret: one line per attempt, of what is listed, and nothing else.
func TestLogHoldsNoSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const secret = "u$r3b/sesame"
		var out bytes.Buffer
		logger := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		replies := []func() (*http.Response, error){
			func() (*http.Response, error) {
				return answer(429, "the key "+secret+" is busy", "X-Echo: "+secret), nil
			},
			func() (*http.Response, error) { return answer(503, secret), nil },
			func() (*http.Response, error) { return nil, errors.New("reset by " + secret) },
			func() (*http.Response, error) {
				return nil, &url.Error{Op: "Get", URL: "http://localhost/?k=" + url.QueryEscape(secret), Err: fmt.Errorf("proxy %s", secret)}
			},
			func() (*http.Response, error) { return answer(200, `{"echo":"`+secret+`"}`), nil },
		}
		calls := 0
		c := newTestClient(t, "http://localhost", Config{
			Gate:   newTestGate(t, GateConfig{Limit: 25, Window: 1e9, Log: logger}),
			Log:    logger,
			Redact: NewRedactor(NewSecret(secret)),
			Authorize: func(_ context.Context, r *http.Request) error {
				r.URL.RawQuery += "&secretKey=" + url.QueryEscape(secret)
				r.Header.Set("X-Key", secret)
				return nil
			},
			Inspect: func(r *Response) Signal { return Signal{Throttle: Throttle{Text: string(r.Body)}} },
			RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) {
				calls++
				return replies[calls-1]()
			}),
		})
		var errs []error
		for calls < len(replies) {
			_, err := c.Send(t.Context(), Request{Op: "Users.Get", CallID: "c42", Method: "POST", Query: url.Values{"q": {"secret question"}}, Body: []byte(secret)})
			errs = append(errs, err)
		}
		text := out.String() + fmt.Sprint(errs) + fmt.Sprintf("%+v", errs)
		for _, form := range append(secretForms(secret), "secret question", "secretKey", "X-Key", "X-Echo", "localhost") {
			if strings.Contains(text, form) {
				t.Errorf("log and errors hold %q:\n%s", form, text)
			}
		}
		allowed := []string{"time", "level", "msg", "op", "call_id", "attempt", "took", "status", "bytes", "throttled", "error", "sent"}
		attempts := 0
		for line := range strings.Lines(out.String()) {
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			if fields["msg"] != "attempt" {
				continue
			}
			attempts++
			for name := range fields {
				if !slices.Contains(allowed, name) {
					t.Errorf("the log holds %s: %s", name, line)
				}
			}
			if fields["op"] != "Users.Get" || fields["call_id"] != "c42" || fields["level"] != "DEBUG" {
				t.Errorf("got line %s", line)
			}
		}
		if attempts != len(replies) {
			t.Errorf("got %d lines for %d attempts:\n%s", attempts, len(replies), out.String())
		}
	})
}
