package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// conn is one connection to the database, for one goroutine at a time. It is opened by its
// first statement, and one that is lost between transactions again by the first that finds
// it so.
type conn struct {
	dialect
	db    *sql.DB          // of this one connection
	c     *sql.Conn        // nil while it is not open
	stmts map[string]*stmt // prepared statements, kept as long as the connection
	end   *end             // of what has been written, where this is the writer's
	// ledger is the number of the ledger that a transaction claims, where a database has
	// several, and shown the one whose rows are seen outside of transactions, 0 for none.
	ledger, shown int64
	txid          int64 // the database's number of the transaction that was claimed last, where it has one
	// again, if it is not nil, waits and says whether to try once more what is done outside
	// of a transaction and has found the connection lost. Without it, it is tried once more.
	again func() bool
	// running says that the rows of a query are being handed out: nothing else may run.
	running bool
	// keeps says that what its temporary tables hold is needed: once lost, it stays lost, as
	// ErrInterrupted, which is in gone.
	keeps  bool
	gone   error
	open   bool  // a transaction is under way
	failed error // of the first statement of the transaction that has failed
}

// stmt is a prepared statement, with room for one row of its answer.
type stmt struct {
	*sql.Stmt
	at      map[string]int // the place of each column
	values  []any
	places  []any
	unknown string // a column that was asked for and is not there
}

// newConn returns a connection to a database that is not open yet.
func newConn(d dialect, to driver.Connector) *conn {
	c := &conn{dialect: d, db: sql.OpenDB(to), stmts: make(map[string]*stmt), end: new(end)}
	c.db.SetMaxIdleConns(-1) // one that is given back is closed
	return c
}

// connect opens the one connection to a database.
func connect(ctx context.Context, d dialect, to driver.Connector) (*conn, error) {
	c := newConn(d, to)
	if err := c.dial(ctx); err != nil {
		return nil, errors.Join(d.storageError(err), c.db.Close())
	}
	return c, nil
}

// dial opens the connection if it is not open.
func (c *conn) dial(ctx context.Context) (err error) {
	if c.c != nil {
		return nil
	}
	if c.c, err = c.db.Conn(ctx); err != nil {
		c.c = nil
		return err
	}
	if c.shown != 0 {
		if _, err = c.c.ExecContext(ctx, c.rebind(showLedger), strconv.FormatInt(c.shown, 10)); err != nil {
			_ = c.hangUp()
		}
	}
	return err
}

// showLedger sets whose rows are seen outside of transactions.
const showLedger = "SELECT set_config('bulkrevoke.ledger', ?, false)"

// show has statements outside of transactions see the rows of that ledger.
func (c *conn) show(ledger int64) error {
	c.ledger = ledger
	if c.shown == ledger {
		return nil
	}
	c.shown = 0
	if c.c != nil {
		if _, err := c.exec(showLedger, strconv.FormatInt(ledger, 10)); err != nil {
			return err
		}
	}
	c.shown = ledger
	return nil
}

// close closes the connection. That it is lost already is no error.
func (c *conn) close() error {
	err := errors.Join(c.hangUp(), c.db.Close())
	if err != nil && c.lost(err) {
		return nil
	}
	return c.storageError(err)
}

func (c *conn) hangUp() error {
	var errs []error
	for _, st := range c.stmts {
		errs = append(errs, st.Close())
	}
	clear(c.stmts)
	if c.c != nil {
		errs = append(errs, c.c.Close())
		c.c = nil
	}
	return errors.Join(errs...)
}

// run does something with the connection, for a statement. Outside of a transaction it is
// done again, on a new connection, where the old one was lost: what is done there can be
// repeated, unless the connection keeps what temporary tables hold.
func (c *conn) run(query string, do func() error) error {
	if c.running {
		return c.fail(fmt.Errorf("a statement runs inside a query: %s", query))
	}
	if c.gone != nil {
		return c.fail(c.gone)
	}
	dialed := func() error {
		if err := c.dial(context.Background()); err != nil {
			return err
		}
		return do()
	}
	err := dialed()
	for tries := 0; err != nil && !c.open && !c.keeps && c.lost(err); tries++ {
		_ = c.hangUp() // it is lost
		if c.again == nil && tries == 1 || c.again != nil && !(c.away(err) && c.again()) {
			break
		}
		err = dialed()
	}
	return c.fail(err)
}

// renew has a lost connection opened again that keeps what temporary tables hold: they are made
// anew.
func (c *conn) renew() {
	if c.gone != nil {
		_ = c.hangUp() // it is lost
		c.gone = nil
	}
}

