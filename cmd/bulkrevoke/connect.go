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
	claims        *claims // nil without a database
}

// connection is an account that is connected.
type connection struct {
	account  *account
	org      *organisation
	provider crm.Provider // nil where there is a finder
	finder   crm.Finder   // nil where there is a provider

	keys  *transport.Store          // of the account's key; nil without state
	loose bool                      // its organisation is not known, or calls with it are not counted there yet
	lock  *lock                     // of the key, until the organisation has its own; nil without
	first *transport.Gate           // of the calls before the organisation was known; nil without
	place string                    // the organisation's id, "" while it is not known
	moved func(ctx context.Context) // has the database forget the organisation; nil without one

	asked    bool // the CRM was asked whose keys these are, and said
	identity crm.Identity
	err      error
}

// organisation is what all accounts of one organisation on one host have in common.
type organisation struct {
	members []*connection
	name    string // what tells it apart, "" without state and without a database
	folder  string // of its state, "" without state
	lock    *lock  // nil without state, and with a database
	store   *transport.Store
	gate    *transport.Gate
}

// connectOptions say how to connect accounts.
type connectOptions struct {
	find      bool      // with finders, which can change nothing, and not with providers
	state     string    // folder of all state; "" keeps none and takes no lock
	db        *database // claims take the place of locks and stamps; nil without
	wait      time.Duration
	holder    holder
	log       *slog.Logger
	userAgent string
	atOnce    int  // calls under way at one time, over all accounts
	afresh    bool // ask whose keys the accounts have, and put the keys to the test, whatever is remembered
}

const (
	// mostAsked is how many CRMs are asked at one time whose keys an account has.
	mostAsked = 256
	// mostOpened is of how many accounts the state is opened at one time. A folder with four
	// files took 2.0 ms one after the other and 0.8 ms side by side (2026-11, two cores).
	// Whoever waits for the disk is a thread.
	mostOpened = 8
)

// sideBySide calls f with the numbers below n, some of them at one time. The error is that
// of the lowest number.
func sideBySide(n, atOnce int, f func(i int) error) error {
	errs := make([]error, n)
	places := make(chan struct{}, atOnce)
	var group sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		group.Go(func() {
			errs[i] = f(i)
			<-places
		})
	}
	group.Wait()
	return cmp.Or(errs...)
}

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
	if o.db != nil {
		return cs, cs.claim(ctx, o)
	}
	if o.state != "" {
		if err := cs.lockKeys(ctx, o); err != nil {
			return cs, err
		}
		if err := cs.findOrganisations(ctx, o); err != nil {
			return cs, err
		}
	}
	if err := cs.group(o.state); err != nil {
		return cs, err
	}
	if err := cs.lockOrganisations(ctx, o); err != nil {
		return cs, err
	}
	return cs, sideBySide(len(cs.organisations), mostOpened, func(i int) error { return cs.organisations[i].open(o, cs.pool) })
}

