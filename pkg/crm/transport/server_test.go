package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serve starts a server that is closed with the test.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestRequestOnTheWire(t *testing.T) {
	t.Parallel()
	type seen struct {
		Method, URI, Body string
		Header            http.Header
		Length            int64
	}
	tests := map[string]struct {
		in   Request
		want seen
	}{
		"read": {
			Request{Method: "GET", Path: "Status/Get", Query: url.Values{"id": {"a b&c"}}, Header: http.Header{"X-More": {"1"}, "Idempotency-Key": {"k"}, "X-Idempotency-Key": {"k"}}},
			seen{"GET", "/base/v2/Status/Get?id=a+b%26c", "", http.Header{"Accept": {"application/json"}, "X-More": {"1"}}, 0},
		},
		"change": {
			Request{Method: "POST", Path: "/Revoke", Body: []byte(`[{"Entity":1}]`)},
			seen{"POST", "/base/v2/Revoke", `[{"Entity":1}]`, http.Header{"Accept": {"application/json"}, "Content-Type": {"application/json"}, "Content-Length": {"14"}}, 14},
		},
		"form": {
			Request{Method: "PUT", Path: "x", Body: []byte(`a=b`), Header: http.Header{"Accept": {"*/*"}, "Content-Type": {"application/x-www-form-urlencoded"}}},
			seen{"PUT", "/base/v2/x", `a=b`, http.Header{"Accept": {"*/*"}, "Content-Type": {"application/x-www-form-urlencoded"}, "Content-Length": {"3"}}, 3},
		},
		"change without a body": {
			Request{Method: "POST", Path: "x"},
			seen{"POST", "/base/v2/x", "", http.Header{"Accept": {"application/json"}, "Content-Length": {"0"}}, 0},
		},
		"empty body": {
			Request{Method: "POST", Path: "x", Body: []byte{}},
			seen{"POST", "/base/v2/x", "", http.Header{"Accept": {"application/json"}, "Content-Length": {"0"}, "Content-Type": {"application/json"}}, 0},
		},
		"delete": {
			Request{Method: "DELETE", Path: "x"},
			seen{"DELETE", "/base/v2/x", "", http.Header{"Accept": {"application/json"}}, 0},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got seen
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				if len(r.TransferEncoding) > 0 || r.Header.Get("User-Agent") != "bulkrevoke" || r.Header.Get("X-Lsq-Accesskey") != "key" || r.ProtoMajor != 1 {
					t.Errorf("got encoding %v, header %v, protocol %s", r.TransferEncoding, r.Header, r.Proto)
				}
				got = seen{r.Method, r.RequestURI, string(b), r.Header.Clone(), r.ContentLength}
				for _, h := range []string{"User-Agent", "X-Lsq-Accesskey", "Accept-Encoding"} {
					got.Header.Del(h)
				}
				w.Header().Set("X-Answer", "yes")
				w.WriteHeader(http.StatusTeapot)
				fmt.Fprint(w, "short and stout")
			})
			c := newTestClient(t, base+"/base/v2/", Config{Authorize: func(_ context.Context, r *http.Request) error {
				r.Header.Set("x-LSQ-AccessKey", "key")
				r.Header.Set("Idempotency-Key", "never")
				return nil
			}})
			in := tt.in
			in.Op, in.CallID, in.Header = "op", "c7", tt.in.Header.Clone()
			reply, err := c.Send(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("the server saw (-want +got):\n%s", diff)
			}
			if reply.Status != http.StatusTeapot || string(reply.Body) != "short and stout" || reply.Truncated || reply.Throttled || reply.CallID != "c7" || reply.Header.Get("X-Answer") != "yes" {
				t.Errorf("got reply %+v", reply)
			}
			if diff := cmp.Diff(tt.in.Header, in.Header); diff != "" {
				t.Errorf("the caller's header was changed (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNothingIsRepeatedBehindOurBack: a server that closes a connection which is
// used again makes net/http repeat what it takes for repeatable.
func TestNothingIsRepeatedBehindOurBack(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			var raw bytes.Buffer
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			t.Cleanup(func() { ln.Close(); wg.Wait() })
			wg.Go(func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					in := bufio.NewReader(io.TeeReader(conn, &raw))
					for {
						r, err := http.ReadRequest(in)
						if err != nil {
							break
						}
						_, _ = io.Copy(io.Discard, r.Body)
						if calls.Add(1) > 1 {
							break // the second request is read and never answered
						}
						fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
					conn.Close()
				}
			})
			c := newTestClient(t, "http://"+ln.Addr().String(), Config{})
			r := Request{Op: "op", Method: method, Path: "x"}
			if method == "POST" || method == "PUT" {
				r.Body = []byte("{}")
			}
			if _, err := c.Send(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			_, err = c.Send(t.Context(), r)
			wantError(t, err, true)
			c.rt.(*http.Transport).CloseIdleConnections()
			ln.Close()
			wg.Wait()
			if got := calls.Load(); got != 2 {
				t.Errorf("the server saw %d requests, want 2", got)
			}
			if text := strings.ToLower(raw.String()); strings.Contains(text, "chunked") || strings.Contains(text, "idempotency") {
				t.Errorf("on the wire:\n%s", text)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var strangers atomic.Int32
	other := serve(t, func(http.ResponseWriter, *http.Request) { strangers.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/x" {
				t.Errorf("asked for %s", r.URL.Path)
			}
			http.Redirect(w, r, other+"/?token=1", status)
		})
		c := newTestClient(t, base, Config{})
		for _, method := range []string{"GET", "POST"} {
			reply, err := c.Send(t.Context(), Request{Op: "op", Method: method, Path: "x", Body: []byte("{}")})
			if err != nil || reply.Status != status {
				t.Errorf("%s %d: got %+v, error %v", method, status, reply, err)
			}
		}
	}
	if got := strangers.Load(); got != 0 {
		t.Errorf("the other host got %d requests, want none", got)
	}
}

// TestCertificates: nothing is sent to a host that is not who it says, and ca_file
// makes one known.
func TestCertificates(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.ProtoMajor != 1 {
			t.Errorf("got protocol %s, want HTTP/1.1", r.Proto)
		}
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = nil
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)

	ctx, cancel := context.WithCancel(t.Context())
	c := newTestClient(t, server.URL, Config{})
	_, err := c.Send(ctx, Request{Op: "op", Method: "POST", Body: []byte("{}"), Before: func(context.Context) error {
		cancel() // one attempt is enough here
		return nil
	}})
	wantError(t, err, false)
	if got := calls.Load(); got != 0 {
		t.Fatalf("a host with a bad certificate got %d requests", got)
	}
	if c.gate.health.misdirected != 1 {
		t.Errorf("got %d failures that lead misdirected, want 1", c.gate.health.misdirected)
	}

	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c = newTestClient(t, server.URL, Config{CAFile: ca})
	if _, err := c.Send(t.Context(), Request{Op: "op", Method: "POST", Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(server.URL)
	if _, err := New(Config{Base: u, Gate: c.gate, CAFile: ca}); err == nil {
		t.Error("took a file without a certificate for roots")
	}
}

func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	before := 0
	c := newTestClient(t, "http://"+ln.Addr().String(), Config{})
	_, err = c.Send(t.Context(), Request{Op: "op", Method: "POST", Query: url.Values{"secretKey": {"sesame"}}, Before: func(context.Context) error { before++; return nil }})
	if e := wantError(t, err, false); strings.Contains(e.Error(), "sesame") {
		t.Errorf("the error prints the query: %v", e)
	}
	if before != maxTries {
		t.Errorf("tried %d times, want %d", before, maxTries)
	}
	if n := len(c.gate.slots) - len(c.gate.free); n != 0 {
		t.Errorf("%d slots are held by calls that never left", n)
	}
}

// TestLostAnswers: what may have arrived is never sent again by Send, and a hang and
// a trickle end at the time limit.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	hijack := func(w http.ResponseWriter, text string) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, text)
		conn.Close()
	}
	tests := map[string]struct {
		handler  http.HandlerFunc
		timeout  bool
		gaveUp   bool
		truncate bool
	}{
		"closed":        {func(w http.ResponseWriter, r *http.Request) { hijack(w, "") }, false, false, false},
		"half a header": {func(w http.ResponseWriter, r *http.Request) { hijack(w, "HTTP/1.1 200 OK\r\nConte") }, false, false, false},
		"no HTTP":       {func(w http.ResponseWriter, r *http.Request) { hijack(w, "SSH-2.0-OpenSSH\r\n") }, false, false, false},
		"half a body": {func(w http.ResponseWriter, r *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}")
		}, false, false, false},
		"broken gzip": {func(w http.ResponseWriter, r *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
		}, false, false, false},
		"endless header": {func(w http.ResponseWriter, r *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2*maxHeaderBytes))
		}, false, false, false},
		"hang": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, true, true, false},
		"trickle": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		}, true, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
				tt.handler(w, r)
			})
			c := newTestClient(t, base, Config{Timeout: limit})
			_, err := c.Send(t.Context(), Request{Op: "op", Method: "POST", Body: []byte("{}")})
			if e := wantError(t, err, true); e.Timeout != tt.timeout {
				t.Errorf("got %v with Timeout %v, want %v", e, e.Timeout, tt.timeout)
			} else if strings.Contains(e.Error(), base) {
				t.Errorf("the error prints the URL: %v", e)
			}
			if got := calls.Load(); got != 1 {
				t.Errorf("sent %d times, want once", got)
			}
			for _, h := range c.gate.slots {
				if h.state == holdDone && (h.done.Sub(h.sent) >= attemptLimit) != tt.gaveUp {
					t.Errorf("the call counts as completed after %v, want it given up: %v", h.done.Sub(h.sent), tt.gaveUp)
				}
			}
		})
	}
}

// TestHandshakeBreaksOff: what fails in the TLS handshake was never sent.
func TestHandshakeBreaksOff(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	var accepted atomic.Int32
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			_, _ = conn.Read(make([]byte, 100))
			conn.Close()
		}
	})
	c := newTestClient(t, "https://"+ln.Addr().String(), Config{})
	_, err = c.Send(t.Context(), Request{Op: "op", Method: "POST", Body: []byte("{}")})
	wantError(t, err, false)
	if got := accepted.Load(); got != maxTries {
		t.Errorf("connected %d times, want %d", got, maxTries)
	}
}
