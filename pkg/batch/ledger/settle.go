package ledger

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
)

// Settle records what became of operations and returns when that is durable. Each
// entry holds for its leader and the rows that go with it. All entries are
// recorded or none.
//
// An operation that is Pending again, without an attempt and without Maybe, was
// never tried as far as the history is concerned.
func (l *Ledger) Settle(ctx context.Context, settles []Settle) error {
	return l.SettleSoon(ctx, settles)()
}

// SettleSoon is Settle in two steps: it returns when the outcomes stand in the
// queue, and what it returns waits until they are durable. An Intend that is called
// after SettleSoon has returned is not durable before the outcomes are.
func (l *Ledger) SettleSoon(ctx context.Context, settles []Settle) (wait func() error) {
	if len(settles) == 0 {
		return func() error { return nil }
	}
	if l.readOnly {
		return func() error { return ErrReadOnly }
	}
	// One event per call and kind, in the order in which they were given.
	order := settles
	if len(settles) > 1 {
		order = slices.Clone(settles)
		slices.SortStableFunc(order, func(a, b Settle) int {
			return cmp.Or(cmp.Compare(a.CallID, b.CallID), cmp.Compare(bit(a.Confirm), bit(b.Confirm)))
		})
	}
	j := &job{change: true, done: make(chan error, 1), do: func(c *conn) error {
		for rest := order; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].CallID == rest[0].CallID && rest[n].Confirm == rest[0].Confirm {
				n++
			}
			if err := l.settleCall(c, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	}}
	err := l.enqueue(ctx, j)
	return func() error {
		if err == nil {
			err = l.await(ctx, j)
		}
		if err != nil {
			return fmt.Errorf("record an outcome: %w", err)
		}
		return nil
	}
}

// settleCall records the entries of one call and writes its event.
func (l *Ledger) settleCall(c *conn, settles []Settle) error {
	t := c.newTelling().field("call").quote(settles[0].CallID)
	for i, s := range settles {
		p, err := settleOne(c, s)
		if err != nil {
			return err
		}
		if i == 0 {
			t = append(t.field("account").quote(p.account).field("rows"), '[')
		}
		t = append(t.open().operation(p.op, p.lines).members(p.members).outcome(s), '}')
	}
	kind := kindOutcome
	if settles[0].Confirm {
		kind = kindConfirm
	}
	c.telling = append(t, ']', '}')
	return appendTold(c, l.now(), kind, c.telling)
}

// settleOne records one entry for the leader and the rows that go with it.
func settleOne(c *conn, s Settle) (p party, err error) {
	if single(s.Known, s.Op) {
		p = party{op: s.Known.Operation, account: s.Known.Account, members: []member{{id: s.Op, seq: s.Known.Seq}}, lines: []int{s.Known.Line}}
	} else if p, err = partyOf(c, s.Op); err != nil {
		return p, err
	}
	seq := int64(0)
	if s.State != Pending {
		if seq, err = takeSeqs(c, len(p.members)); err != nil {
			return p, err
		}
	}
	// Rows that a look finds without a place in the history all get one, in sheet order.
	late := len(p.members) > 1 && slices.ContainsFunc(p.members, func(m member) bool { return m.seq == 0 })
	for i, m := range p.members {
		if err := settleRow(c, s, m.id, seq+int64(i), late); err != nil {
			return p, err
		}
	}
	return p, nil
}

// The ways to settle a row: after a change; where nothing was sent, so that an
// earlier acceptance, its ticket and its place in the history still stand; and where
// it is to be done again, which takes it out of the history if it left no trace.
// They differ in what they make of the values that come last.
const (
	settleChange = `UPDATE op SET state = ?, turn = ?, open = ?, maybe = ?, call_id = coalesce(?, call_id),
		request_id = ?, ticket = ?, note = ?, code = ?, message = ?, http_status = ?,
		attempts = tried + ?, tried = tried + ?, confirmed_at = coalesce(?, confirmed_at),
		sent_at = coalesce(?, sent_at), seq = ? WHERE id = ?`
	settleKept = `UPDATE op SET state = ?, turn = ?, open = ?, maybe = ?, call_id = coalesce(?, call_id),
		request_id = coalesce(?, request_id), ticket = coalesce(?, ticket), note = coalesce(?, note), code = ?, message = ?, http_status = ?,
		attempts = tried + ?, tried = tried + ?, confirmed_at = coalesce(?, confirmed_at),
		sent_at = coalesce(?, sent_at), seq = CASE WHEN ? OR seq = 0 THEN ? ELSE seq END WHERE id = ?`
	settleAgain = `UPDATE op SET state = ?, turn = ?, open = ?, maybe = ?, call_id = coalesce(?, call_id),
		request_id = coalesce(?, request_id), ticket = coalesce(?, ticket), note = coalesce(?, note), code = ?, message = ?, http_status = ?,
		attempts = tried + ?, tried = tried + ?, confirmed_at = coalesce(?, confirmed_at),
		sent_at = CASE WHEN seq > 0 AND NOT (tried + ? = 0 AND maybe = 0) THEN coalesce(?, sent_at) END,
		seq = CASE WHEN tried + ? = 0 AND maybe = 0 THEN 0 ELSE seq END WHERE id = ?`
)

func settleRow(c *conn, s Settle, id, seq int64, late bool) error {
	attempts := int64(s.Attempts)
	args := append(make([]driver.Value, 0, 18), int64(s.State), int64(s.Turn), bit(s.Open), bit(s.Maybe), orNull(s.CallID),
		orNull(s.RequestID), orNull(s.Ticket), orNull(s.Note), orNull(s.Code), orNull(s.Message), int64(s.HTTPStatus),
		attempts, attempts, millis(s.ConfirmedAt))
	var n int64
	var err error
	switch {
	case s.State == Pending:
		trace := attempts + bit(s.Maybe)
		n, err = c.exec(settleAgain, append(args, trace, millis(s.SentAt), trace, id)...)
	case s.Confirm:
		n, err = c.exec(settleKept, append(args, millis(s.SentAt), bit(late), seq, id)...)
	default:
		n, err = c.exec(settleChange, append(args, millis(s.SentAt), seq, id)...)
	}
	return exactlyOne(id, n, err)
}
