package transport

import (
	"time"

	"golang.org/x/time/rate"
)

const (
	// slowDown and speedUp are how the pace answers refusals: multiplied by the one
	// at a refusal, raised by the other part of N/W after each clean window. Recovery
	// from one refusal takes six windows, 30 s at LeadSquared's W.
	slowDown = 0.7
	speedUp  = 0.05
	// slowest is the part of N/W that the pace does not fall below: many refusals in
	// a row are answered by pauses, not by a crawl that outlasts them.
	slowest = 0.1
)

// pace spreads calls inside the gate's bound. It is a bucket, which alone would
// let nearly 2 N calls into one window; the bound is the slots' business.
type pace struct {
	lim    *rate.Limiter
	top    float64 // N/W per second
	rate   float64 // now
	stepAt time.Time
}

// newPace returns a pace that lets N calls go at once and N/W per second follow.
func newPace(now time.Time, n int, window time.Duration) pace {
	top := float64(n) / window.Seconds()
	return pace{lim: rate.NewLimiter(rate.Limit(top), n), top: top, rate: top, stepAt: now}
}

// next returns when a call may go: now, or later.
func (p *pace) next(now time.Time) time.Time {
	r := p.lim.ReserveN(now, 1)
	d := r.DelayFrom(now)
	r.CancelAt(now)
	return now.Add(d)
}

// take notes that a call goes now.
func (p *pace) take(now time.Time) { p.lim.ReserveN(now, 1) }

// giveBack notes that a call that was taken did not go. Less than no call is what
// the limiter, which caps itself, understands for it; a reservation can be cancelled
// only before its time.
func (p *pace) giveBack(now time.Time) { p.lim.ReserveN(now, -1) }

// slow answers a refusal: evenly paced from now on, and slower.
func (p *pace) slow(now time.Time) {
	p.lim.SetBurstAt(now, 1)
	p.set(now, max(p.rate*slowDown, p.top*slowest))
	p.stepAt = now
}

// grow answers an answer: faster by a step if the window before it was clean. It
// says whether it was.
func (p *pace) grow(now time.Time, window time.Duration) bool {
	if now.Sub(p.stepAt) < window {
		return false
	}
	p.stepAt = now
	p.set(now, min(p.rate+p.top*speedUp, p.top))
	return true
}

// lower takes a lower N or a longer W.
func (p *pace) lower(now time.Time, n int, window time.Duration) {
	p.top = float64(n) / window.Seconds()
	p.lim.SetBurstAt(now, min(p.lim.Burst(), n))
	p.set(now, min(p.rate, p.top))
}

func (p *pace) set(now time.Time, r float64) {
	p.rate = r
	p.lim.SetLimitAt(now, rate.Limit(r))
}
