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

// defaultVerifyAfter is when a first look at the effect of a write is worth while.
// The vendor says that sharing is asynchronous, and not how long it takes.
const defaultVerifyAfter = 2 * time.Second

// Config describes an account. The data centre (or the two URLs) and the three
// values of the OAuth client are needed.
type Config struct {
	// Account is what messages call the account; it may be empty.
	Account string
	// DC is "us", "eu", "in", "au", "cn", "jp", "ca", "sa" or "uk". The URLs take
	// precedence over it; both together replace it. Plain http is for loopback.
	DC                  string
	APIURL, AccountsURL string
	// Version of the API, "v8" unless set. Up to v3 a write knows users only. Looks go
	// by v8 then, which shows groups and roles too; a PUT on a record that has some is
	// refused with the code needs_v8.
	Version                    string
	ClientID                   string
	ClientSecret, RefreshToken transport.Secret
	// GrantToken, in the place of a refresh token, is traded for one with the first request;
	// Provider.RefreshToken has it then.
	GrantToken transport.Secret
	// Notify names the keys of a PUT that keep it from sending mail, about which the
	// vendor's pages disagree: "" sends notify_on_completion and notify_shared_members,
	// "legacy" sends notify, "none" sends none of them.
	Notify string
	// Composite lets confirming looks that are wanted at the same time go up to five
	// to a request: one credit instead of five, but still five units of concurrency.
	Composite bool
	// VerifyAfter is when to look for the first time whether a write has taken effect;
	// 0 is 2 s.
	VerifyAfter time.Duration
}

// Provider works on one Zoho organisation. It is safe for concurrent use.
type Provider struct {
	Rules
	account     string
	log         *slog.Logger
	dialect     dialect
	verifyAfter time.Duration
	configured  *url.URL // base URL of the API
	client      *transport.Client
	tokens      *tokens
	redact      *transport.Redactor
	store       *transport.Store // nil: nothing is remembered
	pending     pending
	closed      sync.Map        // by request: the finding of a module that is closed to the token
	composite   *compositeLooks // nil: each look is a request of its own
}

var _ crm.Provider = (*Provider)(nil)

// New returns a provider that sends through a client of its own, made from tr: New
// fills in Base, Authorize, Inspect and Redact, which learns each access token as it
// comes. store may be nil; then neither who owns the token nor the access token is
// remembered.
func New(cfg Config, tr transport.Config, store *transport.Store) (*Provider, error) {
	p, accounts, err := cfg.provider()
	if err != nil {
		return nil, fmt.Errorf("zoho: %w", err)
	}
	tr.Redact = transport.NewRedactor(cfg.ClientSecret, cfg.RefreshToken, cfg.GrantToken)
	p.redact, p.store = tr.Redact, store
	p.pending.store = cmp.Or(tr.Shared, store)
	p.pending.store.Sweep(pendingPrefix)
	p.log = cmp.Or(tr.Log, slog.New(slog.DiscardHandler))
	p.tokens = &tokens{
		clientID: cfg.ClientID, secret: cfg.ClientSecret, refresh: cfg.RefreshToken, grant: cfg.GrantToken, url: accounts.String() + "/oauth/v2/token",
		configured: p.configured, redact: tr.Redact, store: store, flight: make(chan struct{}, 1),
	}
	tr.Base, tr.Inspect, tr.Authorize = p.configured, inspect, p.tokens.authorize
	if p.client, err = transport.New(tr); err != nil {
		return nil, fmt.Errorf("zoho: %w", err)
	}
	p.tokens.client = p.client
	return p, nil
}

// provider returns what the configuration says, and the URL of the token service.
func (c Config) provider() (*Provider, *url.URL, error) {
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
	p := &Provider{account: c.Account, dialect: d, verifyAfter: cmp.Or(c.VerifyAfter, defaultVerifyAfter), configured: api}
	p.pending.lasts = pendingLooks * p.verifyAfter
	if c.Composite {
		p.composite = &compositeLooks{p: p}
	}
	return p, accounts, nil
}

// namedText is a value with what messages call it.
type namedText struct{ name, text string }

// token is what the account gets its access tokens by.
func (c Config) token() namedText {
	if !c.GrantToken.IsZero() {
		return namedText{"grant token", c.GrantToken.Reveal()}
	}
	return namedText{"refresh token", c.RefreshToken.Reveal()}
}

// Check says what is wrong with the configuration, as far as that can be found out
// without asking anybody: what New would refuse.
func (c Config) Check() error {
	if _, _, err := c.provider(); err != nil {
		return fmt.Errorf("zoho: %w", err)
	}
	return nil
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
func (p *Provider) read(ctx context.Context, v verb, record string, req transport.Request) finding {
	req.Method = cmp.Or(req.Method, http.MethodGet)
	for failed, renewed := 0, 0; ; {
		if ctx.Err() != nil {
			return finding{Finding: transport.Stopped(ctx)}
		}
		used, err := p.tokens.ready(ctx)
		if err != nil {
			return p.tokenless(ctx, err)
		}
		r, err := p.client.Read(ctx, req)
		f := p.clean(classify(v, record, 0, r, err))
		switch {
		case f.Class == token:
			if p.renew(used, &f, &renewed) {
				continue
			}
			return f
		case f.Class == uncertain:
			if failed++; f.Code == internalError && failed < mostReads && p.client.Backoff(ctx, failed) {
				continue
			}
		}
		if r != nil && r.Status < 400 {
			p.tokens.worked(used)
		}
		return f
	}
}

// tokenless is the finding for a request that had no token to go with.
func (p *Provider) tokenless(ctx context.Context, err error) finding {
	if end, ok := errors.AsType[*crm.AccountError](err); ok {
		return p.clean(classify(verbNone, "", 0, nil, end))
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return p.clean(found(unsent, "", err.Error()))
}

// renew drops a refused access token, so that the next request gets a new one. A
// new one that is refused as well ends the account.
func (p *Provider) renew(used accessToken, f *finding, renewed *int) (again bool) {
	if *renewed++; *renewed <= mostRenewals && p.tokens.drop(used) {
		return true
	}
	f.End(crm.EndKeys, fmt.Sprintf("the CRM refuses a new access token (HTTP %d)", f.Status), f.Text,
		"Check that the user who authorised the refresh token is still active and may use the API.")
	return false
}

// clean takes secrets out of a finding's texts and bounds them.
func (p *Provider) clean(f finding) finding {
	f.Finding = f.Clean(p.redact)
	f.results = slices.Clone(f.results)
	for i := range f.results {
		r := &f.results[i]
		r.Code, r.Message = text(p.redact.Clean(string(r.Code))), text(p.redact.Clean(string(r.Message)))
	}
	return f
}