// lockKeys opens what is kept of the accounts' keys. A key whose organisation is not known,
// or calls with which stand nowhere else yet, is locked.
//
// Locks are taken in the same order everywhere, these and then those of organisations, so
// that two runs that wait do not wait for each other. Only what is not waited for is done
// side by side.
func (cs *connections) lockKeys(ctx context.Context, o connectOptions) error {
	err := sideBySide(len(cs.accounts), mostOpened, func(i int) (err error) {
		c := cs.accounts[i]
		if c.keys, err = openState(c.account, filepath.Join(o.state, c.account.state)); err == nil {
			c.place = c.keys.Organisation()
			c.loose = c.place == "" || c.keys.HasCalls()
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, c := range slices.SortedFunc(slices.Values(cs.accounts), func(a, b *connection) int { return cmp.Compare(a.account.state, b.account.state) }) {
		if !c.loose {
			continue
		}
		if c.lock, err = lockState(ctx, c.account, filepath.Join(o.state, c.account.state), o); err != nil {
			return err
		}
	}
	return nil
}

// lockOrganisations opens the state of the organisations, and locks it in order.
func (cs *connections) lockOrganisations(ctx context.Context, o connectOptions) error {
	err := sideBySide(len(cs.organisations), mostOpened, func(i int) (err error) {
		if org := cs.organisations[i]; org.folder != "" && org.members[0].place != "" {
			org.store, err = openState(org.members[0].account, org.folder)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, org := range cs.organisations {
		if org.store == nil { // there is none, or what its key holds is all there is
			continue
		}
		if org.lock, err = lockState(ctx, org.members[0].account, org.folder, o); err != nil {
			return err
		}
	}
	return nil
}

func openState(a *account, dir string) (*transport.Store, error) {
	store, err := transport.OpenStore(dir)
	if err != nil {
		return nil, refusef(stateHint, "account %q: the folder for state, %s, takes no files: %w", a.name, dir, report.Reason(err))
	}
	return store, nil
}

// lockState takes the lock of a folder of state. A run that may wait for the next one notes
// at once that it holds it; others when they have all.
func lockState(ctx context.Context, a *account, dir string, o connectOptions) (*lock, error) {
	l := lockOptions{what: fmt.Sprintf("account %q", a.name), path: filepath.Join(dir, "lock"), wait: o.wait, hint: roomHint}
	if o.wait > 0 {
		l.holder = o.holder
	}
	return acquireLock(ctx, l)
}

// newGate opens the gate of an account, with the calls that the store knows of.
func newGate(a *account, store *transport.Store, log *slog.Logger) (*transport.Gate, error) {
	gate, err := transport.NewGate(gateConfig(a, store, log))
	if err != nil {
		return nil, refusef(roomHint, "account %q: %w", a.name, err)
	}
	return gate, nil
}

// roomHint is what to do where files of state can not be written.
const roomHint = "Make room there. " + stateHint

// findOrganisations asks the CRMs, side by side, where the organisation of a key is not
// known.
func (cs *connections) findOrganisations(ctx context.Context, o connectOptions) error {
	return sideBySide(len(cs.accounts), mostAsked, func(i int) error {
		if c := cs.accounts[i]; c.loose {
			return c.findOrganisation(ctx, o, cs.pool)
		}
		return nil
	})
}

func (c *connection) findOrganisation(ctx context.Context, o connectOptions, pool *transport.Pool) (err error) {
	if c.first == nil {
		if c.first, err = newGate(c.account, c.keys, o.log); err != nil {
			return err
		}
	}
	if c.place != "" {
		return nil
	}
	if err := c.connect(o, pool, c.first, nil); err != nil {
		return err
	}
	c.identity, c.err = c.identify(ctx)
	if _, ended := errors.AsType[*crm.AccountError](c.err); c.err != nil && !ended {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("account %q: %w", c.account.name, c.err)
	}
	c.asked, c.place = true, c.identity.Org
	return nil
}

// connect makes the account's provider or finder, which sends through the gate.
func (c *connection) connect(o connectOptions, pool *transport.Pool, gate *transport.Gate, shared *transport.Store) (err error) {
	a := c.account
	if o.afresh && !c.asked {
		c.keys.AskAgain()
		if a.askAgain != nil {
			a.askAgain(c.keys)
		}
	}
	cfg := transport.Config{
		Gate: gate, CAFile: a.conf.CAFile, Pool: pool, Log: o.log.With("account", a.name), UserAgent: o.userAgent, Shared: shared,
	}
	if o.find {
		c.finder, err = a.find(cfg, c.keys)
	} else {
		c.provider, err = a.connect(cfg, c.keys)
	}
	if err != nil {
		return refusef("", "account %q: %w", a.name, err)
	}
	return nil
}

// identify asks the CRM whose keys the account has.
func (c *connection) identify(ctx context.Context) (crm.Identity, error) {
	if c.finder != nil {
		return c.finder.Identify(ctx)
	}
	return c.provider.Identify(ctx)
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
		a, name := c.account, ""
		switch {
		case c.place != "":
			name = transport.OrganisationName(a.conf.CRM, a.host, c.place)
		case state != "" || cs.claims != nil:
			name = a.state
		}
		org := known[name]
		if org == nil || name == "" {
			org = &organisation{name: name}
			if state != "" {
				org.folder = filepath.Join(state, name)
			}
			known[name] = org
			cs.organisations = append(cs.organisations, org)
		}
		c.org, org.members = org, append(org.members, c)
		if other := org.members[0].account; limitOf(a) != limitOf(other) {
			return refusef("Give them the same limit, share, daily_calls and max_in_flight.",
				"accounts %q and %q work in one organisation at %s, whose calls are counted together, and have different limits: %s and %s",
				other.name, a.name, a.host, limitOf(other), limitOf(a))
		}
	}
	slices.SortFunc(cs.organisations, func(a, b *organisation) int { return cmp.Compare(a.name, b.name) })
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

// open opens the organisation's gate, which takes over the calls that were made before it
// was known, and has its accounts send through it.
func (org *organisation) open(o connectOptions, pool *transport.Pool) (err error) {
	first := org.members[0]
	if org.folder != "" && org.store == nil { // what its key holds is all there is
		org.lock, org.store, org.gate = first.lock, first.keys, first.first
		first.lock, first.first = nil, nil
	}
	if org.lock != nil && o.wait <= 0 {
		if err := org.lock.note(o.holder, roomHint); err != nil {
			return err
		}
	}
	if org.gate == nil {
		if err := org.openGate(o); err != nil {
			return err
		}
	}
	for _, c := range org.members {
		if err := c.join(o, pool); err != nil {
			return err
		}
	}
	return nil
}

// openGate opens the gate of an organisation that is known. Where no calls of it are
// counted yet, the gate of the first key becomes its gate.
func (org *organisation) openGate(o connectOptions) (err error) {
	first := slices.IndexFunc(org.members, func(c *connection) bool { return c.first != nil })
	if first >= 0 && !org.store.HasCalls() {
		org.gate = org.members[first].first
	} else if org.gate, err = newGate(org.members[0].account, org.store, o.log); err != nil {
		return err
	}
	for _, c := range org.members {
		if c.first == nil {
			continue
		}
		c.lock.remove = true // it has served its purpose
		if c.first == org.gate {
			err = org.gate.MoveTo(org.store)
		} else {
			err = org.gate.Merge(c.first)
		}
		if err == nil { // else they stand where they stood
			err = errors.Join(c.keys.ForgetCalls(), c.lock.release())
		}
		if err != nil {
			return refusef(stateHint, "account %q: %w", c.account.name, err)
		}
		c.first, c.lock = nil, nil
	}
	return nil
}

// join gives the account a provider, or a finder, that sends through the organisation's gate.
func (c *connection) join(o connectOptions, pool *transport.Pool) error {
	if c.provider == nil && c.finder == nil || c.place != "" {
		if err := c.connect(o, pool, c.org.gate, c.org.store); err != nil {
			return err
		}
	}
	switch {
	case c.keys == nil:
	case c.finder != nil:
		c.finder = &identifiedFinder{Finder: c.finder, c: c}
	default:
		c.provider = &identified{Provider: c.provider, c: c}
	}
	return nil
}

// identified is the provider of an account whose organisation is known, or will not be, and
// identifiedFinder its finder.
type identified struct {
	crm.Provider
	c *connection
}

type identifiedFinder struct {
	crm.Finder
	c *connection
}

// Identify implements crm.Provider.
func (m *identified) Identify(ctx context.Context) (crm.Identity, error) {
	return m.c.identified(ctx, m.Provider.Identify)
}

// Identify implements crm.Finder.
func (m *identifiedFinder) Identify(ctx context.Context) (crm.Identity, error) {
	return m.c.identified(ctx, m.Finder.Identify)
}

// identified tells what was found out already. Later on, keys of another organisation than
// before end the account: its gate and its lock are those of the one before.
func (c *connection) identified(ctx context.Context, ask func(context.Context) (crm.Identity, error)) (crm.Identity, error) {
	if c.asked {
		return c.identity, c.err
	}
	id, err := ask(ctx)
	if err == nil && id.Org != c.place {
		c.keys.Moved()
		if c.moved != nil {
			c.moved(ctx)
		}
		return crm.Identity{}, &crm.AccountError{
			Code: crm.EndKeys, Err: errors.New("the keys belong to another organisation than they did before"),
			Hint: "Run again: from now on they are taken for those of the other one.",
		}
	}
	return id, err
}

// ask asks the CRM whose keys the account has, whatever was known of their organisation.
func (c *connection) ask(ctx context.Context) (crm.Identity, error) {
	if c.asked || c.err != nil {
		return c.identity, c.err
	}
	if known, ok := c.provider.(*identified); ok {
		return known.Provider.Identify(ctx)
	}
	return c.provider.Identify(ctx)
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
	return errors.Join(append(errs, cs.claims.release())...)
}
