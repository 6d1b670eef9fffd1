package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// build makes the HTTP request of r, which is nobody else's.
func (c *Client) build(ctx context.Context, r *Request) (*http.Request, error) {
	u, err := c.join(r.Path)
	if err != nil {
		return nil, err
	}
	u.RawQuery = r.Query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.Method, "", nil)
	if err != nil {
		return nil, fmt.Errorf("build the request: %w", err)
	}
	req.URL, req.Host = u, u.Host
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	setDefault(req.Header, "User-Agent", c.agent)
	setDefault(req.Header, "Accept", c.json)
	if r.Body != nil {
		setDefault(req.Header, "Content-Type", c.json)
	}
	setBody(req, r.Body)
	return req, nil
}

// setDefault sets a header by its canonical name, unless it is there.
func setDefault(h http.Header, name string, value []string) {
	if len(h[name]) == 0 || h[name][0] == "" {
		h[name] = value
	}
}

// join returns base and path as one URL. The path is already escaped.
func (c *Client) join(path string) (*url.URL, error) {
	if strings.ContainsAny(path, "?#\\") || strings.Contains(path, "://") || strings.HasPrefix(path, "//") {
		return nil, errors.New("a request's path names neither scheme, host nor query")
	}
	escaped := strings.TrimSuffix(c.base.EscapedPath(), "/") + "/" + strings.TrimPrefix(path, "/")
	plain, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, errors.New("a request's path is not properly escaped")
	}
	if strings.ContainsFunc(plain, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, errors.New("a request's path holds a control character")
	}
	for segment := range strings.SplitSeq(plain, "/") {
		if segment == "." || segment == ".." {
			return nil, errors.New("a request's path leads out of its folder")
		}
	}
	u := c.base
	u.Path, u.RawPath = plain, escaped
	return &u, nil
}

// setBody gives a request its body in a form that net/http can not send twice. It
// repeats a request by itself if it can rewind the body, and takes a GET without a
// body as one that it can. A reader that turns out to be empty is no such body, and
// puts nothing on the wire.
func setBody(req *http.Request, body []byte) {
	bare := slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions}, req.Method)
	req.GetBody = nil
	req.ContentLength = int64(len(body))
	if len(body) == 0 && !bare {
		req.Body = http.NoBody
		return
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
}

// noReplay removes the headers by which net/http would take a request for one that
// it may repeat.
func noReplay(req *http.Request) {
	req.Header.Del("Idempotency-Key")
	req.Header.Del("X-Idempotency-Key")
}
