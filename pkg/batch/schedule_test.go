package batch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// byRecord are rules of a CRM with one key a record; revokes go in pairs if pairs is set.
type byRecord struct {
	crm.Rules
	pairs bool
}

func (byRecord) Key(op crm.Operation) crm.Target { return op.Target().Whole() }

func (r byRecord) Bundle(op crm.Operation) (string, int) {
	if r.pairs && op.Action == crm.Revoke {
		return "revokes", 2
	}
	return "", 0
}

// scheduled drives a schedule by words and writes down what it says.
type scheduled struct {
	t    *testing.T
	s    *schedule
	now  time.Time
	open map[string]step // tasks by what they were written as
	id   int64
	said []string
}

// op makes an operation of "r1" (a revoke on record 1) or "s1"; "L" at the end says that
// it failed in an earlier run.
func (d *scheduled) op(word string) ledger.Op {
	d.id++
	o := ledger.Op{ID: d.id, Ord: d.id, Seq: d.id, Turn: ledger.TurnNormal, Rows: 1, Ticket: "t" + word}
	o.Operation = crm.Operation{Action: crm.Revoke, Object: "o", Record: strings.TrimSuffix(word[1:], "L"), User: "u"}
	if word[0] == 's' {
		o.Operation.Action = crm.Share
	}
	if strings.HasSuffix(word, "L") {
		o.Turn = ledger.TurnLate
	}
	return o
}

func (d *scheduled) page(words []string) (page []ledger.Op) {
	for _, w := range words {
		page = append(page, d.op(w))
	}
	return page
}

// do carries out one word of a case:
//
//	next        asks what to do, and begins it
//	read:a,b    is the last page of changes
//	took:a,b    is a page of accepted operations
//	end:X       ends a task; end:X+again, +busy, +accept, +wait (later rows wait for it)
//	5s          lets time pass
func (d *scheduled) do(word string) {
	d.t.Helper()
	verb, arg, _ := strings.Cut(word, ":")
	words := strings.FieldsFunc(arg, func(r rune) bool { return r == ',' })
	switch verb {
	case "next":
		d.said = append(d.said, d.name(d.s.next(d.now)))
	case "read":
		d.s.changes(d.page(words))
	case "took":
		d.s.accepted(d.page(words), d.now)
	case "end":
		d.end(arg)
	default:
		pause, err := time.ParseDuration(word)
		if err != nil {
			d.t.Fatal(err)
		}
		d.now = d.now.Add(pause)
	}
}

func (d *scheduled) end(arg string) {
	d.t.Helper()
	name, how, _ := strings.Cut(arg, "+")
	s, ok := d.open[name]
	if !ok {
		d.t.Fatalf("no task %q is open", name)
	}
	delete(d.open, name)
	if s.confirm != nil {
		ids := []int64{}
		if how == "" {
			for _, op := range s.confirm.ops {
				ids = append(ids, op.ID)
			}
			s.confirm.ops = nil
			for _, key := range s.confirm.waits {
				d.s.keys.wake(key)
			}
		}
		d.s.confirms.back(s.confirm, ids, d.now, time.Minute, func(*look) { d.said = append(d.said, "gave up") })
		d.s.ended(s.confirm.keys)
		return
	}
	for _, key := range s.change {
		switch how {
		case "again":
			d.s.keys.wake(key)
		case "busy":
			d.s.keys.park(key, d.now.Add(2*time.Second))
		case "accept", "wait":
			a := acceptance{ticket: "t" + name, ops: []ledger.Op{d.op("s" + key.Record)}}
			if how == "wait" {
				a.waits = []crm.Target{key}
			}
			d.s.confirms.accept(a, d.now, false)
		}
	}
	d.s.ended(s.change)
}

// name writes a step: a change as its records, a confirmation with "?", reading as
// "changes" or "accepted", and a wait as how long it is, "-" for nothing.
func (d *scheduled) name(s step) string {
	name := ""
	switch {
	case s.readChanges:
		return "changes"
	case s.readAccepted:
		return "accepted"
	case s.change != nil:
		for _, key := range s.change {
			name += key.Record
		}
	case s.confirm != nil:
		for _, key := range s.confirm.keys {
			name += key.Record
		}
		name += "?"
	case s.wake.IsZero():
		return "-"
	default:
		return s.wake.Sub(d.now).String()
	}
	d.open[name] = s
	return name
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		pairs bool
		known bool // how long the CRM takes is known: no time at all
		do    string
		want  string
	}{
		{"nothing to do", false, true, "next read: next", "changes -"},
		{"one after the other", false, true, "read:r1,r2 next next next", "1 2 -"},
		{"a key is begun once, whatever rows it has", false, true, "read:r1,s1,r2 next next next end:1 next", "1 2 - -"},
		{"what waits behind comes when its key is through", false, true, "read:r1,r2,s1 next end:1+again next end:1 next", "1 1 2"},
		{"a busy record waits, the others go on", false, true, "read:r1,r2 next end:1+busy next next 1s next 1s next", "1 2 2s 1s 1"},
		{"revokes go together, shares do not", true, true, "read:r1,s2,r3,r4 next next next next", "13 2 4 -"},
		{"what failed before goes by itself", true, true, "read:r1L,r2L next next", "1 2"},
		{"early confirmations come before changes", false, true, "read:r1,r2 next end:1+accept next next", "1 1? 2"},
		{"those that order needs too", false, true, "read:s1,r1,r2 next end:1+wait next end:1? next next", "1 1? 1 2"},
		{"a confirmation that shows nothing is made again later", false, true, "read:r1 next end:1+accept next end:1?+open next 500ms next", "1 1? 500ms 1?"},
		{"and given up in the end", false, true, "read:r1 next end:1+accept next end:1?+open 70s next end:1?+open next", "1 1? 1? gave up -"},
		{"one confirmation at first, until it has shown how long they take", false, false, "read:r1,r2 next next end:1+accept end:2+accept next next end:1? next", "1 2 1? - 2?"},
		{"a confirmation waits for its busy key", false, true, "read:r1,s1 next end:1+accept next next", "1 1? -"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := &scheduled{t: t, s: newSchedule(byRecord{pairs: tc.pairs}), now: time.Unix(1e9, 0), open: map[string]step{}}
			d.s.confirms.known = tc.known
			for word := range strings.FieldsSeq(tc.do) {
				d.do(word)
			}
			if got := strings.Join(d.said, " "); got != tc.want {
				t.Errorf("%s\n got %s\nwant %s", tc.do, got, tc.want)
			}
		})
	}
}

