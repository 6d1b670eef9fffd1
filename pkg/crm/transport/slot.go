package transport

import "time"

// Slot is the right to send one call. Exactly one of Done, GaveUp and Unused ends
// it; what is called after that does nothing, so that Unused may be deferred.
type Slot struct {
	gate  *Gate
	index int
	units int
	day   int64 // the bucket of the day's count that it was taken from

	granted, sent time.Time
	over          bool
}

// Sent stamps the moment of sending. It is called right before the request goes
// out, so that a process killed right after it leaves a stamp.
func (s *Slot) Sent() {
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.over || !s.sent.IsZero() {
		return
	}
	s.sent = time.Now()
	g.calls++
	g.timeline.add(s.sent)
	g.slots[s.index].sent = s.sent
	g.stamps.write(s.index, s.sent, time.Time{})
	if g.daily != nil {
		g.daily.write(s.day)
	}
}

// Done says that the call is completed: its answer has been read, or its
// connection is gone. The slot comes back W later. What the answer says to the
// gate (OK, Throttled) must be said before Done, or others go ahead without it.
func (s *Slot) Done() { s.complete(0) }

// GaveUp says that nobody waits for the answer any longer, although the request
// may still arrive: the slot comes back W after the 20 s that a call may take.
func (s *Slot) GaveUp() { s.complete(attemptLimit) }

// complete ends a slot whose request arrived not later than atLeast after it was
// sent, or than now.
func (s *Slot) complete(atLeast time.Duration) {
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.over {
		return
	}
	now := time.Now()
	if s.sent.IsZero() {
		s.sent = now
	}
	g.learn(now.Sub(s.sent))
	done := now
	if late := s.sent.Add(atLeast); late.After(now) {
		done = late
	}
	g.slots[s.index] = hold{state: holdDone, sent: s.sent, done: done}
	g.awaitBack(s.index)
	g.stamps.write(s.index, s.sent, done)
	s.finish()
}

// learn takes in how long a call took: an eighth of what is expected of the next ones.
// g.mu is held.
func (g *Gate) learn(took time.Duration) {
	if g.latency == 0 {
		g.latency = took
		return
	}
	g.latency += (took - g.latency) / 8
}

// Unused says that nothing was sent, or demonstrably nothing left this machine:
// the slot is free at once.
func (s *Slot) Unused() {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	s.unused()
}

// unused is Unused with the gate's lock held.
func (s *Slot) unused() {
	g := s.gate
	if s.over {
		return
	}
	g.slots[s.index] = hold{}
	g.free = append(g.free, s.index)
	g.pace.giveBack(time.Now())
	if !s.sent.IsZero() {
		g.stamps.write(s.index, time.Time{}, time.Time{})
	}
	if g.daily != nil {
		g.daily.giveBack(s.day)
		if !s.sent.IsZero() {
			g.daily.write(s.day)
		}
	}
	s.finish()
}

// finish is what all ends of a slot have in common.
func (s *Slot) finish() {
	g := s.gate
	s.over = true
	g.open -= s.units
	g.granted--
	if g.pauses.probe == s {
		g.pauses.probe = nil
	}
	g.dispatch()
}
