package zoho

import (
	"cmp"
	"fmt"
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
	*reader
	client      *transport.Client // which sends changes too
	verifyAfter time.Duration
	pending     pending
	composite   *compositeLooks // nil: each look is a request of its own
}

var _ crm.Provider = (*Provider)(nil)

// New returns a provider that sends through a client of its own, made from tr: New
// fills in Base, Authorize, Inspect and Redact, which learns each access token as it
// comes. store may be nil; then neither who owns the token nor the access token is
// remembered.
func New(cfg Config, tr transport.Config, store *transport.Store) (*Provider, error) {
	r, client, err := cfg.connect(tr, store)
	if err != nil {
		return nil, fmt.Errorf("zoho: %w", err)
	}
	r.through(client)
	p := &Provider{reader: r, client: client, verifyAfter: cmp.Or(cfg.VerifyAfter, defaultVerifyAfter)}
	p.pending.store = cmp.Or(tr.Shared, store)
	p.pending.store.Sweep(pendingPrefix)
	p.pending.lasts = pendingLooks * p.verifyAfter
	if cfg.Composite {
		p.composite = &compositeLooks{r: r}
	}
	return p, nil
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
	if _, _, err := c.reader(); err != nil {
		return fmt.Errorf("zoho: %w", err)
	}
	return nil
}
