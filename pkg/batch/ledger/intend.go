package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Intend announces one sending of a change: the operations, and the rows that go
// with them, are Sent from now on, and count as tried by the run that BeginRun
// began last. It returns when that is durable; on an error nothing may be sent.
// Each repeat is announced too, with its Attempt.
func (l *Ledger) Intend(ctx context.Context, in Intent) error {
	if len(in.Ops) == 0 {
		return errors.New("intend: no operation")
	}
	var before json.RawMessage
	if in.Before.Looked {
		raw, err := json.Marshal(in.Before)
		if err != nil {
			return fmt.Errorf("intend: %w", err)
		}
		before = raw
	}
	err := l.change(ctx, func(c *conn) error {
		e, err := c.theEnd()
		if err != nil {
			return err
		}
		var seen any // the number of what was seen before
		if before != nil {
			if seen, err = keepSeen(c, in, e.run, string(before)); err != nil {
				return err
			}
		}
		event := callEvent{Call: in.CallID, Attempt: in.Attempt, Account: in.Account, Run: e.run, Before: before}
		for _, head := range in.Ops {
			g, err := groupOf(c, head)
			if err != nil {
				return err
			}
			event.Rows = append(event.Rows, g.event())
			seq, err := takeSeqs(c, len(g.members))
			if err != nil {
				return err
			}
			for i, m := range g.members {
				if err := intendOne(c, in, e.run, g.ID, m.id, seq+int64(i), seen); err != nil {
					return err
				}
			}
		}
		return appendEvent(c, l.now(), kindIntent, event)
	})
	if err != nil {
		return fmt.Errorf("intend call %s: %w", in.CallID, err)
	}
	return nil
}

// keepSeen keeps what was seen before a sending and returns its number.
func keepSeen(c *conn, in Intent, run int64, before string) (int64, error) {
	account, err := accountID(c, in.Account)
	if err != nil {
		return 0, err
	}
	return c.count("INSERT INTO seen (call_id, account, run, attempt, sent_at, state) VALUES (?, ?, ?, ?, ?, ?) RETURNING id AS n",
		in.CallID, account, run, int64(in.Attempt), millis(in.At), before)
}

// intendOne makes one operation Sent. What was seen before an earlier sending stays on
// record as long as that sending may have taken effect: one of another call, unless the
// provider knows better.
func intendOne(c *conn, in Intent, run, head, id, seq int64, seen any) error {
	if seen != nil {
		if _, err := c.exec("UPDATE op SET seen = ? WHERE id = ? AND (seen IS NULL OR uncertain = 0 AND happened = 0 AND (state IN (?, ?) OR ? = 1))",
			seen, id, Pending.name(), Failed.name(), bit(in.Before.Fresh)); err != nil {
			return err
		}
	}
	n, err := c.exec(`UPDATE op SET state = ?, seq = ?, call_id = ?, sent_at = ?, confirmed_at = NULL,
		attempts = tried + ?, first_run = coalesce(first_run, ?) WHERE id = ? AND head = ?`,
		Sent.name(), seq, in.CallID, millis(in.At), int64(in.Attempt), run, id, head)
	return exactlyOne(id, n, err)
}
