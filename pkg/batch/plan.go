package batch

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// plan sums up what the imported sheet asks for and what of it is still to be done.
func (b *Batch) plan(ctx context.Context, m matched) (*Plan, error) {
	p := &Plan{
		NotDue: m.dates.notDue, DueDays: m.dates.days, DueLater: m.dates.later, Overdue: m.dates.overdue, ClockHeld: m.dates.clock,
		Pairs: m.pairs, TakenAgain: m.taken, GivenAgain: m.given, Unstated: b.unstated, Digest: m.digest, Notes: b.notes(), Worksheet: b.worksheet,
	}
	if !m.dates.oldest.IsZero() {
		p.OldestDue = new(m.dates.oldest.UTC())
	}
	counts, err := b.importing.Counts(ctx)
	if err != nil {
		return nil, err
	}
	b.counted = counts
	groups := make(map[PlanGroup]*PlanGroup)
	for _, acc := range b.order {
		acc.planned = backlog{workers: acc.Workers}
	}
	for _, t := range counts {
		p.count(t, b.opts.ConfirmOff)
		if t.Invalid || t.Status == crm.Unavailable {
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
		if !t.Member {
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
		if p.People, p.Records, err = b.importing.Reach(ctx); err != nil {
			return nil, err
		}
	}
	p.Unavailable -= p.ClockHeld
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
func sends(t ledger.Count) bool { return t.Turn == ledger.TurnNormal || t.Turn == ledger.TurnLate }

func (p *Plan) count(t ledger.Count, acceptedIsDone bool) {
	p.Rows += t.Rows
	switch {
	case t.Invalid:
		p.Invalid += t.Rows
		return
	case t.Status == crm.Unavailable:
		p.Unavailable += t.Rows
		return
	case t.Status == crm.NotDue: // counted by their dates
		return
	case t.Action == crm.Keep:
		p.Kept += t.Rows
		return
	case sends(t):
		p.ToSend += t.Rows
		if t.Turn == ledger.TurnLate {
			p.Retried += t.Rows
		}
		if t.Member {
			p.Joined += t.Rows
		}
	case t.Turn == ledger.TurnAsk, t.Status == crm.Accepted && !acceptedIsDone:
		p.Asked += t.Rows
	case t.Status == crm.Uncertain, t.Status == crm.Sent:
		p.Waiting += t.Rows
	default:
		p.Done += t.Rows
	}
	if sends(t) && t.Object == crm.Lead && t.Action == crm.Revoke {
		p.Contexts += t.Rows
	}
}

// costs adds what operations of one kind cost if each has a key of its own.
func (b *Batch) costs(t ledger.Count) {
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

// savings takes off what is saved where operations share a record: those go together that
// have the same place among the operations on their target, of which each target is
// taken to have equally many, and one look asks about all that have a ticket.
func (b *Batch) savings(ctx context.Context) error {
	shared, err := b.importing.Shared(ctx)
	for _, k := range shared {
		acc, records := b.accounts[k.Account], float64(k.Records)
		acc.planned.changes -= records * float64(k.Asked-k.Tickets)
		change, look := b.cost(acc, k.Op, 1)
		acc.planned.changes -= records * float64(k.Ops) * change
		acc.planned.looks -= records * float64(k.Ops) * look
		for left := k.Ops; left > 0; left -= k.Targets {
			change, look := b.cost(acc, k.Op, min(left, k.Targets))
			acc.planned.changes += records * change
			acc.planned.looks += records * look
		}
	}
	return err
}

// cost is what n operations such as op cost that have one key and go together: in calls
// until the CRM has answered, and in calls to confirm it afterwards.
func (b *Batch) cost(acc *account, op crm.Operation, n int64) (change, look float64) {
	if n <= 0 {
		return 0, 0
	}
	change = acc.Rules.Cost(op, n, false)
	if b.opts.ConfirmOff {
		return change, 0
	}
	return change, acc.Rules.Cost(op, n, true) - change
}

// planAccounts says what each account is going to be asked, what it was asked for
// this plan included, and how long its limit makes that take, with the calls of the others
// that share it.
func (b *Batch) planAccounts() []PlanAccount {
	var accounts []PlanAccount
	shared := make(map[crm.Meter]int64)
	for _, acc := range b.order {
		if acc.rows > 0 && acc.Meter != nil {
			shared[acc.Meter] += int64(wholeCalls(acc.planned.changes+acc.planned.looks)) + b.usage(acc).Calls
		}
	}
	for _, acc := range b.order {
		if acc.rows == 0 {
			continue
		}
		pa := PlanAccount{Account: acc.Name, CRM: acc.CRM, Host: acc.Host, Calls: int64(wholeCalls(acc.planned.changes+acc.planned.looks)) + b.usage(acc).Calls, Ended: acc.end(), Clock: acc.clockError()}
		if acc.Limit > 0 {
			calls := max(pa.Calls, shared[acc.Meter])
			windows := max(0, (calls-1)/int64(acc.Limit))
			pa.Duration = time.Duration(windows) * acc.Window
		}
		accounts = append(accounts, pa)
	}
	return accounts
}
