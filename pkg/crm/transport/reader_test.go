package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestReaderRefusesChanges: whatever may change something is refused before the gate.
func TestReaderRefusesChanges(t *testing.T) {
	t.Parallel()
	reads := Reads{
		Gets: []string{"/v2/Users.Get", "/crm/"},
		Posts: map[string]func([]byte) error{"/crm/v8/coql": func(body []byte) error {
			if !bytes.HasPrefix(body, []byte("select ")) {
				return errors.New("no select")
			}
			return nil
		}},
		Grant: "https://accounts.example/oauth/v2/token",
	}
	body := []byte("select id")
	for name, c := range map[string]struct {
		in   Request
		sent bool
	}{
		"a GET":                      {Request{Method: "GET", Path: "/v2/Users.Get"}, true},
		"a GET below a folder":       {Request{Method: "GET", Path: "/crm/v8/users"}, true},
		"a POST that reads":          {Request{Method: "POST", Path: "/crm/v8/coql", Body: body}, true},
		"a GET that changes":         {Request{Method: "GET", Path: "/v2/MarkObsolete"}, false},
		"a GET behind a path":        {Request{Method: "GET", Path: "/v2/Users.Get/../MarkObsolete"}, false},
		"a GET out of a folder":      {Request{Method: "GET", Path: "/crm/../v2/MarkObsolete"}, false},
		"a GET with a body":          {Request{Method: "GET", Path: "/crm/v8/users", Body: body}, false},
		"a GET with headers":         {Request{Method: "GET", Path: "/crm/v8/users", Header: http.Header{"X-Http-Method-Override": {"DELETE"}}}, false},
		"a POST elsewhere":           {Request{Method: "POST", Path: "/crm/v8/Leads/1/actions/share", Body: body}, false},
		"a POST below":               {Request{Method: "POST", Path: "/crm/v8/coql/x", Body: body}, false},
		"a POST with another body":   {Request{Method: "POST", Path: "/crm/v8/coql", Body: []byte("delete")}, false},
		"a PUT":                      {Request{Method: "PUT", Path: "/crm/v8/coql", Body: body}, false},
		"a DELETE":                   {Request{Method: "DELETE", Path: "/crm/v8/users"}, false},
		"a PATCH":                    {Request{Method: "PATCH", Path: "/crm/v8/users"}, false},
		"a method in small letters":  {Request{Method: "get", Path: "/crm/v8/users"}, false},
		"no method":                  {Request{Path: "/crm/v8/users"}, false},
		"a method that begins right": {Request{Method: "GETX", Path: "/crm/v8/users"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := 0
			gate := newTestGate(t, GateConfig{Limit: 1000, Window: time.Second})
			client := newTestClient(t, "https://api.example", Config{Gate: gate, RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) {
				sent++
				return answer(200, "{}"), nil
			})})
			_, err := NewReader(client, reads).Read(t.Context(), c.in)
			if c.sent {
				if err != nil || sent != 1 {
					t.Fatalf("got %v after %d requests, want one request and no error", err, sent)
				}
				return
			}
			if wantError(t, err, false); !errors.Is(err, ErrNotARead) {
				t.Errorf("got error %v, want ErrNotARead", err)
			}
			if calls := gate.Usage().Calls; sent != 0 || calls != 0 {
				t.Errorf("%d requests went out, and the gate counted %d", sent, calls)
			}
		})
	}
}

// TestReaderAsksForTokensOnly: the way to the token service leads nowhere else.
func TestReaderAsksForTokensOnly(t *testing.T) {
	t.Parallel()
	const grant = "https://accounts.example/oauth/v2/token"
	for _, c := range []struct {
		grant, method, url string
		sent               bool
	}{
		{grant, "POST", grant, true},
		{grant, "GET", grant, false},
		{grant, "POST", grant + "?x=1", false},
		{grant, "POST", grant + "/revoke", false},
		{grant, "POST", "https://api.example/crm/v8/Leads", false},
		{grant, "DELETE", grant, false},
		{"", "POST", grant, false},
	} {
		sent := 0
		client := newTestClient(t, "https://api.example", Config{RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) {
			sent++
			return answer(200, "{}"), nil
		})})
		body := &closing{Reader: strings.NewReader("grant_type=refresh_token")}
		r, err := http.NewRequestWithContext(t.Context(), c.method, c.url, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := NewReader(client, Reads{Grant: c.grant}).RoundTripper("Token").RoundTrip(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		if c.sent != (err == nil) || c.sent != (sent == 1) || !c.sent && !errors.Is(err, ErrNotARead) {
			t.Errorf("%s %s: got %v after %d requests, want sent %v", c.method, c.url, err, sent, c.sent)
		}
		if !c.sent && !body.closed {
			t.Errorf("%s %s: the body was not closed", c.method, c.url)
		}
	}
}

// closing is a body that tells whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}
