package ledger

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// bulk is how many operations must come or go for the indexes to be made anew.
const bulk = 20_000

// Commit makes the imported sheet the ledger's sheet, all of it or nothing, and
// returns when that is durable. The rows are replaced; those of a sheet of another name
// (Source.Sheet) are kept beside them, until one of a third name comes. Operations that Match found
// to be new are added; those that it took and that are not finished get their place
// in this run; those that the sheet no longer wants stay as history, without a
// turn, or go if nothing was ever tried of them. Addresses are bound to the users
// that they were resolved to.
//
// Committing the same sheet again gives the same result; the ids of operations that
// were never tried change.
func (im *Import) Commit(ctx context.Context, src Source) error {
	if err := im.at(stepMatched); err != nil {
		return err
	}
	source, err := json.Marshal(src)
	if err != nil {
		return fmt.Errorf("commit the sheet: %w", err)
	}
	err = im.l.changeAlone(ctx, func(c *conn) error {
		t := committing{c: c, ctx: ctx, base: im.base, rows: int64(im.n), bulk: bulk}
		t.keepEarlier(src.Sheet)
		if err := t.run(source); err != nil {
			return err
		}
		held, err := heldRows(c)
		if err != nil {
			return err
		}
		return appendEvent(c, im.l.now(), "sheet", map[string]any{
			"name": src.Name, "sha256": src.SHA256, "rows": im.n, "invalid": t.invalid, "held": held,
		})
	})
	if err != nil {
		return fmt.Errorf("commit the sheet: %w", err)
	}
	if err := im.Close(); err != nil {
		return err
	}
	return im.l.alone(ctx, func(c *conn) error { return c.flush(c, im.n) })
}

// heldRows counts the rows that have come to something by themselves, as "not_due 3, unchanged
// 2".
func heldRows(c *conn) (held string, err error) {
	err = c.query("SELECT status, count(*) AS n FROM sheet_row WHERE status IS NOT NULL AND status <> ? GROUP BY status ORDER BY status", func(r row) error {
		if held != "" {
			held += ", "
		}
		held += fmt.Sprintf("%s %d", r.text("status"), r.int64("n"))
		return nil
	}, statusInvalid)
	return held, err
}

// committing is one go at it, inside the transaction.
type committing struct {
	c       *conn
	ctx     context.Context
	base    int64
	rows    int64 // of the sheet
	bulk    int64
	invalid int64
	err     error
}

// do runs a statement unless one before it has failed.
func (t *committing) do(query string, args ...any) (changed int64) {
	if t.err != nil {
		return 0
	}
	changed, t.err = t.c.execContext(t.ctx, query, args...)
	return changed
}

func (t *committing) run(source []byte) error {
	t.do(`INSERT INTO account (id, name) SELECT (SELECT coalesce(max(id), 0) FROM account) + row_number() OVER (ORDER BY account), account
		FROM (SELECT DISTINCT account FROM import_person WHERE account NOT IN (SELECT name FROM account)) x`)
	t.do("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT ({{ledger}}name) DO UPDATE SET value = excluded.value", metaSource, string(source))
	t.bindAddresses()

	// What is no longer wanted. It has to go before what is wanted gets its place.
	gone := t.do("DELETE FROM op WHERE seq = 0 AND id NOT IN (SELECT op FROM earlier_row WHERE op IS NOT NULL)")
	t.do("UPDATE op SET open = 0, turn = 0, head = id, members = 1 WHERE open = 1 OR turn > 0")

	drop, anew := t.c.bulkIndexes()
	bulk := drop != "" && (gone > t.bulk || t.fresh() > t.bulk)
	if bulk && t.err == nil {
		t.err = t.c.once(drop)
	}
	t.takeUp()
	t.addNew()
	if bulk && t.err == nil {
		t.err = t.c.once(anew)
	}
	t.replaceRows()
	return t.err
}

