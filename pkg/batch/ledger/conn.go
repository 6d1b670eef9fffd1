package ledger

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"modernc.org/sqlite"
)

// conn is one connection to the file, for one goroutine at a time. It speaks to
// the driver directly: the pool of database/sql costs more per row than SQLite
// itself, and the writer needs one connection of its own in any case.
type conn struct {
	dc    driver.Conn
	stmts map[string]stmt // prepared statements, kept until close
	args  []driver.NamedValue
}

type stmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// dial opens the database that a SQLite URI names and runs the pragmas.
func dial(uri string, pragmas ...string) (*conn, error) {
	dc, err := new(sqlite.Driver).Open(uri)
	if err != nil {
		return nil, storageError(err)
	}
	c := &conn{dc: dc, stmts: make(map[string]stmt)}
	for _, p := range pragmas {
		if err := c.once("PRAGMA " + p); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *conn) close() error {
	var errs []error
	for _, st := range c.stmts {
		errs = append(errs, st.Close())
	}
	c.stmts = nil
	return storageError(errors.Join(append(errs, c.dc.Close())...))
}

// once runs statements that are not worth keeping prepared.
func (c *conn) once(script string) error {
	_, err := c.dc.(driver.ExecerContext).ExecContext(context.Background(), script, nil)
	return storageError(err)
}

// exec runs one statement, kept prepared, and returns how many rows it changed.
func (c *conn) exec(query string, args ...driver.Value) (int64, error) {
	return c.execContext(context.Background(), query, args...)
}

// execContext is exec for a statement that may take long: it ends with the
// context.
func (c *conn) execContext(ctx context.Context, query string, args ...driver.Value) (int64, error) {
	st, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, c.named(args))
	if err != nil {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return 0, storageError(err)
	}
	return res.RowsAffected()
}

// query runs one statement, kept prepared, and hands each row to each, which must
// not keep the slice nor use the same statement.
func (c *conn) query(query string, each func(v []driver.Value) error, args ...driver.Value) error {
	st, err := c.prepare(query)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(context.Background(), c.named(args))
	if err != nil {
		return storageError(err)
	}
	v := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(v); {
		case errors.Is(err, io.EOF):
			return storageError(rows.Close())
		case err != nil:
			return errors.Join(storageError(err), rows.Close())
		}
		if err := each(v); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
}

// count runs a query whose answer is one number.
func (c *conn) count(query string, args ...driver.Value) (n int64, err error) {
	err = c.query(query, func(v []driver.Value) error {
		n = integer(v[0])
		return nil
	}, args...)
	return n, err
}

func (c *conn) prepare(query string) (stmt, error) {
	if st, ok := c.stmts[query]; ok {
		return st, nil
	}
	ds, err := c.dc.Prepare(query)
	if err != nil {
		return nil, storageError(err)
	}
	st, ok := ds.(stmt)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver's statements take no context"), ds.Close())
	}
	c.stmts[query] = st
	return st, nil
}

// named numbers the arguments in a slice that the next statement uses again: the
// driver copies what it binds.
func (c *conn) named(args []driver.Value) []driver.NamedValue {
	c.args = c.args[:0]
	for i, v := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return c.args
}

// storageError tells a damaged file and failing storage from a mistake of ours.
// The numbers are SQLite's primary result codes.
func storageError(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & 0xff {
	case 11, 26: // CORRUPT, NOTADB
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case 3, 5, 6, 8, 10, 13, 14, 15, 22: // PERM, BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL, NOLFS
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return err
}

// transact runs do in a transaction of its own: all of it or nothing.
func (c *conn) transact(do func() error) error { return c.within("BEGIN IMMEDIATE", do) }

// temporary is transact for changes of temporary tables: it locks nobody out.
func (c *conn) temporary(do func() error) error { return c.within("BEGIN", do) }

func (c *conn) within(begin string, do func() error) error {
	if _, err := c.exec(begin); err != nil {
		return err
	}
	err := do()
	if err == nil {
		_, err = c.exec("COMMIT")
	}
	if err != nil {
		return errors.Join(err, c.rollback())
	}
	return nil
}

// rollback ends the transaction without a trace. SQLite has done so itself after
// some errors; that it then finds none is no error of ours.
func (c *conn) rollback() error {
	_, err := c.exec("ROLLBACK")
	if err != nil && !errors.Is(err, ErrStorage) && !errors.Is(err, ErrDamaged) {
		return nil
	}
	return err
}

// snapshot runs do so that all it reads is of one moment.
func (c *conn) snapshot(do func() error) error {
	if _, err := c.exec("BEGIN"); err != nil {
		return err
	}
	return errors.Join(do(), c.rollback())
}
