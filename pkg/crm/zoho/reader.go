package zoho

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// reads is what reading takes of a client: all that a *transport.Reader has, which can
// change nothing.
type reads interface {
	Read(ctx context.Context, req transport.Request) (*transport.Response, error)
	Backoff(ctx context.Context, attempt int) bool
	Clock() (now time.Time, answered bool)
	RoundTripper(op string) http.RoundTripper
}

var _, _ reads = (*transport.Client)(nil), (*transport.Reader)(nil)

// reader is the reading half of an account, which a Provider and a Finder have in common.
type reader struct {
	account    string
	log        *slog.Logger
	dialect    dialect
	configured *url.URL // base URL of the API
	client     reads
	tokens     *tokens
	redact     *transport.Redactor
	store      *transport.Store // nil: nothing is remembered
	closed     sync.Map         // by request: the finding of a module that is closed to the token
}

// connect returns the reading half of an account, and a client of it. It reads through
// what is given to through, which is to be that client or a part of it.
func (c Config) connect(tr transport.Config, store *transport.Store) (*reader, *transport.Client, error) {
	r, accounts, err := c.reader()
	if err != nil {
		return nil, nil, err
	}
	tr.Redact = transport.NewRedactor(c.ClientSecret, c.RefreshToken, c.GrantToken)
	r.redact, r.store = tr.Redact, store
	r.log = cmp.Or(tr.Log, slog.New(slog.DiscardHandler))
	r.tokens = &tokens{
		clientID: c.ClientID, secret: c.ClientSecret, refresh: c.RefreshToken, grant: c.GrantToken, url: accounts.String() + "/oauth/v2/token",
		configured: r.configured, redact: tr.Redact, store: store, flight: make(chan struct{}, 1),
	}
	tr.Base, tr.Inspect, tr.Authorize = r.configured, inspect, r.tokens.authorize
	client, err := transport.New(tr)
	return r, client, err
}

// through has r, and its tokens, read through a client.
func (r *reader) through(client reads) { r.client, r.tokens.client = client, client }

// reader returns what the configuration says, and the URL of the token service.
func (c Config) reader() (*reader, *url.URL, error) {
	api, accounts, err := endpoints(c.DC, c.APIURL, c.AccountsURL)
	if err != nil {
		return nil, nil, err
	}
	for _, value := range []namedText{
		{"client id", c.ClientID}, {"client secret", c.ClientSecret.Reveal()}, c.token(),
	} {
		if value.text == "" {
			return nil, nil, fmt.Errorf("%s: none given", value.name)
		}
		if strings.ContainsFunc(value.text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, nil, fmt.Errorf("%s: holds a space, a line break or another character that it can not have", value.name)
		}
	}
	d, err := newDialect(c.Version, c.Notify)
	if err != nil {
		return nil, nil, err
	}
	if c.VerifyAfter < 0 {
		return nil, nil, errors.New("the time to the first look can not be negative")
	}
	return &reader{account: c.Account, dialect: d, configured: api}, accounts, nil
}

// sharePath is where a record's list is, in the given version. Check has passed
// both parts.
func sharePath(version, object, record string) string {
	return "/crm/" + version + "/" + object + "/" + record + "/actions/share"
}

// mostReads is how often a read is tried whose answer says that something went
// wrong inside the CRM, and mostRenewals how often in one piece of work a refused
// access token is replaced by a new one.
const (
	mostReads    = 3
	mostRenewals = 3
)

// read sends a request that changes nothing until something other than the refusal
// of an expired access token comes of it; the transport repeats it after a refusal by
// a limit.
func (r *reader) read(ctx context.Context, v verb, record string, req transport.Request) finding {
	req.Method = cmp.Or(req.Method, http.MethodGet)
	for failed, renewed := 0, 0; ; {
		if ctx.Err() != nil {
			return finding{Finding: transport.Stopped(ctx)}
		}
		used, err := r.tokens.ready(ctx)
		if err != nil {
			return r.tokenless(ctx, err)
		}
		resp, err := r.client.Read(ctx, req)
		f := r.clean(classify(v, record, 0, resp, err))
		switch {
		case f.Class == token:
			if r.renew(used, &f, &renewed) {
				continue
			}
			return f
		case f.Class == uncertain:
			if failed++; f.Code == internalError && failed < mostReads && r.client.Backoff(ctx, failed) {
				continue
			}
		}
		if resp != nil && resp.Status < 400 {
			r.tokens.worked(used)
		}
		return f
	}
}

// tokenless is the finding for a request that had no token to go with.
func (r *reader) tokenless(ctx context.Context, err error) finding {
	if end, ok := errors.AsType[*crm.AccountError](err); ok {
		return r.clean(classify(verbNone, "", 0, nil, end))
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return r.clean(found(unsent, "", err.Error()))
}

// renew drops a refused access token, so that the next request gets a new one. A
// new one that is refused as well ends the account.
func (r *reader) renew(used accessToken, f *finding, renewed *int) (again bool) {
	if *renewed++; *renewed <= mostRenewals && r.tokens.drop(used) {
		return true
	}
	f.End(crm.EndKeys, fmt.Sprintf("the CRM refuses a new access token (HTTP %d)", f.Status), f.Text,
		"Check that the user who authorised the refresh token is still active and may use the API.")
	return false
}

// clean takes secrets out of a finding's texts and bounds them.
func (r *reader) clean(f finding) finding {
	f.Finding = f.Clean(r.redact)
	f.results = slices.Clone(f.results)
	for i := range f.results {
		one := &f.results[i]
		one.Code, one.Message = text(r.redact.Clean(string(one.Code))), text(r.redact.Clean(string(one.Message)))
	}
	return f
}

// look asks who has a record. Under the older versions it asks by a newer one,
// which shows groups and roles too. A module that is closed to the token is asked
// once.
func (r *reader) look(ctx context.Context, callID, object, record string) finding {
	if f, ok := r.closed.Load(request{verbLook, object}); ok {
		return f.(finding)
	}
	f := r.read(ctx, verbLook, record, transport.Request{
		Op: "Share.Get", CallID: callID, Path: sharePath(r.dialect.looks(), object, record),
	})
	return r.explainShare(f, verbLook, object)
}
