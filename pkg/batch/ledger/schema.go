package ledger

import (
	"fmt"
)

// applicationID marks the file as ours, in the place that SQLite has for it:
// "bRvk" in ASCII.
const applicationID = 0x6252766b

// schemaVersion is the version of the tables below, kept as SQLite's user_version. A PostgreSQL
// database has them in another form, with a version of its own: postgresschema.go.
const schemaVersion = 3

// schema makes the tables of a new ledger.
//
// op.seq is 0 until the operation is first intended or recorded; from then on it
// says when that last happened, in one count for the whole ledger. What has no seq
// leaves no trace and is deleted when the sheet no longer wants it.
// op.head is the operation that it goes together with, itself for a head; op.members,
// of a head, is how many go with it, itself counted.
// op.open is 1 while the operation holds up the later rows of its target.
// op.tried is the attempts before the call that is under way.
// op.record_level is 1 where the record has a row about everybody.
// sheet_row.status is what has become of the row itself, null where that is its operation's
// to say; code and message then say why. It is "invalid", which has no operation,
// "unavailable", which has none unless only the row's date can not be relied on, "not_due",
// or, of a row that asks for nothing, "unchanged". due is when its date comes, last_day the
// date as the sheet has it, and email the address that it names its user by.
// op.seen is what was seen before the operation was first sent.
// op.lost is what bystanders have lost by the operation and were not given back, in JSON.
// op.happened is 1 where a failed operation is done for the rest: access remains by
// another way.
const schema = `
CREATE TABLE meta (name {{text}} PRIMARY KEY, value {{text}});
CREATE TABLE head (id {{key}}, event BIGINT NOT NULL, hash {{bytes}} NOT NULL, opseq BIGINT NOT NULL);
CREATE TABLE account (id {{id}}, name {{text}} NOT NULL UNIQUE, crm {{text}}, host {{text}}, org {{text}});
CREATE TABLE email (account BIGINT NOT NULL, address {{text}} NOT NULL, user_id {{text}} NOT NULL, PRIMARY KEY (account, address));
CREATE TABLE run (id {{key}}, started BIGINT NOT NULL, ended BIGINT, version {{text}}, operator {{text}}, args {{text}}, summary {{text}});
CREATE TABLE output (path {{text}} PRIMARY KEY);
CREATE TABLE event (seq {{key}}, at BIGINT NOT NULL, kind {{text}} NOT NULL, body {{text}} NOT NULL, prev {{bytes}} NOT NULL, hash {{bytes}} NOT NULL);
CREATE TABLE seen (id {{id}}, call_id {{text}} NOT NULL, account BIGINT NOT NULL, run BIGINT NOT NULL, attempt BIGINT NOT NULL, sent_at BIGINT, state {{text}} NOT NULL);
CREATE TABLE sheet_row (ord {{key}}, line BIGINT NOT NULL, cells {{bytes}}, op BIGINT, account BIGINT, code {{text}}, message {{text}}, status {{text}}, due BIGINT, last_day {{text}}, email {{text}});
CREATE TABLE earlier_row (ord {{key}}, line BIGINT NOT NULL, cells {{bytes}}, op BIGINT, account BIGINT, code {{text}}, message {{text}}, status {{text}}, due BIGINT, last_day {{text}}, email {{text}});
CREATE TABLE op (
	id {{key}}, account BIGINT NOT NULL,
	action {{text}} NOT NULL, object {{text}} NOT NULL, record_id {{text}} NOT NULL, context_id {{text}} NOT NULL, user_id {{text}} NOT NULL,
	access {{text}}, minutes BIGINT, related {{text}}, permissions {{text}}, record_level BIGINT NOT NULL,
	state {{text}} NOT NULL, turn BIGINT NOT NULL, ord BIGINT NOT NULL, head BIGINT NOT NULL, members BIGINT NOT NULL,
	open BIGINT NOT NULL, seq BIGINT NOT NULL, uncertain BIGINT NOT NULL, happened BIGINT NOT NULL, prior BIGINT NOT NULL,
	attempts BIGINT NOT NULL, tried BIGINT NOT NULL, first_run BIGINT, seen BIGINT, lost {{text}},
	call_id {{text}}, request_id {{text}}, ticket {{text}}, code {{text}}, message {{text}}, note {{text}}, http_status BIGINT,
	sent_at BIGINT, confirmed_at BIGINT);
`

