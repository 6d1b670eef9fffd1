package ledger

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// conn is one connection to the file, for one goroutine at a time.
type conn struct {
	database
	stmts map[string]*stmt // prepared statements, kept until close
	end   end              // of what has been written, where this is the writer's
	// telling is room for the body of an event.
	telling telling
}

// dial opens the database that a SQLite URI names and runs the pragmas.
func dial(uri string, pragmas ...string) (*conn, error) {
	db, err := openDatabase(uri)
	if err != nil {
		return nil, storageError(err)
	}
	c := &conn{database: db, stmts: make(map[string]*stmt)}
	for _, p := range pragmas {
		if err := c.once("PRAGMA " + p); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *conn) close() error {
	for _, st := range c.stmts {
		st.finalize()
	}
	c.stmts = nil
	return storageError(c.database.close())
}

// once runs statements that are not worth keeping prepared.
func (c *conn) once(script string) error { return storageError(c.run(script)) }

// exec runs one statement, kept prepared, and returns how many rows it changed.
// Values are int64, string, []byte and nil.
func (c *conn) exec(query string, args ...driver.Value) (int64, error) {
	err := c.query(query, func([]driver.Value) error { return nil }, args...)
	return c.changed(), err
}

// execContext is exec for a statement that may take long: it ends with the
// context.
func (c *conn) execContext(ctx context.Context, query string, args ...driver.Value) (int64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		c.interrupt()
	})
	n, err := c.exec(query, args...)
	if !stop() {
		<-interrupted // not to meet the next statement
	}
	if err != nil && ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return n, err
}

// query runs one statement, kept prepared, and hands each row to each, which must
// not keep the slice nor use the same statement.
func (c *conn) query(query string, each func(v []driver.Value) error, args ...driver.Value) error {
	st, err := c.statement(query)
	if err == nil {
		err = st.bind(args)
	}
	if err != nil {
		return storageError(err)
	}
	defer st.reset()
	for {
		more, err := st.step()
		if err != nil {
			return storageError(err)
		}
		if !more {
			return nil
		}
		if err := each(st.scan()); err != nil {
			return err
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

func (c *conn) statement(query string) (*stmt, error) {
	if st, ok := c.stmts[query]; ok {
		return st, nil
	}
	st, err := c.prepare(query)
	if err == nil {
		c.stmts[query] = st
	}
	return st, err
}

// storageError tells a damaged file and failing storage from a mistake of ours.
// The numbers are SQLite's primary result codes.
func storageError(err error) error {
	e, ok := errors.AsType[*sqliteError](err)
	if !ok {
		return err
	}
	switch e.code & 0xff {
	case 11, 26: // CORRUPT, NOTADB
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case 5, 6: // BUSY, LOCKED
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case 3, 8, 10, 13, 14, 15, 22: // PERM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL, NOLFS
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return err
}

// transact runs do in a transaction of its own: all of it or nothing.
//
// The right to write is taken at once and for the file alone. BEGIN IMMEDIATE would
// take it for the temporary tables too, and ending that costs a look at each of
// their pages in memory.
func (c *conn) transact(do func() error) error {
	return c.ending("BEGIN", func() error {
		if _, err := c.exec("UPDATE head SET id = 1 WHERE id = 0"); err != nil {
			return err
		}
		return do()
	})
}

// found is transact for a file that has no tables yet.
func (c *conn) found(do func() error) error { return c.ending("BEGIN IMMEDIATE", do) }

// ending runs do in a transaction that writes down where the events end, once.
func (c *conn) ending(begin string, do func() error) error {
	before := c.end
	err := c.within(begin, func() error {
		if err := do(); err != nil {
			return err
		}
		return c.saveEnd()
	})
	if err != nil {
		c.end = before
	}
	return err
}

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
	if err != nil && !errors.Is(err, ErrStorage) && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrDamaged) {
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
