package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
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
		if o.Status != crm.Pending {
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
	args := append(make([]any, 0, 20), o.Status.Name(), int64(o.Turn), bit(o.Open), bit(o.Uncertain), bit(o.Happened), lost, orNull(o.CallID),
		orNull(o.RequestID), orNull(o.Ticket), orNull(o.Note), orNull(o.Code), orNull(o.Message), int64(o.HTTPStatus),
		attempts, attempts, millis(o.ConfirmedAt))
	var n int64
	switch {
	case o.Status == crm.Pending:
		trace := attempts + bit(o.Uncertain)
		n, err = c.exec(recordAgain, append(args, trace, millis(o.SentAt), trace, id, o.Op.ID)...)
	case o.Confirm:
		n, err = c.exec(recordKept, append(args, millis(o.SentAt), bit(late), seq, id, o.Op.ID)...)
	default:
		n, err = c.exec(recordChange, append(args, millis(o.SentAt), seq, id, o.Op.ID)...)
	}
	return exactlyOne(id, n, err)
}

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
	err := l.changeOf(ctx, []string{in.Account}, func(c *conn) error {
		e, err := c.theEnd()
		if err != nil {
			return err
		}
		var seen any // the number of what was seen before
		if before != nil {
			if seen, err = e.keepSeen(c, in, string(before)); err != nil {
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
func (e *end) keepSeen(c *conn, in Intent, before string) (int64, error) {
	account, known := e.accounts[in.Account]
	if !known {
		var err error
		if account, err = accountID(c, in.Account); err != nil {
			return 0, err
		}
		if e.accounts == nil {
			e.accounts = make(map[string]int64)
		}
		e.accounts[in.Account] = account
	}
	e.seen++
	e.dirty = true
	e.looks = append(e.looks, newSeen{e.seen, account, e.run, int64(in.Attempt), in.CallID, before, millis(in.At)})
	return e.seen, nil
}

// intendOne makes one operation Sent. What was seen before an earlier sending stays on
// record as long as that sending may have taken effect: one of another call, unless the
// provider knows better.
func intendOne(c *conn, in Intent, run, head, id, seq int64, seen any) error {
	query := `UPDATE op SET state = ?, seq = ?, call_id = ?, sent_at = ?, confirmed_at = NULL,
		attempts = tried + ?, first_run = coalesce(first_run, ?)`
	args := []any{crm.Sent.Name(), seq, in.CallID, millis(in.At), int64(in.Attempt), run}
	if seen != nil {
		query += ", seen = CASE WHEN seen IS NULL OR uncertain = 0 AND happened = 0 AND (state IN (?, ?) OR ? = 1) THEN ? ELSE seen END"
		args = append(args, crm.Pending.Name(), crm.Failed.Name(), bit(in.Before.Fresh), seen)
	}
	n, err := c.exec(query+" WHERE id = ? AND head = ?", append(args, id, head)...)
	return exactlyOne(id, n, err)
}

// member is a row of a group: the head, or one that goes with it.
type member struct {
	id  int64
	seq int64 // its place in the history, 0 if it has none
}

// group is a head with the rows that go with it, in sheet order.
type group struct {
	Op
	members []member
	lines   []int
}

// groupOf reads the members of a head.
func groupOf(c *conn, head Op) (group, error) {
	g := group{Op: head, members: []member{{head.ID, head.Seq}}, lines: []int{}}
	if head.Line > 0 {
		g.lines = append(g.lines, head.Line)
	}
	if head.Rows < 2 {
		return g, nil
	}
	seq, err := c.count("SELECT seq AS n FROM op WHERE id = ?", head.ID)
	if err != nil {
		return g, err
	}
	g.members[0].seq = seq
	err = c.query(`SELECT o.id, o.seq, s.line FROM op o LEFT JOIN sheet_row s ON s.ord = o.ord AND s.op = o.id
		WHERE o.head = ? AND o.open = 1 AND o.head <> o.id ORDER BY o.ord`, func(r row) error {
		g.members = append(g.members, member{r.int64("id"), r.int64("seq")})
		if !r.null("line") {
			g.lines = append(g.lines, r.int("line"))
		}
		return nil
	}, head.ID)
	return g, err
}

// event tells of the group.
func (g group) event() eventRow {
	r := eventRowOf(g.Operation)
	r.Lines, r.Ops = g.lines, opsText(g.members)
	return r
}

// exactlyOne checks that a change of an operation has found it.
func exactlyOne(id, changed int64, err error) error {
	if err == nil && changed != 1 {
		return fmt.Errorf("%w: %d", ErrUnknownOp, id)
	}
	return err
}
