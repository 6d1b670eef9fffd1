package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func lockAt(path string) lockOptions {
	return lockOptions{what: "ledger x", path: path, remove: true, holder: me("off.csv")}
}

func TestLockNamesItsHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l.lock")
	held, err := acquireLock(t.Context(), lockAt(path))
	must(t, err)
	_, err = acquireLock(t.Context(), lockAt(path))
	refused, ok := errors.AsType[*heldError](err)
	if !ok || refused.holder.PID != os.Getpid() || refused.holder.Sheet != "off.csv" {
		t.Fatalf("error is %v, want one that names this process and its sheet", err)
	}
	must(t, held.release())
	again, err := acquireLock(t.Context(), lockAt(path))
	must(t, err)
	must(t, again.release())
	for _, name := range []string{path, path + ".holder"} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", filepath.Base(name), err)
		}
	}
}

func TestLockWaitsForItsHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l.lock")
	held, err := acquireLock(t.Context(), lockAt(path))
	must(t, err)
	waiting := lockAt(path)
	waiting.wait = time.Minute
	got := make(chan error, 1)
	go func() {
		l, err := acquireLock(t.Context(), waiting)
		if err == nil {
			err = l.release()
		}
		got <- err
	}()
	must(t, held.release())
	must(t, <-got)
}

func TestLockStopsWaitingWhenTold(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l.lock")
	held, err := acquireLock(t.Context(), lockAt(path))
	must(t, err)
	defer held.release()
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	waiting := lockAt(path)
	waiting.wait = time.Minute
	if _, err := acquireLock(ctx, waiting); !errors.Is(err, enough) {
		t.Errorf("error is %v, want %v", err, enough)
	}
}

func TestLockIsNeverHeldTwice(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l.lock")
	var holders, rounds atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for rounds.Load() < 200 {
				l, err := tryLock(lockAt(path))
				if err != nil {
					t.Error(err)
					return
				}
				if l == nil {
					continue
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d holders at once", n)
				}
				rounds.Add(1)
				holders.Add(-1)
				if err := l.release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestLockIsNotTakenOnALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, other := filepath.Join(dir, "l.lock"), filepath.Join(dir, "other")
	must(t, os.Symlink(other, path))
	if _, err := acquireLock(t.Context(), lockAt(path)); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("error is %v, want a refusal", err)
	}
	if _, err := os.Lstat(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link's target was made: %v", err)
	}
}

func TestNoteOfAHolderIsNotWrittenThroughALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "l.lock"), filepath.Join(dir, "victim")
	must(t, os.WriteFile(victim, []byte("precious"), 0o600))
	must(t, os.Symlink(victim, path+".holder"))
	l, err := acquireLock(t.Context(), lockAt(path))
	must(t, err)
	must(t, l.release())
	if data, err := os.ReadFile(victim); err != nil || string(data) != "precious" {
		t.Errorf("the link's target holds %q, %v", data, err)
	}
}
