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
