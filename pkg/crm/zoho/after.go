package zoho

import (
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// attempt is a change whose answer leaves open what it has come to: it was lost, or
// refuses some of the entries. Looks judge its rows, and the bystanders: whoever has
// lost the record by it is given it back by a repair before.
type attempt struct {
	change  change
	rows    []*row         // that it serves, as its owners count them
	said    finding        // the answer
	again   bool           // another change may be sent
	refused map[int]result // what the CRM said to the own entries of rows that it refused
	kept    change         // without the refused entries
	last    finding        // the answer to the last write: the change, or a repair
	hope    change         // what looks are to show of that write
	harmed  []entry        // bystanders who lost the record by the change
	missing []entry        // those of them who have not been given it back so far
	repairs int            // how many were sent
	look    *finding       // the last one, where there is no use in another
}

func newAttempt(c change, rows []*row, said finding, again bool) *attempt {
	a := &attempt{change: c, rows: rows, said: said, again: again, refused: map[int]result{}, kept: c, last: said}
	if len(said.results) > 0 {
		a.kept.entries, a.kept.owner = nil, nil
	}
	for i, r := range said.results {
		if !r.no() {
			a.kept.entries, a.kept.owner = append(a.kept.entries, c.entries[i]), append(a.kept.owner, c.owner[i])
		} else if c.owner[i] >= 0 {
			a.refused[c.owner[i]] = r
		}
	}
	if a.underWay() {
		a.hope = a.kept
	}
	return a
}

// underWay says whether the change may take effect: one of which every entry was refused
// has none to wait for.
func (a *attempt) underWay() bool { return a.said.Class == uncertain || len(a.kept.entries) > 0 }

// bystanders are those of the change of whose entries the answer says such a thing.
func (a *attempt) bystanders(such func(result) bool) []entry {
	var out []entry
	for i, r := range a.said.results {
		if a.change.owner[i] < 0 && such(r) {
			out = append(out, a.change.entries[i])
		}
	}
	return out
}

// repaired takes in the answer to a repair that was built on a look.
func (a *attempt) repaired(c change, said, look finding) {
	if a.repairs++; a.repairs == 1 {
		a.harmed = a.missing
	}
	a.last, a.hope = said, change{verb: c.verb}
	switch said.Class {
	case uncertain, accepted:
		a.hope.entries = a.missing
	case partial:
		for i, r := range said.results {
			if r.ok() {
				a.hope.entries = append(a.hope.entries, c.entries[i])
			}
		}
	case throttled, token, stale, busy:
	default:
		look.Ended = said.Ended
		a.look = &look
	}
	a.hope.owner = make([]int, len(a.hope.entries)) // as if somebody had asked for them
}

// next is what follows from a look after an attempt: a repair, or else a decision on
// each row.
type next struct {
	repair    change
	missing   []entry // whom it is to give the record back
	decisions []decision
	notes     notes
	accepted  bool   // a write is under way, which another one could undo
	hidden    change // what no look has shown of it so far
}

// after says what follows from the look after a change whose answer was not plain, or
// after a repair of what it did. It is pure. stopped says that the run is to end.
func after(a attempt, so notes, look finding, b bounds, stopped bool) next {
	n := next{notes: so}
	if a.repairs > 0 {
		n.readRepair(a, look)
	} else {
		n.findHarmed(a, look)
	}
	if len(n.missing) > 0 {
		n.repair = repairOf(look.list, n.missing)
		code, message := unsafe(n.repair, b)
		if code == "" {
			return n
		}
		n.repair = change{}
		n.notes.notGivenBack(n.missing, message)
	}
	for i := range a.rows {
		n.decisions = append(n.decisions, n.judge(a, i, look, b, stopped))
	}
	return n
}

// findHarmed finds the bystanders who have lost the record by the change. It is those
// whose entry was refused; after a lost answer it is everybody who is missing, if the
// PUT has taken effect and somebody whom it wrote is there: if nobody is, somebody else
// may have revoked them all.
func (n *next) findHarmed(a attempt, look finding) {
	if look.Class != shown {
		n.notes.risk(a, "and no look could tell whether they still have the record")
		return
	}
	lostAnswer, seen := a.said.Class == uncertain, visible(look.list, a.kept)
	if a.change.verb != verbPut || lostAnswer && !seen {
		return
	}
	suspects := a.bystanders(func(r result) bool { return !r.ok() })
	if lostAnswer {
		suspects = a.change.bystanders()
	}
	missing := lacking(look.list, suspects)
	switch {
	case len(missing) == 0 && seen:
		n.notes.atRisk = ""
	case len(missing) == 0:
		if slices.ContainsFunc(a.said.results, result.ok) {
			n.notes.risk(a, "who still had the record at the last look; the change was not to be seen by then")
		}
	case lostAnswer && len(missing) == len(a.change.entries):
		n.notes.add(crm.CodeBystanderLost, "none of those who were to stay has the record any more; they were not given it back, because somebody else may have revoked them: "+recipients(missing))
		n.notes.lost = append(n.notes.lost, grants(missing)...)
	default:
		n.missing = missing
	}
}

// readRepair says what a repair has come to.
func (n *next) readRepair(a attempt, look finding) {
	why := a.last.Text
	if a.last.Class == partial {
		why = string(firstRefusal(a.last).Message)
	}
	written := a.last.Class == accepted || a.last.Class == partial
	missing := lacking(look.list, a.missing)
	switch {
	case a.look != nil:
		n.notes.notGivenBack(a.missing, why)
	case look.Class != shown:
		n.accepted = written || a.last.Class == uncertain
		n.notes.notGivenBack(a.missing, crm.Join(why, "no look shows whether it has helped"))
	case len(missing) == 0:
		n.notes.add("", "the change took the record from "+recipients(a.harmed)+", who stay; they were given it back")
	case written:
		// What is under way must not be undone by a write that is built on this look.
		n.accepted, n.hidden = true, a.hope
		n.notes.notGivenBack(missing, why)
	case a.repairs == mostRepairs:
		n.notes.notGivenBack(missing, why)
	default:
		n.missing = missing
	}
}

// judge says what has come of the row at a place of the attempt.
func (n *next) judge(a attempt, at int, look finding, b bounds, stopped bool) decision {
	row := a.rows[at]
	own, refused := a.refused[at]
	if look.Class == shown {
		if j := judge(look.list, row.op); j.standing != open {
			return ruled(row, j, look.Status)
		}
	}
	o := crm.Outcome{HTTPStatus: a.said.Status, Ended: look.Ended}
	switch {
	case refused && a.again && look.Class == shown && perhapsHeld(own) && holds(look.list, row.op.User):
		return decision{} // the user has the record by now, otherwise than asked for
	case refused:
		o.Status, o.Code, o.Message = crm.Failed, string(own.Code), string(own.Message)
		if busyText.MatchString(o.Message) || isThrottle(own.Code) {
			o.Status, o.Later = crm.Pending, busyFor
		}
	case look.Class != shown && a.said.Class == partial && a.underWay():
		n.accepted, n.hidden, o.Status = true, a.kept, crm.Accepted
		if n.notes.atRisk != "" { // whether a bystander has the record is for somebody to see now
			o.Status, o.Uncertain = crm.Failed, true
		}
	case look.Class != shown:
		return stuck(look, b, stopped)
	case !a.again || !a.underWay() && len(a.refused) == 0:
		// It stays as it was although it was sent: its answers were lost too often, or the CRM
		// refuses the list that is left without the user.
		o.Status, o.Code = crm.Failed, crm.CodeNoAnswer
		o.Message = "no answer says whether it was done, and a look does not show it; the last was: " + a.said.Text + "; running again tries again"
		if why := firstRefusal(a.said); why.no() {
			o.Code, o.Message = string(why.Code), "the CRM refuses the list of those who stay: "+string(why.Message)
			if names := a.bystanders(result.no); len(names) > 0 {
				o.Message = refusesList("because of "+recipients(names), string(why.Message))
			}
		}
		if stopped {
			o.Status = crm.Pending
		}
	default:
		return decision{}
	}
	return final(o)
}
