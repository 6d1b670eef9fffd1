package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const (
	// staleAfter is the wait at the gate after which a request is authorised again.
	staleAfter = time.Minute
	// maxText caps how much of a server's words goes into an error or the log.
	maxText = 300
)

// fate is what became of an attempt, as far as repeating it is concerned.
type fate uint8

const (
	finished  fate = iota // there is an answer, or there is no point in another try
	refused               // the rate limit refused it
	troubled              // a 5xx that the vendor's application did not give
	lost                  // sent, and no answer came
	neverLeft             // nothing was sent: the connection could not be made
	withheld              // nothing was sent: it might not be, at that moment
)

// exchange is one request on its way.
type exchange struct {
	req     *http.Request
	slot    *Slot
	op      string
	callID  string
	attempt int
	maxBody int64
	stream  func(io.Reader) error
	arrived bool // its reply has begun, so that it can not arrive any later
}

// attempt takes a request through the gate once.
func (c *Client) attempt(ctx context.Context, r *Request, n int) (*Response, fate, error) {
	req, slot, err := c.admit(ctx, r)
	if err != nil {
		if end, ok := errors.AsType[*crm.AccountError](err); ok {
			return nil, finished, end
		}
		return nil, finished, &Error{Op: r.Op, Err: c.clean(err)}
	}
	defer slot.Unused()
	if r.Before != nil {
		if err := r.Before(ctx); err != nil {
			return nil, finished, &Error{Op: r.Op, Err: err}
		}
	}
	return c.exchange(ctx, exchange{
		req: req, slot: slot, op: r.Op, callID: r.CallID, attempt: n,
		maxBody: r.MaxBody, stream: r.Stream,
	})
}

// admit returns the authorised request and the slot to send it with. No slot is
// held while authorising, which may need slots itself.
func (c *Client) admit(ctx context.Context, r *Request) (*http.Request, *Slot, error) {
	for renewed := false; ; renewed = true {
		req, err := c.build(ctx, r)
		if err != nil {
			return nil, nil, err
		}
		if c.authorize != nil {
			if err := c.authorize(ctx, req); err != nil {
				return nil, nil, fmt.Errorf("authorise: %w", err)
			}
		}
		noReplay(req)
		from := time.Now()
		slot, err := c.gate.AcquireUnits(ctx, r.Units)
		if err != nil {
			return nil, nil, err
		}
		if renewed || c.authorize == nil || time.Since(from) < staleAfter {
			return req, slot, nil
		}
		slot.Unused()
	}
}

// ErrCutOff is the cause of a context whose end also ends the attempts that are open under
// it: they count as sent without an answer. Any other cause lets them finish.
var ErrCutOff = errors.New("the time for what was begun before the stop is over")

// exchange sends a request, reads the reply, tells the gate what it means, and
// writes a line in the log. It ends the slot.
func (c *Client) exchange(ctx context.Context, x exchange) (*Response, fate, error) {
	if x.maxBody <= 0 {
		x.maxBody = defaultMaxBody
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), ErrCutOff) {
			cancel()
		}
	})()
	if err := c.gate.allows(); err != nil {
		return c.withheld(ctx, x, time.Now(), err)
	}
	watch := &watch{traced: c.traced, may: c.gate.allows}
	req := x.req.WithContext(watch.on(limited))

	x.slot.Sent()
	defer x.slot.Done()
	begin := time.Now()
	resp, err := c.rt.RoundTrip(req)
	if err != nil {
		if no := watch.refusal(); no != nil {
			return c.withheld(ctx, x, begin, no)
		}
		return c.failed(ctx, limited, x, begin, watch.sent(err), err)
	}
	defer resp.Body.Close()
	c.hear(resp.Header)
	reply, rest, err := read(resp, x)
	if err != nil {
		x.arrived = true
		return c.failed(ctx, limited, x, begin, true, err)
	}
	f := c.judge(reply, x.slot)
	size := int64(len(reply.Body))
	if rest != nil && f != refused {
		reply.Body = nil
		err = x.stream(rest)
		err = firstError(rest.err, err)
		size = rest.read
		if err != nil {
			f = finished
			if rest.err != nil && !errors.Is(rest.err, errTooLong) {
				f = lost
			}
			err = c.wrap(limited, x, true, err)
		}
	}
	x.slot.Done()
	c.record(ctx, x, begin, err, slog.Int("status", reply.Status), slog.Int64("bytes", size), slog.Bool("throttled", reply.Throttled))
	if err != nil {
		return nil, f, err
	}
	return reply, f, nil
}

