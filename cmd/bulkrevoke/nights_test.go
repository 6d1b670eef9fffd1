package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// fixedWorlds are the seeds that every `go test` plays.
var fixedWorlds = []uint64{1, 2, 3, 34467412813784, 42225114074412, 78811053931017}

// TestNights plays worlds: both CRMs, a sheet that is edited from night to night,
// others who change shares too, faults of every kind, stops, runs at the same time,
// and a second sheet about the same records. An oracle that shares no code with the
// engine holds every night to the promises, and quiet nights at the end to all being
// as the sheet says.
//
// BULKREVOKE_TEST_WORLDS plays so many worlds in processes that are killed, too;
// BULKREVOKE_TEST_SEED begins with that of an earlier campaign.
func TestNights(t *testing.T) {
	t.Parallel()
	seeds, processes := nightSeeds(t)
	c := newCrowd(t)
	if processes {
		c.places = make(chan struct{}, 12)
	}
	counts := make(chan nightCount, len(seeds))
	for _, seed := range seeds {
		c.run(fmt.Sprint(seed), func(t *testing.T) {
			env := fmt.Sprintf("BULKREVOKE_TEST_SEED=%d", seed)
			if processes {
				env += " BULKREVOKE_TEST_WORLDS=1"
			}
			t.Logf("world of %s", env)
			w := newNightWorld(t, seed, processes)
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the story:\n%s\nrepeat it with: %s go test ./cmd/bulkrevoke -count=1 -run '^TestNights$'", strings.Join(w.story, "\n"), env)
				}
			})
			defer func() { counts <- w.count }()
			w.play()
		})
	}
	c.wait()
	close(counts)
	var all nightCount
	for count := range counts {
		all.add(count)
	}
	t.Logf("nights: %d worlds, %d nights, %d kills, %d other stops, %d rows, seeds %d to %d",
		all.worlds, all.nights, all.kills, all.stops, all.rows, seeds[0], seeds[len(seeds)-1])
}

