package ledger_test

import (
	"context"
	"database/sql/driver"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// tap stands between a ledger and its database's driver, and sees every statement.
type tap struct {
	before func(query string, args []any) error // an error takes the statement's place
	after  func(query string) error             // an error takes the place of the answer of one that has run
}

// on returns the options of a ledger with the tap.
func (t tap) on(o ledger.Options) ledger.Options {
	o.Wrap = func(to driver.Connector) driver.Connector { return tapConnector{to, t} }
	return o
}

type tapConnector struct {
	driver.Connector
	tap tap
}

func (c tapConnector) Connect(ctx context.Context) (driver.Conn, error) {
	to, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return tapConn{to, c.tap}, nil
}

type tapConn struct {
	driver.Conn
	tap tap
}

func (c tapConn) CheckNamedValue(v *driver.NamedValue) error {
	if to, ok := c.Conn.(driver.NamedValueChecker); ok {
		return to.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c tapConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	st, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return tapStmt{st, query, c.tap}, nil
}

func (c tapConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return through(c.tap, query, args, func() (driver.Result, error) { return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args) })
}

type tapStmt struct {
	driver.Stmt
	query string
	tap   tap
}

func (s tapStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return through(s.tap, s.query, args, func() (driver.Result, error) { return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args) })
}

func (s tapStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return through(s.tap, s.query, args, func() (driver.Rows, error) { return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args) })
}

func through[T any](t tap, query string, args []driver.NamedValue, do func() (T, error)) (answer T, err error) {
	if t.before != nil {
		values := make([]any, len(args))
		for i, arg := range args {
			values[i] = arg.Value
		}
		if err := t.before(query, values); err != nil {
			return answer, err
		}
	}
	if answer, err = do(); err == nil && t.after != nil {
		err = t.after(query)
	}
	return answer, err
}