// What is alone on its record need not be read, unless its key was worked on since the page
// was read: then it may be done.
func TestScheduleReadsWhatMayHaveChanged(t *testing.T) {
	t.Parallel()
	d := &scheduled{t: t, s: newSchedule(byRecord{pairs: true}), now: time.Unix(1e9, 0), open: map[string]step{}}
	next := func(want string) {
		t.Helper()
		s := d.s.next(d.now)
		got := d.name(s) + ":"
		for _, op := range s.alone {
			got += op.Operation.Record
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	alone := func(words ...string) {
		page := d.page(words)
		for i := range page {
			page[i].Alone = !strings.HasPrefix(words[i], "s1")
		}
		page = append(page, make([]ledger.Op, pageSize-len(page))...) // not the last page
		d.s.changes(page)
		d.s.page = d.s.page[:len(words)]
	}
	alone("s1", "r2", "r3", "s4")
	next("1:")
	next("23:23")
	next("4:4")
	next("changes:")
	alone("r1", "r3", "s5") // of them, the first two while their tasks were under way
	d.do("end:1+again")
	d.do("end:23")
	next("1:") // by its key
	d.do("end:1")
	next("13:") // both may be done
	next("5:5")
	d.do("end:13")
	alone("r1", "r3", "s5") // the next page knows it again
	next("13:13")
	next("changes:") // the last row's key is busy, and whoever has it does all of it
}

// After the first ones, what is accepted is looked at when no change is left, without reading it
// from the ledger.
func TestScheduleRemembersWhatWasAccepted(t *testing.T) {
	t.Parallel()
	d := &scheduled{t: t, s: newSchedule(byRecord{}), now: time.Unix(1e9, 0), open: map[string]step{}}
	d.s.confirms.known, d.s.confirms.accepted = true, earlyLooks
	d.do("read:r1,r2,r3")
	for _, word := range strings.Fields("next next end:1+accept end:2+accept next next next end:3 end:1? end:2? next") {
		d.do(word)
	}
	if got, want := fmt.Sprint(d.said), "[1 2 3 1? 2? -]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What is more than is to be held waits in the ledger until no change is left; what was accepted
// first is confirmed first.
func TestScheduleConfirmsLastWhatCanWait(t *testing.T) {
	t.Parallel()
	d := &scheduled{t: t, s: newSchedule(byRecord{}), now: time.Unix(1e9, 0), open: map[string]step{}}
	d.s.confirms.known, d.s.confirms.accepted, d.s.confirms.remembers = true, earlyLooks, 0
	d.do("read:r1,r2,r3")
	for _, word := range strings.Fields("next next end:1+accept end:2+accept next next") {
		d.do(word)
	}
	if got, want := fmt.Sprint(d.said), "[1 2 3 accepted]"; got != want {
		t.Fatalf("got %s, want %s: changes first", got, want)
	}
	// The page may hold what a call under way has just had accepted: it is left for later.
	d.do("took:r1,r3,r2")
	d.do("next")
	if got := d.said[len(d.said)-1]; got != "1?" {
		t.Errorf("got %s, want the first that is free", got)
	}
	d.do("end:3")
	d.do("next")
	if got := d.said[len(d.said)-1]; got != "accepted" {
		t.Errorf("got %s, want the rest to be read when a task has ended", got)
	}
	// Reading that brings nothing is not repeated before a task has ended.
	d.do("took:r1") // its key is busy with the confirmation
	d.do("next")
	if got := d.said[len(d.said)-1]; got != "-" {
		t.Errorf("got %s, want nothing: it would read for ever", got)
	}
	d.do("end:1?")
	d.do("next")
	if got := d.said[len(d.said)-1]; got != "accepted" {
		t.Errorf("got %s, want the rest to be read again", got)
	}
}
