package ledger

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Stage is a sheet that is being read. Nobody else sees it, and nothing durable
// changes, until Adopt. It lives in temporary tables, so that memory stays flat
// whatever the sheet's size.
//
// A stage is for one goroutine. The order is: Add every row and Flush, Resolve
// and Spoil, Index, Match, then Counts or Adopt.
type Stage struct {
	l   *Ledger
	n   int         // rows added
	buf []stagedBuf // rows not yet in the table
	// moving are rows on their way into the table, while the next are read; moved says
	// when they are there.
	moving []stagedBuf
	moved  chan error
	whos   map[whoKey]who
	// indexed are the rows as Index counted them, counts as Match did.
	indexed, counts map[Tally]int64
	// all says that a valid row of the sheet is a revoke_all.
	all  bool
	step step
	// base is what a row's ordinal is added to for the id of its new operation.
	base int64
}

// step is how far a stage has come.
type step uint8

const (
	stepAdd step = iota
	stepIndexed
	stepMatched
	stepAdopted
	stepDropped
)

// stagedBuf is a row on its way into the table.
type stagedBuf struct {
	line      int
	who       whoKey
	op, cells []byte
	code      string
	problem   string
	column    string
	value     string
	marks     []Mark
}

// flushRows is how many rows go into the tables at a time.
const flushRows = 1000

// stageTables makes the tables of a stage, empty. srow.who is the row's account and
// user; smany and stwice are the keys and the targets that several rows have, and
// perhaps a few others; smark are the marks of rows; sgroup are the rows of such keys; slane are the rows that
// Match looks at, by target, and shist is the history by target; spick holds what
// Match decided for every row that is not simply new; sgot collects that in the order
// in which it is decided, which is not the sheet's.
const stageTables = dropStage + `
CREATE TEMP TABLE srow (ord INTEGER PRIMARY KEY, line INTEGER, who INTEGER, op BLOB, cells BLOB, bad INTEGER);
CREATE TEMP TABLE sbad (ord INTEGER PRIMARY KEY, code TEXT, problem TEXT, field TEXT, value TEXT);
CREATE TEMP TABLE smark (name TEXT, ord INTEGER, field TEXT, value TEXT, PRIMARY KEY (name, ord, field)) WITHOUT ROWID;
CREATE TEMP TABLE swho (id INTEGER PRIMARY KEY, account TEXT, email TEXT, own TEXT, user TEXT,
	line INTEGER, code TEXT, problem TEXT, send INTEGER, UNIQUE (account, email, own));
CREATE TEMP TABLE skey (ord INTEGER PRIMARY KEY, target INTEGER, rec INTEGER, key INTEGER, bundle INTEGER, whole INTEGER);
CREATE TEMP TABLE swhole (rec INTEGER, account TEXT, object TEXT, record TEXT, target INTEGER,
	PRIMARY KEY (rec, account, object, record)) WITHOUT ROWID;
CREATE TEMP TABLE smany (key INTEGER PRIMARY KEY);
CREATE TEMP TABLE stwice (target INTEGER PRIMARY KEY);
CREATE TEMP TABLE sgroup (key INTEGER, ord INTEGER, target INTEGER, PRIMARY KEY (key, ord)) WITHOUT ROWID;
CREATE TEMP TABLE slane (target INTEGER, ord INTEGER, whole INTEGER, PRIMARY KEY (target, ord)) WITHOUT ROWID;
CREATE TEMP TABLE shist (n INTEGER PRIMARY KEY, target INTEGER, seq INTEGER, op INTEGER);
CREATE TEMP TABLE spast (target INTEGER, op INTEGER, PRIMARY KEY (target, op)) WITHOUT ROWID;
CREATE TEMP TABLE sgot (ord INTEGER, take INTEGER, lead INTEGER, rows INTEGER, turn INTEGER, prior INTEGER);
CREATE TEMP TABLE spick (ord INTEGER PRIMARY KEY, take INTEGER, lead INTEGER, rows INTEGER, turn INTEGER, prior INTEGER);
`

