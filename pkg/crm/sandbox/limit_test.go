package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/google/go-cmp/cmp"
)

func TestRefusalForms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		refusal    sandbox.Refusal
		retryAfter string
		want       []int
	}{
		{"default", 0, "", []int{429, 429, 429, 429}},
		{"200", sandbox.Refuse200, "7", []int{200, 200, 200, 200}},
		{"403", sandbox.Refuse403, "", []int{403, 403, 403, 403}},
		{"in turn", sandbox.Refuse429 | sandbox.Refuse200 | sandbox.Refuse403, "1", []int{429, 200, 403, 429}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, sandbox.Config{Limit: 1, Window: 72 * time.Hour, Refusal: tt.refusal, RetryAfter: tt.retryAfter})
			c.accept(pathRevoke, leadRevoke)
			var got []int
			for range tt.want {
				resp, err := c.rt.RoundTrip(c.request(http.MethodPost, pathRevoke, leadRevoke))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				var p problem
				if err := json.Unmarshal(body, &p); err != nil {
					t.Fatal(err)
				}
				want := problem{"Error", "MXAPIRateLimitExceededException", "API calls exceeded the limit of 1 in 259200 second(s)"}
				if p != want || resp.Header.Get("Retry-After") != tt.retryAfter {
					t.Errorf("got %+v, Retry-After %q; want %+v, %q", p, resp.Header.Get("Retry-After"), want, tt.retryAfter)
				}
				got = append(got, resp.StatusCode)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
			arrivals := c.server.Arrivals()
			if arrivals[0].Refused || !arrivals[1].Refused || arrivals[1].Status != tt.want[0] || arrivals[1].Op != "EntityAccess.Revoke" {
				t.Errorf("arrivals: got %+v, want the first one let in and the second one refused", arrivals[:2])
			}
			if n := len(c.server.Requests()); n != 1 {
				t.Errorf("requests: got %d, want 1: refused calls do nothing", n)
			}
		})
	}
}

// TestLimitCountsEverything has calls of every kind share one window that comes
// back in time.
func TestLimitCountsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, sandbox.Config{Limit: 3})
		c.do(c.request(http.MethodGet, pathUsers, ""))
		c.do(c.request(http.MethodGet, "/nowhere", ""))
		c.do(c.request(http.MethodGet, "/_sandbox/state", ""))
		c.accept(pathRevoke, leadRevoke)
		time.Sleep(5*time.Second - 1)
		if status, _ := c.do(c.request(http.MethodGet, pathUsers, "")); status != 429 {
			t.Errorf("just before the window's end: got %d, want 429", status)
		}
		time.Sleep(time.Nanosecond)
		c.accept(pathRevoke, leadRevoke)
		if got := sandbox.MostInWindow(c.server.Arrivals(), 5*time.Second); got != 4 {
			t.Errorf("most in 5 s: got %d, want 4", got)
		}
	})
}
