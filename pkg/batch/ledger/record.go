package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Record writes down what became of operations and returns when that is durable. Each
// outcome holds for its head and the rows that go with it. All are recorded or none.
//
// An operation that is Pending again, without an attempt and without being uncertain, was
// never tried as far as the history is concerned.
func (l *Ledger) Record(ctx context.Context, outcomes []Outcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	// One event per call and kind, in the order in which they were given.
	order := slices.Clone(outcomes)
	slices.SortStableFunc(order, func(a, b Outcome) int {
		return cmp.Or(cmp.Compare(a.CallID, b.CallID), cmp.Compare(bit(a.Confirm), bit(b.Confirm)))
	})
	err := l.change(ctx, func(c *conn) error {
		for rest := order; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].CallID == rest[0].CallID && rest[n].Confirm == rest[0].Confirm {
				n++
			}
			if err := l.recordCall(c, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record outcomes: %w", err)
	}
	return nil
}

// recordCall records the outcomes of one call and writes its event.
func (l *Ledger) recordCall(c *conn, outcomes []Outcome) error {
	event, kind := callEvent{Call: outcomes[0].CallID}, kindOutcome
	if outcomes[0].Confirm {
		kind = kindConfirm
	}
	for _, o := range outcomes {
		g, err := groupOf(c, o.Op)
		if err != nil {
			return err
		}
		event.Account = g.Account
		event.Rows = append(event.Rows, g.event().outcome(o))
		seq := int64(0)
		if o.State != Pending {
			if seq, err = takeSeqs(c, len(g.members)); err != nil {
				return err
			}
		}
		// Rows that a look finds without a place in the history all get one, in sheet order.
		late := len(g.members) > 1 && slices.ContainsFunc(g.members, func(m member) bool { return m.seq == 0 })
		for i, m := range g.members {
			if err := recordOne(c, o, m.id, seq+int64(i), late); err != nil {
				return err
			}
		}
	}
	return appendEvent(c, l.now(), kind, event)
}

// The ways to record an outcome: after a change; where nothing was sent, so that an
// earlier acceptance, its ticket and its place in the history still stand; and where
// it is to be done again, which takes it out of the history if it left no trace.
// They differ in what they make of the values that come last.
const (
	recordChange = `UPDATE op SET state = ?, turn = ?, open = ?, uncertain = ?, happened = ?, lost = coalesce(?, lost), call_id = coalesce(?, call_id),
		request_id = ?, ticket = ?, note = ?, code = ?, message = ?, http_status = ?,
		attempts = tried + ?, tried = tried + ?, confirmed_at = coalesce(?, confirmed_at),
		sent_at = coalesce(?, sent_at), seq = ? WHERE id = ? AND head = ?`
	recordKept = `UPDATE op SET state = ?, turn = ?, open = ?, uncertain = ?, happened = ?, lost = coalesce(?, lost), call_id = coalesce(?, call_id),
		request_id = coalesce(?, request_id), ticket = coalesce(?, ticket), note = coalesce(?, note), code = ?, message = ?, http_status = ?,
		attempts = tried + ?, tried = tried + ?, confirmed_at = coalesce(?, confirmed_at),
		sent_at = coalesce(?, sent_at), seq = CASE WHEN ? = 1 OR seq = 0 THEN ? ELSE seq END WHERE id = ? AND head = ?`
	recordAgain = `UPDATE op SET state = ?, turn = ?, open = ?, uncertain = ?, happened = ?, lost = coalesce(?, lost), call_id = coalesce(?, call_id),
		request_id = coalesce(?, request_id), ticket = coalesce(?, ticket), note = coalesce(?, note), code = ?, message = ?, http_status = ?,
		attempts = tried + ?, tried = tried + ?, confirmed_at = coalesce(?, confirmed_at),
		sent_at = CASE WHEN seq > 0 AND NOT (tried + ? = 0 AND uncertain = 0) THEN coalesce(?, sent_at) END,
		seq = CASE WHEN tried + ? = 0 AND uncertain = 0 THEN 0 ELSE seq END WHERE id = ? AND head = ?`
)

func recordOne(c *conn, o Outcome, id, seq int64, late bool) error {
	attempts := int64(o.Attempts)
	lost, err := lostText(o.Lost)
	if err != nil {
		return err
	}
	args := append(make([]any, 0, 20), o.State.name(), int64(o.Turn), bit(o.Open), bit(o.Uncertain), bit(o.Happened), lost, orNull(o.CallID),
		orNull(o.RequestID), orNull(o.Ticket), orNull(o.Note), orNull(o.Code), orNull(o.Message), int64(o.HTTPStatus),
		attempts, attempts, millis(o.ConfirmedAt))
	var n int64
	switch {
	case o.State == Pending:
		trace := attempts + bit(o.Uncertain)
		n, err = c.exec(recordAgain, append(args, trace, millis(o.SentAt), trace, id, o.Op.ID)...)
	case o.Confirm:
		n, err = c.exec(recordKept, append(args, millis(o.SentAt), bit(late), seq, id, o.Op.ID)...)
	default:
		n, err = c.exec(recordChange, append(args, millis(o.SentAt), seq, id, o.Op.ID)...)
	}
	return exactlyOne(id, n, err)
}
