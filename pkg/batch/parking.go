package batch

import (
	"container/heap"
	"time"
)

// parking holds keys whose record is busy until their time comes: the key waits,
// not a worker.
type parking struct {
	heap  parkedHeap
	until map[int64]bool
}

type parkedKey struct {
	key int64
	at  time.Time
}

func (p *parking) push(key int64, at time.Time) {
	if p.until == nil {
		p.until = make(map[int64]bool)
	}
	p.until[key] = true
	heap.Push(&p.heap, parkedKey{key, at})
}

// pop returns a key whose time has come.
func (p *parking) pop(now time.Time) (key int64, ok bool) {
	if len(p.heap) == 0 || p.heap[0].at.After(now) {
		return 0, false
	}
	k := heap.Pop(&p.heap).(parkedKey)
	delete(p.until, k.key)
	return k.key, true
}

func (p *parking) has(key int64) bool { return p.until[key] }

// due returns when the next key's time comes, or the zero time.
func (p *parking) due() time.Time {
	if len(p.heap) == 0 {
		return time.Time{}
	}
	return p.heap[0].at
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
