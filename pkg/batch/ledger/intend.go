package ledger

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// rowOp is an operation of a row as an event tells it.
type rowOp struct {
	Lines       []int  `json:"lines"` // of the sheet as it was then
	Action      string `json:"action"`
	Object      string `json:"object"`
	Record      string `json:"record"`
	Context     string `json:"context,omitzero"`
	User        string `json:"user,omitzero"`
	Access      string `json:"access,omitzero"`
	Minutes     int    `json:"minutes,omitzero"`
	Related     string `json:"related,omitzero"`
	Permissions string `json:"permissions,omitzero"`
}

func tell(op crm.Operation, lines []int) rowOp {
	return rowOp{
		Lines: lines, Action: op.Action.String(), Object: op.Object, Record: op.Record, Context: op.Context, User: op.User,
		Access: op.Access.String(), Minutes: op.Minutes, Related: op.Related.String(), Permissions: op.Permissions.String(),
	}
}

// member is a row of a leader: its own, or one that goes with it.
type member struct {
	id    int64
	state State
}

// party is a leader with the rows that go with it, in sheet order.
type party struct {
	op      crm.Operation
	members []member
	lines   []int
}

// partyOf reads a leader and its rows. Any other id is ErrUnknownOp.
func partyOf(c *conn, id int64) (party, error) {
	var p party
	rows := int64(0)
	add := func(v []driver.Value) {
		p.members = append(p.members, member{integer(v[0]), State(integer(v[1]))})
		if v[2] != nil {
			p.lines = append(p.lines, int(integer(v[2])))
		}
	}
	err := c.query(`SELECT o.id, o.state, r.line, o.rows, o.body, o.user FROM op o
		LEFT JOIN row r ON r.ord = o.ord AND r.op = o.id WHERE o.id = ? AND o.lead = o.id`, func(v []driver.Value) (err error) {
		add(v)
		rows = integer(v[3])
		p.op, err = unpackOp(blob(v[4]), text(v[5]))
		return err
	}, id)
	if err == nil && len(p.members) == 0 {
		err = fmt.Errorf("%w: %d", ErrUnknownOp, id)
	}
	if err != nil || rows < 2 {
		return p, err
	}
	return p, c.query(`SELECT o.id, o.state, r.line FROM op o INDEXED BY op_follow
		LEFT JOIN row r ON r.ord = o.ord AND r.op = o.id
		WHERE o.lead = ? AND o.open = 1 AND o.lead <> o.id ORDER BY o.ord`, func(v []driver.Value) error {
		add(v)
		return nil
	}, id)
}

// takeSeqs reserves n places in the history and returns the first.
func takeSeqs(c *conn, n int) (int64, error) {
	if _, err := c.exec("UPDATE head SET opseq = opseq + ? WHERE id = 1", int64(n)); err != nil {
		return 0, err
	}
	last, err := c.count("SELECT opseq FROM head WHERE id = 1")
	return last - int64(n) + 1, err
}

// Intend announces one sending of a change: the operations, and the rows that go
// with them, are Sent from now on, and count as tried by the run that BeginRun
// began last. It returns when that is durable; on an error nothing may be sent.
// Each repeat is announced too, with its Attempt.
func (l *Ledger) Intend(ctx context.Context, in Intent) error {
	if len(in.Ops) == 0 {
		return errors.New("intend: no operation")
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
		run, err := lastRun(c)
		if err != nil {
			return err
		}
		account, err := accountID(c, in.Account)
		if err != nil {
			return err
		}
		if _, err := c.exec("INSERT INTO call (call, account, run, attempt, sent_at, before) VALUES (?, ?, ?, ?, ?, ?)",
			in.CallID, account, run, int64(in.Attempt), millis(in.At), orNull(before)); err != nil {
			return err
		}
		ref, err := c.count("SELECT max(id) FROM call")
		if err != nil {
			return err
		}
		rows, err := send(c, in, run, ref)
		if err != nil {
			return err
		}
		return appendEvent(c, l.now(), "intent", intentEvent{in.CallID, in.Attempt, in.Account, run, rows, json.RawMessage(before)})
	})
	if err != nil {
		return fmt.Errorf("intend call %s: %w", in.CallID, err)
	}
	return nil
}

type intentEvent struct {
	Call    string          `json:"call"`
	Attempt int             `json:"attempt"`
	Account string          `json:"account"`
	Run     int64           `json:"run"`
	Rows    []rowOp         `json:"rows"`
	Before  json.RawMessage `json:"before,omitempty"`
}

// send marks the operations of an intent. What was seen before an earlier sending
// stays on record as long as that sending may have taken effect.
func send(c *conn, in Intent, run, ref int64) (rows []rowOp, err error) {
	var look driver.Value
	if in.Before.Looked {
		look = ref
	}
	for _, id := range in.Ops {
		p, err := partyOf(c, id)
		if err != nil {
			return nil, err
		}
		seq, err := takeSeqs(c, len(p.members))
		if err != nil {
			return nil, err
		}
		for i, m := range p.members {
			if _, err := c.exec(`UPDATE op SET state = ?1, seq = ?2, call_id = ?3, sent_at = ?4, confirmed_at = NULL,
				attempts = tried + ?5, first_run = coalesce(first_run, ?6),
				before = CASE WHEN before IS NULL OR maybe = 0 AND state IN (?7, ?8) THEN coalesce(?9, before) ELSE before END
				WHERE id = ?10`,
				int64(Sent), seq+int64(i), in.CallID, millis(in.At), int64(in.Attempt), run,
				int64(Pending), int64(Failed), look, m.id); err != nil {
				return nil, err
			}
		}
		rows = append(rows, tell(p.op, p.lines))
	}
	return rows, nil
}
