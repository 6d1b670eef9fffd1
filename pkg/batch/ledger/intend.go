package ledger

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
)

// Intend announces one sending of a change: the operations, and the rows that go
// with them, are Sent from now on, and count as tried by the run that BeginRun
// began last. It returns when that is durable; on an error nothing may be sent.
// Each repeat is announced too, with its Attempt.
func (l *Ledger) Intend(ctx context.Context, in Intent) error {
	if len(in.Ops) == 0 || in.Known != nil && len(in.Known) != len(in.Ops) {
		return fmt.Errorf("intend: %d operations, of which %d are known", len(in.Ops), len(in.Known))
	}
	before := ""
	if in.Before.Looked {
		raw, err := json.Marshal(in.Before)
		if err != nil {
			return fmt.Errorf("intend: %w", err)
		}
		before = string(raw)
	}
	err := l.change(ctx, func(c *conn) error {
		e, err := c.theEnd()
		if err != nil {
			return err
		}
		s := sending{c: c, in: in, run: e.run}
		if before != "" {
			if s.look, err = keepLook(c, in, e.run, before); err != nil {
				return err
			}
		}
		t := c.newTelling().field("call").quote(in.CallID)
		t = t.number("attempt", int64(in.Attempt)).field("account").quote(in.Account).number("run", e.run)
		t = append(t.field("rows"), '[')
		for i, id := range in.Ops {
			var known *Op
			if in.Known != nil {
				known = &in.Known[i]
			}
			if t, err = s.mark(t, id, known); err != nil {
				return err
			}
		}
		t = append(t, ']')
		if before != "" {
			t = append(t.field("before"), before...)
		}
		c.telling = append(t, '}')
		return appendTold(c, l.now(), kindIntent, c.telling)
	})
	if err != nil {
		return fmt.Errorf("intend call %s: %w", in.CallID, err)
	}
	return nil
}

// keepLook keeps what was seen before a sending and returns its number.
func keepLook(c *conn, in Intent, run int64, before string) (driver.Value, error) {
	account, err := accountID(c, in.Account)
	if err != nil {
		return nil, err
	}
	if _, err := c.exec("INSERT INTO call (call, account, run, attempt, sent_at, before) VALUES (?, ?, ?, ?, ?, ?)",
		in.CallID, account, run, int64(in.Attempt), millis(in.At), before); err != nil {
		return nil, err
	}
	return c.count("SELECT max(id) FROM call")
}

// sending is an intent on its way into the tables.
type sending struct {
	c    *conn
	in   Intent
	run  int64
	look driver.Value // the number of what was seen before, nil if nobody looked
}

// mark makes an operation and the rows that go with it Sent, and tells of it.
func (s *sending) mark(t telling, id int64, known *Op) (telling, error) {
	if single(known, id) {
		seq, err := takeSeqs(s.c, 1)
		if err == nil {
			err = s.one(id, seq)
		}
		return append(t.open().operation(known.Operation, []int{known.Line}).members([]member{{id: id}}), '}'), err
	}
	p, err := partyOf(s.c, id)
	if err != nil {
		return t, err
	}
	seq, err := takeSeqs(s.c, len(p.members))
	for i, m := range p.members {
		if err == nil {
			err = s.one(m.id, seq+int64(i))
		}
	}
	return append(t.open().operation(p.op, p.lines).members(p.members), '}'), err
}

// one marks one operation. What was seen before an earlier sending stays on record
// as long as that sending may have taken effect: one of another call, unless the
// provider knows better.
func (s *sending) one(id, seq int64) error {
	if s.look != nil {
		if _, err := s.c.exec(`UPDATE op SET before = ? WHERE id = ? AND (before IS NULL OR maybe = 0 AND (state IN (0, 5) OR ?))`, s.look, id, bit(s.in.Before.Fresh)); err != nil {
			return err
		}
	}
	n, err := s.c.exec(`UPDATE op SET state = 1, seq = ?, call_id = ?, sent_at = ?, confirmed_at = NULL,
		attempts = tried + ?, first_run = coalesce(first_run, ?) WHERE id = ?`,
		seq, s.in.CallID, millis(s.in.At), int64(s.in.Attempt), s.run, id)
	return exactlyOne(id, n, err)
}
