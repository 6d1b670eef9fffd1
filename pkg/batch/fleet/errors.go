package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrLost says that others have declared this host dead, or that a claim is no longer
	// its own. It sends nothing any more; whoever wants to go on joins anew.
	ErrLost = errors.New("this host was taken for dead: others do its work")
	// ErrLeft says that the host has left.
	ErrLeft = errors.New("this host has left")
	// ErrAway says that the database has not answered for so long that the lease is over,
	// or that nobody waits for it any longer. It passes when the database is back in time.
	ErrAway = errors.New("the database does not answer: nothing may be sent")
	// ErrDrain is why a task ends whose host stops.
	ErrDrain = errors.New("this host stops")
	// ErrCancelled is why a task ends whose sheet somebody cancels.
	ErrCancelled = errors.New("the sheet was cancelled")
	// ErrNewer says that a later version of this program has changed the tables.
	ErrNewer = errors.New("the database was changed by a newer bulkrevoke: use that one")
	// ErrOldServer says that the server is older than PostgreSQL 13.
	ErrOldServer = errors.New("the database's server is too old: PostgreSQL 13 or later is needed")
	// ErrNoSheet says that no sheet was submitted under that name.
	ErrNoSheet = errors.New("no such sheet was submitted")
)

// A HeldError says that another sheet's run has what was to be claimed.
type HeldError struct {
	Key, What string // What is what people call it; Key if nothing is known
	Host      string
	PID       int
	For       string    // the sheet whose run has it
	Since     time.Time // by PostgreSQL's clock
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s is in use for %s by process %d on %s since %s", e.What, e.For, e.PID, e.Host, e.Since.UTC().Format(time.DateTime+" UTC"))
}

// A PlaceError says that a key belongs somewhere else.
type PlaceError struct{ Key, Place, Want string }

func (e *PlaceError) Error() string {
	return fmt.Sprintf("%s belongs to %s, not to %s", e.Key, e.Place, e.Want)
}

// A QueuedError says that a sheet cannot be submitted since one of that ledger is queued,
// waiting or running.
type QueuedError struct {
	Ledger string
	State  State
	Host   string // where it is running
}

func (e *QueuedError) Error() string {
	if e.Host != "" {
		return fmt.Sprintf("%s is %s on %s already", e.Ledger, e.State, e.Host)
	}
	return fmt.Sprintf("%s is %s already", e.Ledger, e.State)
}

// A StateError says that a sheet's state does not allow what was wanted.
type StateError struct {
	Ledger string
	State  State
	Wanted string // "retry" or "cancel"
}

func (e *StateError) Error() string {
	done := "tried again"
	if e.Wanted == "cancel" {
		done = "cancelled"
	}
	return fmt.Sprintf("%s cannot be %s: it is %s", e.Ledger, done, e.State)
}

// isACopy is the code of a server that takes no changes, since another one has taken over
// from it.
const isACopy = "25006" // read_only_sql_transaction

// Passing reports whether the database may answer when it is asked again in a moment: its
// server restarts, say. A name that nobody knows or a certificate that does not fit stays wrong.
func Passing(err error) bool {
	name, _ := errors.AsType[*net.DNSError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	return passing(err) && !certificate && (name == nil || !name.IsNotFound)
}

// passing reports whether an error comes from the connection, from a server that stops or
// starts, has no room or has become another's copy, or from two transactions in each
// other's way: the same may succeed later.
func passing(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "40001", "40P01", "57P01", "57P02", "57P03", "57P05", isACopy:
			return true
		}
		// connection_exception, insufficient_resources, system_error
		return strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "53") || strings.HasPrefix(e.Code, "58")
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if errors.Is(err, context.DeadlineExceeded) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) {
		return true
	}
	return connectionLost(err)
}
