package transport

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestThrottlePauses(t *testing.T) {
	t.Parallel()
	const window = 5 * time.Second
	tests := map[string]struct {
		says      []Throttle // half a second apart
		low, high time.Duration
	}{
		"nothing said":       {[]Throttle{{}}, 5050 * time.Millisecond, 5200 * time.Millisecond},
		"shorter than W":     {[]Throttle{{After: time.Second}}, time.Second, 1100 * time.Millisecond},
		"longer than W":      {[]Throttle{{After: 30 * time.Second}}, 30 * time.Second, 33 * time.Second},
		"absurd":             {[]Throttle{{After: 40 * time.Minute}}, maxPause, maxPause},
		"longer one follows": {[]Throttle{{After: 2 * time.Second}, {After: 20 * time.Second}}, 20500 * time.Millisecond, 22500 * time.Millisecond},
		"shorter follows":    {[]Throttle{{After: 20 * time.Second}, {After: time.Second}, {After: 2 * time.Second}}, 20 * time.Second, 22 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newTestGate(t, GateConfig{Limit: 10, Window: window})
				begin := time.Now()
				for i, say := range tt.says {
					time.Sleep(time.Until(begin.Add(time.Duration(i) * 500 * time.Millisecond)))
					g.Throttled(say)
				}
				acquire(t, g)
				between(t, "the pause", time.Since(begin), tt.low, tt.high)
			})
		})
	}
}

func TestThrottlePausesThoseWhoWaitAlready(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 1, Window: time.Second})
		s, _ := acquireSent(t, g)
		s.Done()
		time.AfterFunc(500*time.Millisecond, func() { g.Throttled(Throttle{After: 10 * time.Second}) })
		_, took := acquireSent(t, g)
		between(t, "the wait", took, 10500*time.Millisecond, 11500*time.Millisecond)
	})
}

// TestPauseEndsWithAProbe: after a pause one call goes alone, and the next when it
// is answered, or has come to nothing.
func TestPauseEndsWithAProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 20, Window: 5 * time.Second})
		g.Throttled(Throttle{After: time.Second})
		var granted atomic.Int32
		slots := make(chan *Slot, 20)
		for range 20 {
			go func() {
				if s, err := g.Acquire(t.Context()); err == nil {
					granted.Add(1)
					slots <- s
				}
			}()
		}
		want := func(n int32) {
			t.Helper()
			synctest.Wait()
			if got := granted.Load(); got != n {
				t.Fatalf("%d calls were let through, want %d", got, n)
			}
		}
		want(0)
		time.Sleep(30 * time.Second)
		want(1)
		(<-slots).Unused() // it did not get as far as asking
		time.Sleep(time.Second)
		want(2)
		probe := <-slots
		probe.Sent()
		g.Throttled(Throttle{After: time.Second, granted: probe.granted})
		probe.Done()
		want(2)
		time.Sleep(30 * time.Second)
		want(3)
		probe = <-slots
		probe.Sent()
		g.OK()
		want(4) // one at once, the others evenly paced
		time.Sleep(500 * time.Millisecond)
		want(5)
		probe.Done()
		time.Sleep(30 * time.Second)
		want(20)
	})
}

func TestPaceAfterRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const window = 5 * time.Second
		g := newTestGate(t, GateConfig{Limit: 10, Window: window})
		var slots []*Slot
		for range 10 {
			s, took := acquireSent(t, g)
			if took != 0 {
				t.Fatalf("a call of the first burst waited %v", took)
			}
			slots = append(slots, s)
		}
		time.Sleep(time.Second)
		for _, s := range slots {
			g.Throttled(Throttle{granted: s.granted})
			s.Done()
			time.Sleep(time.Second) // the last ones come when the pause is long over
		}
		if got, want := g.pace.rate, 0.7*g.pace.top; got != want {
			t.Errorf("got pace %v after one burst of refusals, want %v: slowed once", got, want)
		}
		time.Sleep(time.Until(g.pauses.until))
		s, _ := acquireSent(t, g)
		g.OK()
		s.Done()
		for range 5 {
			s, took := acquireSent(t, g)
			between(t, "the distance of two calls", took, 660*time.Millisecond, 670*time.Millisecond) // 0.7 and one step of N/W
			s.Done()
		}
		for range 100 {
			time.Sleep(window)
			g.OK()
		}
		if got := g.pace.rate; got != g.pace.top {
			t.Errorf("got pace %v after a long clean time, want N/W, %v", got, g.pace.top)
		}
		if got := g.pace.lim.Burst(); got != 1 {
			t.Errorf("got bursts of %d, want the pace to stay even", got)
		}
		for range 50 {
			time.Sleep(30 * time.Second)
			g.OK()
			g.Throttled(Throttle{})
			g.OK()
		}
		if got, want := g.pace.rate, slowest*g.pace.top; got < want {
			t.Errorf("got pace %v after many refusals, want not below %v", got, want)
		}
	})
}

