package transport

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

var errNotNow = errors.New("not now")

// handOver lets callers work through a gate until a moment, with nothing in a folder, and
// returns the gate. Clean, what was begun is finished; else all ends at once.
func (s *simulation) handOver(t *testing.T, cfg GateConfig, d time.Duration, clean bool) *Gate {
	t.Helper()
	g, err := NewGate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	kill := stop
	if clean {
		kill = t.Context()
	}
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			for stop.Err() == nil {
				s.call(g, stop, kill)
			}
		})
	}
	wg.Wait()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	return g
}

// The bound holds at the server over hosts that have nothing in common but what the last one
// says when it leaves; after one that said nothing, all is quiet for 2 W.
func TestBoundHoldsOverHandOvers(t *testing.T) {
	t.Parallel()
	calls := 0
	for seed := range uint64(120) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			n, window := 1+rnd.IntN(25), 500*time.Millisecond+upTo(rnd, 5*time.Second)
			s := &simulation{rnd: rnd, window: window, giveUp: attemptLimit, latency: func(r *rand.Rand) time.Duration { return upTo(r, 3*time.Second) + 1 }}
			cfg := GateConfig{Limit: n, Window: window}
			for range 2 + rnd.IntN(5) {
				clean := rnd.IntN(2) == 0
				g := s.handOver(t, cfg, time.Second+s.draw(func(r *rand.Rand) time.Duration { return upTo(r, 20*time.Second) }), clean)
				ended, text := time.Now(), g.Past()
				time.Sleep(s.draw(func(r *rand.Rand) time.Duration { return upTo(r, 2*window) * time.Duration(r.IntN(2)) }))
				cfg.Quiet, cfg.Past = 0, nil
				if clean {
					cfg.Past = &Past{Text: text, Age: time.Since(ended)}
				} else {
					cfg.Quiet = 2*window - time.Since(ended)
				}
			}
			calls += len(s.arrivals)
			checkWindows(t, s.arrivals, n, window)
		})
	}
	if calls < 2000 {
		t.Errorf("%d calls were made, too few to show anything", calls)
	}
}

// While nothing may be sent, whoever wants to waits, and goes on when it may be again.
func TestMayHoldsTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		g := newTestGate(t, GateConfig{Limit: 5, Window: time.Second, Quiet: 3 * time.Second, May: func() error {
			if time.Since(began) < 30*time.Second {
				return errNotNow
			}
			return nil
		}})
		if u := g.Usage(); u.Why == "" || u.PausedUntil.Sub(began) != 3*time.Second {
			t.Errorf("usage while it is quiet: %+v", u)
		}
		impatient, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := g.Acquire(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want that of the deadline", err)
		}
		slot, _ := acquireSent(t, g)
		between(t, "the first call", slot.granted.Sub(began), 30*time.Second, 30*time.Second+mayPoll)
		slot.Done()
	})
}

// Nobody waits for what does not pass.
func TestMayEndsTheAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		end := &crm.AccountError{Code: crm.EndUnreachable, Err: errNotNow}
		g := newTestGate(t, GateConfig{Limit: 5, Window: time.Second, May: func() error {
			if time.Since(began) < 30*time.Second {
				return errNotNow
			}
			return end
		}})
		limited, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := g.Acquire(limited); !errors.Is(err, end) {
			t.Errorf("got error %v, want that the account has ended", err)
		}
		between(t, "it", time.Since(began), 30*time.Second, 30*time.Second+mayPoll)
	})
}

// Whoever leaves while all must be quiet says so.
func TestQuietIsHandedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := GateConfig{Limit: 5, Window: time.Second, Quiet: 10 * time.Second}
		text := newTestGate(t, cfg).Past()
		time.Sleep(4 * time.Second)
		cfg.Quiet, cfg.Past = 0, &Past{Text: text, Age: 4 * time.Second}
		slot, took := acquireSent(t, newTestGate(t, cfg))
		between(t, "the first call", took, 6*time.Second, 6*time.Second)
		slot.Done()
	})
}

func TestQuietHoldsTheFirstCallAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 5, Window: time.Second, Quiet: 10 * time.Second})
		slot, took := acquireSent(t, g)
		between(t, "the first call", took, 10*time.Second, 10*time.Second)
		slot.Done()
		if _, took = acquireSent(t, g); took != 0 {
			t.Errorf("the second call waited for %v", took)
		}
	})
}

