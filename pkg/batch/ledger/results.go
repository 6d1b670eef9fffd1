package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Results streams every row of the ledger's sheet once, in sheet order, with what
// has become of it so far. A row that is recorded while the stream is read may show
// either state.
func (l *Ledger) Results(ctx context.Context) iter.Seq2[Result, error] {
	return l.results(ctx, l.read, "r.ord, '' AS person, r.email", "r.ord", l.rows()+" r")
}

const personTable = `
DROP TABLE IF EXISTS person_order;
CREATE TEMP TABLE person_order (n {{id}}, ord BIGINT, person {{text}}, email {{text}});
`

// ResultsByPerson streams what Results does, person by person, and of one account by
// account and in sheet order. One person are all rows whose user has the same address, as
// far as the ledger has resolved it, on whatever accounts, or else the same id on the same
// account. First come the rows that are about everybody on a record and those that name
// nobody, by account. It works on a ledger that is open for reading only. One such stream
// is read at a time, and none while the ledger changes.
func (l *Ledger) ResultsByPerson(ctx context.Context) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		defer l.hold()()
		err := l.alone(ctx, func(c *conn) error {
			if err := c.once(personTable); err != nil {
				return err
			}
			_, err := c.execContext(ctx, `INSERT INTO person_order (ord, person, email)
				SELECT ord, person, email FROM (SELECT r.ord, coalesce(a.name, '') AS account, coalesce(r.email, e.address) AS email,
						CASE WHEN coalesce(o.user_id, '') <> '' THEN coalesce(e.address, a.name || '/' || o.user_id) ELSE coalesce(r.email, '') END AS person
					FROM `+l.rows()+` r LEFT JOIN op o ON o.id = r.op LEFT JOIN account a ON a.id = coalesce(o.account, r.account)
						LEFT JOIN (SELECT account, user_id, min(address) AS address FROM email GROUP BY account, user_id) e
							ON e.account = o.account AND e.user_id = o.user_id) x
				ORDER BY person, account, ord`)
			return err
		})
		if err != nil {
			yield(Result{}, fmt.Errorf("sort the results by person: %w", err))
			return
		}
		l.results(ctx, l.alone, "r.ord, p.person, p.email", "p.n", "person_order p JOIN "+l.rows()+" r ON r.ord = p.ord")(yield)
	}
}

