package transport

import (
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// TestAnUnreachableHostEndsTheAccount: as the rows of a sheet would find out.
func TestAnUnreachableHostEndsTheAccount(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		trip tripFunc
		most int
	}{
		"unknown host": {func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Name: "nowhere.example", IsNotFound: true}}
		}, misdirectedAfter},
		"wrong certificate": {func(*http.Request) (*http.Response, error) { return nil, x509.UnknownAuthorityError{} }, misdirectedAfter},
		"gateway":           {func(*http.Request) (*http.Response, error) { return answer(502, "bad gateway"), nil }, endAfter},
		"reset":             {func(*http.Request) (*http.Response, error) { return nil, errors.New("connection reset") }, endAfter},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				c := newTestClient(t, "http://localhost", Config{RoundTripper: tripFunc(func(r *http.Request) (*http.Response, error) {
					calls.Add(1)
					return tt.trip(r)
				})})
				for range 40 {
					_, err := c.Send(t.Context(), Request{Op: "op", Method: "POST"})
					if _, ok := errors.AsType[*crm.AccountError](err); ok {
						wantEnd(t, err, crm.EndUnreachable)
						if got := int(calls.Load()); got != tt.most {
							t.Errorf("the account ended after %d calls, want %d", got, tt.most)
						}
						_, err = c.Read(t.Context(), Request{Op: "op", Method: "GET"})
						wantEnd(t, err, crm.EndUnreachable)
						return
					}
				}
				t.Error("the account never ended")
			})
		})
	}
}

// TestRefusedRowsAreNoOutage: LeadSquared refuses single rows with HTTP 500.
func TestRefusedRowsAreNoOutage(t *testing.T) {
	t.Parallel()
	tests := map[string]Config{
		"a JSON object": {RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) {
			return answer(500, `{"Status":"Error","ExceptionType":"MXUnknownAttributeException"}`), nil
		})},
		"by the vendor's reading": {
			Inspect:      func(*Response) Signal { return Signal{Answered: true} },
			RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) { return answer(502, "x"), nil }),
		},
	}
	for name, cfg := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newTestClient(t, "http://localhost", cfg)
				begin := time.Now()
				for range 200 {
					if _, err := c.Send(t.Context(), Request{Op: "op", Method: "POST"}); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(begin); took != 0 {
					t.Errorf("took %v, want no pause", took)
				}
			})
		})
	}
}

func Test503WithRetryAfterPausesTheAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := newTestClient(t, "http://localhost", Config{RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) {
			if calls++; calls == 1 {
				return answer(503, "", "Retry-After: 90"), nil
			}
			return answer(200, ""), nil
		})})
		begin := time.Now()
		if _, err := c.Read(t.Context(), Request{Op: "op", Method: "GET"}); err != nil {
			t.Fatal(err)
		}
		between(t, "the read", time.Since(begin), 90*time.Second, 91*time.Second)
	})
}
