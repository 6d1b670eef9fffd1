package batch

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const (
	pageSize = 256 // operations read from the ledger at a time

	// workersPerCall lets so many times as many pieces of work be under way as calls
	// may be open: those whose call is through wait for the ledger, not the others for
	// them. A kill leaves no more in doubt for that: the next intent does not become
	// durable before the outcomes that were queued before it.
	workersPerCall = 2

	// busyTries is how often a key is parked because its record is busy, and
	// busyPause the first pause, which doubles: 2, 4, ... 64 s, two minutes in all.
	busyTries = 6
	busyPause = 2 * time.Second

	// maxBusyPause bounds what a CRM's answer may ask us to wait for one record.
	maxBusyPause = 10 * time.Minute
)

// loop is the one place that decides what an account does next. It alone touches
// its fields; workers get a piece of work and report back.
type loop struct {
	b       *Batch
	acc     *account
	ctx     context.Context // done when nothing more may be started
	cancel  context.CancelCauseFunc
	pool    errgroup.Group
	reports chan report
	running int        // pieces of work that have not been reported
	open    int        // of these, how many may still have a call under way
	jobs    chan piece // for workers that have nothing to do
	idle    int        // how many these are

	keys keys

	page   []ledger.Op // changes read ahead
	cursor ledger.Cursor
	read   bool // all changes have been read

	looks looking

	planned backlog // of what is not finished, as the plan had it
}

func newLoop(ctx context.Context, b *Batch, acc *account) *loop {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &loop{
		b: b, acc: acc, ctx: ctx, cancel: cancel,
		reports: make(chan report, 2*workersPerCall*acc.Workers),
		jobs:    make(chan piece, workersPerCall*acc.Workers),
		keys:    newKeys(),
	}
	_, asks := acc.Provider.(crm.Confirmer)
	l.looks = newLooking(asks)
	l.planned = acc.planned
	l.pool.SetLimit(workersPerCall * acc.Workers)
	return l
}

// run works until nothing is left to do now or later in this run.
func (l *loop) run() error {
	defer l.cancel(nil)
	var failed error
	for {
		wake, err := l.fill()
		if err != nil && failed == nil {
			failed = err
			l.cancel(err)
		}
		if l.running == 0 && (failed != nil || wake.IsZero() || l.ctx.Err() != nil) {
			return l.leave(failed)
		}
		l.wait(wake)
	}
}

// leave waits for the workers and returns what ended the run, if anything did.
func (l *loop) leave(err error) error {
	defer l.acc.todo.set(backlog{}, callsMade{})
	close(l.jobs)
	if werr := l.pool.Wait(); err == nil {
		err = werr
	}
	switch {
	case err != nil || l.acc.end() != nil:
		return err
	case l.ctx.Err() != nil:
		l.b.log.Info("account stopped", "account", l.acc.Name, "cause", context.Cause(l.ctx))
		return nil
	}
	return l.explainHeld()
}

// wait returns when a worker reports, the time has come, or everything is to end.
func (l *loop) wait(wake time.Time) {
	var timer <-chan time.Time
	if !wake.IsZero() && l.free() && l.ctx.Err() == nil {
		t := time.NewTimer(time.Until(wake))
		defer t.Stop()
		timer = t.C
	}
	done := l.ctx.Done()
	if l.ctx.Err() != nil {
		done = nil
	}
	select {
	case r := <-l.reports:
		l.take(r)
	case <-timer:
	case <-done:
	}
}

// free reports whether another call may be begun.
func (l *loop) free() bool {
	return l.open < l.acc.Workers && l.running < workersPerCall*l.acc.Workers
}

// fill starts work as long as a worker is free and there is some. It returns when
// the next of what waits is due, or the zero time if nothing waits.
func (l *loop) fill() (wake time.Time, err error) {
	for l.free() && l.ctx.Err() == nil {
		now := time.Now()
		started, err := l.start(now)
		if err != nil {
			return time.Time{}, err
		}
		if !started {
			return earliest(l.looks.due(), l.keys.due()), nil
		}
	}
	if l.running > 0 {
		return time.Time{}, nil
	}
	return earliest(l.looks.due(), l.keys.due()), nil
}

// start gives a worker the most urgent piece of work and reports whether there was
// any: looks that order needs, then changes, then the other looks.
func (l *loop) start(now time.Time) (bool, error) {
	if k := l.looks.soon(now, l.keys.busy); k != nil {
		l.startLook(k)
		return true, nil
	}
	work, err := l.nextChange(now)
	if err != nil {
		return false, err
	}
	if work != nil {
		l.startChange(work)
		return true, nil
	}
	if err := l.readWaiting(); err != nil {
		return false, err
	}
	if k := l.looks.next(now, l.keys.busy); k != nil {
		l.startLook(k)
		return true, nil
	}
	return false, nil
}

