package sandbox

import "time"

// window counts calls as the vendor does: at most limit of them in a length of
// time, sliding or fixed. It is not safe for concurrent use.
type window struct {
	limit        int // negative: no limit
	length       time.Duration
	fixed        bool
	countRefused bool

	counted []time.Time // sliding: calls of the last length, oldest first
	slot    int64       // fixed: number of the current window since the epoch
	inSlot  int
}

// admit says whether a call that arrives at now is within the limit, and counts
// it. A sliding window is half-open: a call exactly one length ago is out of it.
// Calls must be admitted in the order of their times.
func (w *window) admit(now time.Time) bool {
	if w.limit < 0 {
		return true
	}
	if w.fixed {
		return w.admitFixed(now)
	}
	gone := 0
	for gone < len(w.counted) && now.Sub(w.counted[gone]) >= w.length {
		gone++
	}
	w.counted = w.counted[gone:]
	ok := len(w.counted) < w.limit
	if ok || w.countRefused {
		w.counted = append(w.counted, now)
	}
	return ok
}

func (w *window) admitFixed(now time.Time) bool {
	if slot := now.UnixNano() / int64(w.length); slot != w.slot {
		w.slot, w.inSlot = slot, 0
	}
	ok := w.inSlot < w.limit
	if ok || w.countRefused {
		w.inSlot++
	}
	return ok
}
