package ledger

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// stagedOp is a valid staged row without its cells.
type stagedOp struct {
	ord     int64
	account string
	op      crm.Operation
}

// Index finds out which rows belong together: what target each valid row acts on,
// and the key and bundle that the provider gives its operation. It is called once,
// after the last Resolve and Spoil; key must depend on nothing but its arguments.
//
// On a record that has a revoke_all in the sheet or in the ledger's history, every
// operation's target is the record as a whole.
func (s *Stage) Index(ctx context.Context, key func(account string, op crm.Operation) (key, bundle string)) error {
	if err := s.at(stepAdd); err != nil {
		return err
	}
	if err := s.Flush(); err != nil {
		return err
	}
	if s.all {
		if err := s.findWhole(ctx); err != nil {
			return fmt.Errorf("index the sheet: %w", err)
		}
	}
	ix, err := s.newIndexer(ctx, key)
	if err != nil {
		return fmt.Errorf("index the sheet: %w", err)
	}
	s.indexed = make(map[Tally]int64)
	if err := s.eachOp(ctx, "", func(c *conn, r stagedOp) error {
		s.indexed[plain(r.account, r.op)]++
		return ix.add(c, r)
	}); err != nil {
		return fmt.Errorf("index the sheet: %w", err)
	}
	if err := s.l.alone(ctx, func(c *conn) error {
		if _, err := c.execContext(ctx, "CREATE INDEX temp.skey_target ON skey (target, ord, whole)"); err != nil {
			return err
		}
		_, err := c.execContext(ctx, "INSERT INTO smany (key) SELECT key FROM skey GROUP BY key HAVING count(*) > 1")
		return err
	}); err != nil {
		return fmt.Errorf("index the sheet: %w", err)
	}
	s.step = stepIndexed
	return nil
}

// eachOp hands the valid rows, in sheet order and a page at a time, to each, in a
// transaction. and narrows the rows down.
func (s *Stage) eachOp(ctx context.Context, and string, each func(c *conn, r stagedOp) error) error {
	after := int64(0)
	for {
		var page []stagedOp
		err := s.l.alone(ctx, func(c *conn) error {
			if err := c.query(`SELECT s.ord, s.op, w.user, w.account FROM srow s JOIN swho w ON w.id = s.who
				WHERE s.ord > ? AND `+validRow+and+` ORDER BY s.ord LIMIT ?`, func(v []driver.Value) error {
				op, err := unpackOp(blob(v[1]), text(v[2]))
				page = append(page, stagedOp{integer(v[0]), text(v[3]), op})
				return err
			}, after, int64(pageRows)); err != nil {
				return err
			}
			return c.temporary(func() error {
				for _, r := range page {
					if err := each(c, r); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].ord
	}
}

// findWhole lists the records that a revoke_all of the sheet makes whole for the
// first time, and the history that their targets then have.
func (s *Stage) findWhole(ctx context.Context) error {
	and := fmt.Sprintf(" AND substr(s.op, 1, 1) = x'%02x'", uint8(crm.RevokeAll))
	if err := s.eachOp(ctx, and, func(c *conn, r stagedOp) error {
		rec := s.l.hash.record(r.account, r.op.Object, r.op.Record)
		_, err := c.exec(`INSERT INTO swhole (rec, account, object, record, target) SELECT ?1, ?2, ?3, ?4, ?5
			WHERE NOT EXISTS (SELECT 1 FROM whole WHERE rec = ?1 AND account = ?2 AND object = ?3 AND record = ?4)
			ON CONFLICT DO NOTHING`,
			rec, r.account, r.op.Object, r.op.Record, s.l.hash.target(r.account, r.op.Target().Whole()))
		return err
	}); err != nil {
		return err
	}
	return s.findPast(ctx)
}

// findPast lists the operations in the history of the records in swhole, by the
// target that they are going to have.
func (s *Stage) findPast(ctx context.Context) error {
	type past struct{ target, id int64 }
	after := int64(0)
	for {
		var page []past
		n := 0
		err := s.l.alone(ctx, func(c *conn) error {
			if err := c.query(`SELECT o.id, o.body, w.object, w.record, w.target
				FROM (SELECT id, account, rec, body FROM op WHERE id > ? AND seq > 0 ORDER BY id LIMIT ?) o
				JOIN account a ON a.id = o.account
				LEFT JOIN swhole w ON w.rec = o.rec AND w.account = a.name ORDER BY o.id`, func(v []driver.Value) error {
				after, n = integer(v[0]), n+1
				if v[4] == nil {
					return nil
				}
				op, err := unpackOp(blob(v[1]), "")
				if op.Object == text(v[2]) && op.Record == text(v[3]) {
					page = append(page, past{integer(v[4]), after})
				}
				return err
			}, after, int64(pageRows)); err != nil {
				return err
			}
			return c.temporary(func() error {
				for _, p := range page {
					if _, err := c.exec("INSERT INTO spast (target, op) VALUES (?, ?) ON CONFLICT DO NOTHING", p.target, p.id); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil || n == 0 {
			return err
		}
	}
}

// indexer computes the hashes of rows.
type indexer struct {
	hash hasher
	key  func(account string, op crm.Operation) (key, bundle string)
	any  bool // some record is whole
	last struct {
		account string
		target  crm.Target
		whole   bool
	}
}

func (s *Stage) newIndexer(ctx context.Context, key func(string, crm.Operation) (string, string)) (*indexer, error) {
	ix := &indexer{hash: s.l.hash, key: key}
	err := s.l.alone(ctx, func(c *conn) error {
		return c.query("SELECT EXISTS (SELECT 1 FROM swhole) OR EXISTS (SELECT 1 FROM whole)", func(v []driver.Value) error {
			ix.any = truth(v[0])
			return nil
		})
	})
	return ix, err
}

func (ix *indexer) add(c *conn, r stagedOp) error {
	whole, err := ix.whole(c, r)
	if err != nil {
		return err
	}
	target := r.op.Target()
	if whole {
		target = target.Whole()
	}
	key, bundle := ix.key(r.account, r.op)
	_, err = c.exec("INSERT INTO skey (ord, target, rec, key, bundle, whole) VALUES (?, ?, ?, ?, ?, ?)", r.ord,
		ix.hash.target(r.account, target), ix.hash.record(r.account, r.op.Object, r.op.Record),
		ix.hash.key(r.account, key), ix.hash.bundle(r.account, bundle), bit(whole))
	return err
}

// whole says whether the row's record has a revoke_all somewhere. Rows of one
// record often stand together, so the last answer is kept.
func (ix *indexer) whole(c *conn, r stagedOp) (bool, error) {
	if !ix.any {
		return false, nil
	}
	t := r.op.Target().Whole()
	if ix.last.account == r.account && ix.last.target == t {
		return ix.last.whole, nil
	}
	found := false
	err := c.query(`SELECT 1 FROM swhole WHERE rec = ?1 AND account = ?2 AND object = ?3 AND record = ?4
		UNION ALL SELECT 1 FROM whole WHERE rec = ?1 AND account = ?2 AND object = ?3 AND record = ?4`, func([]driver.Value) error {
		found = true
		return nil
	}, ix.hash.record(r.account, t.Object, t.Record), r.account, t.Object, t.Record)
	ix.last.account, ix.last.target, ix.last.whole = r.account, t, found
	return found, err
}
