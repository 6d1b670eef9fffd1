package ledger

import (
	"errors"
	"fmt"
)

// What Open and the methods report, for errors.Is. A file that does not exist is
// fs.ErrNotExist.
var (
	// ErrForeign: the file is not a ledger, and was left as it was.
	ErrForeign = errors.New("not a bulkrevoke ledger")
	// ErrNewer: a later version wrote the ledger. It was left as it was.
	ErrNewer = errors.New("the ledger was written by a newer version")
	// ErrDamaged: the ledger's file has been cut short or overwritten.
	ErrDamaged = errors.New("the ledger is damaged")
	// ErrStorage: reading or writing the file failed, a full disk for one, or the database
	// does not answer.
	ErrStorage = errors.New("the ledger's storage failed")
	// ErrBusy: another program, a database browser or a backup for one, holds the file, or
	// the ledger in its database.
	ErrBusy = errors.New("the ledger is in use by another program")
	// ErrInterrupted: the connection to the database was lost while a sheet was being read in,
	// matched or reviewed. What had come of that is gone; the same can be begun again at once.
	ErrInterrupted = errors.New("the connection to the database was lost")
	// ErrReadOnly: the ledger was opened to be read only.
	ErrReadOnly = errors.New("the ledger is open for reading only")
	// ErrCopy: the ledger is a copy that was taken out of another place, to be read.
	ErrCopy = errors.New("the ledger is a copy, which can be read but not worked on")
	// ErrMoved: the ledger was moved to another place, and is worked on there.
	ErrMoved = errors.New("the ledger has been moved to another place, and only what it was then can be read here")
	// ErrNotEmpty: the ledger that another is to be brought into has a history of its own.
	ErrNotEmpty = errors.New("the ledger to bring it into is another one, and has been worked on")
	// ErrElsewhere: the ledger that is to be brought in stands in the database already.
	ErrElsewhere = errors.New("the ledger stands in this database already, under another name")
	// ErrClosed: the ledger has been closed.
	ErrClosed = errors.New("the ledger is closed")
	// ErrFenced: Options.Check has refused the change, which was not written. Whoever opened
	// the ledger may not change it any more.
	ErrFenced = errors.New("the ledger may not be changed any more")
	// ErrUnknownOp: an id that no operation of the ledger has, or that of a row which
	// is not a head.
	ErrUnknownOp = errors.New("no such operation")
)

// BindingError says that an account's name stands for another place than the
// ledger's rows were done in.
type BindingError struct {
	Recorded Binding // what the ledger says
	Now      Binding // what was asked for
}

func (e *BindingError) Error() string {
	return fmt.Sprintf("account %q: the ledger belongs to %s, this run is for %s",
		e.Now.Account, where(e.Recorded), where(e.Now))
}

func where(b Binding) string {
	s := b.CRM + " at " + b.Host
	if b.Org != "" {
		s += ", organisation " + b.Org
	}
	return s
}

// DivergedError says that two ledgers were one, and are not the same any more: neither can
// take the place of the other.
type DivergedError struct {
	ID   string    // which they share
	Here ChainHead // of the ledger that the other was to be brought into
	File ChainHead // of the file
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("it is not what the ledger there is by now, though they were one: there it ends with event %d, in the file with event %d", e.Here.Seq, e.File.Seq)
}

// ChainError says where the chain of events is broken, or which row is not what the
// events say of it.
type ChainError struct {
	Seq    int64 // the first event that is not as it was written, or that is missing; 0 for a row
	Line   int   // of the row in the sheet; 0 if it has none, or for an event
	Reason string
}

func (e *ChainError) Error() string {
	switch {
	case e.Line > 0:
		return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
	case e.Seq == 0:
		return e.Reason
	}
	return fmt.Sprintf("event %d: %s", e.Seq, e.Reason)
}