func TestThrottleLowersTheLimit(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		say    Throttle
		limit  int
		window time.Duration
	}{
		"nothing named":     {Throttle{}, 16, 5 * time.Second},
		"higher":            {Throttle{Limit: 72, Window: 5 * time.Second}, 16, 5 * time.Second},
		"same":              {Throttle{Limit: 20, Window: 5 * time.Second}, 16, 5 * time.Second},
		"lower":             {Throttle{Limit: 10, Window: 5 * time.Second}, 8, 5 * time.Second},
		"one":               {Throttle{Limit: 1, Window: 5 * time.Second}, 1, 5 * time.Second},
		"no window named":   {Throttle{Limit: 10}, 8, 5 * time.Second},
		"longer window":     {Throttle{Limit: 100, Window: time.Minute}, 16, time.Minute},
		"shorter window":    {Throttle{Limit: 5, Window: time.Second}, 4, 5 * time.Second},
		"a day is no limit": {Throttle{Limit: 5, Window: 24 * time.Hour}, 16, 5 * time.Second},
		"nonsense":          {Throttle{Limit: -3, Window: -time.Second}, 16, 5 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newTestGate(t, GateConfig{Limit: 20, Window: 5 * time.Second, Share: 0.8})
				g.Throttled(tt.say)
				g.Throttled(Throttle{Limit: 1000, Window: time.Second})
				u := g.Usage()
				if u.Limit != tt.limit || u.Window != tt.window {
					t.Errorf("got %d in %v, want %d in %v", u.Limit, u.Window, tt.limit, tt.window)
				}
				if want := float64(tt.limit) / tt.window.Seconds(); g.pace.rate > want {
					t.Errorf("got pace %v, want at most %v", g.pace.rate, want)
				}
			})
		})
	}
}

// TestLoweredLimitHolds: slots beyond a lowered N must come back before another call.
func TestLoweredLimitHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 10, Window: 20 * time.Second})
		for range 10 {
			s, _ := acquireSent(t, g)
			s.Done()
			time.Sleep(time.Second)
		}
		g.Throttled(Throttle{Limit: 3, Window: 20 * time.Second, After: time.Millisecond})
		_, took := acquireSent(t, g)
		// Slot 8 of 10, sent after 7 s, is the first to leave only two held.
		if want := 17 * time.Second; took != want {
			t.Errorf("the next call waited %v, want %v", took, want)
		}
	})
}

func TestLastingRefusalIsQuota(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		say       Throttle
		low, high time.Duration
	}{
		"W each time": {Throttle{}, 2 * time.Minute, 130 * time.Second},
		"minutes":     {Throttle{After: 3 * time.Minute}, 3 * time.Minute, 200 * time.Second},
		"said":        {Throttle{Quota: true}, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newTestGate(t, GateConfig{Limit: 25, Window: 5 * time.Second})
				begin := time.Now()
				for {
					s, err := g.Acquire(t.Context())
					if err != nil {
						wantEnd(t, err, crm.EndQuota)
						break
					}
					s.Sent()
					say := tt.say
					say.granted = s.granted
					g.Throttled(say)
					s.Done()
				}
				between(t, "the end", time.Since(begin), tt.low, tt.high)
			})
		})
	}
}

func TestAnAnswerEndsTheSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 25, Window: 5 * time.Second})
		for i := range 100 {
			s, _ := acquireSent(t, g)
			if i%10 == 9 {
				g.OK()
			} else {
				g.Throttled(Throttle{granted: s.granted})
			}
			s.Done()
		}
	})
}

func TestQuotaWakesThoseWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 1, Window: time.Hour})
		s, _ := acquireSent(t, g)
		errs := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := g.Acquire(t.Context())
				errs <- err
			}()
		}
		synctest.Wait()
		g.Throttled(Throttle{Quota: true, Text: "24 hour limit"})
		for range 3 {
			wantEnd(t, <-errs, crm.EndQuota)
		}
		s.Done()
	})
}

func TestBreakerPausesAndEndsTheAccount(t *testing.T) {
	t.Parallel()
	why := errors.New("nobody there")
	tests := map[string]struct {
		health    health
		answer    bool
		calls     int
		low, high time.Duration
	}{
		"no answer":  {failing, false, endAfter, 91 * time.Second, 110 * time.Second},
		"503":        {failing, true, endAfter, 91 * time.Second, 110 * time.Second},
		"wrong host": {misdirected, false, misdirectedAfter, 3 * time.Second, 4 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newTestGate(t, GateConfig{Limit: 25, Window: time.Second})
				begin, calls := time.Now(), 0
				for {
					s, err := g.Acquire(t.Context())
					if err != nil {
						wantEnd(t, err, crm.EndUnreachable)
						if !errors.Is(err, why) {
							t.Errorf("got %v, want it to say why", err)
						}
						break
					}
					s.Sent()
					calls++
					g.report(tt.health, s.granted, tt.answer, why)
					s.Done()
				}
				if calls != tt.calls {
					t.Errorf("the account ended after %d calls, want %d", calls, tt.calls)
				}
				between(t, "the end", time.Since(begin), tt.low, tt.high)
			})
		})
	}
}

// TestOneHiccupOfManyWorkers: calls that failed together are one failure of the
// host, and the first good answer forgets them.
func TestOneHiccupOfManyWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 50, Window: time.Second})
		for range 40 {
			var slots []*Slot
			for range 40 {
				s, _ := acquireSent(t, g)
				slots = append(slots, s)
			}
			time.Sleep(time.Second)
			for _, s := range slots {
				g.report(failing, s.granted, false, errors.New("reset"))
				s.Done()
			}
			s, took := acquireSent(t, g)
			between(t, "the pause", took, time.Second, 1200*time.Millisecond)
			g.report(healthy, s.granted, true, nil)
			s.Done()
		}
	})
}
