package ledger

import "fmt"

// applicationID marks the file as ours, in the place that SQLite has for it:
// "bRvk" in ASCII.
const applicationID = 0x6252766b

// schemaVersion is the version of the tables below, kept as SQLite's user_version.
const schemaVersion = 1

// schema makes the tables of a new ledger.
//
// op.seq is 0 until the operation is first intended or settled; from then on it
// says when that last happened, in one count for the whole ledger. What has no seq
// leaves no trace and is deleted when the sheet no longer wants it.
// op.lead is the operation that it goes together with, itself for a leader;
// op.rows, of a leader, is how many go with it, itself counted.
// op.open is 1 while the operation holds up the later rows of its target.
// op.tried is the attempts before the call that is under way.
// op.alone is 1 only if no other row of the sheet has the operation's key.
//
// A run changes two rows of op for every call, so what it writes stays where the
// sheet's order puts it: there is no index over hashes of what a run works on, but
// for keys that several rows share. Match sorts the history when it needs it.
const schema = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), event INTEGER NOT NULL, hash BLOB NOT NULL, opseq INTEGER NOT NULL);
CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, crm TEXT, host TEXT, org TEXT);
CREATE TABLE email (account INTEGER NOT NULL, address TEXT NOT NULL, user TEXT NOT NULL, PRIMARY KEY (account, address)) WITHOUT ROWID;
CREATE TABLE run (id INTEGER PRIMARY KEY, started INTEGER NOT NULL, ended INTEGER, version TEXT, operator TEXT, args TEXT, summary TEXT);
CREATE TABLE output (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE call (id INTEGER PRIMARY KEY, call TEXT NOT NULL, account INTEGER NOT NULL, run INTEGER NOT NULL, attempt INTEGER NOT NULL, sent_at INTEGER, before TEXT);
CREATE TABLE event (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, prev BLOB NOT NULL, hash BLOB NOT NULL);
CREATE TABLE whole (rec INTEGER NOT NULL, account TEXT NOT NULL, object TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (rec, account, object, record)) WITHOUT ROWID;
CREATE TABLE row (ord INTEGER PRIMARY KEY, line INTEGER NOT NULL, cells BLOB, op INTEGER, account INTEGER, code TEXT, message TEXT);
CREATE TABLE op (
	id INTEGER PRIMARY KEY, account INTEGER NOT NULL,
	target INTEGER NOT NULL, rec INTEGER NOT NULL, key INTEGER NOT NULL, bundle INTEGER NOT NULL,
	body BLOB NOT NULL, user TEXT,
	state INTEGER NOT NULL, turn INTEGER NOT NULL, ord INTEGER NOT NULL, lead INTEGER NOT NULL, rows INTEGER NOT NULL,
	open INTEGER NOT NULL, alone INTEGER NOT NULL, seq INTEGER NOT NULL, maybe INTEGER NOT NULL, prior INTEGER NOT NULL,
	attempts INTEGER NOT NULL, tried INTEGER NOT NULL, first_run INTEGER, before INTEGER,
	call_id TEXT, request_id TEXT, ticket TEXT, code TEXT, message TEXT, note TEXT, http_status INTEGER,
	sent_at INTEGER, confirmed_at INTEGER);
CREATE INDEX op_todo ON op (account, turn, ord) WHERE turn > 0 AND lead = id;
CREATE INDEX op_follow ON op (lead, ord) WHERE open = 1 AND lead <> id;
CREATE INDEX op_wait ON op (account, seq) WHERE state = 2 AND turn = 0 AND open = 1 AND lead = id;
` + scatteredIndexes

// scatteredIndexes are those of operations that were never tried, in an order
// that has nothing to do with the sheet's. A bulk load drops them first and makes
// them anew, which sorts once instead of searching a million times.
const (
	scatteredIndexes = `
CREATE INDEX op_round ON op (key, ord) WHERE open = 1 AND lead = id AND alone = 0;
CREATE INDEX op_key ON op (key) WHERE alone = 0;
CREATE INDEX op_bundle ON op (bundle, turn, ord) WHERE turn > 0 AND bundle <> 0 AND lead = id;
`
	dropScatteredIndexes = `DROP INDEX op_round; DROP INDEX op_key; DROP INDEX op_bundle;`
)

// tables is what a version of the program knows of the file's history.
type tables struct {
	version int
	// steps[i] brings version i+1 to version i+2, in a transaction that is not its own.
	steps []func(c *conn) error
}

// current is this program's version.
func current() tables { return tables{version: schemaVersion} }

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
		for v := from; v < t.version; v++ {
			if err := t.steps[v-1](c); err != nil {
				return fmt.Errorf("migrate from schema version %d: %w", v, err)
			}
		}
		return c.once(fmt.Sprintf("PRAGMA user_version = %d", t.version))
	})
}
