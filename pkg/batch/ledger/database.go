package ledger

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/stdlib"
)

// schemaName is the schema that the tables of all ledgers of a database stand in.
const schemaName = "bulkrevoke"

// DatabaseOptions says how to use a database.
type DatabaseOptions struct {
	// Writers, Readers and Temporary are how many connections there may be at one time: for
	// changes, which ledgers share (0: 2), for reading (0: 4), and for imports, reviews and
	// whatever else needs temporary tables, which take one each while they last (0: 4; more
	// wait). They are opened when they are first needed.
	Writers, Readers, Temporary int
	Now                         func() time.Time // nil: time.Now
	// Wrap, if it is not nil, puts something between the ledgers and the database's driver:
	// what tests do to a connection.
	Wrap func(driver.Connector) driver.Connector
}

// Database is a PostgreSQL database (13 or later) with any number of ledgers, in tables that
// they share, in the schema bulkrevoke. Its methods may be called from any goroutine, and
// several processes may use one database.
type Database struct {
	now       func() time.Time
	connector func(params map[string]string, answers time.Duration) driver.Connector
	writers   []*databaseWriter
	readers   *pool
	temporary chan struct{} // one for each connection with temporary tables
	resting   chan *conn    // those that had some and that nobody needs
	quit      chan struct{} // closed by Close
	closing   sync.Once
	closed    error // what Close reported

	mu      sync.Mutex // guards what follows
	ledgers map[*Ledger]bool
}

// OpenDatabase opens the PostgreSQL database that the URL stands for, and makes the tables if
// there are none, or brings those of an earlier version up to date; several processes may
// do so at once. A schema bulkrevoke with other tables is ErrForeign, one of a later version
// ErrNewer; neither is changed. A database that does not answer is ErrStorage.
func OpenDatabase(ctx context.Context, url string, o DatabaseOptions) (*Database, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return OpenDatabaseConfig(ctx, config, o)
}

// OpenDatabaseConfig is OpenDatabase for a configuration that pgx.ParseConfig has made. It is
// not changed.
func OpenDatabaseConfig(ctx context.Context, config *pgx.ConnConfig, o DatabaseOptions) (*Database, error) {
	d, err := openDatabase(ctx, config, o, databaseTables())
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return d, nil
}

func openDatabase(ctx context.Context, config *pgx.ConnConfig, o DatabaseOptions, t tables) (*Database, error) {
	d := &Database{
		now: Options{Now: o.Now}.clock(), quit: make(chan struct{}), ledgers: make(map[*Ledger]bool),
		temporary: make(chan struct{}, orDefault(o.Temporary, 4)), resting: make(chan *conn, orDefault(o.Temporary, 4)),
	}
	d.connector = func(params map[string]string, answers time.Duration) driver.Connector {
		config := connConfig(config, answers)
		for key, value := range params {
			config.RuntimeParams[key] = value
		}
		to := stdlib.GetConnector(*config)
		if o.Wrap != nil {
			to = o.Wrap(to)
		}
		return to
	}
	c, err := connect(ctx, postgres{}, d.connector(nil, 0))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(layDatabase(ctx, c, t), c.close()); err != nil {
		return nil, err
	}
	for range orDefault(o.Writers, 2) {
		d.writers = append(d.writers, newDatabaseWriter(newConn(postgres{}, d.connector(byIndexes(map[string]string{
			"idle_in_transaction_session_timeout": longestIdle,
		}), longestAnswer))))
	}
	d.readers = newPool(orDefault(o.Readers, 4), func() *conn {
		return newConn(postgres{}, d.connector(byIndexes(map[string]string{
			"default_transaction_read_only": "on", "idle_in_transaction_session_timeout": "5min",
		}), longestAnswer))
	})
	return d, nil
}

// longestIdle is how long a transaction that changes something may stand still: a host that is
// frozen in the middle of one holds up whoever takes over from it for no longer.
const longestIdle = "10s"

// byIndexes has work on the shared tables go by their indexes, row by row, whatever a planner
// thinks of how many rows a ledger has: it knows the tables as they were some time ago, when this
// ledger may not have been there, and would compare all of its rows with all of them.
func byIndexes(params map[string]string) map[string]string {
	params["enable_seqscan"], params["random_page_cost"], params["seq_page_cost"], params["cpu_operator_cost"] = "off", "0.1", "0.1", "0.02"
	return params
}

func orDefault(n, d int) int {
	if n > 0 {
		return n
	}
	return d
}

// longestAnswer is how long the server may keep silent where no statement takes long. A host
// that has gone away says nothing at all; the system would wait for it for a quarter of an hour.
const longestAnswer = 30 * time.Second

