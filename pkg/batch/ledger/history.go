package ledger

import (
	"context"
	"fmt"
	"iter"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Tried is an operation that was ever intended or recorded, whether the sheet still
// has it or not.
type Tried struct {
	ID        int64
	Line      int // of its row in the chosen sheet, 0 if it has none any more
	Account   string
	Op        crm.Operation // with its user
	State     State
	Uncertain bool
	Happened  bool
	Seq       int64 // its place in the history
	Attempts  int   // how often the change was sent
	Ticket    string
	Code      string
	Message   string
	Note      string
	Seen      int64 // the Seen that shows what was there; 0 if nobody looked
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
	query := `SELECT h.n, o.id, h.line, a.name, o.user_id, o.state, o.uncertain, o.happened, o.seq, o.attempts, o.ticket, o.code, o.message, o.note, o.seen, ` +
		operationOf("o") + ` FROM history_order h JOIN op o ON o.id = h.op JOIN account a ON a.id = o.account WHERE h.n > ? ORDER BY h.n LIMIT ?`
	return paged(ctx, l.alone, func() pager[Tried] {
		after := int64(0)
		return func(c *conn, page []Tried) ([]Tried, error) {
			err := c.query(query, func(r row) error {
				after = r.int64("n")
				t := Tried{
					ID: r.int64("id"), Line: r.int("line"), Account: r.text("name"), Uncertain: r.bool("uncertain"), Happened: r.bool("happened"), Seq: r.int64("seq"),
					Attempts: r.int("attempts"), Ticket: r.text("ticket"), Code: r.text("code"), Message: r.text("message"), Note: r.text("note"), Seen: r.int64("seen"),
				}
				var err error
				if t.Op, err = r.operation(); err == nil {
					t.State, err = r.state("state")
				}
				page = append(page, t)
				return err
			}, after, int64(pageRows))
			return page, err
		}
	})
}
