package ledger

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// A Check says, inside a transaction that has locked the ledger, whether whoever asks may still
// write: Options.Check.
type Check func(ctx context.Context, count func(query string, args ...any) (int64, error), accounts []string) error

// passes asks it, nil being always content. fenced says that the error is its own, and the
// transaction as good as before.
func (check Check) passes(c *conn, accounts []string) (fenced bool, err error) {
	if check == nil {
		return false, nil
	}
	count := func(query string, args ...any) (n int64, err error) {
		err = c.query(query, func(r row) error {
			n, _ = r.values[0].(int64)
			return nil
		}, args...)
		return n, err
	}
	err = check(context.Background(), count, accounts)
	if err == nil || c.failed != nil {
		return false, c.failed
	}
	return true, fmt.Errorf("%w: %w", ErrFenced, err)
}

// Options says how to open a ledger.
type Options struct {
	Create bool // make the ledger if there is none
	// ReadOnly refuses every change with ErrReadOnly. A sheet can still be imported. A
	// ledger whose last event is not as it was written opens, so that VerifyChain can
	// say where the chain is broken; without ReadOnly it is ErrDamaged.
	ReadOnly bool
	// Marked opens also a ledger that is marked as a copy or as moved away, to be brought
	// in, moved and read. Other changes are refused with ErrCopy and ErrMoved.
	Marked bool
	Now    func() time.Time // nil: time.Now
	// Wrap, if it is not nil, puts something between the ledger's file and its driver: what
	// tests do to a connection. For a database it is DatabaseOptions.Wrap.
	Wrap func(driver.Connector) driver.Connector

	// What follows is for ledgers in a database. A file is its folder's, and whoever holds its
	// lock is alone with it.

	// Origin is kept with a ledger that is made: where its sheet comes from.
	Origin string
	// Check, if it is not nil, says whether the ledger may still be changed. It is called in
	// every transaction that changes the ledger, once, before anything is written and after
	// all other changes of the ledger have ended, with the accounts whose operations are
	// announced in it, each once. It is also called when the ledger is opened for change,
	// before anything is read: all that an earlier owner has written is seen then, and what
	// is not written by then never is, if Check tells the two apart.
	//
	// count returns the first value of the first row of a query, 0 without one; the query
	// has "?" for its arguments (int64, string, []string), and reads in the same transaction.
	// An error of Check's own has all changes of the ledger in this transaction fail with
	// ErrFenced; nothing of them is written. Check may be called from several goroutines,
	// and again for the same changes.
	Check Check
	// Patience is how long changes and reads wait while the database does not answer, or
	// while somebody else holds the ledger, before they are ErrStorage or ErrBusy; 0 is a
	// minute. They end earlier when the ledger is closed, or their context ends, but for a
	// change whose COMMIT has no answer yet, which does not heed its context.
	Patience time.Duration
}

// Ledger is an open ledger. Its methods may be called from any goroutine.
type Ledger struct {
	id       string
	dir      string // of the file; "" for a scratch ledger
	readOnly bool
	now      func() time.Time
	earlier  bool         // Choose has chosen the earlier sheet
	mark     atomic.Value // a mark: says that the ledger is not to be worked on

	shared *shared // of a ledger in a database; nil for a file

	w       *conn         // the file's writer's; after Open only its goroutine uses it
	readers chan *conn    // of the file: idle ones; nil if everything goes through the writer
	jobs    chan *job     // the writer's
	quit    chan struct{} // closed by Close
	stopped chan struct{} // closed when the file's writer has stopped
	closing sync.Once
	closed  error // what Close reported

	mu        sync.Mutex // guards what follows
	importing *Import    // the one that may add and commit rows
	reviewing *Review    // the last one
}

// readerCount is how many goroutines can read at the same moment. More wait.
const readerCount = 2

// Open opens the ledger at path. Without Options.Create, a file that does not
// exist is fs.ErrNotExist. What is not a ledger is ErrForeign (a link, a folder and
// an empty file too), one of a later version ErrNewer, one that was cut short or
// overwritten ErrDamaged; none of them is changed. One that another program holds for
// some seconds is ErrBusy. One of an earlier version is copied to
// path+".v<its version>.bak" and then brought up to date. One that is not to be worked on
// is ErrCopy or ErrMoved, unless it is opened with Options.ReadOnly or Options.Marked.
//
// Damage is looked for in all of a small file, and at the beginning and the end of
// a large one; what is left is reported as ErrDamaged by whoever reads it.
func Open(path string, o Options) (*Ledger, error) {
	l, err := open(path, o, current())
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	return l, nil
}

func open(path string, o Options, t tables) (*Ledger, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	_, err = os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) && o.Create && !o.ReadOnly {
		err = create(path, o)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrStorage), errors.Is(err, ErrBusy):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	if err := checkFile(path, t); err != nil {
		return nil, err
	}
	mode, temp := "mode=rw", filepath.Dir(path)
	if ok, err := writable(path); err != nil {
		return nil, err
	} else if !ok && o.ReadOnly {
		mode, temp = readMode(hasLog(path)), os.TempDir()
	}
	w, err := dialWriter(o.Wrap, fileURI(path, mode), temp)
	if err != nil {
		return nil, err
	}
	l, err := prepare(w, func(version int) error { return keepCopy(w, path, version) }, o, t)
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	l.dir = filepath.Dir(path)
	if err := l.serve(o, func() (*conn, error) {
		return dial(o.Wrap, fileURI(path, mode), "busy_timeout=10000", "cache_size=-2000", "query_only=1")
	}); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return l, nil
}

