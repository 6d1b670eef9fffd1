package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Review is a second look at the ledger's sheet, or the one that was chosen: somebody goes
// through its rows, asks the CRM about some of them, and notes what is known now of each. It changes
// nothing durable and works on a ledger that is open for reading only. What is
// noted lives in temporary tables, so that memory stays flat whatever the sheet's
// size.
//
// A ledger has one review at a time. The order is: Rows to the end with Ask and
// Answer, then Questions with Answer, then Answers. Ask and Answer may be called
// from any goroutine.
type Review struct {
	l       *Ledger
	release func() // frees the temporary tables
}

// ReviewRow is a row of the ledger's sheet as far as a review needs it.
type ReviewRow struct {
	Ord       int64
	Line      int
	Account   string
	Invalid   bool          // never sent; Op is the zero value
	Op        crm.Operation // with its user, as far as that is known
	Email     string        // the address that the row names its user by
	Status    crm.Status
	Uncertain bool
	Happened  bool
	Ticket    string // of the acceptance, "" if there was none
	Message   string
	Undone    *Undoing // what another sheet has done about it since; nil if nothing
}

// Question is a row that the CRM is to be asked about.
type Question struct {
	Ord     int64
	Account string
	Ticket  string // what it is asked with; questions with one ticket stand together
	// Except names users whom the row is not about, although its record is: later rows
	// speak of them.
	Except []string

	// What follows is filled in by Questions.
	Line   int
	Op     crm.Operation
	Email  string
	Status crm.Status
}

// Answer is what is known of a row now. The ledger does not look into Holds.
type Answer struct {
	Ord           int64
	Holds         string
	Code, Message string
	// Later, if not 0, is the ordinal of a row of the same target that came after this
	// one: Holds is that row's.
	Later int64
}

// Reviewed is a row with its answer. A row that nobody has answered for has the zero
// answer.
type Reviewed struct {
	Result
	Answer Answer
}

const reviewTables = `
DROP TABLE IF EXISTS review_order;
DROP TABLE IF EXISTS review_question;
DROP TABLE IF EXISTS review_answer;
CREATE TEMP TABLE review_order (n {{id}}, ord BIGINT);
CREATE TEMP TABLE review_question (ord {{key}}, account {{text}}, ticket {{text}}, besides {{text}});
CREATE TEMP TABLE review_answer (ord {{key}}, holds {{text}}, code {{text}}, message {{text}}, later BIGINT);
CREATE INDEX review_ticket ON review_question (account, ticket, ord);
`

// Review begins a review, and drops what an earlier one has noted.
func (l *Ledger) Review(ctx context.Context) (*Review, error) {
	r := &Review{l, l.hold()}
	l.mu.Lock()
	older := l.reviewing
	l.reviewing = r
	l.mu.Unlock()
	if older != nil {
		older.Close()
	}
	err := l.alone(ctx, func(c *conn) error {
		if err := c.once(reviewTables); err != nil {
			return err
		}
		_, err := c.execContext(ctx, `INSERT INTO review_order (ord) SELECT r.ord FROM `+l.rows()+` r LEFT JOIN op o ON o.id = r.op
			ORDER BY o.account, o.object, o.record_id, r.ord DESC`)
		return err
	})
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("sort the rows by record: %w", err)
	}
	return r, nil
}

// Close ends the review, which is of no use any more. Closing again, or not at all, is safe:
// the ledger's Close frees what it holds.
func (r *Review) Close() { r.release() }

// Rows streams every row once, record by record, and of a record the last row of
// the sheet first.
func (r *Review) Rows(ctx context.Context) iter.Seq2[ReviewRow, error] {
	query := `SELECT v.n, v.ord, r.line, r.email, a.name, o.account AS account_id, o.id, o.user_id, o.state, o.uncertain, o.happened, o.ticket,
		CASE WHEN r.status IS NULL THEN o.message ELSE r.message END AS message, r.status, o.seq, ` + operationOf("o") + ` FROM review_order v JOIN ` + r.l.rows() + ` r ON r.ord = v.ord
		LEFT JOIN op o ON o.id = r.op LEFT JOIN account a ON a.id = coalesce(o.account, r.account) WHERE v.n > ? ORDER BY v.n LIMIT ?`
	return paged(ctx, r.l.alone, func() pager[ReviewRow] {
		after := int64(0)
		return func(c *conn, page []ReviewRow) ([]ReviewRow, error) {
			var places []place
			err := c.query(query, func(q row) (err error) {
				after = q.int64("n")
				row := ReviewRow{
					Ord: q.int64("ord"), Line: q.int("line"), Account: q.text("name"), Email: q.text("email"),
					Uncertain: q.bool("uncertain"), Happened: q.bool("happened"), Ticket: q.text("ticket"), Message: q.text("message"),
				}
				if row.Status, row.Invalid, err = q.status(); err == nil && !q.null("id") {
					row.Op, err = q.operation()
				}
				page, places = append(page, row), append(places, place{q.int64("account_id"), q.int64("seq")})
				return err
			}, after, int64(pageRows))
			for i := range page {
				if err == nil && r.l.earlier && happened(page[i].Status) {
					page[i].Undone, err = c.undoing(places[i], page[i].Op)
				}
			}
			return page, err
		}
	})
}