// fresh counts the rows that become new operations, at most.
func (t *committing) fresh() int64 {
	if t.err != nil {
		return 0
	}
	var taken int64
	taken, t.err = t.c.count("SELECT count(take) AS n FROM import_choice")
	return t.rows - taken
}

// bindAddresses keeps whose addresses they are.
func (t *committing) bindAddresses() {
	some := false
	if t.err == nil {
		some, t.err = someNamed(t.c)
	}
	if some {
		t.do(`INSERT INTO email (account, address, user_id)
			SELECT DISTINCT a.id, p.email, p.user_id FROM import_person p JOIN account a ON a.name = p.account
			WHERE p.email <> '' AND p.user_id <> '' AND p.id IN (SELECT person FROM import_row WHERE rejected = 0) ON CONFLICT DO NOTHING`)
	}
}

// takeUp gives the operations that rows stand for, and that are not finished for
// good, their place in this run. What may yet take effect holds up the later rows
// of its target even if there is nothing to do for it now. A sending that no outcome
// has followed counts as an attempt.
func (t *committing) takeUp() {
	t.do(`UPDATE op SET ord = k.ord, head = k.head, members = k.members, turn = k.turn, prior = k.prior, record_level = k.record_level,
		open = CASE WHEN k.turn > 0 OR op.state IN (?, ?, ?) THEN 1 ELSE 0 END,
		tried = CASE op.state WHEN ? THEN op.attempts ELSE op.tried END
		FROM import_choice k WHERE op.id = k.take AND (k.turn > 0 OR op.state NOT IN (?, ?))`,
		crm.Sent.Name(), crm.Accepted.Name(), crm.Uncertain.Name(), crm.Sent.Name(), crm.Done.Name(), crm.Unchanged.Name())
}

func (t *committing) addNew() {
	t.do(`INSERT INTO op (id, account, action, object, record_id, context_id, user_id, access, minutes, related, permissions, record_level,
			state, turn, ord, head, members, open, seq, uncertain, happened, prior, attempts, tried)
		SELECT s.ord + ?, a.id, s.action, s.object, s.record_id, s.context_id, p.user_id, s.access, s.minutes, s.related, s.permissions, coalesce(k.record_level, 0),
			?, coalesce(k.turn, ?), s.ord, coalesce(k.head, s.ord + ?), coalesce(k.members, 1), CASE WHEN coalesce(k.turn, 1) > 0 THEN 1 ELSE 0 END, 0, 0, 0, coalesce(k.prior, 0), 0, 0
		FROM import_row s JOIN import_person p ON p.id = s.person JOIN account a ON a.name = p.account LEFT JOIN import_choice k ON k.ord = s.ord
		WHERE k.take IS NULL AND s.rejected = 0 ORDER BY s.ord`, t.base, crm.Pending.Name(), int64(TurnNormal), t.base)
}

func (t *committing) replaceRows() {
	t.do("DELETE FROM sheet_row")
	t.do(`INSERT INTO sheet_row (ord, line, cells, op, code, message, status, due, last_day, email)
		SELECT s.ord, s.line, s.cells, coalesce(k.take, s.ord + ?), k.code, k.message, k.status, s.due, s.last_day, CASE WHEN p.email <> '' THEN p.email END
		FROM import_row s JOIN import_person p ON p.id = s.person LEFT JOIN import_choice k ON k.ord = s.ord ORDER BY s.ord`, t.base)
	if t.err == nil {
		var some bool
		if some, t.err = someInvalid(t.c); !some {
			return
		}
	}
	t.invalid = t.do(`UPDATE sheet_row SET op = NULL, account = x.account, code = x.code, message = x.problem, status = x.status
		FROM (SELECT s.ord, a.id AS account, b.code, b.problem, b.status
			FROM import_reject b JOIN import_row s ON s.ord = b.ord JOIN import_person p ON p.id = s.person JOIN account a ON a.name = p.account) x
		WHERE x.ord = sheet_row.ord`)
}
