package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Import is a sheet on its way into the ledger. Nobody else sees it, and nothing durable
// changes, until Commit. It lives in temporary tables, so that memory stays flat
// whatever the sheet's size; Commit and Close free them.
//
// An import is for one goroutine. The order is: Add every row, Resolve and Reject, Match,
// then Counts and Commit.
type Import struct {
	l   *Ledger
	n   int         // rows added
	buf []ImportRow // rows not yet in the table
	// moving are rows on their way into the table, while the next are read; moved says
	// when they are there.
	moving []ImportRow
	moved  chan error
	people map[personKey]int64
	step   step
	kinds  map[kind]int64  // how many rows there are of each
	chosen map[Count]int64 // how many rows Match has decided for, by what they count as
	// single says that every record has one row, and no history.
	single  bool
	release func() // frees the temporary tables
	// base is what a row's ordinal is added to for the id of its new operation.
	base int64
}

// step is how far an import has come.
type step uint8

const (
	stepAdd step = iota
	stepMatched
	stepEnded
)

// importTables makes the tables of an import, empty. import_row.person is the row's
// account and user; import_mark are the marks of rows; import_sorted and import_past are the
// rows and the history that Match looks at, record by record; import_found collects what it
// decides for every row that is not simply new, and import_choice has that in the sheet's order.
const importTables = dropImport + `
CREATE TEMP TABLE import_row (ord {{key}}, line BIGINT, person BIGINT, action {{text}}, object {{text}}, record_id {{text}}, context_id {{text}},
	access {{text}}, minutes BIGINT, related {{text}}, permissions {{text}}, cells {{bytes}}, rejected BIGINT, due BIGINT, last_day {{text}});
CREATE TEMP TABLE import_reject (ord {{key}}, status {{text}}, code {{text}}, problem {{text}}, field {{text}}, value {{text}});
CREATE TEMP TABLE import_mark (name {{text}}, ord BIGINT, field {{text}}, value {{text}}, PRIMARY KEY (name, ord, field));
CREATE TEMP TABLE import_person (id {{id}}, account {{text}}, email {{text}}, given {{text}}, user_id {{text}},
	line BIGINT, wanted BIGINT, UNIQUE (account, email, given));
CREATE TEMP TABLE import_sorted (n {{id}}, ord BIGINT, account {{text}}, action {{text}}, object {{text}}, record_id {{text}}, context_id {{text}}, user_id {{text}},
	access {{text}}, minutes BIGINT, related {{text}}, permissions {{text}}, line BIGINT, due BIGINT);
CREATE TEMP TABLE import_past (n {{id}}, op BIGINT, seq BIGINT, account {{text}}, action {{text}}, object {{text}}, record_id {{text}}, context_id {{text}}, user_id {{text}},
	access {{text}}, minutes BIGINT, related {{text}}, permissions {{text}}, state {{text}}, uncertain BIGINT, happened BIGINT, ticket BIGINT, prior BIGINT);
CREATE TEMP TABLE import_found (ord BIGINT, record_level BIGINT, take BIGINT, head BIGINT, members BIGINT, turn BIGINT, prior BIGINT, status {{text}}, code {{text}}, message {{text}});
CREATE TEMP TABLE import_choice (ord {{key}}, record_level BIGINT, take BIGINT, head BIGINT, members BIGINT, turn BIGINT, prior BIGINT, status {{text}}, code {{text}}, message {{text}});
`

// dropImport frees what an import held.
const dropImport = `
DROP TABLE IF EXISTS import_row;
DROP TABLE IF EXISTS import_reject;
DROP TABLE IF EXISTS import_mark;
DROP TABLE IF EXISTS import_person;
DROP TABLE IF EXISTS import_sorted;
DROP TABLE IF EXISTS import_past;
DROP TABLE IF EXISTS import_found;
DROP TABLE IF EXISTS import_choice;
`

