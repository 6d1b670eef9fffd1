package ledger

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"
	"strings"
)

// whoKey is the account and user of a row as the sheet gives them. Rows that have
// it in common share one entry, so that resolving an address, or spoiling all rows
// of a user, is one change however many rows there are.
type whoKey struct {
	account, email, own string
	valid               bool
}

// who is the entry's number.
type who int64

// whosKept bounds how many entries are remembered in memory while a sheet is read.
// Beyond it, the table is asked.
const whosKept = 20_000

// whoID returns the number of the entry, made if need be. The entry's line is that
// of its first valid row, null without one.
func (s *Stage) whoID(c *conn, k whoKey, line int) (int64, error) {
	if id, ok := s.whos[k]; ok {
		return int64(id), nil
	}
	var first driver.Value
	if k.valid {
		first = int64(line)
	}
	var id int64
	err := c.query(`INSERT INTO swho (account, email, own, user, line) VALUES (?1, ?2, ?3, ?3, ?4)
		ON CONFLICT (account, email, own) DO UPDATE SET line = coalesce(line, excluded.line) RETURNING id`,
		func(v []driver.Value) error {
			id = integer(v[0])
			return nil
		}, k.account, k.email, k.own, first)
	if err != nil {
		return 0, err
	}
	if len(s.whos) >= whosKept {
		clear(s.whos)
	}
	s.whos[k] = who(id)
	return id, nil
}

// Emails streams the distinct addresses of valid rows, by account and address.
func (s *Stage) Emails(ctx context.Context) iter.Seq2[StagedEmail, error] {
	return paged(ctx, s.read, func() pager[StagedEmail] {
		var last StagedEmail
		return func(c *conn, page []StagedEmail) ([]StagedEmail, error) {
			err := c.query(`SELECT account, email, min(line), max(own = '') FROM swho
				WHERE (account, email) > (?, ?) AND email <> '' AND line IS NOT NULL AND code IS NULL
				GROUP BY account, email ORDER BY account, email LIMIT ?`, func(v []driver.Value) error {
				last = StagedEmail{text(v[0]), text(v[1]), int(integer(v[2])), truth(v[3])}
				page = append(page, last)
				return nil
			}, last.Account, last.Email, int64(pageRows))
			return page, err
		}
	})
}

// Resolve sets the user of every staged row of the account that has the address,
// without regard to case, and no user id of its own.
func (s *Stage) Resolve(ctx context.Context, account, email, user string) error {
	if err := s.at(stepAdd); err != nil {
		return err
	}
	err := s.read(ctx, func(c *conn) error {
		_, err := c.exec("UPDATE swho SET user = ? WHERE account = ? AND email = ? AND own = ''", user, account, strings.ToLower(email))
		return err
	})
	if err != nil {
		return fmt.Errorf("resolve %s: %w", email, err)
	}
	return nil
}

// Spoil makes the rows that where picks invalid. A row that is invalid already
// keeps its code and problem.
func (s *Stage) Spoil(ctx context.Context, where Where, code, problem string) error {
	if err := s.at(stepAdd); err != nil {
		return err
	}
	err := s.read(ctx, func(c *conn) error {
		if where.Ord != 0 {
			return spoilRow(c, where.Ord, code, problem)
		}
		query := "UPDATE swho SET code = ?, problem = ? WHERE code IS NULL AND account = ?"
		args := []driver.Value{code, problem, where.Account}
		if where.Email != "" {
			query += " AND email = ?"
			args = append(args, strings.ToLower(where.Email))
		}
		switch {
		case where.User != "" && where.Other:
			query += " AND own <> '' AND own <> ?"
			args = append(args, where.User)
		case where.User != "":
			query += " AND user = ?"
			args = append(args, where.User)
		}
		_, err := c.exec(query, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("mark rows as invalid: %w", err)
	}
	return nil
}

func spoilRow(c *conn, ord int64, code, problem string) error {
	n, err := c.exec("UPDATE srow AS s SET bad = 1 FROM swho w WHERE w.id = s.who AND s.ord = ? AND "+validRow, ord)
	if err == nil && n > 0 {
		_, err = c.exec("INSERT INTO sbad (ord, code, problem) VALUES (?, ?, ?)", ord, code, problem)
	}
	return err
}

// Touching returns the line of the first valid row of the account that names the
// user, by id or by an address that has been resolved to it.
func (s *Stage) Touching(ctx context.Context, account, user string) (line int, ok bool, err error) {
	err = s.read(ctx, func(c *conn) error {
		named := false
		if err := c.query("SELECT 1 FROM swho WHERE account = ? AND user = ? AND code IS NULL LIMIT 1", func([]driver.Value) error {
			named = true
			return nil
		}, account, user); err != nil || !named {
			return err
		}
		return c.query(`SELECT s.line FROM srow s WHERE s.bad = 0 AND s.who IN
			(SELECT id FROM swho WHERE account = ? AND user = ? AND code IS NULL) ORDER BY s.ord LIMIT 1`, func(v []driver.Value) error {
			line, ok = int(integer(v[0])), true
			return nil
		}, account, user)
	})
	return line, ok && user != "", err
}
