package transport

import (
	"math"
	"slices"
	"time"
)

// Forecast returns how long it takes until so many more calls are answered, and those
// that are open now, if nothing is refused or lost from now on: by the slots that are
// taken, the pace, the pause that is on, and how long answers have taken so far. No more
// than atOnce calls, which is more than 0, are under way at one time.
func (g *Gate) Forecast(calls, atOnce int) time.Duration {
	g.mu.Lock()
	o := g.outlook(time.Now())
	g.mu.Unlock()
	o.atOnce = min(o.atOnce, atOnce)
	return o.takes(calls)
}

// outlook is what a gate lets through from a moment on. Times count from that moment.
type outlook struct {
	free    []time.Duration // when each of the N slots can be taken, sorted; now if not positive
	open    time.Duration   // when the calls that are under way are answered
	pause   time.Duration   // when the pause is over
	window  time.Duration
	latency time.Duration // of a call
	tokens  float64       // calls that the pace lets go at once
	burst   float64       // the most of these that it gathers
	rate    float64       // calls a second beyond them; it grows to top
	top     float64
	atOnce  int // calls that may be under way at one time
}

// outlook is the gate's as it stands now. g.mu is held.
func (g *Gate) outlook(now time.Time) outlook {
	o := outlook{
		free: make([]time.Duration, len(g.slots)), pause: max(0, g.pauses.until.Sub(now)), window: g.window, latency: g.latency,
		tokens: g.pace.lim.TokensAt(now), burst: float64(g.pace.lim.Burst()), rate: g.pace.rate, top: g.pace.top, atOnce: g.maxOpen,
	}
	if o.latency == 0 { // nothing has been answered yet: at least as long as the call that waits longest
		for _, s := range g.slots {
			if s.state == holdOpen && !s.sent.IsZero() {
				o.latency = max(o.latency, now.Sub(s.sent))
			}
		}
	}
	for i, s := range g.slots {
		if back, ok := s.back(g.window); ok {
			o.free[i] = back.Sub(now)
		} else if s.state == holdOpen {
			answer := o.latency
			if !s.sent.IsZero() {
				answer = max(0, s.sent.Add(o.latency).Sub(now))
			}
			o.open = max(o.open, answer)
			o.free[i] = answer + g.window
		}
	}
	slices.Sort(o.free)
	// Where the limit was lowered, so many more slots than one must come back first.
	o.free = o.free[len(o.free)-g.limit:]
	return o
}

// takes returns how long n more calls take. Three things hold them up, side by side: a
// slot is taken once in a window and the time of an answer, the pace lets no more go
// than it has gathered, and no more than atOnce are under way.
func (o outlook) takes(n int) time.Duration {
	if n <= 0 {
		return o.open
	}
	slots := len(o.free)
	cycle := o.window + o.latency
	bySlots := max(o.free[(n-1)%slots], o.pause) + time.Duration((n-1)/slots)*cycle
	byWorkers := o.pause + time.Duration(float64(n)*float64(o.latency)/float64(o.atOnce)) - o.latency
	return max(bySlots, o.pause+o.paced(n), byWorkers, 0) + o.latency
}

// paced returns how long after the pause the pace lets the n-th call go.
func (o outlook) paced(n int) time.Duration {
	need := float64(n) - min(o.burst, o.tokens+o.rate*o.pause.Seconds())
	// The slots allow no more in the long run.
	most := float64(len(o.free)) / (o.window + o.latency).Seconds()
	took := time.Duration(0)
	for rate := o.rate; need > 0; rate += o.top * speedUp {
		now := min(rate, most)
		if fills := now * o.window.Seconds(); need > fills && rate < o.top {
			need -= fills
			took += o.window
			continue
		}
		return took + time.Duration(math.Ceil(need/now*float64(time.Second)))
	}
	return took
}