// Import begins to take in a sheet. There is one import at a time: an older one is
// dropped, and its methods report so.
func (l *Ledger) Import(ctx context.Context) (*Import, error) {
	im := &Import{l: l, people: make(map[personKey]int64), kinds: make(map[kind]int64), release: l.hold()}
	l.mu.Lock()
	older := l.importing
	l.importing = im // before the tables are new, so that rows of an older import stay out
	l.mu.Unlock()
	if older != nil {
		older.release()
	}
	if err := l.alone(ctx, func(c *conn) error {
		c.renew()
		return c.once(importTables)
	}); err != nil {
		im.release()
		return nil, fmt.Errorf("import the sheet: %w", err)
	}
	return im, nil
}

// Close drops the import and frees what it took. Closing again, or after Commit, is
// safe.
func (im *Import) Close() error {
	defer im.release()
	moved := im.arrive() // of no use any more, whatever became of them
	if im.step == stepEnded || errors.Join(im.at(im.step), moved) != nil {
		return nil // a newer import has its tables already
	}
	im.step = stepEnded
	err := im.l.alone(context.Background(), func(c *conn) error { return c.once(dropImport) })
	if errors.Is(err, ErrInterrupted) {
		return nil // they are gone
	}
	return err
}

// at refuses a method out of its order.
func (im *Import) at(want step) error {
	im.l.mu.Lock()
	defer im.l.mu.Unlock()
	switch {
	case im.l.importing != im || im.step == stepEnded:
		return errors.New("the import has ended")
	case im.step != want:
		return fmt.Errorf("the import is at step %d, not %d", im.step, want)
	}
	return nil
}

// Len returns how many rows were added.
func (im *Import) Len() int { return im.n }

// flushRows is how many rows go into the tables at a time.
const flushRows = 1000

// Add takes in the next row of the sheet; its ordinal is its place among the rows
// added. After an error the import is of no use.
func (im *Import) Add(r ImportRow) error {
	if im.step != stepAdd {
		return im.at(stepAdd)
	}
	im.n++
	r.Ord, r.Email = int64(im.n), strings.ToLower(r.Email)
	im.buf = append(im.buf, r)
	im.kinds[kindOf(r.Account, r.Op)]++
	if len(im.buf) < flushRows {
		return nil
	}
	return im.hand()
}

// flush moves the rows that were added into the tables.
func (im *Import) flush() error {
	if err := im.hand(); err != nil {
		return err
	}
	return im.arrive()
}

// hand gives the rows that were added to the writer and does not wait for it, so
// that reading a sheet and writing it down go on side by side.
func (im *Import) hand() error {
	if err := im.arrive(); err != nil || len(im.buf) == 0 {
		return err
	}
	if err := im.at(stepAdd); err != nil {
		return err
	}
	im.buf, im.moving = im.moving[:0], im.buf
	rows, moved := im.moving, make(chan error, 1)
	im.moved = moved
	go func() {
		moved <- im.l.alone(context.Background(), func(c *conn) error {
			if err := im.at(stepAdd); err != nil {
				return err
			}
			return c.temporary(func() error {
				if err := im.insert(c, rows); err != nil {
					return fmt.Errorf("import rows from %d on: %w", rows[0].Ord, err)
				}
				return nil
			})
		})
	}()
	return nil
}

// arrive waits for the rows that are on their way.
func (im *Import) arrive() error {
	if im.moved == nil {
		return nil
	}
	err := <-im.moved
	im.moved = nil
	clear(im.moving)
	return err
}

