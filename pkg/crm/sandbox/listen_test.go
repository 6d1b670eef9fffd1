package sandbox_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

func TestListen(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{})
	for _, addr := range []string{"", ":0", "localhost:0"} {
		base, stop, err := sandbox.Listen(addr, c.server)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(base, "http://127.0.0.1:") && !strings.HasPrefix(base, "http://[::1]:") {
			t.Errorf("listen on %q: got %s, want loopback", addr, base)
		}
		resp, err := http.Get(base + "/_sandbox/state")
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != 200 {
			t.Errorf("got %d (%v), want 200", resp.StatusCode, err)
		}
		stop()
		stop()
		if _, err := http.Get(base + "/_sandbox/state"); err == nil {
			t.Errorf("after stop: got an answer, want an error")
		}
	}
	if _, _, err := sandbox.Listen("nonsense", c.server); err == nil {
		t.Errorf("listen on nonsense: got no error")
	}
}

// TestConcurrentClients has many clients at once, for the race detector, and
// counts what is left.
func TestConcurrentClients(t *testing.T) {
	t.Parallel()
	const clients, rounds = 8, 25
	c := newClient(t, sandbox.Config{Limit: -1}).listening()
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			for round := range rounds {
				lead := fmt.Sprint(n*rounds + round + 1)
				share := c.accepted(pathShare, strings.Replace(leadShare, "869196", lead, 1))
				revoke := round%2 == 1 && c.accepted(pathRevoke, strings.Replace(leadRevoke, "869196", lead, 1))
				if !share || revoke != (round%2 == 1) {
					t.Errorf("lead %s was refused", lead)
				}
				c.server.Shares()
				c.server.Arrivals()
			}
		})
	}
	wg.Wait()
	if got, want := len(c.server.Shares()), clients*13; got != want {
		t.Errorf("shares: got %d, want %d", got, want)
	}
	if got, want := len(c.server.Arrivals()), clients*(rounds+12); got != want {
		t.Errorf("arrivals: got %d, want %d", got, want)
	}
	if got := c.server.OpenOnOneTarget(); got != 0 {
		t.Errorf("open on one target: got %d, want 0", got)
	}
}

// accepted says whether a change was answered with 200; it may be called from any
// goroutine.
func (c client) accepted(path, body string) bool {
	resp, err := c.rt.RoundTrip(c.request(http.MethodPost, path, body))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

func ExampleServer_RoundTripper() {
	s, err := sandbox.New(sandbox.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	s.Seed(crm.Operation{
		Action: crm.Revoke, Object: crm.Opportunity, Access: crm.Read,
		Record: "f85f3b60-bec7-47c8-8fcd-ae5d9df2d0e5", User: "leaver@example.com",
	})
	s.Fault(sandbox.Fault{Op: "Users.Get", Kind: sandbox.FaultThrottle, Times: 1})

	client := http.Client{Transport: s.RoundTripper()}
	for range 2 {
		req, err := http.NewRequest(http.MethodGet, "https://api-in21.leadsquared.com/v2/UserManagement.svc/Users.Get", nil)
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("x-LSQ-AccessKey", "any")
		req.Header.Set("x-LSQ-SecretKey", "any")
		resp, err := client.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	fmt.Println(len(s.Shares()), "share,", sandbox.MostInWindow(s.Arrivals(), s.Arrivals()[1].At.Sub(s.Arrivals()[0].At)+1), "calls")
	// Output:
	// 429 Too Many Requests
	// 200 OK
	// 1 share, 2 calls
}
