package ledger

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"modernc.org/sqlite"
)

// sqliteDialect is the dialect of a ledger in a file.
type sqliteDialect struct{}

var sqliteTypes = strings.NewReplacer("{{id}}", "INTEGER PRIMARY KEY", "{{key}}", "INTEGER PRIMARY KEY", "{{bytes}}", "BLOB", "{{text}}", "TEXT",
	"{{ledger}}", "", "{{unconfirmed}}", "o.state = 'accepted' AND o.turn = 0 AND o.open = 1 AND o.seq > ? ORDER BY o.seq")

func (sqliteDialect) rebind(query string) string { return sqliteTypes.Replace(query) }

func (sqliteDialect) values(args []any) []any { return args }

// begin leaves the right to write to claim, which takes it for the file alone. BEGIN
// IMMEDIATE would take it for the temporary tables too, and ending that costs a look at
// each of their pages in memory.
func (sqliteDialect) begin() string { return "BEGIN" }

func (sqliteDialect) claim(c *conn) error {
	_, err := c.exec("UPDATE head SET id = 1 WHERE id = 0")
	return err
}

func (sqliteDialect) beginSnapshot() string { return "BEGIN" }

// storageError goes by SQLite's primary result codes.
func (sqliteDialect) storageError(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & 0xff {
	case 11, 26: // CORRUPT, NOTADB
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case 5, 6: // BUSY, LOCKED
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case 3, 8, 10, 13, 14, 15, 22: // PERM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL, NOLFS
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return err
}

func (sqliteDialect) lost(error) bool { return false }

func (sqliteDialect) away(error) bool { return false }

func (sqliteDialect) hasEnded(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code() == 1 // ERROR
}

// version is where SQLite has a place for it, so that it can be read without SQLite.
func (sqliteDialect) version(c *conn) (int, error) {
	n, err := c.count("SELECT user_version AS n FROM pragma_user_version")
	return int(n), err
}

func (sqliteDialect) setVersion(version int) string {
	return fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, version)
}

// rowsPerInsert: the driver looks for each value among all of a statement, so that many are
// slower than few. With 13 values a row, 8 rows took 5.3 µs each, one alone 7.5, 32 together
// 9 (2026-11).
func (sqliteDialect) rowsPerInsert() int { return 8 }

func (sqliteDialect) bulkIndexes() (drop, anew string) { return dropRecordIndexes, recordIndexes }

// flush writes the log into the file. That it stays, if another process reads from it,
// is no error.
func (sqliteDialect) flush(c *conn, _ int) error { return c.once("PRAGMA wal_checkpoint(TRUNCATE)") }

// dial opens the file that a SQLite URI names, through what wrap, if it is not nil, makes
// of the driver, and runs the pragmas.
func dial(wrap func(driver.Connector) driver.Connector, uri string, pragmas ...string) (*conn, error) {
	to, err := sqlite.NewConnector(uri)
	if err != nil {
		return nil, err
	}
	if wrap != nil {
		to = wrap(to)
	}
	c, err := connect(context.Background(), sqliteDialect{}, to)
	if err != nil {
		return nil, err
	}
	for _, p := range pragmas {
		if err := c.once("PRAGMA " + p); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

// fileURI names a file for SQLite, whatever characters are in its path.
func fileURI(path, query string) string {
	p := filepath.ToSlash(path)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // a drive letter
	}
	return "file://" + (&url.URL{Path: p}).EscapedPath() + "?" + query
}

// dialWriter opens the connection that changes the file. The caches of a process
// are one pool to SQLite, so that each can grow to the sum of all.
//
// Its temporary files go into dir. SQLite has one place for them in a process,
// which must not change while anybody uses it: that is the folder of the first
// ledger that is opened, the system's if that folder is gone later, or whatever
// SQLITE_TMPDIR names. They have no name once they are open.
func dialWriter(wrap func(driver.Connector) driver.Connector, uri, dir string) (*conn, error) {
	w, err := dial(wrap, uri, "busy_timeout=1000", "cache_size=-8000", "synchronous=FULL",
		"temp_store=FILE", "temp.cache_size=-8000", "journal_size_limit=67108864")
	if err != nil {
		return nil, err
	}
	temporaryFolder.Do(func() {
		if _, named := os.LookupEnv("SQLITE_TMPDIR"); !named {
			err = w.once("PRAGMA temp_store_directory=" + quote(dir))
		}
	})
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// temporaryFolder is set once in a process, as SQLite's own setting is.
var temporaryFolder sync.Once

// quote writes s as an SQL string.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
