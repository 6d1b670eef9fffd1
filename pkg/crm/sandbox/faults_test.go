package sandbox_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/google/go-cmp/cmp"
)

// seen is what a client makes of one exchange.
type seen struct {
	err    error // of the round trip or of reading the body
	status int
	header http.Header
	body   []byte
}

func (v seen) is(status int, body string) bool {
	return v.err == nil && v.status == status && string(v.body) == body
}

func look(rt http.RoundTripper, r *http.Request) seen {
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return seen{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return seen{err, resp.StatusCode, resp.Header, body}
}

// faultCases has every kind of fault that ends by itself.
var faultCases = []struct {
	name    string
	fault   sandbox.Fault
	ok      func(v seen) bool
	carried bool // the change was carried out
}{
	{"reset before", sandbox.Fault{Kind: sandbox.FaultResetBefore}, func(v seen) bool { return isReset(v.err) }, false},
	{"reset after", sandbox.Fault{Kind: sandbox.FaultResetAfter}, func(v seen) bool { return isReset(v.err) }, true},
	{"slow", sandbox.Fault{Kind: sandbox.FaultSlow, Delay: time.Millisecond}, wantID, true},
	{"trickle", sandbox.Fault{Kind: sandbox.FaultTrickle, Delay: time.Microsecond}, wantID, true},
	{"truncate", sandbox.Fault{Kind: sandbox.FaultTruncate}, func(v seen) bool {
		return errors.Is(v.err, io.ErrUnexpectedEOF) && v.status == 200 && bytes.HasPrefix(v.body, []byte(`{"Status"`))
	}, true},
	{"empty 500", sandbox.Fault{Kind: sandbox.FaultEmpty500}, func(v seen) bool { return v.is(500, "") }, false},
	{"empty 500, processed", sandbox.Fault{Kind: sandbox.FaultEmpty500, Processed: true}, func(v seen) bool { return v.is(500, "") }, true},
	{"page", sandbox.Fault{Kind: sandbox.FaultHTML}, func(v seen) bool {
		return v.status == 200 && strings.HasPrefix(v.header.Get("Content-Type"), "text/html") && bytes.Contains(v.body, []byte("<html>"))
	}, false},
	{"empty object", sandbox.Fault{Kind: sandbox.FaultEmptyObject}, func(v seen) bool { return v.is(200, "{}") }, false},
	{"no id, processed", sandbox.Fault{Kind: sandbox.FaultNoID, Processed: true}, func(v seen) bool {
		return v.is(200, `{"Status":"Success","Message":{}}`)
	}, true},
	{"huge", sandbox.Fault{Kind: sandbox.FaultHuge, Bytes: 100_000}, func(v seen) bool {
		return v.err == nil && len(v.body) == 100_000 && json.Valid(v.body)
	}, false},
	{"gzip bomb", sandbox.Fault{Kind: sandbox.FaultGzipBomb, Bytes: 10 << 20}, isBomb, false},
	{"verbatim", sandbox.Fault{Kind: sandbox.FaultVerbatim, Status: 502, Body: "bad gateway", Header: map[string]string{"X-Proxy": "p"}},
		func(v seen) bool { return v.is(502, "bad gateway") && v.header.Get("X-Proxy") == "p" }, false},
	{"verbatim error without a type", sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"Status":"Error","Message":"no"}`},
		func(v seen) bool { return v.is(200, `{"Status":"Error","Message":"no"}`) }, false},
	{"redirect", sandbox.Fault{Kind: sandbox.FaultRedirect, URL: "https://elsewhere.example/v2/"},
		func(v seen) bool {
			return v.status == 302 && v.header.Get("Location") == "https://elsewhere.example/v2/"
		}, false},
	{"permanent redirect", sandbox.Fault{Kind: sandbox.FaultRedirect, URL: "/x", Status: 308},
		func(v seen) bool { return v.status == 308 && v.header.Get("Location") == "/x" }, false},
	{"throttle", sandbox.Fault{Kind: sandbox.FaultThrottle, Header: map[string]string{"Retry-After": "3"}},
		func(v seen) bool {
			return v.is(429, exceptionBody("MXAPIRateLimitExceededException", "API calls exceeded the limit of 25 in 5 second(s)")) &&
				v.header.Get("Retry-After") == "3"
		}, false},
	{"exception", sandbox.Fault{Kind: sandbox.FaultException, Type: "MXDuplicateEntryException", Text: "twice", Status: 200},
		func(v seen) bool { return v.is(200, exceptionBody("MXDuplicateEntryException", "twice")) }, false},
	{"plain exception", sandbox.Fault{Kind: sandbox.FaultException},
		func(v seen) bool { return v.is(500, exceptionBody("MXInvalidInputException", "Invalid Input!")) }, false},
	{"wrong host", sandbox.Fault{Kind: sandbox.FaultWrongHost, URL: "api-us11.leadsquared.com"},
		func(v seen) bool {
			return v.status == 401 && bytes.Contains(v.body, []byte("https://api-us11.leadsquared.com/v2/"))
		}, false},
	{"never process", sandbox.Fault{Kind: sandbox.FaultNeverProcess}, wantID, true},
	{"process failed", sandbox.Fault{Kind: sandbox.FaultProcessFailed}, wantID, true},
	{"unlisted", sandbox.Fault{Kind: sandbox.FaultUnlisted}, wantID, true},
	{"no such kind", sandbox.Fault{Kind: "explode"}, func(v seen) bool { return v.is(501, "sandbox: no fault of kind \"explode\"\n") }, false},
}

func exceptionBody(kind, text string) string {
	return `{"Status":"Error","ExceptionType":"` + kind + `","ExceptionMessage":"` + text + `"}`
}

func wantID(v seen) bool {
	var a accepted
	return v.err == nil && v.status == 200 && json.Unmarshal(v.body, &a) == nil && len(a.Message.ID) == 32
}

func isReset(err error) bool {
	opErr, ok := errors.AsType[*net.OpError](err)
	return ok && opErr.Op == "read" && errors.Is(err, syscall.ECONNRESET)
}

func isBomb(v seen) bool {
	if v.err != nil || v.header.Get("Content-Encoding") != "gzip" || len(v.body) > 100<<10 {
		return false
	}
	zip, err := gzip.NewReader(bytes.NewReader(v.body))
	if err != nil {
		return false
	}
	n, err := io.Copy(io.Discard, zip)
	return err == nil && n == 10<<20
}

// TestFaults has each fault once in memory and once over a real connection, where
// it must look the same.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range faultCases {
		for _, wire := range []bool{false, true} {
			name := tt.name + "/memory"
			if wire {
				name = tt.name + "/wire"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := newClient(t, sandbox.Config{})
				if wire {
					c = c.listening()
				}
				fault := tt.fault
				fault.Times = 1
				c.server.Fault(fault)
				if v := look(c.rt, c.request(http.MethodPost, pathShare, leadShare)); !tt.ok(v) {
					t.Errorf("got %d %v %.200q, error %v", v.status, v.header, v.body, v.err)
				}
				if got := len(c.server.Requests()) == 1; got != tt.carried {
					t.Errorf("carried out: got %v, want %v", got, tt.carried)
				}
				if got := c.server.Arrivals(); len(got) != 1 || got[0].Refused != (fault.Kind == sandbox.FaultThrottle) {
					t.Errorf("arrivals: got %+v, want one", got)
				}
				c.accept(pathRevoke, leadRevoke)
			})
		}
	}
}

func TestEveryKindIsTested(t *testing.T) {
	t.Parallel()
	// In TestHang, TestZohoMeddling, TestZohoRefusedEntry, TestZohoDroppedEntry and TestZohoVanishing.
	tested := map[sandbox.FaultKind]bool{
		sandbox.FaultHang: true, sandbox.FaultMeddle: true, sandbox.FaultRefuseEntry: true, sandbox.FaultDropEntry: true,
		sandbox.FaultVanish: true,
	}
	for _, tt := range faultCases {
		tested[tt.fault.Kind] = true
	}
	for _, kind := range sandbox.FaultKinds() {
		if !tested[kind] {
			t.Errorf("no test of %q", kind)
		}
	}
}

// listening returns c with requests that go over a real connection.
func (c client) listening() client {
	c.tb.Helper()
	base, stop, err := sandbox.Listen("", c.server)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(stop)
	tr := &http.Transport{DisableCompression: true}
	c.tb.Cleanup(tr.CloseIdleConnections)
	c.rt = toBase{strings.TrimPrefix(base, "http://"), tr}
	return c
}

type toBase struct {
	host string
	rt   http.RoundTripper
}

func (t toBase) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = "http", t.host, ""
	return t.rt.RoundTrip(r)
}

// TestFaultChoice has which requests a fault meets.
func TestFaultChoice(t *testing.T) {
	t.Parallel()
	ok, bad := "200", "500"
	tests := []struct {
		name   string
		faults []sandbox.Fault
		want   []string // of: lead revoke, opportunity revoke, users, status, lead revoke
	}{
		{"none", nil, []string{ok, ok, ok, ok, ok}},
		{"always", []sandbox.Fault{{Op: "*"}}, []string{bad, bad, bad, bad, bad}},
		{"no op is any", []sandbox.Fault{{}}, []string{bad, bad, bad, bad, bad}},
		{"op", []sandbox.Fault{{Op: "EntityAccess.Revoke"}}, []string{bad, bad, ok, ok, bad}},
		{"match in the body", []sandbox.Fault{{Match: oppID}}, []string{ok, bad, ok, ok, ok}},
		{"match in the query", []sandbox.Fault{{Match: "id="}}, []string{ok, ok, ok, bad, ok}},
		{"times", []sandbox.Fault{{Op: "EntityAccess.Revoke", Times: 2}}, []string{bad, bad, ok, ok, ok}},
		{"after", []sandbox.Fault{{Op: "EntityAccess.Revoke", After: 1, Times: 1}}, []string{ok, bad, ok, ok, ok}},
		{"first one acts", []sandbox.Fault{{Op: "Users.Get", Status: 503}, {Op: "*"}}, []string{bad, bad, "503", bad, bad}},
		{"second one after the first", []sandbox.Fault{{Times: 1, Status: 503}, {Times: 1}}, []string{"503", bad, ok, ok, ok}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, sandbox.Config{})
			id := c.accept(pathShare, leadShare)
			for _, f := range tt.faults {
				f.Kind = sandbox.FaultException
				c.server.Fault(f)
			}
			var got []string
			for _, r := range []*http.Request{
				c.request(http.MethodPost, pathRevoke, leadRevoke), c.request(http.MethodPost, pathRevoke, oppRevoke),
				c.request(http.MethodGet, pathUsers, ""), c.request(http.MethodGet, pathStatus+"?id="+id, ""),
				c.request(http.MethodPost, pathRevoke, leadRevoke),
			} {
				status, _ := c.do(r)
				got = append(got, map[int]string{200: ok, 500: bad, 503: "503"}[status])
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			c.server.ClearFaults()
			c.accept(pathRevoke, leadRevoke)
		})
	}
}

func TestOutcomesOnDemand(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		fault   sandbox.Fault
		status  int
		message string
		shared  bool
	}{
		{"never process", sandbox.Fault{Kind: sandbox.FaultNeverProcess}, 3, "", false},
		{"fails", sandbox.Fault{Kind: sandbox.FaultProcessFailed, Text: "Lead is locked"}, 7, "Lead is locked", false},
		{"fails without a text", sandbox.Fault{Kind: sandbox.FaultProcessFailed}, 7, "The request could not be processed.", false},
		{"unlisted", sandbox.Fault{Kind: sandbox.FaultUnlisted}, 9, "", true},
		{"unlisted of choice", sandbox.Fault{Kind: sandbox.FaultUnlisted, Code: 42}, 42, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, sandbox.Config{})
			c.server.Fault(tt.fault)
			got := c.status(c.accept(pathShare, leadShare))
			message := ""
			if got.ErrorMessage != nil {
				message = *got.ErrorMessage
			}
			if got.ShareStatus != tt.status || message != tt.message || got.Status != "Success" {
				t.Errorf("got %+v with %q, want code %d with %q", got, message, tt.status, tt.message)
			}
			if shared := len(c.server.Shares()) == 1; shared != tt.shared {
				t.Errorf("shared: got %v, want %v", shared, tt.shared)
			}
		})
	}
}
