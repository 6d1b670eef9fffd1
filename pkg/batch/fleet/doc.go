// Package fleet lets several hosts share one PostgreSQL database: who may send for an
// account, who works on which sheet, and how anybody knows that a host is dead.
//
// A [Host] is one joined process. It shows that it lives by a heartbeat. Its lease, the
// time in which it may send, lasts until 10 s after it asked for the last heartbeat that
// was answered, by its own clock; others may declare it dead 15 s after PostgreSQL saw
// that heartbeat, by PostgreSQL's clock. So it has stopped before anybody else begins, as
// long as its clock does not run a third too slowly; what any clock reads does not matter.
// A host that was declared dead is dead for good: the process joins anew or ends.
//
// A [Claim] is the right of one host to send for an account. Claims of a dead host can be
// taken over; the ledger refuses what the dead host would still write, by [Claims.Check].
//
// The queue hands sheets to hosts through River. The table of sheets is what counts: a
// River job only says that a sheet waits for its turn. A job whose turn has passed does
// nothing, so whatever River or a host that comes back does with an old job is harmless.
package fleet
