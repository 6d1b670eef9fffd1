package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// sentJob is a change of a Zoho record, and madeList a record's list as somebody else
// made it, as the sandbox's journal has them.
type sentJob struct {
	Key, Verb string
	Entries   []crm.Grant
}

type madeList struct {
	Module, Record string
	Grants         []crm.Grant
}

// readJournal reads the sandbox's journal: the changes of Zoho records that it accepted,
// and the lists that were made by others meanwhile.
func (w *nightWorld) readJournal() (jobs []sentJob, lists []madeList) {
	w.t.Helper()
	data, err := os.ReadFile(w.journal)
	must(w.t, err)
	for line := range bytes.Lines(data) {
		var rec struct {
			Zoho *struct {
				Job  *sentJob
				List *madeList
			}
		}
		must(w.t, json.Unmarshal(line, &rec))
		if rec.Zoho != nil && rec.Zoho.Job != nil {
			jobs = append(jobs, *rec.Zoho.Job)
		}
		if rec.Zoho != nil && rec.Zoho.List != nil {
			lists = append(lists, *rec.Zoho.List)
		}
	}
	return jobs, lists
}

// checkSent holds every change that the CRM accepted tonight to a row that asks for
// it.
func (n *night) checkSent() {
	n.w.t.Helper()
	for _, req := range n.w.server.Requests()[n.w.asked:] {
		for _, e := range req.Entries {
			if !slices.ContainsFunc(n.asked, func(r readRow) bool { return n.asks(r, req.Kind, e) }) {
				n.problem("nobody asked for %s %+v", req.Kind, e)
			}
		}
	}
	jobs, lists := n.w.readJournal()
	lists = lists[n.w.lists:]
	for i, job := range jobs[n.w.jobs:] {
		n.checkJob(job, jobs[n.w.jobs:][:i], lists)
	}
}

// asks says that a row of LeadSquared asks for an entry of a request.
func (n *night) asks(r readRow, kind string, e sandbox.Share) bool {
	if r.cell["action"] != kind || n.w.place(r) != userOn(e.Object, e.Record, e.Context, e.User) {
		return false
	}
	switch {
	case e.Object != crm.SalesGroup:
		return r.cell["access"] == e.Access.String()
	case kind == "share":
		return level(r) == "member "+e.Permissions.String()
	}
	return true
}

// checkJob holds a change of a Zoho record to the sheet: whom it names is named by a
// row at this level, or had exactly this already.
func (n *night) checkJob(job sentJob, earlier []sentJob, lists []madeList) {
	n.w.t.Helper()
	object, record, _ := strings.Cut(job.Key, "/")
	about := place{object: object, record: record}
	standing := map[string]bool{} // who, and at which level, has stood there tonight
	had := map[string]bool{}      // who has stood there directly
	note := func(g crm.Grant) {
		who := g.Kind + " " + g.ID
		standing[fmt.Sprintf("%s %v %t", who, g.Access, g.Related)] = true
		if g.Through == "" {
			had[who] = true
		}
	}
	for p, level := range n.w.state {
		if sameRecord(p, about) {
			standing[p.who+" "+level] = true
			had[p.who] = !strings.Contains(p.who, " through ")
		}
	}
	for _, l := range lists {
		if l.Module == object && l.Record == record {
			for _, g := range l.Grants {
				note(g)
			}
		}
	}
	for _, e := range earlier {
		if e.Key == job.Key {
			for _, g := range e.Entries {
				note(g)
			}
		}
	}
	rows := slices.DeleteFunc(slices.Clone(n.asked), func(r readRow) bool { return !sameRecord(n.w.place(r), about) })
	if job.Verb == http.MethodDelete {
		for who := range had {
			if had[who] && !slices.ContainsFunc(rows, func(r readRow) bool { return wholeRecord(r) || r.cell["action"] == "revoke" && n.w.place(r).who == who }) {
				n.problem("%s: everybody was revoked, and no row is about %s", job.Key, who)
			}
		}
		return
	}
	for _, g := range job.Entries {
		have := fmt.Sprintf("%v %t", g.Access, g.Related)
		who := g.Kind + " " + g.ID
		if standing[who+" "+have] {
			continue
		}
		if !slices.ContainsFunc(rows, func(r readRow) bool {
			return r.cell["action"] == "share" && n.w.place(r).who == who && gives(r, have)
		}) {
			n.problem("%s %s: no row gives %s %q", job.Verb, job.Key, who, have)
		}
	}
}

// checkRepeats holds what LeadSquared accepted twice to the row saying so. It is about
// leads and opportunities of which no sheet of the ledger has had more than one row:
// of those there is one to send.
func (n *night) checkRepeats() {
	n.w.t.Helper()
	for _, r := range n.results {
		p := n.w.place(r)
		if o := r.cell["object"]; o != "lead" && o != "opportunity" || r.cell["result"] != "done" || !n.single(p) {
			continue
		}
		var before *sandbox.Request
		for i, req := range n.w.server.Requests()[n.sheet.since:len(n.w.senders)] {
			e := req.Entries[0]
			if userOn(e.Object, e.Record, e.Context, e.User) != p || req.Status == 7 || n.w.senders[n.sheet.since+i] != n.sheet.ledger {
				continue // about somebody else, or refused in the end, or another sheet's
			}
			again := before != nil && before.Kind == req.Kind && before.Entries[0].Access == e.Access && !n.w.touchedBetween(p, before.At, req.At)
			if again && r.cell["request_id"] == req.ID && !strings.Contains(r.cell["message"], "sent again") {
				n.problem("line %s was sent again and does not say so: %q", r.cell["line"], r.fields)
			}
			before = &req
		}
	}
}

// single says that every sheet of the ledger has at most one row about a place, and
// that they are equal.
func (n *night) single(p place) bool {
	asks := ""
	for _, rows := range n.sheet.known {
		count := 0
		for _, r := range rows {
			if n.w.place(r) != p {
				continue
			}
			count++
			if text := r.cell["action"] + level(r); asks == "" || asks == text {
				asks = text
			} else {
				return false
			}
		}
		if count > 1 {
			return false
		}
	}
	return true
}

// touchedBetween says that others, or a sheet of another ledger, have changed an access.
func (w *nightWorld) touchedBetween(p place, from, to time.Time) bool {
	return slices.ContainsFunc(w.touched[p], func(t touch) bool {
		return t.by != w.main.ledger && t.at.After(from) && t.at.Before(to.Add(time.Minute))
	})
}
