package ledger

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// personKey is the account and user of a row as the sheet gives them. Rows that have
// it in common share one entry of import_person, so that resolving an address, or
// rejecting all rows of a user, is one change however many rows there are.
type personKey struct {
	account, email, given string
	valid                 bool
}

// peopleKept bounds how many entries are remembered in memory while a sheet is read.
// Beyond it, the table is asked.
const peopleKept = 20_000

// personID returns the number of a row's entry, made if need be. The entry's line is
// that of its first valid row, null without one.
func (im *Import) personID(c *conn, r ImportRow) (id int64, err error) {
	key := personKey{account: r.Account, email: r.Email, given: r.Op.User, valid: r.Code == ""}
	if id, ok := im.people[key]; ok {
		return id, nil
	}
	var line any
	if key.valid {
		line = int64(r.Line)
	}
	id, err = c.count(`INSERT INTO import_person (account, email, given, user_id, line) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (account, email, given) DO UPDATE SET line = coalesce(import_person.line, excluded.line) RETURNING id AS n`,
		key.account, key.email, key.given, key.given, line)
	if err != nil {
		return 0, err
	}
	if len(im.people) >= peopleKept {
		clear(im.people)
	}
	im.people[key] = id
	return id, nil
}

// Addresses streams the distinct addresses of valid rows, by account and address; unsent,
// after Match, those of rows that are to be sent and of which nothing was sent before.
func (im *Import) Addresses(ctx context.Context, unsent bool) iter.Seq2[Address, error] {
	query := `SELECT account, email, min(line) AS line, max(CASE WHEN given = '' THEN 1 ELSE 0 END) AS need FROM import_person
		WHERE (account, email) > (?, ?) AND wanted = 1 GROUP BY account, email ORDER BY account, email LIMIT ?`
	return paged(ctx, im.read, func() pager[Address] {
		var last Address
		marked := false
		return func(c *conn, page []Address) ([]Address, error) {
			if !marked {
				if some, err := im.wantPeople(c, unsent); err != nil || !some {
					return page, err
				}
				marked = true
			}
			err := c.query(query, func(r row) error {
				last = Address{r.text("account"), r.text("email"), r.int("line"), r.bool("need")}
				page = append(page, last)
				return nil
			}, last.Account, last.Email, int64(pageRows))
			return page, err
		}
	})
}

// wantPeople marks the people with an address whose rows are valid or, unsent, to be sent and
// not sent before. some is false if nobody has an address.
func (im *Import) wantPeople(c *conn, unsent bool) (some bool, err error) {
	if some, err = someNamed(c); err != nil || !some {
		return false, err
	}
	rows, args := "SELECT person FROM import_row WHERE rejected = 0", []any(nil)
	if unsent {
		if err := im.at(stepMatched); err != nil {
			return false, err
		}
		rows, args = "SELECT s.person FROM import_row s LEFT JOIN import_choice k ON k.ord = s.ord WHERE s.rejected = 0 AND "+isUnsent, unsentValues()
	}
	_, err = c.exec("UPDATE import_person SET wanted = CASE WHEN id IN ("+rows+") THEN 1 END WHERE email <> ''", args...)
	return true, err
}

// someNamed says at once whether a row names anybody by an address.
func someNamed(c *conn) (bool, error) {
	n, err := c.count("SELECT count(*) AS n FROM (SELECT 1 FROM import_person WHERE email <> '' LIMIT 1) x")
	return n > 0, err
}

// Resolve sets the user of every row of the account that has the address, without regard
// to case, and no user id of its own.
func (im *Import) Resolve(ctx context.Context, account, email, user string) error {
	if err := im.at(stepAdd); err != nil {
		return err
	}
	err := im.read(ctx, func(c *conn) error {
		_, err := c.exec("UPDATE import_person SET user_id = ? WHERE account = ? AND email = ? AND given = ''", user, account, strings.ToLower(email))
		return err
	})
	if err != nil {
		return fmt.Errorf("resolve %s: %w", email, err)
	}
	return nil
}

// AccountUser is a user of an account, by id.
type AccountUser struct{ Account, User string }

// manyUsers is how many users are looked for with one question.
const manyUsers = 64

// Touching returns the first of the users whom a valid row of their account is to change, named
// by id or by an address that has been resolved to it, and the line of the first such row. An
// empty id is nobody's.
func (im *Import) Touching(ctx context.Context, users []AccountUser) (touched AccountUser, line int, ok bool, err error) {
	users = slices.DeleteFunc(slices.Clone(users), func(u AccountUser) bool { return u.User == "" })
	for some := range slices.Chunk(users, manyUsers) {
		err = im.read(ctx, func(c *conn) error {
			args := make([]any, 0, 2*manyUsers)
			for i := range manyUsers {
				u := some[min(i, len(some)-1)] // the statement is one, however many there are
				args = append(args, u.Account, u.User)
			}
			named, err := c.count("SELECT count(*) AS n FROM import_person WHERE (account, user_id) IN (VALUES (?, ?)"+strings.Repeat(", (?, ?)", manyUsers-1)+")", args...)
			if err != nil || named == 0 {
				return err
			}
			for _, u := range some {
				if err := c.query(`SELECT line FROM import_row WHERE rejected = 0 AND action <> 'keep' AND person IN
					(SELECT id FROM import_person WHERE account = ? AND user_id = ?) ORDER BY ord LIMIT 1`, func(r row) error {
					touched, line, ok = u, r.int("line"), true
					return nil
				}, u.Account, u.User); err != nil || ok {
					return err
				}
			}
			return nil
		})
		if err != nil || ok {
			return touched, line, ok, err
		}
	}
	return AccountUser{}, 0, false, nil
}
