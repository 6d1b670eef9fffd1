package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// attemptLimit is the longest that one attempt may take, everything included. The
// gate's bound holds for latencies up to it.
const attemptLimit = 20 * time.Second

// mostSlots is the highest N that a gate takes. It bounds the stamps file.
const mostSlots = 100_000

// mayPoll is how often a gate that may send nothing at the moment asks again.
const mayPoll = 100 * time.Millisecond

// errClosed is what Acquire returns after Close.
var errClosed = errors.New("the gate is closed")

// GateConfig says how fast an account may be called: at most Limit calls in any
// Window, of which the run takes its Share.
type GateConfig struct {
	Limit  int           // N, at least 1
	Window time.Duration // W, more than 0
	// Share is the part of Limit that the run may use, up to 1; 0 means 1. Limit times
	// Share is rounded down, but is at least 1.
	Share float64
	// MaxInFlight bounds the calls that are open at one time; 0 is no bound but N. A
	// refusal that speaks of concurrency halves it; it grows back one by one.
	MaxInFlight int
	// DailyCalls is how many calls may be sent in any 24 hours, over all runs on the
	// same Store; 0 is no such bound. One call more ends the account with EndQuota.
	DailyCalls int
	// Store keeps the stamps that carry the bound over a restart; nil keeps them in
	// memory only.
	Store *Store
	// May says whether calls may be sent at this moment; nil is always. While its answer is
	// an error, nobody gets a slot, and whoever waits for one goes on waiting. It is asked
	// again right before a request is written: one that is withheld then was never sent. An
	// answer that is an *crm.AccountError does not pass: it ends the account. May must be
	// quick, and must not use the gate.
	May func() error
	// Quiet is for how long from now on nothing may be sent, because somebody may have
	// called until just now of whom nothing else is known.
	Quiet time.Duration
	// Past is what the account's gate before this one, in another process, has left: its
	// Past. Nil is nothing; what can not be read counts as N calls sent now.
	Past *Past
	Log  *slog.Logger // nil discards

	// clock measures how old stamps are over a restart; nil is the system's.
	clock *bootClock
}

// Gate holds one account to "N calls in W". Every attempt takes a slot before it
// is sent, and the slot comes back W after the attempt was completed.
//
// That bounds what the server sees, whether it counts in sliding or in fixed
// windows and however long calls take: a call arrives between being sent and being
// completed, so all calls that arrive within one W still hold their slots when the
// last of them is sent, and there are only N slots.
//
// A gate is safe for concurrent use.
type Gate struct {
	log    *slog.Logger
	share  float64
	stamps *stamps // nil without a store
	daily  *daily  // nil without a daily bound

	mu      sync.Mutex // guards everything below
	queue   []*waiter  // in order of arrival
	wake    *time.Timer
	closed  bool
	ended   *crm.AccountError
	limit   int           // N now
	window  time.Duration // W now
	pace    pace
	slots   []hold // indices are those of the stamps file
	free    []int  // indices of slots that nobody holds
	backs   backs  // slots that come back by themselves
	open    int    // units granted and neither completed nor given back
	granted int    // the calls that these belong to
	maxOpen int    // bound on open, now
	topOpen int    // what maxOpen grows back to

	may   func() error // nil: always
	quiet time.Time    // nothing is sent before

	pauses pauses
	health breaker

	calls, refused, repeats int64
	timeline                timeline
	latency                 time.Duration // of a call, as the last ones were; 0 before the first answer
}

// hold is the state of one slot. The zero value is free.
type hold struct {
	state holdState
	sent  time.Time
	done  time.Time
}

type holdState uint8

const (
	holdFree holdState = iota
	holdOpen           // granted; perhaps sent; not completed
	holdDone           // completed: comes back W after done
	holdCut            // sent by a process that was killed: comes back 2 W after sent
)

// back returns when the slot comes back, if that is known yet.
func (h hold) back(window time.Duration) (time.Time, bool) {
	switch h.state {
	case holdDone:
		return h.done.Add(window), true
	case holdCut:
		return h.sent.Add(2 * window), true
	}
	return time.Time{}, false
}

// waiter is one Acquire in the queue. Its fields are guarded by Gate.mu until
// ready is closed.
type waiter struct {
	units int // how many calls it counts for among those that are open
	ready chan struct{}
	slot  *Slot
	err   error
}

var _ crm.Meter = (*Gate)(nil)