// Ask notes rows that the CRM is to be asked about.
func (r *Review) Ask(ctx context.Context, questions []Question) error {
	err := r.l.alone(ctx, func(c *conn) error {
		return c.temporary(func() error {
			for _, q := range questions {
				var besides any
				if len(q.Except) > 0 {
					raw, err := json.Marshal(q.Except)
					if err != nil {
						return err
					}
					besides = string(raw)
				}
				if _, err := c.exec(`INSERT INTO review_question (ord, account, ticket, besides) VALUES (?, ?, ?, ?)
					ON CONFLICT (ord) DO UPDATE SET account = excluded.account, ticket = excluded.ticket, besides = excluded.besides`,
					q.Ord, q.Account, q.Ticket, besides); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("note what to ask: %w", err)
	}
	return nil
}

// Questions streams the questions of an account by ticket, and those of a ticket
// in sheet order.
func (r *Review) Questions(ctx context.Context, account string) iter.Seq2[Question, error] {
	query := "SELECT q.ord, q.ticket, q.besides, r.line, r.email, r.status, o.user_id, o.state, " + operationOf("o") + ` FROM review_question q
		JOIN ` + r.l.rows() + ` r ON r.ord = q.ord JOIN op o ON o.id = r.op
		WHERE q.account = ? AND (q.ticket, q.ord) > (?, ?) ORDER BY q.ticket, q.ord LIMIT ?`
	return paged(ctx, r.l.alone, func() pager[Question] {
		ticket, ord := "", int64(0)
		return func(c *conn, page []Question) ([]Question, error) {
			err := c.query(query, func(r row) (err error) {
				ord, ticket = r.int64("ord"), r.text("ticket")
				q := Question{Ord: ord, Account: account, Ticket: ticket, Line: r.int("line"), Email: r.text("email")}
				if q.Status, _, err = r.status(); err != nil {
					return err
				}
				if q.Op, err = r.operation(); err != nil {
					return err
				}
				if s := r.text("besides"); s != "" {
					err = json.Unmarshal([]byte(s), &q.Except)
				}
				page = append(page, q)
				return err
			}, account, ticket, ord, int64(pageRows))
			return page, err
		}
	})
}

// Answer notes what is known of rows now. A later answer takes the place of an
// earlier one.
func (r *Review) Answer(ctx context.Context, answers []Answer) error {
	err := r.l.alone(ctx, func(c *conn) error {
		return c.temporary(func() error {
			for _, a := range answers {
				if _, err := c.exec(`INSERT INTO review_answer (ord, holds, code, message, later) VALUES (?, ?, ?, ?, ?)
					ON CONFLICT (ord) DO UPDATE SET holds = excluded.holds, code = excluded.code, message = excluded.message, later = excluded.later`,
					a.Ord, a.Holds, orNull(a.Code), orNull(a.Message), a.Later); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("note what is known: %w", err)
	}
	return nil
}

// Unanswered streams the ordinals of an account's questions whose answer still has
// the given code, in sheet order.
func (r *Review) Unanswered(ctx context.Context, account, code string) iter.Seq2[int64, error] {
	return paged(ctx, r.l.alone, func() pager[int64] {
		after := int64(0)
		return func(c *conn, page []int64) ([]int64, error) {
			err := c.query(`SELECT q.ord FROM review_question q JOIN review_answer a ON a.ord = q.ord
				WHERE q.ord > ? AND q.account = ? AND a.code = ? ORDER BY q.ord LIMIT ?`, func(r row) error {
				after = r.int64("ord")
				page = append(page, after)
				return nil
			}, after, account, code, int64(pageRows))
			return page, err
		}
	})
}

// Answers streams every row of the ledger's sheet once, in sheet order, with what is
// known of it.
func (r *Review) Answers(ctx context.Context) iter.Seq2[Reviewed, error] {
	return func(yield func(Reviewed, error) bool) {
		next, stop := iter.Pull2(r.answers(ctx))
		defer stop()
		said, err, more := next()
		for res, rerr := range r.l.Results(ctx) {
			if rerr == nil && more {
				rerr = err
			}
			if rerr != nil {
				yield(Reviewed{}, rerr)
				return
			}
			row := Reviewed{Result: res}
			if more && said.Ord == res.Ord {
				row.Answer = said
				said, err, more = next()
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// answers streams the answers by ordinal.
func (r *Review) answers(ctx context.Context) iter.Seq2[Answer, error] {
	return paged(ctx, r.l.alone, func() pager[Answer] {
		after := int64(0)
		return func(c *conn, page []Answer) ([]Answer, error) {
			err := c.query(`SELECT a.ord, CASE WHEN a.later > 0 THEN b.holds ELSE a.holds END AS holds, a.code, a.message, a.later
				FROM review_answer a LEFT JOIN review_answer b ON b.ord = a.later AND a.later > 0
				WHERE a.ord > ? ORDER BY a.ord LIMIT ?`, func(r row) error {
				after = r.int64("ord")
				page = append(page, Answer{Ord: after, Holds: r.text("holds"), Code: r.text("code"), Message: r.text("message"), Later: r.int64("later")})
				return nil
			}, after, int64(pageRows))
			return page, err
		}
	})
}
