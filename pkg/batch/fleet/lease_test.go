package fleet

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// database is what a heartbeat reaches: it sees it at some moment of the call, and answers
// later, or never.
type database struct {
	began time.Time
	mu    sync.Mutex
	seen  time.Duration // when it saw the last heartbeat, by its own clock
	dead  bool
}

func (d *database) now() time.Duration { return time.Since(d.began) }

// see is what a heartbeat does.
func (d *database) see() (alive bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.dead {
		d.seen = d.now()
	}
	return !d.dead
}

// declare is what another host does, that long after the last heartbeat.
func (d *database) declare(after time.Duration) (dead bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = d.dead || d.now()-d.seen > after
	return d.dead
}

// While a host may send, nobody has been able to declare it dead: whatever its clock's
// rate and offset, however long calls take, whichever half of them fails, and if the
// machine is suspended.
func TestLeaseEndsBeforeOthersTakeOver(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0.8, 0.9, 1, 1.1, 1.2} {
		could, away, dead := 0, 0, 0
		for seed := range uint64(40) {
			synctest.Test(t, func(t *testing.T) { leaseUnderFaults(t, rate, seed, &could, &away, &dead) })
		}
		if could < 10_000 || away < 100 || dead < 10 {
			t.Errorf("rate %v: it might send %d times, might not %d times, died %d times: the test tests too little", rate, could, away, dead)
		}
	}
}

func leaseUnderFaults(t *testing.T, rate float64, seed uint64, could, away, died *int) {
	random := rand.New(rand.NewPCG(seed, uint64(rate*10)))
	db := &database{began: time.Now()}
	offset := time.Duration(random.Int64N(int64(1000 * time.Hour)))
	now := func() time.Duration { return offset + time.Duration(rate*float64(db.now())) }
	l := newLease(now, realTimes())
	ctx, cancel := context.WithCancel(t.Context())
	beat := func(ctx context.Context) (bool, error) {
		there, back := time.Duration(random.ExpFloat64()*float64(200*time.Millisecond)), time.Duration(random.ExpFloat64()*float64(200*time.Millisecond))
		fault := random.IntN(20)
		switch {
		case fault == 0: // lost on the way
			sleep(ctx, time.Hour)
			return false, ctx.Err()
		case fault == 1: // the process is stopped, or the machine suspended: no limit holds
			time.Sleep(time.Duration(random.Int64N(int64(40 * time.Second))))
		}
		if !sleep(ctx, there) {
			return false, ctx.Err()
		}
		alive := db.see()
		switch fault {
		case 2: // seen, but the answer is lost
			sleep(ctx, time.Hour)
			return false, ctx.Err()
		case 3: // the answer is read late
			time.Sleep(time.Duration(random.Int64N(int64(40 * time.Second))))
		}
		if !sleep(ctx, back) {
			return false, ctx.Err()
		}
		return alive, nil
	}
	ended := make(chan struct{})
	go func() { l.keep(ctx, beat, slog.New(slog.DiscardHandler)); close(ended) }()
	dead := false
	for range 10_000 { // 10 minutes
		time.Sleep(60 * time.Millisecond)
		dead = db.declare(l.times.dead)
		switch err := l.may(); {
		case err == nil && dead:
			t.Fatalf("rate %v, seed %d: it may send %s after PostgreSQL saw it", rate, seed, db.now()-db.seen)
		case err == nil:
			*could++
		case errors.Is(err, ErrAway):
			*away++
		case !errors.Is(err, ErrLost) || !dead:
			t.Fatalf("rate %v, seed %d: %v", rate, seed, err)
		}
	}
	if dead {
		*died++
		<-l.lost
		<-ended
	}
	cancel()
	<-ended
}

