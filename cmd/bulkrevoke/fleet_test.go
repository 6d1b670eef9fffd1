//go:build fleet

package main

import (
	"testing"
	"time"
)

// TestFleetKilled kills hosts at random instants, each time with another one started in its
// place, while one at least has been at work for long enough to take over.
func TestFleetKilled(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t, testSeed(t), 1, 14, 3, 60)
	w.submit()
	hosts := []*fleetProcess{w.worker("a"), w.worker("b"), w.worker("c")}
	began := []time.Time{time.Now(), time.Now(), time.Now()}
	w.progress(100)
	time.Sleep(20 * time.Second)
	kills := 0
	for want := fleetKills(t); kills < want && w.open() > 0; {
		w.pause(2*time.Second, 6*time.Second)
		n := w.dice.IntN(len(hosts))
		if !othersSteady(began, n) {
			continue
		}
		hosts[n].kill()
		kills++
		hosts[n], began[n] = w.worker(hosts[n].place), time.Now()
	}
	w.finish(4 * time.Minute)
	v := w.judge()
	t.Logf("%d kills: %v", kills, v)
	if want := fleetKills(t); kills < want {
		t.Errorf("only %d of %d kills before all was done: the sheets are too small", kills, want)
	}
	w.judgeDump()
}

// othersSteady says whether a host beside the nth has been there for long enough to declare
// others dead.
func othersSteady(began []time.Time, n int) bool {
	for i, at := range began {
		if i != n && time.Since(at) > fleetSteady {
			return true
		}
	}
	return false
}

// fleetSteady is how long a host must have been there to declare others dead, and a little.
const fleetSteady = 21 * time.Second

// judgeDump holds what the database holds against the secrets of the world.
func (w *fleetWorld) judgeDump() {
	w.t.Helper()
	w.vault.search(w.t, "the database", []byte(w.pg.Dump(w.t, w.url)))
}
