package ledger

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// Bind ties the account's name to a place. The first time it is recorded, and
// durable when Bind returns; later another place is a *BindingError. Binding again
// to the same place changes nothing.
func (l *Ledger) Bind(ctx context.Context, b Binding) error {
	return l.change(ctx, func(c *conn) error {
		known, err := binding(c, b.Account)
		if err != nil || known != nil {
			return agree(known, b, err)
		}
		if _, err := accountID(c, b.Account); err != nil {
			return err
		}
		if _, err := c.exec("UPDATE account SET crm = ?, host = ?, org = ? WHERE name = ?", b.CRM, b.Host, b.Org, b.Account); err != nil {
			return fmt.Errorf("bind account %q: %w", b.Account, err)
		}
		return appendEvent(c, l.now(), "bind", map[string]string{
			"account": b.Account, "crm": b.CRM, "host": b.Host, "org": b.Org,
		})
	})
}

func agree(known *Binding, now Binding, err error) error {
	if err == nil && *known != now {
		return &BindingError{Recorded: *known, Now: now}
	}
	return err
}

func binding(c *conn, account string) (b *Binding, err error) {
	err = c.query("SELECT crm, host, org FROM account WHERE name = ? AND crm IS NOT NULL", func(r row) error {
		b = &Binding{account, r.text("crm"), r.text("host"), r.text("org")}
		return nil
	}, account)
	return b, err
}

// Bindings returns all that Bind has recorded, by account.
func (l *Ledger) Bindings(ctx context.Context) (all []Binding, err error) {
	err = l.read(ctx, func(c *conn) error {
		return c.query("SELECT name, crm, host, org FROM account WHERE crm IS NOT NULL ORDER BY name", func(r row) error {
			all = append(all, Binding{r.text("name"), r.text("crm"), r.text("host"), r.text("org")})
			return nil
		})
	})
	return all, err
}

// accountID returns the number of an account, which gets one if it has none.
func accountID(c *conn, name string) (id int64, err error) {
	if id, err = c.count("SELECT id AS n FROM account WHERE name = ?", name); id != 0 || err != nil {
		return id, err
	}
	return c.count("INSERT INTO account (id, name) SELECT coalesce(max(id), 0) + 1, ? FROM account RETURNING id AS n", name)
}

// EmailBinding returns the user id that an address, without regard to case, was
// bound to when the ledger first committed a sheet with it.
func (l *Ledger) EmailBinding(ctx context.Context, account, email string) (user string, ok bool, err error) {
	err = l.read(ctx, func(c *conn) error {
		return c.query("SELECT e.user_id FROM email e JOIN account a ON a.id = e.account WHERE a.name = ? AND e.address = ?",
			func(r row) error {
				user, ok = r.text("user_id"), true
				return nil
			}, account, strings.ToLower(email))
	})
	return user, ok, err
}

// Source returns what sheet the ledger stands for; ok is false if none was ever
// committed.
func (l *Ledger) Source(ctx context.Context) (src Source, ok bool, err error) {
	name := metaSource
	if l.earlier {
		name = metaEarlier
	}
	err = l.read(ctx, func(c *conn) error {
		src, ok, err = source(c, name)
		return err
	})
	return src, ok, err
}

// Wrote remembers that the file at path is a projection of this ledger, so that it
// may be overwritten later. A relative path is taken from the working folder. What is
// remembered is the way from the ledger to the file: both may be moved together.
func (l *Ledger) Wrote(ctx context.Context, path string) error {
	path, err := l.wayTo(path)
	if err != nil {
		return err
	}
	return l.change(ctx, func(c *conn) error {
		_, err := c.exec("INSERT INTO output (path) VALUES (?) ON CONFLICT DO NOTHING", path)
		return err
	})
}

// HasWritten says whether Wrote was told of path.
func (l *Ledger) HasWritten(ctx context.Context, path string) (ok bool, err error) {
	path, err = l.wayTo(path)
	if err != nil {
		return false, err
	}
	err = l.read(ctx, func(c *conn) error {
		return c.query("SELECT 1 FROM output WHERE path = ?", func(row) error {
			ok = true
			return nil
		}, path)
	})
	return ok, err
}

// wayTo is a path seen from the ledger's folder, or as it is where there is no way
// between the two.
func (l *Ledger) wayTo(path string) (string, error) {
	path, err := filepath.Abs(path)
	return way(path, l.dir), err
}

// way is an absolute path seen from a folder, or as it is where there is no way between the two,
// or no folder.
func way(path, dir string) string {
	if dir == "" {
		return path
	}
	if way, err := filepath.Rel(dir, path); err == nil {
		return filepath.ToSlash(way)
	}
	return path
}
