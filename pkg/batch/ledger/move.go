package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A ledger moves in three steps, each durable before the next: its content is put where it
// goes, marked as a copy; the mark of where it came from says that it has moved; the mark of
// the copy goes. Whatever dies in between, at most one of the two can be worked on, and the
// same call again goes on from there.

// BringIn takes the ledger file at path in as the content of this ledger, which is just
// made and empty, or is the same ledger from before it was moved away. Everything of it is
// kept: id, events, numbers of runs and operations, rows. A file whose chain or rows do not
// verify is refused with a *ChainError. Memory is flat; a million rows are one transaction.
//
// A file that is worked on moves: from then on it can only be read (ErrMoved). A copy that
// Export made stays what it is, and its content can be worked on here: whoever brings it in
// sees to it that nobody works on the ledger that it was taken from.
//
// already says that there was nothing to bring in: this ledger ends as the file does, or has
// gone on from a file that was moved here. One of the same id that differs otherwise is a
// *DivergedError, and another one that has been worked on is ErrNotEmpty; a file whose ledger
// stands in the database under another name is ErrElsewhere. ErrMoved and ErrCopy say that a
// mark of the file or of this ledger stands against it.
//
// The ledger is opened with Options.Marked. The caller is alone with it and with the file;
// ID is the file's afterwards. After any error the same call can be made again, at once or
// by another process: it goes on where this one ended. Until then changes may be refused.
func (l *Ledger) BringIn(ctx context.Context, path string) (already bool, err error) {
	if l.readOnly {
		return false, ErrReadOnly
	}
	file, err := Open(path, Options{Marked: true, Now: l.now})
	if err != nil {
		return false, err
	}
	already, err = l.bringIn(ctx, file)
	if err = errors.Join(err, file.Close()); err != nil {
		return false, fmt.Errorf("bring in the ledger %s: %w", path, err)
	}
	return already, nil
}

func (l *Ledger) bringIn(ctx context.Context, file *Ledger) (already bool, err error) {
	if err := file.verify(ctx); err != nil {
		return false, err
	}
	at, err := file.headNow(ctx)
	if err != nil {
		return false, err
	}
	var next bringStep
	if err := l.changeAll(ctx, func(to *conn) error {
		return file.read(ctx, func(from *conn) error {
			return from.snapshot(func() (err error) {
				if next, err = compare(from, to, file, at); err != nil || next != stepPlace {
					return err
				}
				return l.place(ctx, from, to, file)
			})
		})
	}); err != nil {
		return false, err
	}
	l.id = file.id
	if file.marked() == unmarked { // which leaves stepPlace and stepShutFile
		if err := file.setMark(ctx, markMoved, at); err != nil {
			return false, err
		}
	}
	if next == stepNone || next == stepShutFile {
		l.mark.Store(unmarked) // as compare has found it
		return true, nil
	}
	if err := l.setMark(ctx, unmarked, at); err != nil {
		return false, err
	}
	return false, l.alone(ctx, func(c *conn) error {
		n, err := c.count("SELECT count(*) AS n FROM sheet_row")
		if err != nil {
			return err
		}
		return c.flush(c, int(n))
	})
}

// MoveTo moves the ledger out into a file at path: the file can be worked on from then on,
// and this ledger can only be read (ErrMoved). A file that is there is fs.ErrExist and
// stays. A ledger whose chain or rows do not verify is refused with a *ChainError.
//
// The caller is alone with the ledger, which is opened with Options.Marked. After any error
// the same call can be made again, at once or by another process: it goes on where this one
// ended, and says nothing if all is done already.
func (l *Ledger) MoveTo(ctx context.Context, path string) error {
	if err := l.moveTo(ctx, path); err != nil {
		return fmt.Errorf("move the ledger to %s: %w", path, err)
	}
	return nil
}

func (l *Ledger) moveTo(ctx context.Context, path string) (err error) {
	// What is durable counts: after an error, this process may know it as shut without that.
	var m mark
	if err := l.read(ctx, func(c *conn) (err error) {
		m, err = readMark(c)
		return err
	}); err != nil {
		return err
	}
	switch {
	case m == markMoved: // to go on
	case m != unmarked:
		return m.refusal()
	case l.readOnly:
		return ErrReadOnly
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if m == markMoved {
			return ErrMoved
		}
		if err := l.verify(ctx); err != nil {
			return err
		}
		if err := l.export(ctx, path); err != nil {
			return err
		}
	}
	at, done, err := l.movedInto(ctx, path, m)
	if err != nil || done {
		return err
	}
	if m == unmarked {
		if err := l.setMark(ctx, markMoved, at); err != nil {
			return err
		}
	}
	file, err := Open(path, Options{Marked: true, Now: l.now})
	if err != nil {
		return err
	}
	return errors.Join(file.setMark(ctx, unmarked, at), file.Close())
}

