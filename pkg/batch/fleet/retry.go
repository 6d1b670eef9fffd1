package fleet

import "time"

// A Kind says what is to become of a sheet whose run has ended.
type Kind int

const (
	// NeedsSomebody stops it until somebody retries it. It is what no Kind means.
	NeedsSomebody Kind = iota
	// NeedsChange is the same for a sheet that is refused: it cannot be run as it is.
	NeedsChange
	// Finished is for a sheet all of whose rows are finished.
	Finished
	// Unreachable is tried again after 1, 5, 15, 30 and then every 60 minutes, for a day.
	Unreachable
	// Quota is tried again when the quota is reset.
	Quota
	// Unconfirmed rows are asked about every 15 minutes, for a day.
	Unconfirmed
	// Busy is tried again after 2 s or Next.After, which does not count: an account of it is in
	// use, or must not be called yet.
	Busy
	// HandBack gives it to another host at once, which does not count.
	HandBack
)

// Next is what is to become of a sheet.
type Next struct {
	Kind Kind
	// After is in how much time the quota is reset, or, for Busy, how long to wait at least.
	After time.Duration
}

const (
	unconfirmedPause = 15 * time.Minute
	tryFor           = 24 * time.Hour
)

// unreachablePauses are those after the first, second ... failure; the last one stays.
var unreachablePauses = [...]time.Duration{1 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, 60 * time.Minute}

// history is what a sheet went through since somebody last wanted it tried.
type history struct {
	// How long ago the failures of a kind began, negative if there are none.
	unreachable, unconfirmed time.Duration
	unreachableTimes         int // how many there were, without this one
}

// verdict is what becomes of a sheet.
type verdict struct {
	state State
	pause time.Duration // until it is queued again, for waiting
	// What to remember: failures of a kind that go on.
	unreachable, unconfirmed bool
	givenUp                  bool // it was tried for a day
}

// decide says what becomes of a sheet whose run ended in this way. busy is the pause of
// one that found an account in use.
func decide(next Next, h history, busy time.Duration) verdict {
	began := func(since time.Duration) time.Duration { return max(since, 0) }
	switch next.Kind {
	case Finished:
		return verdict{state: Done}
	case NeedsChange:
		return verdict{state: Refused}
	case HandBack:
		return verdict{state: Queued, unreachable: h.unreachable >= 0, unconfirmed: h.unconfirmed >= 0}
	case Busy:
		return verdict{state: Waiting, pause: max(busy, next.After), unreachable: h.unreachable >= 0, unconfirmed: h.unconfirmed >= 0}
	case Quota: // it was reached
		return verdict{state: Waiting, pause: max(next.After, time.Second), unconfirmed: h.unconfirmed >= 0}
	case Unconfirmed:
		if began(h.unconfirmed) >= tryFor {
			return verdict{state: Stopped, givenUp: true}
		}
		return verdict{state: Waiting, pause: unconfirmedPause, unconfirmed: true}
	case Unreachable:
		if began(h.unreachable) >= tryFor {
			return verdict{state: Stopped, givenUp: true}
		}
		pause := unreachablePauses[min(h.unreachableTimes, len(unreachablePauses)-1)]
		return verdict{state: Waiting, pause: pause, unreachable: true, unconfirmed: h.unconfirmed >= 0}
	default:
		return verdict{state: Stopped}
	}
}
