package transport

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// simulation is a server's view of callers that share a gate.
type simulation struct {
	rnd      *rand.Rand
	mu       sync.Mutex // guards what follows, and rnd
	arrivals []time.Time

	latency func(*rand.Rand) time.Duration
	refuse  float64 // probability of a refusal
	window  time.Duration
	giveUp  time.Duration // when callers stop waiting for an answer
}

func (s *simulation) draw(f func(*rand.Rand) time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f(s.rnd)
}

// caller sends calls until the process is killed. Each arrives at some moment
// between being sent and being completed.
func (s *simulation) caller(g *Gate, kill context.Context) {
	for kill.Err() == nil {
		s.call(g, kill, kill)
	}
}

// call sends one call, unless stop is done first.
func (s *simulation) call(g *Gate, stop, kill context.Context) {
	slot, err := g.Acquire(stop)
	if err != nil {
		return
	}
	// The intent is made durable while the slot is held.
	time.Sleep(s.draw(func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(3)) * time.Millisecond }))
	if kill.Err() != nil {
		return
	}
	slot.Sent()
	sent := time.Now()
	latency := s.draw(s.latency)
	arrival := sent.Add(s.draw(func(r *rand.Rand) time.Duration {
		return []time.Duration{0, upTo(r, latency+1), latency}[r.IntN(3)]
	}))
	select {
	case <-time.After(min(latency, s.giveUp)):
		s.arrived(arrival)
		if latency > s.giveUp {
			slot.GaveUp()
			return
		}
		s.answer(g, slot)
		slot.Done()
	case <-kill.Done():
		// What was on the wire arrives soon, or never.
		s.arrived(slices.MinFunc([]time.Time{arrival, sent.Add(s.window)}, time.Time.Compare))
	}
}

func (s *simulation) arrived(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivals = append(s.arrivals, at)
}

func (s *simulation) answer(g *Gate, slot *Slot) {
	s.mu.Lock()
	refuse := s.rnd.Float64() < s.refuse
	after := time.Duration(s.rnd.IntN(3)) * upTo(s.rnd, 4*time.Second)
	s.mu.Unlock()
	if refuse {
		g.Throttled(Throttle{After: after, granted: slot.granted})
		return
	}
	g.OK()
}

// checkWindows fails if more than n calls arrived in any window, wherever it begins.
func checkWindows(t *testing.T, arrivals []time.Time, n int, window time.Duration) {
	t.Helper()
	slices.SortFunc(arrivals, time.Time.Compare)
	for i := range len(arrivals) - n {
		if d := arrivals[i+n].Sub(arrivals[i]); d < window {
			t.Fatalf("calls %d to %d of %d, %d calls, arrived within %v, want at most %d in %v",
				i, i+n, len(arrivals), n+1, d, n, window)
		}
	}
}

// run lets callers work on one gate for a while and then kills them.
func (s *simulation) run(t *testing.T, cfg GateConfig, callers int, d time.Duration) {
	t.Helper()
	cfg.clock = new(testClock(nil))
	g, err := NewGate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	kill, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() { s.caller(g, kill) })
	}
	wg.Wait()
	// A killed process closes nothing; only its timers end with it.
	g.mu.Lock()
	if g.wake != nil {
		g.wake.Stop()
	}
	g.mu.Unlock()
}

