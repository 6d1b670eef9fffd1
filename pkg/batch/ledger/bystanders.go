package ledger

import (
	"context"
	"fmt"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Bystanders returns, by operation, what was seen before the operation was first sent,
// but for the users whom it is about or whom other rows of its key are about that
// were sent since or are still to be: those whom nothing that the sheet asks for was
// to touch. Operations of which nobody looked before, whose change wrote nobody back,
// or on whose record everybody is to lose it, are left out. keyOf returns the key of an
// operation.
func (l *Ledger) Bystanders(ctx context.Context, ids []int64, keyOf func(crm.Operation) crm.Target) (map[int64][]crm.Grant, error) {
	type place struct {
		seen, account int64
		key           crm.Target
	}
	stay := make(map[int64][]crm.Grant)
	err := l.read(ctx, func(c *conn) error {
		known := make(map[place][]crm.Grant)
		for _, id := range ids {
			var p place
			var op crm.Operation
			if err := c.query("SELECT o.seen, o.account, o.user_id, "+operationOf("o")+" FROM op o WHERE o.id = ?", func(r row) (err error) {
				if op, err = r.operation(); err == nil {
					p = place{r.int64("seen"), r.int64("account"), keyOf(op)}
				}
				return err
			}, id); err != nil {
				return err
			}
			if p.seen == 0 || op.User == "" { // nobody looked, or everybody is to lose it
				continue
			}
			all, ok := known[p]
			if !ok {
				var err error
				if all, err = bystanders(c, p.seen, p.account, p.key); err != nil {
					return err
				}
				known[p] = all
			}
			own := func(g crm.Grant) bool { return g.Kind == "user" && g.ID == op.User }
			if slices.ContainsFunc(all, own) {
				all = slices.DeleteFunc(slices.Clone(all), own)
			}
			if len(all) > 0 {
				stay[id] = all
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read who is a bystander: %w", err)
	}
	return stay, nil
}

// bystanders is Bystanders for all operations of a key that what was seen goes for.
func bystanders(c *conn, ref, account int64, key crm.Target) ([]crm.Grant, error) {
	var seen Seen
	if err := c.query(seenQuery+"WHERE s.id = ?", func(r row) (err error) {
		seen, err = r.seen()
		return err
	}, ref); err != nil || !seen.Before.Rewrites {
		return nil, err
	}
	touched := make(map[string]bool)
	which, args := ofKey(key)
	if err := c.query("SELECT o.user_id FROM op o WHERE o.account = ? AND "+which+" AND (o.open = 1 OR o.seen >= ? OR o.sent_at >= ?)", func(r row) error {
		touched[r.text("user_id")] = true
		return nil
	}, append(append([]any{account}, args...), ref, millis(seen.SentAt))...); err != nil || touched[""] {
		return nil, err
	}
	return slices.DeleteFunc(seen.Before.Grants, func(g crm.Grant) bool { return g.Kind == "user" && touched[g.ID] }), nil
}
