package zoho

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// share is an entry as the fake CRM keeps and shows it.
type share struct {
	SharedWith *recipient `json:"shared_with,omitempty"`
	Permission string     `json:"permission"`
	Related    bool       `json:"share_related_records"`
	Type       string     `json:"type"`
	Through    any        `json:"shared_through,omitempty"`
}

func user(id, permission string) share {
	return share{SharedWith: &recipient{ID: id, Type: "users"}, Permission: permission, Type: "private"}
}

func group(id string) share {
	return share{SharedWith: &recipient{ID: id, Type: "groups"}, Permission: "read_only", Type: "private", Related: true}
}

func everybody() share { return share{Permission: "read_only", Type: "public"} }

func inherited(s share) share {
	s.Through = map[string]any{"module": map[string]any{"name": "Contacts", "id": "77"}, "id": "649013", "name": "Patricia"}
	return s
}

// step takes the place of the fake's own answer to the next request of a method.
// do may call carryOut for the effect that the request has otherwise.
type step struct {
	method string
	do     func(f *fake, carryOut func() answer) answer
}

type answer struct {
	status int
	body   string
	header http.Header
	err    error
}

func says(status int, body string) answer { return answer{status: status, body: body} }

// refuses is a step that has no effect.
func refuses(method string, status int, body string) step {
	return step{method, func(*fake, func() answer) answer { return says(status, body) }}
}

// fake is a CRM with its token service, in memory.
type fake struct {
	t  testing.TB
	mu sync.Mutex // guards everything below

	lists   map[string][]share // by module/record; direct ones are what PUT replaces
	steps   []step
	refuse  map[string]string // users whose entries fail, with the message
	log     []string          // method, path, and body of each request but those for tokens
	tokens  int               // access tokens given out
	valid   map[string]bool
	forms   []url.Values
	grant   func(n int) answer // in place of the token service's own answer
	apiHost string
	hangs   string                // the method whose requests get no answer
	users   func(page int) string // the body of a page of the user list
	people  map[string]string     // the body of the answer about one user, by id
}

func newFake(t testing.TB) *fake {
	f := &fake{t: t, lists: map[string][]share{}, refuse: map[string]string{}, valid: map[string]bool{}, apiHost: "https://www.zohoapis.eu"}
	t.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.steps) > 0 && !t.Failed() {
			t.Errorf("%d expected requests did not come, the next is a %s", len(f.steps), f.steps[0].method)
		}
	})
	return f
}

var shareURL = regexp.MustCompile(`^/crm/v[0-9.]+/([A-Za-z_]+)/([0-9]+)/actions/share$`)

