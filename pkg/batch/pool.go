package batch

import (
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// piece is a piece of work. It may call release, once, when its calls are through
// and only the ledger is still to be waited for.
type piece func(release func()) report

// report is what a worker tells the loop.
type report struct {
	released bool // nothing but that a piece of work has no call under way any more
	closed   bool // the piece of work did not say so before

	keys  []int64
	look  *look // the look that was taken, with what is still open; nil after a change
	err   error // ends the run
	ended *crm.AccountError

	// again says that the key has more to do at once.
	again bool
	// later, if positive, says that the record is busy and when to come back.
	later time.Duration
	// accepted are the operations that the CRM took.
	accepted []acceptance
	settled  []int64 // operations that a look has settled
	// spent is what was planned for what is finished, and made what is known of its calls
	// beside what was known before.
	spent backlog
	made  callsMade
}

func (l *loop) startChange(work []errand) {
	for _, e := range work {
		l.keys.begin(e.key, e.alone)
	}
	tries := l.keys.tries(work[0].key)
	l.hand(func(release func()) report { return l.change(work, tries, release) })
}

// hand gives a piece of work to a worker that has nothing to do, or to a new one. A
// worker stays until the loop ends: a goroutine that is new for each call would grow
// its stack anew each time.
func (l *loop) hand(do piece) {
	l.running++
	l.open++
	if l.idle > 0 {
		l.idle--
		l.jobs <- do
		return
	}
	l.pool.Go(func() error {
		var failed error
		for do := do; ; {
			released := false
			r := do(func() {
				released = true
				l.reports <- report{released: true}
			})
			r.closed = !released
			if failed == nil {
				failed = r.err
			}
			l.reports <- r
			next, more := <-l.jobs
			if !more {
				return failed
			}
			do = next
		}
	})
}

func (l *loop) startLook(k *look) {
	for _, key := range k.keys {
		l.keys.begin(key, 0)
	}
	l.looks.out++
	l.hand(func(func()) report { return l.confirm(k) })
}

// take books what a worker reports.
func (l *loop) take(r report) {
	if r.released {
		l.open--
		return
	}
	if r.closed {
		l.open--
	}
	l.running--
	l.idle++
	l.book(r)
	l.tell(r)
	for _, key := range r.keys {
		l.keys.end(key)
		l.looks.release(key)
	}
}
