package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ErrNotARead refuses a request that may change something, or is none of those that a
// Reader was made for.
var ErrNotARead = errors.New("refused: this client only reads")

// Reads are the requests that a Reader sends.
type Reads struct {
	// Gets are the paths of GETs: those that equal one, or begin with one that ends in
	// "/". A vendor may have GETs that change something: they are not among these.
	Gets []string
	// Posts are the paths of POSTs that change nothing, each with what says of a body why
	// it may not be sent.
	Posts map[string]func(body []byte) error
	// Grant is the URL of the token service, the only place where RoundTripper sends to;
	// empty for none.
	Grant string
}

// Reader sends requests that read to one account, and no others: whoever has only a
// Reader can change nothing. What it refuses does not get to the gate. It is safe for
// concurrent use.
type Reader struct {
	client *Client
	reads  Reads
}

// NewReader returns a reader that sends through a client.
func NewReader(c *Client, reads Reads) *Reader { return &Reader{client: c, reads: reads} }

// Read is Client.Read. The error is ErrNotARead, wrapped in an *Error that is not Sent, for
// every other method, path or body than those of Reads, and for a request that brings
// headers: there are servers that take the method from one.
func (r *Reader) Read(ctx context.Context, req Request) (*Response, error) {
	if err := r.reads.check(req); err != nil {
		return nil, &Error{Op: req.Op, Err: err}
	}
	return r.client.Read(ctx, req)
}

// check says why a request may not be sent.
func (r Reads) check(req Request) error {
	refuse := func(why string) error { return fmt.Errorf("%w: %s", ErrNotARead, why) }
	switch {
	case len(req.Header) > 0:
		return refuse("the request brings headers of its own")
	case req.Method == http.MethodGet && len(req.Body) > 0:
		return refuse("a GET with a body")
	case req.Method == http.MethodGet:
		for _, path := range r.Gets {
			if req.Path == path || strings.HasSuffix(path, "/") && strings.HasPrefix(req.Path, path) && !strings.Contains(req.Path, "..") {
				return nil
			}
		}
		return refuse("a GET of another path")
	case req.Method == http.MethodPost:
		check, ok := r.Posts[req.Path]
		if !ok {
			return refuse("a POST to another path")
		}
		if err := check(req.Body); err != nil {
			return refuse(err.Error())
		}
		return nil
	}
	return refuse("the method " + req.Method)
}

// Backoff is Client.Backoff.
func (r *Reader) Backoff(ctx context.Context, attempt int) bool {
	return r.client.Backoff(ctx, attempt)
}

// Clock is Client.Clock.
func (r *Reader) Clock() (now time.Time, answered bool) { return r.client.Clock() }

// RoundTripper is Client.RoundTripper for the token service alone.
func (r *Reader) RoundTripper(op string) http.RoundTripper {
	return grantTripper{next: r.client.RoundTripper(op), grant: r.reads.Grant}
}

// grantTripper lets nothing through but a POST to the token service.
type grantTripper struct {
	next  http.RoundTripper
	grant string
}

// RoundTrip implements http.RoundTripper.
func (t grantTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && t.grant != "" && r.URL.String() == t.grant {
		return t.next.RoundTrip(r)
	}
	var err error
	if r.Body != nil { // which a transport owes it to its caller to close
		err = r.Body.Close()
	}
	return nil, errors.Join(fmt.Errorf("%w: only tokens are asked for here", ErrNotARead), err)
}