// NewGate returns a gate. With a Store it goes on where the last gate on that
// store stopped, killed or not. Only one gate may be open on a store at a time.
func NewGate(cfg GateConfig) (*Gate, error) {
	share := cmp.Or(cfg.Share, 1)
	switch {
	case cfg.Limit < 1 || cfg.Limit > mostSlots:
		return nil, fmt.Errorf("limit %d is not within 1 and %d", cfg.Limit, mostSlots)
	case cfg.Window <= 0:
		return nil, fmt.Errorf("window %v is not positive", cfg.Window)
	case !(share > 0 && share <= 1):
		return nil, fmt.Errorf("share %v is not above 0 and up to 1", share)
	case cfg.MaxInFlight < 0:
		return nil, fmt.Errorf("negative bound %d of calls in flight", cfg.MaxInFlight)
	case cfg.DailyCalls < 0:
		return nil, fmt.Errorf("negative bound %d of daily calls", cfg.DailyCalls)
	}
	n := shareOf(cfg.Limit, share)
	g := &Gate{
		log:     cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)),
		share:   share,
		limit:   n,
		window:  cfg.Window,
		topOpen: min(n, cmp.Or(cfg.MaxInFlight, n)),
		may:     cfg.May,
	}
	g.maxOpen = g.topOpen
	g.timeline.step = firstStep(cfg.Window)
	now := time.Now()
	g.pace = newPace(now, n, cfg.Window)
	g.quiet = now.Add(max(cfg.Quiet, cfg.Past.quiet()))
	if err := g.restore(cfg, now); err != nil {
		return nil, err
	}
	for i := range g.slots {
		if g.slots[i].state == holdFree {
			g.free = append(g.free, i)
		}
	}
	g.awaitAll()
	return g, nil
}

// restore reads what earlier processes left in the store.
func (g *Gate) restore(cfg GateConfig, now time.Time) error {
	var held []hold
	if cfg.Store != nil {
		clock := cfg.clock
		if clock == nil {
			clock = new(systemClock())
		}
		var err error
		if g.stamps, held, err = openStamps(cfg.Store.path(stampsName), g.limit, cfg.Window, now, *clock, g.log); err != nil {
			return fmt.Errorf("open the stamps of earlier calls: %w", err)
		}
	}
	held = append(held, cfg.Past.held(g.limit, g.window, now, g.log)...)
	g.slots = make([]hold, max(len(held), g.limit))
	copy(g.slots, held)
	if cfg.DailyCalls > 0 {
		path := ""
		if cfg.Store != nil {
			path = cfg.Store.path(dailyName)
		}
		var err error
		if g.daily, err = openDaily(path, cfg.DailyCalls, now, g.log); err != nil {
			return errors.Join(fmt.Errorf("open the count of the day's calls: %w", err), g.stamps.close())
		}
		cfg.Past.count(g.daily, g.limit, g.window, now)
	}
	return nil
}

// MoveTo moves the gate's files to another store, that of the organisation that its account
// turned out to belong to, in which no calls are counted yet.
func (g *Gate) MoveTo(store *Store) (err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.stamps; s != nil && s.file != nil {
		s.file, err = moveFile(s.file, store.path(stampsName))
	}
	if d := g.daily; err == nil && d != nil && d.file != nil {
		d.file, err = moveFile(d.file, store.path(dailyName))
	}
	return err
}

// Merge takes over the calls that other has made, which turned out to be an account of the
// same organisation: they hold slots here, until they come back, and count here. other is
// closed, and no call of it may be under way.
func (g *Gate) Merge(other *Gate) error {
	err := other.Close()
	other.mu.Lock()
	defer other.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for _, h := range other.slots {
		if at, ok := h.back(g.window); !ok || !now.Before(at) {
			continue
		}
		if len(g.free) == 0 { // more than N then: no call goes until enough of them are back
			g.free = append(g.free, len(g.slots))
			g.slots = append(g.slots, hold{})
		}
		i := g.free[len(g.free)-1]
		g.free = g.free[:len(g.free)-1]
		g.slots[i] = h
		g.awaitBack(i)
		g.pace.take(now)
		g.stamps.write(i, h.sent, h.done)
	}
	g.calls, g.refused, g.repeats = g.calls+other.calls, g.refused+other.refused, g.repeats+other.repeats
	for range other.calls {
		g.timeline.add(other.timeline.start)
	}
	for _, p := range other.timeline.pauses {
		g.timeline.pause(p.From, p.Until)
	}
	if g.daily != nil && other.daily != nil {
		g.daily.merge(other.daily)
	}
	return err
}

// shareOf returns the part of limit that the run may use, at least 1.
func shareOf(limit int, share float64) int {
	// The addition keeps 0.29*100 from becoming 28.
	return max(1, int(float64(limit)*share+1e-9))
}

// Acquire waits for a slot, in order of arrival. The slot must be ended by Done,
// GaveUp or Unused. The error is context.Cause(ctx) when ctx is done first, and an
// *crm.AccountError when the account can do no more calls in this run.
func (g *Gate) Acquire(ctx context.Context) (*Slot, error) { return g.AcquireUnits(ctx, 1) }

