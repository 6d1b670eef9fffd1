package ledger

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Index finds out which rows belong together: what target each valid row acts on,
// and the key and bundle that the provider gives its operation. It is called once,
// after the last Resolve and Spoil; key must depend on nothing but its arguments.
// see, unless it is nil, is handed every row without its cells, invalid ones too, in
// sheet order.
//
// On a record that has a revoke_all in the sheet or in the ledger's history, every
// operation's target is the record as a whole.
func (s *Stage) Index(ctx context.Context, key func(account string, op crm.Operation) (key, bundle string), see func(StagedRow)) error {
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
	if err := s.eachRow(ctx, "", func(c *conn, r StagedRow) error {
		if see != nil {
			see(r)
		}
		if r.Code != "" {
			return nil
		}
		s.indexed[plain(r.Account, r.Op)]++
		return ix.add(c, r)
	}); err != nil {
		return fmt.Errorf("index the sheet: %w", err)
	}
	// A row whose target no other row and no history has need not be decided about.
	if err := s.l.alone(ctx, func(c *conn) error {
		_, err := c.execContext(ctx, `INSERT INTO slane SELECT target, ord, whole FROM skey
			WHERE EXISTS (SELECT 1 FROM op WHERE seq > 0) OR target IN (SELECT target FROM stwice) ORDER BY target, ord`)
		return err
	}); err != nil {
		return fmt.Errorf("index the sheet: %w", err)
	}
	s.step = stepIndexed
	return nil
}

// eachRow hands the rows without their cells, in sheet order and a page at a time, to
// each, in a transaction. and narrows the rows down.
func (s *Stage) eachRow(ctx context.Context, and string, each func(c *conn, r StagedRow) error) error {
	after := int64(0)
	var page []StagedRow
	for {
		page = page[:0]
		err := s.l.alone(ctx, func(c *conn) error {
			if err := c.query(bareColumns+stagedFrom+"WHERE s.ord > ?"+and+" ORDER BY s.ord LIMIT ?", func(v []driver.Value) error {
				r, err := scanStaged(v)
				page = append(page, r)
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
		after = page[len(page)-1].Ord
	}
}

// findWhole lists the records that a revoke_all of the sheet makes whole for the
// first time, and the history that their targets then have.
func (s *Stage) findWhole(ctx context.Context) error {
	and := fmt.Sprintf(" AND "+validRow+" AND substr(s.op, 1, 1) = x'%02x'", uint8(crm.RevokeAll))
	if err := s.eachRow(ctx, and, func(c *conn, r StagedRow) error {
		rec := s.l.hash.record(r.Account, r.Op.Object, r.Op.Record)
		_, err := c.exec(`INSERT INTO swhole (rec, account, object, record, target) SELECT ?1, ?2, ?3, ?4, ?5
			WHERE NOT EXISTS (SELECT 1 FROM whole WHERE rec = ?1 AND account = ?2 AND object = ?3 AND record = ?4)
			ON CONFLICT DO NOTHING`,
			rec, r.Account, r.Op.Object, r.Op.Record, s.l.hash.target(r.Account, r.Op.Target().Whole()))
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
	// The keys and the targets so far.
	keys, targets *repeats
	last          struct {
		account string
		target  crm.Target
		whole   bool
	}
}

func (s *Stage) newIndexer(ctx context.Context, key func(string, crm.Operation) (string, string)) (*indexer, error) {
	ix := &indexer{hash: s.l.hash, key: key, keys: newRepeats(s.n), targets: newRepeats(s.n)}
	err := s.l.alone(ctx, func(c *conn) error {
		return c.query("SELECT EXISTS (SELECT 1 FROM swhole) OR EXISTS (SELECT 1 FROM whole)", func(v []driver.Value) error {
			ix.any = truth(v[0])
			return nil
		})
	})
	return ix, err
}

func (ix *indexer) add(c *conn, r StagedRow) error {
	whole, err := ix.whole(c, r)
	if err != nil {
		return err
	}
	target := r.Op.Target()
	if whole {
		target = target.Whole()
	}
	name, bundle := ix.key(r.Account, r.Op)
	key, at := ix.hash.key(r.Account, name), ix.hash.target(r.Account, target)
	if ix.keys.again(key) {
		if _, err := c.exec("INSERT INTO smany (key) VALUES (?) ON CONFLICT DO NOTHING", key); err != nil {
			return err
		}
	}
	if ix.targets.again(at) {
		if _, err := c.exec("INSERT INTO stwice (target) VALUES (?) ON CONFLICT DO NOTHING", at); err != nil {
			return err
		}
	}
	_, err = c.exec("INSERT INTO skey (ord, target, rec, key, bundle, whole) VALUES (?, ?, ?, ?, ?, ?)", r.Ord,
		at, ix.hash.record(r.Account, r.Op.Object, r.Op.Record), key, ix.hash.bundle(r.Account, bundle), bit(whole))
	return err
}

// whole says whether the row's record has a revoke_all somewhere. Rows of one
// record often stand together, so the last answer is kept.
func (ix *indexer) whole(c *conn, r StagedRow) (bool, error) {
	if !ix.any {
		return false, nil
	}
	t := r.Op.Target().Whole()
	if ix.last.account == r.Account && ix.last.target == t {
		return ix.last.whole, nil
	}
	found := false
	err := c.query(`SELECT 1 FROM swhole WHERE rec = ?1 AND account = ?2 AND object = ?3 AND record = ?4
		UNION ALL SELECT 1 FROM whole WHERE rec = ?1 AND account = ?2 AND object = ?3 AND record = ?4`, func([]driver.Value) error {
		found = true
		return nil
	}, ix.hash.record(r.Account, t.Object, t.Record), r.Account, t.Object, t.Record)
	ix.last.account, ix.last.target, ix.last.whole = r.Account, t, found
	return found, err
}
