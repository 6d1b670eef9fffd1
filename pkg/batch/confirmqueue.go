package batch

import (
	"container/heap"
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const (
	// The first acceptances of an account and one in so many after them are asked
	// about at once, so that a CRM that accepts everything and does nothing is
	// noticed early.
	earlyLooks     = 20
	earlyLookEvery = 200

	// lookPause is the pause after a first look that showed nothing yet; it doubles
	// up to maxLookPause.
	lookPause    = 500 * time.Millisecond
	maxLookPause = 30 * time.Second

	// probeTries is how often the first look is taken until the others no longer wait
	// for what it shows of the time that the CRM needs.
	probeTries = 3

	// maxLooks bounds the looks that are held in memory; the others wait in the
	// ledger.
	maxLooks = 10000

	// maxRemembered is how many are held for an account from the moment of their acceptance,
	// which spares reading them from the ledger again.
	maxRemembered = 1000
)

// look is a question to the CRM: what became of the operations with one ticket.
type look struct {
	ticket string
	ops    []ledger.Op
	keys   []crm.Target // those of the operations, each once
	waits  []crm.Target // of these, where later rows of a target wait for the answer
	// said holds, by operation, the code and text of the last look, so that only a new
	// one is recorded.
	said  map[int64]string
	taken time.Time // when the last of the operations was accepted, or sent before that
	due   time.Time
	first time.Time // when it was first asked, zero before
	tries int
	soon  bool // comes before changes
	// later is the pause that the CRM's answer suggests.
	later time.Duration
}

// add takes an operation into the look.
func (k *look) add(op ledger.Op, key crm.Target) {
	k.ops = append(k.ops, op)
	if !slices.Contains(k.keys, key) {
		k.keys = append(k.keys, key)
	}
}

// acceptance is what a call had accepted under one ticket.
type acceptance struct {
	ticket string
	ops    []ledger.Op
	waits  []crm.Target // keys of operations that later rows of their target wait for
	// later is how long the CRM is said to need at least.
	later time.Duration
	// earlier says that they were accepted in an earlier run, and have been asked about
	// in this one: the ledger's order of this run's acceptances does not have them.
	earlier bool
}

// confirmQueue holds the looks that an account is to take. Those that order needs and
// the early ones come before changes, the others after them; what is too much of these to be
// held is read from the ledger when no change waits.
type confirmQueue struct {
	keyOf         func(ledger.Op) crm.Target
	before, after lookHeap
	held          map[crm.Target][]*look // looks that are due while this key of theirs is busy
	holding       int                    // how many these are
	out           int                    // looks that workers take
	queued        map[int64]struct{}     // open operations that are looked at out of the ledger's order
	unread        int64                  // acceptances that only the ledger knows
	tickets       int                    // about how many looks at these are
	cursor        int64                  // how far the ledger's acceptances have been read
	accepted      int64
	remembers     int // how many looks are held from the moment of their acceptance

	// What the CRM needs from taking a change to having done it, as looks have shown so
	// far, spares looks that come too early. Until something is known, one look is
	// taken at a time.
	expect  time.Duration
	known   bool
	probe   *look
	waiting []*look // for the probe

	// newest is when the last of what is looked at was accepted, and latest when the last
	// of the looks that showed nothing is due again; they may have passed.
	newest, latest time.Time
}

// left returns how many looks are still to be taken if each shows what it asks about.
func (q *confirmQueue) left() int {
	return len(q.before) + len(q.after) + len(q.waiting) + q.holding + q.tickets + q.out
}

// last returns when the last of them has its turn.
func (q *confirmQueue) last() time.Time {
	if q.newest.IsZero() {
		return q.latest
	}
	return latest(q.newest.Add(q.expect), q.latest)
}

func newConfirmQueue(keyOf func(ledger.Op) crm.Target) confirmQueue {
	return confirmQueue{keyOf: keyOf, held: make(map[crm.Target][]*look), queued: make(map[int64]struct{}), remembers: maxRemembered}
}

// accept notes what was accepted now, and queues the look if it may not wait for
// the changes. With confirmations off, only looks that order needs are taken.
func (q *confirmQueue) accept(a acceptance, now time.Time, off bool) {
	early := false
	for range a.ops {
		q.accepted++
		early = early || q.accepted <= earlyLooks || q.accepted%earlyLookEvery == 0
	}
	q.expect = max(q.expect, a.later)
	soon := early || len(a.waits) > 0
	switch {
	case off && len(a.waits) == 0:
		return
	case !a.earlier && !soon && len(q.after)+len(q.waiting)+q.holding >= q.remembers:
		q.unread += int64(len(a.ops))
		q.tickets++
		q.newest = latest(q.newest, now)
		return
	}
	k := &look{ticket: a.ticket, waits: a.waits, taken: now, soon: soon}
	for _, op := range a.ops {
		k.add(op, q.keyOf(op))
	}
	if a.earlier {
		// It has just been asked about. What finds no place is asked by the next run.
		k.soon, k.first, k.tries, k.due = len(a.waits) > 0, now, 1, now.Add(max(lookPause, a.later))
		if !q.full() || k.soon {
			q.jump(k)
		}
		return
	}
	q.jump(k)
}

// jump queues a look that the ledger's order is not to bring again.
func (q *confirmQueue) jump(k *look) {
	for _, op := range k.ops {
		q.queued[op.ID] = struct{}{}
	}
	q.push(k)
}

// full reports whether no further look is to be held in memory.
func (q *confirmQueue) full() bool { return len(q.after)+len(q.waiting) >= maxLooks }

// read queues a page of the ledger's acceptances, oldest first, and says whether that has
// brought it further. The newest of them may be of this moment: one whose key is busy may
// not have been reported yet, and is left, with those behind it, for the next time.
func (q *confirmQueue) read(page []ledger.Op, now time.Time, busy func(crm.Target) bool) bool {
	if len(page) == 0 {
		q.unread, q.tickets = 0, 0
		return false
	}
	begin := q.cursor
	var last *look
	for _, op := range wholeTickets(page) {
		if busy(q.keyOf(op)) {
			break
		}
		q.cursor = op.Seq
		if _, ok := q.queued[op.ID]; ok {
			continue
		}
		q.unread--
		if last == nil || last.ticket != op.Ticket {
			if last != nil {
				q.push(last)
			}
			last = &look{ticket: op.Ticket}
			q.tickets = max(0, q.tickets-1)
		}
		last.add(op, q.keyOf(op))
		last.taken = sentAt(op.SentAt, now)
	}
	if last != nil {
		q.push(last)
	}
	if q.unread <= 0 {
		q.tickets = 0
	}
	return q.cursor != begin
}

// wholeTickets leaves the last ticket of a full page for the next one, which may
// have more of it: what has one ticket is asked about together.
func wholeTickets(page []ledger.Op) []ledger.Op {
	if len(page) < pageSize {
		return page
	}
	n := len(page) - 1
	for n > 0 && page[n-1].Ticket == page[n].Ticket {
		n--
	}
	if n == 0 {
		return page
	}
	return page[:n]
}

// soon returns a due look that comes before changes, or nil.
func (q *confirmQueue) soon(now time.Time, busy func(crm.Target) bool) *look {
	return q.pop(&q.before, now, busy)
}

// next returns a due look that comes after changes, or nil.
func (q *confirmQueue) next(now time.Time, busy func(crm.Target) bool) *look {
	return q.pop(&q.after, now, busy)
}

func (q *confirmQueue) pop(h *lookHeap, now time.Time, busy func(crm.Target) bool) *look {
	for len(*h) > 0 && !(*h)[0].due.After(now) {
		k := heap.Pop(h).(*look)
		if q.expected(k).After(now) { // by what has been learnt since it was queued
			q.push(k)
			continue
		}
		at := slices.IndexFunc(k.keys, busy)
		if at < 0 {
			return k
		}
		q.held[k.keys[at]] = append(q.held[k.keys[at]], k)
		q.holding++
	}
	return nil
}

// release queues the looks that were held because the key was busy.
func (q *confirmQueue) release(key crm.Target) {
	for _, k := range q.held[key] {
		q.holding--
		q.push(k)
	}
	delete(q.held, key)
}

// back takes a look that was taken, and what of it is finished now. What is still
// open is asked again after a pause, until the time limit since the first look has
// passed.
func (q *confirmQueue) back(k *look, finished []int64, now time.Time, limit time.Duration, giveUp func(*look)) {
	q.out--
	for _, id := range finished {
		delete(q.queued, id)
	}
	if k.first.IsZero() {
		k.first = now
	}
	over := now.Sub(k.first) >= limit
	q.learn(k, len(finished) > 0, over || len(k.ops) == 0, now)
	switch {
	case len(k.ops) == 0:
		return
	case over:
		giveUp(k)
		return
	}
	pause := min(lookPause<<min(k.tries, 10), maxLookPause)
	k.tries++
	k.due = now.Add(max(pause, k.later))
	if over := k.due.Sub(k.first) - limit; over > 0 {
		k.due = k.due.Add(-over)
	}
	q.push(k)
}

// learn takes from a look how long the CRM needs. Something that is finished only now
// took until about now, and what is not finished takes longer. What is finished at the
// first look took any time up to now, most of which the look may have waited for its
// slot: that says nothing against looking as early as before.
// The last look of a probe lets the others go.
func (q *confirmQueue) learn(k *look, finished, last bool, now time.Time) {
	age := now.Sub(k.taken)
	switch {
	case !finished:
		q.expect = max(q.expect, min(age, maxLookPause))
	case k.tries == 0:
		q.expect = min(q.expect, age)
	case !q.known:
		q.expect = min(age, maxLookPause)
	default:
		q.expect = (3*q.expect + min(age, maxLookPause)) / 4
	}
	if q.known || k != q.probe || !finished && !last && k.tries+1 < probeTries {
		return
	}
	q.known, q.probe = true, nil
	for _, other := range q.waiting {
		q.push(other)
	}
	q.waiting = nil
}

// push queues a look for when the CRM can be expected to have come to it.
func (q *confirmQueue) push(k *look) {
	if k.first.IsZero() {
		q.newest = latest(q.newest, k.taken)
	} else {
		q.latest = latest(q.latest, k.due)
	}
	if !q.known && q.probe != k {
		if q.probe != nil {
			q.waiting = append(q.waiting, k)
			return
		}
		q.probe = k
	}
	k.due = q.expected(k)
	if k.soon {
		heap.Push(&q.before, k)
		return
	}
	heap.Push(&q.after, k)
}

// expected returns when a first look is worth while. The next ones have a time of
// their own.
func (q *confirmQueue) expected(k *look) time.Time {
	if !k.first.IsZero() {
		return k.due
	}
	return k.taken.Add(q.expect)
}

// sentAt is a time of the ledger as one of this process's clock, which nobody puts
// back; now if it is later than that, or not known.
func sentAt(at, now time.Time) time.Time {
	if at.IsZero() {
		return now
	}
	return now.Add(-max(0, now.Sub(at)))
}

// due returns when the next look is due, or the zero time.
func (q *confirmQueue) due() time.Time { return earliest(q.before.due(), q.after.due()) }

type lookHeap []*look

func (h lookHeap) due() time.Time {
	if len(h) == 0 {
		return time.Time{}
	}
	return h[0].due
}

func (h lookHeap) Len() int           { return len(h) }
func (h lookHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h lookHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lookHeap) Push(x any)        { *h = append(*h, x.(*look)) }
func (h *lookHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
