package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// connections are what the accounts of a run hold open while it goes on.
type connections struct {
	accounts      []*connection // by name
	organisations []*organisation
	pool          *transport.Pool
}

// connection is an account that is connected.
type connection struct {
	account  *account
	org      *organisation
	provider crm.Provider

	keys  *transport.Store // of the account's key; nil without state
	lock  *lock            // of the key, until the organisation has its own; nil without
	first *transport.Gate  // of the calls before the organisation was known; nil without
	place string           // the organisation's id, "" while it is not known

	asked    bool // the CRM was asked whose keys these are, and said
	identity crm.Identity
	err      error
}

// organisation is what all accounts of one organisation on one host have in common.
type organisation struct {
	members []*connection
	folder  string // of its state, "" without state
	lock    *lock  // nil without state
	store   *transport.Store
	gate    *transport.Gate
}

// connectOptions say how to connect accounts.
type connectOptions struct {
	state     string // folder of all state; "" keeps none and takes no lock
	wait      time.Duration
	holder    holder
	log       *slog.Logger
	userAgent string
	atOnce    int // calls under way at one time, over all accounts
}

// mostAsked is how many CRMs are asked at one time whose keys an account has.
const mostAsked = 256

// connectAccounts takes the locks of the accounts' organisations, and gives each
// organisation its gate and each account its provider. The gate's stamps are read under the
// lock, so that they are those of the run before.
//
// Which organisation a key belongs to, its first call tells, and the state keeps for good.
// That call counts in the organisation's gate. Where a CRM does not say, the account is
// an organisation by itself, and its provider knows what is wrong.
//
// The caller closes the connections, also when there is an error.
func connectAccounts(ctx context.Context, accounts []*account, o connectOptions) (*connections, error) {
	cs := &connections{pool: transport.NewPool(o.atOnce)}
	for _, a := range accounts {
		cs.accounts = append(cs.accounts, &connection{account: a})
	}
	if o.state != "" {
		// The same order everywhere, here and with the organisations, so that two runs that
		// wait do not wait for each other.
		for _, c := range slices.SortedFunc(slices.Values(cs.accounts), func(a, b *connection) int { return cmp.Compare(a.account.state, b.account.state) }) {
			if err := c.openKey(ctx, o); err != nil {
				return cs, err
			}
		}
		if err := cs.findOrganisations(ctx, o); err != nil {
			return cs, err
		}
	}
	if err := cs.group(o.state); err != nil {
		return cs, err
	}
	for _, org := range cs.organisations {
		if err := org.open(ctx, o); err != nil {
			return cs, err
		}
		for _, c := range org.members {
			if err := c.join(o, cs.pool); err != nil {
				return cs, err
			}
		}
	}
	return cs, nil
}

// openKey opens what is kept of the account's key. Where its organisation is not known, or
// calls with it stand nowhere else yet, the key is locked.
func (c *connection) openKey(ctx context.Context, o connectOptions) (err error) {
	dir := filepath.Join(o.state, c.account.state)
	if c.keys, err = openState(c.account, dir); err != nil {
		return err
	}
	if c.place = c.keys.Organisation(); c.place != "" && !c.keys.HasCalls() {
		return nil
	}
	c.lock, err = lockState(ctx, c.account, dir, o)
	return err
}

func openState(a *account, dir string) (*transport.Store, error) {
	store, err := transport.OpenStore(dir)
	if err != nil {
		return nil, refusef(stateHint, "account %q: the folder for state, %s, takes no files: %w", a.name, dir, report.Reason(err))
	}
	return store, nil
}

func lockState(ctx context.Context, a *account, dir string, o connectOptions) (*lock, error) {
	return acquireLock(ctx, lockOptions{
		what: fmt.Sprintf("account %q", a.name), path: filepath.Join(dir, "lock"), wait: o.wait, holder: o.holder,
		hint: "Make room there. " + stateHint,
	})
}

// findOrganisations asks the CRMs, side by side, where the organisation of a key is not
// known. The error is that of the first account in order.
func (cs *connections) findOrganisations(ctx context.Context, o connectOptions) error {
	errs := make([]error, len(cs.accounts))
	places := make(chan struct{}, mostAsked)
	var group sync.WaitGroup
	for i, c := range cs.accounts {
		if c.lock == nil {
			continue
		}
		places <- struct{}{}
		group.Go(func() {
			errs[i] = c.findOrganisation(ctx, o, cs.pool)
			<-places
		})
	}
	group.Wait()
	return cmp.Or(errs...)
}

func (c *connection) findOrganisation(ctx context.Context, o connectOptions, pool *transport.Pool) (err error) {
	if c.first, err = transport.NewGate(gateConfig(c.account, c.keys, o.log)); err != nil {
		return fmt.Errorf("account %q: %w", c.account.name, err)
	}
	if c.place != "" {
		return nil
	}
	if err := c.connect(o, pool, c.first, nil); err != nil {
		return err
	}
	c.identity, c.err = c.provider.Identify(ctx)
	if _, ended := errors.AsType[*crm.AccountError](c.err); c.err != nil && !ended {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("account %q: %w", c.account.name, c.err)
	}
	c.asked = true
	if c.place = c.identity.Org; c.place == "" {
		return nil
	}
	if err := c.keys.BelongsTo(c.place); err != nil {
		return refusef(stateHint, "account %q: %w", c.account.name, report.Reason(err))
	}
	return nil
}