// errand is a key to work on.
type errand struct {
	key   int64
	alone int64        // the key's only operation, 0 if it may have several
	op    [1]ledger.Op // that operation as it was read ahead; the zero value: read it
}

func keysOf(work []errand) []int64 {
	keys := make([]int64, len(work))
	for i, e := range work {
		keys[i] = e.key
	}
	return keys
}

// errandOf is the errand that an operation read ahead gives rise to.
func errandOf(op ledger.Op) errand {
	if !op.Alone {
		return errand{key: op.Key}
	}
	return errand{key: op.Key, alone: op.ID, op: [1]ledger.Op{op}}
}

// nextChange returns the keys that the next call works on, or nil if no change
// can be started now.
func (l *loop) nextChange(now time.Time) ([]errand, error) {
	if key, alone, ok := l.keys.next(now); ok {
		return []errand{{key: key, alone: alone}}, nil
	}
	for {
		if len(l.page) == 0 {
			if err := l.readTodo(); err != nil || len(l.page) == 0 {
				return nil, err
			}
		}
		op := l.page[0]
		l.page = l.page[1:]
		if l.keys.claimed(op.Key) {
			continue
		}
		return l.bundle(op), nil
	}
}

// bundle returns the operation's key, and with it those of the operations read
// ahead that may go in the same call.
func (l *loop) bundle(op ledger.Op) []errand {
	work := []errand{errandOf(op)}
	many, ok := l.acc.Provider.(crm.Bundler)
	if !ok || op.Bundle == 0 || op.Turn != ledger.TurnNormal {
		return work // what failed before goes alone: it may have failed for another row's sake
	}
	_, most := many.Bundle(op.Operation)
	taken := map[int64]bool{op.Key: true}
	rest := l.page[:0]
	for _, other := range l.page {
		if len(work) < most && other.Bundle == op.Bundle && other.Turn == op.Turn && !taken[other.Key] && !l.keys.claimed(other.Key) {
			work = append(work, errandOf(other))
			taken[other.Key] = true
			continue
		}
		rest = append(rest, other)
	}
	l.page = rest
	return work
}

// readTodo reads the next changes from the ledger.
func (l *loop) readTodo() error {
	if l.read {
		return nil
	}
	page, err := l.b.led.Todo(l.ctx, l.acc.Name, l.cursor, pageSize)
	if err != nil {
		return l.unlessStopped(err)
	}
	if l.read = len(page) < pageSize; len(page) > 0 {
		l.cursor = page[len(page)-1].Cursor()
	}
	l.page = page
	return nil
}

// unlessStopped drops an error that comes from our own stopping.
func (l *loop) unlessStopped(err error) error {
	if l.ctx.Err() != nil {
		return nil
	}
	return err
}

// book does what a report asks for, before its keys are let go.
func (l *loop) book(r report) {
	if r.err != nil {
		l.cancel(r.err)
		return
	}
	if r.ended != nil {
		l.endAccount(r.ended)
		return
	}
	for _, a := range r.accepted {
		l.looks.accept(a, time.Now(), l.b.opts.ConfirmOff)
	}
	if r.look != nil {
		l.looks.back(r.look, r.settled, time.Now(), l.b.opts.ConfirmTimeout, l.giveUp)
		if len(r.settled) > 0 {
			for _, key := range r.look.waits {
				l.keys.wake(key)
			}
		}
		return
	}
	for _, key := range r.keys {
		if r.later > 0 {
			l.keys.park(key, time.Now().Add(r.later))
			continue
		}
		l.keys.freed(key)
		if r.again {
			l.keys.wake(key)
		}
	}
}

// giveUp leaves what is open of a look for the next run. Where that befalls too much
// while changes still wait, the CRM accepts and does nothing, and the run stops.
func (l *loop) giveUp(k *look) {
	var rows int64
	for _, op := range k.ops {
		l.b.log.Warn("still unconfirmed", "account", l.acc.Name, "line", op.Line, "request", op.Ticket, "looks", k.tries)
		if l.ours(op) {
			rows += int64(op.Rows)
		}
	}
	err := l.b.guard.looked(rows, rows)
	if waiting := !l.read || len(l.page) > 0; err != nil && waiting {
		l.b.stop(err)
	}
}

// endAccount stops the account for this run. Its rows that were not sent stay as
// they are.
func (l *loop) endAccount(ended *crm.AccountError) {
	if l.acc.setEnd(ended) {
		l.b.log.Warn("account ended", "account", l.acc.Name, "code", ended.Code, "error", ended.Err)
	}
	l.cancel(ended)
}

// tell has Progress know what is left after a report.
func (l *loop) tell(r report) {
	l.planned.changes = max(0, l.planned.changes-r.spent.changes)
	l.planned.looks = max(0, l.planned.looks-r.spent.looks)
	b := l.planned
	b.looks += float64(l.looks.left())
	b.settling, b.due = l.looks.expect, latest(l.looks.last(), l.keys.latest)
	l.acc.todo.set(b, r.made)
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
