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

// GuardError says that the guard has stopped the run.
type GuardError struct {
	Failed, Sent int64
	Guard        Guard
}

func (e *GuardError) Error() string {
	limit := fmt.Sprintf("%d", e.Guard.Failures)
	if e.Guard.Failures <= 0 {
		limit = fmt.Sprintf("%g%%", e.Guard.Percent)
	}
	return fmt.Sprintf("%d of the %d rows that were sent have failed, and the limit is %s", e.Failed, e.Sent, limit)
}

// guard counts the rows of this run that no earlier run sent.
type guard struct {
	limits Guard

	mu           sync.Mutex // guards what follows
	sent, failed int64
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