// fail tells what kind of error it is, and keeps it from being overlooked: what it ends
// is not committed.
func (c *conn) fail(err error) error {
	if c.keeps && c.gone == nil && err != nil && c.lost(err) {
		c.gone = fmt.Errorf("%w: %w", ErrInterrupted, err)
		err = c.gone
	}
	if err = c.storageError(err); c.failed == nil {
		c.failed = err
	}
	return err
}

// once runs statements that are not worth keeping prepared.
func (c *conn) once(script string) error {
	return c.run(script, func() error {
		_, err := c.c.ExecContext(context.Background(), c.rebind(script))
		return err
	})
}

// exec runs one statement, kept prepared, and returns how many rows it changed.
// Values are int64, string, []byte and nil.
func (c *conn) exec(query string, args ...any) (int64, error) {
	return c.execContext(context.Background(), query, args...)
}

// execContext is exec for a statement that may take long: it ends with the
// context.
func (c *conn) execContext(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = c.run(query, func() error {
		st, err := c.statement(query)
		if err != nil {
			return err
		}
		res, err := st.ExecContext(ctx, c.values(args)...)
		if err == nil {
			n, err = res.RowsAffected()
		}
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	})
	return n, err
}

// insert puts n rows into a table, several with a statement; values appends those of row i,
// one for each of the columns. Columns that are null in all of the rows are left out: to hand
// over a null costs as much as a number.
func (c *conn) insert(table, columns string, n int, values func(args []any, i int) []any) error {
	names := strings.Split(columns, ", ")
	all := make([]any, 0, n*len(names))
	for i := range n {
		all = values(all, i)
	}
	var used []int
	var into []string
	for col, name := range names {
		for at := col; at < len(all); at += len(names) {
			if all[at] != nil {
				used, into = append(used, col), append(into, name)
				break
			}
		}
	}
	query, args := "", []any(nil)
	for most := c.rowsPerInsert(); len(all) > 0; {
		for most > len(all)/len(names) {
			most, query = most/2, ""
		}
		if query == "" {
			row := "(?" + strings.Repeat(", ?", len(into)-1) + ")"
			query = "INSERT INTO " + table + " (" + strings.Join(into, ", ") + ") VALUES " + row + strings.Repeat(", "+row, most-1)
		}
		args = args[:0]
		for range most {
			for _, col := range used {
				args = append(args, all[col])
			}
			all = all[len(names):]
		}
		if _, err := c.exec(query, args...); err != nil {
			return err
		}
	}
	return nil
}

// query runs one statement, kept prepared, and hands each row to each, which must
// not keep it nor use the connection.
func (c *conn) query(query string, each func(r row) error, args ...any) (err error) {
	var st *stmt
	var rows *sql.Rows
	ask := func() (err error) {
		if st, err = c.statement(query); err == nil {
			rows, err = st.Query(c.values(args)...)
		}
		return err
	}
	if c.again != nil && !c.open {
		return c.queryWhole(query, ask, &st, &rows, each)
	}
	if err := c.run(query, ask); err != nil {
		return err
	}
	c.running = true
	defer func() {
		c.running = false
		if cerr := rows.Close(); err == nil {
			err = c.fail(cerr)
		}
	}()
	if err := st.learn(rows); err != nil {
		return c.fail(err)
	}
	for rows.Next() {
		if err := rows.Scan(st.places...); err != nil {
			return c.fail(err)
		}
		if err := each(row{st}); err != nil {
			return err
		}
		if st.unknown != "" {
			return fmt.Errorf("a query has no column %s: %s", st.unknown, query)
		}
	}
	return c.fail(rows.Err())
}

// queryWhole is query where a lost connection is tried again: no row is handed out before all
// are there, so that none is handed out twice.
func (c *conn) queryWhole(query string, ask func() error, st **stmt, rows **sql.Rows, each func(r row) error) error {
	var all [][]any
	if err := c.run(query, func() error {
		all = all[:0]
		if err := ask(); err != nil {
			return err
		}
		defer (*rows).Close() // what it says, Err has said
		if err := (*st).learn(*rows); err != nil {
			return err
		}
		for (*rows).Next() {
			if err := (*rows).Scan((*st).places...); err != nil {
				return err
			}
			all = append(all, slices.Clone((*st).values))
		}
		return (*rows).Err()
	}); err != nil {
		return err
	}
	c.running = true
	defer func() { c.running = false }()
	for _, values := range all {
		copy((*st).values, values)
		if err := each(row{*st}); err != nil {
			return err
		}
		if (*st).unknown != "" {
			return fmt.Errorf("a query has no column %s: %s", (*st).unknown, query)
		}
	}
	return nil
}

// learn makes room for the rows of a statement when it has run for the first time.
func (s *stmt) learn(rows *sql.Rows) error {
	if s.at != nil {
		return nil
	}
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	s.at, s.values, s.places = make(map[string]int, len(names)), make([]any, len(names)), make([]any, len(names))
	for i, name := range names {
		s.at[name], s.places[i] = i, &s.values[i]
	}
	return nil
}

