package leadsquared

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// serve returns a provider that talks to handler over a real connection, and the
// number of requests that have arrived.
func serve(t *testing.T, cfg Config, handler http.HandlerFunc) (*Provider, *transport.Gate, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		handler(w, r)
	}))
	t.Cleanup(srv.Close)
	cfg.Host = srv.URL + "/v2/"
	cfg.AccessKey, cfg.SecretKey = transport.NewSecret(accessKey), transport.NewSecret(secretKey)
	gate, err := transport.NewGate(transport.GateConfig{Limit: 100, Window: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gate.Close() })
	p, err := New(cfg, transport.Config{Gate: gate}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, gate, &n
}

func TestOverTheWire(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]bool{"keys in headers": false, "keys in query": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, gate, n := serve(t, Config{Query: query}, func(w http.ResponseWriter, r *http.Request) {
				a, s := r.Header.Get("x-LSQ-AccessKey"), r.Header.Get("x-LSQ-SecretKey")
				if query {
					a, s = r.URL.Query().Get("accessKey"), r.URL.Query().Get("secretKey")
				}
				body, _ := io.ReadAll(r.Body)
				if a != accessKey || s != secretKey || r.Method+" "+r.URL.Path != revokePath || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("got %s %s with keys %q, %q and body %s", r.Method, r.URL.Path, a, s, body)
				}
				_, _ = io.WriteString(w, accepted(requestID))
			})
			out := p.Do(t.Context(), items(leadRevoke()), newScript(t))
			if o := out[0]; o.Status != crm.Accepted || o.RequestID != requestID {
				t.Errorf("outcome %+v, want accepted", o)
			}
			if got := gate.Usage().Calls; got != 1 || n.Load() != 1 {
				t.Errorf("%d calls counted, %d arrived; want 1", got, n.Load())
			}
		})
	}
}

func TestALostShareIsSentOnce(t *testing.T) {
	t.Parallel()
	p, _, n := serve(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	out := p.Do(t.Context(), items(with(leadRevoke(), asShare)), newScript(t))
	if o := out[0]; o.Status != crm.Uncertain || o.Attempts != 1 || o.Uncertain || n.Load() != 1 {
		t.Errorf("outcome %+v after %d requests, want unknown after one", o, n.Load())
	}
	noSecret(t, out)
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request followed the redirect")
	}))
	t.Cleanup(elsewhere.Close)
	p, _, n := serve(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/v2/?x=1", http.StatusTemporaryRedirect)
	})
	out := p.Do(t.Context(), items(leadRevoke(), dealRevoke()), newScript(t))
	for _, o := range out {
		if o.Status != crm.Pending || o.Ended == nil || o.Ended.Code != crm.EndRedirect {
			t.Errorf("outcome %+v, want not sent and the account ended by a redirect", o)
		}
	}
	if n.Load() != 1 {
		t.Errorf("%d requests, want 1", n.Load())
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	p, _, _ := serve(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	srv := httptest.NewServer(nil)
	srv.Close()
	cfg := p.cfg
	cfg.Host = srv.URL
	gate, err := transport.NewGate(transport.GateConfig{Limit: 100, Window: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gate.Close() })
	down, err := New(cfg, transport.Config{Gate: gate}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := down.Do(t.Context(), items(with(leadRevoke(), asShare)), newScript(t))
	if o := out[0]; o.Status != crm.Pending || o.Uncertain || o.Attempts != 0 || o.Later <= 0 {
		t.Errorf("outcome %+v, want not sent and worth coming back to", o)
	}
	noSecret(t, out)
}
