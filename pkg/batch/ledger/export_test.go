package ledger

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// What tests of files need beside what everybody may use.

// Alone runs do while the writer does nothing else.
func (l *Ledger) Alone(do func()) error {
	return l.alone(context.Background(), func(*conn) error { do(); return nil })
}

// Script runs statements on the writer's connection.
func (l *Ledger) Script(script string) error {
	return l.alone(context.Background(), func(c *conn) error { return c.once(script) })
}

// Queued is how many jobs wait for the writer.
func (l *Ledger) Queued() int { return len(l.jobs) }

// OpenNext opens a ledger as a version would whose schema is the next one: script brings
// this one's to it, and then fails with err.
func OpenNext(path string, o Options, script string, err error) (*Ledger, error) {
	t := current()
	t.version++
	t.steps = append(t.steps, func(c *conn) error {
		return errors.Join(c.once(script), err)
	})
	return open(path, o, t)
}

// SchemaVersion is the version of this program's tables.
const SchemaVersion = schemaVersion

// OpenNextDatabase is OpenNext for a database.
func OpenNextDatabase(ctx context.Context, url, script string, err error) (*Database, error) {
	config, perr := pgx.ParseConfig(url)
	if perr != nil {
		return nil, perr
	}
	t := databaseTables()
	t.version++
	t.steps = append(t.steps, func(c *conn) error {
		return errors.Join(c.once(script), err)
	})
	return openDatabase(ctx, config, DatabaseOptions{}, t)
}

// Idle says that no ledger is open.
func (d *Database) Idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ledgers) == 0
}

// Temporary is how many connections with temporary tables are open.
func (d *Database) Temporary() int { return len(d.temporary) }

// DatabaseSchema is a script with the tables of a database, and FileSchema one with those of
// a file.
func DatabaseSchema() string { return postgres{}.rebind(databaseSchema()) }
func FileSchema() string     { return sqliteDialect{}.rebind(schema) }

// ByIndexes are the settings under which ledgers in a database are read.
func ByIndexes() map[string]string { return byIndexes(map[string]string{}) }
