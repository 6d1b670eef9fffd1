package transport

import (
	"container/heap"
	"slices"
	"time"
)

// backs are the slots whose return is a matter of time, the first to come back on
// top: what a gate asks for at every call must not cost a look at every slot.
type backs []comingBack

type comingBack struct {
	at    time.Time
	index int
}

func (b backs) Len() int           { return len(b) }
func (b backs) Less(i, j int) bool { return b[i].at.Before(b[j].at) }
func (b backs) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *backs) Push(x any)        { *b = append(*b, x.(comingBack)) }
func (b *backs) Pop() any {
	old := *b
	last := old[len(old)-1]
	*b = old[:len(old)-1]
	return last
}

// awaitBack notes that time alone will bring the slot back. g.mu is held.
func (g *Gate) awaitBack(index int) {
	if at, ok := g.slots[index].back(g.window); ok {
		heap.Push(&g.backs, comingBack{at, index})
	}
}

// awaitAll notes it of every slot: at the start, and when the window has changed.
// g.mu is held.
func (g *Gate) awaitAll() {
	g.backs = g.backs[:0]
	for i := range g.slots {
		g.awaitBack(i)
	}
}

// reap frees the slots that have come back. g.mu is held.
func (g *Gate) reap(now time.Time) {
	for len(g.backs) > 0 && !now.Before(g.backs[0].at) {
		i := heap.Pop(&g.backs).(comingBack).index
		g.slots[i] = hold{}
		g.free = append(g.free, i)
	}
}

// firstBack returns when the held slots will be fewer than N, as far as that is
// known. The more calls are still open, the less is known. g.mu is held.
func (g *Gate) firstBack() (time.Time, bool) {
	over := len(g.slots) - len(g.free) - g.limit // how many more than one must come back
	switch {
	case over >= len(g.backs):
		return time.Time{}, false
	case over == 0:
		return g.backs[0].at, true
	}
	sorted := slices.Clone(g.backs)
	slices.SortFunc(sorted, func(a, b comingBack) int { return a.at.Compare(b.at) })
	return sorted[over].at, true
}