// results streams the rows of a source, in which they are r, by a number that says where
// in the stream they stand. of are the columns that the sources have in their own ways.
func (l *Ledger) results(ctx context.Context, read func(context.Context, func(*conn) error) error, of, number, source string) iter.Seq2[Result, error] {
	query := "SELECT " + of + ", " + number + " AS number, r.line, r.cells, r.code AS row_code, r.message AS row_message, r.status, r.due, r.last_day, a.name AS account, o.account AS account_id, o.id, o.user_id, " + operationOf("o") + `,
		o.state, o.turn, o.open, o.prior, o.uncertain, o.head, o.code, o.message, o.note, o.request_id, o.ticket, o.call_id,
		o.http_status, o.attempts, o.sent_at, o.confirmed_at, o.first_run, o.seen, o.seq
		FROM ` + source + ` LEFT JOIN op o ON o.id = r.op LEFT JOIN account a ON a.id = coalesce(o.account, r.account)
		WHERE ` + number + " > ? ORDER BY " + number + " LIMIT ?"
	return paged(ctx, read, func() pager[Result] {
		after := int64(0)
		return func(c *conn, page []Result) ([]Result, error) {
			var places []place
			err := c.query(query, func(r row) error {
				res, err := r.result()
				after = r.int64("number")
				page, places = append(page, res), append(places, place{r.int64("account_id"), r.int64("seq")})
				return err
			}, after, int64(pageRows))
			for i := range page {
				if err == nil && l.earlier && happened(page[i].Status) {
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
		res.Status, res.Code, res.Message, res.Note = crm.Pending, CodeUndone, undone.String(), ""
	}
	return err
}

func (r row) result() (Result, error) {
	res := Result{
		Ord: r.int64("ord"), Line: r.int("line"), Account: r.text("account"), Due: r.time("due"), LastDay: r.text("last_day"),
		Email: r.text("email"), Person: r.text("person"),
	}
	var err error
	if res.Cells, err = unpackCells(r.bytes("cells")); err != nil {
		return res, err
	}
	if res.Status, res.Invalid, err = r.status(); err == nil && !r.null("id") {
		err = r.operationOfResult(&res)
	}
	if !r.null("status") {
		res.Code, res.Message, res.Note = r.text("row_code"), r.text("row_message"), ""
	}
	return res, err
}

// status reads how a row stands: by itself, or else as its operation does.
func (r row) status() (s crm.Status, invalid bool, err error) {
	switch {
	case r.text("status") == statusInvalid:
		return crm.Pending, true, nil
	case !r.null("status"):
		s, err = r.state("status")
		return s, false, err
	}
	s, err = r.state("state")
	return s, false, err
}

// operationOfResult reads the operation that a row stands for, and what is known of it.
func (r row) operationOfResult(res *Result) (err error) {
	res.ID = r.int64("id")
	res.Turn, res.Open, res.Prior, res.Uncertain, res.Member = Turn(r.int("turn")), r.bool("open"), crm.Prior(r.int("prior")), r.bool("uncertain"), r.int64("head") != res.ID
	res.Code, res.Message, res.Note = r.text("code"), r.text("message"), r.text("note")
	res.RequestID, res.Ticket, res.CallID = r.text("request_id"), r.text("ticket"), r.text("call_id")
	res.HTTPStatus, res.Attempts = r.int("http_status"), r.int("attempts")
	res.SentAt, res.ConfirmedAt = r.time("sent_at"), r.time("confirmed_at")
	res.FirstRun, res.Seen = r.int64("first_run"), r.int64("seen")
	res.Op, err = r.operation()
	return err
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

// Tried is an operation that was ever intended or recorded, whether the sheet still
// has it or not.
type Tried struct {
	ID        int64
	Line      int // of its row in the chosen sheet, 0 if it has none any more
	Account   string
	Op        crm.Operation // with its user
	Status    crm.Status
	Uncertain bool
	Happened  bool
	Seq       int64     // its place in the history
	Attempts  int       // how often the change was sent
	SentAt    time.Time // when it was last sent, zero if it never was
	// ConfirmedAt is when it was last looked at, zero if it never was.
	ConfirmedAt time.Time
	Ticket      string
	Code        string
	Message     string
	Note        string
	Seen        int64 // the Seen that shows what was there; 0 if nobody looked
}

const historyTable = `
DROP TABLE IF EXISTS history_order;
CREATE TEMP TABLE history_order (n {{id}}, op BIGINT, line BIGINT);
`

// History streams every operation that was ever tried, record by record: first the
// record where something happened last, and of each record what happened first.
// It works on a ledger that is open for reading only. One such stream is read at a
// time, and none while the ledger changes.
func (l *Ledger) History(ctx context.Context) iter.Seq2[Tried, error] {
	return func(yield func(Tried, error) bool) {
		defer l.hold()()
		err := l.alone(ctx, func(c *conn) error {
			if err := c.once(historyTable); err != nil {
				return err
			}
			_, err := c.execContext(ctx, `INSERT INTO history_order (op, line) SELECT o.id, r.line FROM op o
				JOIN (SELECT account, object, record_id, max(seq) AS last FROM op WHERE seq > 0 GROUP BY account, object, record_id) g
					ON g.account = o.account AND g.object = o.object AND g.record_id = o.record_id
				LEFT JOIN `+l.rows()+` r ON r.op = o.id
				WHERE o.seq > 0 ORDER BY g.last DESC, o.seq`)
			return err
		})
		if err != nil {
			yield(Tried{}, fmt.Errorf("sort what happened by record: %w", err))
			return
		}
		l.history(ctx)(yield)
	}
}

func (l *Ledger) history(ctx context.Context) iter.Seq2[Tried, error] {
	query := `SELECT h.n, o.id, h.line, a.name, o.user_id, o.state, o.uncertain, o.happened, o.seq, o.attempts, o.ticket, o.code, o.message, o.note, o.seen, o.sent_at, o.confirmed_at, ` +
		operationOf("o") + ` FROM history_order h JOIN op o ON o.id = h.op JOIN account a ON a.id = o.account WHERE h.n > ? ORDER BY h.n LIMIT ?`
	return paged(ctx, l.alone, func() pager[Tried] {
		after := int64(0)
		return func(c *conn, page []Tried) ([]Tried, error) {
			err := c.query(query, func(r row) error {
				after = r.int64("n")
				t := Tried{
					ID: r.int64("id"), Line: r.int("line"), Account: r.text("name"), Uncertain: r.bool("uncertain"), Happened: r.bool("happened"), Seq: r.int64("seq"),
					Attempts: r.int("attempts"), Ticket: r.text("ticket"), Code: r.text("code"), Message: r.text("message"), Note: r.text("note"), Seen: r.int64("seen"),
					SentAt: r.time("sent_at"), ConfirmedAt: r.time("confirmed_at"),
				}
				var err error
				if t.Op, err = r.operation(); err == nil {
					t.Status, err = r.state("state")
				}
				page = append(page, t)
				return err
			}, after, int64(pageRows))
			return page, err
		}
	})
}
