package ledger

import (
	"context"
	"errors"
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

// SchemaName is the schema of a ledger in PostgreSQL.
func SchemaName(name string) string { return schemaName(name) }
