package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

const (
	// defaultShare leaves a fifth of an account's calls to its other integrations.
	defaultShare = 0.8
	// mostWorkers bounds the calls under way where the limit would allow more: beyond
	// it connections cost more than they bring.
	mostWorkers = 64
	// zohoInFlight is how many calls at once Zoho's smaller editions take.
	zohoInFlight = 5
)

// account is one account on its way from the configuration to a provider that
// sends. Until it is connected its provider checks rows and nothing else.
type account struct {
	name     string
	conf     accountConfig
	host     string // what ledger and digest call the place
	limit    limit
	share    float64
	workers  int
	state    string       // name of its state folder; accounts that share one share a gate
	used     bool         // a valid row of the sheet names it
	same     *account     // the one of several names for the same keys that all rows go to; nil for itself
	provider crm.Provider // never nil once opened
	// connect gives the provider the gate that it sends through.
	connect func(tr transport.Config, store *transport.Store) error
	bad     error // why it can not be worked with; its provider refuses every row
}

// slots is how many calls may be under way or count in one window.
func (a *account) slots() int { return max(1, int(math.Floor(float64(a.limit.Calls)*a.share+1e-9))) }

// newAccounts makes the accounts of a configuration. One that can not be worked
// with, for want of a secret for one, refuses the sheets that name it; the account
// of rows that name none must be good.
func newAccounts(cfg config, o *options, secrets secretSource) ([]*account, error) {
	var accounts []*account
	for _, name := range slices.Sorted(maps.Keys(cfg.Accounts)) {
		a, err := newAccount(name, cfg.Accounts[name], o)
		if err != nil {
			return nil, err
		}
		if err := openProvider(a, secrets); err != nil {
			a.bad = err
			a.provider = &unusable{reason: err.Error()}
		}
		accounts = append(accounts, a)
	}
	if len(accounts) == 0 {
		return nil, refusef("Write a bulkrevoke.yaml, or set LEADSQUARED_HOST, LEADSQUARED_ACCESS_KEY and LEADSQUARED_SECRET_KEY, or ZOHO_DC, ZOHO_CLIENT_ID, ZOHO_CLIENT_SECRET and ZOHO_REFRESH_TOKEN. With --sandbox none is needed.",
			"no account is configured")
	}
	name, err := defaultAccount(cfg, o.account)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		if a.name == name && a.bad != nil {
			return nil, refusef(hintFor(a.bad), "account %q: %w", name, a.bad)
		}
	}
	return accounts, nil
}

// defaultAccount returns the account of rows that name none, "" if there is none.
func defaultAccount(cfg config, flag string) (string, error) {
	name := cmp.Or(flag, cfg.Default)
	switch {
	case name == "" && len(cfg.Accounts) == 1:
		return slices.Collect(maps.Keys(cfg.Accounts))[0], nil
	case name == "":
		return "", nil
	}
	found, reason := cfg.accountNamed(name)
	if reason != "" {
		return "", refusef("", "--account: %s", reason)
	}
	return found, nil
}

// accountNamed returns the account of that name, without regard to case where only that
// tells it from the others, or what is wrong with the name.
func (c config) accountNamed(name string) (found, reason string) {
	all := slices.Sorted(maps.Keys(c.Accounts))
	if slices.Contains(all, name) {
		return name, ""
	}
	near := slices.DeleteFunc(slices.Clone(all), func(other string) bool { return !strings.EqualFold(name, other) })
	if len(near) == 1 {
		return near[0], ""
	}
	return "", fmt.Sprintf("there is no account %q%s; the accounts are %s", name, didYouMean(name, all), strings.Join(all, ", "))
}

