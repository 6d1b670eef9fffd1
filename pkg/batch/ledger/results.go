package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Results streams every row of the ledger's sheet once, in sheet order, with what
// has become of it so far. A row that is recorded while the stream is read may show
// either state.
func (l *Ledger) Results(ctx context.Context) iter.Seq2[Result, error] {
	query := "SELECT r.ord, r.line, r.cells, r.code AS row_code, r.message AS row_message, r.unavailable, a.name AS account, o.account AS account_id, o.id, o.user_id, " + operationOf("o") + `,
		o.state, o.turn, o.open, o.prior, o.uncertain, o.head, o.code, o.message, o.note, o.request_id, o.ticket, o.call_id,
		o.http_status, o.attempts, o.sent_at, o.confirmed_at, o.first_run, o.seen, o.seq
		FROM ` + l.rows() + ` r LEFT JOIN op o ON o.id = r.op LEFT JOIN account a ON a.id = coalesce(o.account, r.account)
		WHERE r.ord > ? ORDER BY r.ord LIMIT ?`
	return paged(ctx, l.read, func() pager[Result] {
		after := int64(0)
		return func(c *conn, page []Result) ([]Result, error) {
			var places []place
			err := c.query(query, func(r row) error {
				res, err := r.result()
				after = res.Ord
				page, places = append(page, res), append(places, place{r.int64("account_id"), r.int64("seq")})
				return err
			}, after, int64(pageRows))
			for i := range page {
				if err == nil && l.earlier && page[i].State.happened() {
					err = c.markUndone(&page[i], places[i])
				}
			}
			if err != nil {
				return nil, fmt.Errorf("read the results: %w", err)
			}
			return page, nil
		}
	})
}

// markUndone says of a row that another sheet has undone that it is to be done again.
func (c *conn) markUndone(res *Result, at place) error {
	undone, err := c.undoing(at, res.Op)
	if undone != nil {
		res.State, res.Code, res.Message, res.Note = Pending, CodeUndone, undone.String(), ""
	}
	return err
}

func (r row) result() (Result, error) {
	res := Result{Ord: r.int64("ord"), Line: r.int("line"), Account: r.text("account")}
	var err error
	if res.Cells, err = unpackCells(r.bytes("cells")); err != nil {
		return res, err
	}
	if r.null("id") {
		res.Code, res.Message = r.text("row_code"), r.text("row_message")
		if res.Invalid = !r.bool("unavailable"); !res.Invalid {
			res.State = Unavailable
		}
		return res, nil
	}
	res.ID = r.int64("id")
	res.Turn, res.Open, res.Prior, res.Uncertain, res.Member = Turn(r.int("turn")), r.bool("open"), crm.Prior(r.int("prior")), r.bool("uncertain"), r.int64("head") != res.ID
	res.Code, res.Message, res.Note = r.text("code"), r.text("message"), r.text("note")
	res.RequestID, res.Ticket, res.CallID = r.text("request_id"), r.text("ticket"), r.text("call_id")
	res.HTTPStatus, res.Attempts = r.int("http_status"), r.int("attempts")
	res.SentAt, res.ConfirmedAt = r.time("sent_at"), r.time("confirmed_at")
	res.FirstRun, res.Seen = r.int64("first_run"), r.int64("seen")
	if res.State, err = r.state("state"); err != nil {
		return res, err
	}
	res.Op, err = r.operation()
	return res, err
}

// seenQuery reads what was seen before a sending; a condition on s follows.
const seenQuery = `SELECT s.id, s.call_id, a.name, s.run, s.attempt, s.sent_at, s.state FROM seen s JOIN account a ON a.id = s.account `

func (r row) seen() (Seen, error) {
	seen := Seen{
		Ref: r.int64("id"), CallID: r.text("call_id"), Account: r.text("name"), Run: r.int64("run"),
		Attempt: r.int("attempt"), SentAt: r.time("sent_at"),
	}
	if err := json.Unmarshal([]byte(r.text("state")), &seen.Before); err != nil {
		return seen, fmt.Errorf("%w: what was there before call %s: %w", ErrDamaged, seen.CallID, err)
	}
	return seen, nil
}

// Seen returns what a Result.Seen refers to.
func (l *Ledger) Seen(ctx context.Context, ref int64) (seen Seen, ok bool, err error) {
	err = l.read(ctx, func(c *conn) error {
		return c.query(seenQuery+"WHERE s.id = ?", func(r row) (err error) {
			seen, err = r.seen()
			ok = true
			return err
		}, ref)
	})
	return seen, ok, err
}