// The indexes of operations. All but op_record hold only what is still to be worked on.
// Those by record are dropped before a large import and made anew after it, which sorts
// once instead of searching a million times. The others grow at their ends or not at all.
const (
	indexes = `
CREATE INDEX op_next ON op (account, turn, ord) WHERE turn > 0 AND head = id;
CREATE INDEX op_member ON op (head, ord) WHERE open = 1 AND head <> id;
CREATE INDEX op_unconfirmed ON op (account, seq) WHERE state = 'accepted' AND turn = 0 AND open = 1 AND head = id;
` + recordIndexes
	recordIndexes = `
CREATE INDEX op_record ON op (record_id, object, account, user_id);
CREATE INDEX op_open ON op (record_id, object, account, ord) WHERE open = 1 AND head = id;
`
	dropRecordIndexes = `DROP INDEX op_record; DROP INDEX op_open;`
)

// tables is what a version of the program knows of the history of a file, or of a database.
type tables struct {
	version int
	// steps[i] brings version i+1 to this one, in a transaction that is not its own.
	steps []func(c *conn) error
}

// current is this program's version.
func current() tables {
	return tables{version: schemaVersion, steps: []func(c *conn) error{migrateFrom1, migrateFrom2}}
}

// knows refuses versions that there is no way from.
func (t tables) knows(version int) error {
	switch {
	case version > t.version:
		return fmt.Errorf("%w: schema version %d, this one knows %d", ErrNewer, version, t.version)
	case version < 1:
		return fmt.Errorf("%w: schema version %d", ErrDamaged, version)
	}
	return nil
}

// migrate brings the tables from an older version to this one, all or nothing.
func (t tables) migrate(c *conn, from int) error {
	return c.transact(func() error {
		if err := t.steps[from-1](c); err != nil {
			return fmt.Errorf("migrate from schema version %d: %w", from, err)
		}
		return c.once(c.setVersion(t.version))
	})
}

// dialect is what differs between the databases that a ledger may stand in: sqlite.go
// and postgres.go have one each. All statements are the same; they are written with "?"
// for their values, {{id}} (counted by the database), {{key}} (given), {{bytes}} and
// {{text}} for types of columns, {{ledger}} before the columns of a key that is conflicted
// with, and {{unconfirmed}} for
// the condition that o waits to be confirmed and is behind a place in the history, in this order.
type dialect interface {
	// rebind returns a statement, and values its values, as the database takes them.
	rebind(query string) string
	values(args []any) []any
	// begin starts a transaction that changes durable tables; claim, called first in it,
	// takes the right to write for it alone.
	begin() string
	claim(c *conn) error
	// beginSnapshot starts a transaction that reads of one moment only.
	beginSnapshot() string
	// storageError tells damage and failing storage (ErrDamaged, ErrStorage, ErrBusy) from
	// a mistake of ours.
	storageError(err error) error
	// lost says that the connection is gone, and with it the transaction that was under way.
	lost(err error) bool
	// away says that the database does not answer now, and may do so again by itself.
	away(err error) bool
	// hasEnded says that a ROLLBACK has failed because there is no transaction: the
	// database has ended it itself.
	hasEnded(err error) bool
	// version reads the version of the tables, and setVersion is a script that writes it.
	version(c *conn) (int, error)
	setVersion(version int) string
	// rowsPerInsert is how many rows an INSERT should have, a power of two.
	rowsPerInsert() int
	// bulkIndexes are scripts that drop the indexes which a large import makes anew, and make
	// them; "" where they stay.
	bulkIndexes() (drop, anew string)
	// flush brings what the import of so many rows has left behind into its place.
	flush(c *conn, rows int) error
}
