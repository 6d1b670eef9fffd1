package ledger

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// opFields, the name of an index and opJoins are the beginning of a query of work.
const opColumns = `SELECT o.id, o.ord, r.line, a.name, o.body, o.user, o.state, o.turn, o.prior, o.maybe, o.ticket,
	o.key, o.target, o.bundle, o.seq, o.attempts, o.first_run, o.lead, o.rows, o.alone, o.sent_at FROM op o `

const opFields = opColumns + "INDEXED BY "

const opJoins = ` JOIN account a ON a.id = o.account LEFT JOIN row r ON r.ord = o.ord AND r.op = o.id `

func scanOp(v []driver.Value) (Op, error) {
	op, err := unpackOp(blob(v[4]), text(v[5]))
	return Op{
		ID: integer(v[0]), Ord: integer(v[1]), Line: int(integer(v[2])), Account: text(v[3]), Operation: op,
		State: State(integer(v[6])), Turn: Turn(integer(v[7])), Prior: crm.Prior(integer(v[8])), Maybe: truth(v[9]),
		Ticket: text(v[10]), Key: integer(v[11]), Target: integer(v[12]), Bundle: integer(v[13]), Seq: integer(v[14]),
		Attempts: int(integer(v[15])), FirstRun: integer(v[16]), Lead: integer(v[17]), Rows: int(integer(v[18])), Alone: truth(v[19]),
		SentAt: instant(v[20]),
	}, err
}

// The queries of work. Each goes along an index that holds only operations with
// something left to do, so that what is settled costs nothing.
const (
	todoQuery = opFields + "op_todo" + opJoins + `WHERE o.account = (SELECT id FROM account WHERE name = ?) AND o.turn > 0 AND o.lead = o.id
		AND (o.turn, o.ord) > (?, ?) ORDER BY o.turn, o.ord LIMIT ?`
	todoBundleQuery = opFields + "op_bundle" + opJoins + `WHERE o.bundle = ? AND o.bundle <> 0 AND o.account = (SELECT id FROM account WHERE name = ?)
		AND o.turn > 0 AND o.lead = o.id AND (o.turn, o.ord) > (?, ?) ORDER BY o.turn, o.ord LIMIT ?`
	roundQuery = opFields + "op_round" + opJoins + `WHERE o.key = ? AND o.account = (SELECT id FROM account WHERE name = ?) AND o.open = 1 AND o.lead = o.id
		AND o.alone = 0 AND o.ord > ? ORDER BY o.ord LIMIT ?`
	aloneQuery   = opColumns + opJoins + `WHERE o.id = ? AND o.open = 1 AND o.lead = o.id`
	waitingQuery = opFields + "op_wait" + opJoins + `WHERE o.account = (SELECT id FROM account WHERE name = ?) AND o.state = 2 AND o.turn = 0
		AND o.open = 1 AND o.lead = o.id AND o.seq > ? ORDER BY o.seq LIMIT ?`
)

// Todo returns the account's next n leaders that have a turn, after the cursor, by
// turn and then in sheet order. What has been intended and not settled is among
// them.
func (l *Ledger) Todo(ctx context.Context, account string, after Cursor, n int) ([]Op, error) {
	return l.ops(ctx, todoQuery, account, int64(after.Turn), after.Ord, int64(n))
}

// TodoBundle is Todo for the operations of one bundle.
func (l *Ledger) TodoBundle(ctx context.Context, account string, bundle int64, after Cursor, n int) ([]Op, error) {
	return l.ops(ctx, todoBundleQuery, bundle, account, int64(after.Turn), after.Ord, int64(n))
}

// Round returns the next n leaders of the key that are still open, behind the
// ordinal after, in sheet order, whatever their state. The first of each target is
// the one that may go. A leader that is alone with its key is not found here.
func (l *Ledger) Round(ctx context.Context, account string, key, after int64, n int) ([]Op, error) {
	return l.ops(ctx, roundQuery, key, account, after, int64(n))
}

// Reread returns the leader as it stands now, and none if it is no longer open.
func (l *Ledger) Reread(ctx context.Context, id int64) ([]Op, error) {
	return l.ops(ctx, aloneQuery, id)
}

// Waiting returns the account's next n leaders that were accepted in this run and
// wait to be confirmed, the longest accepted first. after is the Seq of the last
// one seen, 0 to begin.
func (l *Ledger) Waiting(ctx context.Context, account string, after int64, n int) ([]Op, error) {
	return l.ops(ctx, waitingQuery, account, after, int64(n))
}

func (l *Ledger) ops(ctx context.Context, query string, args ...driver.Value) (ops []Op, err error) {
	err = l.read(ctx, func(c *conn) error {
		return c.query(query, func(v []driver.Value) error {
			op, err := scanOp(v)
			ops = append(ops, op)
			return err
		}, args...)
	})
	if err != nil {
		return nil, fmt.Errorf("read what is to be done: %w", err)
	}
	return ops, nil
}
