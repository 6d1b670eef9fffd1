package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
)

const (
	// defaultMaxBody caps a reply unless its request says otherwise.
	defaultMaxBody = 1 << 20
	// peekSize is how much of a streamed reply is read ahead. A reply that ends within
	// it is shown to the vendor's reading first: refusals come with any status, and
	// are short.
	peekSize = 16 << 10
)

var errTooLong = errors.New("the reply is longer than expected")

// read reads a reply under its cap. A reply that is to be streamed comes back with
// its beginning read, and the reader of all of it.
func read(resp *http.Response, x exchange) (*Response, *capped, error) {
	reply := &Response{Status: resp.StatusCode, Header: resp.Header, CallID: x.callID}
	if x.stream != nil && resp.StatusCode/100 == 2 {
		body := &capped{from: resp.Body, left: x.maxBody}
		head, err := io.ReadAll(io.LimitReader(body, peekSize))
		if err != nil && !errors.Is(err, errTooLong) {
			return nil, nil, fmt.Errorf("read the reply: %w", err)
		}
		whole := &capped{from: io.MultiReader(bytes.NewReader(head), body), left: x.maxBody}
		if len(head) < peekSize && err == nil {
			reply.Body = head
		}
		return reply, whole, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, x.maxBody+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read the reply: %w", err)
	}
	if int64(len(body)) > x.maxBody {
		body, reply.Truncated = body[:x.maxBody], true
	}
	reply.Body = body
	return reply, nil, nil
}

// capped reads up to left bytes and then fails, unless that was all. It keeps the
// error that it gave, so that a consumer which swallows it is found out.
type capped struct {
	from io.Reader
	left int64
	read int64
	err  error // never io.EOF
}

// Read implements io.Reader.
func (c *capped) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.from.Read(p)
	if int64(n) > c.left {
		n, err = int(c.left), errTooLong
	}
	c.left -= int64(n)
	c.read += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}
