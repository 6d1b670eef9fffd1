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
	if len(settles) == 0 {
		return nil
	}
	// One event per call and kind, in the order in which they were given.
	order := slices.Clone(settles)
	slices.SortStableFunc(order, func(a, b Settle) int {
		return cmp.Or(cmp.Compare(a.CallID, b.CallID), cmp.Compare(bit(a.Confirm), bit(b.Confirm)))
	})
	err := l.change(ctx, func(c *conn) error {
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
	})
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	return nil
}

// settledOp is an operation and its outcome as an event tells it.
type settledOp struct {
	rowOp
	Result     string `json:"result"`
	Maybe      bool   `json:"maybe,omitzero"`
	RequestID  string `json:"request_id,omitzero"`
	Code       string `json:"code,omitzero"`
	Message    string `json:"message,omitzero"`
	Note       string `json:"note,omitzero"`
	HTTPStatus int    `json:"http_status,omitzero"`
	Attempts   int    `json:"attempts,omitzero"`
}

type outcomeEvent struct {
	Call    string      `json:"call"`
	Account string      `json:"account"`
	Rows    []settledOp `json:"rows"`
}

// settleCall records the entries of one call and writes its event.
func (l *Ledger) settleCall(c *conn, settles []Settle) error {
	e := outcomeEvent{Call: settles[0].CallID, Rows: make([]settledOp, 0, len(settles))}
	for i, s := range settles {
		p, err := partyOf(c, s.Op)
		if err != nil {
			return err
		}
		if err := settleParty(c, s, p); err != nil {
			return err
		}
		if i == 0 {
			if e.Account, err = accountOf(c, s.Op); err != nil {
				return err
			}
		}
		e.Rows = append(e.Rows, settledOp{
			rowOp: tell(p.op, p.lines), Result: s.State.String(), Maybe: s.Maybe, RequestID: s.RequestID,
			Code: s.Code, Message: s.Message, Note: s.Note, HTTPStatus: s.HTTPStatus, Attempts: s.Attempts,
		})
	}
	kind := "outcome"
	if settles[0].Confirm {
		kind = "confirm"
	}
	return appendEvent(c, l.now(), kind, e)
}

const settleQuery = `UPDATE op SET state = ?1, turn = ?2, open = ?3, maybe = ?4,
	call_id = coalesce(?5, call_id),
	request_id = coalesce(?6, CASE WHEN ?7 THEN request_id END), ticket = coalesce(?8, CASE WHEN ?7 THEN ticket END),
	code = ?9, message = ?10, note = coalesce(?17, CASE WHEN ?7 THEN note END), http_status = ?11,
	attempts = tried + ?12, tried = tried + ?12,
	sent_at = CASE WHEN ?15 > 0 THEN coalesce(?13, sent_at) END, confirmed_at = coalesce(?14, confirmed_at),
	seq = ?15 WHERE id = ?16`

// settleParty records one entry for the leader and the rows that go with it.
func settleParty(c *conn, s Settle, p party) error {
	// Where nothing was sent, an earlier acceptance and its ticket still stand.
	keep := s.Confirm || s.State == Pending
	seqs, err := seqsFor(c, s, p)
	if err != nil {
		return err
	}
	for i, m := range p.members {
		if _, err := c.exec(settleQuery, int64(s.State), int64(s.Turn), bit(s.Open), bit(s.Maybe),
			orNull(s.CallID), orNull(s.RequestID), bit(keep), orNull(s.Ticket),
			orNull(s.Code), orNull(s.Message), int64(s.HTTPStatus), int64(s.Attempts),
			millis(s.SentAt), millis(s.ConfirmedAt), seqs[i], m.id, orNull(s.Note)); err != nil {
			return err
		}
	}
	return nil
}

// seqsFor says where in the history the rows are after the entry: at the end, in
// sheet order, or where they were if this is only what a look showed. What is still
// to be done and left no trace is not in the history.
func seqsFor(c *conn, s Settle, p party) ([]int64, error) {
	seqs := make([]int64, len(p.members))
	for i, m := range p.members {
		n, err := c.count("SELECT CASE WHEN ?2 AND tried + ?3 = 0 AND maybe = 0 THEN 0 ELSE seq END FROM op WHERE id = ?1",
			m.id, bit(s.State == Pending && !s.Maybe), int64(s.Attempts))
		if err != nil {
			return nil, err
		}
		seqs[i] = n
	}
	if s.State == Pending || s.Confirm && !slices.Contains(seqs, 0) {
		return seqs, nil
	}
	first, err := takeSeqs(c, len(p.members))
	for i := range seqs {
		seqs[i] = first + int64(i)
	}
	return seqs, err
}

func accountOf(c *conn, op int64) (name string, err error) {
	err = c.query("SELECT a.name FROM op o JOIN account a ON a.id = o.account WHERE o.id = ?", func(v []driver.Value) error {
		name = text(v[0])
		return nil
	}, op)
	return name, err
}