// RoundTrip implements http.RoundTripper.
func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	f.mu.Lock()
	if f.hangs == r.Method {
		f.mu.Unlock()
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	defer f.mu.Unlock()
	a := f.answer(r, body)
	if a.err != nil {
		return nil, a.err
	}
	header := a.header
	if header == nil {
		header = http.Header{}
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json;charset=UTF-8")
	}
	return &http.Response{
		StatusCode: a.status, Header: header, Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

func (f *fake) answer(r *http.Request, body []byte) answer {
	if r.URL.Path == "/oauth/v2/token" {
		return f.token(r, body)
	}
	f.log = append(f.log, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	if r.URL.Scheme+"://"+r.URL.Host != f.apiHost {
		f.t.Errorf("request to %s, want %s", r.URL.Host, f.apiHost)
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Zoho-oauthtoken ")
	if !ok || !f.valid[token] {
		return says(401, `{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}`)
	}
	own := func() answer { return f.own(r, body) }
	if len(f.steps) > 0 && f.steps[0].method == r.Method {
		s := f.steps[0]
		f.steps = f.steps[1:]
		return s.do(f, own)
	}
	return own()
}

func (f *fake) token(r *http.Request, body []byte) answer {
	form, _ := url.ParseQuery(string(body))
	f.forms = append(f.forms, form)
	if r.URL.RawQuery != "" || r.Method != http.MethodPost {
		f.t.Errorf("token request %s %s, want POST without a query", r.Method, r.URL)
	}
	if f.grant != nil {
		if a := f.grant(len(f.forms)); a.status != 0 || a.err != nil {
			return a
		}
	}
	f.tokens++
	access := fmt.Sprintf("1000.access.%d", f.tokens)
	f.valid[access] = true
	return says(200, fmt.Sprintf(`{"access_token":%q,"api_domain":%q,"token_type":"Bearer","expires_in":3600}`, access, f.apiHost))
}

func (f *fake) own(r *http.Request, body []byte) answer {
	if r.URL.Path == "/crm/v8/users" && f.users != nil {
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		return says(200, f.users(page))
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/crm/v8/users/"); ok && f.people != nil {
		if body := f.people[id]; body != "" {
			return says(200, body)
		}
		return says(400, envelope("INVALID_DATA", "the id given seems to be invalid"))
	}
	m := shareURL.FindStringSubmatch(r.URL.Path)
	if m == nil {
		f.t.Errorf("unexpected request %s %s", r.Method, r.URL.Path)
		return says(404, `{"code":"INVALID_URL_PATTERN","message":"Please check if the URL trying to access is a correct one","status":"error"}`)
	}
	key := m[1] + "/" + m[2]
	list := f.lists[key]
	switch r.Method {
	case http.MethodGet:
		if len(list) == 0 {
			return says(204, "")
		}
		raw, _ := json.Marshal(map[string]any{"share": list})
		return says(200, string(raw))
	case http.MethodDelete:
		kept := f.notDirect(list)
		if len(kept) == len(list) {
			return says(400, `{"code":"CANNOT_PROCESS","details":{},"message":"No sharing through this record is available to revoke","status":"error"}`)
		}
		f.lists[key] = kept
		return says(200, `{"share":{"code":"SUCCESS","details":{"id":"`+m[2]+`"},"message":"Sharing Revoked","status":"success"}}`)
	}
	return f.write(r.Method, key, body)
}

func (f *fake) notDirect(list []share) []share {
	return slices.DeleteFunc(slices.Clone(list), func(s share) bool { return s.Through == nil })
}

// write is POST and PUT: entries that succeed are the list, or are added to it.
func (f *fake) write(method, key string, body []byte) answer {
	var in struct{ Share []map[string]any }
	if err := json.Unmarshal(body, &in); err != nil || len(in.Share) == 0 {
		f.t.Errorf("%s with a body that can not be read or is empty: %s", method, body)
	}
	list := f.lists[key]
	if method == http.MethodPut {
		list = f.notDirect(list)
	}
	var results []string
	good := 0
	for i, raw := range in.Share {
		s, who := f.read(raw)
		why := f.refuse[who]
		if why == "" && slices.ContainsFunc(list, func(old share) bool { return old.SharedWith != nil && old.SharedWith.ID == who }) {
			why = "record is already visible to the user."
		}
		if why != "" {
			results = append(results, fmt.Sprintf(`{"code":"INVALID_DATA","details":{"api_name":"shared_with","json_path":"$.share[%d].shared_with"},"message":%q,"status":"error"}`, i, why))
			continue
		}
		good++
		list = append(list, s)
		results = append(results, `{"code":"SUCCESS","details":{},"message":"record will be shared successfully","status":"success"}`)
	}
	status := 207
	switch good {
	case len(in.Share):
		status = 201
	case 0:
		return says(400, `{"share":[`+strings.Join(results, ",")+`]}`)
	}
	f.lists[key] = list
	return says(status, `{"share":[`+strings.Join(results, ",")+`]}`)
}

// read takes an entry as the CRM does: what is left out gets its default.
func (f *fake) read(raw map[string]any) (share, string) {
	s := share{Permission: "full_access", Type: "private"}
	if p, ok := raw["permission"].(string); ok {
		s.Permission = p
	}
	s.Related, _ = raw["share_related_records"].(bool)
	who, _ := raw["shared_with"].(map[string]any)
	if who == nil {
		who, _ = raw["user"].(map[string]any)
		who["type"] = "users"
	}
	s.SharedWith = &recipient{ID: who["id"].(string), Type: who["type"].(string)}
	return s, s.SharedWith.ID
}

// methods is the log with the methods alone.
func (f *fake) methods() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, line := range f.log {
		method, _, _ := strings.Cut(line, " ")
		out = append(out, method)
	}
	return strings.Join(out, " ")
}

// who is a record's list in short, "5 read_only" for a user.
func (f *fake) who(key string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []string{}
	for _, s := range f.lists[key] {
		id := "everybody"
		if s.SharedWith != nil {
			id = s.SharedWith.ID
		}
		if s.Related {
			id += "+"
		}
		out = append(out, id+" "+s.Permission)
	}
	return out
}

// lose is a step whose answer is lost; arrived says whether it has its effect.
func lose(method string, arrived bool) step {
	return step{method, func(_ *fake, carryOut func() answer) answer {
		if arrived {
			carryOut()
		}
		return answer{err: errors.New("connection reset by peer")}
	}}
}

// journal records what was announced.
type journal struct {
	mu     sync.Mutex
	states []crm.State
	err    error
}

func (j *journal) Intend(_ context.Context, before crm.State) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	j.states = append(j.states, before)
	return nil
}

// provider returns a provider of the fake, with a fast gate.
func provider(t testing.TB, f *fake, cfg Config, store *transport.Store) *Provider {
	t.Helper()
	p, _ := providerAndGate(t, f, cfg, store)
	return p
}

func providerAndGate(t testing.TB, f *fake, cfg Config, store *transport.Store) (*Provider, *transport.Gate) {
	t.Helper()
	gate, err := transport.NewGate(transport.GateConfig{Limit: 100, Window: time.Second, MaxInFlight: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gate.Close() })
	if cfg.DC == "" && cfg.APIURL == "" {
		cfg.DC = "eu"
	}
	cfg.ClientID = "1000.CLIENT"
	cfg.ClientSecret = transport.NewSecret("client-secret-value")
	if cfg.GrantToken.IsZero() {
		cfg.RefreshToken = transport.NewSecret("1000.refresh-token-value")
	}
	p, err := New(cfg, transport.Config{Gate: gate, RoundTripper: f}, store)
	if err != nil {
		t.Fatal(err)
	}
	return p, gate
}

const record = "4150868000002515001"

func revoke(user string) crm.Operation {
	return crm.Operation{Action: crm.Revoke, Object: "Quotes", Record: record, User: user}
}

func give(user string, a crm.Access) crm.Operation {
	return crm.Operation{Action: crm.Share, Object: "Quotes", Record: record, User: user, Access: a}
}

func callOf(ops ...crm.Operation) crm.Call {
	c := crm.Call{ID: "call-1"}
	for _, op := range ops {
		c.Items = append(c.Items, crm.Item{Op: op})
	}
	return c
}

// confirm is what a provider confirms, without what it saw.
func confirm(ctx context.Context, p *Provider, items ...crm.Item) []crm.Outcome {
	out, _ := p.Confirm(ctx, items)
	return out
}