// nightSeeds returns the seeds of the worlds, and whether their runs are processes.
func nightSeeds(t *testing.T) (seeds []uint64, processes bool) {
	t.Helper()
	first, worlds := rand.Uint64()>>16, 1
	number := func(name string, into func(n uint64)) bool {
		text := os.Getenv(name)
		if text == "" {
			return false
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		into(n)
		return true
	}
	given := number("BULKREVOKE_TEST_SEED", func(n uint64) { first = n })
	processes = number("BULKREVOKE_TEST_WORLDS", func(n uint64) { worlds = max(1, int(n)) })
	if !given && !processes {
		seeds = slices.Clone(fixedWorlds)
	}
	for i := range worlds {
		seeds = append(seeds, first+uint64(i))
	}
	return seeds, processes
}

// play plays the nights of a world to their end.
func (w *nightWorld) play() {
	d := w.dice
	nights := 3
	if w.processes {
		nights += d.IntN(3)
	}
	w.main.edit(12)
	for range nights {
		w.night(w.main, w.disturb())
		if w.t.Failed() {
			return
		}
		w.others()
		if d.one(4) {
			w.other.edit(4)
			w.night(w.other, nightPlan{name: "another sheet"})
			w.others()
		}
		if d.one(5) {
			w.undo()
		}
		w.main.edit(8)
	}
	w.quietNights()
	w.checkLimits()
}

// undo writes the undo sheet of the main one, and runs it at times.
func (w *nightWorld) undo() {
	w.t.Helper()
	path := w.path(fmt.Sprintf("undo%d.csv", w.count.nights))
	args := []string{"undo", w.main.path, "-o", path}
	if len(w.main.flags) > 0 {
		args = append(args, "--ledger", w.main.ledger)
	}
	got := w.run(args...)
	w.tell("undo: exit %d", got.code)
	if got.code > 1 && w.main.whole {
		w.t.Errorf("undo ended with %d:\n%s", got.code, got.stderr)
	}
	if !w.exists(path) || w.dice.one(3) {
		return
	}
	w.night(&nightSheet{
		w: w, path: path, result: strings.TrimSuffix(path, ".csv") + ".results.csv", ledger: w.main.ledger,
		flags: []string{"--ledger", w.main.ledger},
	}, nightPlan{name: "the undo sheet"})
}

func (w *nightWorld) exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// quietNights runs the same sheet until all is as it says, or cannot be, and once
// more: that sends nothing. A verification agrees.
func (w *nightWorld) quietNights() {
	w.t.Helper()
	calm := nightPlan{name: "a quiet night", quiet: true, flags: []string{"--redo-in-doubt"}}
	var last *night
	for range 4 {
		last = w.night(w.main, calm)
		w.count.quiet++
		if w.t.Failed() || len(last.unfinished()) == 0 && !w.main.alarmed {
			break
		}
	}
	for _, why := range last.unfinished() {
		last.problem("after 4 quiet nights: %s", why)
	}
	if w.t.Failed() || w.main.alarmed {
		return
	}
	open := last.open()
	last = w.night(w.main, nightPlan{name: "once more", quiet: true})
	jobs, _ := w.readJournal()
	switch sent := len(w.server.Requests()) - w.asked + len(jobs) - w.jobs; {
	case sent > 0 && len(open) == 0:
		last.problem("%d changes were sent again: %+v, %+v\nits rows:\n%s", sent, w.server.Requests()[w.asked:], jobs[w.jobs:], last.tell())
	default:
		// A row that has failed is tried again: that may do it, and its call may carry others
		// of its record along.
		tried := func(p place, _ string) bool {
			return slices.ContainsFunc(open, func(r readRow) bool { return sameRecord(w.place(r), p) })
		}
		before, after := maps.Clone(w.state), maps.Clone(last.now)
		maps.DeleteFunc(before, tried)
		maps.DeleteFunc(after, tried)
		if !maps.Equal(before, after) {
			last.problem("something has changed again, (-before +after):\n%s\nits rows:\n%s", cmp.Diff(before, after), last.tell())
		}
	}
	last.verify()
}

// unfinished says of which rows a quiet night should have made more.
func (n *night) unfinished() (why []string) {
	for i, r := range n.results {
		switch word := r.cell["result"]; {
		case word == "done" || word == "unchanged" || n.excused(r) || n.heldUp(i):
		default:
			why = append(why, fmt.Sprintf("line %s is %s: %q", r.cell["line"], word, r.fields))
		}
	}
	return why
}

// open returns the rows that are neither done nor unchanged.
func (n *night) open() (rows []readRow) {
	for _, r := range n.results {
		if word := r.cell["result"]; word != "done" && word != "unchanged" {
			rows = append(rows, r)
		}
	}
	return rows
}

// tell returns the rows as they came back, for whoever reads the story.
func (n *night) tell() string {
	var b strings.Builder
	for _, r := range n.results {
		fmt.Fprintf(&b, "%q\n", r.fields)
	}
	return b.String()
}

// excused says that the world is why a row can not end well.
func (n *night) excused(r readRow) bool {
	p := n.w.place(r)
	if r.cell["object"] != "Quotes" {
		return r.cell["result"] == "accepted" && n.w.stuck(r)
	}
	_, gone := n.now[userOn(p.object, p.record, "", nightUser(nightGone))]
	return r.cell["result"] == "failed" && (gone || p.who == "user "+nightUser(nightGone) || n.otherWay(p))
}

// heldUp says that a row waits for an earlier one about the same user and record that the
// CRM has accepted and will never say is done.
func (n *night) heldUp(i int) bool {
	r := n.results[i]
	return r.cell["code"] == "held_up" && slices.ContainsFunc(n.results[:i], func(earlier readRow) bool {
		return n.w.place(earlier) == n.w.place(r) && earlier.cell["result"] == "accepted" && n.excused(earlier)
	})
}

// verify holds what the verification says of Zoho and groups to the world as it is.
func (n *night) verify() {
	w := n.w
	w.t.Helper()
	args := append([]string{"verify", n.sheet.path}, n.sheet.flags...)
	if at := slices.Index(args, "-o"); at >= 0 {
		args = slices.Delete(args, at, at+2)
	}
	got := w.run(args...)
	w.tell("verify: exit %d", got.code)
	holds := true
	for i, r := range n.results {
		word := r.cell["result"]
		holds = holds && (word == "done" || word == "unchanged") && r.cell["code"] == ""
		if o := r.cell["object"]; n.last(i) && (o == "Quotes" || o == "sales_group") && !n.holds(i, false) {
			holds = false
			if got.code == 0 {
				n.problem("verify ends with 0, and line %s does not hold: %q", r.cell["line"], r.fields)
			}
		}
	}
	if holds && got.code != 0 {
		n.problem("verify ends with %d, and all holds:\n%s%s\nits rows:\n%s", got.code, got.stdout, got.stderr, n.tell())
	}
}

// checkLimits holds the calls of all nights together to the limits, and to what else
// a good client does.
func (w *nightWorld) checkLimits() {
	w.t.Helper()
	w.wire.mu.Lock()
	defer w.wire.mu.Unlock()
	for account, arrivals := range w.wire.arrivals {
		if most := sandbox.MostInWindow(arrivals, nightWindow); most > w.limit {
			w.t.Errorf("%d calls of %s arrived within %v, the limit is %d", most, account, nightWindow, w.limit)
		}
	}
	if n := w.server.WritesWithoutLook(); n > 0 {
		w.t.Errorf("%d changes of Zoho records without a look", n)
	}
	if n := w.server.Mails(); n > 0 {
		w.t.Errorf("%d mails were sent", n)
	}
}
