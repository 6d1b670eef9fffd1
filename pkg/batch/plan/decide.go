// Package plan holds the pure rules of a batch: which rows of a target are done
// already, which go together, and what a run as a whole amounts to. Rows in,
// decisions out; nothing here reads a file, a clock or a CRM.
package plan

import (
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Standing is how an earlier operation on a target ended.
type Standing uint8

const (
	// Refused: it certainly had no effect.
	Refused Standing = iota
	// Uncertain: it was sent and may have taken effect, and nobody can be asked.
	Uncertain
	// Accepted: it may have taken effect, or may yet, and the CRM can be asked.
	Accepted
	// Happened: it failed, because access remains by another way, and is so for the rest.
	Happened
	// Cleared: it was Happened, and a look has found since that the other way is gone.
	Cleared
	// Finished: it is done, or was so before.
	Finished
)

// happened reports whether the operation is done as far as a change can do it.
func (s Standing) happened() bool { return s >= Happened }

// looked reports whether the operation is, or was, one that is looked at again and never
// sent again.
func (s Standing) looked() bool { return s == Happened || s == Cleared }

// open reports whether the operation may have taken effect without being finished.
func (s Standing) open() bool { return s == Uncertain || s == Accepted }

// Op is an operation in little room: equal ones of a target are one pointer, so that a
// million equal rows are compared at once and are no million operations.
type Op = *crm.Operation

// Ops makes equal operations of a target one. The zero value is for a new target.
type Ops struct {
	last, one Op                   // what came last, and what it is one with
	known     map[crm.Operation]Op // nil as long as all were one
}

// Of returns the operation that op is one with.
func (o *Ops) Of(op *crm.Operation) Op {
	switch {
	case op == o.last:
		return o.one
	case o.last == nil:
		o.last, o.one = op, op
		return op
	case o.known == nil:
		o.known = map[crm.Operation]Op{*o.one: o.one}
	}
	one, ok := o.known[*op]
	if !ok {
		one = op
		o.known[*op] = op
	}
	o.last, o.one = op, one
	return one
}

// Past is an earlier operation on a target, one for each row that it stood for.
type Past struct {
	Op       Op
	Standing Standing
}

// Choice is what becomes of one row of the sheet.
type Choice struct {
	// Take is the index in the past whose outcome the row continues, or -1. A row
	// that takes a Finished operation is done; one that takes an Accepted operation
	// asks what became of it; one that takes a Uncertain or Refused operation tries it
	// again, where that is safe; one that takes a Happened operation looks at it, and
	// sends nothing.
	Take int
	// Moved says that an Accepted operation that this row takes says nothing about
	// the end, because an earlier row of the target is sent in this run or because
	// something else was sent after it: it is to be treated as Uncertain.
	Moved bool
	// Join is the index, among the target's rows, of the row that this one goes
	// together with and shares the outcome of; its own index if it leads.
	Join int
}

// Decide says for every row of one target, in sheet order, what becomes of it.
// The past is in the order in which it happened.
//
// The rule: find the longest beginning of the sheet that is an end of what
// happened. Those rows keep the outcome that they have; the others are done, in
// order. Operations that were refused happened to nobody and do not count.
//
// An operation that is still open stands at the end of what happened. If the
// sheet goes on with it, the row takes it; if the sheet no longer has it there,
// it may have overtaken whatever was finished before it, so that nothing before it
// counts as done. Either way the last operation of the target in the sheet is the
// last one in force.
//
// An operation that failed and has happened is not sent again: rows keep it, and what
// stands before it, also where other operations came between or after, if rows behind do
// all of these again. It comes to the same, and a row between that is refused every night
// has nothing sent again every night.
func Decide(past []Past, sheet []Op) []Choice {
	choices := make([]Choice, len(sheet))
	for i := range choices {
		choices[i] = Choice{Take: -1, Join: i}
	}
	happened := make([]int, 0, len(past))
	for i, p := range past {
		if p.Standing != Refused {
			happened = append(happened, i)
		}
	}
	before, open := splitOpen(past, happened)
	kept, taken := overlap(past, before, open, sheet)
	if more := keptAround(past, before, open, sheet, len(kept)+taken); more != nil {
		kept, taken = more, 0
	}
	for row, i := range kept {
		choices[row].Take = i
	}
	takeOpen(past, open, sheet, choices, len(kept), taken)
	takeRefused(past, sheet, choices, len(kept))
	markMoved(past, choices, len(kept))
	join(past, sheet, choices)
	return choices
}

// splitOpen parts the trailing open operations from what happened before them. An
// open operation beside a finished one that is the same makes no difference there.
func splitOpen(past []Past, happened []int) (before, open []int) {
	n := len(happened)
	for n > 0 && past[happened[n-1]].Standing.open() {
		n--
	}
	open = happened[n:]
	for _, i := range happened[:n] {
		last := len(before) - 1
		switch {
		case last < 0 || past[before[last]].Op != past[i].Op:
			before = append(before, i)
		case past[before[last]].Standing.open():
			before[last] = i
		case !past[i].Standing.open():
			before = append(before, i)
		}
	}
	return before, open
}

// overlap returns which operations the first rows of the sheet continue, and how many
// rows after them go on with what is open.
func overlap(past []Past, before, open []int, sheet []Op) (kept []int, taken int) {
	lengths := beginnings(past, before, sheet)
	for k := min(len(before), len(sheet)); k > 0; k-- {
		if from := len(before) - k; lengths[from] == k {
			if taken, ok := goesOn(past, open, sheet, k); ok {
				return before[from:], taken
			}
		}
	}
	taken, _ = goesOn(past, open, sheet, 0)
	return nil, taken
}

// goesOn reports whether the rows from k on begin with the open operations, and
// with how many rows. Open operations that are equal to the last of those rows
// (they went together, and a row was deleted since) need no row of their own.
func goesOn(past []Past, open []int, sheet []Op, k int) (taken int, ok bool) {
	n := 0
	for n < len(open) && k+n < len(sheet) && past[open[n]].Op == sheet[k+n] {
		n++
	}
	for _, i := range open[n:] {
		if k+n == 0 || past[i].Op != sheet[k+n-1] {
			return 0, false
		}
	}
	return n, true
}

// keptAround returns which operations the first rows of the sheet continue, more than n of
// them, where what happened between and behind these is done again, later in the sheet, so
// that it comes to the same; nil if there are none. That holds around what is open and,
// where one is among them that is looked at and never sent again, around all.
func keptAround(past []Past, before, open []int, sheet []Op, n int) []int {
	if !slices.ContainsFunc(before, func(i int) bool { return past[i].Standing != Finished }) {
		return nil
	}
	last := make(map[Op]int, len(sheet)) // where the sheet has it for the last time, from 1
	for row, op := range sheet {
		last[op] = row + 1
	}
	most := len(sheet)
	for _, i := range open {
		most = min(most, last[past[i].Op]-1)
	}
	k := min(len(before), most)
	kept := make([]int, max(k, 0))
	// Rows in an order that makes each try long are left to the rule without this.
	for steps := 50 * (len(before) + len(sheet)); k > n && steps > 0; k-- {
		row, looked, around := k, false, false
		for at := len(before) - 1; at >= 0 && row > 0; at-- {
			steps--
			p := past[before[at]]
			if p.Standing.happened() && p.Op == sheet[row-1] {
				row--
				kept[row] = before[at]
				looked = looked || p.Standing.looked()
			} else if last[p.Op] <= row {
				break
			} else {
				around = around || p.Standing.happened()
			}
		}
		if row == 0 && (looked || !around) {
			return kept[:k]
		}
	}
	return nil
}

// beginnings returns for each operation of before how long a beginning of the sheet
// stands from there on. An open operation that others came after is equal to nothing:
// nobody knows where in the order it took effect. It is the Z algorithm, so that equal
// rows take linear time.
func beginnings(past []Past, before []int, sheet []Op) []int {
	equal := func(at, row int) bool {
		p := past[before[at]]
		return p.Standing.happened() && p.Op == sheet[row]
	}
	own := make([]int, len(sheet)) // as the result, of the sheet itself
	for row, left, right := 1, 0, 0; row < len(sheet); row++ {
		k := max(0, min(own[row-left], right-row))
		for row+k < len(sheet) && sheet[k] == sheet[row+k] {
			k++
		}
		if own[row] = k; row+k > right {
			left, right = row, row+k
		}
	}
	lengths := make([]int, len(before))
	for at, left, right := 0, 0, 0; at < len(before); at++ {
		k := 0
		if at < right && at > left {
			k = min(own[at-left], right-at)
		}
		for at+k < len(before) && k < len(sheet) && equal(at+k, k) {
			k++
		}
		if lengths[at] = k; at+k > right {
			left, right = at, at+k
		}
	}
	return lengths
}

// takeOpen lets the rows that go on with what is open take it. Of the rows behind
// them, one that is equal to a further open operation takes that: what was sent
// without an answer is not sent again as if it were new.
func takeOpen(past []Past, open []int, sheet []Op, choices []Choice, kept, taken int) {
	for i := range taken {
		choices[kept+i].Take = open[i]
	}
	open = open[taken:]
	for row := kept + taken; row < len(sheet); row++ {
		for i, at := range open {
			if past[at].Op == sheet[row] {
				choices[row].Take, choices[row].Moved, open = at, true, open[i+1:]
				break
			}
		}
	}
}

// takeRefused lets the rows that are still to be done take up the newest refused
// operations equal to them, so that a row refused every night remains one record
// with its number of attempts.
func takeRefused(past []Past, sheet []Op, choices []Choice, kept int) {
	refused := make(map[Op][]int) // the newest last
	for i, p := range past {
		if p.Standing == Refused {
			refused[p.Op] = append(refused[p.Op], i)
		}
	}
	if len(refused) == 0 {
		return
	}
	for row := kept; row < len(sheet); row++ {
		if left := refused[sheet[row]]; choices[row].Take < 0 && len(left) > 0 {
			last := len(left) - 1
			choices[row].Take, refused[sheet[row]] = left[last], left[:last]
		}
	}
}

// markMoved marks the rows behind the first one that is sent.
func markMoved(past []Past, choices []Choice, kept int) {
	sends := false
	for row := kept; row < len(choices); row++ {
		choices[row].Moved = choices[row].Moved || sends
		take := choices[row].Take
		sends = sends || choices[row].Moved || take < 0 || past[take].Standing != Accepted
	}
}

// join lets equal rows that stand together go as one, where the same is to be
// done for them. What was sent already goes on with the rows that went with it: a
// further equal row is a further operation.
func join(past []Past, sheet []Op, choices []Choice) {
	fresh := func(row int) bool {
		take := choices[row].Take
		return take < 0 || past[take].Standing == Refused
	}
	for row := 1; row < len(sheet); row++ {
		if sheet[row] != sheet[row-1] || finished(past, choices[row]) || finished(past, choices[row-1]) {
			continue
		}
		if fresh(row) && fresh(row-1) || !fresh(row) && !fresh(row-1) &&
			past[choices[row].Take].Standing == past[choices[row-1].Take].Standing {
			choices[row].Join = choices[row-1].Join
		}
	}
}

func finished(past []Past, c Choice) bool {
	return c.Take >= 0 && past[c.Take].Standing >= Cleared
}

func happened(past []Past, c Choice) bool {
	return c.Take >= 0 && past[c.Take].Standing.happened()
}

// Again says of each row whether it is to do again what was done before and has been
// undone since: by an undo sheet, or by another sheet with the same past. What was done
// before and still counts is another row's.
func Again(past []Past, sheet []Op, choices []Choice) []bool {
	kept := make([]bool, len(past))
	for _, c := range choices {
		if happened(past, c) {
			kept[c.Take] = true
		}
	}
	undone := make(map[Op]bool) // of the operations that were asked about
	again := make([]bool, len(sheet))
	for row, op := range sheet {
		if happened(past, choices[row]) {
			continue
		}
		known := false
		if again[row], known = undone[op]; !known {
			again[row] = undoneSince(past, kept, op)
			undone[op] = again[row]
		}
	}
	return again
}

// undoneSince says whether the last of the past operations that is like op and counted
// does so no longer and was undone after it.
func undoneSince(past []Past, kept []bool, op Op) (again bool) {
	done := false
	for i, p := range past {
		switch {
		case p.Standing.happened() && p.Op == op:
			done, again = !kept[i], false
		case done && p.Standing != Refused && p.Op.Undoes(*op):
			again = true
		}
	}
	return again
}
