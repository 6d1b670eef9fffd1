// Package ledger is the durable truth of a sheet: its rows, the operations they
// stand for, every intent to change something and every outcome, chained by
// hashes so that nothing can be taken out unseen.
//
// A ledger is one file. What a method reports as written is on the disk. Any
// number of goroutines may use a Ledger; one process at a time may change it,
// others may read it meanwhile.
//
// A run goes through it in this order: Bind what the account belongs to, Stage
// the sheet, resolve its users, Index and Match it against what is done already,
// Adopt it; then BeginRun, and Todo, Intend and Settle until nothing is left.
package ledger
