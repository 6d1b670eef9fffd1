package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"

	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// lockPoll is how often a lock that another run holds is asked for again.
const lockPoll = 200 * time.Millisecond

// holder says who holds a lock, for the message of whoever does not get it.
type holder struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Started time.Time `json:"started"`
	Sheet   string    `json:"sheet"`
}

// describe returns the holder as the end of a sentence, "" if it is not known.
func (h holder) describe() string {
	if h.PID == 0 {
		return ""
	}
	of := ""
	if h.Sheet != "" { // else a command without one
		of = ", sheet " + h.Sheet
	}
	return fmt.Sprintf(" (process %d on %s, since %s%s)", h.PID, h.Host, h.Started.UTC().Format(time.RFC3339), of)
}

// lock is a file lock that the kernel gives back when the process ends, however it
// ends. Beside the lock file stands a note of who holds it: on Windows nobody else
// can read a file that is locked.
type lock struct {
	what   string
	file   *flock.Flock
	remove bool
}

// lockOptions say what to lock and for whom.
type lockOptions struct {
	what   string        // for messages
	path   string        // of the lock file, made if need be
	remove bool          // take the lock file away when done
	wait   time.Duration // how long to wait for another holder
	holder holder        // the zero value makes no note
	hint   string        // what to do where the note of the holder can not be written
}

// acquireLock takes the lock, and waits as long as it may for another holder. The
// error is a *heldError if that was not long enough.
func acquireLock(ctx context.Context, o lockOptions) (*lock, error) {
	deadline := time.NewTimer(o.wait)
	defer deadline.Stop()
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		l, err := tryLock(o)
		if err != nil || l != nil {
			return l, err
		}
		if o.wait <= 0 {
			return nil, &heldError{what: o.what, holder: readHolder(o.path)}
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			return nil, &heldError{what: o.what, holder: readHolder(o.path)}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryLock takes the lock if nobody holds it, and returns nil if somebody does. A
// holder removes its file before it lets go; a lock on a file that is no longer the
// one of that name is worth nothing and is taken again.
func tryLock(o lockOptions) (*lock, error) {
	for {
		if info, err := os.Lstat(o.path); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("lock %s: %s is not a regular file", o.what, o.path)
		}
		file := flock.New(o.path, flock.SetPermissions(0o600))
		locked, err := file.TryLock()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", o.what, err)
		}
		if !locked {
			return nil, file.Close()
		}
		current, err := isCurrent(file, o.path)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", o.what, err), file.Close())
		}
		if current {
			l := &lock{what: o.what, file: file, remove: o.remove}
			if o.holder == (holder{}) {
				_ = os.Remove(o.path + ".holder") // of a killed run
				return l, nil
			}
			if err := l.note(o.holder, o.hint); err != nil {
				return nil, errors.Join(err, l.release())
			}
			return l, nil
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
}

// isCurrent says whether the locked file is still the one that path names.
func isCurrent(file *flock.Flock, path string) (bool, error) {
	mine, err := file.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, there), err
}

// release gives the lock back.
func (l *lock) release() error {
	path := l.file.Path()
	errs := []error{removeIfThere(path + ".holder")}
	if l.remove {
		// Windows removes no open file: there the lock goes first, and whoever got it
		// in between keeps it.
		if err := removeIfThere(path); err != nil {
			errs = append(errs, l.file.Close())
			_ = removeIfThere(path)
			return errors.Join(errs...)
		}
	}
	return errors.Join(append(errs, l.file.Close())...)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// note says beside the lock who holds it. hint is what to do where that can not be written.
func (l *lock) note(h holder, hint string) error {
	if err := writeHolder(l.file.Path(), h); err != nil {
		return refusef(hint, "lock %s: %s.holder can not be written: %w", l.what, l.file.Path(), report.Reason(err))
	}
	return nil
}

func writeHolder(path string, h holder) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	// A note that a killed run has left behind is made anew, so that nothing is ever
	// written through a link.
	if err := removeIfThere(path + ".holder"); err != nil {
		return err
	}
	file, err := os.OpenFile(path+".holder", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

// readHolder returns what is known of a lock's holder; the zero value if nothing.
func readHolder(path string) (h holder) {
	info, err := os.Lstat(path + ".holder")
	if err != nil || !info.Mode().IsRegular() { // a named pipe would be waited for
		return holder{}
	}
	data, err := os.ReadFile(path + ".holder")
	if err != nil || json.Unmarshal(data, &h) != nil {
		return holder{}
	}
	return h
}

// me returns this process as the holder of locks for a sheet.
func me(sheetName string) holder {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return holder{PID: os.Getpid(), Host: host, Started: time.Now().UTC(), Sheet: sheetName}
}
