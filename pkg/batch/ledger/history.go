package ledger

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Tried is an operation that was ever intended or settled, whether the sheet still
// has it or not.
type Tried struct {
	ID       int64
	Record   int64 // equal for the operations of one record; different records may in theory share it
	Line     int   // of its row in the chosen sheet, 0 if it has none any more
	Account  string
	Op       crm.Operation // with its user
	State    State
	Maybe    bool
	Seq      int64 // its place in the history
	Attempts int   // how often the change was sent
	Ticket   string
	Code     string
	Message  string
	Note     string
	Before   int64 // the Call whose Before shows what was there; 0 if nobody looked
}

const historyTable = `
DROP TABLE IF EXISTS temp.vhist;
CREATE TEMP TABLE vhist (n INTEGER PRIMARY KEY, op INTEGER, line INTEGER);
`

// History streams every operation that was ever tried, record by record: first the
// record where something happened last, and of each record what happened first.
// It works on a ledger that is open for reading only. One such stream is read at a
// time, and none while the ledger changes.
func (l *Ledger) History(ctx context.Context) iter.Seq2[Tried, error] {
	return func(yield func(Tried, error) bool) {
		if err := l.sortHistory(ctx); err != nil {
			yield(Tried{}, fmt.Errorf("sort what happened by record: %w", err))
			return
		}
		for t, err := range l.history(ctx) {
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

func (l *Ledger) sortHistory(ctx context.Context) error {
	return l.alone(ctx, func(c *conn) error {
		if err := c.once(historyTable); err != nil {
			return err
		}
		_, err := c.execContext(ctx, fmt.Sprintf(`INSERT INTO vhist (op, line) SELECT o.id, r.line FROM op o
			JOIN (SELECT rec, max(seq) AS last FROM op WHERE seq > 0 GROUP BY rec) g ON g.rec = o.rec
			LEFT JOIN %s r ON r.op = o.id
			WHERE o.seq > 0 ORDER BY g.last DESC, o.rec, o.seq`, l.rows()))
		return err
	})
}

func (l *Ledger) history(ctx context.Context) iter.Seq2[Tried, error] {
	return paged(ctx, l.alone, func() pager[Tried] {
		after := int64(0)
		return func(c *conn, page []Tried) ([]Tried, error) {
			names, err := accountNames(c)
			if err != nil {
				return nil, err
			}
			err = c.query(`SELECT v.n, o.id, o.rec, v.line, o.account, o.body, o.user, o.state, o.maybe, o.seq, o.attempts, o.ticket,
				o.code, o.message, o.note, o.before
				FROM vhist v JOIN op o ON o.id = v.op
				WHERE v.n > ? ORDER BY v.n LIMIT ?`, func(v []driver.Value) (err error) {
				after = integer(v[0])
				t := Tried{
					ID: integer(v[1]), Record: integer(v[2]), Line: int(integer(v[3])), Account: names[integer(v[4])],
					State: State(integer(v[7])), Maybe: truth(v[8]), Seq: integer(v[9]), Attempts: int(integer(v[10])), Ticket: text(v[11]),
					Code: text(v[12]), Message: text(v[13]), Note: text(v[14]), Before: integer(v[15]),
				}
				t.Op, err = unpackOp(blob(v[5]), text(v[6]))
				page = append(page, t)
				return err
			}, after, int64(pageRows))
			return page, err
		}
	})
}