// newAccount fills in what flags and defaults say about an account.
func newAccount(name string, conf accountConfig, o *options) (*account, error) {
	a := &account{name: name, conf: conf, limit: o.limit.limit, share: float64(o.share), workers: int(o.workers)}
	if a.limit.Calls == 0 {
		text := conf.Limit
		if text == "" && conf.CRM == crmZoho {
			text = "10/1s"
		}
		var err error
		if a.limit, err = parseLimit(cmp.Or(text, "25/5s")); err != nil {
			return nil, refusef("", "account %q: limit: %w", name, err)
		}
	}
	a.share = cmp.Or(a.share, conf.Share, defaultShare)
	inFlight := min(a.slots(), mostWorkers)
	if conf.CRM == crmZoho {
		inFlight = min(inFlight, cmp.Or(conf.MaxInFlight, zohoInFlight))
	}
	a.workers = cmp.Or(a.workers, conf.Workers, inFlight)
	return a, nil
}

// openProvider gives an account its provider. It is the only place that knows
// which CRM has which.
func openProvider(a *account, secrets secretSource) error {
	switch a.conf.CRM {
	case crmLeadSquared:
		return openLeadSquared(a, secrets)
	case crmZoho:
		return openZoho(a, secrets)
	}
	return fmt.Errorf("crm: there is no provider for %s", a.conf.CRM)
}

// batchAccounts returns the accounts as the engine takes them.
func batchAccounts(accounts []*account) []batch.Account {
	var list []batch.Account
	for _, a := range accounts {
		one := batch.Account{
			Name: a.name, CRM: a.conf.CRM, Host: a.host, Provider: a.provider, Workers: a.workers,
			Limit: a.slots(), Window: a.limit.Window, Gate: a.state, Foreign: foreignObject(a),
		}
		if a.same != nil {
			one.SameAs = a.same.name
		}
		list = append(list, one)
	}
	return list
}

// checkNamed refuses a sheet some row of which names an account that can not be
// worked with: what is wrong is the configuration, and no row.
func checkNamed(accounts []*account) error {
	for _, a := range accounts {
		if u, ok := a.provider.(*unusable); ok && u.named {
			return refusef(hintFor(a.bad), "account %q: %w", a.name, a.bad)
		}
	}
	return nil
}

// joinNames has the rows of all names for the same keys go to one of these: the one
// that the ledger knows already, else the default account, else the first by name.
// Two that it knows, from when they had keys of their own, stay two.
func joinNames(accounts []*account, bound []ledger.Binding, byDefault string) {
	known := func(a *account) bool {
		return slices.ContainsFunc(bound, func(b ledger.Binding) bool { return b.Account == a.name && b.Host == a.host })
	}
	home := map[string]*account{}
	for _, a := range accounts {
		if a.bad != nil {
			continue
		}
		h := home[a.state]
		if h == nil || !known(h) && (known(a) || a.name == byDefault) {
			home[a.state] = a
		}
	}
	for _, a := range accounts {
		// A name that the ledger knows too keeps what it has there.
		if h := home[a.state]; h != nil && h != a && a.bad == nil && !known(a) {
			a.same = h
		}
	}
}

// checkGate returns a gate for a provider that only checks rows. Nothing is sent
// through it.
func checkGate() (*transport.Gate, error) {
	return transport.NewGate(transport.GateConfig{Limit: 1, Window: time.Second})
}

// unusable is the provider of an account that can not be worked with: it refuses
// every row, and remembers that there was one.
type unusable struct {
	reason string
	named  bool
}

var _ crm.Provider = (*unusable)(nil)

func (u *unusable) Check(op crm.Operation) (crm.Operation, error) {
	u.named = true
	return op, &crm.FieldError{Column: "account", Reason: u.reason}
}

func (u *unusable) Key(crm.Operation) string { return "" }

func (u *unusable) Do(_ context.Context, call crm.Call, _ crm.Journal) []crm.Outcome {
	outcomes := make([]crm.Outcome, len(call.Items))
	for i := range outcomes {
		outcomes[i] = crm.Outcome{Verdict: crm.NotSent, Ended: &crm.AccountError{Code: crm.EndKeys, Err: errors.New(u.reason)}}
	}
	return outcomes
}

// connections are what the accounts of a run hold open while it goes on.
type connections struct {
	locks []*lock
	gates []*transport.Gate
}

// connectOptions say how to connect accounts.
type connectOptions struct {
	state     string // folder of all state; "" keeps none and takes no lock
	wait      time.Duration
	holder    holder
	log       *slog.Logger
	userAgent string
}

