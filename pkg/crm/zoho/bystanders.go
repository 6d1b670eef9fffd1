package zoho

import (
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Bystanders are those whom no row is about and who have the record. A PUT writes them
// back, and may fail to.

// notes are what befell bystanders.
type notes struct {
	text, code string
	lost       []crm.Grant // what was not given back
	atRisk     string      // who may have lost access, for as long as no look says otherwise
}

// add adds to the text. The first code counts.
func (n *notes) add(code, text string) {
	n.text = crm.Join(n.text, text)
	if n.code == "" {
		n.code = code
	}
}

// notGivenBack names those who could not be given back what they had.
func (n *notes) notGivenBack(missing []entry, why string) {
	text := "the change took the record from " + recipients(missing) + ", who were to keep it, and they could not be given it back"
	if why != "" {
		text += ": " + why
	}
	n.add(crm.CodeBystanderLost, text)
	n.lost = append(n.lost, grants(missing)...)
}

// risk tells of those who stay and whose entries were not accepted.
func (n *notes) risk(a attempt, what string) {
	if names := a.bystanders(func(r result) bool { return !r.ok() }); len(names) > 0 {
		n.atRisk = "the CRM refused to write back " + recipients(names) + " (" + string(firstRefusal(a.said).Message) + "), " + what
	}
}

// repairOf is the write that gives people what they had: a POST if they have nothing
// now, a PUT with everybody else as they are if one of them has something else.
func repairOf(list, missing []entry) change {
	among := func(e entry) bool {
		return e.direct() && slices.ContainsFunc(missing, func(m entry) bool { return m.kind == e.kind && m.id == e.id })
	}
	c := change{verb: verbPost}
	if slices.ContainsFunc(list, among) {
		c.verb = verbPut
		for _, e := range list {
			if e.direct() && !among(e) {
				c.entries = append(c.entries, e)
			}
		}
	}
	c.entries = append(c.entries, missing...)
	c.owner = slices.Repeat([]int{-1}, len(c.entries))
	return c
}

// lacking returns those of the entries that a list does not have as they were.
func lacking(list, entries []entry) []entry {
	var out []entry
	for _, e := range entries {
		if !slices.ContainsFunc(list, func(now entry) bool { return sameAccess(now, e) }) {
			out = append(out, e)
		}
	}
	return out
}

// harmed names those who had the record before a change that was to leave them
// alone, and do not have it now as they had it, and returns what they had. It can not
// tell whether the change was it, so that nobody is given anything back.
func harmed(list []entry, seen []crm.Grant) (text string, lost []crm.Grant) {
	var names []string
	for _, g := range seen {
		if g.Through != "" || hasAsWas(list, g) {
			continue // what comes through a parent is the parent's
		}
		name := strings.TrimSpace(g.Kind + " " + g.ID)
		if has(list, g) {
			name += " (has other access now)"
		}
		names, lost = append(names, name), append(lost, g)
	}
	if names == nil {
		return "", nil
	}
	return "since before the change these lost the record or what they might do with it, by it or by somebody else, and were not given it back: " + strings.Join(names, ", "), lost
}

// has says whether somebody who had a grant on the record itself has one in a list.
func has(list []entry, g crm.Grant) bool {
	return slices.ContainsFunc(list, func(e entry) bool {
		now := e.grant()
		return now.Through == "" && now.Kind == g.Kind && now.ID == g.ID
	})
}

// hasAsWas says whether they have what the grant gave.
func hasAsWas(list []entry, g crm.Grant) bool {
	return slices.ContainsFunc(list, func(e entry) bool {
		now := e.grant()
		return now.Through == "" && now.Kind == g.Kind && now.ID == g.ID && now.Access == g.Access && now.Related == g.Related
	})
}

// explain is what a row says of a write that was refused as a whole: because of whom,
// where that is somebody who is to keep the record. Of a list of nobody else, they all
// may be it.
func (c change) explain(f finding) string {
	if c.verb != verbPut || !divisible(f) {
		return f.Text
	}
	at, named := result{Details: f.details, said: no}.place(-1)
	switch {
	case named && at < len(c.entries) && c.owner[at] < 0:
		return refusesList("because of "+c.entries[at].name(), f.Text)
	case !named && len(c.bystanders()) == len(c.entries):
		return refusesList("and does not say because of whom ("+recipients(c.entries)+")", f.Text)
	}
	return f.Text
}

// refusesList says that a list was refused because of those who stay, and what would
// do it. They are not left out of it: what the CRM then does is not known.
func refusesList(because, said string) string {
	return "the CRM refuses the list of those who stay " + because + ": " + said +
		"; if they were deactivated or deleted, activate them for this run, or take the record from them with a row of their own, then run again"
}

// recipients names those whom entries are about.
func recipients(entries []entry) string {
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.name()
	}
	return strings.Join(names, ", ")
}
