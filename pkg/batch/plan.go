package batch

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// plan sums up what the staged sheet asks for and what of it is still to be done.
func (b *Batch) plan(ctx context.Context, m matched) (*Plan, error) {
	p := &Plan{
		Pairs: m.pairs, TakenAgain: m.taken, GivenAgain: m.given, Unstated: b.unstated, Digest: m.digest, Notes: b.notes(), Worksheet: b.worksheet,
	}
	tallies, err := b.stage.Counts(ctx)
	if err != nil {
		return nil, err
	}
	b.tallies = tallies
	groups := make(map[PlanGroup]*PlanGroup)
	for _, acc := range b.order {
		acc.planned = backlog{workers: acc.Workers}
	}
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
			b.costs(t)
		}
	}
	for _, g := range groups {
		p.Groups = append(p.Groups, *g)
	}
	slices.SortFunc(p.Groups, func(x, y PlanGroup) int {
		return cmp.Or(cmp.Compare(x.Account, y.Account), cmp.Compare(x.Action, y.Action), cmp.Compare(x.Object, y.Object))
	})
	if p.ToSend+p.Asked > 0 {
		if err := b.savings(ctx); err != nil {
			return nil, err
		}
	}
	if b.opts.Describe {
		if p.People, p.Records, err = b.stage.Reach(ctx); err != nil {
			return nil, err
		}
	}
	p.Accounts = b.planAccounts()
	return p, nil
}

// notes returns what the plan says of the sheet's cells.
func (b *Batch) notes() []string {
	notes := append([]string{}, b.worksheet.Notes()...)
	if n := b.rounded.note(b.opts.AllowRoundedIDs); n != "" {
		notes = append(notes, n)
	}
	return append(notes, b.objects.notes...)
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

// costs adds what operations of one kind cost if each has a key of its own.
func (b *Batch) costs(t ledger.Tally) {
	acc := b.accounts[t.Account]
	switch {
	case t.Turn == ledger.TurnAsk:
		acc.planned.changes += float64(t.Rows)
	case sends(t):
		change, look := b.cost(acc, crm.Operation{Action: t.Action, Object: t.Object}, 1)
		acc.planned.changes += float64(t.Rows) * change
		acc.planned.looks += float64(t.Rows) * look
	}
}

// savings takes off what is saved where operations share a key: those go together that
// have the same place among the operations on their target, of which each target is
// taken to have equally many, and one look asks about all that have a ticket.
func (b *Batch) savings(ctx context.Context) error {
	for k, err := range b.stage.Shared(ctx) {
		if err != nil {
			return err
		}
		acc := b.accounts[k.Account]
		acc.planned.changes -= float64(k.Asked - k.Tickets)
		change, look := b.cost(acc, k.Op, 1)
		acc.planned.changes -= float64(k.Ops) * change
		acc.planned.looks -= float64(k.Ops) * look
		for left := k.Ops; left > 0; left -= k.Targets {
			change, look := b.cost(acc, k.Op, min(left, k.Targets))
			acc.planned.changes += change
			acc.planned.looks += look
		}
	}
	return nil
}

// cost is what n operations such as op cost that have one key and go together: in calls
// until the CRM has answered, and in calls to confirm it afterwards.
func (b *Batch) cost(acc *account, op crm.Operation, n int64) (change, look float64) {
	if n <= 0 {
		return 0, 0
	}
	c, ok := acc.Provider.(crm.Coster)
	switch {
	case ok && b.opts.ConfirmOff:
		return c.Cost(op, n, false), 0
	case ok:
		change = c.Cost(op, n, false)
		return change, c.Cost(op, n, true) - change
	case b.opts.ConfirmOff:
		return float64(n), 0
	}
	return float64(n), float64(n)
}

// planAccounts says what each account is going to be asked, what it was asked for
// this plan included, and how long its limit makes that take.
func (b *Batch) planAccounts() []PlanAccount {
	var accounts []PlanAccount
	for _, acc := range b.order {
		if acc.rows == 0 {
			continue
		}
		pa := PlanAccount{Account: acc.Name, CRM: acc.CRM, Host: acc.Host, Calls: int64(wholeCalls(acc.planned.changes + acc.planned.looks)), Ended: acc.end()}
		if m, ok := acc.Provider.(crm.Meter); ok {
			pa.Calls += m.Usage().Calls
		}
		if acc.Limit > 0 {
			windows := max(0, (pa.Calls-1)/int64(acc.Limit))
			pa.Duration = time.Duration(windows) * acc.Window
		}
		accounts = append(accounts, pa)
	}
	return accounts
}
