package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	dialLimit      = 10 * time.Second
	handshakeLimit = 10 * time.Second
	// idleLimit stays below the 5 s after which common servers (Apache, Node) close an
	// idle connection, as of 2026. A request that meets such a close loses its answer,
	// and a share whose answer is lost stays in doubt; with a window of 5 s, a burst
	// would meet it every time.
	idleLimit      = 4 * time.Second
	maxHeaderBytes = 256 << 10
	// bufferSize is a connection's for each direction: a request and most answers fit, and a
	// thousand connections take little.
	bufferSize = 2 << 10
	// mostSessions is of how many hosts a TLS session is remembered.
	mostSessions = 64
)

// Pool is the connections of a process. Clients share them, whichever accounts these are
// for: the keys are in each request. A connection that no call uses is kept for a while for
// the next one to that host, by whatever client.
//
// A pool is safe for concurrent use.
type Pool struct {
	calls int

	mu     sync.Mutex                 // guards trusts
	trusts map[string]*http.Transport // by the file of the roots that are trusted besides the system's
}

// NewPool returns a pool that keeps at most so many connections that no call uses: as many
// as there are calls at one time.
func NewPool(calls int) *Pool {
	return &Pool{calls: calls, trusts: make(map[string]*http.Transport)}
}

// Rest closes the connections that no call uses: after the calls of a run, what else is to
// be opened may need their place. A later call makes a new one.
func (p *Pool) Rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.trusts {
		t.CloseIdleConnections()
	}
}

// transport returns the connections that trust the roots in a file; "" for the system's
// alone.
func (p *Pool) transport(caFile string) (*http.Transport, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.trusts[caFile]; t != nil {
		return t, nil
	}
	t, err := newTransport(caFile, p.calls)
	if err == nil {
		p.trusts[caFile] = t
	}
	return t, err
}

// newTransport returns connections, of which so many that no call uses are kept.
func newTransport(caFile string, calls int) (*http.Transport, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(min(calls, mostSessions)), // makes a new connection cheap
	}
	if caFile != "" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if info, err := os.Stat(caFile); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("read ca_file: %s is not a regular file", caFile)
		}
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read ca_file: %s holds no certificate in PEM form", caFile)
		}
		config.RootCAs = roots
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  proxy,
		DialContext:            (&net.Dialer{Timeout: dialLimit, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    handshakeLimit,
		Protocols:              &protocols,
		MaxIdleConns:           calls,
		MaxIdleConnsPerHost:    calls,
		WriteBufferSize:        bufferSize,
		ReadBufferSize:         bufferSize,
		IdleConnTimeout:        idleLimit,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}, nil
}

// proxy is the environment's proxy. The error of one that can not be read would
// print it, and with it the password that it may hold.
func proxy(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, errors.New("the proxy that the environment names can not be read")
	}
	return u, nil
}

// watch sees whether a request was written, and keeps it from being written where it may
// not be: to connect may take longer than the right to send lasts.
type watch struct {
	traced  bool
	may     func() error
	started atomic.Bool
	written atomic.Bool
	refused atomic.Pointer[error] // what may said last
}

// on returns a context in which w watches one request.
func (w *watch) on(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { w.started.Store(true) },
		GotConn:      w.got,
		WroteHeaders: func() { w.written.Store(true) },
	})
}

// got asks once more when there is a connection, right before the request is written to it.
// To a closed one nothing can be written.
func (w *watch) got(info httptrace.GotConnInfo) {
	w.refused.Store(nil)
	if err := w.may(); err != nil {
		w.refused.Store(&err)
		_ = info.Conn.Close()
	}
}

// refusal returns why the request was withheld, nil if it was not.
func (w *watch) refusal() error {
	if err := w.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// sent says whether a request that ended in err may have reached the server. Of a
// transport that does not tell, only what fails before sending is believed.
func (w *watch) sent(err error) bool {
	if w.traced || w.started.Load() {
		return w.written.Load()
	}
	return w.written.Load() || !beforeSending(err)
}

// beforeSending says whether an error is one of making the connection.
func beforeSending(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "dial" || op.Op == "proxyconnect") {
		return true
	}
	_, dns := errors.AsType[*net.DNSError](err)
	return dns || errors.Is(err, syscall.ECONNREFUSED) || badCertificate(err)
}

// leadsAstray says whether an error is of the kind that does not mend itself: a
// name that nobody has, a server that is not who it says.
func leadsAstray(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound || badCertificate(err)
}

func badCertificate(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok
}

// clean returns an error that prints neither the URL, in which keys may stand, nor
// a secret. What it wraps can still be told by errors.Is and errors.AsType.
func (c *Client) clean(err error) error {
	for {
		wrapped, ok := errors.AsType[*url.Error](err)
		if !ok || wrapped.Err == nil {
			break
		}
		err = wrapped.Err
	}
	if text := c.redact.String(err.Error()); text != err.Error() {
		return &cleaned{text: text, err: err}
	}
	return err
}

// cleaned is an error with another text.
type cleaned struct {
	text string
	err  error
}

func (e *cleaned) Error() string { return e.text }
func (e *cleaned) Unwrap() error { return e.err }
