package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

const (
	userA    = "0203f172-8642-11e7-9bed-069b743e848f"
	userB    = "96105aa0-61f2-11ea-8109-022edb41208c"
	activity = "f2dbf1d5-bbab-418b-bddc-4c92ecdef214"
	oppID    = "f85f3b60-bec7-47c8-8fcd-ae5d9df2d0e5"

	pathShare  = "/v2/EntityAccess.svc/Share"
	pathRevoke = "/v2/EntityAccess.svc/Revoke"
	pathStatus = "/v2/EntityAccess.svc/Status/Get"
	pathUsers  = "/v2/UserManagement.svc/Users.Get"
	pathWhoAmI = "/v2/Authentication.svc/UserByAccessKey.Get"

	leadRevoke = `[{"UserId":"` + userA + `","Entity":1,"EntityType":3,"EntityId":"869196","ContextEntity":1,"ContextEntityId":"` + activity + `","AccessType":2}]`
	leadShare  = `[{"UserId":"` + userA + `","Entity":1,"EntityType":3,"EntityId":"869196","ContextEntity":1,"ContextEntityId":"` + activity + `","AccessType":2,"DurationInMinutes":30}]`
	oppRevoke  = `[{"UserId":"` + userB + `","Entity":5,"EntityType":3,"EntityId":"` + oppID + `","AccessType":2}]`
	oppShare   = `[{"UserId":"` + userB + `","Entity":5,"EntityType":3,"EntityId":"` + oppID + `","AccessType":1}]`
)

// client asks one server in memory.
type client struct {
	tb     testing.TB
	server *sandbox.Server
	rt     http.RoundTripper
}

func newClient(tb testing.TB, cfg sandbox.Config) client {
	tb.Helper()
	s, err := sandbox.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return client{tb, s, s.RoundTripper()}
}

func (c client) request(method, target, body string) *http.Request {
	c.tb.Helper()
	r, err := http.NewRequestWithContext(c.tb.Context(), method, "https://api-in21.leadsquared.com"+target, strings.NewReader(body))
	if err != nil {
		c.tb.Fatal(err)
	}
	r.Header.Set("x-LSQ-AccessKey", "u$r1")
	r.Header.Set("x-LSQ-SecretKey", "secret")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// do returns the status and the body.
func (c client) do(r *http.Request) (int, string) {
	c.tb.Helper()
	resp, err := c.rt.RoundTrip(r)
	if err != nil {
		c.tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.tb.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// ask sends a request that must be answered with 200, and decodes the answer.
func ask[T any](c client, method, target, body string) T {
	c.tb.Helper()
	status, text := c.do(c.request(method, target, body))
	var v T
	if err := json.Unmarshal([]byte(text), &v); status != http.StatusOK || err != nil {
		c.tb.Fatalf("%s %s: got %d %s (%v), want 200 and JSON", method, target, status, text, err)
	}
	return v
}

type accepted struct {
	Status  string
	Message struct{ ID string }
}

// accept sends a change that must be taken, and returns its request Id.
func (c client) accept(path, body string) string {
	c.tb.Helper()
	got := ask[accepted](c, http.MethodPost, path, body)
	if got.Status != "Success" || len(got.Message.ID) != 32 || strings.Trim(got.Message.ID, "0123456789abcdef") != "" {
		c.tb.Fatalf("got %+v, want a success with 32 hex digits", got)
	}
	return got.Message.ID
}

type status struct {
	Status       string
	Message      struct{ ResponseText string }
	ShareStatus  int
	ErrorMessage *string
}

func (c client) status(id string) status {
	c.tb.Helper()
	return ask[status](c, http.MethodGet, pathStatus+"?id="+id, "")
}

type problem struct {
	Status, ExceptionType, ExceptionMessage string
}