// What counts is when a heartbeat was asked for, not when its answer came.
func TestLeaseCountsFromTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := newLease(func() time.Duration { return time.Since(began) }, realTimes())
		if err := l.may(); err != ErrAway {
			t.Errorf("before any heartbeat: %v, want ErrAway", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		asked := 0
		go l.keep(ctx, func(ctx context.Context) (bool, error) {
			if asked++; asked > 1 {
				sleep(ctx, time.Hour)
				return false, ctx.Err()
			}
			time.Sleep(2500 * time.Millisecond)
			return true, nil
		}, slog.New(slog.DiscardHandler))
		time.Sleep(10*time.Second - time.Millisecond)
		if err := l.may(); err != nil {
			t.Errorf("just before 10 s after the question: %v", err)
		}
		time.Sleep(time.Millisecond)
		if err := l.may(); err != ErrAway {
			t.Errorf("10 s after the question: %v, want ErrAway", err)
		}
	})
}

// Who declares others dead has had 20 s of heartbeats, none of which failed.
func TestSteady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var jump atomic.Int64
		var away atomic.Bool
		l := newLease(func() time.Duration { return time.Since(began) + time.Duration(jump.Load()) }, realTimes())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go l.keep(ctx, func(context.Context) (bool, error) {
			if away.Load() {
				return false, errors.New("away")
			}
			return true, nil
		}, slog.New(slog.DiscardHandler))
		check := func(want bool, when string) {
			t.Helper()
			synctest.Wait()
			if got := l.steady(); got != want {
				t.Errorf("%s: steady is %t", when, got)
			}
		}
		time.Sleep(20*time.Second - time.Millisecond)
		check(false, "just before 20 s")
		time.Sleep(time.Millisecond)
		check(true, "after 20 s")
		away.Store(true)
		time.Sleep(2 * time.Second)
		check(false, "after a failure")
		away.Store(false)
		time.Sleep(21 * time.Second)
		check(false, "less than 20 s after it")
		time.Sleep(time.Second)
		check(true, "20 s after it")
		jump.Store(int64(time.Minute)) // the machine was suspended
		check(false, "after a suspension")
		time.Sleep(3 * time.Second)
		check(false, "3 s after it")
		time.Sleep(20 * time.Second)
		check(true, "23 s after it")
	})
}

// A host that was declared dead, or has left, never may send again.
func TestLeaseIsOverForGood(t *testing.T) {
	t.Parallel()
	l := newLease(func() time.Duration { return 0 }, realTimes())
	l.renew(0)
	l.end(ErrLost)
	l.end(ErrLeft)
	l.renew(0)
	if err := l.may(); err != ErrLost {
		t.Errorf("got %v, want ErrLost", err)
	}
	<-l.lost
}

// Nobody is silent because PostgreSQL's clock jumped, or alive because of what it read.
func TestSigns(t *testing.T) {
	t.Parallel()
	var now time.Duration
	s := signs{now: func() time.Duration { return now }, times: realTimes()}
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		now           time.Duration
		seen          time.Time
		alive, silent bool
	}{
		{0, clock, false, false},
		{2 * time.Second, clock.Add(2 * time.Second), true, false},
		{7 * time.Second, clock.Add(2 * time.Second), true, false},
		{8 * time.Second, clock.Add(2 * time.Second), false, false},
		{9 * time.Second, clock.Add(-time.Hour), true, false},
		{23 * time.Second, clock.Add(-time.Hour), false, false},
		{24 * time.Second, clock.Add(-time.Hour), false, true},
		{25 * time.Second, clock.Add(time.Hour), true, false},
	} {
		now = step.now
		if alive, silent := s.note("b", step.seen); alive != step.alive || silent != step.silent {
			t.Errorf("at %s: alive %t, silent %t, want %t, %t", now, alive, silent, step.alive, step.silent)
		}
	}
	now = time.Minute
	if got := s.all(map[string]time.Time{"b": clock.Add(time.Hour)}); len(got) != 1 {
		t.Errorf("silent: %q", got)
	}
	s.forget()
	if got := s.all(map[string]time.Time{"b": clock.Add(time.Hour)}); len(got) != 0 {
		t.Errorf("after a time without an answer, silent: %q", got)
	}
}
