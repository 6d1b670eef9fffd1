package batch

import (
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// schedule says what an account does next. It is told what was read and what became of
// the tasks, and knows no clock, no ledger and no CRM.
//
// Confirmations that order needs, and the early ones, come first, then changes, then the
// other confirmations.
type schedule struct {
	rules    crm.Rules
	keys     keys
	confirms confirmQueue

	page   []ledger.Op // changes read ahead
	cursor ledger.Cursor
	read   bool // all changes have been read
	// crowded says that one of them is not the only one of its record that is open.
	crowded bool
	// worked are the keys that somebody has worked on since the page was read: what it says
	// of them may be out of date.
	worked map[crm.Target]bool
	// stalled says that reading accepted operations again would bring nothing before a
	// task has ended.
	stalled bool
}

// step is what to do next: a change of the keys, a confirmation, or reading; if it is
// none of these, nothing before wake, which is zero if nothing waits for its time.
type step struct {
	change []crm.Target
	// alone are the operations of those keys that have no other: of the rest of the keys,
	// it is to be read what there is to do.
	alone        []ledger.Op
	confirm      *look
	readChanges  bool
	readAccepted bool
	wake         time.Time
}

func newSchedule(rules crm.Rules) *schedule {
	s := &schedule{rules: rules, keys: newKeys(), worked: make(map[crm.Target]bool)}
	s.confirms = newConfirmQueue(s.keyOf)
	return s
}

// keyOf is what at most one open call may work on.
func (s *schedule) keyOf(op ledger.Op) crm.Target { return s.rules.Key(op.Operation) }

// next returns what to do now. The keys of a change or a confirmation are busy from then
// on, until ended is told.
func (s *schedule) next(now time.Time) step {
	if k := s.confirms.soon(now, s.keys.busy); k != nil {
		return s.confirm(k)
	}
	if key, ok := s.keys.next(now); ok {
		return s.change(step{change: []crm.Target{key}})
	}
	for len(s.page) > 0 {
		op := s.page[0]
		if s.page = s.page[1:]; len(s.page) == 0 {
			s.page = nil // and its memory goes: looks may go on for long
		}
		if !s.keys.claimed(s.keyOf(op)) {
			return s.change(s.bundle(op))
		}
	}
	if !s.read {
		return step{readChanges: true}
	}
	if k := s.confirms.next(now, s.keys.busy); k != nil {
		return s.confirm(k)
	}
	if s.confirms.unread > 0 && !s.confirms.full() && !s.stalled {
		return step{readAccepted: true}
	}
	return step{wake: earliest(s.confirms.due(), s.keys.due())}
}

func (s *schedule) change(do step) step {
	for _, key := range do.change {
		s.keys.begin(key)
	}
	return do
}

func (s *schedule) confirm(k *look) step {
	for _, key := range k.keys {
		s.keys.begin(key)
	}
	s.confirms.out++
	return step{confirm: k}
}

// bundle is a change of the operation's key, and with it of those of the operations read
// ahead that may go in the same call.
func (s *schedule) bundle(op ledger.Op) (work step) {
	add := func(op ledger.Op, key crm.Target) {
		work.change = append(work.change, key)
		if op.Alone && !s.worked[key] {
			work.alone = append(work.alone, op)
		}
	}
	add(op, s.keyOf(op))
	name, most := s.rules.Bundle(op.Operation)
	if most < 2 || op.Turn != ledger.TurnNormal {
		return work // what failed before goes by itself: it may have failed for another row's sake
	}
	rest := s.page[:0]
	for _, other := range s.page {
		key := s.keyOf(other)
		if named, _ := s.rules.Bundle(other.Operation); len(work.change) < most && named == name && other.Turn == op.Turn && !slices.Contains(work.change, key) && !s.keys.claimed(key) {
			add(other, key)
			continue
		}
		rest = append(rest, other)
	}
	s.page = rest
	return work
}

// changes takes in the next page of changes; it is the last if it is not full.
func (s *schedule) changes(page []ledger.Op) {
	if s.read = len(page) < pageSize; len(page) > 0 {
		s.cursor = page[len(page)-1].Cursor()
	}
	s.page = page
	s.crowded = s.crowded || slices.ContainsFunc(page, func(op ledger.Op) bool { return !op.Alone })
	clear(s.worked)
}

// accepted takes in the next page of what this run has had accepted, the oldest first.
func (s *schedule) accepted(page []ledger.Op, now time.Time) {
	s.stalled = !s.confirms.read(page, now, s.keys.busy)
}

// waiting says whether changes wait to be begun.
func (s *schedule) waiting() bool { return !s.read || len(s.page) > 0 }

// ended lets the keys of a task go.
func (s *schedule) ended(keys []crm.Target) {
	s.stalled = false
	for _, key := range keys {
		s.keys.end(key)
		s.confirms.release(key)
		if len(s.page) > 0 {
			s.worked[key] = true
		}
	}
}
