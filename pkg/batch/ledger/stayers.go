package ledger

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const (
	beforeQuery = `SELECT c.id, c.call, a.name, c.run, c.attempt, c.sent_at, c.before, o.user, o.key, o.account, o.alone
		FROM op o JOIN call c ON c.id = o.before JOIN account a ON a.id = c.account WHERE o.id = ?`
	meanwhileQuery = `SELECT o.user FROM op o INDEXED BY op_key WHERE o.key = ? AND o.alone = 0 AND o.account = ?
		AND (o.open = 1 OR o.before >= ? OR o.sent_at >= ?)`
)

// Stayers returns what was seen before the operation was first sent, but for the
// users whom it is about or whom other rows of its key are about that were sent
// since or are still to be: those whom nothing that the sheet asks for was to touch.
// It is none where nobody looked, and where everybody is to lose the record.
func (l *Ledger) Stayers(ctx context.Context, id int64) (stay []crm.Grant, err error) {
	err = l.read(ctx, func(c *conn) error {
		var call Call
		var key, account int64
		touched := make(map[string]bool)
		alone := true
		if err := c.query(beforeQuery, func(v []driver.Value) (err error) {
			call, err = scanCall(v)
			touched[text(v[7])] = true
			key, account, alone = integer(v[8]), integer(v[9]), truth(v[10])
			return err
		}, id); err != nil {
			return err
		}
		if !alone {
			if err := c.query(meanwhileQuery, func(v []driver.Value) error {
				touched[text(v[0])] = true
				return nil
			}, key, account, call.Ref, millis(call.SentAt)); err != nil {
				return err
			}
		}
		if !touched[""] { // else a revoke_all
			stay = slices.DeleteFunc(call.Before.Grants, func(g crm.Grant) bool { return g.Kind == "user" && touched[g.ID] })
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read who was to stay: %w", err)
	}
	return stay, nil
}