// timedConn ends a connection that says nothing for so long.
type timedConn struct {
	net.Conn
	answers time.Duration
}

func (c timedConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.answers)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// connConfig returns a copy of the configuration with what every connection of a ledger has.
// answers, if it is not 0, is how long the server may keep silent.
func connConfig(config *pgx.ConnConfig, answers time.Duration) *pgx.ConnConfig {
	config = config.Copy()
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	if answers > 0 {
		dial := config.DialFunc
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return timedConn{c, answers}, nil
		}
	}
	if config.RuntimeParams == nil {
		config.RuntimeParams = make(map[string]string)
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "bulkrevoke"
	}
	for key, value := range map[string]string{
		"search_path": schemaName, "synchronous_commit": "on", "lock_timeout": "1s", "default_transaction_isolation": "read committed",
	} {
		config.RuntimeParams[key] = value
	}
	// A statement that is given up ends on the server, and the connection lives on.
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: 10 * time.Second}
	}
	return config
}

// layDatabase makes the tables or brings them up to date, if need be, alone among all that
// would.
func layDatabase(ctx context.Context, c *conn, t tables) error {
	version, err := databaseVersionOf(c)
	if err == nil && version > 0 {
		err = t.knows(version)
	}
	if err != nil || version == t.version {
		return err
	}
	if version == 0 {
		if err := createSchema(c); err != nil {
			return err
		}
	}
	return c.temporary(func() error {
		if err := c.once("SET LOCAL lock_timeout = 0"); err != nil {
			return err
		}
		if _, err := c.execContext(ctx, "SELECT pg_advisory_xact_lock(?)", int64(applicationID)); err != nil {
			return err
		}
		version, err := databaseVersionOf(c)
		switch {
		case err != nil || version == t.version:
			return err
		case version == 0:
			if err := c.once(databaseSchema()); err != nil {
				return err
			}
		default:
			if err := t.knows(version); err != nil {
				return err
			}
			if err := t.steps[version-1](c); err != nil {
				return fmt.Errorf("migrate from schema version %d: %w", version, err)
			}
		}
		return c.once(c.setVersion(t.version))
	})
}

// createSchema makes the schema if there is none. Others may do so at the same moment, under
// other locks.
func createSchema(c *conn) error {
	n, err := c.count("SELECT count(*) AS n FROM pg_catalog.pg_namespace WHERE nspname = ?", schemaName)
	if n > 0 || err != nil {
		return err // to have it made again takes a right that we may not have
	}
	err = c.once("CREATE SCHEMA IF NOT EXISTS " + schemaName)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && (e.Code == "23505" || e.Code == "42P06") { // unique_violation, duplicate_schema
		return nil
	}
	return err
}

// databaseVersionOf reads the version of the tables, 0 where there are none. Those of package
// fleet and of River, fleet_* and river_*, stand in the same schema.
func databaseVersionOf(c *conn) (version int, err error) {
	ours, others := int64(0), int64(0)
	if err := c.query(`SELECT count(*) FILTER (WHERE r.relname IN ('ledger_schema', 'ledger', 'ledger_head', 'ledger_event')) AS ours,
		count(*) FILTER (WHERE r.relname !~ '^(fleet|river)_') AS others
		FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace s ON s.oid = r.relnamespace WHERE s.nspname = ? AND r.relkind IN ('r', 'p', 'v', 'm', 'f')`, func(r row) error {
		ours, others = r.int64("ours"), r.int64("others")
		return nil
	}, schemaName); err != nil {
		return 0, err
	}
	switch {
	case others == 0:
		return 0, nil
	case ours != 4:
		return 0, fmt.Errorf("%w: the schema %s has other tables", ErrForeign, schemaName)
	}
	if version, err = c.version(c); err != nil {
		return 0, err
	}
	if version < 1 {
		return 0, fmt.Errorf("%w: its version is not written down", ErrDamaged)
	}
	return version, nil
}

// Open opens the ledger of that name. Its errors are those of Open for files. The one
// who opens it to change something is alone to do so: Options.Check sees to that.
func (d *Database) Open(ctx context.Context, name string, o Options) (*Ledger, error) {
	l, err := d.open(ctx, name, o)
	if err != nil {
		return nil, fmt.Errorf("open ledger %q: %w", name, err)
	}
	return l, nil
}

