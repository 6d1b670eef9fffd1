package transport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const (
	// maxPause caps every pause, whatever a server asks for.
	maxPause = 10 * time.Minute
	// quotaSilence is how long an account may have been silent, since its last answer
	// that was no refusal, until one more refusal is read as a used-up quota.
	// LeadSquared gives its daily limit no text of its own.
	quotaSilence = 2 * time.Minute
)

// pauses is the state of an account that is told to wait. Its fields are guarded
// by Gate.mu.
type pauses struct {
	began, until time.Time
	why          string
	// probing says that no good answer has come since the pause began: calls go one
	// at a time. probe is the one under way.
	probing bool
	probe   *Slot
	// silence is the length of the refusals' pauses since the last answer that was
	// none; what is still to come of the present one, which ends at refused, is in it.
	silence time.Duration
	refused time.Time
}

// Throttle is what a rate-limit refusal says.
type Throttle struct {
	// After is how long the server asks to wait; 0: it does not say, the gate waits W.
	After time.Duration
	// Limit and Window are those that the text names; 0: none. They lower N for the
	// rest of the run and never raise it.
	Limit       int
	Window      time.Duration
	Concurrency bool   // too many calls at one time, not in one window
	Quota       bool   // the credits are used up: the account ends
	Text        string // the server's words, without secrets

	granted time.Time // when the refused call got its slot; zero: not known
}

// Throttled tells the gate of a refusal. It pauses the whole account: for After,
// lengthened by up to a tenth, or for W and 50 to 200 ms. Refusals that come
// during a pause lengthen it and never shorten it.
//
// After a pause calls go one at a time until one is answered, so that whatever
// waited does not rush at a server that still refuses. The first refusal makes the
// pace even for the rest of the run, and each makes it slower, except that of a
// call which was under way when the pause began.
//
// A refusal ends the account with EndQuota if it says so, or if two minutes of
// pauses have passed without an answer that was none.
func (g *Gate) Throttled(t Throttle) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.refused++
	late := g.pauses.late(t.granted, now)
	if t.Quota || !late && g.pauses.silent(now) >= quotaSilence {
		g.end(&crm.AccountError{
			Code: crm.EndQuota,
			Err:  refusalError(t),
			Hint: "The account's calls seem to be used up. Run again when they have been renewed; what is done is not done again.",
		})
		return
	}
	g.lower(now, t)
	if !late {
		g.yield(now, t)
	}
	wait := g.window + 50*time.Millisecond + rand.N(150*time.Millisecond)
	if t.After > 0 {
		wait = min(t.After, maxPause)
		wait += rand.N(wait/10 + 1)
	}
	why := "rate limit"
	if t.Concurrency {
		why = "limit of concurrent calls"
	}
	g.pause(now, wait, why)
	g.pauses.addSilence(now, wait)
	g.log.Info("the CRM refused a call for its rate limit",
		"wait", g.pauses.until.Sub(now).Round(time.Millisecond), "limit", g.limit, "window", g.window, "text", t.Text)
}

// refusalError returns the error that ends an account for its quota.
func refusalError(t Throttle) error {
	if t.Text == "" {
		return errors.New("the rate limit refuses every call")
	}
	return fmt.Errorf("the rate limit refuses every call: %s", t.Text)
}

// yield takes less of the account after a refusal. g.mu is held.
func (g *Gate) yield(now time.Time, t Throttle) {
	if !t.Concurrency {
		g.pace.slow(now)
		return
	}
	g.maxOpen = max(1, min(g.maxOpen, g.open)/2)
	g.pace.stepAt = now
}

// lower takes the limit that a refusal names, where that is less than ours: the
// smaller number in the longer window keeps both. A window longer than the longest
// pause is a quota, which silence finds out. g.mu is held.
func (g *Gate) lower(now time.Time, t Throttle) {
	if t.Limit <= 0 || t.Window < 0 || t.Window > maxPause {
		return
	}
	n, window := min(g.limit, shareOf(t.Limit, g.share)), max(g.window, t.Window)
	if n == g.limit && window == g.window {
		return
	}
	g.log.Warn("the CRM names a lower rate limit than the configuration", "limit", n, "window", window)
	g.limit, g.window = n, window
	g.awaitAll()
	g.topOpen, g.maxOpen = min(g.topOpen, n), min(g.maxOpen, n)
	g.pace.lower(now, n, window)
}

// OK tells the gate of an answer that was no refusal.
func (g *Gate) OK() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answered(time.Now(), true)
}

// answered notes an answer that was no refusal; good, if it shows that a pause has
// helped. g.mu is held.
func (g *Gate) answered(now time.Time, good bool) {
	g.pauses.silence = max(0, g.pauses.refused.Sub(now))
	if good {
		g.pauses.probing = false
		g.pauses.probe = nil
	}
	if !now.Before(g.pauses.until) && g.pace.grow(now, g.window) {
		g.maxOpen = min(g.maxOpen+1, g.topOpen)
	}
	g.dispatch()
}

// report notes how an attempt went that the rate limit did not refuse: granted at
// the given time, with an answer or without. why is what happened where it went
// badly.
func (g *Gate) report(h health, granted time.Time, answer bool, why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	late := g.pauses.late(granted, now)
	if answer {
		g.answered(now, h == healthy && !late)
	}
	if late && h != healthy {
		return
	}
	var trip tripped
	g.health, trip = g.health.next(h, now, rand.Float64())
	switch {
	case trip.end:
		g.end(unreachable(h, why))
	case trip.pause > 0:
		g.pause(now, trip.pause, "no useful answer")
		g.log.Warn("the CRM does not answer", "wait", trip.pause.Round(time.Millisecond), "failures", g.health.row, "error", why)
	}
}

// standBy pauses the account because a server that is in trouble asked for it.
func (g *Gate) standBy(wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pause(time.Now(), min(wait, maxPause), "the server asks to wait")
}

// pause stops the account's calls for wait, or leaves them stopped for longer. g.mu
// is held.
func (g *Gate) pause(now time.Time, wait time.Duration, why string) {
	p := &g.pauses
	until := now.Add(min(wait, maxPause))
	if !now.Before(p.until) {
		p.began = now
	}
	if until.After(p.until) {
		p.until, p.why = until, why
	}
	g.timeline.pause(now, until)
	p.probing = true
}

// end ends the account for good. g.mu is held.
func (g *Gate) end(err *crm.AccountError) {
	if g.ended != nil {
		return
	}
	g.ended = err
	g.log.Error("the account can do no more in this run", "code", err.Code, "error", err.Err)
	g.dispatch()
}

// takeRepeat takes one from the budget of repeats: a tenth of the calls so far and
// ten. It keeps a server in trouble from being asked everything several times.
func (g *Gate) takeRepeat() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.repeats >= g.calls/10+10 {
		return false
	}
	g.repeats++
	return true
}

// late says whether a call had its slot when the pause began, so that how it ended
// says nothing new.
func (p *pauses) late(granted, now time.Time) bool {
	if granted.IsZero() {
		return now.Before(p.until)
	}
	return granted.Before(p.began)
}

// addSilence counts a refusal's pause of the given length as silence.
func (p *pauses) addSilence(now time.Time, wait time.Duration) {
	until, from := now.Add(min(wait, maxPause)), now
	if p.refused.After(now) {
		from = p.refused
	}
	if until.After(from) {
		p.silence += until.Sub(from)
		p.refused = until
	}
}

// silent returns how long the refusals' pauses have lasted so far.
func (p *pauses) silent(now time.Time) time.Duration {
	return p.silence - max(0, p.refused.Sub(now))
}
