package ledger

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const (
	beforeQuery = `SELECT c.id, c.call, a.name, c.run, c.attempt, c.sent_at, c.before FROM call c JOIN account a ON a.id = c.account WHERE c.id = ?`
	// Of the operations with a key, those that were sent since or are still open. An
	// operation that is alone in its sheet may have been sent beside another in the one
	// before.
	meanwhileQuery = `SELECT o.user FROM op o INDEXED BY op_key WHERE o.key = ? AND o.alone = 0 AND o.account = ?
		AND (o.open = 1 OR o.before >= ? OR o.sent_at >= ?)`
)

// Stayers returns, by operation, what was seen before the operation was first sent,
// but for the users whom it is about or whom other rows of its key are about that
// were sent since or are still to be: those whom nothing that the sheet asks for was
// to touch. Operations of which nobody looked before, whose change wrote nobody back,
// or on whose record everybody is to lose it, are left out.
func (l *Ledger) Stayers(ctx context.Context, ids []int64) (map[int64][]crm.Grant, error) {
	type place struct{ before, key, account int64 }
	stay := make(map[int64][]crm.Grant)
	err := l.read(ctx, func(c *conn) error {
		known := make(map[place][]crm.Grant)
		for _, id := range ids {
			var p place
			var user string
			if err := c.query("SELECT before, key, account, user FROM op WHERE id = ?", func(v []driver.Value) error {
				p, user = place{integer(v[0]), integer(v[1]), integer(v[2])}, text(v[3])
				return nil
			}, id); err != nil {
				return err
			}
			if p.before == 0 || user == "" { // nobody looked, or everybody is to lose it
				continue
			}
			all, ok := known[p]
			if !ok {
				var err error
				if all, err = stayers(c, p.before, p.key, p.account); err != nil {
					return err
				}
				known[p] = all
			}
			own := func(g crm.Grant) bool { return g.Kind == "user" && g.ID == user }
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
		return nil, fmt.Errorf("read who was to stay: %w", err)
	}
	return stay, nil
}

// stayers is Stayers for all operations with a key that what was seen goes for.
func stayers(c *conn, before, key, account int64) ([]crm.Grant, error) {
	var call Call
	if err := c.query(beforeQuery, func(v []driver.Value) (err error) {
		call, err = scanCall(v)
		return err
	}, before); err != nil || !call.Before.Rewrites {
		return nil, err
	}
	touched := make(map[string]bool)
	if err := c.query(meanwhileQuery, func(v []driver.Value) error {
		touched[text(v[0])] = true
		return nil
	}, key, account, before, millis(call.SentAt)); err != nil || touched[""] {
		return nil, err
	}
	return slices.DeleteFunc(call.Before.Grants, func(g crm.Grant) bool { return g.Kind == "user" && touched[g.ID] }), nil
}