func (d *Database) open(ctx context.Context, name string, o Options) (*Ledger, error) {
	number, err := d.find(ctx, name)
	if errors.Is(err, fs.ErrNotExist) && o.Create && !o.ReadOnly {
		if err = d.create(ctx, name, o); err == nil {
			number, err = d.find(ctx, name)
		}
	}
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = d.now
	}
	l := &Ledger{readOnly: o.ReadOnly, now: o.clock(), quit: make(chan struct{})}
	l.shared = newShared(d, l, number, o)
	l.jobs = l.shared.writer.jobs
	d.mu.Lock()
	closed := d.ledgers == nil
	if !closed {
		d.ledgers[l] = true
	}
	d.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if o.ReadOnly {
		err = l.read(ctx, l.readID)
	} else {
		// The barrier: every transaction locks the head and then checks. One that an earlier
		// owner had under way has ended when this one has the lock, and its work is seen by all that
		// is read from now on; one that comes later finds that it may not write any more.
		err = l.change(ctx, func(c *conn) error {
			if err := checkHead(c); err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			return l.readID(c)
		})
	}
	if err == nil && !o.ReadOnly && !o.Marked {
		err = l.Marked()
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// find returns the number of a ledger.
func (d *Database) find(ctx context.Context, name string) (number int64, err error) {
	err = d.read(ctx, func(c *conn) error {
		number, err = c.count("SELECT id AS n FROM ledger WHERE name = ?", plain(name))
		return err
	})
	if err == nil && number == 0 {
		err = fs.ErrNotExist
	}
	return number, err
}

// create makes an empty ledger if there is none of that name.
func (d *Database) create(ctx context.Context, name string, o Options) error {
	id, err := newID()
	if err != nil {
		return err
	}
	if o.Now == nil {
		o.Now = d.now
	}
	return d.apart(ctx, func(c *conn) error {
		return c.found(func() error {
			number, err := c.count("INSERT INTO ledger (name, origin, uuid, made) VALUES (?, ?, ?, now()) ON CONFLICT DO NOTHING RETURNING id AS n", name, o.Origin, id)
			if number == 0 || err != nil {
				return err // somebody else has just made it
			}
			if _, err := c.exec("SELECT set_config('bulkrevoke.ledger', ?, true)", fmt.Sprint(number)); err != nil {
				return err
			}
			return layRows(c, id, databaseVersion, o.Now())
		})
	})
}

// Names returns the names of all ledgers, in the order of their bytes.
func (d *Database) Names(ctx context.Context) (names []string, err error) {
	err = d.read(ctx, func(c *conn) error {
		return c.query("SELECT name FROM ledger ORDER BY name", func(r row) error {
			names = append(names, r.text("name"))
			return nil
		})
	})
	return names, err
}

// Origin returns what Options.Origin was when the ledger was made. A ledger that does not exist
// is fs.ErrNotExist.
func (d *Database) Origin(ctx context.Context, name string) (origin string, err error) {
	found := false
	err = d.read(ctx, func(c *conn) error {
		return c.query("SELECT origin FROM ledger WHERE name = ?", func(r row) error {
			origin, found = r.text("origin"), true
			return nil
		}, plain(name))
	})
	if err == nil && !found {
		err = fmt.Errorf("ledger %q: %w", name, fs.ErrNotExist)
	}
	return origin, err
}

// Rename gives a ledger another name. One that does not exist is fs.ErrNotExist, a name that is
// taken fs.ErrExist. Whoever has it open goes on with it. check is asked as Options.Check is.
func (d *Database) Rename(ctx context.Context, from, to string, check Check) error {
	err := d.apart(ctx, func(c *conn) error {
		return c.temporary(func() error {
			if _, err := lockLedger(c, from, check); err != nil {
				return err
			}
			taken, err := c.count("SELECT count(*) AS n FROM ledger WHERE name = ?", plain(to))
			if err != nil {
				return err
			}
			if taken > 0 {
				return fs.ErrExist
			}
			_, err = c.exec("UPDATE ledger SET name = ? WHERE name = ?", to, from)
			if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23505" { // unique_violation
				return fs.ErrExist
			}
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("rename ledger %q to %q: %w", from, to, err)
	}
	return nil
}

// lockLedger locks a ledger as whoever writes into it does, and asks whether it may be changed.
// One that does not exist is fs.ErrNotExist.
func lockLedger(c *conn, name string, check Check) (number int64, err error) {
	number, err = c.count("SELECT id AS n FROM ledger WHERE name = ? FOR UPDATE", plain(name))
	if err == nil && number == 0 {
		err = fs.ErrNotExist
	}
	if err == nil {
		_, err = c.count("SELECT ledger AS n FROM ledger_head WHERE ledger = ? FOR UPDATE", number)
	}
	if err == nil {
		_, err = check.passes(c, nil)
	}
	return number, err
}

// Remove deletes a ledger with all that it has. One that does not exist is fs.ErrNotExist.
// Changes of somebody who has it open fail from then on. check is asked as Options.Check is.
func (d *Database) Remove(ctx context.Context, name string, check Check) error {
	err := d.apart(ctx, func(c *conn) error {
		return c.temporary(func() error {
			number, err := lockLedger(c, name, check)
			if err != nil {
				return err
			}
			// The head first: whoever else writes is waited for, and finds it gone afterwards.
			for _, table := range []string{"head", "meta", "account", "email", "run", "output", "event", "seen", "sheet_row", "earlier_row", "op"} {
				if _, err := c.execContext(ctx, "DELETE FROM ledger_"+table+" WHERE ledger = ?", number); err != nil {
					return err
				}
			}
			_, err = c.exec("DELETE FROM ledger WHERE id = ?", number)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("remove ledger %q: %w", name, err)
	}
	return nil
}

// read runs do on a connection for reading.
func (d *Database) read(ctx context.Context, do func(c *conn) error) error {
	c, release, err := d.readers.get(ctx, d.quit, nil, 0)
	if err != nil {
		return err
	}
	defer release()
	return do(c)
}

// apart runs do on a connection of its own.
func (d *Database) apart(ctx context.Context, do func(c *conn) error) error {
	if isClosed(d.quit) {
		return ErrClosed
	}
	select {
	case d.temporary <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-d.quit:
		return ErrClosed
	}
	defer func() { <-d.temporary }()
	c, err := connect(ctx, postgres{}, d.connector(map[string]string{"idle_in_transaction_session_timeout": longestIdle}, 0))
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.close())
}

// lend returns a connection for temporary tables, for one that holds a place in temporary.
func (d *Database) lend() *conn {
	select {
	case c := <-d.resting:
		return c
	default:
		return newConn(postgres{}, d.connector(map[string]string{"idle_in_transaction_session_timeout": longestIdle}, 0))
	}
}

// takeBack takes a connection that was lent. It rests until it is lent again: to connect, and to
// prepare all statements of an import, takes longer than the import of a small sheet.
func (d *Database) takeBack(c *conn) error {
	if isClosed(d.quit) || c.gone != nil || errors.Join(c.ended(), c.once("DISCARD TEMP")) != nil {
		return c.close()
	}
	c.keeps, c.shown = false, 0
	select {
	case d.resting <- c:
		return nil
	default:
		return c.close()
	}
}

// Close closes the ledgers that are open and the connections. What is being written is
// finished; what waits gets ErrClosed. Closing again is safe and says the same.
func (d *Database) Close() error {
	d.closing.Do(func() {
		d.mu.Lock()
		open := d.ledgers
		d.ledgers = nil
		d.mu.Unlock()
		close(d.quit)
		var errs []error
		for l := range open {
			errs = append(errs, l.Close())
		}
		for _, w := range d.writers {
			errs = append(errs, w.close())
		}
		for len(d.resting) > 0 {
			errs = append(errs, (<-d.resting).close())
		}
		d.closed = errors.Join(append(errs, d.readers.close())...)
	})
	return d.closed
}

// pool are connections that are lent to one goroutine at a time.
type pool struct {
	free chan *conn
}

func newPool(n int, dial func() *conn) *pool {
	p := &pool{free: make(chan *conn, n)}
	for range n {
		p.free <- dial()
	}
	return p
}

// get lends a connection that shows the rows of a ledger, 0 for none, until release is
// called. again is the connection's.
func (p *pool) get(ctx context.Context, quit <-chan struct{}, again func() bool, ledger int64) (c *conn, release func(), err error) {
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	select {
	case <-quit:
		return nil, nil, ErrClosed
	default:
	}
	select {
	case c = <-p.free:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	case <-quit:
		return nil, nil, ErrClosed
	}
	// One that shows the ledger already is quicker than the one that came first.
	for range len(p.free) {
		if ledger == 0 || c.shown == ledger {
			break
		}
		select {
		case other := <-p.free:
			p.free <- c
			c = other
		default:
		}
	}
	c.again = again
	release = func() { p.free <- c }
	err = c.ended()
	if err == nil && ledger != 0 {
		err = c.show(ledger)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return c, release, nil
}

func (p *pool) close() error {
	var errs []error
	for range cap(p.free) {
		select {
		case c := <-p.free:
			errs = append(errs, c.close())
		case <-time.After(closeWait):
			errs = append(errs, fmt.Errorf("%w: a reader is still at work", ErrStorage))
		}
	}
	return errors.Join(errs...)
}
