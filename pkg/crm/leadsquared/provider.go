package leadsquared

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// Defaults of a Config, each for a fact that the vendor leaves open.
const (
	// defaultUsers bounds a group call: several users are documented, a maximum is not.
	defaultUsers = 25
	// defaultRemovePath mirrors AddUsers: the vendor's page has lost its URL line.
	defaultRemovePath = "/v2/UserGroup.svc/RemoveUsers"
	// successCode is the only ShareStatus that the vendor documents.
	successCode = 6
)

// Config describes an account. Only Host and the keys are needed.
type Config struct {
	Host                 string // as Host reads it
	AccessKey, SecretKey transport.Secret

	// Query sends the keys as query parameters instead of headers, which keep them
	// out of URLs and are what the vendor recommends.
	Query bool
	// MaxEntries is how many revokes of one object go in one call; 0 is 1, because
	// the vendor documents no more. Shares always go alone.
	MaxEntries int
	// MaxUsers is how many users go in one call to a sales group; 0 is 25.
	MaxUsers int
	// CallbackURL is where the CRM posts the result of a call to a sales group. It
	// must be https; empty asks for none.
	CallbackURL string
	// RevokeAccess is the level that a revoke without one is sent with; AccessUnset is
	// Read, the vendor's own default. It is always sent, never left to the server.
	RevokeAccess crm.Access
	// SuccessCodes and FailureCodes are the values of ShareStatus that end a request;
	// empty is [6] and none. Every other value means not yet.
	SuccessCodes, FailureCodes []int
	// RemoveUsersPath is where users are taken out of a sales group; empty is
	// /v2/UserGroup.svc/RemoveUsers.
	RemoveUsersPath string
}

// Provider works on one LeadSquared account. It is safe for concurrent use.
type Provider struct {
	Rules
	*reader
	client *transport.Client // which sends changes too
	groups groups
}

var _ crm.Provider = (*Provider)(nil)

// New returns a provider that sends through a client of its own, made from tr: New
// fills in Base, Authorize, Inspect and Redact. store may be nil; then who owns the keys
// is not remembered.
func New(cfg Config, tr transport.Config, store *transport.Store) (*Provider, error) {
	r, client, err := cfg.connect(tr, store)
	if err != nil {
		return nil, fmt.Errorf("leadsquared: %w", err)
	}
	rules, err := NewRules(r.cfg)
	if err != nil {
		return nil, err
	}
	r.client = client
	return &Provider{Rules: rules, reader: r, client: client}, nil
}

// Check says what is wrong with the configuration, as far as that can be found out
// without asking anybody: what New would refuse.
func (c Config) Check() error {
	if _, _, err := c.checked(); err != nil {
		return fmt.Errorf("leadsquared: %w", err)
	}
	_, err := NewRules(c)
	return err
}

// servicePath is what a configured path may look like.
var servicePath = regexp.MustCompile(`^/[A-Za-z0-9._/-]+$`)

// checked returns the configuration with its defaults filled in.
func (c Config) checked() (Config, *url.URL, error) {
	u, err := base(c.Host)
	if err != nil {
		return c, nil, err
	}
	for _, key := range []struct {
		name   string
		secret transport.Secret
	}{{"access key", c.AccessKey}, {"secret key", c.SecretKey}} {
		if key.secret.IsZero() {
			return c, nil, fmt.Errorf("%s: none given", key.name)
		}
		if strings.ContainsFunc(key.secret.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
			return c, nil, fmt.Errorf("%s: holds a space, a line break or another character that no key has", key.name)
		}
	}
	if c.CallbackURL != "" {
		cb, err := url.Parse(c.CallbackURL)
		if err != nil || cb.Scheme != "https" || cb.Hostname() == "" {
			return c, nil, errors.New("callback URL: must be a whole https URL")
		}
	}
	c.RemoveUsersPath = cmp.Or(c.RemoveUsersPath, defaultRemovePath)
	if !servicePath.MatchString(c.RemoveUsersPath) || strings.Contains(c.RemoveUsersPath, "..") {
		return c, nil, errors.New("path to remove users: must be a path on the host, such as " + defaultRemovePath)
	}
	if len(c.SuccessCodes) == 0 {
		c.SuccessCodes = []int{successCode}
	}
	for _, code := range c.FailureCodes {
		if slices.Contains(c.SuccessCodes, code) {
			return c, nil, fmt.Errorf("status code %d is both success and failure", code)
		}
	}
	return c, u, nil
}

// authorizer returns what adds the keys to a request. In a query they are escaped:
// access keys hold characters such as "$".
func authorizer(cfg Config) func(context.Context, *http.Request) error {
	access, secret := []string{cfg.AccessKey.Reveal()}, []string{cfg.SecretKey.Reveal()}
	return func(_ context.Context, r *http.Request) error {
		if !cfg.Query { // by the names in net/http's spelling, which spares it spelling them
			r.Header["X-Lsq-Accesskey"], r.Header["X-Lsq-Secretkey"] = access, secret
			return nil
		}
		q := r.URL.Query()
		q["accessKey"], q["secretKey"] = access, secret
		r.URL.RawQuery = q.Encode()
		return nil
	}
}