// connect makes the account's provider, which sends through the gate.
func (c *connection) connect(o connectOptions, pool *transport.Pool, gate *transport.Gate, shared *transport.Store) (err error) {
	a := c.account
	c.provider, err = a.connect(transport.Config{
		Gate: gate, CAFile: a.conf.CAFile, Pool: pool, Log: o.log.With("account", a.name), UserAgent: o.userAgent, Shared: shared,
	}, c.keys)
	if err != nil {
		return refusef("", "account %q: %w", a.name, err)
	}
	return nil
}

// gateConfig returns the gate of an account.
func gateConfig(a *account, store *transport.Store, log *slog.Logger) transport.GateConfig {
	return transport.GateConfig{
		Limit: a.limit.Calls, Window: a.limit.Window, Share: a.share, MaxInFlight: a.conf.Keys.atOnce(), DailyCalls: a.conf.DailyCalls, Store: store, Log: log,
	}
}

// group finds the organisations of the accounts, and refuses those of one organisation
// whose limits differ: all calls of an organisation are counted together.
func (cs *connections) group(state string) error {
	known := make(map[string]*organisation)
	for _, c := range cs.accounts {
		a, folder := c.account, ""
		switch {
		case c.place != "":
			folder = filepath.Join(state, transport.OrganisationName(a.conf.CRM, a.host, c.place))
		case state != "":
			folder = filepath.Join(state, a.state)
		}
		org := known[folder]
		if org == nil || folder == "" {
			org = &organisation{folder: folder}
			known[folder] = org
			cs.organisations = append(cs.organisations, org)
		}
		c.org, org.members = org, append(org.members, c)
		if other := org.members[0].account; gateConfig(a, nil, nil) != gateConfig(other, nil, nil) {
			return refusef("Give them the same limit, share, daily_calls and max_in_flight.",
				"accounts %q and %q work in one organisation at %s, whose calls are counted together, and have different limits: %s and %s",
				other.name, a.name, a.host, limitOf(other), limitOf(a))
		}
	}
	slices.SortFunc(cs.organisations, func(a, b *organisation) int { return cmp.Compare(a.folder, b.folder) })
	return nil
}

// limitOf tells the limit of an account.
func limitOf(a *account) string {
	words := []string{fmt.Sprintf("%d/%s", a.limit.Calls, a.limit.Window), fmt.Sprintf("share %g", a.share)}
	if a.conf.DailyCalls > 0 {
		words = append(words, fmt.Sprintf("%d a day", a.conf.DailyCalls))
	}
	if n := a.conf.Keys.atOnce(); n > 0 {
		words = append(words, fmt.Sprintf("%d at once", n))
	}
	return strings.Join(words, ", ")
}

// open takes the organisation's lock and opens its gate, which takes over the calls that
// were made before it was known.
func (org *organisation) open(ctx context.Context, o connectOptions) (err error) {
	first := org.members[0]
	switch {
	case org.folder != "" && first.place == "": // what its key holds is all there is
		org.lock, org.store, org.gate = first.lock, first.keys, first.first
		first.lock, first.first = nil, nil
		return nil
	case org.folder != "":
		if org.store, err = openState(first.account, org.folder); err != nil {
			return err
		}
		if org.lock, err = lockState(ctx, first.account, org.folder, o); err != nil {
			return err
		}
	}
	if org.gate, err = transport.NewGate(gateConfig(first.account, org.store, o.log)); err != nil {
		return fmt.Errorf("account %q: %w", first.account.name, err)
	}
	for _, c := range org.members {
		if c.first == nil {
			continue
		}
		c.lock.remove = true // it has served its purpose
		err := org.gate.Adopt(c.first)
		if err = errors.Join(err, c.keys.ForgetCalls(), c.lock.release()); err != nil {
			return refusef(stateHint, "account %q: %w", c.account.name, err)
		}
		c.first, c.lock = nil, nil
	}
	return nil
}

// join gives the account a provider that sends through the organisation's gate.
func (c *connection) join(o connectOptions, pool *transport.Pool) error {
	if c.provider == nil || c.place != "" {
		if err := c.connect(o, pool, c.org.gate, c.org.store); err != nil {
			return err
		}
	}
	if c.keys != nil {
		c.provider = &identified{Provider: c.provider, c: c}
	}
	return nil
}

// identified is the provider of an account whose organisation is known, or will not be.
type identified struct {
	crm.Provider
	c *connection
}

// Identify tells what was found out already. Later on, keys of another organisation than
// before end the account: its gate and its lock are those of the one before.
func (m *identified) Identify(ctx context.Context) (crm.Identity, error) {
	c := m.c
	if c.asked {
		return c.identity, c.err
	}
	id, err := m.Provider.Identify(ctx)
	if err == nil && id.Org != c.place {
		c.keys.Moved()
		return crm.Identity{}, &crm.AccountError{
			Code: crm.EndKeys, Err: errors.New("the keys belong to another organisation than they did before"),
			Hint: "Run again: from now on they are taken for those of the other one.",
		}
	}
	return id, err
}

// rest closes the network connections that no call uses.
func (cs *connections) rest() {
	if cs != nil {
		cs.pool.Rest()
	}
}

// close gives back gates and locks. Some of them may not have been opened.
func (cs *connections) close() error {
	cs.pool.Rest()
	var errs []error
	var locks []*lock
	give := func(gate *transport.Gate, l *lock) {
		if gate != nil {
			errs = append(errs, gate.Close())
		}
		if l != nil {
			locks = append(locks, l)
		}
	}
	for _, c := range cs.accounts {
		give(c.first, c.lock)
	}
	for _, org := range cs.organisations {
		give(org.gate, org.lock)
	}
	for _, l := range slices.Backward(locks) {
		errs = append(errs, l.release())
	}
	return errors.Join(errs...)
}
