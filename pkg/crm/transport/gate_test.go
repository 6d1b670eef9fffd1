package transport

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// newTestGate returns a gate that is closed with the test.
func newTestGate(t *testing.T, cfg GateConfig) *Gate {
	t.Helper()
	if cfg.clock == nil {
		cfg.clock = new(testClock(nil))
	}
	g, err := NewGate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func acquire(t *testing.T, g *Gate) *Slot {
	t.Helper()
	s, err := g.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// acquireSent returns a slot that is sent, and how long it took to get it.
func acquireSent(t *testing.T, g *Gate) (*Slot, time.Duration) {
	t.Helper()
	begin := time.Now()
	s := acquire(t, g)
	s.Sent()
	return s, time.Since(begin)
}

func wantEnd(t *testing.T, err error, code string) {
	t.Helper()
	end, ok := errors.AsType[*crm.AccountError](err)
	if !ok || end.Code != code {
		t.Fatalf("got error %v, want an end of the account for %q", err, code)
	}
}

func between(t *testing.T, what string, got, low, high time.Duration) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s took %v, want %v to %v", what, got, low, high)
	}
}

func TestNewGateChecks(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cfg  GateConfig
		want int // 0: refused
	}{
		"no limit":       {GateConfig{Window: time.Second}, 0},
		"no window":      {GateConfig{Limit: 1}, 0},
		"share above 1":  {GateConfig{Limit: 1, Window: time.Second, Share: 1.1}, 0},
		"share below 0":  {GateConfig{Limit: 1, Window: time.Second, Share: -0.1}, 0},
		"in flight":      {GateConfig{Limit: 1, Window: time.Second, MaxInFlight: -1}, 0},
		"daily":          {GateConfig{Limit: 1, Window: time.Second, DailyCalls: -1}, 0},
		"all":            {GateConfig{Limit: 25, Window: time.Second}, 25},
		"usual share":    {GateConfig{Limit: 25, Window: time.Second, Share: 0.8}, 20},
		"rounds down":    {GateConfig{Limit: 9, Window: time.Second, Share: 0.8}, 7},
		"binary fission": {GateConfig{Limit: 100, Window: time.Second, Share: 0.29}, 29},
		"at least one":   {GateConfig{Limit: 2, Window: time.Second, Share: 0.1}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := NewGate(tt.cfg)
			if tt.want == 0 {
				if err == nil {
					t.Fatal("got a gate, want an error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := g.Usage().Limit; got != tt.want {
				t.Errorf("got limit %d, want %d", got, tt.want)
			}
		})
	}
}

func TestGateSlotsComeBackAfterCompletion(t *testing.T) {
	t.Parallel()
	const window = 5 * time.Second
	tests := map[string]struct {
		end  func(*Slot)
		want time.Duration // until the next call, from the first one's end, 3 s after it was sent
	}{
		"done":     {(*Slot).Done, window},
		"gave up":  {(*Slot).GaveUp, 17*time.Second + window},
		"unused":   {(*Slot).Unused, 0},
		"all ends": {func(s *Slot) { s.Done(); s.Unused(); s.GaveUp(); s.Sent() }, window},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newTestGate(t, GateConfig{Limit: 2, Window: window})
				first, _ := acquireSent(t, g)
				second, _ := acquireSent(t, g)
				time.Sleep(3 * time.Second)
				begin := time.Now()
				tt.end(first)
				if third, _ := acquireSent(t, g); time.Since(begin) != tt.want {
					t.Errorf("the next call went after %v, want %v", time.Since(begin), tt.want)
				} else {
					third.Done()
				}
				second.Done()
			})
		})
	}
}

func TestGateServesInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 1, Window: time.Second})
		var mu sync.Mutex
		var got, want []int
		var wg sync.WaitGroup
		for i := range 20 {
			want = append(want, i)
			wg.Go(func() {
				s := acquire(t, g)
				mu.Lock()
				got = append(got, i)
				mu.Unlock()
				s.Sent()
				time.Sleep(time.Millisecond)
				s.Done()
			})
			synctest.Wait()
		}
		wg.Wait()
		if !slices.IsSorted(got) || len(got) != len(want) {
			t.Errorf("got order %v, want %v", got, want)
		}
	})
}

func TestGateStopsWaitingWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 1, Window: time.Minute})
		s, _ := acquireSent(t, g)
		s.Done()
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		begin := time.Now()
		if _, err := g.Acquire(ctx); !errors.Is(err, cause) || time.Since(begin) != time.Second {
			t.Errorf("got error %v after %v, want the context's cause after 1s", err, time.Since(begin))
		}
		if _, err := g.Acquire(ctx); !errors.Is(err, cause) {
			t.Errorf("got error %v for a context that was done before, want its cause", err)
		}
		if _, took := acquireSent(t, g); took != 59*time.Second {
			t.Errorf("the next call waited %v, want 59s: nobody may have kept a slot", took)
		}
	})
}

func TestGateClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, err := OpenStore(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		g := newTestGate(t, GateConfig{Limit: 1, Window: time.Minute, Store: store, DailyCalls: 10})
		s, _ := acquireSent(t, g)
		waiting := make(chan error)
		go func() {
			_, err := g.Acquire(t.Context())
			waiting <- err
		}()
		synctest.Wait()
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if err := <-waiting; !errors.Is(err, errClosed) {
			t.Errorf("the one that waited got %v, want %v", err, errClosed)
		}
		if _, err := g.Acquire(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("got %v, want %v", err, errClosed)
		}
		s.Done()
	})
}

func TestGateBoundsCallsInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 100, Window: time.Second, MaxInFlight: 4})
		slots := make([]*Slot, 4)
		for i := range slots {
			slots[i], _ = acquireSent(t, g)
		}
		time.AfterFunc(7*time.Second, slots[0].Done)
		fifth, took := acquireSent(t, g)
		if took != 7*time.Second {
			t.Errorf("the fifth call waited %v, want 7s", took)
		}

		g.Throttled(Throttle{Concurrency: true, granted: fifth.granted})
		fifth.Done()
		if g.maxOpen != 2 || g.pace.rate != g.pace.top {
			t.Errorf("got %d in flight at rate %v, want 2 at an unchanged rate", g.maxOpen, g.pace.rate)
		}
		g.Throttled(Throttle{Concurrency: true, granted: slots[1].granted})
		if g.maxOpen != 2 {
			t.Errorf("got %d in flight after a refusal of a call under way, want 2", g.maxOpen)
		}
		for _, s := range slots[1:] {
			s.Done()
		}
		for want := range 10 {
			time.Sleep(3 * time.Second)
			g.OK()
			g.OK()
			if got := g.maxOpen; got != min(3+want, 4) {
				t.Errorf("got %d in flight after %d clean windows, want %d", got, want+1, min(3+want, 4))
			}
		}
	})
}

func TestGateDailyCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, err := OpenStore(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		cfg := GateConfig{Limit: 10, Window: time.Second, DailyCalls: 5, Store: store}
		send := func(g *Gate) {
			s, _ := acquireSent(t, g)
			s.Done()
		}
		g := newTestGate(t, cfg)
		acquire(t, g).Unused()
		for range 3 {
			send(g)
		}
		time.Sleep(12 * time.Hour)
		g = newTestGate(t, cfg) // the first one was killed
		for range 2 {
			send(g)
		}
		_, err = g.Acquire(t.Context())
		wantEnd(t, err, crm.EndQuota)

		time.Sleep(12*time.Hour - time.Minute)
		_, err = newTestGate(t, cfg).Acquire(t.Context())
		wantEnd(t, err, crm.EndQuota)

		time.Sleep(12 * time.Minute)
		g = newTestGate(t, cfg)
		for range 3 {
			send(g)
		}
		_, err = g.Acquire(t.Context())
		wantEnd(t, err, crm.EndQuota)
	})
}

func TestGateUsage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 10, Window: 5 * time.Second})
		s, _ := acquireSent(t, g)
		acquire(t, g).Unused()
		g.Throttled(Throttle{After: time.Second})
		u := g.Usage()
		if u.Calls != 1 || u.Refused != 1 || u.InFlight != 1 || u.Limit != 10 || u.Window != 5*time.Second || u.Why != "rate limit" {
			t.Errorf("got usage %+v", u)
		}
		between(t, "the pause", time.Until(u.PausedUntil), time.Second, 1100*time.Millisecond)
		s.Done()
		time.Sleep(2 * time.Second)
		if u := g.Usage(); !u.PausedUntil.IsZero() || u.Why != "" || u.InFlight != 0 {
			t.Errorf("got usage %+v after the pause, want no trace of it", u)
		}
	})
}

// TestGateCancelledAtTheMomentOfItsSlot: whoever is told that the context is done
// has no slot, even if one was granted at the same moment.
func TestGateCancelledAtTheMomentOfItsSlot(t *testing.T) {
	t.Parallel()
	for range 10 {
		g := newTestGate(t, GateConfig{Limit: 1, Window: time.Hour})
		s := acquire(t, g)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			s, err := g.Acquire(ctx)
			if err == nil {
				s.Unused()
			}
			done <- err
		}()
		for queued := false; !queued; time.Sleep(time.Millisecond) {
			g.mu.Lock()
			queued = len(g.queue) == 1
			g.mu.Unlock()
		}
		g.mu.Lock()
		cancel()
		time.Sleep(5 * time.Millisecond) // it has seen that and waits for the lock
		s.unused()
		g.mu.Unlock()
		err := <-done
		if u := g.Usage(); u.InFlight != 0 {
			t.Fatalf("got error %v, and %d slots are held by nobody", err, u.InFlight)
		}
	}
}

// A call that counts for several in flight waits until they have room, keeps others
// back meanwhile, and goes alone if it counts for more than there is room at all.
func TestGateCountsUnits(t *testing.T) {
	t.Parallel()
	for _, most := range []int{6, 3} {
		synctest.Test(t, func(t *testing.T) {
			g := newTestGate(t, GateConfig{Limit: 100, Window: time.Second, MaxInFlight: most})
			first, _ := acquireSent(t, g)
			second, _ := acquireSent(t, g)
			granted := make(chan *Slot, 2)
			for _, units := range []int{5, 2} {
				go func() {
					s, err := g.AcquireUnits(t.Context(), units)
					if err != nil {
						t.Error(err)
					}
					s.Sent()
					granted <- s
				}()
				synctest.Wait()
			}
			first.Done()
			synctest.Wait()
			if most == 3 {
				if len(granted) != 0 {
					t.Fatalf("%d calls went beside an open one, want the big one to wait", len(granted))
				}
				second.Done()
				synctest.Wait()
			}
			if len(granted) != 1 {
				t.Fatalf("%d calls went, want the big one alone", len(granted))
			}
			big := <-granted
			if u := g.Usage(); u.InFlight != 5+map[int]int{6: 1}[most] || u.Calls != 3 {
				t.Errorf("usage %+v", u)
			}
			big.Done()
			synctest.Wait()
			(<-granted).Done()
			second.Done()
			if n := g.Usage().InFlight; n != 0 {
				t.Errorf("%d units are in flight at the end", n)
			}
		})
	}
}
