package sandbox

import (
	"slices"
	"time"
)

// Arrival is one HTTP request that reached the server, whatever became of it.
type Arrival struct {
	At     time.Time `json:"at"`
	Method string    `json:"method"`
	Path   string    `json:"path"` // without the query, which may hold keys
	Op     string    `json:"op"`   // as in Fault.Op; empty for a path that is no operation
	// Status is that of the reply, 0 while there is none and where none was given.
	Status int `json:"status"`
	// Refused says that the rate limit refused the request.
	Refused bool `json:"refused,omitempty"`
}

// MostInWindow returns the largest number of arrivals that any window of length w
// holds, wherever it starts. Windows are half-open: an arrival exactly w after
// another one is not in a window with it. The order of arrivals does not matter.
func MostInWindow(arrivals []Arrival, w time.Duration) int {
	times := make([]time.Time, len(arrivals))
	for i, a := range arrivals {
		times[i] = a.At
	}
	slices.SortFunc(times, time.Time.Compare)
	most, first := 0, 0
	for i, t := range times {
		for first <= i && t.Sub(times[first]) >= w {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// window counts calls as the vendor does: at most limit of them in a length of
// time, sliding or fixed.
type window struct {
	limit  int // negative: no limit
	length time.Duration
	fixed  bool        // windows follow one another on multiples of length since the epoch
	calls  []time.Time // those that still count, oldest first
}

// admit says whether a call that arrives at now is within the limit, and counts it
// if it is. A sliding window is half-open: a call exactly one length ago is out of
// it. Calls must be admitted in the order of their times.
func (w *window) admit(now time.Time) bool {
	if w.limit < 0 {
		return true
	}
	from := now.Add(-w.length)
	if w.fixed {
		from = now.Add(-time.Duration(now.UnixNano()%int64(w.length)) - 1) // the last instant before this window
	}
	for len(w.calls) > 0 && !w.calls[0].After(from) {
		w.calls = w.calls[1:]
	}
	if len(w.calls) >= w.limit {
		return false
	}
	w.calls = append(w.calls, now)
	return true
}
