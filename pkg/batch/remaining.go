package batch

import (
	"math"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// backlog is what is still to be done in a run within one limit, in calls as the plan
// counts them: what is finished is taken off at what it was planned to cost, so that a
// call that was made twice does not count for another one.
type backlog struct {
	changes float64 // calls of changes, with the looks before them
	looks   float64 // calls of the looks that confirm: of these changes and of what is accepted
	// settling is what the CRM needs from a change until a look shows it, as far as that
	// is known.
	settling time.Duration
	// due is when the last of what waits for its time has its turn: a look at what the CRM
	// had not come to, a record that was busy. It may have passed.
	due     time.Time
	workers int // calls that may be under way at one time
}

// add returns the backlog of two accounts within one limit.
func (b backlog) add(other backlog) backlog {
	if other.due.After(b.due) {
		b.due = other.due
	}
	b.changes, b.looks, b.workers = b.changes+other.changes, b.looks+other.looks, b.workers+other.workers
	b.settling = max(b.settling, other.settling)
	return b
}

// calls is how many calls are to be made beside the open ones.
func (b backlog) calls(open int) int { return wholeCalls(b.changes + b.looks - float64(open)) }

// wholeCalls rounds up what fractions of calls add to, but for what adding itself has
// left of them.
func wholeCalls(n float64) int { return int(math.Ceil(max(0, n-1e-6))) }

// remaining returns how long the backlog takes, open calls of it being under way: what
// its calls take by takes, but not less than what the CRM needs after the last change,
// or what waits for its time.
func (b backlog) remaining(now time.Time, open int, takes func(calls, workers int) time.Duration) time.Duration {
	left := takes(b.calls(open), b.workers)
	if changes := wholeCalls(b.changes - float64(open)); b.changes > 0 && b.looks > 0 {
		left = max(left, takes(changes, b.workers)+b.settling)
	}
	return max(left, b.due.Sub(now))
}

// evenly is takes for an account without a meter: n calls in each window.
func evenly(n int, window time.Duration) func(calls, workers int) time.Duration {
	return func(calls, _ int) time.Duration {
		if n <= 0 {
			return 0
		}
		return time.Duration(float64(calls) / float64(n) * float64(window))
	}
}

// worth is what operations that go in one call were planned to cost: those of one key
// together. One that an earlier run had accepted was planned to be asked about only.
func (l *loop) worth(ops []ledger.Op) (b backlog) {
	if len(ops) == 1 && ops[0].Turn != ledger.TurnAsk {
		b.changes, b.looks = l.b.cost(l.acc, ops[0].Operation, 1)
		return b
	}
	byKey := make(map[crm.Target]int64)
	for _, op := range ops {
		if op.Turn != ledger.TurnAsk {
			byKey[l.keyOf(op)]++
		}
	}
	for _, op := range ops {
		change, look := l.b.cost(l.acc, op.Operation, byKey[l.keyOf(op)])
		b.changes, b.looks = b.changes+change, b.looks+look
		delete(byKey, l.keyOf(op))
	}
	return b
}

// spent is what was planned for those operations of a call that need no change any more
// in this run. Of those that were accepted, the loop knows the looks.
func (l *loop) spent(j *journal, outcomes []crm.Outcome, states []crm.Status) backlog {
	var rest []ledger.Op
	for i, op := range j.ops {
		if v := outcomes[i].Status; v == crm.Pending && states[i] != crm.Failed || v == crm.Uncertain && states[i] != crm.Uncertain {
			rest = append(rest, op)
		}
	}
	b := j.planned
	if len(rest) > 0 {
		left := l.worth(rest)
		b.changes, b.looks = b.changes-left.changes, b.looks-left.looks
	}
	return b
}

// todo is the backlog of an account while the run goes on: its loop and its workers write
// it, Progress reads it.
type todo struct {
	mu sync.Mutex // guards everything below
	backlog
	callsMade
	// strays are calls that belong to nothing that is counted here, such as one that was
	// made again or for a token, as far as they have shown themselves.
	strays int64
}

// callsMade is what is known of the calls of a run beside the backlog.
type callsMade struct {
	answered int64 // calls that have been answered
	within   int   // of these, calls of changes that are not finished
	// ahead are the calls of unfinished changes of which only the next sending will tell
	// that they have been answered. Some of them have been.
	ahead int
}

func (m callsMade) add(other callsMade) callsMade {
	return callsMade{m.answered + other.answered, m.within + other.within, m.ahead + other.ahead}
}

// set takes the backlog, and what has become known of the calls since.
func (t *todo) set(b backlog, m callsMade) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.backlog, t.callsMade = b, t.callsMade.add(m)
}

// note takes what has become known of the calls.
func (t *todo) note(m callsMade) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.callsMade = t.callsMade.add(m)
}

func (t *todo) get() (backlog, callsMade) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.backlog, t.callsMade
}

// less returns the backlog without the calls that its unfinished changes have made,
// where so many calls have been answered in all since the run began.
func (t *todo) less(b backlog, m callsMade, answered int64) backlog {
	t.mu.Lock()
	defer t.mu.Unlock()
	// What is not accounted for was ahead of a sending, unless it is a stray.
	ahead := answered - m.answered - t.strays
	if over := ahead - int64(m.ahead); over > 0 {
		t.strays += over
	} else if ahead < 0 {
		t.strays += ahead
	}
	b.changes = max(0, b.changes-float64(m.within)-float64(max(0, min(ahead, int64(m.ahead)))))
	return b
}

// beginEstimate takes the plan as what is left. It comes before the loops.
func (b *Batch) beginEstimate() {
	for _, acc := range b.order {
		acc.before = b.usage(acc).Calls
		if acc.end() == nil {
			acc.todo.set(acc.planned, callsMade{})
		}
	}
}

// estimate fills in what a run has made and has left, and how long that takes: as long
// as the slowest of the limits, which go on side by side.
func (b *Batch) estimate(p *Progress, now time.Time) {
	type limited struct {
		backlog
		callsMade
		acc *account // one of them
	}
	var order []*limited
	byMeter := make(map[crm.Meter]*limited)
	for _, acc := range b.order {
		if acc.rows == 0 {
			continue
		}
		l := byMeter[acc.Meter]
		if acc.Meter == nil || l == nil {
			l = &limited{acc: acc}
			byMeter[acc.Meter], order = l, append(order, l)
		}
		b, m := acc.todo.get()
		l.backlog, l.callsMade = l.backlog.add(b), l.callsMade.add(m)
	}
	for _, l := range order {
		usage, takes := b.usage(l.acc), evenly(l.acc.Limit, l.acc.Window)
		if l.acc.Meter != nil {
			takes = l.acc.Meter.Forecast
		}
		calls := usage.Calls - l.acc.before
		left := l.acc.todo.less(l.backlog, l.callsMade, calls-int64(usage.Open))
		p.CallsMade += calls
		p.CallsLeft += int64(left.calls(usage.Open))
		if left.changes+left.looks > 0 {
			p.TimeLeft = max(p.TimeLeft, left.remaining(now, usage.Open, takes))
		}
	}
}
