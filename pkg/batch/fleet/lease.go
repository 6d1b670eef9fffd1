package fleet

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// times are the durations that hosts agree on, and those of this host's own loops. Only
// tests have others than realTimes.
type times struct {
	beat      time.Duration // from heartbeat to heartbeat
	beatLimit time.Duration // how long one may take
	lease     time.Duration // a host may send for so long from when it asked, by its clock
	dead      time.Duration // others declare it dead so long after PostgreSQL saw it
	steady    time.Duration // who declares others dead has had heartbeats for so long
	watch     time.Duration // how often a host looks after the others and its sheets
	alive     time.Duration // a host whose heartbeat came within this is seen to live
	poll      time.Duration // how often a claim that must wait is tried
	report    time.Duration // how often progress is stored
	busy      time.Duration // when a sheet is tried again that found an account in use
	limit     time.Duration // of one transaction
	idle      time.Duration // after it the server ends a transaction whose host was stopped in the middle
	patience  time.Duration // how long a lost connection is tried again for a caller
	quick     bool          // River begins its upkeep at once
}

func realTimes() times {
	return times{
		beat: 2 * time.Second, beatLimit: 3 * time.Second, lease: 10 * time.Second, dead: 15 * time.Second, steady: 20 * time.Second,
		watch: time.Second, alive: 5 * time.Second, poll: 500 * time.Millisecond, report: 2 * time.Second, busy: 2 * time.Second,
		limit: 10 * time.Second, idle: 4 * time.Second, patience: 30 * time.Second,
	}
}

// A lease is a host's right to send. Its methods can be called by many at once; only keep
// renews it.
type lease struct {
	now   clock
	times times
	until atomic.Int64 // by now; it may send before
	// unbroken is since when each heartbeat has been answered, by now; never if none was.
	unbroken atomic.Int64
	over     atomic.Pointer[error] // why it is over for good, nil while it is not
	lost     chan struct{}         // closed when it is ErrLost
	beats    atomic.Bool           // a heartbeat has been answered
	ends     sync.Mutex            // for over and lost
}

const never = int64(-1) << 62

func newLease(now clock, t times) *lease {
	l := &lease{now: now, times: t, lost: make(chan struct{})}
	l.until.Store(never)
	l.unbroken.Store(never)
	return l
}

// may returns nil while the host may send.
func (l *lease) may() error {
	if err := l.over.Load(); err != nil {
		return *err
	}
	if int64(l.now()) >= l.until.Load() {
		// It may have been declared dead in between: that is the better answer.
		if err := l.over.Load(); err != nil {
			return *err
		}
		return ErrAway
	}
	return nil
}

// steady reports whether this host's own heartbeats are so good that silence of another
// one is that one's fault.
func (l *lease) steady() bool {
	since := l.unbroken.Load()
	return since != never && l.may() == nil && int64(l.now())-since >= int64(l.times.steady)
}

// renew takes note of an answered heartbeat. What counts is when it was asked for:
// PostgreSQL has seen it then or later.
func (l *lease) renew(asked time.Duration) {
	if l.unbroken.Load() == never || int64(asked) >= l.until.Load() {
		l.unbroken.Store(int64(asked))
	}
	l.until.Store(int64(asked + l.times.lease))
}

// end ends it for good. The first reason stays.
func (l *lease) end(why error) {
	l.ends.Lock()
	defer l.ends.Unlock()
	if l.over.Load() != nil {
		return
	}
	l.over.Store(&why)
	if why == ErrLost {
		close(l.lost)
	}
}

// keep sends heartbeats until ctx is done or one finds the host declared dead.
func (l *lease) keep(ctx context.Context, beat func(context.Context) (alive bool, err error), log *slog.Logger) {
	failing := false
	for {
		asked := l.now()
		limited, cancel := context.WithTimeout(ctx, l.times.beatLimit)
		alive, err := beat(limited)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.unbroken.Store(never)
			if !failing {
				log.Warn("no heartbeat: the database does not answer", "error", err)
			}
			failing = true
		case !alive:
			l.end(ErrLost)
			log.Error("this host was declared dead: it was silent for too long")
			return
		default:
			l.renew(asked)
			l.beats.Store(true)
			if failing {
				log.Info("the database answers again")
			}
			failing = false
		}
		pause := l.times.beat - (l.now() - asked)
		if !sleep(ctx, min(max(pause, l.times.beat/10), l.times.beat)) {
			return
		}
	}
}

// sleep returns false if ctx is done before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
