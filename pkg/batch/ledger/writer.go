package ledger

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"
)

// mostPerCommit bounds how many changes one commit makes durable, so that the
// first of them does not wait for ever.
const mostPerCommit = 512

// Where the disk is quick, many small commits are better than few large ones: the
// first callers go on while the writer is still busy with the others, instead of all
// waiting for it and then it for all. With fewPerCommit as the bound the engine made
// 0.36 of a bare client's calls where it made 0.32 without (2026-11, two cores, 40 µs
// for a sync). A disk is quick while such a commit takes no longer than quickCommit.
const (
	fewPerCommit = 24
	quickCommit  = 2 * time.Millisecond
)

// mostBreaths is how often the writer lets those go first who are about to queue
// something, before it commits what it has. A commit costs as much as ten changes;
// where nobody else has anything to do, a breath takes no time.
const mostBreaths = 1

// job is something for a writer to do.
type job struct {
	l        *Ledger
	ctx      context.Context
	since    time.Time // when it was queued
	accounts []string  // whose operations it intends
	do       func(c *conn) error
	// change says that do changes durable tables: it runs in a transaction together
	// with whatever else is waiting, perhaps twice, and must not keep what it read.
	change bool
	// taken is set by whoever decides over the job first: the writer by starting it,
	// or the one who queued it by giving up.
	taken atomic.Bool
	done  chan error

	// What follows is for the writer of a database alone.
	single   bool  // it did not go well together with others, and is tried alone
	failed   error // of the last try, which will be repeated
	answered bool
}

// change runs do in a transaction and returns when it is durable. If ctx ends
// before do has begun, it never will; afterwards ctx no longer matters.
func (l *Ledger) change(ctx context.Context, do func(c *conn) error) error {
	return l.changeOf(ctx, nil, do)
}

// changeOf is change for one that intends operations of the accounts.
func (l *Ledger) changeOf(ctx context.Context, accounts []string, do func(c *conn) error) error {
	if l.readOnly {
		return ErrReadOnly
	}
	if err := l.Marked(); err != nil {
		return err
	}
	return l.queue(ctx, l.job(ctx, accounts, do, true))
}

// changeAlone is change for what needs the temporary tables of alone.
func (l *Ledger) changeAlone(ctx context.Context, do func(c *conn) error) error {
	if l.shared == nil || l.readOnly || l.Marked() != nil {
		return l.change(ctx, do)
	}
	return l.shared.changeAlone(ctx, l.job(ctx, nil, do, true))
}

// alone runs do on a connection that has temporary tables, with no transaction around it and
// nothing else under way there: the writer's, of a file.
func (l *Ledger) alone(ctx context.Context, do func(c *conn) error) error {
	if l.shared != nil {
		return l.shared.alone(ctx, do)
	}
	return l.queue(ctx, l.job(ctx, nil, do, false))
}

// hold keeps the temporary tables until release is called, which may be called twice.
func (l *Ledger) hold() (release func()) {
	if l.shared == nil {
		return func() {}
	}
	return l.shared.hold()
}

func (l *Ledger) job(ctx context.Context, accounts []string, do func(c *conn) error, change bool) *job {
	return &job{l: l, ctx: ctx, since: time.Now(), accounts: accounts, do: do, change: change, done: make(chan error, 1)}
}

// queue puts the job behind those that were put there before it, and returns when it is
// done, or ctx has ended before it was begun.
func (l *Ledger) queue(ctx context.Context, j *job) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.shared != nil {
		if !l.shared.enter() {
			return ErrClosed
		}
		defer l.shared.active.Done()
	}
	select {
	case <-l.quit:
		return ErrClosed
	default:
	}
	select {
	case l.jobs <- j:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.quit:
		return ErrClosed
	}
	select {
	case err := <-j.done:
		return err
	case <-l.quit:
		// The writer answers all that it has taken.
		if j.taken.CompareAndSwap(false, true) {
			return ErrClosed
		}
		return <-j.done
	case <-ctx.Done():
		if j.taken.CompareAndSwap(false, true) {
			return context.Cause(ctx)
		}
		return <-j.done
	}
}

// write is the writer of a file, which it alone changes. What was queued while a commit
// was under way goes into the next one together.
func (l *Ledger) write() {
	defer close(l.stopped)
	most := fewPerCommit
	for {
		var j *job
		select {
		case j = <-l.jobs:
		case <-l.quit:
			return
		}
		for j != nil {
			var batch []*job
			batch, j = l.gather(j, most)
			began := time.Now()
			l.commit(batch)
			if most = fewPerCommit; time.Since(began) > quickCommit {
				most = mostPerCommit
			}
		}
	}
}

// gather takes first, and what waits behind it as far as it can share first's
// commit, at most so many. next, if not nil, is what could not.
func (l *Ledger) gather(first *job, most int) (batch []*job, next *job) {
	if !first.taken.CompareAndSwap(false, true) {
		return nil, nil
	}
	batch = append(batch, first)
	for breaths := 0; first.change && len(batch) < most; {
		select {
		case j := <-l.jobs:
			if !j.change {
				return batch, j
			}
			if j.taken.CompareAndSwap(false, true) {
				batch = append(batch, j)
			}
		default:
			if breaths == mostBreaths {
				return batch, nil
			}
			breaths++
			runtime.Gosched()
		}
	}
	return batch, nil
}

// commit runs the batch and answers each of its jobs.
func (l *Ledger) commit(batch []*job) {
	if len(batch) == 0 {
		return
	}
	if !batch[0].change {
		err := l.w.ended()
		if err == nil {
			err = batch[0].do(l.w)
		}
		batch[0].done <- err
		return
	}
	err := l.patiently(func() error {
		for _, j := range batch {
			if err := j.do(l.w); err != nil {
				return jobError{err}
			}
		}
		if err := l.w.saveEvents(); err != nil {
			return jobError{err} // of one of them
		}
		return nil
	})
	if _, ok := errors.AsType[jobError](err); ok && len(batch) > 1 {
		// One of them can not be done. The others are not to suffer for it.
		for _, j := range batch {
			j.done <- unwrapJob(l.patiently(func() error { return j.do(l.w) }))
		}
		return
	}
	for _, j := range batch {
		j.done <- unwrapJob(err)
	}
}

// mostBusy is how long a change waits for another program that has the file open for
// writing. Nothing is sent meanwhile, and no outcome is lost that would leave its row
// in doubt. A backup or somebody's query is over by then.
const mostBusy = time.Minute

// patiently is transact for a file that another program may hold for a while.
func (l *Ledger) patiently(do func() error) error {
	for began := time.Now(); ; {
		err := l.w.transact(do)
		if !errors.Is(err, ErrBusy) || time.Since(began) > mostBusy {
			return err
		}
		select {
		case <-l.quit:
			return err
		default:
		}
	}
}

// jobError tells an error of one job from one of the transaction around them.
type jobError struct{ error }

func unwrapJob(err error) error {
	if e, ok := errors.AsType[jobError](err); ok {
		return e.error
	}
	return err
}
