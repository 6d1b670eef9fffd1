package transport

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Request is one request to the account's host. Send and Read do not change it,
// so that a caller may use it again.
type Request struct {
	Op     string // route name for logs, such as "EntityAccess.Revoke"
	CallID string // our own id of the call, for logs
	Method string
	// Path is joined to the base URL. It is already escaped and never absolute: it
	// names neither scheme nor host nor query.
	Path  string
	Query url.Values
	// Body goes out as it is, as "application/json" unless Header says otherwise.
	Body   []byte
	Header http.Header // further headers; may be nil
	// Before runs with the slot held, right before each sending. Its error means
	// that nothing is sent; it comes back wrapped in an *Error that is not Sent.
	// Read does not use it. May be nil.
	Before func(ctx context.Context) error
	// Units is how many calls the request counts for among those in flight; 0 is 1.
	Units int
	// MaxBody caps what is read of the reply, after decompression; 0 is 1 MiB.
	MaxBody int64
	// Stream, for reads with long replies, gets the body of a 2xx reply instead of
	// Response.Body. It reads under the same cap and time limit; a body longer than
	// MaxBody ends in an error, never as if it were whole. Read may run it again
	// from the start. May be nil.
	Stream func(body io.Reader) error
}

// Response is what came back, whatever its status. Its texts are as they came:
// what is shown of them goes through a Redactor first.
type Response struct {
	Status    int
	Header    http.Header
	Body      []byte
	Truncated bool // the body went on beyond the cap; Body holds its beginning
	Throttled bool // the rate limit refused the request; it had no effect
	CallID    string
	object    any // what Object has read of the body
}

// hostName is what the name of a host may look like; what does not is not shown.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// RedirectedTo names the host that a redirect points to, and nothing else of it:
// the rest of the address may carry keys.
func (r *Response) RedirectedTo() string {
	u, err := url.Parse(r.Header.Get("Location"))
	if err != nil || u.Hostname() == "" {
		return "another path of the same host"
	}
	name := strings.ToLower(u.Hostname())
	if !hostName.MatchString(name) {
		return "a host whose name can not be shown"
	}
	return name
}

// Signal is a vendor's reading of a reply.
type Signal struct {
	Throttled bool     // the rate limit refused the request
	Throttle  Throttle // what the refusal says
	// Answered says that the vendor's own application gave the reply, whatever its
	// status, and that it is no sign of an outage. Without it a 5xx is taken for one,
	// unless it is a JSON object under another status than 502, 503 and 504.
	Answered bool
}

// Error says that a request got no answer that can be used. Its text holds no URL
// and no secret.
type Error struct {
	Op string
	// Sent says that the request may have reached the server. While it is false, the
	// request had no effect and may be repeated, whatever it was.
	Sent    bool
	Timeout bool // the time limit of the attempt ended it
	Err     error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Op, e.Err) }

// Unwrap returns the cause, which may be that of the caller's context.
func (e *Error) Unwrap() error { return e.Err }