// dropStage frees what a stage held.
const dropStage = `
DROP TABLE IF EXISTS temp.srow;
DROP TABLE IF EXISTS temp.sbad;
DROP TABLE IF EXISTS temp.smark;
DROP TABLE IF EXISTS temp.swho;
DROP TABLE IF EXISTS temp.skey;
DROP TABLE IF EXISTS temp.swhole;
DROP TABLE IF EXISTS temp.smany;
DROP TABLE IF EXISTS temp.stwice;
DROP TABLE IF EXISTS temp.slane;
DROP TABLE IF EXISTS temp.sgroup;
DROP TABLE IF EXISTS temp.spast;
DROP TABLE IF EXISTS temp.shist;
DROP TABLE IF EXISTS temp.spick;
DROP TABLE IF EXISTS temp.sgot;
`

// Stage begins to take in a sheet. There is one stage at a time: an older one is
// dropped, and its methods report so.
func (l *Ledger) Stage(ctx context.Context) (*Stage, error) {
	s := &Stage{l: l, whos: make(map[whoKey]who)}
	l.mu.Lock()
	l.stage = s // before the tables are new, so that rows of an older stage stay out
	l.mu.Unlock()
	if err := l.alone(ctx, func(c *conn) error { return c.once(stageTables) }); err != nil {
		return nil, fmt.Errorf("stage the sheet: %w", err)
	}
	return s, nil
}

// Close drops the stage, adopted or not, and frees what it took. Closing again is
// safe.
func (s *Stage) Close() error {
	if s.step == stepDropped {
		return nil
	}
	moved := s.settled() // of no use any more, whatever became of them
	err := errors.Join(s.at(s.step), moved)
	s.step = stepDropped
	if err != nil {
		return nil // a newer stage has its tables already
	}
	return s.l.alone(context.Background(), func(c *conn) error { return c.once(dropStage) })
}

// at refuses a method out of its order.
func (s *Stage) at(want step) error {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	switch {
	case s.l.stage != s || s.step == stepDropped:
		return errors.New("the stage has been dropped")
	case s.step != want:
		return fmt.Errorf("the stage is at step %d, not %d", s.step, want)
	}
	return nil
}

// Len returns how many rows were added.
func (s *Stage) Len() int { return s.n }

// Add takes in the next row of the sheet; its ordinal is its place among the rows
// added. After an error the stage is of no use.
func (s *Stage) Add(row Staged) error {
	if s.step != stepAdd {
		return s.at(stepAdd)
	}
	s.n++
	s.buf = append(s.buf, stagedBuf{
		line: row.Line,
		who: whoKey{
			account: row.Account, email: strings.ToLower(row.Email), own: row.Op.User, valid: row.Code == "",
		},
		op: packOp(row.Op), cells: packCells(row.Cells),
		code: row.Code, problem: row.Problem, column: row.Column, value: row.Value, marks: row.Marks,
	})
	if row.Op.Action == crm.RevokeAll && row.Code == "" {
		s.all = true
	}
	if len(s.buf) < flushRows {
		return nil
	}
	return s.hand()
}

// Flush moves the rows that were added into the tables. The methods that read them
// do it by themselves.
func (s *Stage) Flush() error {
	if err := s.hand(); err != nil {
		return err
	}
	return s.settled()
}

// hand gives the rows that were added to the writer and does not wait for it, so
// that reading a sheet and writing it down go on side by side.
func (s *Stage) hand() error {
	if err := s.settled(); err != nil || len(s.buf) == 0 {
		return err
	}
	if err := s.at(stepAdd); err != nil {
		return err
	}
	s.buf, s.moving = s.moving[:0], s.buf
	rows, first := s.moving, int64(s.n-len(s.moving)+1)
	moved := make(chan error, 1)
	s.moved = moved
	go func() {
		moved <- s.l.alone(context.Background(), func(c *conn) error {
			if err := s.at(stepAdd); err != nil {
				return err
			}
			return c.temporary(func() error {
				for i, b := range rows {
					if err := s.insert(c, first+int64(i), b); err != nil {
						return fmt.Errorf("stage row %d: %w", first+int64(i), err)
					}
				}
				return nil
			})
		})
	}()
	return nil
}

// settled waits for the rows that are on their way.
func (s *Stage) settled() error {
	if s.moved == nil {
		return nil
	}
	err := <-s.moved
	s.moved = nil
	clear(s.moving)
	return err
}

