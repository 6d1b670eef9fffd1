package ledger

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// SharedKey is a key under which several operations are to be sent or asked about.
type SharedKey struct {
	Account string
	Op      crm.Operation // one of them
	Ops     int64         // how many are to be sent, rows that go together counted once
	Targets int64         // of how many targets: operations on one go one after the other
	Asked   int64         // how many were accepted by an earlier run and are asked about
	Tickets int64         // under how many tickets they were
}

// Shared streams, after Match, the keys under which more than one operation is to
// be sent, or asked about: what there is to be saved by doing them together.
func (s *Stage) Shared(ctx context.Context) iter.Seq2[SharedKey, error] {
	query := fmt.Sprintf(`SELECT g.key, g.n, w.account, s.op, w.user, g.targets, g.asked, g.tickets FROM (
			SELECT k.key, min(k.ord) AS ord,
				sum(coalesce(p.turn, 2) >= 2) AS n, count(DISTINCT CASE WHEN coalesce(p.turn, 2) >= 2 THEN k.target END) AS targets,
				sum(coalesce(p.turn, 2) = 1) AS asked, count(DISTINCT CASE WHEN p.turn = 1 THEN o.ticket END) AS tickets
			FROM smany m CROSS JOIN sgroup k ON k.key = m.key LEFT JOIN spick p ON p.ord = k.ord LEFT JOIN op o ON o.id = p.take
			WHERE m.key > ? AND coalesce(p.turn, 2) >= 1 AND (p.ord IS NULL OR p.lead = coalesce(p.take, p.ord + %d))
			GROUP BY m.key HAVING n > 1 OR asked > 1 ORDER BY m.key LIMIT ?) g
		CROSS JOIN srow s ON s.ord = g.ord CROSS JOIN swho w ON w.id = s.who ORDER BY g.key`, s.base)
	return func(yield func(SharedKey, error) bool) {
		if err := s.at(stepMatched); err != nil {
			yield(SharedKey{}, err)
			return
		}
		some := false
		err := s.l.alone(ctx, func(c *conn) error {
			n, err := c.count("SELECT EXISTS (SELECT 1 FROM smany)")
			if some = n > 0; err != nil || !some {
				return err
			}
			_, err = c.execContext(ctx, `INSERT INTO sgroup SELECT key, ord, target FROM skey
				WHERE key IN (SELECT key FROM smany) AND NOT EXISTS (SELECT 1 FROM sgroup) ORDER BY key, ord`)
			return err
		})
		if err != nil {
			yield(SharedKey{}, fmt.Errorf("index the keys: %w", err))
		}
		if err != nil || !some {
			return
		}
		for key, err := range paged(ctx, s.l.alone, func() pager[SharedKey] {
			after := int64(-1 << 63)
			return func(c *conn, page []SharedKey) ([]SharedKey, error) {
				err := c.query(query, func(v []driver.Value) error {
					op, err := unpackOp(blob(v[3]), text(v[4]))
					after = integer(v[0])
					page = append(page, SharedKey{Account: text(v[2]), Op: op, Ops: integer(v[1]), Targets: integer(v[5]), Asked: integer(v[6]), Tickets: integer(v[7])})
					return err
				}, after, int64(pageRows))
				return page, err
			}
		}) {
			if !yield(key, err) {
				return
			}
		}
	}
}
