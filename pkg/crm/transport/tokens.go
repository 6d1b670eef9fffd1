package transport

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// RoundTripper returns a way for another HTTP client, that of access tokens, to go
// through the same gate, cap, time limit and log. It adds no keys, repeats nothing,
// and sends to any host by https; a redirect is an *crm.AccountError with
// EndRedirect, so that no client follows it. op names the requests in the log.
func (c *Client) RoundTripper(op string) http.RoundTripper {
	return &tripper{client: c, op: op}
}

type tripper struct {
	client *Client
	op     string
}

// RoundTrip implements http.RoundTripper.
func (t *tripper) RoundTrip(req *http.Request) (*http.Response, error) {
	reply, err := t.send(req)
	if err != nil {
		return nil, err
	}
	if reply.Status/100 == 3 {
		return nil, redirected(reply)
	}
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", reply.Status, http.StatusText(reply.Status)),
		StatusCode:    reply.Status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        reply.Header,
		Body:          io.NopCloser(bytes.NewReader(reply.Body)),
		ContentLength: int64(len(reply.Body)),
		Request:       req,
	}, nil
}

// send sends a copy of a request, whose body it closes, once: when it may be sent.
func (t *tripper) send(req *http.Request) (*Response, error) {
	var body []byte
	if req.Body != nil {
		defer req.Body.Close()
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, fmt.Errorf("read the request's body: %w", err)
		}
	}
	if err := checkScheme(req.URL); err != nil {
		return nil, err
	}
	for {
		clone := req.Clone(req.Context())
		setDefault(clone.Header, "User-Agent", t.client.agent)
		setBody(clone, body)
		noReplay(clone)
		slot, err := t.client.gate.Acquire(req.Context())
		if err != nil {
			return nil, err
		}
		reply, f, err := t.client.exchange(req.Context(), exchange{req: clone, slot: slot, op: t.op, attempt: 1})
		slot.Unused()
		if f != withheld {
			return reply, err
		}
	}
}

// redirected returns the error of a redirect. It names the host alone: the rest of
// the address may carry keys.
func redirected(reply *Response) error {
	return &crm.AccountError{
		Code: crm.EndRedirect,
		Err:  fmt.Errorf("the host answers HTTP %d and sends us to %s", reply.Status, reply.RedirectedTo()),
		Hint: "Redirects are never followed. Check the host in the configuration, and whether a proxy stands in between.",
	}
}
