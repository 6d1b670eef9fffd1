package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
)

const (
	// defaultShare leaves a fifth of an account's calls to its other integrations.
	defaultShare = 0.8
	// mostWorkers bounds the calls under way where the limit would allow more: beyond
	// it connections cost more than they bring.
	mostWorkers = 64
)

// account is one account on its way from the configuration to a provider.
type account struct {
	name    string
	kind    kind
	conf    accountConfig
	limit   limit
	share   float64
	workers int
	bad     error // why it can not be worked with: the endpoint is not there then
	endpoint
}

// refusal is the error that refuses what needs the account, nil if it is good.
func (a *account) refusal() error {
	if a.bad == nil {
		return nil
	}
	return refusef(hintFor(a.bad), "account %q: %w", a.name, a.bad)
}

// slots is how many calls may be under way or count in one window.
func (a *account) slots() int { return max(1, int(math.Floor(float64(a.limit.Calls)*a.share+1e-9))) }

// newAccounts makes the accounts of a configuration. One that can not be worked
// with, for want of a secret for one, refuses the sheets that name it; the account
// of rows that name none must be good.
func newAccounts(known kinds, cfg config, o *options, secrets secretSource) ([]*account, error) {
	accounts, err := allAccounts(known, cfg, o, secrets)
	if err != nil {
		return nil, err
	}
	name, err := defaultAccount(cfg, o.account)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		if a.name == name && a.bad != nil {
			return nil, a.refusal()
		}
	}
	return accounts, nil
}

// allAccounts makes the accounts of a configuration, good and bad. Two names for the same
// keys in one place are refused: nobody could keep the order of rows that give both.
func allAccounts(known kinds, cfg config, o *options, secrets secretSource) ([]*account, error) {
	var accounts []*account
	opened := map[string]*account{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Accounts)) {
		conf := cfg.Accounts[name]
		k, _ := known.named(conf.CRM)
		a, err := newAccount(k, name, conf, o)
		if err != nil {
			return nil, err
		}
		if a.endpoint, a.bad = conf.Keys.open(name, secrets); a.bad != nil {
			// It refuses the sheets that name it.
		} else if other := opened[a.state]; other != nil {
			return nil, refusef("Take one of them out of the configuration, and give the rows the other's name.",
				"accounts %q and %q have the same keys for %s", other.name, a.name, a.host)
		} else {
			opened[a.state] = a
		}
		accounts = append(accounts, a)
	}
	if len(accounts) == 0 {
		var sets []string
		for _, k := range known {
			sets = append(sets, and(k.variables()))
		}
		return nil, refusef(fmt.Sprintf("Write a %s, or set %s. With --sandbox none is needed.", configName, strings.Join(sets, ", or ")), "no account is configured")
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
func newAccount(k kind, name string, conf accountConfig, o *options) (*account, error) {
	a := &account{name: name, kind: k, conf: conf, limit: o.limit.limit, share: float64(o.share), workers: int(o.workers)}
	if a.limit.Calls == 0 {
		var err error
		if a.limit, err = parseLimit(cmp.Or(conf.Limit, k.limit)); err != nil {
			return nil, refusef("", "account %q: limit: %w", name, err)
		}
	}
	a.share = cmp.Or(a.share, conf.Share, defaultShare)
	inFlight := min(a.slots(), mostWorkers)
	if most := conf.Keys.atOnce(); most > 0 {
		inFlight = min(inFlight, most)
	}
	a.workers = cmp.Or(a.workers, conf.Workers, inFlight)
	return a, nil
}

// batchAccounts returns the accounts as the engine takes them.
func batchAccounts(accounts []*account) []batch.Account {
	var list []batch.Account
	for _, a := range accounts {
		list = append(list, batch.Account{
			Name: a.name, CRM: a.conf.CRM, Host: a.host, Rules: a.rules, Err: a.refusal(), Workers: a.workers,
			Limit: a.slots(), Window: a.limit.Window,
		})
	}
	return list
}
