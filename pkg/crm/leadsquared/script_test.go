package leadsquared

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// The keys of the tests' account, with the character that breaks naive queries.
const (
	accessKey = "u$r0123456789abcdef"
	secretKey = "s3cret/0123456789+="
)

// step is one request that a test expects, and the reply to it.
type step struct {
	want   string // method, path and query: "GET /v2/x?id=1"
	body   string // JSON; compared as values
	status int    // of the reply; 0 is 200
	reply  string
	header http.Header
	err    error  // instead of a reply
	hook   func() // runs when the request has arrived
}

// script is a server of expected requests, in order. It writes down what happened,
// journal entries included.
type script struct {
	t      testing.TB
	query  bool // keys are in the query
	mu     sync.Mutex
	steps  []step
	done   int
	events []string
	states []crm.State
	refuse error // what Intend returns
}

func newScript(t testing.TB, steps ...step) *script {
	s := &script{t: t, steps: steps}
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, left := range s.steps[s.done:] {
			t.Errorf("expected request never came: %s", left.want)
		}
	})
	return s
}

// Intend makes the script the journal of the calls that it serves.
func (s *script) Intend(_ context.Context, before crm.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, "intend")
	s.states = append(s.states, before)
	return s.refuse
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	s.checkKeys(r)
	got := r.Method + " " + r.URL.Path
	if r.URL.RawQuery != "" {
		got += "?" + r.URL.RawQuery
	}
	s.events = append(s.events, got)
	if s.done == len(s.steps) {
		s.t.Errorf("unexpected request %s %s", got, body)
		return nil, errors.New("no such step")
	}
	st := s.steps[s.done]
	s.done++
	if got != st.want {
		s.t.Errorf("request %d is %s, want %s", s.done, got, st.want)
	}
	s.checkBody(r, body, st.body)
	if st.hook != nil {
		st.hook()
	}
	if st.err != nil {
		return nil, st.err
	}
	if st.status == 0 {
		st.status = http.StatusOK
	}
	if st.header == nil {
		st.header = http.Header{"Content-Type": {"application/json"}}
	}
	return &http.Response{
		StatusCode: st.status, Header: st.header, Request: r, ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(st.reply)), ContentLength: int64(len(st.reply)),
	}, nil
}

// checkKeys checks how the keys came, and takes them out of the query.
func (s *script) checkKeys(r *http.Request) {
	if !s.query {
		if r.Header.Get("x-LSQ-AccessKey") != accessKey || r.Header.Get("x-LSQ-SecretKey") != secretKey {
			s.t.Errorf("keys in the headers: got %q and %q", r.Header.Get("x-LSQ-AccessKey"), r.Header.Get("x-LSQ-SecretKey"))
		}
		if strings.Contains(r.URL.RawQuery, "Key") {
			s.t.Errorf("keys in the query although headers were asked for")
		}
		return
	}
	q := r.URL.Query()
	if q.Get("accessKey") != accessKey || q.Get("secretKey") != secretKey || r.Header.Get("x-LSQ-AccessKey") != "" {
		s.t.Errorf("keys in the query: got %q", r.URL.RawQuery)
	}
	q.Del("accessKey")
	q.Del("secretKey")
	r.URL.RawQuery = q.Encode()
}

func (s *script) checkBody(r *http.Request, body []byte, want string) {
	if want == "" {
		if len(body) > 0 {
			s.t.Errorf("%s has a body: %s", r.URL.Path, body)
		}
		return
	}
	if ct := r.Header.Get("Content-Type"); ct != "application/json" {
		s.t.Errorf("%s: content type %q", r.URL.Path, ct)
	}
	var g, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		s.t.Fatalf("the test's own body: %v", err)
	}
	if err := json.Unmarshal(body, &g); err != nil {
		s.t.Errorf("%s: body is not JSON: %v", r.URL.Path, err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		s.t.Errorf("%s: body (-want +got):\n%s", r.URL.Path, diff)
	}
}

// newTestProvider returns a provider that talks to s through the real client.
func newTestProvider(t testing.TB, cfg Config, s *script) *Provider {
	t.Helper()
	return storedProvider(t, cfg, s, nil)
}

func storedProvider(t testing.TB, cfg Config, s *script, store *transport.Store) *Provider {
	t.Helper()
	if cfg.Host == "" {
		cfg.Host = "api-in21.leadsquared.com"
	}
	cfg.AccessKey, cfg.SecretKey = transport.NewSecret(accessKey), transport.NewSecret(secretKey)
	gate, err := transport.NewGate(transport.GateConfig{Limit: 25, Window: 5 * time.Second})
	if err != nil {
		t.Fatalf("gate: %v", err)
	}
	t.Cleanup(func() {
		if err := gate.Close(); err != nil {
			t.Errorf("close the gate: %v", err)
		}
	})
	tr := transport.Config{Gate: gate}
	if s != nil {
		tr.RoundTripper = s
		s.query = cfg.Query
	}
	p, err := New(cfg, tr, store)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return p
}

// noSecret fails if any of the values prints a key.
func noSecret(t testing.TB, values ...any) {
	t.Helper()
	for _, v := range values {
		for _, s := range []string{fmt.Sprintf("%+v", v), fmt.Sprint(v)} {
			if strings.Contains(s, accessKey) || strings.Contains(s, secretKey) {
				t.Errorf("a key is printed: %s", s)
			}
		}
	}
}

// errReset is how a connection looks that was cut after the request was sent.
var errReset = fmt.Errorf("read tcp: %w", syscall.ECONNRESET)

func accepted(id string) string {
	return `{"Status":"Success","Message":{"Id":"` + id + `"}}`
}

func exception(kind, text string) string {
	return `{"Status":"Error","ExceptionType":"` + kind + `","ExceptionMessage":"` + text + `"}`
}

func items(ops ...crm.Operation) crm.Call {
	call := crm.Call{ID: "call-1"}
	for _, op := range ops {
		call.Items = append(call.Items, crm.Item{Op: op})
	}
	return call
}
