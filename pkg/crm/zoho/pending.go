package zoho

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// pendingLooks is how long an accepted write may take to be seen, until what a look
// shows is believed nevertheless, as a multiple of Config.VerifyAfter: a minute with its
// default.
const pendingLooks = 30

// pendingPrefix begins the names under which the store keeps accepted writes.
const pendingPrefix = "pending-"

// pending remembers the accepted writes whose effect no look has shown so far. The
// CRM works on them later, and may show the list as it was until then: a PUT built
// on that would undo them. The store has them for other processes: a sheet that comes
// next knows nothing of what another one has had accepted.
type pending struct {
	store *transport.Store
	lasts time.Duration

	mu     sync.Mutex // guards writes and swept
	writes map[string]pendingWrite
	swept  time.Time
}

// pendingWrite is what a look has to show of a write.
type pendingWrite struct {
	Gone, Given []crm.Grant
	until       time.Time
}

func pendingName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return pendingPrefix + hex.EncodeToString(sum[:16])
}

// add notes an accepted write on a record.
func (r *pending) add(key string, c change, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writes == nil {
		r.writes = map[string]pendingWrite{}
	}
	if now.Sub(r.swept) >= r.lasts/4 {
		r.swept = now
		for k, w := range r.writes {
			if !now.Before(w.until) {
				r.forget(k)
			}
		}
	}
	w := pendingWrite{Gone: grants(c.gone), until: now.Add(r.lasts)}
	for i, e := range c.entries {
		if c.owner[i] >= 0 {
			w.Given = append(w.Given, e.grant())
		}
	}
	r.writes[key] = w
	// Where it can not be kept, the next process does without, as it would after a minute.
	_ = r.store.Remember(pendingName(key), w, w.until)
}

// hides says whether a record was written and the list does not show it yet. others says
// that writes of other processes count.
func (r *pending) hides(key string, list []entry, now time.Time, others bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, ok := r.writes[key]
	if !ok && (!others || !r.store.Recall(pendingName(key), &w)) {
		return false
	}
	over := ok && !now.Before(w.until)
	if !over && (slices.ContainsFunc(w.Gone, func(g crm.Grant) bool { return has(list, g) }) ||
		slices.ContainsFunc(w.Given, func(g crm.Grant) bool { return !hasAsWas(list, g) })) {
		return true
	}
	r.forget(key)
	return false
}

// forget drops a write, here and in the store.
func (r *pending) forget(key string) {
	delete(r.writes, key)
	r.store.Forget(pendingName(key))
}
