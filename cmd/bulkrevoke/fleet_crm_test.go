//go:build fleet

package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// fleetCRM is a LeadSquared with many organisations that remembers every call, and from which
// process it came: each process reaches it through a proxy of its own.
type fleetCRM struct {
	limit  int
	window time.Duration
	delays *dice
	slow   atomic.Int64 // how long it takes for an answer at most

	server *httptest.Server
	from   sync.Map // *fleetProcess by the address that its proxy calls from

	mu       sync.Mutex        // guards everything below
	accounts map[string]string // by access key
	calls    []*fleetCall
	shared   map[string]bool // what is in force, by target
	recent   map[string][]time.Time
}

// fleetCall is a call as the CRM has seen it.
type fleetCall struct {
	account, kind string // kind is what was called, "Share" and "Revoke" for changes
	process       *fleetProcess
	at            time.Time // when it arrived
	sent          time.Time // when it left the process: earlier, where the network is slow
	target        string    // of a change
	refused       bool
	answered      time.Time // when its answer was written, zero if nobody was there to take it
}

// change returns the action of a change, "" for any other call.
func (c *fleetCall) change() string {
	switch c.kind {
	case "Share", "Revoke":
		return strings.ToLower(c.kind)
	}
	return ""
}

// fleetCRMHost is the name by which the processes know the CRM.
const fleetCRMHost = "crm.example.com"

func newFleetCRM(t *testing.T, limit int, window time.Duration, delays *dice) *fleetCRM {
	c := &fleetCRM{limit: limit, window: window, delays: delays, accounts: map[string]string{}, shared: map[string]bool{}, recent: map[string][]time.Time{}}
	c.slow.Store(int64(time.Second))
	c.server = httptest.NewUnstartedServer(c)
	c.server.Config.ErrorLog = discardedLog
	c.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	c.server.StartTLS()
	t.Cleanup(c.server.Close)
	return c
}

// certificate is what trusts the CRM, in PEM form.
func (c *fleetCRM) certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.server.Certificate().Raw})
}

func fleetTarget(account, record, user string) string { return account + " " + record + " " + user }

func (c *fleetCRM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, _ := io.ReadAll(r.Body)
	call := &fleetCall{kind: r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], at: at, sent: at}
	if p, ok := c.from.Load(r.RemoteAddr); ok {
		call.process = p.(*fleetProcess)
		call.sent = at.Add(-call.process.crm.delay())
	}
	id := c.take(call, r.Header.Get("X-Lsq-Accesskey"), body)
	time.Sleep(50*time.Millisecond + time.Duration(c.delays.IntN(int(c.slow.Load()))))
	w.Header().Set("Content-Type", "application/json")
	switch {
	case call.refused:
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"Status":"Error","ExceptionType":"MXAPIRateLimitExceededException","ExceptionMessage":"API calls exceeded the limit"}`)
	case call.kind == "UserByAccessKey.Get":
		fmt.Fprintf(w, `{"Id":"5a0d0b0c-0000-4000-8000-000000000001","Role":"Administrator","OrgId":"org-%s"}`, call.account)
	case call.change() == "":
		_, _ = io.WriteString(w, `{"Status":"Success","ShareStatus":6,"ErrorMessage":null}`)
	default:
		fmt.Fprintf(w, `{"Status":"Success","Message":{"Id":"%032x"}}`, id)
	}
	if http.NewResponseController(w).Flush() == nil && r.Context().Err() == nil {
		c.mu.Lock()
		call.answered = time.Now()
		c.mu.Unlock()
	}
}

// take remembers a call and does what it asks for.
func (c *fleetCRM) take(call *fleetCall, key string, body []byte) (id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call.account = c.accounts[key]
	c.calls = append(c.calls, call)
	recent := c.recent[call.account]
	for len(recent) > 0 && call.at.Sub(recent[0]) >= c.window {
		recent = recent[1:]
	}
	call.refused = len(recent) >= c.limit
	if !call.refused {
		recent = append(recent, call.at)
	}
	c.recent[call.account] = recent
	if call.change() != "" && !call.refused {
		var entries []struct{ EntityId, UserId string }
		if err := json.Unmarshal(body, &entries); err == nil && len(entries) == 1 {
			call.target = fleetTarget(call.account, entries[0].EntityId, entries[0].UserId)
			c.shared[call.target] = call.kind == "Share"
		}
	}
	return len(c.calls)
}

// seen returns the calls so far, in the order in which they came.
func (c *fleetCRM) seen() []fleetCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := make([]fleetCall, len(c.calls))
	for i, call := range c.calls {
		calls[i] = *call
	}
	return calls
}

func (c *fleetCRM) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

// crmProxy is the network between one process and the CRM.
type crmProxy struct {
	listener net.Listener
	slow     atomic.Int64 // how long what the process sends is under way
}

func newCRMProxy(t *testing.T, c *fleetCRM, p *fleetProcess) *crmProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	proxy := &crmProxy{listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go proxy.serve(client, c, p)
		}
	}()
	return proxy
}

func (p *crmProxy) url() string { return "http://" + p.listener.Addr().String() }

func (p *crmProxy) delay() time.Duration { return time.Duration(p.slow.Load()) }

func (p *crmProxy) serve(client net.Conn, c *fleetCRM, process *fleetProcess) {
	defer client.Close()
	in := bufio.NewReader(client)
	req, err := http.ReadRequest(in)
	if err != nil || req.Method != http.MethodConnect || req.URL.Host != fleetCRMHost+":443" {
		return
	}
	server, err := net.Dial("tcp", c.server.Listener.Addr().String())
	if err != nil {
		return
	}
	defer server.Close()
	c.from.Store(server.LocalAddr().String(), process)
	if _, err := io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(client, server)
		client.Close()
	}()
	type piece struct {
		bytes []byte
		due   time.Time
	}
	pieces := make(chan piece, 1000)
	go func() {
		defer close(pieces)
		for {
			buf := make([]byte, 16<<10)
			n, err := in.Read(buf)
			if err != nil {
				return
			}
			pieces <- piece{buf[:n], time.Now().Add(p.delay())}
		}
	}()
	for one := range pieces {
		time.Sleep(time.Until(one.due))
		if _, err := server.Write(one.bytes); err != nil {
			client.Close()
			for range pieces { // until the reader sees that
			}
			return
		}
	}
}

// fleetRow is a row of a sheet.
type fleetRow struct{ account, action, record, context, user string }

func (r fleetRow) target() string { return fleetTarget(r.account, r.record, r.user) }

func (r fleetRow) text() string {
	return strings.Join([]string{r.account, r.action, crm.Lead, r.record, r.context, r.user, "read"}, ",")
}