// connectAccounts takes the locks of the accounts that the sheet uses and gives
// each its gate. The gate's stamps are read under the lock, so that they are those
// of the run before. Two names for one organisation share lock and gate.
//
// The caller closes the connections, also when there is an error.
func connectAccounts(ctx context.Context, accounts []*account, o connectOptions) (*connections, error) {
	conns := &connections{}
	groups := map[string][]*account{}
	for _, a := range accounts {
		if a.used {
			groups[a.state] = append(groups[a.state], a)
		}
	}
	for _, a := range accounts {
		if _, ok := groups[a.state]; ok && !a.used && slices.ContainsFunc(groups[a.state], func(b *account) bool { return b.same == a }) {
			groups[a.state] = append(groups[a.state], a) // it does the work, at the pace of those that are named
		}
	}
	// The same order everywhere, so that two runs that wait do not wait for each
	// other.
	for _, state := range slices.Sorted(maps.Keys(groups)) {
		if err := conns.connect(ctx, groups[state], o); err != nil {
			return conns, err
		}
	}
	return conns, nil
}

// connect connects the accounts of one organisation.
func (c *connections) connect(ctx context.Context, group []*account, o connectOptions) error {
	var store *transport.Store
	if o.state != "" {
		dir := filepath.Join(o.state, group[0].state)
		var err error
		if store, err = transport.OpenStore(dir); err != nil {
			return refusef(stateHint, "account %q: the folder for state, %s, takes no files: %w", group[0].name, dir, report.Reason(err))
		}
		l, err := acquireLock(ctx, lockOptions{
			what: fmt.Sprintf("account %q", group[0].name), path: filepath.Join(dir, "lock"), wait: o.wait, holder: o.holder,
			hint: "Make room there. " + stateHint,
		})
		if err != nil {
			return err
		}
		c.locks = append(c.locks, l)
	}
	gate, err := transport.NewGate(gateConfig(group, store, o.log))
	if err != nil {
		return fmt.Errorf("account %q: %w", group[0].name, err)
	}
	c.gates = append(c.gates, gate)
	for _, a := range group {
		tr := transport.Config{Gate: gate, CAFile: a.conf.CAFile, Log: o.log.With("account", a.name), UserAgent: o.userAgent}
		if err := a.connect(tr, store); err != nil {
			return refusef("", "account %q: %w", a.name, err)
		}
	}
	return nil
}

// gateConfig returns the gate of accounts that share one: the slowest of those that
// the sheet names says how fast it is.
func gateConfig(group []*account, store *transport.Store, log *slog.Logger) transport.GateConfig {
	group = slices.DeleteFunc(slices.Clone(group), func(a *account) bool { return !a.used })
	slowest := slices.MinFunc(group, func(a, b *account) int {
		return cmp.Compare(float64(a.slots())/a.limit.Window.Seconds(), float64(b.slots())/b.limit.Window.Seconds())
	})
	cfg := transport.GateConfig{
		Limit: slowest.limit.Calls, Window: slowest.limit.Window, Share: slowest.share, Store: store, Log: log,
	}
	for _, a := range group {
		if a.conf.CRM == crmZoho {
			cfg.MaxInFlight = lowest(cfg.MaxInFlight, cmp.Or(a.conf.MaxInFlight, zohoInFlight))
		}
		cfg.DailyCalls = lowest(cfg.DailyCalls, a.conf.DailyCalls)
	}
	return cfg
}

// lowest returns the lower of two bounds, 0 being none.
func lowest(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// rest closes the connections that no call uses.
func (c *connections) rest() {
	for _, g := range c.gates {
		g.Rest()
	}
}

// close gives back gates and locks.
func (c *connections) close() error {
	var errs []error
	for _, g := range c.gates {
		errs = append(errs, g.Close())
	}
	for _, l := range slices.Backward(c.locks) {
		errs = append(errs, l.release())
	}
	c.gates, c.locks = nil, nil
	return errors.Join(errs...)
}
