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
	// ErrReadOnly: the ledger was opened to be read only.
	ErrReadOnly = errors.New("the ledger is open for reading only")
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
