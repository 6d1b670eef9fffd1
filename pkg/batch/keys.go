package batch

import (
	"container/heap"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// keys are the keys of an account that are being worked on or will be again. A key
// has at most one open piece of work, and waits at one place at most: it is ready,
// or it is parked until its record can be expected to be free.
type keys struct {
	states map[crm.Target]*keyState
	queue  []crm.Target // ready keys that nobody works on; one that is not any more is skipped
	parked parkedHeap
	latest time.Time // when the last of those that were parked has its turn; it may have passed
}

type keyState struct {
	busy   bool
	ready  bool
	parked bool
	tries  int // how often its record was busy, in a row
}

func newKeys() keys { return keys{states: make(map[crm.Target]*keyState)} }

func (k *keys) state(key crm.Target) *keyState {
	s := k.states[key]
	if s == nil {
		s = new(keyState)
		k.states[key] = s
	}
	return s
}

// forget drops a key that nothing is known of any more.
func (k *keys) forget(key crm.Target, s *keyState) {
	if !s.busy && !s.ready && !s.parked && s.tries == 0 {
		delete(k.states, key)
	}
}

// busy reports whether somebody works on the key.
func (k *keys) busy(key crm.Target) bool {
	s := k.states[key]
	return s != nil && s.busy
}

// claimed reports whether somebody works or will work on the key: whoever does
// takes all of its operations.
func (k *keys) claimed(key crm.Target) bool { return k.states[key] != nil }

// begin notes that somebody works on the key.
func (k *keys) begin(key crm.Target) { k.state(key).busy = true }

// end notes that nobody works on the key any more.
func (k *keys) end(key crm.Target) {
	s := k.state(key)
	s.busy = false
	if s.ready && !s.parked {
		k.queue = append(k.queue, key)
	}
	k.forget(key, s)
}

// wake notes that the key has more to do. A parked key does it when its time comes.
func (k *keys) wake(key crm.Target) {
	s := k.state(key)
	if s.ready || s.parked {
		return
	}
	s.ready = true
	if !s.busy {
		k.queue = append(k.queue, key)
	}
}

// park has the key wait until then, because its record is busy.
func (k *keys) park(key crm.Target, until time.Time) {
	s := k.state(key)
	s.tries++
	s.ready = false
	k.latest = latest(k.latest, until)
	if !s.parked {
		s.parked = true
		heap.Push(&k.parked, parkedKey{key, until})
	}
}

// freed notes that the key's record was not busy.
func (k *keys) freed(key crm.Target) {
	s := k.state(key)
	s.tries = 0
	k.forget(key, s)
}

// next returns a key that has its turn now.
func (k *keys) next(now time.Time) (key crm.Target, ok bool) {
	for len(k.parked) > 0 && !k.parked[0].at.After(now) {
		key := heap.Pop(&k.parked).(parkedKey).key
		s := k.states[key]
		s.parked = false
		if !s.busy {
			s.ready = false
			return key, true
		}
		s.ready = true // end queues it
	}
	for len(k.queue) > 0 {
		key := k.queue[0]
		k.queue = k.queue[1:]
		if s := k.states[key]; s != nil && s.ready && !s.busy && !s.parked {
			s.ready = false
			return key, true
		}
	}
	return crm.Target{}, false
}

// tries returns how often the key's record was busy in a row.
func (k *keys) tries(key crm.Target) int {
	if s := k.states[key]; s != nil {
		return s.tries
	}
	return 0
}

// due returns when the next parked key has its turn, or the zero time.
func (k *keys) due() time.Time {
	if len(k.parked) == 0 {
		return time.Time{}
	}
	return k.parked[0].at
}

type parkedKey struct {
	key crm.Target
	at  time.Time
}

type parkedHeap []parkedKey

func (h parkedHeap) Len() int           { return len(h) }
func (h parkedHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h parkedHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *parkedHeap) Push(x any)        { *h = append(*h, x.(parkedKey)) }
func (h *parkedHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
