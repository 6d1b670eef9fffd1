package sandbox_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/google/go-cmp/cmp"
)

// plain is a request without keys.
func (c client) plain(method, path, body string) *http.Request {
	r := c.request(method, path, body)
	r.Header = http.Header{}
	return r
}

func (c client) mustControl(method, path, body string) {
	c.tb.Helper()
	if status, text := c.do(c.plain(method, path, body)); status != http.StatusNoContent || text != "" {
		c.tb.Fatalf("%s %s: got %d %q, want 204", method, path, status, text)
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{Limit: 3, Closed: true}).listening()
	c.mustControl("POST", "/_sandbox/users", `{"id":"`+userB+`","email":"b@example.com","active":false,"role":"Marketing_User"}`)
	c.mustControl("POST", "/_sandbox/seed", `[{"action":"revoke","object":"lead","record_id":"869196","context_id":"`+activity+`","user":"`+userA+`","access":"write"},
		{"action":"share","object":"opportunity","record_id":"`+oppID+`","user":"a@example.com"}]`)
	c.mustControl("POST", "/_sandbox/faults", `{"op":"EntityAccess.Revoke","kind":"exception","status":503,"delay":"1.5s"}`)
	if status, _ := c.do(c.request("POST", pathRevoke, leadRevoke)); status != 503 {
		t.Errorf("with the fault: got %d, want 503", status)
	}
	c.mustControl("DELETE", "/_sandbox/faults", "")
	id := c.accept(pathRevoke, leadRevoke)
	_, users := c.do(c.request("GET", pathUsers, ""))
	for _, want := range []string{userA, `"EmailAddress":"a@example.com"`, `"EmailAddress":"b@example.com","Role":"Marketing_User","StatusCode":1`} {
		if !strings.Contains(users, want) {
			t.Errorf("users: got %s, want %s in it", users, want)
		}
	}

	status, text := c.do(c.plain("GET", "/_sandbox/state", ""))
	var state sandbox.State
	if err := json.Unmarshal([]byte(text), &state); status != 200 || err != nil {
		t.Fatalf("state: got %d %s (%v)", status, text, err)
	}
	if len(state.Shares) != 0 || len(state.Requests) != 1 || state.Requests[0].ID != id || state.OpenOnOneTarget != 0 {
		t.Errorf("state: got %s, want no share and request %s", text, id)
	}
	if !strings.Contains(text, `"shares":[]`) {
		t.Errorf("state: got %s, want an empty list, not null", text)
	}
	status, text = c.do(c.plain("GET", "/_sandbox/arrivals", ""))
	var arrivals []sandbox.Arrival
	if err := json.Unmarshal([]byte(text), &arrivals); status != 200 || err != nil {
		t.Fatalf("arrivals: got %d %s (%v)", status, text, err)
	}
	var got []int
	for _, a := range arrivals {
		got = append(got, a.Status)
	}
	if diff := cmp.Diff([]int{503, 200, 200}, got); diff != "" {
		t.Errorf("arrivals (-want +got):\n%s", diff)
	}
}

func TestControlMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, path, body string
		status                   int
		text                     string
	}{
		{"unknown path", "GET", "/_sandbox/nothing", "", 404, "documentation"},
		{"wrong verb", "PUT", "/_sandbox/faults", "{}", 404, "documentation"},
		{"no JSON", "POST", "/_sandbox/faults", "reset", 400, "invalid character"},
		{"nothing", "POST", "/_sandbox/users", "", 204, ""},
		{"two values", "POST", "/_sandbox/users", `[] []`, 400, "follows"},
		{"misspelt field", "POST", "/_sandbox/faults", `{"kind":"hang","time":1}`, 400, "time"},
		{"unknown kind", "POST", "/_sandbox/faults", `{"kind":"explode"}`, 400, "explode"},
		{"second one wrong", "POST", "/_sandbox/faults", `[{"kind":"hang"},{"kind":""}]`, 400, "element 1"},
		{"wrong delay", "POST", "/_sandbox/faults", `{"kind":"slow","delay":"soon"}`, 400, "delay"},
		{"user without id", "POST", "/_sandbox/users", `{"email":"a@example.com"}`, 400, "id"},
		{"unknown action", "POST", "/_sandbox/seed", `{"action":"drop"}`, 400, "drop"},
		{"unknown access", "POST", "/_sandbox/seed", `{"action":"share","access":"some"}`, 400, "some"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, sandbox.Config{})
			if status, text := c.do(c.plain(tt.method, tt.path, tt.body)); status != tt.status || !strings.Contains(text, tt.text) {
				t.Errorf("got %d %q, want %d with %q", status, text, tt.status, tt.text)
			}
			c.accept(pathRevoke, leadRevoke)
		})
	}
}

func TestFaultJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]sandbox.Fault{
		`{"kind":"slow","delay":"1.5s","op":"Users.Get"}`:                {Kind: sandbox.FaultSlow, Delay: 1500 * time.Millisecond, Op: "Users.Get"},
		`{"kind":"slow","delay":2000}`:                                   {Kind: sandbox.FaultSlow, Delay: 2 * time.Microsecond},
		`{"kind":"huge","bytes":5,"times":2,"after":3,"match":"x"}`:      {Kind: sandbox.FaultHuge, Bytes: 5, Times: 2, After: 3, Match: "x"},
		`{"kind":"verbatim","status":502,"body":"b","header":{"a":"c"}}`: {Kind: sandbox.FaultVerbatim, Status: 502, Body: "b", Header: map[string]string{"a": "c"}},
	} {
		var got sandbox.Fault
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		wire, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var back sandbox.Fault
		if err := json.Unmarshal(wire, &back); err != nil || !cmp.Equal(want, back) {
			t.Errorf("%s: got %+v back (%v), want %+v", wire, back, err, want)
		}
	}
}
