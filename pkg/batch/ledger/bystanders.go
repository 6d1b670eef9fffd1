package ledger

import (
	"context"
	"encoding/json"
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

// Lost is an operation by which bystanders have lost access that no look has shown them
// to have again, and what they had.
type Lost struct {
	Op
	Grants []crm.Grant
}

// Lost returns the account's operations by which bystanders have lost access, whether the
// sheet still has them or not, record by record. Whom a row has been about since, or is to
// be, is no bystander any more.
func (l *Ledger) Lost(ctx context.Context, account string) (all []Lost, err error) {
	err = l.read(ctx, func(c *conn) error {
		all = nil
		query := `SELECT o.id, o.ord, s.line, o.user_id, o.record_level, o.state, o.turn, o.prior, o.uncertain, o.ticket, o.seq, o.attempts, o.first_run, o.members, o.sent_at, o.lost, ` +
			operationOf("o") + ` FROM op o LEFT JOIN ` + l.rows() + ` s ON s.op = o.id
			WHERE o.account = (SELECT id FROM account WHERE name = ?) AND o.lost IS NOT NULL ORDER BY o.object, o.record_id, o.seq`
		if err := c.query(query, func(r row) error {
			op, err := r.op(account)
			if err != nil {
				return err
			}
			lost := Lost{Op: op}
			if err := json.Unmarshal([]byte(r.text("lost")), &lost.Grants); err != nil {
				return fmt.Errorf("%w: what was lost by operation %d: %w", ErrDamaged, op.ID, err)
			}
			all = append(all, lost)
			return nil
		}, account); err != nil {
			return err
		}
		for i := range all {
			o := &all[i]
			if err := c.query(`SELECT o.user_id FROM op o WHERE o.account = (SELECT id FROM account WHERE name = ?) AND o.object = ? AND o.record_id = ? AND o.id <> ?
				AND (o.open = 1 OR o.seq > ? AND (o.happened = 1 OR o.state IN (?, ?, ?)))`, func(r row) error {
				user := r.text("user_id")
				o.Grants = slices.DeleteFunc(o.Grants, func(g crm.Grant) bool { return user == "" || g.Kind == crm.KindUser && g.ID == user })
				return nil
			}, account, o.Operation.Object, o.Operation.Record, o.ID, o.Seq, crm.Done.Name(), crm.Unchanged.Name(), crm.Accepted.Name()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read who has lost access: %w", err)
	}
	return all, nil
}

// StillLost writes down what of it a look has shown to be lost still; where that is
// nothing, the operation's row no longer says that anybody must look at it.
func (l *Ledger) StillLost(ctx context.Context, o Lost, still []crm.Grant) error {
	text, err := lostText(still)
	if err == nil {
		err = l.change(ctx, func(c *conn) error {
			if _, err := c.exec("UPDATE op SET lost = ? WHERE id = ?", text, o.ID); err != nil {
				return err
			}
			if len(still) == 0 {
				if _, err := c.exec("UPDATE op SET code = NULL, message = ? WHERE id = ? AND code = ?",
					"the bystanders who had lost the record by it have it again", o.ID, crm.CodeBystanderLost); err != nil {
					return err
				}
			}
			return appendEvent(c, l.now(), "bystanders", map[string]any{"op": o.ID, "account": o.Account, "lost": still})
		})
	}
	if err != nil {
		return fmt.Errorf("write down who has lost access: %w", err)
	}
	return nil
}

// CountLost returns by how many operations bystanders have lost access that no look has
// shown them to have again.
func (l *Ledger) CountLost(ctx context.Context) (n int64, err error) {
	err = l.read(ctx, func(c *conn) error {
		n, err = c.count("SELECT count(*) AS n FROM op WHERE lost IS NOT NULL")
		return err
	})
	return n, err
}

// lostText is how what was lost is kept: null for nothing.
func lostText(grants []crm.Grant) (any, error) {
	if len(grants) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(grants)
	return string(raw), err
}