// A request that may not be sent any more when its turn comes was never sent, whatever was
// announced; a read waits, and a change is its caller's to look after.
func TestWithheld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lapsed atomic.Bool
		var calls int
		gate := newTestGate(t, GateConfig{Limit: 5, Window: time.Second, DailyCalls: 3, May: func() error {
			if lapsed.Load() {
				return errNotNow
			}
			return nil
		}})
		c := newTestClient(t, "http://localhost", Config{Gate: gate, RoundTripper: tripFunc(func(*http.Request) (*http.Response, error) {
			calls++
			return answer(200, "{}"), nil
		})})
		announced := 0
		_, err := c.Send(t.Context(), Request{Op: "op", Method: "POST", Before: func(context.Context) error {
			announced++
			lapsed.Store(true)
			return nil
		}})
		if wantError(t, err, false); !errors.Is(err, errNotNow) || calls != 0 || announced != 1 {
			t.Errorf("got error %v after %d announcements, %d calls were made", err, announced, calls)
		}
		if f := Unanswered(err); f.Class != Unsent || f.Attempted {
			t.Errorf("got finding %+v, want one of what was never sent", f)
		}
		if u := gate.Usage(); u.Calls != 0 || u.InFlight != 0 {
			t.Errorf("got usage %+v, want no call", u)
		}
		time.AfterFunc(time.Minute, func() { lapsed.Store(false) })
		began := time.Now()
		if resp, err := c.Read(t.Context(), Request{Op: "op", Method: "GET"}); err != nil || resp.Status != 200 || calls != 1 {
			t.Errorf("got %v, error %v after %d calls", resp, err, calls)
		}
		between(t, "the read", time.Since(began), time.Minute, time.Minute+mayPoll)
	})
}

// A right that lapses while a connection is made keeps the request from being written.
func TestWithheldWhileConnecting(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	may := func() error { // for the slot, for the request, and when there is a connection
		if asked.Add(1) > 2 {
			return errNotNow
		}
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	got := make(chan []byte, 4)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			text, _ := io.ReadAll(conn)
			got <- text
			conn.Close()
		}
	}()
	gate := newTestGate(t, GateConfig{Limit: 5, Window: time.Second, May: may})
	base := (&url.URL{Scheme: "http", Host: listener.Addr().String()}).String()
	c := newTestClient(t, base, Config{Gate: gate})
	_, err = c.Send(t.Context(), Request{Op: "op", Method: "POST", Body: []byte("{}")})
	if wantError(t, err, false); !errors.Is(err, errNotNow) {
		t.Errorf("got error %v, want that it might not be sent", err)
	}
	if text := <-got; len(text) > 0 {
		t.Errorf("the server got %q, want nothing", text)
	}
	if u := gate.Usage(); u.InFlight != 0 {
		t.Errorf("got usage %+v, want no call under way", u)
	}
}

// Calls of the day are counted over hand-overs, and those that nobody has counted as if all
// that were allowed had been made.
func TestDayIsCountedOverHandOvers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := GateConfig{Limit: 5, Window: time.Second, DailyCalls: 40}
		g := newTestGate(t, cfg)
		for range 7 {
			slot, _ := acquireSent(t, g)
			slot.Done()
		}
		text, at := g.Past(), time.Now()
		left := func(p *Past) (n int) {
			cfg.Past = p
			next := newTestGate(t, cfg)
			for {
				slot, err := next.Acquire(t.Context())
				if err != nil {
					wantEnd(t, err, "quota")
					end, _ := errors.AsType[*crm.AccountError](err)
					if wait := time.Until(end.Until); wait <= 0 || wait > 24*time.Hour+bucketLength {
						t.Errorf("the account is to be worked with again in %v, want within a day", wait)
					}
					return n
				}
				slot.Sent()
				slot.Done()
				n++
			}
		}
		time.Sleep(time.Hour)
		if n := left(&Past{Text: text, Age: time.Since(at)}); n != 33 {
			t.Errorf("an hour later %d calls are left, want 33", n)
		}
		if n := left(&Past{Text: text, Age: time.Since(at), Missed: 3 * time.Second}); n != 13 {
			t.Errorf("with 3 s that nobody has counted, %d calls are left, want 13", n)
		}
		time.Sleep(24 * time.Hour)
		if n := left(&Past{Text: text, Age: time.Since(at)}); n != 40 {
			t.Errorf("a day later %d calls are left, want 40", n)
		}
		if n := left(&Past{Text: []byte("{")}); n != 40 {
			t.Errorf("with a count that can not be read %d calls are left, want 40", n)
		}
	})
}
