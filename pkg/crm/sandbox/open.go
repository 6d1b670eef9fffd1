package sandbox

import (
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The kinds of change, as Request.Kind has them.
const (
	kindShare  = "share"
	kindRevoke = "revoke"
)

// change is a request to change something, from its arrival until it has taken
// effect. Of Zoho it is a write of a record, and ends with the answer.
type change struct {
	kind     string
	entries  []Share
	inFlight bool      // its client waits for the answer
	due      time.Time // when it takes effect; zero if it was not accepted
	never    bool      // accepted, and will not take effect
	lost     bool      // its client did not get the answer
}

// openChanges watches that no two changes of one target are open at once. A
// client that has two of them under way does not know in which order they act.
type openChanges struct {
	byTarget  map[Share][]*change // keyed by the target alone
	conflicts int
}

// target returns the share reduced to what it is about.
func (s Share) target() Share {
	return Share{Object: s.Object, Record: s.Record, Context: s.Context, User: s.User}
}

// begin notes that c is in flight, and counts every change that is open on one of
// its targets already, except those that it may repeat.
func (o *openChanges) begin(c *change, now time.Time) {
	c.inFlight = true
	for _, entry := range c.entries {
		target := entry.target()
		open := slices.DeleteFunc(o.byTarget[target], func(earlier *change) bool {
			return !earlier.inFlight && !earlier.never && !earlier.due.After(now)
		})
		for _, earlier := range open {
			if earlier.inFlight || !c.repeats(earlier, target) {
				o.conflicts++
			}
		}
		o.byTarget[target] = append(open, c)
	}
}

// end notes that c's client waits no longer.
func (o *openChanges) end(c *change, delivered bool) {
	c.inFlight, c.lost = false, !delivered
	if !c.due.IsZero() || c.never {
		return
	}
	for _, entry := range c.entries {
		target := entry.target()
		rest := slices.DeleteFunc(o.byTarget[target], func(other *change) bool { return other == c })
		if o.byTarget[target] = rest; len(rest) == 0 {
			delete(o.byTarget, target)
		}
	}
}

// resume takes up a request of an earlier process, whose answer may have been
// lost.
func (o *openChanges) resume(req *request) {
	c := &change{kind: req.Kind, entries: req.Entries, due: req.Due, never: req.Never, lost: true}
	for _, entry := range c.entries {
		o.byTarget[entry.target()] = append(o.byTarget[entry.target()], c)
	}
}

// repeats says that c is a legitimate repetition, as far as a target goes, of an
// earlier change that is still being processed: equal to it, and either a revoke
// or about a sales group, whose repetition does no harm, or sent because the
// answer was lost.
func (c *change) repeats(earlier *change, target Share) bool {
	of := func(c *change) Share { // its first entry of the target
		return c.entries[slices.IndexFunc(c.entries, func(s Share) bool { return s.target() == target })]
	}
	return c.kind == earlier.kind && of(c) == of(earlier) &&
		(c.kind == kindRevoke || target.Object == crm.SalesGroup || earlier.lost)
}
