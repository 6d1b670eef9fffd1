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

	// busyTries is how often a key is parked because its record is busy, and
	// busyPause the first pause, which doubles: 2, 4, ... 64 s, two minutes in all.
	busyTries = 6
	busyPause = 2 * time.Second
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
	running int

	busy   map[int64]bool // keys with open work
	ready  []int64        // keys with a next round to do at once
	parked parking        // keys that wait for their record
	tries  map[int64]int  // how often each key was parked in a row

	page   []ledger.Op // changes read ahead
	cursor ledger.Cursor
	read   bool // all changes have been read

	looks looking
}

// report is what a worker tells the loop.
type report struct {
	keys  []int64
	look  *look // the look that was taken, with what is still open; nil after a change
	err   error // ends the run
	ended *crm.AccountError

	// again says that the key has more to do at once.
	again bool
	// later, if positive, says that the record is busy and when to come back.
	later time.Duration
	// accepted are the operations that the CRM took.
	accepted []acceptance
	moved    bool // something was settled
}

func newLoop(ctx context.Context, b *Batch, acc *account) *loop {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &loop{
		b: b, acc: acc, ctx: ctx, cancel: cancel,
		reports: make(chan report, acc.Workers),
		busy:    make(map[int64]bool),
		tries:   make(map[int64]int),
		looks:   newLooking(),
	}
	l.pool.SetLimit(acc.Workers)
	return l
}

// run works until nothing is left to do now or later in this run.
func (l *loop) run() error {
	defer l.cancel(nil)
	for {
		wake, err := l.fill()
		if err != nil {
			l.cancel(err)
		}
		if l.running == 0 && (err != nil || wake.IsZero() || l.ctx.Err() != nil) {
			return l.leave(err)
		}
		l.wait(wake)
	}
}

// leave waits for the workers and returns what ended the run, if anything did.
func (l *loop) leave(err error) error {
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
	if !wake.IsZero() && l.running < l.acc.Workers && l.ctx.Err() == nil {
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

// fill starts work as long as a worker is free and there is some. It returns when
// the next of what waits is due, or the zero time if nothing waits.
func (l *loop) fill() (wake time.Time, err error) {
	for l.running < l.acc.Workers && l.ctx.Err() == nil {
		now := time.Now()
		started, err := l.start(now)
		if err != nil {
			return time.Time{}, err
		}
		if !started {
			return earliest(l.looks.due(), l.parked.due()), nil
		}
	}
	if l.running > 0 {
		return time.Time{}, nil
	}
	return earliest(l.looks.due(), l.parked.due()), nil
}

// start gives a worker the most urgent piece of work and reports whether there was
// any: looks that order needs, then changes, then the other looks.
func (l *loop) start(now time.Time) (bool, error) {
	if k := l.looks.soon(now, l.busy); k != nil {
		l.startLook(k)
		return true, nil
	}
	keys, err := l.nextChange(now)
	if err != nil {
		return false, err
	}
	if keys != nil {
		l.startChange(keys)
		return true, nil
	}
	if err := l.readWaiting(); err != nil {
		return false, err
	}
	if k := l.looks.next(now, l.busy); k != nil {
		l.startLook(k)
		return true, nil
	}
	return false, nil
}

// nextChange returns the keys that the next call works on, or nil if no change
// can be started now.
func (l *loop) nextChange(now time.Time) ([]int64, error) {
	for i, key := range l.ready {
		if !l.busy[key] {
			l.ready = append(l.ready[:i], l.ready[i+1:]...)
			return []int64{key}, nil
		}
	}
	if key, ok := l.parked.pop(now); ok {
		return []int64{key}, nil
	}
	for {
		if len(l.page) == 0 {
			if err := l.readTodo(); err != nil || len(l.page) == 0 {
				return nil, err
			}
		}
		op := l.page[0]
		l.page = l.page[1:]
		if l.claimed(op.Key) {
			continue
		}
		return l.bundle(op), nil
	}
}

// claimed reports whether somebody works or will work on the key: whoever does
// takes all of its operations.
func (l *loop) claimed(key int64) bool {
	if l.busy[key] || l.parked.has(key) {
		return true
	}
	for _, k := range l.ready {
		if k == key {
			return true
		}
	}
	return false
}

// bundle returns the operation's key, and with it those of the operations read
// ahead that may go in the same call.
func (l *loop) bundle(op ledger.Op) []int64 {
	keys := []int64{op.Key}
	many, ok := l.acc.Provider.(crm.Bundler)
	if !ok || op.Bundle == 0 || op.Turn == ledger.TurnAsk {
		return keys
	}
	_, most := many.Bundle(op.Operation)
	taken := map[int64]bool{op.Key: true}
	rest := l.page[:0]
	for _, other := range l.page {
		if len(keys) < most && other.Bundle == op.Bundle && other.Turn == op.Turn && !taken[other.Key] && !l.claimed(other.Key) {
			keys = append(keys, other.Key)
			taken[other.Key] = true
			continue
		}
		rest = append(rest, other)
	}
	l.page = rest
	return keys
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

func (l *loop) startChange(keys []int64) {
	for _, key := range keys {
		l.busy[key] = true
	}
	l.running++
	tries := l.tries[keys[0]]
	l.pool.Go(func() error {
		r := l.change(keys, tries)
		l.reports <- r
		return r.err
	})
}

func (l *loop) startLook(k *look) {
	l.busy[k.key] = true
	l.running++
	l.pool.Go(func() error {
		r := l.confirm(k)
		l.reports <- r
		return r.err
	})
}

// take books what a worker reports.
func (l *loop) take(r report) {
	l.running--
	for _, key := range r.keys {
		delete(l.busy, key)
		l.looks.release(key)
	}
	if r.err != nil {
		l.cancel(r.err)
		return
	}
	if r.ended != nil {
		l.endAccount(r.ended)
		return
	}
	for _, a := range r.accepted {
		l.looks.accept(a, l.b.opts.ConfirmOff)
	}
	if r.look != nil {
		l.looks.back(r.look, time.Now(), l.b.opts.ConfirmTimeout, l.giveUp)
		if r.moved && r.look.blocks {
			l.ready = append(l.ready, r.look.key)
		}
		return
	}
	for _, key := range r.keys {
		if r.later > 0 {
			l.tries[key]++
			l.parked.push(key, time.Now().Add(r.later))
			continue
		}
		delete(l.tries, key)
		if r.again {
			l.ready = append(l.ready, key)
		}
	}
}

func (l *loop) giveUp(k *look) {
	for _, op := range k.ops {
		l.b.log.Warn("still unconfirmed", "account", l.acc.Name, "line", op.Line, "request", op.Ticket, "looks", k.tries)
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

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
