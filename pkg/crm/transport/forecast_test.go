package transport

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOutlookTakes(t *testing.T) {
	t.Parallel()
	const s, ms = time.Second, time.Millisecond
	// Four slots a window of 5 s, the answer after 100 ms, and nothing in the way.
	free := outlook{
		free: make([]time.Duration, 4), window: 5 * s, latency: 100 * ms,
		tokens: 4, burst: 4, rate: 0.8, top: 0.8, atOnce: 4,
	}
	with := func(change func(*outlook)) outlook {
		o := free
		change(&o)
		return o
	}
	full := with(func(o *outlook) {
		o.free = []time.Duration{-s, 2 * s, 2 * s, 3 * s}
		o.tokens = 0.8
	})
	for _, tc := range []struct {
		name    string
		outlook outlook
		calls   int
		want    time.Duration
	}{
		{"nothing", free, 0, 0},
		{"nothing but what is open", with(func(o *outlook) { o.open = 70 * ms }), 0, 70 * ms},
		{"one", free, 1, 100 * ms},
		{"a burst", free, 4, 100 * ms},
		{"one more than a burst", free, 5, 5200 * ms},
		{"two bursts", free, 8, 5200 * ms},
		{"many", free, 401, 100*5100*ms + 100*ms},
		{"a slot that is free among taken ones", full, 1, 355 * ms}, // the pace has a fifth of a call to gather
		{"when the next slots come back", full, 2, 2100 * ms},
		{"when all have come back", full, 4, 4180 * ms}, // by the pace
		{"when the first comes back again", full, 5, 5455 * ms},
		{"a pause", with(func(o *outlook) { o.pause = 7 * s }), 4, 7100 * ms},
		{"after a pause", with(func(o *outlook) { o.pause = 7 * s }), 5, 12200 * ms},
		{"one at a time", with(func(o *outlook) { o.atOnce = 1; o.latency = 2 * s }), 4, 8 * s},
		// A call each 2.5 s in the first window, 2.22 s in the second.
		{"evenly, and slower", with(func(o *outlook) { o.burst, o.tokens, o.rate = 1, 0, 0.4 }), 2, 5100 * ms},
		{"growing", with(func(o *outlook) { o.burst, o.tokens, o.rate = 1, 0, 0.4 }), 4, 5*s + 4545*ms + 100*ms},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := tc.outlook.takes(tc.calls); (got - tc.want).Abs() > ms {
				t.Errorf("takes(%d) is %v, want %v", tc.calls, got, tc.want)
			}
		})
	}
}

// What a gate forecasts comes true, whenever it is asked, and after a refusal too.
func TestForecastComesTrue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		cfg     GateConfig
		workers int
		latency time.Duration
		refused int64 // which call is refused, 0 for none
		after   time.Duration
		off     time.Duration
	}{
		{"bursts", GateConfig{Limit: 20, Window: 5 * time.Second}, 20, 80 * time.Millisecond, 0, 0, 0},
		{"seconds", GateConfig{Limit: 8, Window: time.Second, MaxInFlight: 5}, 5, 150 * time.Millisecond, 0, 0, 300 * time.Millisecond},
		{"slow answers", GateConfig{Limit: 20, Window: 5 * time.Second}, 20, 4 * time.Second, 0, 0, 0},
		{"one worker", GateConfig{Limit: 20, Window: 5 * time.Second}, 1, 700 * time.Millisecond, 0, 0, 700 * time.Millisecond},
		{"refused", GateConfig{Limit: 20, Window: 5 * time.Second}, 20, 80 * time.Millisecond, 45, 9 * time.Second, 2 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const calls = 170
				g, err := NewGate(tc.cfg)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				var begun, sent atomic.Int64
				var group sync.WaitGroup
				for range tc.workers {
					group.Go(func() {
						for begun.Add(1) <= calls {
							for n := int64(-1); n <= 0; {
								slot, err := g.Acquire(t.Context())
								if err != nil {
									t.Error(err)
									return
								}
								slot.Sent()
								n = sent.Add(1)
								time.Sleep(tc.latency)
								if n == tc.refused {
									g.Throttled(Throttle{After: tc.after, granted: slot.granted})
									n = 0
								} else {
									g.OK()
								}
								slot.Done()
							}
						}
					})
				}
				type forecast struct {
					at   time.Time
					left time.Duration
				}
				var told []forecast
				done := make(chan struct{})
				go func() { group.Wait(); close(done) }()
				for running := true; running; {
					select {
					case <-time.After(230 * time.Millisecond):
						again := int64(0)
						switch {
						case time.Since(start) <= tc.latency:
							continue // how long an answer takes is not known yet
						case tc.refused > 0 && g.Usage().Refused == 0:
							continue // that one will be is not either
						case tc.refused > 0:
							again = 1
						}
						told = append(told, forecast{time.Now(), g.Forecast(int(calls+again-sent.Load()), tc.workers)})
					case <-done:
						running = false
					}
				}
				worst := time.Duration(0)
				for _, f := range told {
					if off := f.left - time.Since(f.at); off.Abs() > worst.Abs() {
						worst = off
					}
				}
				if len(told) < 20 || worst.Abs() > tc.off+time.Millisecond {
					t.Errorf("%d forecasts, off by up to %v, want at most %v", len(told), worst, tc.off)
				}
				if err := g.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A lower limit, and slots that an earlier process has left taken, are in the forecast.
func TestForecastKnowsWhatIsTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, err := NewGate(GateConfig{Limit: 10, Window: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			slot, err := g.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			slot.Sent()
			slot.Done()
		}
		time.Sleep(time.Second)
		if got := g.Forecast(10, 10); got != 4*time.Second {
			t.Errorf("ten calls in %v, want in 4 s, when the slots come back", got)
		}
		g.Throttled(Throttle{Limit: 2, After: time.Second})
		if got := g.Forecast(3, 10); got < 9*time.Second || got > 11*time.Second {
			t.Errorf("three calls at two in 5 s in %v, want about 4 s and a window", got)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkForecast(b *testing.B) {
	for _, n := range []int{20, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g, err := NewGate(GateConfig{Limit: n, Window: time.Minute})
			if err != nil {
				b.Fatal(err)
			}
			now := time.Now()
			for i := range g.slots {
				g.slots[i] = hold{state: holdDone, done: now.Add(-time.Duration(rand.Int64N(int64(time.Minute))))}
			}
			for b.Loop() {
				g.Forecast(1000, 20)
			}
		})
	}
}
