package batch

import (
	"container/heap"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
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

	// maxLooks bounds the looks that are held in memory; the others wait in the
	// ledger.
	maxLooks = 10000
)

// look is a question to the CRM: what became of the operations with one ticket.
type look struct {
	ticket string
	key    int64
	ops    []ledger.Op
	said   string // code and text that the last look gave, to record a new one only
	due    time.Time
	first  time.Time // when it was first asked, zero before
	tries  int
	early  bool
	blocks bool // later rows of a target wait for the answer
	// later is the pause that the CRM's answer suggests.
	later time.Duration
}

// acceptance is what a call had accepted under one ticket.
type acceptance struct {
	ticket string
	key    int64
	ops    []ledger.Op
	blocks bool
	// earlier says that they were accepted in an earlier run: the ledger's order of
	// this run's acceptances does not have them.
	earlier bool
}

// looking holds the looks that an account is to take. Those that order needs and
// the early ones come before changes, the others after them; these are read from
// the ledger when no change waits.
type looking struct {
	before, after lookHeap
	held          map[int64][]*look  // looks that are due while their key is busy
	known         map[int64]struct{} // operations that were looked at out of the ledger's order
	unread        int64              // acceptances that only the ledger knows
	cursor        int64              // how far the ledger's acceptances have been read
	accepted      int64
}

func newLooking() looking {
	return looking{held: make(map[int64][]*look), known: make(map[int64]struct{})}
}

// accept notes what was accepted, and queues the look if it may not wait for the
// changes. With confirmations off, only looks that order needs are taken.
func (q *looking) accept(a acceptance, off bool) {
	early := false
	for range a.ops {
		q.accepted++
		early = early || q.accepted <= earlyLooks || q.accepted%earlyLookEvery == 0
	}
	switch {
	case !a.blocks && off:
	case a.blocks || early || a.earlier:
		for _, op := range a.ops {
			q.known[op.ID] = struct{}{}
		}
		heap.Push(&q.before, &look{ticket: a.ticket, key: a.key, ops: a.ops, early: true, blocks: a.blocks})
	default:
		q.unread += int64(len(a.ops))
	}
}

// read queues a page of the ledger's acceptances, oldest first.
func (q *looking) read(page []ledger.Op) {
	var last *look
	for _, op := range page {
		q.cursor = op.Seq
		if _, ok := q.known[op.ID]; ok {
			continue
		}
		q.unread--
		if last != nil && last.ticket == op.Ticket && last.key == op.Key {
			last.ops = append(last.ops, op)
			continue
		}
		last = &look{ticket: op.Ticket, key: op.Key, ops: []ledger.Op{op}}
		q.after = append(q.after, last)
	}
	heap.Init(&q.after)
}

// soon returns a due look that comes before changes, or nil.
func (q *looking) soon(now time.Time, busy map[int64]bool) *look { return q.pop(&q.before, now, busy) }

// next returns a due look that comes after changes, or nil.
func (q *looking) next(now time.Time, busy map[int64]bool) *look { return q.pop(&q.after, now, busy) }

func (q *looking) pop(h *lookHeap, now time.Time, busy map[int64]bool) *look {
	for len(*h) > 0 && !(*h)[0].due.After(now) {
		k := heap.Pop(h).(*look)
		if !busy[k.key] {
			return k
		}
		q.held[k.key] = append(q.held[k.key], k)
	}
	return nil
}

// release queues the looks that were held because the key was busy.
func (q *looking) release(key int64) {
	for _, k := range q.held[key] {
		q.push(k)
	}
	delete(q.held, key)
}

// back takes a look that was taken. What is still open is asked again after a
// pause, until the time limit since the first look has passed.
func (q *looking) back(k *look, now time.Time, limit time.Duration, giveUp func(*look)) {
	if len(k.ops) == 0 {
		return
	}
	if k.first.IsZero() {
		k.first = now
	}
	if now.Sub(k.first) >= limit {
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

func (q *looking) push(k *look) {
	if k.early {
		heap.Push(&q.before, k)
		return
	}
	heap.Push(&q.after, k)
}

// due returns when the next look is due, or the zero time.
func (q *looking) due() time.Time { return earliest(q.before.due(), q.after.due()) }

type lookHeap []*look

func (h lookHeap) due() time.Time {
	if len(h) == 0 {
		return time.Time{}
	}
	if h[0].due.IsZero() {
		return time.Unix(0, 0)
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
