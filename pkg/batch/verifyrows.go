package batch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// rowSorter says of each row whether the CRM is to be asked about it. It is given
// the rows of a record together, the last one of the sheet first, and remembers no
// more than one record. It is pure.
type rowSorter struct {
	// ask returns what a row is asked about with, "" if with nothing, and whether that
	// is a look at what is there.
	ask func(ledger.ReviewRow) (ticket string, looks bool)

	record place
	last   map[place]ledger.ReviewRow // the row that counts
	whole  map[place]ledger.ReviewRow // the revoke_all that counts, by the record as a whole
	doubt  map[place]int              // line of a later row that may have been done
	users  map[place][]string         // whom rows after a revoke_all are about, by the record as a whole
}

// place is a target in its account.
type place struct {
	account string
	crm.Target
}

func (p place) whole() place { return place{p.account, p.Target.Whole()} }

func newRowSorter(ask func(ledger.ReviewRow) (ticket string, looks bool)) *rowSorter {
	s := &rowSorter{ask: ask}
	s.forget(place{})
	return s
}

func (s *rowSorter) forget(record place) {
	s.record = record
	s.last, s.whole = make(map[place]ledger.ReviewRow), make(map[place]ledger.ReviewRow)
	s.doubt, s.users = make(map[place]int), make(map[place][]string)
}

// take returns the question about a row, or the answer where there is none.
func (s *rowSorter) take(r ledger.ReviewRow) (*ledger.Question, ledger.Answer) {
	if record := (place{r.Account, r.Op.Target().Whole()}); record != s.record {
		s.forget(record)
	}
	a := ledger.Answer{Ord: r.Ord, Holds: HoldsNot, Code: crm.CodeNeverDone}
	if r.Invalid {
		a.Message = "the row is invalid and was never sent: " + r.Message
		return nil, a
	}
	at := place{r.Account, r.Op.Target()}
	ticket, looks := s.ask(r)
	switch r.Status {
	case crm.Done, crm.Unchanged, crm.Accepted:
		return s.done(r, at, ticket, looks)
	case crm.NotDue:
		a.Holds, a.Code, a.Message = HoldsUnknown, crm.CodeNotDue, r.Message
		return nil, a
	case crm.Sent, crm.Uncertain:
		s.doubt[at] = r.Line
		a.Holds, a.Code, a.Message = HoldsUnknown, crm.CodeInDoubt, "it was sent, and no answer says whether it was done; run the sheet again"
		return nil, a
	}
	switch {
	case r.Happened:
		s.counts(r, at)
	case r.Uncertain:
		s.doubt[at] = r.Line
	}
	a.Message = strings.TrimSuffix(fmt.Sprintf("its result is %s: %s", r.Status, r.Message), ": ")
	return nil, a
}

// done is take for a row that was done, was so before, or was accepted.
func (s *rowSorter) done(r ledger.ReviewRow, at place, ticket string, looks bool) (*ledger.Question, ledger.Answer) {
	a := ledger.Answer{Ord: r.Ord, Holds: HoldsUnknown}
	later, ok := s.last[at]
	if all, covered := s.whole[at.whole()]; covered && !ok {
		later, ok = all, true
	}
	if ok {
		a.Later, a.Code = later.Ord, crm.CodeSuperseded
		a.Message = fmt.Sprintf("line %d came after it, about the same user and record, and is what counts", later.Line)
		return nil, a
	}
	q := &ledger.Question{Ord: r.Ord, Account: r.Account, Ticket: ticket}
	if r.Op.Action == crm.RevokeAll {
		q.Except = slices.Clone(s.users[at.whole()])
	}
	s.counts(r, at)
	if line, ok := s.doubt[at]; ok && !looks {
		a.Code, a.Message = crm.CodeInDoubt, fmt.Sprintf("line %d, about the same user and record, was sent after it, and no answer says whether it was done", line)
		return nil, a
	}
	if r.Undone != nil && !looks {
		return nil, undoneAnswer(r)
	}
	switch {
	case ticket != "":
	case r.Op.Action == crm.Keep:
		a.Code, a.Message = crm.CodeKept, "the CRM shows nobody who has this record, so that nobody can see whether what was kept is still there"
		return nil, a
	default:
		a.Code, a.Message = crm.CodeNoRequestID, "the CRM shows nobody who has this record, and there is no request Id to ask about"
		return nil, a
	}
	return q, a
}

// counts notes a row before which no row about the same counts.
func (s *rowSorter) counts(r ledger.ReviewRow, at place) {
	if r.Op.Action == crm.RevokeAll {
		s.whole[at.whole()] = r
		return
	}
	s.users[at.whole()] = append(s.users[at.whole()], r.Op.User)
	s.last[at] = r
}

// undoneAnswer answers for a row that another sheet of the ledger has undone, where the
// CRM shows nobody who has access now.
func undoneAnswer(r ledger.ReviewRow) ledger.Answer {
	a := ledger.Answer{Ord: r.Ord, Holds: HoldsNot, Code: crm.CodeGivenBack, Message: r.Undone.String()}
	switch {
	case !r.Undone.Certain():
		a.Holds, a.Code = HoldsUnknown, crm.CodeInDoubt
	case r.Undone.Op.Action != crm.Share:
		a.Code = crm.CodeTakenAway
	case r.Op.Action == crm.Share:
		a.Code = crm.CodeDiffers
	}
	return a
}

