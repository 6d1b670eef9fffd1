package batch

import (
	"cmp"
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

	// maxBusyPause bounds what a CRM's answer may ask us to wait for one record.
	maxBusyPause = 10 * time.Minute
)

// loop does what its account's schedule says, one task at a time handed to a free
// worker. It alone touches its fields; workers get a task and report back.
type loop struct {
	*schedule
	b       *Batch
	acc     *account
	ctx     context.Context // done when nothing more may be started
	cancel  context.CancelCauseFunc
	pool    errgroup.Group
	reports chan report
	running int   // tasks that have not been reported
	failed  error // what ends the run

	planned backlog // of what is not finished, as the plan had it
}

func newLoop(ctx context.Context, b *Batch, acc *account) *loop {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &loop{schedule: newSchedule(acc.Rules), b: b, acc: acc, ctx: ctx, cancel: cancel, reports: make(chan report), planned: acc.planned}
	l.pool.SetLimit(acc.Workers)
	return l
}

// report is what a worker tells the loop of its task.
type report struct {
	keys  []crm.Target
	look  *look // the confirmation that was made, with what is still open; nil after a change
	err   error // ends the run
	ended *crm.AccountError

	// again says that the key has more to do at once.
	again bool
	// later, if positive, says that the record is busy and when to come back.
	later time.Duration
	// accepted are the operations that the CRM took.
	accepted []acceptance
	finished []int64 // operations that a confirmation has finished
	// spent is what was planned for what is finished, and made what is known of its calls
	// beside what was known before.
	spent backlog
	made  callsMade
}

// run works until nothing is left to do now or later in this run.
func (l *loop) run() error {
	defer l.cancel(nil)
	for {
		wake := time.Time{}
		for l.running < l.b.workers(l.acc) && l.ctx.Err() == nil {
			s, err := l.begin(time.Now())
			if err != nil {
				l.fail(err)
			}
			if s.change == nil && s.confirm == nil && !s.readChanges && !s.readAccepted {
				wake = s.wake
				break
			}
		}
		if l.running == 0 && (wake.IsZero() || l.ctx.Err() != nil) {
			return l.leave()
		}
		l.wait(wake)
	}
}

// begin does the next step: it hands a task to a worker, or reads.
func (l *loop) begin(now time.Time) (s step, err error) {
	var page []ledger.Op
	switch s = l.next(now); {
	case s.change != nil:
		tries := l.keys.tries(s.change[0])
		l.hand(func() report { return l.execute(s.change, s.alone, tries) })
	case s.confirm != nil:
		l.hand(func() report { return l.confirmTask(s.confirm) })
	case s.readChanges:
		if page, err = l.b.queue.Next(l.ctx, l.acc.Name, l.cursor, pageSize); err == nil {
			l.changes(page)
		}
	case s.readAccepted:
		if page, err = l.b.queue.Unconfirmed(l.ctx, l.acc.Name, l.confirms.cursor, pageSize); err == nil {
			l.accepted(page, now)
		}
	}
	return s, l.unlessStopped(err)
}

// hand gives a task to a worker. There is one free.
func (l *loop) hand(task func() report) {
	l.running++
	l.pool.Go(func() error {
		r := task()
		l.reports <- r
		return r.err
	})
}

// fail notes what ends the run, of several the first, and has nothing more begun.
func (l *loop) fail(err error) {
	l.failed = cmp.Or(l.failed, err)
	l.cancel(err)
}

// leave waits for the workers and returns what ended the run, if anything did.
func (l *loop) leave() error {
	defer l.acc.todo.set(backlog{}, callsMade{})
	l.failed = cmp.Or(l.failed, l.pool.Wait())
	switch {
	case l.failed != nil || l.acc.end() != nil:
		return l.failed
	case l.ctx.Err() != nil:
		l.b.log.Info("account stopped", "account", l.acc.Name, "cause", context.Cause(l.ctx))
		return nil
	}
	return l.explainBlocked()
}

// wait returns when a worker has reported, the time has come, or everything is to end.
func (l *loop) wait(wake time.Time) {
	var timer <-chan time.Time
	done := l.ctx.Done()
	if l.ctx.Err() != nil {
		done = nil
	} else if !wake.IsZero() {
		t := time.NewTimer(time.Until(wake))
		defer t.Stop()
		timer = t.C
	}
	select {
	case r := <-l.reports:
		l.running--
		l.take(r)
		l.tell(r)
		l.ended(r.keys)
	case <-timer:
	case <-done:
	}
}

// unlessStopped drops an error that comes from our own stopping.
func (l *loop) unlessStopped(err error) error {
	if l.ctx.Err() != nil {
		return nil
	}
	return err
}

// take does what a report asks for, before its keys are let go.
func (l *loop) take(r report) {
	if r.err != nil {
		l.fail(r.err)
		return
	}
	if r.ended != nil {
		l.endAccount(r.ended)
		return
	}
	for _, a := range r.accepted {
		l.confirms.accept(a, time.Now(), l.b.opts.ConfirmOff)
	}
	if r.look != nil {
		l.confirms.back(r.look, r.finished, time.Now(), l.b.opts.ConfirmTimeout, l.giveUp)
		if len(r.finished) > 0 {
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
	if err != nil && l.waiting() {
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
	b.looks += float64(l.confirms.left())
	b.settling, b.due = l.confirms.expect, latest(l.confirms.last(), l.keys.latest)
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
