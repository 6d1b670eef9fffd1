package ledger

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"
	"strings"
)

// unsent is the condition, in a query that joins srow as s and spick as p, for a
// row that is to be sent and of which nothing was sent before that may count. A
// row that spick does not have is simply new.
const unsent = ` coalesce(p.turn, 2) >= 2 AND coalesce(p.prior, 0) = 0 `

// EmailsToSend streams, after Match, the distinct addresses of rows that are to be
// sent and of which nothing was sent before, by account and address.
func (s *Stage) EmailsToSend(ctx context.Context) iter.Seq2[StagedEmail, error] {
	marked := false
	read := func(ctx context.Context, do func(c *conn) error) error {
		return s.read(ctx, func(c *conn) error {
			if !marked {
				if err := s.markUnsent(c); err != nil {
					return err
				}
				marked = true
			}
			return do(c)
		})
	}
	return paged(ctx, read, func() pager[StagedEmail] {
		var last StagedEmail
		return func(c *conn, page []StagedEmail) ([]StagedEmail, error) {
			err := c.query(`SELECT account, email, min(line), max(own = '') FROM swho
				WHERE (account, email) > (?, ?) AND email <> '' AND send = 1
				GROUP BY account, email ORDER BY account, email LIMIT ?`, func(v []driver.Value) error {
				last = StagedEmail{text(v[0]), text(v[1]), int(integer(v[2])), truth(v[3])}
				page = append(page, last)
				return nil
			}, last.Account, last.Email, int64(pageRows))
			return page, err
		}
	})
}

// markUnsent marks the people of rows that are to be sent.
func (s *Stage) markUnsent(c *conn) error {
	if err := s.at(stepMatched); err != nil {
		return err
	}
	if n, err := c.count("SELECT EXISTS (SELECT 1 FROM swho WHERE code IS NULL AND email <> '')"); err != nil || n == 0 {
		return err
	}
	_, err := c.exec(`UPDATE swho SET send = 1 WHERE code IS NULL AND email <> '' AND id IN
		(SELECT s.who FROM srow s LEFT JOIN spick p ON p.ord = s.ord WHERE s.bad = 0 AND` + unsent + `)`)
	return err
}

// SpoilUnsent makes, after Match, those rows of the address invalid that are to be
// sent and of which nothing was sent before. What is done keeps its outcome.
func (s *Stage) SpoilUnsent(ctx context.Context, account, email, code, problem string) error {
	err := s.read(ctx, func(c *conn) error {
		if err := s.at(stepMatched); err != nil {
			return err
		}
		return c.temporary(func() error {
			const rows = ` FROM srow s JOIN swho w ON w.id = s.who LEFT JOIN spick p ON p.ord = s.ord
				WHERE w.account = ? AND w.email = ? AND ` + validRow + ` AND ` + unsent
			if _, err := c.exec("INSERT INTO sbad (ord, code, problem) SELECT s.ord, ?, ?"+rows,
				code, problem, account, strings.ToLower(email)); err != nil {
				return err
			}
			_, err := c.exec("UPDATE srow SET bad = 1 WHERE bad = 0 AND ord IN (SELECT ord FROM sbad)")
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("mark rows as invalid: %w", err)
	}
	return nil
}

// Rewind takes the stage back to before Index, after SpoilUnsent, so that it can be
// indexed and matched anew.
func (s *Stage) Rewind(ctx context.Context) error {
	if err := s.at(stepMatched); err != nil {
		return err
	}
	err := s.l.alone(ctx, func(c *conn) error {
		return c.once(`DELETE FROM skey; DELETE FROM sgroup; DELETE FROM swhole; DELETE FROM smany; DELETE FROM stwice;
			DELETE FROM slane; DELETE FROM spast; DELETE FROM shist; DELETE FROM spick;
			UPDATE swho SET send = NULL`)
	})
	if err != nil {
		return fmt.Errorf("match the sheet anew: %w", err)
	}
	s.step = stepAdd
	return nil
}
