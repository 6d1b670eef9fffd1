package ledger

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const resultColumns = `SELECT r.ord, r.line, r.cells, r.account, r.code, r.message, o.id, o.account, o.body, o.user,
	o.state, o.turn, o.open, o.prior, o.maybe, o.lead, o.code, o.message, o.note, o.request_id, o.ticket, o.call_id,
	o.http_status, o.attempts, o.sent_at, o.confirmed_at, o.first_run, o.before, o.target, o.seq
	FROM %s r LEFT JOIN op o ON o.id = r.op WHERE r.ord > ? ORDER BY r.ord LIMIT ?`

// Results streams every row of the adopted sheet once, in sheet order, with what
// has become of it so far. A row that is settled while the stream is read may show
// either state.
func (l *Ledger) Results(ctx context.Context) iter.Seq2[Result, error] {
	return paged(ctx, l.reading(), func() pager[Result] {
		after, query := int64(0), fmt.Sprintf(resultColumns, l.rows())
		return func(c *conn, page []Result) ([]Result, error) {
			names, err := accountNames(c)
			if err != nil {
				return nil, err
			}
			if err := c.query(query, func(v []driver.Value) error {
				r, err := scanResult(v, names)
				if err == nil && l.earlier && r.State.happened() {
					err = c.markUndone(&r, trace{integer(v[7]), integer(v[28]), integer(v[29])})
				}
				after = r.Ord
				page = append(page, r)
				return err
			}, after, int64(pageRows)); err != nil {
				return nil, fmt.Errorf("read the results: %w", err)
			}
			return page, nil
		}
	})
}

// markUndone says of a row that another sheet has undone that it is to be done again.
func (c *conn) markUndone(r *Result, at trace) error {
	undone, err := c.undoing(at, r.Op)
	if undone != nil {
		r.State, r.Code, r.Message, r.Note = Pending, CodeUndone, undone.String(), ""
	}
	return err
}

func scanResult(v []driver.Value, names map[int64]string) (Result, error) {
	r := Result{Ord: integer(v[0]), Line: int(integer(v[1]))}
	var err error
	if r.Cells, err = unpackCells(blob(v[2])); err != nil {
		return r, err
	}
	if v[6] == nil {
		r.Invalid, r.Account, r.Code, r.Message = true, names[integer(v[3])], text(v[4]), text(v[5])
		return r, nil
	}
	r.ID, r.Account = integer(v[6]), names[integer(v[7])]
	r.State, r.Turn, r.Open = State(integer(v[10])), Turn(integer(v[11])), truth(v[12])
	r.Prior, r.Maybe, r.Joined = crm.Prior(integer(v[13])), truth(v[14]), integer(v[15]) != r.ID
	r.Code, r.Message, r.Note = text(v[16]), text(v[17]), text(v[18])
	r.RequestID, r.Ticket, r.CallID = text(v[19]), text(v[20]), text(v[21])
	r.HTTPStatus, r.Attempts = int(integer(v[22])), int(integer(v[23]))
	r.SentAt, r.ConfirmedAt = instant(v[24]), instant(v[25])
	r.FirstRun, r.Before = integer(v[26]), integer(v[27])
	r.Op, err = unpackOp(blob(v[8]), text(v[9]))
	return r, err
}

// accountNames reads all of them. They are few, so that looking them up beside the
// rows is cheaper than a join.
func accountNames(c *conn) (map[int64]string, error) {
	names := make(map[int64]string)
	err := c.query("SELECT id, name FROM account", func(v []driver.Value) error {
		names[integer(v[0])] = text(v[1])
		return nil
	})
	return names, err
}

const callColumns = `SELECT c.id, c.call, a.name, c.run, c.attempt, c.sent_at, c.before FROM call c JOIN account a ON a.id = c.account `

func scanCall(v []driver.Value) (Call, error) {
	call := Call{
		Ref: integer(v[0]), ID: text(v[1]), Account: text(v[2]), Run: integer(v[3]),
		Attempt: int(integer(v[4])), SentAt: instant(v[5]),
	}
	if s := text(v[6]); s != "" {
		if err := json.Unmarshal([]byte(s), &call.Before); err != nil {
			return call, fmt.Errorf("%w: what was there before call %s: %w", ErrDamaged, call.ID, err)
		}
	}
	return call, nil
}

// Calls streams every announced sending before which somebody looked, the oldest
// first. The others are in the events alone.
func (l *Ledger) Calls(ctx context.Context) iter.Seq2[Call, error] {
	return paged(ctx, l.read, func() pager[Call] {
		after := int64(0)
		return func(c *conn, page []Call) ([]Call, error) {
			err := c.query(callColumns+"WHERE c.id > ? ORDER BY c.id LIMIT ?", func(v []driver.Value) error {
				call, err := scanCall(v)
				after = call.Ref
				page = append(page, call)
				return err
			}, after, int64(pageRows))
			return page, err
		}
	})
}

// Call returns the sending that a Result.Before refers to.
func (l *Ledger) Call(ctx context.Context, ref int64) (call Call, ok bool, err error) {
	err = l.read(ctx, func(c *conn) error {
		return c.query(callColumns+"WHERE c.id = ?", func(v []driver.Value) (err error) {
			call, err = scanCall(v)
			ok = true
			return err
		}, ref)
	})
	return call, ok, err
}
