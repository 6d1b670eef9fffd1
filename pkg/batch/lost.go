package batch

import (
	"context"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// lookForBystanders looks, before anything is sent, whether those who lost access by an
// earlier run have it again.
func (b *Batch) lookForBystanders(ctx context.Context, acc *account) error {
	return b.eachLost(ctx, acc, func(o ledger.Lost, still []crm.Grant) error {
		return b.queue.StillLost(context.WithoutCancel(ctx), o, still)
	})
}

// eachLost looks at the operations of an account by which bystanders have lost access, and
// tells what of it is lost still. What no look shows is left out.
func (b *Batch) eachLost(ctx context.Context, acc *account, tell func(o ledger.Lost, still []crm.Grant) error) error {
	all, err := b.queue.Lost(ctx, acc.Name)
	if err != nil && ctx.Err() == nil {
		return err
	}
	for len(all) > 0 && ctx.Err() == nil && acc.end() == nil {
		key, n := acc.Rules.Key(all[0].Operation), 1
		for n < len(all) && acc.Rules.Key(all[n].Operation) == key {
			n++
		}
		items := make([]crm.Item, n)
		for i, o := range all[:n] {
			items[i] = crm.Item{Op: o.Operation, Bystanders: o.Grants}
		}
		outcomes, seen := acc.Provider.Confirm(ctx, items)
		if len(outcomes) != n {
			return errCount(acc.Name, len(outcomes), n)
		}
		for i, out := range outcomes {
			if out.Ended != nil && acc.setEnd(out.Ended) {
				b.log.Warn("account ended", "account", acc.Name, "code", out.Ended.Code, "error", out.Ended.Err)
			}
			if !seen.Looked {
				continue
			}
			for _, g := range out.Lost {
				b.log.Warn("a bystander lost the record and has not been given it back", "account", acc.Name, "line", all[i].Line,
					"record", all[i].Operation.Record, "kind", g.Kind, "id", g.ID, "access", g.Access.String())
			}
			if err := tell(all[i], out.Lost); err != nil {
				return err
			}
		}
		all = all[n:]
	}
	return nil
}