// firstError returns the first error that is one.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// withheld ends an attempt that might not be sent when its turn came.
func (c *Client) withheld(ctx context.Context, x exchange, begin time.Time, why error) (*Response, fate, error) {
	x.slot.Unused()
	err := &Error{Op: x.op, Err: why}
	c.record(ctx, x, begin, err, slog.Bool("sent", false))
	return nil, withheld, err
}

// failed ends an attempt without a usable answer.
func (c *Client) failed(ctx, limited context.Context, x exchange, begin time.Time, sent bool, err error) (*Response, fate, error) {
	h, f := failing, lost
	if !sent {
		f = neverLeft
		if leadsAstray(err) {
			h = misdirected
		}
	}
	wrapped := c.wrap(limited, x, sent, err)
	c.gate.report(h, x.slot.granted, false, wrapped.Err)
	switch {
	case !sent:
		x.slot.Unused()
	case wrapped.Timeout && !x.arrived:
		x.slot.GaveUp()
	}
	x.slot.Done()
	c.record(ctx, x, begin, wrapped, slog.Bool("sent", sent))
	return nil, f, wrapped
}

// wrap returns the error of an attempt.
func (c *Client) wrap(limited context.Context, x exchange, sent bool, err error) *Error {
	if limited.Err() != nil {
		return &Error{Op: x.op, Sent: sent, Timeout: true, Err: fmt.Errorf("no complete answer within %v: %w", c.timeout, context.DeadlineExceeded)}
	}
	return &Error{Op: x.op, Sent: sent, Err: c.clean(err)}
}

// judge reads a reply for the gate and tells it.
func (c *Client) judge(reply *Response, slot *Slot) fate {
	var sig Signal
	if c.inspect != nil {
		sig = c.inspect(reply)
	}
	after, named := ParseRetryAfter(reply.Header.Get("Retry-After"), time.Now())
	if sig.Throttled || reply.Status == http.StatusTooManyRequests {
		reply.Throttled = true
		t := sig.Throttle
		t.granted = slot.granted
		t.Text = clip(c.redact.String(t.Text))
		if t.After <= 0 && named {
			t.After = after
		}
		c.gate.Throttled(t)
		return refused
	}
	if reply.Status < 500 || sig.Answered || speaks(reply) {
		c.gate.report(healthy, slot.granted, true, nil)
		return finished
	}
	c.gate.report(failing, slot.granted, true, fmt.Errorf("the answer is HTTP %d", reply.Status))
	if reply.Status == http.StatusServiceUnavailable && named {
		c.gate.standBy(after)
	}
	return troubled
}

// speaks says whether a 5xx looks like the vendor's application rather than
// something in front of it: LeadSquared carries its refusals of single rows as a
// JSON object in a 500, and those must not look like an outage.
func speaks(reply *Response) bool {
	switch reply.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	}
	body := bytes.TrimSpace(reply.Body)
	return bytes.HasPrefix(body, []byte("{")) && (reply.Truncated || json.Valid(body))
}

// record writes the attempt's line. What it may hold is listed here: neither URL
// nor header nor body.
func (c *Client) record(ctx context.Context, x exchange, begin time.Time, err error, more ...slog.Attr) {
	if !c.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := append([]slog.Attr{
		slog.String("op", x.op), slog.String("call_id", x.callID), slog.Int("attempt", x.attempt),
		slog.Duration("took", time.Since(begin).Round(time.Millisecond)),
	}, more...)
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	c.log.LogAttrs(ctx, slog.LevelDebug, "attempt", attrs...)
}

// clip shortens a server's words.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:maxText]), nil)) + "..."
}