func TestGateBoundHoldsAtTheServer(t *testing.T) {
	t.Parallel()
	latencies := map[string]func(*rand.Rand) time.Duration{
		"instant": func(r *rand.Rand) time.Duration { return time.Millisecond },
		"usual":   func(r *rand.Rand) time.Duration { return 80*time.Millisecond + upTo(r, 400*time.Millisecond) },
		"wild":    func(r *rand.Rand) time.Duration { return time.Millisecond + upTo(r, 15*time.Second) },
		"either": func(r *rand.Rand) time.Duration {
			return []time.Duration{time.Millisecond, 15 * time.Second}[r.IntN(2)]
		},
	}
	for name, latency := range latencies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			for seed := range uint64(60) {
				synctest.Test(t, func(t *testing.T) {
					store, err := OpenStore(t.TempDir())
					if err != nil {
						t.Fatal(err)
					}
					rnd := rand.New(rand.NewPCG(seed, 1))
					n, window := 1+rnd.IntN(25), 500*time.Millisecond+upTo(rnd, 5*time.Second)
					s := &simulation{rnd: rnd, latency: latency, window: window, giveUp: attemptLimit}
					if seed%2 == 1 {
						s.refuse = 0.05
					}
					if seed%3 == 1 {
						s.giveUp = 5 * time.Second
					}
					for range 1 + rnd.IntN(4) {
						s.run(t, GateConfig{Limit: n, Window: window, Store: store}, 40, 5*time.Second+s.draw(func(r *rand.Rand) time.Duration { return upTo(r, 40*time.Second) }))
						time.Sleep(s.draw(func(r *rand.Rand) time.Duration { return upTo(r, 2*window) * time.Duration(r.IntN(2)) }))
					}
					calls += len(s.arrivals)
					checkWindows(t, s.arrivals, n, window)
				})
			}
			if calls < 2000 {
				t.Errorf("%d calls were made, too few to show anything", calls)
			}
		})
	}
}

// TestGateSimulationNoticesTheBucket makes sure that the simulation can fail: the
// bucket alone lets nearly 2 N calls into a window.
func TestGateSimulationNoticesTheBucket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace(time.Now(), 25, 5*time.Second)
		begin, most := time.Now(), 0
		for time.Since(begin) < 5*time.Second {
			time.Sleep(time.Until(p.next(time.Now())))
			p.take(time.Now())
			most++
		}
		if most <= 25 {
			t.Errorf("the bucket let %d calls into the window, want it to be no bound of its own", most)
		}
	})
}

func TestGateThroughput(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		n        int
		window   time.Duration
		from, to time.Duration
	}{
		"leadsquared":      {25, 5 * time.Second, 100 * time.Millisecond, 500 * time.Millisecond},
		"leadsquared slow": {20, 5 * time.Second, time.Millisecond, 15 * time.Second},
		"zoho":             {10, time.Second, 200 * time.Millisecond, 900 * time.Millisecond},
		"one":              {1, 5 * time.Second, 100 * time.Millisecond, 300 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &simulation{rnd: rand.New(rand.NewPCG(1, 2)), window: tt.window, giveUp: attemptLimit, latency: func(r *rand.Rand) time.Duration {
					return tt.from + upTo(r, tt.to-tt.from)
				}}
				const length = 30 * time.Minute
				s.run(t, GateConfig{Limit: tt.n, Window: tt.window}, 60, length)
				mean := (tt.from + tt.to) / 2
				best := float64(tt.n) * float64(length) / float64(tt.window+mean)
				if got := float64(len(s.arrivals)); got < 0.96*best {
					t.Errorf("%.0f calls in %v, want at least 96 %% of %.0f", got, length, best)
				}
				checkWindows(t, s.arrivals, tt.n, tt.window)
			})
		})
	}
}

// TestGateOnARealClock is the same without a bubble: the bound holds, and over a
// minute (BULKREVOKE_TEST_SECONDS=60) the gate comes as close to the limit as it
// promises.
func TestGateOnARealClock(t *testing.T) {
	t.Parallel()
	length := 2 * time.Second
	if text := os.Getenv("BULKREVOKE_TEST_SECONDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("BULKREVOKE_TEST_SECONDS: %v", err)
		}
		length = time.Duration(n) * time.Second
	}
	const n, window, from, to = 25, time.Second, 20 * time.Millisecond, 120 * time.Millisecond
	s := &simulation{rnd: rand.New(rand.NewPCG(3, 4)), window: window, giveUp: attemptLimit, latency: func(r *rand.Rand) time.Duration {
		return from + upTo(r, to-from)
	}}
	s.run(t, GateConfig{Limit: n, Window: window}, 60, length)
	checkWindows(t, s.arrivals, n, window)
	best := n * length.Seconds() / (window + (from+to)/2).Seconds()
	t.Logf("%d calls in %v, %.1f %% of N/(W + mean latency)", len(s.arrivals), length, 100*float64(len(s.arrivals))/best)
	if length >= time.Minute && float64(len(s.arrivals)) < 0.96*best {
		t.Errorf("%d calls in %v, want at least 96 %% of %.0f", len(s.arrivals), length, best)
	}
}

// upTo returns a random duration below d.
func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
