package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxTries is how often a request is sent, refusals by the rate limit not counted.
	maxTries = 3
	// backoffBase and backoffCap bound the waits between tries: a random time up to
	// the base, doubled with each try, up to the cap.
	backoffBase = 500 * time.Millisecond
	backoffCap  = 10 * time.Second
)

// Config says whom a Client talks to, and how.
type Config struct {
	// Base is scheme, host and perhaps the beginning of all paths. Plain http is
	// accepted for a loopback host only.
	Base *url.URL
	Gate *Gate
	// Authorize adds the keys to a request that is nobody else's. It runs before the
	// attempt waits at the gate, so that it may itself use the client, for a token; it
	// runs once more if the wait took over a minute. Its error means that nothing is
	// sent. nil adds nothing.
	Authorize func(ctx context.Context, r *http.Request) error
	// Inspect is the vendor's reading of a reply, body before status. It must be pure.
	// A status of 429 is a refusal whatever it says. nil finds nothing. Of a streamed
	// reply it sees the body only if that is short.
	Inspect func(*Response) Signal
	CAFile  string // PEM file with roots that are trusted besides the system's
	// Pool has the connections that the client uses; nil is a pool of its own.
	Pool *Pool
	// Timeout is for one attempt, everything from connecting to the end of the body
	// included; 0 and what is above 20 s is 20 s.
	Timeout time.Duration
	Redact  *Redactor    // for the texts of errors and refusals; may be nil
	Log     *slog.Logger // nil discards
	// RoundTripper, for tests, replaces the client's own transport, which speaks
	// HTTP/1.1 with TLS 1.2 or later, through the environment's proxies.
	RoundTripper http.RoundTripper
	UserAgent    string // "bulkrevoke" unless set
	// Shared remembers what concerns all keys of the account's organisation; nil is the
	// store of the one key.
	Shared *Store
}

// Client sends requests to one account. Redirects are never followed: a 3xx comes
// back as the reply that it is. It is safe for concurrent use.
type Client struct {
	base      url.URL
	gate      *Gate
	authorize func(ctx context.Context, r *http.Request) error
	inspect   func(*Response) Signal
	timeout   time.Duration
	redact    *Redactor
	log       *slog.Logger
	rt        http.RoundTripper
	traced    bool // rt is net/http's, which tells when a request is written
	heard     atomic.Pointer[heard]
	// What most requests have in common, as their headers hold it; nobody changes it.
	agent, json []string
}

// New returns a client.
func New(cfg Config) (*Client, error) {
	if cfg.Gate == nil {
		return nil, errors.New("a client needs a gate")
	}
	if err := checkBase(cfg.Base); err != nil {
		return nil, err
	}
	c := &Client{
		base:      *cfg.Base,
		gate:      cfg.Gate,
		authorize: cfg.Authorize,
		inspect:   cfg.Inspect,
		timeout:   attemptLimit,
		redact:    cfg.Redact,
		log:       cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)),
		rt:        cfg.RoundTripper,
		agent:     []string{cmp.Or(cfg.UserAgent, "bulkrevoke")},
		json:      []string{"application/json"},
	}
	if cfg.Timeout > 0 {
		c.timeout = min(cfg.Timeout, attemptLimit)
	}
	if c.rt == nil {
		pool := cfg.Pool
		if pool == nil {
			pool = NewPool(cfg.Gate.slotCount())
		}
		shared, err := pool.transport(cfg.CAFile)
		if err != nil {
			return nil, err
		}
		c.rt = shared
	}
	_, c.traced = c.rt.(*http.Transport)
	return c, nil
}

// checkBase refuses what is no place to send keys to.
func checkBase(u *url.URL) error {
	switch {
	case u == nil || u.Host == "" || u.Hostname() == "":
		return errors.New("a client needs a base URL with a host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return errors.New("the base URL may hold a scheme, a host and a path, and nothing else")
	}
	return checkScheme(u)
}

// checkScheme accepts https, and http where it does not leave this machine.
func checkScheme(u *url.URL) error {
	if u.Scheme == "https" || u.Scheme == "http" && Loopback(strings.ToLower(u.Hostname())) {
		return nil
	}
	return fmt.Errorf("%s://%s: only https is used, and http for a loopback host", u.Scheme, u.Host)
}

// Send makes one attempt. An attempt that demonstrably never left this machine
// (the name was not resolved, the connection or the TLS handshake failed) is made
// up to three times, each time through the gate and Before again. One that GateConfig.May
// withholds after Before is not: what was seen before it may have grown old by then.
//
// The error is an *Error, whose Sent says whether the request may have reached the
// server, or an *crm.AccountError when the account can do no more, in which case
// nothing was sent. When ctx is done, Send stops waiting, but never interrupts a
// request on its way; the *Error then wraps context.Cause(ctx).
func (c *Client) Send(ctx context.Context, r Request) (*Response, error) {
	for n := 1; ; n++ {
		resp, f, err := c.attempt(ctx, &r, n)
		if f != neverLeft || n >= maxTries || !c.Backoff(ctx, n) {
			return resp, c.stopped(ctx, r.Op, f, err)
		}
	}
}

// Read is Send for a request that changes nothing, and repeats it where Send would
// leave that to the caller: after a refusal by the rate limit, or while nothing may be sent,
// as often as it takes;
// after a lost answer, or a 5xx that the vendor's application did not give, up to
// three attempts in all. What it got last is what it returns.
func (c *Client) Read(ctx context.Context, r Request) (*Response, error) {
	r.Before = nil
	for n := 1; ; {
		resp, f, err := c.attempt(ctx, &r, n)
		switch f {
		case refused, withheld:
			continue
		case neverLeft, lost, troubled:
			if n < maxTries && c.Backoff(ctx, n) {
				n++
				continue
			}
		}
		return resp, c.stopped(ctx, r.Op, f, err)
	}
}

// stopped returns the error of a last attempt; that of one which never left and is
// not repeated because ctx is done is the cause of that.
func (c *Client) stopped(ctx context.Context, op string, f fate, err error) error {
	if f == neverLeft && ctx.Err() != nil {
		return &Error{Op: op, Err: context.Cause(ctx)}
	}
	return err
}

// Backoff waits before a repeat: before the first repeat with attempt 1, and so on.
// The wait is random, and longer from attempt to attempt. It returns false, and
// nothing may be repeated, when ctx is done or the account's budget of repeats is
// spent: a tenth of its calls so far, and ten.
func (c *Client) Backoff(ctx context.Context, attempt int) bool {
	if ctx.Err() != nil || !c.gate.takeRepeat() {
		return false
	}
	step := min(max(attempt, 1)-1, 8)
	timer := time.NewTimer(rand.N(min(backoffBase<<step, backoffCap)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
