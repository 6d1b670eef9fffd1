package zoho

import (
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// decision is the outcome of a row; one that is not decided is left open for another
// change to make it true.
type decision struct {
	out     crm.Outcome
	decided bool
	certain bool // the look says how it stands, whatever was lost before
}

func final(o crm.Outcome) decision { return decision{out: o, decided: true} }

// decide writes a row's outcome down. The first one counts.
func (w *recordCall) decide(r *row, v decision) {
	if !v.decided || r.decided {
		return
	}
	o := v.out
	o.Attempts = r.sent
	switch o.Verdict {
	case crm.Accepted:
		o.Ticket, o.Later = w.key(), w.p.verifyAfter
	case crm.Failed, crm.NotSent:
		o.Maybe = !v.certain && (o.Maybe || w.uncertain > 0 && r.sent > 0 || r.prior != crm.PriorNone)
	}
	r.out, r.decided = o, true
}

func (w *recordCall) decideAll(rows []*row, v decision) {
	for _, r := range rows {
		w.decide(r, v)
	}
}

// accept decides the rows of a write that the CRM accepted, or of a DELETE that found
// nothing any more: the confirming look says what has come of it.
func (w *recordCall) accept(rows []*row, c change, f finding) {
	w.accepted = true
	if c.verb == verbPut {
		w.notes.atRisk = "" // it has every bystander
	}
	w.p.pending.add(w.key(), c, time.Now())
	w.decideAll(rows, final(crm.Outcome{Verdict: crm.Accepted, HTTPStatus: f.Status, Code: f.Code, Message: f.Text}))
}

// ruled is the decision on a row as a look shows it.
func ruled(r *row, j ruling, status int) decision {
	o := crm.Outcome{Code: j.code, Message: j.message, HTTPStatus: status}
	switch {
	case j.standing == denied:
		o.Verdict, o.Happened = crm.Failed, j.happened
	case r.sent > 0:
		o.Verdict, o.Message = crm.Done, crm.Join("a look shows it, after an answer that did not say so", j.message)
	case r.prior != crm.PriorNone:
		o.Verdict, o.Message = crm.Done, crm.Join("sent before, and a look shows it", j.message)
	default:
		o.Verdict = crm.Unchanged
	}
	return decision{out: o, decided: true, certain: true}
}

// stuck is the decision on rows that a finding keeps from being taken any further: no
// look, no token, a busy record, or an account that has ended.
func stuck(f finding, b bounds, stopped bool) decision {
	o := crm.Outcome{Verdict: crm.NotSent, Code: f.Code, Message: f.Text, HTTPStatus: f.Status, Ended: f.Ended}
	switch {
	case f.Class == refused && b.usersOnly && versionUnknown(f.Code):
		o.Verdict, o.Code = crm.Failed, crm.CodeNeedsV8
		o.Message = "the list can not be looked at by API v8, and the older versions do not show groups and roles: " + f.Text
	case f.Class == refused:
		o.Verdict = crm.Failed
	case f.Class == busy:
		o.Later = busyFor
	case f.Ended == nil && !stopped:
		o.Later = comeBack
	}
	return final(o)
}

// versionUnknown says whether a code means that the API version does not exist.
func versionUnknown(code string) bool {
	return code == "API_NOT_SUPPORTED" || code == "INVALID_URL_PATTERN"
}

// annotate adds to a row's outcome that it was sent again, and what befell bystanders.
func (w *recordCall) annotate(r *row) {
	if v := r.out.Verdict; r.harm != "" && (v == crm.Done || v == crm.Failed) { // else it is found again
		r.out.Message, r.out.Lost = crm.Join(r.out.Message, r.harm), r.lost
		if r.out.Code == "" {
			r.out.Code = crm.CodeStayerLost
		}
	}
	if r.sent == 0 {
		return
	}
	if v := r.out.Verdict; v == crm.Accepted || v == crm.Failed {
		r.out.Message = crm.Join(r.out.Message, r.prior.SentAgain(w.uncertain > 0 && r.sent > 1))
	}
	code := w.notes.code
	if code == "" && w.notes.atRisk != "" {
		code = crm.CodeStayerRefused
	}
	r.out.Message = crm.Join(crm.Join(r.out.Message, w.notes.text), w.notes.atRisk)
	r.out.Lost = append(r.out.Lost, w.notes.lost...)
	if r.out.Code == "" {
		r.out.Code = code
	}
}
