package zoho

import (
	"sync"
	"time"
)

// recentLasts is how long an accepted write may take to be seen, until what a look
// shows is believed nevertheless.
const recentLasts = time.Minute

// recent remembers the accepted writes whose effect no look has shown so far. The
// CRM works on them later, and may show the list as it was until then: a PUT built
// on that would undo them. It is a precaution and not needed after a restart, when
// what was accepted is asked about first.
type recent struct {
	mu     sync.Mutex // guards writes and swept
	writes map[string]recentWrite
	swept  time.Time
}

type recentWrite struct {
	change change
	until  time.Time
}

// add notes an accepted write on a record.
func (r *recent) add(key string, c change, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writes == nil {
		r.writes = map[string]recentWrite{}
	}
	if now.Sub(r.swept) >= recentLasts/4 {
		r.swept = now
		for k, w := range r.writes {
			if !now.Before(w.until) {
				delete(r.writes, k)
			}
		}
	}
	r.writes[key] = recentWrite{c, now.Add(recentLasts)}
}

// pending says whether a record was written and the list does not show it yet.
func (r *recent) pending(key string, list []entry, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, ok := r.writes[key]
	if !ok {
		return false
	}
	if !now.Before(w.until) || visible(list, w.change, nil) {
		delete(r.writes, key)
		return false
	}
	return true
}