// insert puts rows into the tables.
func (im *Import) insert(c *conn, rows []ImportRow) error {
	people := make([]int64, len(rows))
	for i, r := range rows {
		var err error
		if people[i], err = im.personID(c, r); err != nil {
			return err
		}
		for _, m := range r.Marks {
			if _, err := c.exec("INSERT INTO import_mark (name, ord, field, value) VALUES (?, ?, ?, ?) ON CONFLICT (name, ord, field) DO UPDATE SET value = excluded.value",
				m.Name, r.Ord, m.Column, m.Value); err != nil {
				return err
			}
		}
		if r.Code != "" {
			if _, err := c.exec("INSERT INTO import_reject (ord, status, code, problem, field, value) VALUES (?, ?, ?, ?, ?, ?)",
				r.Ord, statusInvalid, r.Code, r.Problem, r.Column, r.Value); err != nil {
				return err
			}
		}
	}
	return c.insert("import_row", "ord, line, person, "+operationColumns+", cells, rejected, due, last_day", len(rows), func(args []any, i int) []any {
		r := &rows[i]
		args = appendOperation(append(args, r.Ord, int64(r.Line), people[i]), r.Op)
		return append(args, packCells(r.Cells), bit(r.Code != ""), millis(r.Due), orNull(r.LastDay))
	})
}

// Rows streams the rows without their cells, in sheet order, invalid ones too, as they
// stand.
func (im *Import) Rows(ctx context.Context) iter.Seq2[ImportRow, error] {
	return im.rows(ctx, "", -1)
}

// Invalid streams the invalid rows as Rows does, at most limit of them, all if it
// is not positive.
func (im *Import) Invalid(ctx context.Context, limit int) iter.Seq2[ImportRow, error] {
	if limit <= 0 {
		limit = -1
	}
	return func(yield func(ImportRow, error) bool) {
		some := false
		if err := im.read(ctx, func(c *conn) (err error) {
			some, err = someInvalid(c)
			return err
		}); err != nil {
			yield(ImportRow{}, err)
			return
		}
		if some {
			im.rows(ctx, " AND b.status = '"+statusInvalid+"'", limit)(yield)
		}
	}
}

// statusInvalid is the status of a row that is wrong by itself.
const statusInvalid = "invalid"

// someInvalid says at once whether an import may have an invalid row at all, which
// finding takes a look at each.
func someInvalid(c *conn) (bool, error) {
	n, err := c.count("SELECT count(*) AS n FROM (SELECT 1 FROM import_reject LIMIT 1) x")
	return n > 0, err
}

func (im *Import) rows(ctx context.Context, and string, limit int) iter.Seq2[ImportRow, error] {
	return ahead(ctx, im.read, func() pager[ImportRow] {
		after, left := int64(0), limit
		query, rejects := "", false
		return func(c *conn, page []ImportRow) (_ []ImportRow, err error) {
			if query == "" {
				if rejects, err = someInvalid(c); err != nil {
					return page, err
				}
				query = "SELECT s.ord, s.line, s.due, s.last_day, " + operationOf("s") + ", p.account, p.email, p.user_id"
				from := " FROM import_row s JOIN import_person p ON p.id = s.person"
				if rejects {
					query += ", b.code, b.problem, b.field, b.value"
					from += " LEFT JOIN import_reject b ON b.ord = s.ord"
				}
				query += from + " WHERE s.ord > ?" + and + " ORDER BY s.ord LIMIT ?"
			}
			n := pageRows
			if left >= 0 {
				n = min(n, left)
			}
			err = c.query(query, func(r row) error {
				ir, err := r.importRow(rejects)
				after = ir.Ord
				page = append(page, ir)
				return err
			}, after, int64(n))
			if left >= 0 {
				left -= len(page)
			}
			return page, err
		}
	})
}

// importRow reads a row and, rejects, what is wrong with it.
func (r row) importRow(rejects bool) (ImportRow, error) {
	ir := ImportRow{
		Ord: r.int64("ord"), Line: r.int("line"), Account: r.text("account"), Email: r.text("email"), Due: r.time("due"), LastDay: r.text("last_day"),
	}
	if rejects {
		ir.Code, ir.Problem, ir.Column, ir.Value = r.text("code"), r.text("problem"), r.text("field"), r.text("value")
	}
	var err error
	if ir.Op, err = r.operation(); ir.Code != "" {
		err = nil // a row that could not be read
	}
	return ir, err
}