// count runs a query whose answer is one number, called n.
func (c *conn) count(query string, args ...any) (n int64, err error) {
	err = c.query(query, func(r row) error {
		n = r.int64("n")
		return nil
	}, args...)
	return n, err
}

// statement returns a statement as it was prepared when it first ran.
func (c *conn) statement(query string) (*stmt, error) {
	if st, ok := c.stmts[query]; ok {
		return st, nil
	}
	prepared, err := c.c.PrepareContext(context.Background(), c.rebind(query))
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, query)
	}
	st := &stmt{Stmt: prepared}
	c.stmts[query] = st
	return st, nil
}

// transact runs do in a transaction of its own, all of it or nothing.
func (c *conn) transact(do func() error) error {
	return c.found(func() error {
		if err := c.claim(c); err != nil {
			return err
		}
		return do()
	})
}

// found is transact for a database that has no tables yet. It writes down where the
// events end, once.
func (c *conn) found(do func() error) error {
	err := c.within(c.begin(), func() error {
		if err := do(); err != nil {
			return err
		}
		return c.saveEnd()
	})
	if err != nil {
		*c.end = end{} // read anew: who knows whether a commit that failed has happened
	}
	return err
}

// commitError is what a COMMIT has failed with. The transaction may have happened, if the
// connection was lost.
type commitError struct{ error }

func (e commitError) Unwrap() error { return e.error }

// temporary is transact for changes of temporary tables: it locks nobody out.
func (c *conn) temporary(do func() error) error { return c.within("BEGIN", do) }

func (c *conn) within(begin string, do func() error) error {
	if err := c.begun(begin); err != nil {
		return err
	}
	err := do()
	if err == nil {
		err = c.failed // overlooked
	}
	if err == nil {
		if _, err = c.exec("COMMIT"); err == nil {
			c.open = false
			return nil
		}
		err = commitError{err}
	}
	return errors.Join(err, c.rollback())
}

// begun begins a transaction. One that could not be ended before is ended first.
func (c *conn) begun(begin string) error {
	if err := c.ended(); err != nil {
		return err
	}
	c.failed = nil
	_, err := c.exec(begin)
	c.open = err == nil
	return err
}

// ended ends the transaction that could not be ended when it was to end, if there is one.
func (c *conn) ended() error {
	if !c.open {
		return nil
	}
	return c.rollback()
}

// rollback ends the transaction without a trace.
func (c *conn) rollback() error {
	_, err := c.exec("ROLLBACK")
	if c.hasEnded(err) {
		err = nil
	}
	c.open = err != nil
	return err
}

// snapshot runs do so that all it reads is of one moment.
func (c *conn) snapshot(do func() error) error {
	if err := c.begun(c.beginSnapshot()); err != nil {
		return err
	}
	return errors.Join(do(), c.rollback())
}

// pageRows is how many rows a page of a stream has: enough that the query costs
// little per row, few enough that wide rows stay small in memory.
const pageRows = 1000

// pager reads the next page behind the one that it read before, into page, and
// returns an empty one at the end.
type pager[T any] func(c *conn, page []T) ([]T, error)

// paged streams what the pager of start reads. No connection is held while the
// consumer is at work, and the stream can be read again from the beginning.
func paged[T any](ctx context.Context, read func(context.Context, func(*conn) error) error, start func() pager[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		next := start()
		var page []T
		for {
			err := read(ctx, func(c *conn) (err error) {
				page, err = next(c, page[:0])
				return err
			})
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			if len(page) == 0 {
				return
			}
			for _, v := range page {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}

// ahead is paged that reads the next page while the consumer is at work on the last one: for
// long streams whose consumers change nothing of what is read.
func ahead[T any](ctx context.Context, read func(context.Context, func(*conn) error) error, start func() pager[T]) iter.Seq2[T, error] {
	type result struct {
		page []T
		err  error
	}
	return func(yield func(T, error) bool) {
		next := start()
		fetch := func(page []T) <-chan result {
			done := make(chan result, 1)
			go func() {
				err := read(ctx, func(c *conn) (err error) {
					page, err = next(c, page[:0])
					return err
				})
				done <- result{page, err}
			}()
			return done
		}
		var free []T
		for got := <-fetch(nil); len(got.page) > 0 || got.err != nil; {
			if got.err != nil {
				var zero T
				yield(zero, got.err)
				return
			}
			coming := fetch(free)
			for _, v := range got.page {
				if !yield(v, nil) {
					<-coming
					return
				}
			}
			free, got = got.page, <-coming
		}
	}
}
