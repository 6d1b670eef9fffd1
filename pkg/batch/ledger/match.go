package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

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
		if err := c.once("DELETE FROM import_sorted; DELETE FROM import_past; DELETE FROM import_found; DELETE FROM import_choice"); err != nil {
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
				return c.once("DELETE FROM import_found; DELETE FROM import_sorted; DELETE FROM import_past")
			})
		})
	}
	if err != nil {
		return fmt.Errorf("match the sheet: %w", err)
	}
	im.step = stepMatched
	return nil
}

// inOrder is the order in which Match goes through rows and history, but for those of one user
// (and context) on one record. The records come first: they tell most entries apart.
const inOrder = " ORDER BY record_id, object, account, user_id, context_id, "

// sortEntries puts the rows and the history in one order, each in a table.
func (im *Import) sortEntries(ctx context.Context, c *conn) error {
	// As an expression the record keeps SQLite from going by index op_record, which means to
	// look for each operation in another place.
	past, err := c.execContext(ctx, `INSERT INTO import_past (record_id, op, seq, account, user_id, action, object, context_id, access, minutes, related, permissions, state, uncertain, happened, ticket, prior)
		SELECT coalesce(o.record_id, '') AS record_id, o.id, o.seq, a.name AS account, o.user_id, o.action, o.object, o.context_id, o.access, o.minutes, o.related, o.permissions, o.state, o.uncertain, o.happened, CASE WHEN o.ticket IS NULL THEN 0 ELSE 1 END, o.prior
		FROM op o JOIN account a ON a.id = o.account WHERE o.seq > 0`+inOrder+"seq")
	if err != nil {
		return err
	}
	where := "s.rejected = 0"
	if past == 0 {
		// Where nothing was tried before, only records with several rows, or one that has a
		// date or asks for nothing, need a decision.
		where += ` AND s.record_id IN (SELECT record_id FROM import_row WHERE rejected = 0
			GROUP BY record_id HAVING count(*) > 1 OR count(due) > 0 OR min(action) = 'keep')`
	}
	rows, err := c.execContext(ctx, `INSERT INTO import_sorted (ord, account, user_id, `+operationColumns+`, line, due)
		SELECT s.ord, p.account, p.user_id, `+operationOf("s")+`, s.line, s.due
		FROM import_row s JOIN import_person p ON p.id = s.person WHERE `+where+inOrder+"ord")
	im.single = past == 0 && rows == 0
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

// entries streams rows and history side by side.
func (m *matching) entries() iter.Seq2[Entry, error] {
	return ahead(m.ctx, m.im.l.alone, func() pager[Entry] {
		past := sorted{query: "SELECT n, op, seq, account, user_id, " + operationOf("e") + ", state, uncertain, happened, ticket, prior FROM import_past e WHERE n > ? ORDER BY n LIMIT ?", read: row.pastEntry}
		rows := sorted{query: "SELECT n, ord, account, user_id, " + operationOf("e") + ", line, due FROM import_sorted e WHERE n > ? ORDER BY n LIMIT ?", read: row.rowEntry}
		return func(c *conn, page []Entry) ([]Entry, error) {
			for len(page) < pageRows {
				if err := errors.Join(past.fill(c), rows.fill(c)); err != nil {
					return page, err
				}
				from := &past
				switch {
				case len(rows.next) == 0 && len(past.next) == 0:
					return page, nil
				case len(past.next) == 0, len(rows.next) > 0 && rows.next[0].before(past.next[0]):
					from = &rows
				}
				e := from.next[0]
				from.next = from.next[1:]
				if m.last != nil && *m.last == *e.Op {
					e.Op = m.last
				}
				m.last = e.Op
				page = append(page, e)
			}
			return page, nil
		}
	})
}

// sorted reads the entries of a table in their order.
type sorted struct {
	query string
	read  func(r row) (Entry, error)
	after int64
	page  []Entry
	next  []Entry // what is left of the page
	ended bool
}

// fill reads the next page where the last one has been used up.
func (s *sorted) fill(c *conn) error {
	if len(s.next) > 0 || s.ended {
		return nil
	}
	s.page = s.page[:0]
	err := c.query(s.query, func(r row) error {
		s.after = r.int64("n")
		e, err := s.read(r)
		s.page = append(s.page, e)
		return err
	}, s.after, int64(pageRows))
	s.next, s.ended = s.page, len(s.page) < pageRows
	return err
}

// before says that a row comes before an earlier operation in the order of sortEntries; of one
// user on one record the earlier operations come first.
func (e Entry) before(past Entry) bool {
	a, b := e.Op, past.Op
	return cmp.Or(strings.Compare(a.Record, b.Record), strings.Compare(a.Object, b.Object), strings.Compare(e.Account, past.Account),
		strings.Compare(a.User, b.User), strings.Compare(a.Context, b.Context)) < 0
}

func (r row) entry() (Entry, error) {
	op, err := r.operation()
	return Entry{Account: r.text("account"), Op: &op}, err
}

func (r row) rowEntry() (Entry, error) {
	e, err := r.entry()
	e.Ord, e.Line, e.Due = r.int64("ord"), r.int("line"), r.int64("due")
	return e, err
}

func (r row) pastEntry() (Entry, error) {
	e, err := r.entry()
	if err != nil {
		return e, err
	}
	e.ID, e.Seq, e.Prior = r.int64("op"), r.int64("seq"), crm.Prior(r.int("prior"))
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
