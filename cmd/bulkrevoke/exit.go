package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/find"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/fleet"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// The exit codes. The strongest one wins: interrupted, then stopped, then open.
const (
	exitDone       = 0   // every row is done or unchanged
	exitOpen       = 1   // finished, but some rows are failed, invalid, in doubt or unconfirmed
	exitRefused    = 2   // nothing was sent: usage, configuration, sheet, a no, a foreign file
	exitStopped    = 3   // stopped early, or an account could not be worked with; run again to go on
	exitHeld       = 4   // another run holds this account or ledger
	exitHangup     = 129 // SIGHUP; run again to go on
	exitInterrupt  = 130 // SIGINT; run again to go on
	exitTerminated = 143 // SIGTERM; run again to go on
)

// usageError is a refusal of the command line, the environment or the
// configuration.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// refusef returns a *usageError with a hint.
func refusef(hint, format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...), hint: hint}
}

// startedError is an error that came when changes may have been sent already.
type startedError struct{ err error }

func (e *startedError) Error() string { return e.err.Error() }
func (e *startedError) Unwrap() error { return e.err }

// unfinishedError is an error that came when something had been looked at, and nothing was
// to be sent.
type unfinishedError struct{ err error }

func (e *unfinishedError) Error() string { return e.err.Error() }
func (e *unfinishedError) Unwrap() error { return e.err }

// heldError says that another run holds a lock.
type heldError struct {
	what   string // "account main", "ledger offboarding.ledger.db"
	holder holder
	queued *fleet.QueuedError // not held, but queued or at work; nil otherwise
}

func (e *heldError) Error() string {
	if e.queued != nil {
		return e.queued.Error()
	}
	return fmt.Sprintf("%s is held by another run%s", e.what, e.holder.describe())
}

// exit says how the program ends on an error: the code, what to print, and what
// somebody can do about it. It is the only place that maps errors to exit codes.
//
// An error that belongs to nothing below came before anything was sent, and is a
// refusal; what comes later is wrapped in a *startedError.
func exit(err error) (code int, message, hint string) {
	message = strings.Join(texts(err), "; ")
	if stopped, ok := errors.AsType[*signalError](err); ok {
		return signalCode(stopped.signal), message, "Run the same command again to go on."
	}
	if errors.Is(err, errHostLost) {
		return exitStopped, message, "Run the same command again to go on where another host stops."
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return exitStopped, message, "Run the same command again to go on."
	}
	if held, ok := errors.AsType[*heldError](err); ok {
		if held.queued != nil {
			return exitHeld, held.Error(), "Wait until it is done, with `bulkrevoke submit --wait`, or end it with `bulkrevoke cancel`."
		}
		return exitHeld, held.Error(), "Wait until it is through, or give --wait 10m to wait for it."
	}
	if errors.Is(err, ledger.ErrFenced) || errors.Is(err, fleet.ErrLost) {
		return exitStopped, message, "Run the same command again to go on where another host stops."
	}
	code = exitRefused
	if errors.Is(err, ledger.ErrBusy) {
		code = exitHeld
	}
	if _, ok := errors.AsType[*startedError](err); ok {
		code, hint = exitStopped, "Run the same command again to go on; what was sent is in the ledger."
	}
	if _, ok := errors.AsType[*unfinishedError](err); ok {
		code, hint = exitStopped, "Run the same command again to go on; what was seen is kept."
	}
	if errors.Is(err, report.ErrNoOutput) {
		hint = "Mend what is in the way and write the file with `bulkrevoke results`."
	}
	if ended, ok := errors.AsType[*crm.AccountError](err); ok {
		return exitStopped, message, ended.Hint
	}
	if h := hintFor(err); h != "" {
		hint = h
	}
	return code, message, hint
}

// texts returns what an error says, of several that were joined one by one.
func texts(err error) (all []string) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{err.Error()}
	}
	var whole []string
	for _, e := range joined.Unwrap() {
		all, whole = append(all, texts(e)...), append(whole, e.Error())
	}
	if err.Error() != strings.Join(whole, "\n") {
		return []string{err.Error()} // a sentence about several
	}
	return all
}

