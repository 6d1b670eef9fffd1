//go:build fleet

package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestFleetKilled kills hosts at random instants, each time with another one started in its
// place, while one at least has been at work for long enough to take over.
func TestFleetKilled(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t, testSeed(t), 1, fleetSize{single: 12, triple: 3, common: 2, rows: 110})
	w.submit()
	// Two of them have room for all sheets, and none has so much that nothing is left for others.
	worker := func(place string) *fleetProcess {
		return w.start(place, "worker", "--at-once", strconv.Itoa(len(w.sheets)/2+1))
	}
	hosts := []*fleetProcess{worker("a"), worker("b"), worker("c")}
	began := []time.Time{time.Now(), time.Now(), time.Now()}
	w.progress(100)
	time.Sleep(20 * time.Second)
	kills := 0
	for want := fleetKills(t); kills < want && w.open() > 0; {
		w.pause(time.Second, 6*time.Second)
		n := w.dice.IntN(len(hosts))
		if !othersSteady(began, n) {
			continue
		}
		hosts[n].kill()
		kills++
		hosts[n], began[n] = worker(hosts[n].place), time.Now()
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

// TestFleetFrozen freezes hosts: for less than their lease, which costs nothing, and for a
// minute, after which they find that others have gone on.
func TestFleetFrozen(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t, testSeed(t), 2, fleetSize{single: 8, triple: 1, runs: 1, rows: 70})
	w.submit()
	run := w.sheets[len(w.sheets)-1]
	hosts := w.spread(3)
	began := time.Now()
	first := w.start("d", "run", "--quiet", "--yes", run.path)
	w.progress(100)

	short := time.Now()
	<-hosts[1].freeze(8 * time.Second)
	time.Sleep(4 * time.Second)
	for _, c := range w.audited().claims {
		if c.at.After(short) && c.app != hosts[1].name && !c.free && w.audited().holder(c.subject, short).app == hosts[1].name {
			t.Errorf("%s was taken over from a host that was frozen for 8 s", c.subject)
		}
	}
	time.Sleep(time.Until(began.Add(fleetSteady)))

	long, thawed := hosts[2].freeze(time.Minute), first.freeze(time.Minute)
	second := w.start("e", "run", "--quiet", "--yes", run.path, "--ledger", run.name)
	<-long
	<-thawed
	hosts[2].awaitSaid("this host was taken for dead", fleetCalled)
	if code := first.await(time.Minute); code != 3 {
		t.Errorf("the run that was frozen ended with %d, want 3\n%s", code, first.said())
	}
	if code := second.await(3 * time.Minute); code > 1 {
		t.Errorf("the run after it ended with %d\n%s", code, second.said())
	}
	w.finish(3 * time.Minute)
	t.Log(w.judge())
}

// TestFleetWrongClocks has hosts whose wall clock is an hour fast and an hour slow. One of each
// kind is killed, and both are right about who lives and who does not.
func TestFleetWrongClocks(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t, testSeed(t), 8, fleetSize{single: 9, triple: 1, rows: 70})
	w.clocks = map[string]string{"a": w.withClock(time.Hour), "b": w.withClock(-time.Hour)}
	w.submit()
	hosts := w.spread(3)
	began := time.Now()
	w.progress(100)
	time.Sleep(time.Until(began.Add(fleetSteady)))
	for i, p := range hosts {
		if p.saidSo("taken for dead") {
			t.Errorf("%s was taken for dead:\n%s", p.name, p.said())
		}
		if i < 2 {
			p.kill()
			w.start(p.place, "worker")
			w.pause(time.Second, 4*time.Second)
		}
	}
	w.finish(3 * time.Minute)
	off := map[string]time.Duration{}
	for _, p := range w.processes {
		if at, ok := firstTime(p.said()); ok {
			off[p.place] = at.Sub(began).Round(time.Hour)
		}
	}
	if off["a"] != time.Hour || off["b"] != -time.Hour {
		t.Errorf("the clocks of the hosts are off by %v, want an hour, and an hour back", off)
	}
	t.Log(w.judge())
}

// firstTime returns the first time that a process has logged.
func firstTime(said string) (at time.Time, ok bool) {
	for line := range strings.Lines(said) {
		if text, found := strings.CutPrefix(line, "time="); found {
			text, _, _ = strings.Cut(text, " ")
			at, err := time.Parse(time.RFC3339, text)
			return at, err == nil
		}
	}
	return time.Time{}, false
}

// TestFleetCutOff cuts hosts off from the database that go on to reach the CRM: with their
// connections ended, in silence, and for their heartbeats alone, where the rest goes on, the
// answers to the last heartbeats come late, and so does what they send to the CRM.
func TestFleetCutOff(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t, testSeed(t), 3, fleetSize{single: 14, triple: 2, rows: 60})
	w.crm.slow.Store(int64(4 * time.Second)) // so that calls go out all the time, and not all at once
	w.submit()
	hosts := w.spread(3)
	began := time.Now()
	w.progress(100)
	hosts[2].db.slowAnswers(2500 * time.Millisecond) // its connection for heartbeats is made
	hosts[2].crm.slow.Store(int64(fleetWindow / 2))
	w.progress(100)
	time.Sleep(time.Until(began.Add(fleetSteady)))
	reset := hosts[0].cut(networkReset, time.Minute)
	w.pause(0, 2*time.Second)
	silent := hosts[1].cut(networkSilent, time.Minute)
	w.pause(0, 2*time.Second)
	beats := hosts[2].cut(networkNoBeats, 40*time.Second)
	<-beats
	hosts[2].db.slowAnswers(0)
	<-reset
	<-silent
	for _, p := range hosts[:3] {
		p.awaitSaid("this host was taken for dead", fleetCalled)
	}
	w.finish(3 * time.Minute)
	t.Log(w.judge())
}