// movedInto looks at the file that the ledger, marked m, moves into: at is where both end if it is a
// copy of it, and done says that it can be worked on already.
func (l *Ledger) movedInto(ctx context.Context, path string, m mark) (at ChainHead, done bool, err error) {
	file, err := Open(path, Options{ReadOnly: true})
	if errors.Is(err, ErrForeign) {
		return at, false, fs.ErrExist
	}
	if err != nil {
		return at, false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if at, err = l.headNow(ctx); err != nil {
		return at, false, err
	}
	end, err := file.headNow(ctx)
	if err != nil {
		return at, false, err
	}
	switch {
	case file.id != l.id:
	case file.marked() == markCopy && end == at:
		return at, false, nil
	case file.marked() == unmarked && m == markMoved:
		err = file.read(ctx, func(c *conn) error {
			done, err = at.within(c)
			return err
		})
		if err != nil || done {
			return at, done, err
		}
	}
	return at, false, fs.ErrExist
}

// verify checks the chain, and the rows against it.
func (l *Ledger) verify(ctx context.Context) error {
	if err := l.VerifyChain(ctx); err != nil {
		return err
	}
	return l.VerifyRows(ctx)
}

// bringStep is what is left of bringing in a file.
type bringStep uint8

const (
	stepNone     bringStep = iota // it was brought in before
	stepPlace                     // all
	stepShutFile                  // the ledger is worked on here, and the file does not say so
	stepOpen                      // the file says that it was moved, and nobody works on it here
)

// compare finds out what is left to do, from how the ledger (to) and the file, which ends
// with event at, stand to each other.
func compare(from, to *conn, file *Ledger, at ChainHead) (next bringStep, err error) {
	id, err := readID(to)
	if err != nil {
		return stepNone, err
	}
	m, err := readMark(to)
	if err != nil {
		return stepNone, err
	}
	here, err := headOf(to)
	if err != nil {
		return stepNone, err
	}
	isFile := file.marked()
	if id != file.id {
		switch {
		case here.Seq > 1:
			return stepNone, ErrNotEmpty // its first event is all that an empty one has
		case m != unmarked:
			return stepNone, m.refusal()
		case isFile == markMoved:
			return stepNone, ErrMoved
		}
		return stepPlace, nil
	}
	fileGoesOn, err := here.within(from)
	if err != nil {
		return stepNone, err
	}
	hereGoesOn, err := at.within(to)
	if err != nil {
		return stepNone, err
	}
	same := here == at
	switch {
	case m == unmarked && isFile == unmarked && same:
		return stepShutFile, nil // it is the file's own copy
	case m == unmarked && isFile == markCopy && same, m == unmarked && isFile == markMoved && hereGoesOn:
		return stepNone, nil
	case m == markCopy && isFile == markMoved && same:
		return stepOpen, nil
	case m != unmarked && isFile == unmarked && fileGoesOn:
		return stepPlace, nil
	case m != unmarked && isFile != unmarked && (fileGoesOn || hereGoesOn):
		return stepNone, m.refusal()
	}
	return stepNone, &DivergedError{ID: id, Here: here, File: at}
}

// place makes the file's content the ledger's, in the transaction that is under way. Where
// the file is still worked on, the ledger is not, yet.
func (l *Ledger) place(ctx context.Context, from, to *conn, file *Ledger) error {
	l.mark.Store(markCopy) // whatever becomes of the transaction
	if l.shared != nil {
		if err := l.shared.rename(to, file.id); err != nil {
			return err
		}
	}
	for _, t := range durables {
		if _, err := to.execContext(ctx, "DELETE FROM "+t.table); err != nil {
			return err
		}
	}
	if err := l.copyTo(ctx, from, to, file.dir, l.dir); err != nil {
		return err
	}
	if file.marked() == markCopy {
		return writeMark(to, unmarked)
	}
	return writeMark(to, markCopy)
}
