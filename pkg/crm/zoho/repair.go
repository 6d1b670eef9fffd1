package zoho

import (
	"context"
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// mostRepairs is how often a repair is tried that no answer takes up: the record is
// busy, a limit or an old token is in the way, or the answer was lost.
const mostRepairs = 5

// keep sees to those whom a PUT was to leave alone, after it was looked at. Whoever
// has lost the record, and whose entry was refused, is given it back. After a lost
// answer it is everybody who is missing, if the PUT has taken effect and somebody
// whom it wrote is there: if nobody is, somebody else may have revoked them all.
func (w *work) keep(ctx context.Context, f finding, c change, sent finding, took bool) finding {
	if c.verb != verbPut || sent.class == lost && !took {
		return f
	}
	var suspects []entry
	for i, e := range c.entries {
		if c.owner[i] < 0 && (sent.class == lost || !sent.results[i].ok()) {
			suspects = append(suspects, e)
		}
	}
	missing := lacking(f.list, suspects)
	switch {
	case len(missing) == 0:
		if took {
			w.atRisk = ""
		} else if slices.ContainsFunc(sent.results, result.ok) {
			w.risk(c, sent, "who still had the record at the last look; the change was not to be seen by then")
		}
		return f
	case sent.class == lost && len(missing) == len(c.entries):
		w.tell(codeStayer, "none of those who were to stay has the record any more; they were not given it back, because somebody else may have revoked them: "+recipients(missing))
		return f
	}
	return w.putBack(ctx, f, missing)
}

// putBack gives people what they had, with one write after the look f, and looks
// whether it has helped. It returns the last look.
func (w *work) putBack(ctx context.Context, f finding, missing []entry) finding {
	lostBy, why := recipients(missing), ""
	for range mostRepairs {
		c := repairOf(f.list, missing)
		if code, message := unsafe(c, w.p.rules()); code != "" {
			why = message
			break
		}
		sent := w.send(ctx, f.list, c, nil)
		why = sent.text
		var hoped []entry // what a look is to show
		written := false
		switch sent.class {
		case throttled, token, stale:
		case busy:
			wait(ctx, w.p.verifyAfter)
		case lost:
			hoped = missing
		case took:
			hoped, written = missing, true
		case partial:
			why, written = string(firstRefusal(sent).Message), true
			for i, r := range sent.results {
				if r.ok() {
					hoped = append(hoped, c.entries[i])
				}
			}
		default:
			f.ended = sent.ended
			w.lostFor(missing, why)
			return f
		}
		seen := w.watch(ctx, sent.class == lost, func(list []entry) bool { return len(lacking(list, hoped)) == 0 })
		if seen.class != shown {
			w.accepted = w.accepted || written || sent.class == lost
			w.lostFor(missing, crm.Join(why, "no look shows whether it has helped"))
			return seen
		}
		f = seen
		if missing = lacking(f.list, missing); len(missing) == 0 {
			w.tell("", "the change took the record from "+lostBy+", who stay; they were given it back")
			return f
		}
		if written {
			// What is under way must not be undone by a write that is built on this look.
			w.accepted = true
			w.p.recent.add(w.key(), change{entries: hoped, owner: make([]int, len(hoped))}, time.Now())
			break
		}
	}
	w.lostFor(missing, why)
	return f
}

// lostFor names those who could not be given back what they had.
func (w *work) lostFor(missing []entry, why string) {
	note := "the change took the record from " + recipients(missing) + ", who were to keep it, and they could not be given it back"
	if why != "" {
		note += ": " + why
	}
	w.tell(codeStayer, note)
}

// repairOf is the write that gives people what they had: a POST if they have nothing
// now, a PUT with everybody else as they are if one of them has something else.
func repairOf(list, missing []entry) change {
	among := func(e entry) bool {
		return e.direct() && slices.ContainsFunc(missing, func(m entry) bool { return m.kind == e.kind && m.id == e.id })
	}
	c := change{verb: verbPost}
	if slices.ContainsFunc(list, among) {
		c.verb = verbPut
		for _, e := range list {
			if e.direct() && !among(e) {
				c.entries = append(c.entries, e)
			}
		}
	}
	c.entries = append(c.entries, missing...)
	c.owner = slices.Repeat([]int{-1}, len(c.entries))
	return c
}

// lacking returns those of the entries that a list does not have as they were.
func lacking(list, entries []entry) []entry {
	var out []entry
	for _, e := range entries {
		if !slices.ContainsFunc(list, func(now entry) bool { return sameAccess(now, e) }) {
			out = append(out, e)
		}
	}
	return out
}