// serve connects the readers and starts the writer.
func (l *Ledger) serve(o Options, dial func() (*conn, error)) error {
	readers := make(chan *conn, readerCount)
	for range readerCount {
		r, err := dial()
		if err != nil {
			close(readers)
			for open := range readers {
				err = errors.Join(err, open.close())
			}
			return err
		}
		readers <- r
	}
	l.readers = readers
	go l.write()
	return nil
}

// prepare checks what only the database can read and brings the tables up to date. keep
// keeps a copy of an older version first.
func prepare(w *conn, keep func(version int) error, o Options, t tables) (*Ledger, error) {
	version, err := w.version(w)
	if err != nil {
		return nil, err
	}
	if err := t.knows(version); err != nil {
		return nil, err
	}
	switch {
	case version < t.version && o.ReadOnly:
		return nil, fmt.Errorf("%w, and its schema version %d must become %d first", ErrReadOnly, version, t.version)
	case version < t.version:
		if err := keep(version); err != nil {
			return nil, err
		}
		if err := t.migrate(w, version); err != nil {
			return nil, err
		}
	}
	l, err := newLedger(w, o)
	if err != nil {
		return nil, err
	}
	if o.ReadOnly {
		return l, nil // whoever only reads may want to see what is left
	}
	// A marked one of an earlier version is up to date by now, so that it can be read.
	if err := l.Marked(); err != nil && !o.Marked {
		return nil, err
	}
	if err := w.snapshot(func() error { return checkHead(w) }); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	// A file that nobody can change now is found here, and not when something was sent.
	if err := w.transact(func() error { return nil }); err != nil {
		return nil, err
	}
	return l, nil
}

// clock is Now, or what stands for it.
func (o Options) clock() func() time.Time {
	if o.Now == nil {
		return time.Now
	}
	return o.Now
}

func newLedger(w *conn, o Options) (*Ledger, error) {
	l := &Ledger{
		readOnly: o.ReadOnly, now: o.clock(), w: w,
		jobs: make(chan *job, mostPerCommit), quit: make(chan struct{}), stopped: make(chan struct{}),
	}
	return l, l.readID(w)
}

// readID reads the ledger's own name, and its mark.
func (l *Ledger) readID(c *conn) (err error) {
	if l.id, err = readID(c); err != nil {
		return err
	}
	m, err := readMark(c)
	l.mark.Store(m)
	return err
}

func readID(c *conn) (id string, err error) {
	err = c.query("SELECT value FROM meta WHERE name = 'id'", func(r row) error {
		id = r.text("value")
		return nil
	})
	if err == nil && id == "" {
		err = fmt.Errorf("%w: it has no id", ErrDamaged)
	}
	return id, err
}

// Scratch returns an empty ledger that leaves nothing behind. What does not fit in
// memory goes into files in dir that have no name there, and are gone with the
// process if it is killed. An empty dir stands for the system's.
func Scratch(dir string) (*Ledger, error) {
	w, err := dialWriter(nil, "", dir)
	if err != nil {
		return nil, fmt.Errorf("make a scratch ledger: %w", err)
	}
	var l *Ledger
	if err = w.found(func() error { return lay(w, time.Now()) }); err == nil {
		l, err = newLedger(w, Options{})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a scratch ledger: %w", err), w.close())
	}
	go l.write()
	return l, nil
}

// Close ends the ledger's work: what is being written is finished, what waits gets
// ErrClosed, or what it waits for. The file stands alone afterwards, unless another process has it open.
// Closing again is safe and says the same.
func (l *Ledger) Close() error {
	l.closing.Do(func() {
		close(l.quit)
		if l.shared != nil {
			l.closed = l.shared.close()
			return
		}
		<-l.stopped
		l.closed = l.hangUp()
	})
	return l.closed
}

// hangUp closes the connections, the writer's last: whichever is last brings all
// changes into the file.
func (l *Ledger) hangUp() error {
	var errs []error
	for range cap(l.readers) {
		select {
		case r := <-l.readers:
			errs = append(errs, r.close())
		case <-time.After(closeWait):
			errs = append(errs, fmt.Errorf("%w: a reader is still at work", ErrStorage))
		}
	}
	return errors.Join(append(errs, l.w.close())...)
}

// closeWait is how long Close waits for a reader. A page is read in milliseconds.
const closeWait = 10 * time.Second

// ID returns the ledger's own name, a UUID given to it when it was made.
func (l *Ledger) ID() string { return l.id }

// read runs do on a connection that sees everything that was durable when it
// began, and holds up no change.
func (l *Ledger) read(ctx context.Context, do func(c *conn) error) error {
	switch {
	case l.shared != nil:
		return l.shared.read(ctx, do)
	case l.readers == nil:
		return l.alone(ctx, do)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-l.quit:
		return ErrClosed
	default:
	}
	select {
	case c := <-l.readers:
		defer func() { l.readers <- c }()
		if err := c.ended(); err != nil {
			return err
		}
		return do(c)
	case <-l.quit:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