// TestFleetDatabaseGone stops the database hard and ends all its connections over and over,
// under load, while runs work and one begins. All goes on by itself, and nobody is taken for dead.
func TestFleetDatabaseGone(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t, testSeed(t), 4, fleetSize{single: 8, triple: 2, runs: 2, rows: 60})
	w.submit()
	hosts := w.spread(3)
	begin := func(place string, n int) *fleetProcess {
		return w.start(place, "run", "--quiet", "--yes", w.sheets[len(w.sheets)-n].path)
	}
	run := begin("d", 1)
	w.progress(150)
	w.pg.Stop(t, "immediate")
	late := begin("e", 2) // it finds no database
	time.Sleep(20 * time.Second)
	w.pg.Continue(t)
	w.progress(50)
	for range 20 {
		w.pg.Terminate(t, w.url)
		time.Sleep(time.Second)
	}
	for _, p := range []*fleetProcess{run, late} {
		if code := p.await(3 * time.Minute); code > 1 {
			t.Errorf("%s, a run, ended with %d\n%s", p.name, code, p.said())
		}
	}
	w.finish(3 * time.Minute)
	for _, p := range hosts {
		if p.saidSo("taken for dead") {
			t.Errorf("%s was taken for dead:\n%s", p.name, p.said())
		}
	}
	t.Log(w.judge())
}

// TestFleetLostAnswers loses COMMITs, and the answers to others, and the connection with them.
func TestFleetLostAnswers(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t, testSeed(t), 5, fleetSize{single: 8, triple: 2, runs: 1, rows: 50})
	w.lose = func() lostCommit {
		if !w.dice.one(3) {
			return commitArrives
		}
		return pick(w.dice, commitAnswerLost, commitAnswerLost, commitLost)
	}
	w.submit()
	w.spread(3)
	run := w.start("d", "run", "--quiet", "--yes", w.sheets[len(w.sheets)-1].path)
	if code := run.await(3 * time.Minute); code > 1 {
		t.Errorf("the run ended with %d\n%s", code, run.said())
	}
	w.finish(3 * time.Minute)
	v, lost := w.judge(), 0
	for _, p := range w.processes {
		n, _ := p.db.figures()
		lost += n
	}
	t.Logf("%d commits or their answers lost: %v", lost, v)
	if lost < 100 {
		t.Errorf("only %d commits or their answers were lost", lost)
	}
}

// TestFleetTwoAtOnce submits a sheet twice at the same moment, and runs one so.
func TestFleetTwoAtOnce(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t, testSeed(t), 6, fleetSize{single: 2, runs: 1, rows: 15})
	once, waiting, run := w.sheets[0].path, w.sheets[1].path, w.sheets[2].path
	both := func(args ...string) (codes []int, said string) {
		a, b := w.start("a", args...), w.start("b", args...)
		codes = []int{a.await(2 * time.Minute), b.await(2 * time.Minute)}
		slices.Sort(codes)
		return codes, a.said() + b.said()
	}
	if codes, said := both("submit", "--quiet", "--yes", once); !slices.Equal(codes, []int{0, 4}) {
		t.Errorf("two submits of one sheet ended with %v, want one 0 and one 4\n%s", codes, said)
	}
	w.worker("c")
	if codes, said := both("submit", "--wait", "--quiet", "--yes", waiting); !slices.Equal(codes, []int{0, 0}) {
		t.Errorf("two submits of one sheet that wait ended with %v, want 0 both\n%s", codes, said)
	}
	if codes, said := both("run", "--quiet", "--yes", run); !slices.Equal(codes, []int{0, 4}) {
		t.Errorf("two runs of one sheet ended with %v, want one 0 and one 4\n%s", codes, said)
	}
	w.finish(time.Minute)
	t.Log(w.judge())
}

// TestFleetAloneAfterAKill kills the only host there is, and a run, and starts the same again at
// once: it goes on by itself.
func TestFleetAloneAfterAKill(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t, testSeed(t), 7, fleetSize{single: 3, runs: 1, rows: 50})
	w.submit()
	run := w.sheets[3].path
	worker := w.worker("a")
	first := w.start("b", "run", "--quiet", "--yes", run)
	w.progress(60)
	worker.kill()
	first.kill()
	w.worker("a")
	second := w.start("b", "run", "--quiet", "--yes", run)
	if code := second.await(2 * time.Minute); code > 1 {
		t.Errorf("the run after a kill ended with %d\n%s", code, second.said())
	}
	w.finish(2 * time.Minute)
	t.Log(w.judge())
}