func (s *Stage) insert(c *conn, ord int64, b stagedBuf) error {
	id, err := s.whoID(c, b.who, b.line)
	if err != nil {
		return err
	}
	if _, err := c.exec("INSERT INTO srow (ord, line, who, op, cells, bad) VALUES (?, ?, ?, ?, ?, ?)",
		ord, int64(b.line), id, b.op, b.cells, bit(b.code != "")); err != nil {
		return err
	}
	if err := insertMarks(c, ord, b.marks); err != nil {
		return err
	}
	if b.code != "" {
		_, err = c.exec("INSERT INTO sbad (ord, code, problem, field, value) VALUES (?, ?, ?, ?, ?)", ord, b.code, b.problem, b.column, b.value)
	}
	return err
}

// stagedColumns reads a staged row with what has become of its user.
const (
	stagedColumns = bareColumns + `, b.field, b.value, s.cells` + stagedFrom
	bareColumns   = `SELECT s.ord, s.line, s.op, w.account, w.email, w.user, coalesce(b.code, w.code), coalesce(b.problem, w.problem)`
	stagedFrom    = ` FROM srow s JOIN swho w ON w.id = s.who LEFT JOIN sbad b ON b.ord = s.ord AND s.bad = 1 `
)

// validRow is the condition for a row that is not invalid, in a query that joins
// srow as s and swho as w.
const validRow = ` s.bad = 0 AND w.code IS NULL `

func scanStaged(v []driver.Value) (StagedRow, error) {
	op, err := unpackOp(blob(v[2]), text(v[5]))
	if err != nil {
		return StagedRow{}, err
	}
	r := StagedRow{Ord: integer(v[0]), Staged: Staged{
		Line: int(integer(v[1])), Op: op,
		Account: text(v[3]), Email: text(v[4]), Code: text(v[6]), Problem: text(v[7]),
	}}
	if len(v) > 8 {
		r.Column, r.Value = text(v[8]), text(v[9])
		r.Cells, err = unpackCells(blob(v[10]))
	}
	return r, err
}

// Rows streams the staged rows in sheet order, invalid ones too, as they stand.
func (s *Stage) Rows(ctx context.Context) iter.Seq2[StagedRow, error] {
	return s.rows(ctx, stagedColumns+"WHERE s.ord > ? ORDER BY s.ord LIMIT ?", -1)
}

// Invalid streams the invalid rows in sheet order, at most limit of them, all if it
// is not positive.
func (s *Stage) Invalid(ctx context.Context, limit int) iter.Seq2[StagedRow, error] {
	if limit <= 0 {
		limit = -1
	}
	return func(yield func(StagedRow, error) bool) {
		some := false
		if err := s.read(ctx, func(c *conn) (err error) {
			some, err = someInvalid(c)
			return err
		}); err != nil {
			yield(StagedRow{}, err)
			return
		}
		if some {
			s.rows(ctx, stagedColumns+"WHERE s.ord > ? AND (s.bad = 1 OR w.code IS NOT NULL) ORDER BY s.ord LIMIT ?", limit)(yield)
		}
	}
}

// someInvalid says at once whether a stage may have an invalid row at all, which
// finding takes a look at each.
func someInvalid(c *conn) (bool, error) {
	n, err := c.count("SELECT EXISTS (SELECT 1 FROM sbad) OR EXISTS (SELECT 1 FROM swho WHERE code IS NOT NULL)")
	return n > 0, err
}

func (s *Stage) rows(ctx context.Context, query string, limit int) iter.Seq2[StagedRow, error] {
	return paged(ctx, s.read, func() pager[StagedRow] {
		after, left := int64(0), limit
		return func(c *conn, page []StagedRow) ([]StagedRow, error) {
			n := pageRows
			if left >= 0 {
				n = min(n, left)
			}
			err := c.query(query, func(v []driver.Value) error {
				r, err := scanStaged(v)
				after = r.Ord
				page = append(page, r)
				return err
			}, after, int64(n))
			if left >= 0 {
				left -= len(page)
			}
			return page, err
		}
	})
}

// read runs do where the stage's tables are, with all rows in them.
func (s *Stage) read(ctx context.Context, do func(c *conn) error) error {
	if err := s.at(s.step); err != nil {
		return err
	}
	if err := s.Flush(); err != nil {
		return err
	}
	return s.l.alone(ctx, do)
}
