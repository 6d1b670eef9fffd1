package ledger

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
)

// bulk is how many operations must come or go for the scattered indexes to be made
// anew.
const bulk = 20_000

// Adopt makes the staged sheet the ledger's sheet, all of it or nothing, and
// returns when that is durable. The rows are replaced; those of a sheet of another name
// (Source.Sheet) are kept beside them, until one of a third name comes. Operations that Match found
// to be new are added; those that it took and that are not settled get their place
// in this run; those that the sheet no longer wants stay as history, without a
// turn, or go if nothing was ever tried of them. Addresses are bound to the users
// that they were resolved to.
//
// Adopting the same sheet again gives the same result; the ids of operations that
// were never tried change.
func (s *Stage) Adopt(ctx context.Context, src Source) error {
	if err := s.at(stepMatched); err != nil {
		return err
	}
	source, err := json.Marshal(src)
	if err != nil {
		return fmt.Errorf("adopt the sheet: %w", err)
	}
	err = s.l.change(ctx, func(c *conn) error {
		a := adoption{c: c, ctx: ctx, base: s.base, bulk: bulk}
		a.keepEarlier(src.Sheet)
		if err := a.run(source); err != nil {
			return err
		}
		return appendEvent(c, s.l.now(), "sheet", map[string]any{
			"name": src.Name, "sha256": src.SHA256, "rows": s.n, "invalid": a.invalid,
		})
	})
	if err != nil {
		return fmt.Errorf("adopt the sheet: %w", err)
	}
	s.step = stepAdopted
	return s.l.alone(ctx, func(c *conn) error {
		// The log has grown by all of the sheet. That it stays so long, if another
		// process reads from it, is no error.
		return c.once("PRAGMA wal_checkpoint(TRUNCATE)")
	})
}

// adoption is one go at it, inside the transaction.
type adoption struct {
	c       *conn
	ctx     context.Context
	base    int64
	bulk    int64
	invalid int64
	keeps   bool // the rows of an earlier sheet of another name
	err     error
}

// do runs a statement unless one before it has failed.
func (a *adoption) do(query string, args ...driver.Value) (changed int64) {
	if a.err != nil {
		return 0
	}
	changed, a.err = a.c.execContext(a.ctx, query, args...)
	return changed
}

func (a *adoption) run(source []byte) error {
	a.do("INSERT INTO account (name) SELECT DISTINCT account FROM swho WHERE true ON CONFLICT DO NOTHING")
	a.do("INSERT INTO meta (name, value) VALUES ('source', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1", string(source))
	a.do(`INSERT INTO email (account, address, user)
		SELECT a.id, w.email, w.user FROM swho w JOIN account a ON a.name = w.account
		WHERE w.email <> '' AND w.user <> '' AND w.line IS NOT NULL AND w.code IS NULL ON CONFLICT DO NOTHING`)
	a.makeWhole()

	// What is no longer wanted. It has to go before what is wanted gets its place.
	gone := a.do("DELETE FROM op WHERE " + a.unwanted())
	a.do("UPDATE op SET open = 0, turn = 0, lead = id, rows = 1 WHERE open = 1 OR turn > 0")

	scattered := gone > a.bulk || a.fresh() > a.bulk
	if scattered && a.err == nil {
		a.err = a.c.once(dropScatteredIndexes)
	}
	a.takeUp()
	a.addNew()
	if scattered && a.err == nil {
		a.err = a.c.once(scatteredIndexes)
	}
	a.replaceRows()
	return a.err
}

// makeWhole gives the history of records that have a revoke_all now the target of
// the record as a whole.
func (a *adoption) makeWhole() {
	a.do("UPDATE op SET target = p.target FROM spast p WHERE p.op = op.id")
	a.do("INSERT INTO whole (rec, account, object, record) SELECT rec, account, object, record FROM swhole WHERE true ON CONFLICT DO NOTHING")
}

// fresh counts the rows that become new operations, at most.
func (a *adoption) fresh() (n int64) {
	if a.err != nil {
		return 0
	}
	n, a.err = a.c.count("SELECT (SELECT count(*) FROM skey) - (SELECT count(take) FROM spick)")
	return n
}

// takeUp gives the operations that rows stand for, and that are not settled for
// good, their place in this run. What may yet take effect holds up the later rows
// of its target even if there is nothing to do for it now. A sending that no outcome
// has followed counts as an attempt.
func (a *adoption) takeUp() {
	a.do(fmt.Sprintf(`UPDATE op SET ord = p.ord, lead = p.lead, rows = p.rows, turn = p.turn, prior = p.prior,
		open = p.turn > 0 OR op.state IN (%d, %d, %d),
		tried = CASE op.state WHEN %d THEN op.attempts ELSE op.tried END,
		target = k.target, key = k.key, bundle = k.bundle, alone = k.key NOT IN (SELECT key FROM smany)
		FROM spick p CROSS JOIN skey k ON k.ord = p.ord
		WHERE op.id = p.take AND (p.turn > 0 OR op.state NOT IN (%d, %d))`, Sent, Accepted, InDoubt, Sent, Done, Unchanged))
}

func (a *adoption) addNew() {
	a.do(fmt.Sprintf(`INSERT INTO op (id, account, target, rec, key, bundle, body, user, state, turn, ord, lead, rows,
		open, alone, seq, maybe, prior, attempts, tried)
		SELECT ?1 + s.ord, a.id, k.target, k.rec, k.key, k.bundle, s.op, w.user, %d, coalesce(p.turn, %d), s.ord,
			coalesce(p.lead, ?1 + s.ord), coalesce(p.rows, 1), coalesce(p.turn > 0, 1), k.key NOT IN (SELECT key FROM smany), 0, 0, coalesce(p.prior, 0), 0, 0
		FROM skey k CROSS JOIN srow s ON s.ord = k.ord CROSS JOIN swho w ON w.id = s.who CROSS JOIN account a ON a.name = w.account
			LEFT JOIN spick p ON p.ord = k.ord
		WHERE p.take IS NULL ORDER BY k.ord`, Pending, TurnNormal), a.base)
}

func (a *adoption) replaceRows() {
	a.do("DELETE FROM row")
	a.do(`INSERT INTO row (ord, line, cells, op) SELECT s.ord, s.line, s.cells, coalesce(p.take, ?1 + s.ord)
		FROM srow s LEFT JOIN spick p ON p.ord = s.ord ORDER BY s.ord`, a.base)
	if a.err == nil {
		var some bool
		if some, a.err = someInvalid(a.c); !some {
			return
		}
	}
	a.invalid = a.do(`UPDATE row SET op = NULL, account = x.account, code = x.code, message = x.problem
		FROM (SELECT s.ord, a.id AS account, coalesce(b.code, w.code) AS code, coalesce(b.problem, w.problem) AS problem
			FROM srow s JOIN swho w ON w.id = s.who JOIN account a ON a.name = w.account LEFT JOIN sbad b ON b.ord = s.ord
			WHERE s.bad = 1 OR w.code IS NOT NULL) x
		WHERE x.ord = row.ord`)
}
