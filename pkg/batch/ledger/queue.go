package ledger

import (
	"context"
	"fmt"
	"strconv"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// otherOpen finds another open head of the record of o. With a limit it is looked up for
// each row, by index op_open, whatever a planner thinks of it.
const otherOpen = `(SELECT p.id FROM op p WHERE p.account = o.account AND p.object = o.object AND p.record_id = o.record_id AND p.open = 1 AND p.head = p.id
	AND p.id <> o.id LIMIT 1)`

// Next returns the account's next n heads that have a turn, after the cursor, by turn
// and then in sheet order. What has been intended and not recorded is among them.
func (l *Ledger) Next(ctx context.Context, account string, after Cursor, n int) ([]Op, error) {
	return l.ops(ctx, account, otherOpen, "o.turn > 0 AND (o.turn, o.ord) > (?, ?) ORDER BY o.turn, o.ord", n, int64(after.Turn), after.Ord)
}

// OfKey returns the next n heads that are still open and are about what the key names,
// behind the ordinal after, in sheet order, whatever their state. What the key leaves
// empty does not matter. The first of each target is the one that may go.
func (l *Ledger) OfKey(ctx context.Context, account string, key crm.Target, after int64, n int) ([]Op, error) {
	which, args := ofKey(key)
	return l.ops(ctx, account, "0", which+" AND o.open = 1 AND o.ord > ? ORDER BY o.ord", n, append(args, after)...)
}

// ofKey is the condition for operations about what a key names.
func ofKey(key crm.Target) (which string, args []any) {
	which, args = "o.object = ? AND o.record_id = ?", []any{key.Object, key.Record}
	if key.User != "" {
		which, args = which+" AND o.user_id = ?", append(args, key.User)
	}
	if key.Context != "" {
		which, args = which+" AND o.context_id = ?", append(args, key.Context)
	}
	return which, args
}

// Unconfirmed returns the account's next n heads that were accepted in this run and
// wait to be confirmed, the longest accepted first. after is the Seq of the last
// one seen, 0 to begin.
func (l *Ledger) Unconfirmed(ctx context.Context, account string, after int64, n int) ([]Op, error) {
	return l.ops(ctx, account, "0", "{{unconfirmed}}", n, after)
}

// ops reads at most n heads; other is the id of another open one of the same record, if
// that matters. The limit is part of the statement: SQLite prepares one anew each time
// whose limit is a parameter, which takes longer than running it.
func (l *Ledger) ops(ctx context.Context, account, other, which string, n int, args ...any) (ops []Op, err error) {
	query := `SELECT o.id, o.ord, s.line, o.user_id, o.record_level, o.state, o.turn, o.prior, o.uncertain, o.ticket, o.seq, o.attempts, o.first_run, o.members, o.sent_at, ` +
		operationOf("o") + ", " + other + ` AS other FROM op o LEFT JOIN sheet_row s ON s.ord = o.ord AND s.op = o.id
		WHERE o.account = (SELECT id FROM account WHERE name = ?) AND o.head = o.id AND ` + which + " LIMIT " + strconv.Itoa(n)
	err = l.read(ctx, func(c *conn) error {
		return c.query(query, func(r row) error {
			op, err := r.op(account)
			op.Alone = r.null("other")
			ops = append(ops, op)
			return err
		}, append([]any{account}, args...)...)
	})
	if err != nil {
		return nil, fmt.Errorf("read what is to be done: %w", err)
	}
	return ops, nil
}

func (r row) op(account string) (op Op, err error) {
	op = Op{
		ID: r.int64("id"), Ord: r.int64("ord"), Line: r.int("line"), Account: account, RecordLevel: r.bool("record_level"),
		Turn: Turn(r.int("turn")), Prior: crm.Prior(r.int("prior")), Uncertain: r.bool("uncertain"), Ticket: r.text("ticket"), Seq: r.int64("seq"),
		Attempts: r.int("attempts"), FirstRun: r.int64("first_run"), Rows: r.int("members"), SentAt: r.time("sent_at"),
	}
	if op.Operation, err = r.operation(); err != nil {
		return op, err
	}
	op.Status, err = r.state("state")
	return op, err
}