// read runs do where the import's tables are, with all rows in them.
func (im *Import) read(ctx context.Context, do func(c *conn) error) error {
	if err := im.at(im.step); err != nil {
		return err
	}
	if err := im.flush(); err != nil {
		return err
	}
	return im.l.alone(ctx, do)
}

// Reach returns how many people the sheet's valid rows name and how many records they
// are about. The same id on two accounts is two people.
func (im *Import) Reach(ctx context.Context) (people, records int64, err error) {
	err = im.read(ctx, func(c *conn) error {
		if people, err = c.count(`SELECT count(*) AS n FROM (SELECT DISTINCT account, user_id FROM import_person
			WHERE user_id <> '' AND id IN (SELECT person FROM import_row WHERE rejected = 0)) x`); err != nil {
			return err
		}
		records, err = c.count("SELECT count(*) AS n FROM (SELECT DISTINCT p.account, s.object, s.record_id FROM import_row s JOIN import_person p ON p.id = s.person WHERE s.rejected = 0) x")
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("count people and records: %w", err)
	}
	return people, records, nil
}

// Shared is how many records are alike in what several of their rows have in common.
type Shared struct {
	Account string
	Op      crm.Operation // one of them, with its action and object alone
	Ops     int64         // how many of a record are to be sent, rows that go together counted once
	Targets int64         // of how many targets: operations on one go one after the other
	Asked   int64         // how many were accepted by an earlier run and are asked about
	Tickets int64         // under how many tickets they were
	Records int64
}

// Shared returns, after Match, the records with more than one operation to be sent, or
// asked about: what there is to be saved by doing them together.
func (im *Import) Shared(ctx context.Context) (all []Shared, err error) {
	if err := im.at(stepMatched); err != nil || im.single {
		return nil, err
	}
	err = im.l.alone(ctx, func(c *conn) error {
		return c.query(`SELECT account, object, action, ops, targets, asked, tickets, count(*) AS records FROM (
				SELECT account, object, record_id, min(action) AS action, sum(sends) AS ops, count(DISTINCT CASE WHEN sends = 1 THEN target END) AS targets,
					sum(asks) AS asked, count(DISTINCT CASE WHEN asks = 1 THEN ticket END) AS tickets FROM (
					SELECT p.account, s.object, s.record_id, s.action, coalesce(o.ticket, '') AS ticket,
						CASE WHEN k.record_level = 1 THEN '' ELSE s.context_id || '/' || p.user_id END AS target,
						CASE WHEN coalesce(k.turn, ?) >= ? THEN 1 ELSE 0 END AS sends, CASE WHEN k.turn = ? THEN 1 ELSE 0 END AS asks
					FROM import_row s JOIN import_person p ON p.id = s.person LEFT JOIN import_choice k ON k.ord = s.ord LEFT JOIN op o ON o.id = k.take
					WHERE s.rejected = 0 AND coalesce(k.turn, ?) > 0 AND (k.ord IS NULL OR k.head = coalesce(k.take, s.ord + ?))) x
				GROUP BY account, object, record_id HAVING sum(sends) > 1 OR sum(asks) > 1) y
			GROUP BY account, object, action, ops, targets, asked, tickets ORDER BY account, object, action, ops, targets, asked, tickets`, func(r row) error {
			action, _ := crm.ParseAction(r.text("action"))
			all = append(all, Shared{
				Account: r.text("account"), Op: crm.Operation{Action: action, Object: r.text("object")}, Ops: r.int64("ops"), Targets: r.int64("targets"),
				Asked: r.int64("asked"), Tickets: r.int64("tickets"), Records: r.int64("records"),
			})
			return nil
		}, int64(TurnNormal), int64(TurnNormal), int64(TurnAsk), int64(TurnNormal), im.base)
	})
	if err != nil {
		return nil, fmt.Errorf("count the records that several rows are about: %w", err)
	}
	return all, nil
}
