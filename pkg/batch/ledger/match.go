package ledger

import (
	"context"
	"fmt"
	"iter"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Decide says what becomes of the rows of a sheet; see Import.Match.
type Decide = func(entries iter.Seq2[Entry, error], choose func(past, rows []Entry, recordLevel bool, choices []Choice) error) error

// Match has decide go through all that the sheet asks for and all that was ever tried, in
// one stream: record by record, of a record what is about everybody first and then user
// by user, and of a user the earlier operations in their order before the rows in theirs.
// Records of which nothing was tried before are left out if they have one row only, which
// has no date and asks for something.
//
// decide calls choose for a target's earlier operations and rows, which then stand as
// decided; a row that it says nothing of is new, its own head, and has its normal turn.
// recordLevel says that the target is the record as a whole. It is an error if the choices
// do not fit. Match changes nothing durable; decide must not use the ledger. After rows were
// rejected it is called again.
func (im *Import) Match(ctx context.Context, decide Decide) error {
	if err := im.at(im.step); err != nil {
		return err
	}
	if err := im.read(ctx, func(c *conn) (err error) {
		if err := c.once("DELETE FROM import_entry; DELETE FROM import_found; DELETE FROM import_choice"); err != nil {
			return err
		}
		if im.base, err = c.count("SELECT coalesce(max(id), 0) AS n FROM op"); err != nil {
			return err
		}
		return im.sortEntries(ctx, c)
	}); err != nil {
		return fmt.Errorf("match the sheet: %w", err)
	}
	im.chosen = make(map[Count]int64)
	m := &matching{im: im, ctx: ctx}
	err := decide(m.entries(), m.choose)
	if err == nil {
		err = m.flush()
	}
	if err == nil {
		// Sorted once, the choices cost a fraction of being put in place one by one.
		err = im.l.alone(ctx, func(c *conn) error {
			return c.temporary(func() error {
				if _, err := c.execContext(ctx, "INSERT INTO import_choice SELECT * FROM import_found ORDER BY ord"); err != nil {
					return err
				}
				return c.once("DELETE FROM import_found; DELETE FROM import_entry")
			})
		})
	}
	if err != nil {
		return fmt.Errorf("match the sheet: %w", err)
	}
	im.step = stepMatched
	return nil
}

// sortEntries puts the rows and the history side by side.
func (im *Import) sortEntries(ctx context.Context, c *conn) error {
	history, err := c.count("SELECT count(*) AS n FROM (SELECT 1 FROM op WHERE seq > 0 LIMIT 1) x")
	if err != nil {
		return err
	}
	rows := `SELECT 0 AS past, s.ord AS ref, 0 AS op, p.account, ` + operationOf("s") + `, p.user_id, '' AS state, 0 AS uncertain, 0 AS happened, 0 AS ticket, 0 AS prior, s.line, s.due
		FROM import_row s JOIN import_person p ON p.id = s.person WHERE s.rejected = 0`
	entries := rows
	if history > 0 {
		entries = rows + ` UNION ALL SELECT 1, o.seq, o.id, a.name, ` + operationOf("o") + `, o.user_id, o.state, o.uncertain, o.happened, CASE WHEN o.ticket IS NULL THEN 0 ELSE 1 END, o.prior, 0, NULL
			FROM op o JOIN account a ON a.id = o.account WHERE o.seq > 0`
	} else {
		// Where nothing was tried before, only records with several rows, or one that has a
		// date or asks for nothing, need a decision.
		entries = "SELECT e.* FROM (" + rows + `) e JOIN (SELECT p.account, s.object, s.record_id FROM import_row s JOIN import_person p ON p.id = s.person
			WHERE s.rejected = 0 GROUP BY p.account, s.object, s.record_id HAVING count(*) > 1 OR count(s.due) > 0 OR min(s.action) = 'keep') t
			ON t.account = e.account AND t.object = e.object AND t.record_id = e.record_id`
	}
	n, err := c.execContext(ctx, `INSERT INTO import_entry (past, ref, op, account, action, object, record_id, context_id, access, minutes, related, permissions, user_id, state, uncertain, happened, ticket, prior, line, due)
		SELECT * FROM (`+entries+`) x ORDER BY account, object, record_id, user_id, context_id, past DESC, ref`)
	im.single = history == 0 && n == 0
	return err
}

// matching is a match under way.
type matching struct {
	im    *Import
	ctx   context.Context
	found []found
	last  *crm.Operation // what was read last: of a million equal rows, one is kept
}

// found is what was decided for a row.
type found struct {
	ord, take, head, members int64
	recordLevel              bool
	turn                     Turn
	prior                    crm.Prior
	hold                     Hold // the zero value for none
}

func (m *matching) entries() iter.Seq2[Entry, error] {
	query := "SELECT n, past, ref, op, account, " + operationOf("e") + ", user_id, state, uncertain, happened, ticket, prior, line, due FROM import_entry e WHERE n > ? ORDER BY n LIMIT ?"
	return paged(m.ctx, m.im.l.alone, func() pager[Entry] {
		after := int64(0)
		return func(c *conn, page []Entry) ([]Entry, error) {
			err := c.query(query, func(r row) error {
				after = r.int64("n")
				e, err := m.entry(r)
				page = append(page, e)
				return err
			}, after, int64(pageRows))
			return page, err
		}
	})
}

func (m *matching) entry(r row) (Entry, error) {
	op, err := r.operation()
	if err != nil {
		return Entry{}, err
	}
	if m.last == nil || *m.last != op {
		m.last = &op
	}
	e := Entry{Account: r.text("account"), Op: m.last}
	if !r.bool("past") {
		e.Ord, e.Line, e.Due = r.int64("ref"), r.int("line"), r.int64("due")
		return e, nil
	}
	e.ID, e.Seq, e.Prior = r.int64("op"), r.int64("ref"), crm.Prior(r.int("prior"))
	e.Uncertain, e.Happened, e.Accepted = r.bool("uncertain"), r.bool("happened"), r.bool("ticket")
	e.Status, err = r.state("state")
	return e, err
}

// choose keeps what was decided for a target.
func (m *matching) choose(past, rows []Entry, recordLevel bool, choices []Choice) error {
	if err := fits(choices, len(past), len(rows)); err != nil {
		return fmt.Errorf("row %d: %w", rows[0].Ord, err)
	}
	members := make([]int64, len(choices))
	for _, ch := range choices {
		members[ch.Head]++
	}
	id := func(i int) int64 {
		if take := choices[i].Take; take >= 0 {
			return past[take].ID
		}
		return m.im.base + rows[i].Ord
	}
	for i, ch := range choices {
		f := found{ord: rows[i].Ord, head: id(ch.Head), members: members[i], recordLevel: recordLevel, turn: choices[ch.Head].Turn, prior: ch.Prior}
		if ch.Take >= 0 {
			f.take = past[ch.Take].ID
		}
		if ch.Hold != nil {
			f.hold = *ch.Hold
		}
		m.im.chosen[countOf(past, rows[i], ch, f.turn, ch.Head != i)]++
		if m.found = append(m.found, f); len(m.found) >= flushRows {
			if err := m.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes down what was decided.
func (m *matching) flush() error {
	if len(m.found) == 0 {
		return nil
	}
	err := m.im.l.alone(m.ctx, func(c *conn) error {
		return c.temporary(func() error {
			return c.insert("import_found", "ord, record_level, take, head, members, turn, prior, status, code, message", len(m.found), func(args []any, i int) []any {
				f := m.found[i]
				var take any
				if f.take != 0 {
					take = f.take
				}
				args = append(args, f.ord, bit(f.recordLevel), take, f.head, f.members, int64(f.turn), int64(f.prior))
				if f.hold.Code == "" {
					return append(args, nil, nil, nil)
				}
				return append(args, f.hold.Status.Name(), f.hold.Code, f.hold.Message)
			})
		})
	})
	m.found = m.found[:0]
	return err
}

// fits checks what was decided for a target.
func fits(choices []Choice, past, rows int) error {
	if len(choices) != rows {
		return fmt.Errorf("%d choices for %d rows", len(choices), rows)
	}
	taken := make([]bool, past)
	for i, ch := range choices {
		switch {
		case ch.Take < -1 || ch.Take >= past || ch.Take >= 0 && taken[ch.Take]:
			return fmt.Errorf("row %d of the target takes the past operation %d of %d, or one twice", i, ch.Take, past)
		case ch.Head < 0 || ch.Head > i || choices[ch.Head].Head != ch.Head:
			return fmt.Errorf("row %d of the target goes with row %d", i, ch.Head)
		case ch.Hold != nil && (ch.Turn != TurnNone || ch.Head != i):
			return fmt.Errorf("row %d of the target has come to something by itself, and has turn %d with row %d", i, ch.Turn, ch.Head)
		case ch.Turn > TurnLate:
			return fmt.Errorf("row %d of the target has turn %d", i, ch.Turn)
		}
		if ch.Take >= 0 {
			taken[ch.Take] = true
		}
	}
	return nil
}
