package batch

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/plan"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// plan sums up what the staged sheet asks for and what of it is still to be done.
func (b *Batch) plan(ctx context.Context, pairs int64) (*Plan, error) {
	p := &Plan{Pairs: pairs, Unstated: b.unstated}
	tallies, err := b.stage.Counts(ctx)
	if err != nil {
		return nil, err
	}
	groups := make(map[PlanGroup]*PlanGroup)
	calls := make(map[string]int64)
	for _, t := range tallies {
		p.count(t)
		if t.Invalid {
			continue
		}
		name := PlanGroup{Account: t.Account, Action: t.Action.String(), Object: t.Object}
		g := groups[name]
		if g == nil {
			g = new(name)
			groups[name] = g
		}
		g.Rows += t.Rows
		if sends(t) {
			g.ToSend += t.Rows
		}
		if !t.Joined {
			calls[t.Account] += t.Rows * b.callsPerRow(t)
		}
	}
	for _, g := range groups {
		p.Groups = append(p.Groups, *g)
	}
	slices.SortFunc(p.Groups, func(x, y PlanGroup) int {
		return cmp.Or(cmp.Compare(x.Account, y.Account), cmp.Compare(x.Action, y.Action), cmp.Compare(x.Object, y.Object))
	})
	p.Accounts = b.planAccounts(calls)
	p.Digest, err = b.digest(ctx)
	return p, err
}

// sends reports whether rows of this kind are to be sent.
func sends(t ledger.Tally) bool { return t.Turn == ledger.TurnNormal || t.Turn == ledger.TurnLate }

func (p *Plan) count(t ledger.Tally) {
	p.Rows += t.Rows
	switch {
	case t.Invalid:
		p.Invalid += t.Rows
		return
	case sends(t):
		p.ToSend += t.Rows
		if t.Turn == ledger.TurnLate {
			p.Retried += t.Rows
		}
		if t.Joined {
			p.Joined += t.Rows
		}
	case t.Turn == ledger.TurnAsk:
		p.Asked += t.Rows
	case t.State == ledger.InDoubt:
		p.Waiting += t.Rows
	default:
		p.Done += t.Rows
	}
	if sends(t) && t.Object == crm.Lead && t.Action == crm.Revoke {
		p.Contexts += t.Rows
	}
}

// callsPerRow is what a row that goes by itself costs on LeadSquared: the change
// and the look that confirms it.
func (b *Batch) callsPerRow(t ledger.Tally) int64 {
	switch {
	case t.Turn == ledger.TurnNone:
		return 0
	case t.Turn == ledger.TurnAsk || b.opts.ConfirmOff:
		return 1
	}
	return 2
}

func (b *Batch) planAccounts(calls map[string]int64) []PlanAccount {
	var accounts []PlanAccount
	for _, acc := range b.order {
		if acc.rows == 0 {
			continue
		}
		pa := PlanAccount{Account: acc.Name, CRM: acc.CRM, Host: acc.Host, Calls: calls[acc.Name], Ended: acc.end()}
		if acc.Limit > 0 {
			windows := max(0, (pa.Calls-1)/int64(acc.Limit))
			pa.Duration = time.Duration(windows) * acc.Window
		}
		accounts = append(accounts, pa)
	}
	return accounts
}

// digest fingerprints every row of the sheet, in order, done or not.
func (b *Batch) digest(ctx context.Context) (string, error) {
	d := plan.NewDigest()
	for row, err := range b.stage.Rows(ctx) {
		if err != nil {
			return "", err
		}
		if row.Code != "" {
			d.AddInvalid(row.Account, row.Code)
			continue
		}
		d.Add(row.Account, b.accounts[row.Account].Host, row.Op)
	}
	return d.Sum(), nil
}
