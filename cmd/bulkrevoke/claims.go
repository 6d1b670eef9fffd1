package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/fleet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// claims are the right to call for accounts, where several hosts work: each organisation, and
// each key whose organisation is not known yet, is one host's at a time.
type claims struct {
	host  *fleet.Host
	of    map[string]*fleet.Claims   // what each key was claimed with
	keys  map[string]string          // of each account, by its name: that of its organisation
	gates map[string]*transport.Gate // of keys; nil where its calls count with an organisation's
	quiet time.Duration              // for how long nothing might be sent to all of them, when they were taken
	from  map[string]time.Time       // when each of those keys may be called for
	kept  sync.WaitGroup             // who saves the counts of the day
	stop  context.CancelFunc
}

// claim is connectAccounts where claims in a database take the place of locks and stamps. What
// is remembered of keys (tokens, whose they are) stays in this host's folder of state.
func (cs *connections) claim(ctx context.Context, o connectOptions) error {
	host, err := o.db.join(ctx)
	if err != nil {
		return databaseError(ctx, err)
	}
	cs.claims = &claims{host: host, of: map[string]*fleet.Claims{}, keys: map[string]string{}, gates: map[string]*transport.Gate{}, from: map[string]time.Time{}}
	if err := cs.claimKeys(ctx, o); err != nil {
		return err
	}
	if err := cs.group(o.state); err != nil {
		return err
	}
	what := map[string]string{}
	for _, org := range cs.organisations {
		if cs.claims.of[org.name] == nil {
			what[org.name] = accountTitle(org.members[0].account)
		}
	}
	if err := cs.claims.take(ctx, o, what); err != nil {
		return err
	}
	err = sideBySide(len(cs.organisations), mostOpened, func(i int) (err error) {
		org := cs.organisations[i]
		if org.folder != "" {
			org.store, err = openState(org.members[0].account, org.folder)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, org := range cs.organisations {
		if err := cs.openClaimed(ctx, org, o); err != nil {
			return err
		}
	}
	return cs.claims.keep(ctx, cs.organisations)
}

// claimKeys finds the organisations of the keys. Each key that nobody has asked about yet is
// claimed for it.
func (cs *connections) claimKeys(ctx context.Context, o connectOptions) error {
	var names []string
	for _, c := range cs.accounts {
		names = append(names, c.account.state)
	}
	places, err := o.db.fleet.Places(ctx, names)
	if err != nil {
		return err
	}
	err = sideBySide(len(cs.accounts), mostOpened, func(i int) (err error) {
		c := cs.accounts[i]
		c.place = places[c.account.state]
		c.moved = func(ctx context.Context) { // else the next run finds the same
			if err := o.db.fleet.ForgetPlace(ctx, c.account.state); err != nil {
				o.log.Warn("the account's keys belong to another organisation now, and the database could not be told", "account", c.account.name, "error", err)
			}
		}
		c.loose = c.place == ""
		if o.state != "" {
			c.keys, err = openState(c.account, filepath.Join(o.state, c.account.state))
		}
		return err
	})
	if err != nil {
		return err
	}
	what := map[string]string{}
	for _, c := range cs.accounts {
		if c.loose {
			what[c.account.state] = accountTitle(c.account)
		}
	}
	if err := cs.claims.take(ctx, o, what); err != nil {
		return err
	}
	for _, c := range cs.accounts {
		if c.loose {
			if c.first, err = cs.claims.gate(c.account, c.account.state, o); err != nil {
				return err
			}
		}
	}
	if err := cs.findOrganisations(ctx, o); err != nil {
		return err
	}
	return sideBySide(len(cs.accounts), mostOpened, func(i int) error {
		c := cs.accounts[i]
		if !c.loose || c.place == "" {
			return nil
		}
		err := o.db.fleet.SetPlace(ctx, c.account.state, c.place)
		if _, other := errors.AsType[*fleet.PlaceError](err); other {
			return nil // another host was faster, and what it was told may be older
		}
		return err
	})
}

// openClaimed opens the gate of an organisation that is claimed. It takes over the calls that
// were made with its keys before it was known, whose claims are given back.
func (cs *connections) openClaimed(ctx context.Context, org *organisation, o connectOptions) (err error) {
	first := org.members[0]
	if first.place == "" {
		org.gate, first.first = first.first, nil
	} else if org.gate, err = cs.claims.gate(first.account, org.name, o); err != nil {
		return err
	}
	for _, c := range org.members {
		cs.claims.keys[c.account.name] = org.name
		if c.first != nil {
			if err := org.gate.Merge(c.first); err != nil {
				return err
			}
			c.first = nil
			cs.claims.gates[c.account.state] = nil // its calls count with the organisation's
		}
		if err := c.join(o, cs.pool); err != nil {
			return err
		}
	}
	return nil
}

func accountTitle(a *account) string { return fmt.Sprintf("account %q", a.name) }

// take claims keys, all or none of them.
func (c *claims) take(ctx context.Context, o connectOptions, what map[string]string) error {
	if len(what) == 0 {
		return nil
	}
	var keys []string
	for key := range what {
		keys = append(keys, key)
	}
	taken, err := c.host.Claim(ctx, keys, fleet.ClaimOptions{Wait: o.wait, What: what, For: title(o.holder.Sheet)})
	if err != nil {
		return claimError(ctx, err)
	}
	for _, key := range keys {
		c.of[key] = taken
	}
	return nil
}

// gate opens the gate of a claimed key, with what the host that had it before has left. After
// one that did not say goodbye, all is quiet until nothing that it sent can count any more.
func (c *claims) gate(a *account, key string, o connectOptions) (*transport.Gate, error) {
	was := c.of[key].Get(key)
	cfg := gateConfig(a, nil, o.log)
	cfg.May = c.may
	cfg.Past = &transport.Past{Text: was.Past, Age: was.Age}
	if was.Unclean {
		cfg.Quiet = max(0, 2*cfg.Window-was.Ended)
		c.quiet = max(c.quiet, cfg.Quiet)
		c.from[key] = time.Now().Add(cfg.Quiet)
		cfg.Past.Missed = max(0, was.Age-was.Ended)
	}
	gate, err := transport.NewGate(cfg)
	if err != nil {
		return nil, refusef("", "account %q: %w", a.name, err)
	}
	c.gates[key] = gate
	return gate, nil
}

// may says whether this host may send. That it was taken for dead does not pass: whoever waits
// for it to pass would wait for ever.
func (c *claims) may() error {
	err := c.host.May()
	if errors.Is(err, fleet.ErrLost) {
		return &crm.AccountError{Code: crm.EndUnreachable, Err: errHostLost, Hint: "Run the same command again to go on where another host stops."}
	}
	return err
}

// saveEvery is how often the calls of the day are saved for whoever takes over from a host
// that dies. What may have come after counts as if the limit had been used up.
const saveEvery = 5 * time.Second

// keep saves the calls of the day of those accounts that have a bound of them, from now on
// until release.
func (c *claims) keep(ctx context.Context, organisations []*organisation) error {
	var bounded []string
	for _, org := range organisations {
		if org.members[0].account.conf.DailyCalls > 0 {
			bounded = append(bounded, org.name)
		}
	}
	if err := c.save(ctx, bounded); err != nil || bounded == nil {
		return err
	}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.kept.Go(func() {
		tick := time.NewTicker(saveEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = c.save(ctx, bounded) // more is counted as missed then
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

func (c *claims) save(ctx context.Context, keys []string) error {
	past := map[*fleet.Claims]map[string][]byte{}
	for _, key := range keys {
		of := c.of[key]
		if past[of] == nil {
			past[of] = map[string][]byte{}
		}
		past[of][key] = c.gates[key].Past()
	}
	var errs []error
	for of, texts := range past {
		errs = append(errs, of.Save(ctx, texts))
	}
	return errors.Join(errs...)
}

// release gives back what was claimed. The gates are closed: nothing more is sent.
func (c *claims) release() error {
	if c == nil {
		return nil
	}
	if c.stop != nil {
		c.stop()
		c.kept.Wait()
	}
	clean := map[*fleet.Claims]map[string][]byte{}
	untouched := map[*fleet.Claims][]string{}
	for key, of := range c.of {
		if clean[of] == nil {
			clean[of] = map[string][]byte{}
		}
		switch gate, opened := c.gates[key]; {
		case opened && gate == nil: // its calls count elsewhere
			clean[of][key] = nil
		case !opened || gate.Usage().Calls == 0 || time.Now().Before(c.from[key]): // all its calls were another gate's
			untouched[of] = append(untouched[of], key)
		default:
			clean[of][key] = gate.Past()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	var errs []error
	for of, past := range clean {
		errs = append(errs, unlessLost(of.Release(ctx, past, untouched[of]...)))
	}
	return errors.Join(errs...)
}

// mayWrite says, inside a transaction of the ledger, whether the accounts are still this host's.
func (cs *connections) mayWrite(ctx context.Context, count func(query string, args ...any) (int64, error), accounts []string) error {
	if cs == nil || len(accounts) == 0 {
		return nil
	}
	keys := map[*fleet.Claims][]string{}
	for _, name := range accounts {
		key := cs.claims.keys[name]
		of := cs.claims.of[key]
		keys[of] = append(keys[of], key)
	}
	for of, names := range keys {
		if err := of.Check(ctx, count, names); err != nil {
			return err
		}
	}
	return nil
}
