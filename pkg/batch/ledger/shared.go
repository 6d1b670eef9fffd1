package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// shared is what a ledger in a database has: a part of the connections of all.
type shared struct {
	d        *Database
	l        *Ledger
	number   int64 // of the ledger in the database
	patience time.Duration
	check    Check
	writer   *databaseWriter
	end      end            // of what the writer has written, for it alone
	locked   bool           // somebody else holds the ledger: the writer waits for it no more
	active   sync.WaitGroup // jobs that the writer was given

	// turn is held by whoever works with temporary tables, on c.
	turn chan struct{}
	c    *conn // nil while nobody holds temporary tables

	mu     sync.Mutex // guards what follows
	holds  int        // who needs the temporary tables to stay
	closed bool
}

func newShared(d *Database, l *Ledger, number int64, o Options) *shared {
	s := &shared{d: d, l: l, number: number, patience: o.Patience, check: o.Check, turn: make(chan struct{}, 1)}
	if s.patience == 0 {
		s.patience = mostBusy
	}
	s.writer = d.writers[number%int64(len(d.writers))]
	s.writer.open.Add(1)
	return s
}

// rename gives the ledger the id of another that takes its place, in the transaction that is
// under way. One that stands in the database under another name is refused: both could be
// worked on.
func (s *shared) rename(c *conn, id string) error {
	other := ""
	if err := c.query("SELECT name FROM ledger WHERE uuid = ? AND id <> ?", func(r row) error {
		other = r.text("name")
		return nil
	}, id, s.number); err != nil {
		return err
	}
	if other != "" {
		return fmt.Errorf("%w: it is ledger %q", ErrElsewhere, other)
	}
	_, err := c.exec("UPDATE ledger SET uuid = ? WHERE id = ?", id, s.number)
	return err
}

// guard asks Options.Check, in a transaction that has claimed the ledger. fenced says that the
// error is Check's own, and the transaction as good as before.
func (s *shared) guard(c *conn, jobs []*job) (fenced bool, err error) {
	var accounts []string
	for _, j := range jobs {
		accounts = append(accounts, j.accounts...)
	}
	slices.Sort(accounts)
	return s.check.passes(c, slices.Compact(accounts))
}

// again returns what waits between tries of one read, until the context or the ledger is
// closed or the patience has come to its end.
func (s *shared) again(ctx context.Context) func() bool {
	began, wait := time.Now(), firstWait
	return func() bool {
		if time.Since(began) > s.patience {
			return false
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		wait = min(2*wait, longestWait)
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
		case <-s.l.quit:
		}
		return false
	}
}

// A database that does not answer is tried again after such times.
const (
	firstWait   = 5 * time.Millisecond
	longestWait = time.Second
)

func (s *shared) read(ctx context.Context, do func(c *conn) error) error {
	c, release, err := s.d.readers.get(ctx, s.l.quit, s.again(ctx), s.number)
	if err == nil {
		defer release()
		err = do(c)
	}
	if err != nil && ctx.Err() != nil && (postgres{}).lost(err) {
		return context.Cause(ctx) // it was not waited for
	}
	return err
}

// hold keeps the temporary tables until release is called.
func (s *shared) hold() (release func()) {
	s.mu.Lock()
	s.holds++
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.holds--
		s.mu.Unlock()
		s.turn <- struct{}{}
		s.drop(false)
		<-s.turn
	})
}

// drop gives the connection with the temporary tables back where nobody needs it, or anyway. It
// is called in turn.
func (s *shared) drop(anyway bool) (err error) {
	s.mu.Lock()
	unused := s.holds == 0
	s.mu.Unlock()
	if s.c != nil && (unused || anyway) {
		err = s.d.takeBack(s.c)
		s.c = nil
		<-s.d.temporary
	}
	return err
}

// alone runs do where the temporary tables are.
func (s *shared) alone(ctx context.Context, do func(c *conn) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-s.l.quit:
		return ErrClosed
	default:
	}
	defer s.hold()()
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.l.quit:
		return ErrClosed
	}
	defer func() { <-s.turn }()
	if s.c == nil {
		select {
		case <-s.l.quit:
			return ErrClosed
		default:
		}
		select {
		case s.d.temporary <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.l.quit:
			return ErrClosed
		}
		s.c = s.d.lend()
		if err := s.c.show(s.number); err != nil {
			return err
		}
		s.c.keeps = true
	}
	if err := s.c.ended(); err != nil {
		return err
	}
	return do(s.c)
}

// changeAlone runs a change where the temporary tables are. One whose connection is lost can
// not be tried again: they are gone.
func (s *shared) changeAlone(ctx context.Context, j *job) error {
	return s.alone(ctx, func(c *conn) error {
		for {
			p := &part{s: s, end: new(end), jobs: []*job{j}}
			err := attempt(c, []*part{p})
			if err == nil {
				return p.fenced
			}
			if lostCommit(c, err) {
				c.keeps = false // what is asked now needs no temporary tables
				c.renew()
				happened, unknown := findOut(c, []*part{p}, err)
				if happened {
					return nil
				}
				return errors.Join(unwrapPart(err), unknown)
			}
			err = unwrapPart(err)
			if !errors.Is(err, ErrBusy) || time.Since(j.since) > s.patience {
				return err
			}
			select {
			case <-s.l.quit:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			default:
			}
		}
	})
}

// enter counts a job as under way, unless the ledger is closed.
func (s *shared) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.active.Add(1)
	return true
}

// close ends what the ledger has under way. Its quit is closed.
func (s *shared) close() error {
	s.mu.Lock()
	s.closed = true // nobody is counted any more
	s.mu.Unlock()
	s.active.Wait()
	s.turn <- struct{}{}
	err := s.drop(true)
	<-s.turn
	s.writer.open.Add(-1)
	s.d.mu.Lock()
	delete(s.d.ledgers, s.l)
	s.d.mu.Unlock()
	return err
}