// hintFor returns what somebody can do about an error, "" if nothing is known.
func hintFor(err error) string {
	if e, ok := errors.AsType[*usageError](err); ok {
		return e.hint
	}
	if e, ok := errors.AsType[*sheet.Error](err); ok {
		return e.Hint
	}
	if e, ok := errors.AsType[*report.TargetError](err); ok {
		return e.Hint
	}
	if e, ok := errors.AsType[*find.Error](err); ok {
		return e.Hint
	}
	if _, ok := errors.AsType[*batch.InvalidError](err); ok {
		return "Mend the rows in the sheet, or give --skip-invalid to do the others; the result then has every invalid row with its reason."
	}
	if e, ok := errors.AsType[*batch.ProtectedError](err); ok {
		if e.Owner {
			return "Take the row out of the sheet, or use the keys of somebody else."
		}
		return "Take the row out of the sheet, or the user off the protect list of the configuration."
	}
	if _, ok := errors.AsType[*batch.TwoAccountsError](err); ok {
		return "Give the rows about one record one account."
	}
	if _, ok := errors.AsType[*ledger.DivergedError](err); ok {
		return "Both have been worked on since. Keep both, compare what they say with `bulkrevoke results` and `bulkrevoke verify`, and go on with one of them."
	}
	if _, ok := errors.AsType[*ledger.BindingError](err); ok {
		return "Name another ledger with --ledger, or set the old one aside with --fresh."
	}
	for _, known := range []struct {
		err  error
		hint string
	}{
		{ledger.ErrCopy, "Work on the ledger that it was taken from, in the database, or bring this one in with `bulkrevoke submit --ledger-file`."},
		{ledger.ErrMoved, "Go on where it was moved to: a ledger in a database is named by --database, one in a file by --ledger."},
		{ledger.ErrNotEmpty, "Name another ledger with --ledger."},
		{ledger.ErrElsewhere, "Go on with that one, by its name with --ledger."},
		{errNotShown, "Mend what is in the way of standard output, and run the command again."},
		{ledger.ErrForeign, "Move the file away, or name another ledger with --ledger."},
		{ledger.ErrNewer, "Use the newer bulkrevoke that wrote it."},
		{ledger.ErrDamaged, "Restore it from a backup, or set it aside with --fresh; what it knew would then be sent again."},
		{ledger.ErrBusy, "Close the program that has it open, a database browser or a backup for one, or give --wait 10m to wait for it."},
		{ledger.ErrStorage, "Make room on the disk, or make the folder writable."},
	} {
		if errors.Is(err, known.err) {
			return known.hint
		}
	}
	return ""
}

// signalCode returns the code of a process that a signal asked to stop.
func signalCode(s os.Signal) int {
	if s == os.Interrupt {
		return exitInterrupt
	}
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n) // as a shell tells it: exitHangup, exitTerminated
	}
	return exitTerminated
}

// verdict returns the exit code of a run that came to its end.
func verdict(s batch.Summary, acceptedIsDone bool) int {
	if stopped, ok := errors.AsType[*signalError](s.Stopped); ok {
		return signalCode(stopped.signal)
	}
	if s.Stopped != nil && !stoppedAtTheEnd(s) {
		return exitStopped
	}
	for _, a := range s.Accounts {
		if a.Ended != nil || a.Clock != nil {
			return exitStopped
		}
	}
	c := s.Counts
	// Rows that were not attempted although nothing was stopped wait for a row of
	// their target that is in doubt or unconfirmed.
	if c.Failed+c.Invalid+c.InDoubt+c.NotAttempted+s.Alarms > 0 || c.Accepted > 0 && !acceptedIsDone {
		return exitOpen
	}
	return exitDone
}

// stoppedAtTheEnd says that the guard stopped a run of which nothing was left: it has
// finished.
func stoppedAtTheEnd(s batch.Summary) bool {
	_, guard := errors.AsType[*batch.GuardError](s.Stopped)
	return guard && s.Counts.NotAttempted+s.Counts.Accepted+s.Counts.InDoubt == 0
}

// printError tells of an error: every invalid row, then what is wrong, then what to do
// about it.
func printError(screen *report.Screen, sheetName string, err error) (code int) {
	code, message, hint := exit(err)
	if rows := report.InvalidEvents(title(sheetName), err); rows != nil {
		for _, row := range rows {
			screen.Tell(row)
		}
		message += ", nothing was sent"
	}
	screen.Tell(report.ErrorEvent(message, hint, code))
	return code
}
