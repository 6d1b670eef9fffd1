package ledger

// dialect is what differs between the databases that a ledger may stand in: sqlite.go
// and postgres.go have one each. All statements are the same; they are written with "?"
// for their values, and {{id}} (counted by the database), {{key}} (given), {{bytes}} and
// {{text}} for types of columns.
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
	// hasEnded says that a ROLLBACK has failed because there is no transaction: the
	// database has ended it itself.
	hasEnded(err error) bool
	// version reads the version of the tables, and setVersion is a script that writes it.
	version(c *conn) (int, error)
	setVersion(version int) string
	// rowsPerInsert is how many rows an INSERT should have, a power of two.
	rowsPerInsert() int
	// flush brings what a large transaction has left behind into its place.
	flush(c *conn) error
}
