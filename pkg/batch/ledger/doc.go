// Package ledger is the durable truth of a sheet: its rows, the operations they
// stand for, every intent to change something and every outcome, chained by
// hashes so that nothing can be taken out unseen.
//
// A ledger is one file (Open), or one of many in a PostgreSQL database (OpenDatabase,
// Database.Open). What a method reports as written is on the disk. Any number of goroutines
// may use a Ledger; one process at a time may change it, others may read it meanwhile. For a
// file, a lock of the caller's sees to that; in a database, Options.Check refuses in the
// transaction itself what somebody writes who may not any more.
//
// The ledgers of a database share its tables, a few connections, and the transactions that
// make their changes durable: see databasewriter.go. While the database does not answer, they
// wait, and a change whose COMMIT has no answer is looked up before it is made again.
//
// A run goes through it in this order: Bind what the account belongs to, Import the
// sheet, resolve its users, Match it against what is done already, Commit it; then
// BeginRun, and Next, Intend and Record until nothing is left.
//
// Export takes a copy out as a file, to be read; BringIn and MoveTo move a ledger between
// files and databases, so that it can be worked on in one place at a time.
//
// The tests in suite_*_test.go hold both kinds to what is promised here.
package ledger
