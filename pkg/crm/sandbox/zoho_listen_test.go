package sandbox_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// TestZohoOverSockets has as many clients as the concurrency limit allows, each of
// which looks and writes records of its own. None of them may be refused.
func TestZohoOverSockets(t *testing.T) {
	t.Parallel()
	const clients, records = 4, 25
	s, err := sandbox.New(sandbox.Config{Zoho: sandbox.ZohoConfig{Concurrency: clients}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	base, stop, err := sandbox.Listen("", s)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	resp, err := http.PostForm(base+pathToken, refreshForm)
	if err != nil {
		t.Fatal(err)
	}
	var token struct {
		Access string `json:"access_token"`
		Domain string `json:"api_domain"`
	}
	err = json.NewDecoder(resp.Body).Decode(&token)
	resp.Body.Close()
	if err != nil || token.Domain != base {
		t.Fatalf("api_domain: got %q (%v), want %q", token.Domain, err, base)
	}
	call := func(method, path, body string, want int) {
		r, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("Authorization", "Zoho-oauthtoken "+token.Access)
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s %s: got %d, want %d", method, path, resp.StatusCode, want)
		}
	}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := range records {
				path := "/crm/v8/Deals/" + strconv.Itoa(c*records+n) + "/actions/share"
				call(http.MethodGet, path, "", 204)
				call(http.MethodPut, path, shareBody(entry(zohoA, "users", "read_only")), 201)
			}
		})
	}
	wg.Wait()
	if got := len(s.Records()); got != clients*records {
		t.Errorf("records: got %d, want %d", got, clients*records)
	}
	if s.WritesWithoutLook() != 0 || s.OpenOnOneTarget() != 0 || s.Mails() != 0 {
		t.Errorf("got %d writes without a look, %d open on one target, %d mails, want none",
			s.WritesWithoutLook(), s.OpenOnOneTarget(), s.Mails())
	}
}