// answerOf says what a look, or the state of a request, means for a row.
func answerOf(q ledger.Question, out crm.Outcome, seen crm.State) ledger.Answer {
	a := ledger.Answer{Ord: q.Ord, Holds: HoldsUnknown, Code: out.Code, Message: out.Message}
	switch {
	case q.Op.Action == crm.RevokeAll && len(q.Except) > 0 && seen.Looked:
		return besides(q, seen)
	case q.Op.Action == crm.Keep && seen.Looked:
		return keptAnswer(q, seen)
	case q.Op.Action == crm.Keep:
		a.Message = cmp.Or(a.Message, "the CRM did not say")
	case out.Status == crm.Done && seen.Looked:
		a.Holds = Holds
	case out.Status == crm.Done:
		a.Holds = Holds
		a.Message = crm.Join(out.Message, "the CRM has processed it, and does not show who has access now")
	case out.Status == crm.Failed:
		a.Holds = HoldsNot
	case seen.Looked:
		a.Holds = HoldsNot
		code, message := contradiction(q.Op, seen)
		if q.Status != crm.Accepted || a.Code == "" {
			a.Code = code
		}
		if a.Message = message; q.Status == crm.Accepted {
			a.Message = "accepted, and not so yet: " + message
		}
	default:
		if a.Message == "" {
			a.Message = "the CRM did not say"
		}
	}
	return a
}

// besides answers for a revoke_all after which the record was shared anew: nobody
// has it but those whom later rows are about.
func besides(q ledger.Question, seen crm.State) ledger.Answer {
	a := ledger.Answer{Ord: q.Ord, Holds: Holds}
	var others []crm.Grant
	for _, g := range seen.Grants {
		if g.Kind != crm.KindUser || !slices.Contains(q.Except, g.ID) {
			others = append(others, g)
		}
	}
	if len(others) > 0 {
		a.Holds, a.Code, a.Message = HoldsNot, crm.CodeGivenBack, "the record is shared with "+list(others)
	}
	return a
}

// keptAnswer answers for what was kept: whether the user, or everybody where the row names
// nobody, has the record still, in whatever way.
func keptAnswer(q ledger.Question, seen crm.State) ledger.Answer {
	a := ledger.Answer{Ord: q.Ord, Holds: Holds, Code: crm.CodeKept}
	if isAddress(q.Op.User) {
		a.Holds, a.Message = HoldsUnknown, fmt.Sprintf("the user list of the account has nobody, or more than one, with the address %q", q.Op.User)
		return a
	}
	var through []crm.Grant // groups and roles, of which nobody knows who is in them
	for _, g := range seen.Grants {
		switch {
		case g.Kind == crm.KindPublic, q.Op.User != "" && g.Kind == crm.KindUser && g.ID == q.Op.User:
			return a
		case g.Kind == crm.KindGroup || g.Kind == crm.KindRole:
			through = append(through, g)
		}
	}
	switch {
	case q.Op.User == "":
		a.Holds, a.Code, a.Message = HoldsNot, crm.CodeTakenAway, "the record is not shared with everybody any more"
	case len(through) > 0:
		a.Holds, a.Message = HoldsUnknown, "the user does not have it alone any more, and may have it as one of "+list(through)
	default:
		a.Holds, a.Code, a.Message = HoldsNot, crm.CodeTakenAway, "the user does not have it any more"
	}
	return a
}

// lookedFor returns the operation that a look for what was kept is made as: a look shows all
// who have the record.
func lookedFor(op crm.Operation) crm.Operation {
	if op.Action != crm.Keep {
		return op
	}
	if op.Action = crm.Revoke; op.User == "" {
		op.Action = crm.RevokeAll
	}
	return op
}

// contradiction says in what way a state is not what an operation asks for.
func contradiction(op crm.Operation, seen crm.State) (code, message string) {
	if op.Action == crm.RevokeAll {
		return crm.CodeGivenBack, "the record is shared with " + list(seen.Grants)
	}
	g, ok := direct(seen, op.User)
	switch {
	case op.Action == crm.Revoke && ok:
		return crm.CodeGivenBack, "the user has it: " + describe(g)
	case op.Action == crm.Revoke:
		return crm.CodeGivenBack, "the user has it"
	case !ok:
		return crm.CodeTakenAway, "the user does not have it"
	}
	return crm.CodeDiffers, "the user has it otherwise: " + describe(g)
}

// direct returns what a user has of a record by themselves.
func direct(seen crm.State, user string) (crm.Grant, bool) {
	i := slices.IndexFunc(seen.Grants, func(g crm.Grant) bool { return g.Kind == crm.KindUser && g.ID == user && g.Through == "" })
	if i < 0 {
		return crm.Grant{}, false
	}
	return seen.Grants[i], true
}

// describe says what a grant gives.
func describe(g crm.Grant) string {
	var parts []string
	if g.Access != crm.AccessUnset {
		parts = append(parts, g.Access.String())
	}
	if g.Related {
		parts = append(parts, "related records too")
	}
	if g.Permissions != 0 {
		parts = append(parts, g.Permissions.String())
	}
	if parts == nil {
		return "as a plain member"
	}
	return strings.Join(parts, ", ")
}

// mostNamed is how many of those who have a record a message names.
const mostNamed = 5

// list names those who have a record.
func list(grants []crm.Grant) string {
	var names []string
	for _, g := range grants[:min(len(grants), mostNamed)] {
		names = append(names, whoHas(g))
	}
	if more := len(grants) - mostNamed; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

func whoHas(g crm.Grant) string {
	name := strings.TrimSuffix(g.Kind+" "+g.ID, " ")
	if g.Kind == crm.KindPublic {
		name = "the whole organisation"
	}
	if g.Through != "" {
		name += " (through " + g.Through + ")"
	}
	return name
}
