package ledger

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Mark says of a row what can be judged only when the whole sheet is known: a cell that
// is wrong if the other rows say so. It changes nothing until Reject.
type Mark struct {
	Name   string // of the judgement: rows that stand or fall together have it in common
	Column string // of the cell, by its canonical name
	Value  string // as a message tells it
}

// Marks streams the names of the rows' marks, each once.
func (im *Import) Marks(ctx context.Context) iter.Seq2[string, error] {
	return paged(ctx, im.read, func() pager[string] {
		last := ""
		return func(c *conn, page []string) ([]string, error) {
			err := c.query("SELECT DISTINCT name FROM import_mark WHERE name > ? ORDER BY name LIMIT ?", func(r row) error {
				last = r.text("name")
				page = append(page, last)
				return nil
			}, last, int64(pageRows))
			return page, err
		}
	})
}

// Where picks rows: that with the ordinal, those with the mark (of User alone, if that is not
// empty, on Account alone), those that one row keeps and another changes, or those of Account
// that fit every other field that is not empty.
type Where struct {
	Ord  int64
	Mark string
	// KeptAndChanged picks the rows of the targets that have both a Keep and another row,
	// when their users are resolved.
	KeptAndChanged bool

	Account string
	Email   string // without regard to case
	User    string // the user id, given in the row or resolved
	// Other turns User around: rows that give a user id of their own which is not
	// User. It finds the rows whose address belongs to somebody else.
	Other bool
	// Changes leaves out rows that keep something.
	Changes bool
	// Unsent leaves out rows that need not be sent, or were sent before with some effect
	// perhaps.
	Unsent bool
}

// rows is the end of a query for the valid rows that are picked, as s, with their people
// as p and marks as m.
func (w Where) rows() (query string, args []any) {
	query = " FROM import_row s JOIN import_person p ON p.id = s.person"
	where := " WHERE s.rejected = 0"
	add := func(condition string, values ...any) {
		where, args = where+" AND "+condition, append(args, values...)
	}
	switch {
	case w.Ord != 0:
		add("s.ord = ?", w.Ord)
		return query + where, args
	case w.Mark != "":
		add("m.name = ?", w.Mark)
		if w.Account != "" {
			add("p.account = ?", w.Account)
		}
		if w.User != "" {
			add("p.user_id = ?", w.User)
		}
		return query + " JOIN import_mark m ON m.ord = s.ord" + where, args
	case w.KeptAndChanged:
		// Targets and records are grouped once: one record may have all rows of the sheet.
		keep, everybody := crm.Keep.String(), crm.RevokeAll.String()
		args = []any{keep, keep, keep, everybody, keep, everybody}
		return query + `
			LEFT JOIN (SELECT q.account, t.object, t.record_id, t.context_id, coalesce(nullif(q.user_id, ''), q.email) AS who
				FROM import_row t JOIN import_person q ON q.id = t.person WHERE t.rejected = 0
				GROUP BY q.account, t.object, t.record_id, t.context_id, coalesce(nullif(q.user_id, ''), q.email)
				HAVING sum(CASE WHEN t.action = ? THEN 1 ELSE 0 END) > 0 AND sum(CASE WHEN t.action <> ? THEN 1 ELSE 0 END) > 0) g
				ON g.account = p.account AND g.object = s.object AND g.record_id = s.record_id AND g.context_id = s.context_id AND g.who = coalesce(nullif(p.user_id, ''), p.email)
			LEFT JOIN (SELECT q.account, t.object, t.record_id FROM import_row t JOIN import_person q ON q.id = t.person WHERE t.rejected = 0
				GROUP BY q.account, t.object, t.record_id
				HAVING sum(CASE WHEN t.action = ? THEN 1 ELSE 0 END) > 0 AND sum(CASE WHEN t.action = ? THEN 1 ELSE 0 END) > 0) w
				ON w.account = p.account AND w.object = s.object AND w.record_id = s.record_id AND s.action IN (?, ?)` +
			where + " AND (g.account IS NOT NULL OR w.account IS NOT NULL)", args
	}
	add("p.account = ?", w.Account)
	if w.Email != "" {
		add("p.email = ?", strings.ToLower(w.Email))
	}
	switch {
	case w.User != "" && w.Other:
		add("p.given <> '' AND p.given <> ?", w.User)
	case w.User != "":
		add("p.user_id = ?", w.User)
	}
	if w.Changes {
		add("s.action <> ?", crm.Keep.String())
	}
	if w.Unsent {
		query += " LEFT JOIN import_choice k ON k.ord = s.ord"
		add(isUnsent, unsentValues()...)
	}
	return query + where, args
}

// isUnsent is the condition, in a query that joins import_row as s and import_choice as k,
// for a row that is to be sent and of which nothing was sent before that may count. A
// row that import_choice does not have is simply new.
const isUnsent = "coalesce(k.turn, ?) >= ? AND coalesce(k.prior, ?) = ?"

func unsentValues() []any {
	return []any{int64(TurnNormal), int64(TurnNormal), int64(crm.PriorNone), int64(crm.PriorNone)}
}

// Rejection is why rows are not sent.
type Rejection struct {
	Code string
	// Problem says what is wrong. Of marked rows it follows the column and the value in
	// quotes.
	Problem string
	// Unavailable says that the rows are not wrong: their account can not be worked with,
	// and they are not attempted.
	Unavailable bool
}

// Reject makes the rows that where picks invalid, and returns how many of each account it
// was. A row that is invalid already keeps its code and problem. It comes before Match, or,
// with Where.Unsent, after it: the sheet is then to be matched anew.
func (im *Import) Reject(ctx context.Context, where Where, why Rejection) (rejected map[string]int64, err error) {
	want := stepAdd
	if where.Unsent {
		want = stepMatched
	}
	if err := im.at(want); err != nil {
		return nil, err
	}
	problem, cell := "?", "NULL, NULL"
	if where.Mark != "" {
		problem, cell = `m.field || ': "' || m.value || '" ' || ?`, "m.field, m.value"
	}
	status := statusInvalid
	if why.Unavailable {
		status = crm.Unavailable.Name()
	}
	rows, args := where.rows()
	rejected = make(map[string]int64)
	err = im.read(ctx, func(c *conn) error {
		if err := c.once("CREATE INDEX IF NOT EXISTS import_row_person ON import_row (person)"); err != nil {
			return err
		}
		return c.temporary(func() error {
			if err := c.query("SELECT p.account, count(DISTINCT s.ord) AS n"+rows+" GROUP BY p.account", func(r row) error {
				rejected[r.text("account")] = r.int64("n")
				return nil
			}, args...); err != nil || len(rejected) == 0 {
				return err
			}
			if _, err := c.exec("INSERT INTO import_reject (ord, status, code, problem, field, value) SELECT s.ord, ?, ?, "+problem+", "+cell+rows+" ON CONFLICT (ord) DO NOTHING",
				append([]any{status, why.Code, why.Problem}, args...)...); err != nil {
				return err
			}
			_, err := c.exec("UPDATE import_row SET rejected = 1 WHERE ord IN (SELECT s.ord"+rows+")", args...)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reject rows: %w", err)
	}
	return rejected, nil
}
