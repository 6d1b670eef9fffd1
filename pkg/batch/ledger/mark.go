package ledger

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"
)

// Mark says of a staged row what can be judged only when the whole sheet is known: a
// cell that is wrong if the other rows say so. It changes nothing until Reject.
type Mark struct {
	Name   string // of the judgement: rows that stand or fall together have it in common
	Column string // of the cell, by its canonical name
	Value  string // as a message tells it
}

// insertMarks keeps a row's marks. A row has at most one of a name and column.
func insertMarks(c *conn, ord int64, marks []Mark) error {
	for _, m := range marks {
		if _, err := c.exec("INSERT OR REPLACE INTO smark (name, ord, field, value) VALUES (?, ?, ?, ?)", m.Name, ord, m.Column, m.Value); err != nil {
			return err
		}
	}
	return nil
}

// Marks streams the names of the staged rows' marks, each once.
func (s *Stage) Marks(ctx context.Context) iter.Seq2[string, error] {
	return paged(ctx, s.read, func() pager[string] {
		last := ""
		return func(c *conn, page []string) ([]string, error) {
			err := c.query("SELECT DISTINCT name FROM smark WHERE name > ? ORDER BY name LIMIT ?", func(v []driver.Value) error {
				last = text(v[0])
				page = append(page, last)
				return nil
			}, last, int64(pageRows))
			return page, err
		}
	})
}

// Reject makes the rows with the mark invalid, and returns how many of each account
// it was. The problem of each is its column, its value in quotes, and the reason. A row that is invalid
// already keeps its code and problem.
func (s *Stage) Reject(ctx context.Context, mark, code, reason string) (map[string]int64, error) {
	if err := s.at(stepAdd); err != nil {
		return nil, err
	}
	rejected := make(map[string]int64)
	err := s.read(ctx, func(c *conn) error {
		return c.temporary(func() error {
			const rows = ` FROM smark m CROSS JOIN srow s ON s.ord = m.ord CROSS JOIN swho w ON w.id = s.who WHERE m.name = ? AND ` + validRow
			if err := c.query("SELECT w.account, count(DISTINCT s.ord)"+rows+" GROUP BY w.account", func(v []driver.Value) error {
				rejected[text(v[0])] = integer(v[1])
				return nil
			}, mark); err != nil {
				return err
			}
			if _, err := c.exec(`INSERT OR IGNORE INTO sbad (ord, code, problem, field, value)
				SELECT s.ord, ?, m.field || ': "' || m.value || '" ' || ?, m.field, m.value`+rows, code, reason, mark); err != nil {
				return err
			}
			_, err := c.exec("UPDATE srow SET bad = 1 WHERE bad = 0 AND ord IN (SELECT m.ord FROM smark m JOIN sbad b ON b.ord = m.ord WHERE m.name = ?)", mark)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reject rows: %w", err)
	}
	return rejected, nil
}
