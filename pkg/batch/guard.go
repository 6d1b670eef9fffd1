package batch

import (
	"fmt"
	"sync"
)

// Guard stops a run in which too much fails: a wrong sheet, a wrong account, a CRM
// that refuses everything or does nothing.
type Guard struct {
	// Failures, if positive, is how many rows may fail.
	Failures int64
	// Percent, if positive, is how many of a hundred rows may fail, once GuardFrom
	// rows have come back.
	Percent float64
}

// GuardFrom is the number of rows from which a percentage means something.
const GuardFrom = 50

// GuardError says that the guard has stopped the run: of the rows that were sent,
// so many have failed, or of those that were Asked about to the end, so many are Bad:
// failed, or still unconfirmed.
type GuardError struct {
	Failed, Sent int64
	Bad, Asked   int64
	Guard        Guard
}

func (e *GuardError) Error() string {
	limit := fmt.Sprintf("%d", e.Guard.Failures)
	if e.Guard.Failures <= 0 {
		limit = fmt.Sprintf("%g%%", e.Guard.Percent)
	}
	if e.Bad > 0 {
		return fmt.Sprintf("%d of the %d rows that were asked about have failed or stay unconfirmed, and the limit is %s", e.Bad, e.Asked, limit)
	}
	return fmt.Sprintf("%d of the %d rows that were sent have failed, and the limit is %s", e.Failed, e.Sent, limit)
}

// guard counts the rows of this run that no earlier run sent.
type guard struct {
	limits Guard

	mu           sync.Mutex // guards what follows
	sent, failed int64
	asked, bad   int64 // rows that looks have come to an end with, and those of them that are not done
}

func newGuard(limits Guard) *guard { return &guard{limits: limits} }

// note counts rows that came back, and rows of them that failed (they may have
// come back earlier). It returns a *GuardError once the limit is passed.
func (g *guard) note(sent, failed int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent += sent
	g.failed += failed
	over := g.limits.Failures > 0 && g.failed >= g.limits.Failures ||
		g.limits.Percent > 0 && g.sent >= GuardFrom && float64(g.failed)*100 > g.limits.Percent*float64(g.sent)
	if !over || failed == 0 {
		return nil
	}
	return &GuardError{Failed: g.failed, Sent: g.sent, Guard: g.limits}
}

// looked counts rows that looks have come to an end with, and those of them that
// failed or stayed unconfirmed. Only some of the rows that were sent are asked about
// early, so that a percentage is one of these: of all that were sent, however many
// the CRM takes without doing anything, they would be too few to be noticed. It
// returns a *GuardError once the limit is passed.
func (g *guard) looked(rows, bad int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked += rows
	g.bad += bad
	over := g.limits.Failures > 0 && g.bad >= g.limits.Failures ||
		g.limits.Percent > 0 && g.sent >= GuardFrom && g.asked >= earlyLooks && float64(g.bad)*100 > g.limits.Percent*float64(g.asked)
	if !over || bad == 0 {
		return nil
	}
	return &GuardError{Bad: g.bad, Asked: g.asked, Guard: g.limits}
}
