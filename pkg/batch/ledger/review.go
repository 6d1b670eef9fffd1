package ledger

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Review is a second look at the adopted sheet, or the one that was chosen: somebody goes through its rows,
// asks the CRM about some of them, and notes what is known now of each. It changes
// nothing durable and works on a ledger that is open for reading only. What is
// noted lives in temporary tables, so that memory stays flat whatever the sheet's
// size.
//
// A ledger has one review at a time. The order is: Rows to the end with Ask and
// Answer, then Questions with Answer, then Answers. Ask and Answer may be called
// from any goroutine.
type Review struct{ l *Ledger }

// ReviewRow is a row of the adopted sheet as far as a review needs it.
type ReviewRow struct {
	Ord     int64
	Line    int
	Record  int64 // equal for the rows of one record; different records may in theory share it
	Account string
	Invalid bool          // never sent; Op is the zero value
	Op      crm.Operation // with its user
	State   State
	Maybe   bool
	Ticket  string // of the acceptance, "" if there was none
	Message string
	Undone  *Undoing // what another sheet has done about it since; nil if nothing
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
	Line  int
	Op    crm.Operation
	State State
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
DROP TABLE IF EXISTS temp.vorder;
DROP TABLE IF EXISTS temp.vask;
DROP TABLE IF EXISTS temp.vsaid;
CREATE TEMP TABLE vorder (n INTEGER PRIMARY KEY, ord INTEGER, rec INTEGER);
CREATE TEMP TABLE vask (ord INTEGER PRIMARY KEY, account TEXT, ticket TEXT, besides TEXT);
CREATE TEMP TABLE vsaid (ord INTEGER PRIMARY KEY, holds TEXT, code TEXT, message TEXT, later INTEGER);
CREATE INDEX temp.vask_ticket ON vask (account, ticket, ord);
`

// Review begins a review, and drops what an earlier one has noted.
func (l *Ledger) Review(ctx context.Context) (*Review, error) {
	err := l.alone(ctx, func(c *conn) error {
		if err := c.once(reviewTables); err != nil {
			return err
		}
		_, err := c.execContext(ctx, fmt.Sprintf(`INSERT INTO vorder (ord, rec) SELECT r.ord, coalesce(o.rec, 0) AS rec
			FROM %s r LEFT JOIN op o ON o.id = r.op ORDER BY rec, r.ord DESC`, l.rows()))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sort the rows by record: %w", err)
	}
	return &Review{l}, nil
}

// Rows streams every row once, record by record, and of a record the last row of
// the sheet first.
func (r *Review) Rows(ctx context.Context) iter.Seq2[ReviewRow, error] {
	return paged(ctx, r.l.alone, func() pager[ReviewRow] {
		after := int64(0)
		return func(c *conn, page []ReviewRow) ([]ReviewRow, error) {
			names, err := accountNames(c)
			if err != nil {
				return nil, err
			}
			err = c.query(fmt.Sprintf(`SELECT v.n, v.ord, v.rec, r.line, coalesce(o.account, r.account), o.body, o.user, o.state, o.maybe, o.ticket,
				coalesce(o.message, r.message), o.target, o.seq FROM vorder v JOIN %s r ON r.ord = v.ord LEFT JOIN op o ON o.id = r.op
				WHERE v.n > ? ORDER BY v.n LIMIT ?`, r.l.rows()), func(v []driver.Value) (err error) {
				after = integer(v[0])
				row := ReviewRow{
					Ord: integer(v[1]), Record: integer(v[2]), Line: int(integer(v[3])), Account: names[integer(v[4])],
					Invalid: v[5] == nil, State: State(integer(v[7])), Maybe: truth(v[8]), Ticket: text(v[9]), Message: text(v[10]),
				}
				if !row.Invalid {
					row.Op, err = unpackOp(blob(v[5]), text(v[6]))
				}
				if err == nil && r.l.earlier && row.State.happened() {
					row.Undone, err = c.undoing(trace{integer(v[4]), integer(v[11]), integer(v[12])}, row.Op)
				}
				page = append(page, row)
				return err
			}, after, int64(pageRows))
			return page, err
		}
	})
}

// Ask notes rows that the CRM is to be asked about.
func (r *Review) Ask(ctx context.Context, questions []Question) error {
	err := r.l.alone(ctx, func(c *conn) error {
		return c.temporary(func() error {
			for _, q := range questions {
				besides := driver.Value(nil)
				if len(q.Except) > 0 {
					raw, err := json.Marshal(q.Except)
					if err != nil {
						return err
					}
					besides = string(raw)
				}
				if _, err := c.exec("INSERT OR REPLACE INTO vask (ord, account, ticket, besides) VALUES (?, ?, ?, ?)",
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
	return paged(ctx, r.l.alone, func() pager[Question] {
		ticket, ord := "", int64(0)
		return func(c *conn, page []Question) ([]Question, error) {
			err := c.query(fmt.Sprintf(`SELECT q.ord, q.ticket, q.besides, r.line, o.body, o.user, o.state
				FROM vask q INDEXED BY vask_ticket JOIN %s r ON r.ord = q.ord JOIN op o ON o.id = r.op
				WHERE q.account = ? AND (q.ticket, q.ord) > (?, ?) ORDER BY q.ticket, q.ord LIMIT ?`, r.l.rows()), func(v []driver.Value) (err error) {
				ord, ticket = integer(v[0]), text(v[1])
				q := Question{Ord: ord, Account: account, Ticket: ticket, Line: int(integer(v[3])), State: State(integer(v[6]))}
				if q.Op, err = unpackOp(blob(v[4]), text(v[5])); err != nil {
					return err
				}
				if s := text(v[2]); s != "" {
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
				if _, err := c.exec("INSERT OR REPLACE INTO vsaid (ord, holds, code, message, later) VALUES (?, ?, ?, ?, ?)",
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
			err := c.query(`SELECT q.ord FROM vask q JOIN vsaid a ON a.ord = q.ord
				WHERE q.ord > ? AND q.account = ? AND a.code = ? ORDER BY q.ord LIMIT ?`, func(v []driver.Value) error {
				after = integer(v[0])
				page = append(page, after)
				return nil
			}, after, account, code, int64(pageRows))
			return page, err
		}
	})
}

// Answers streams every row of the adopted sheet once, in sheet order, with what is
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
			err := c.query(`SELECT a.ord, CASE WHEN a.later > 0 THEN b.holds ELSE a.holds END, a.code, a.message, a.later
				FROM vsaid a LEFT JOIN vsaid b ON b.ord = a.later AND a.later > 0
				WHERE a.ord > ? ORDER BY a.ord LIMIT ?`, func(v []driver.Value) error {
				after = integer(v[0])
				page = append(page, Answer{Ord: after, Holds: text(v[1]), Code: text(v[2]), Message: text(v[3]), Later: integer(v[4])})
				return nil
			}, after, int64(pageRows))
			return page, err
		}
	})
}