// AcquireUnits is Acquire for a call that counts for several among those in flight,
// and for one in the window. One that counts for more than may be open goes alone.
func (g *Gate) AcquireUnits(ctx context.Context, units int) (*Slot, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	w := &waiter{units: max(1, units), ready: make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, w)
	g.dispatch()
	g.mu.Unlock()

	select {
	case <-w.ready:
		return w.slot, w.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, w); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
		g.dispatch()
	} else if w.slot != nil {
		w.slot.unused()
	}
	return nil, context.Cause(ctx)
}

// dispatch serves the queue as far as it can be served now, and sets the timer for
// when time alone will let it go on. What else can let it go on (a call completed,
// an answer) calls dispatch itself. g.mu is held.
func (g *Gate) dispatch() {
	if g.wake != nil {
		g.wake.Stop()
	}
	for len(g.queue) > 0 {
		now := time.Now()
		if err := g.refusal(now); err != nil {
			for _, w := range g.queue {
				w.err = err
				close(w.ready)
			}
			g.queue = nil
			return
		}
		at, byTime := g.next(now)
		if !byTime {
			return
		}
		if wait := at.Sub(now); wait > 0 {
			g.wakeIn(wait)
			return
		}
		w := g.queue[0]
		g.queue = slices.Delete(g.queue, 0, 1)
		w.slot = g.grant(now, w.units)
		close(w.ready)
	}
}

// wakeIn has dispatch run again. g.mu is held.
func (g *Gate) wakeIn(wait time.Duration) {
	if g.wake == nil {
		g.wake = time.AfterFunc(wait, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.dispatch()
		})
		return
	}
	g.wake.Reset(wait)
}

// refusal returns why no further call may be sent at all, if that is so.
func (g *Gate) refusal(now time.Time) error {
	if g.ended == nil && !g.closed && g.daily != nil && !g.daily.allow(now) {
		g.end(&crm.AccountError{
			Code: crm.EndQuota,
			Err:  fmt.Errorf("the bound of %d calls in 24 hours is reached", g.daily.most),
			Hint: "Run again tomorrow, or raise daily_calls.", Until: g.daily.until(now),
		})
	}
	switch {
	case g.ended != nil:
		return g.ended
	case g.closed:
		return errClosed
	}
	return nil
}

// next returns when the first of the queue may go: now or earlier means at once.
// byTime is false when no passing of time will do, only a call that ends.
func (g *Gate) next(now time.Time) (at time.Time, byTime bool) {
	if now.Before(g.quiet) {
		return g.quiet, true
	}
	if err := g.allows(); err != nil {
		if end, ok := errors.AsType[*crm.AccountError](err); ok {
			g.end(end) // which answers all that wait
			return time.Time{}, false
		}
		return now.Add(mayPoll), true
	}
	switch {
	case now.Before(g.pauses.until):
		return g.pauses.until, true
	case g.pauses.probe != nil:
		return time.Time{}, false
	case g.open > 0 && g.open+g.queue[0].units > g.maxOpen:
		return time.Time{}, false
	}
	g.reap(now)
	if len(g.slots)-len(g.free) >= g.limit {
		return g.firstBack()
	}
	return g.pace.next(now), true
}

// grant takes a slot. next has said that there is one.
func (g *Gate) grant(now time.Time, units int) *Slot {
	i := g.free[len(g.free)-1]
	g.free = g.free[:len(g.free)-1]
	g.slots[i] = hold{state: holdOpen}
	g.open += units
	g.granted++
	g.pace.take(now)
	s := &Slot{gate: g, index: i, units: units, granted: now}
	if g.daily != nil {
		s.day = g.daily.take(now)
	}
	if g.pauses.probing {
		g.pauses.probe = s
	}
	return s
}

// allows says whether a call may be sent at this moment.
func (g *Gate) allows() error {
	if g.may == nil {
		return nil
	}
	return g.may()
}

// slotCount returns N.
func (g *Gate) slotCount() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit
}

// Usage returns the account's counts and how it stands.
func (g *Gate) Usage() crm.Usage {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := crm.Usage{
		Calls: g.calls, Refused: g.refused, Repeats: g.repeats,
		InFlight: g.open, Open: g.granted, Limit: g.limit, Window: g.window,
	}
	if time.Now().Before(g.pauses.until) {
		u.PausedUntil, u.Why = g.pauses.until, g.pauses.why
	}
	if g.quiet.After(u.PausedUntil) && time.Now().Before(g.quiet) {
		u.PausedUntil, u.Why = g.quiet, "another host may have called until just now"
	}
	return u
}

// Timeline returns when the calls that Usage counts were sent.
func (g *Gate) Timeline() crm.Timeline {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.timeline.copy()
}

// Close writes the stamps out and closes them. Whoever waits, and whoever comes
// later, gets an error. Slots that are still held may be ended after it, without a
// stamp. The error is also the first that writing a stamp met during the run.
func (g *Gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.dispatch()
	return errors.Join(g.stamps.close(), g.daily.close())
}
