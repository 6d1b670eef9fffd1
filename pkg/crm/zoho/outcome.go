package zoho

import (
	"cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
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
	switch o.Status {
	case crm.Accepted:
		o.Ticket, o.Later = w.key(), w.p.verifyAfter
	case crm.Failed, crm.Pending:
		o.Uncertain = !v.certain && (o.Uncertain || w.uncertain > 0 && r.sent > 0 || r.prior != crm.PriorNone)
	}
	r.out, r.decided = o, true
}

func (w *recordCall) decideAll(rows []*row, v decision) {
	for _, r := range rows {
		w.decide(r, v)
	}
}

// ruled is the decision on a row as a look shows it.
func ruled(r *row, j ruling, status int) decision {
	o := crm.Outcome{Code: j.code, Message: j.message, HTTPStatus: status}
	switch {
	case j.standing == denied:
		o.Status, o.Happened = crm.Failed, j.happened
	case r.sent > 0:
		o.Status, o.Message = crm.Done, crm.Join("a look shows it, after an answer that did not say so", j.message)
	case r.prior != crm.PriorNone:
		o.Status, o.Message = crm.Done, crm.Join("sent before, and a look shows it", j.message)
	default:
		o.Status = crm.Unchanged
	}
	return decision{out: o, decided: true, certain: true}
}

// stuck is the decision on rows that a finding keeps from being taken any further: no
// look, no token, a busy record, or an account that has ended.
func stuck(f finding, b bounds, stopped bool) decision {
	o := crm.Outcome{Status: crm.Pending, Code: f.Code, Message: f.Text, HTTPStatus: f.Status, Ended: f.Ended}
	switch {
	case f.Class == refused && b.usersOnly && (f.Code == "API_NOT_SUPPORTED" || f.Code == "INVALID_URL_PATTERN"): // it knows no v8
		o.Status, o.Code = crm.Failed, crm.CodeNeedsV8
		o.Message = "the list can not be looked at by API v8, and the older versions do not show groups and roles: " + f.Text
	case f.Class == refused:
		o.Status = crm.Failed
	case f.Class == busy:
		o.Later = busyFor
	case f.Ended == nil && !stopped:
		o.Later = transport.ComeBack
	}
	return final(o)
}

// annotate adds to a row's outcome that it was sent again, and what befell bystanders.
func (w *recordCall) annotate(r *row) {
	o := &r.out
	if r.harm != "" && (o.Status == crm.Done || o.Status == crm.Failed) { // else it is found again
		o.Message, o.Lost, o.Code = crm.Join(o.Message, r.harm), r.lost, cmp.Or(o.Code, crm.CodeBystanderLost)
	}
	if r.sent == 0 {
		return
	}
	if o.Status == crm.Accepted || o.Status == crm.Failed {
		o.Message = crm.Join(o.Message, r.prior.SentAgain(w.uncertain > 0 && r.sent > 1))
	}
	o.Message = crm.Join(crm.Join(o.Message, w.notes.text), w.notes.atRisk)
	o.Lost = append(o.Lost, w.notes.lost...)
	if o.Code = cmp.Or(o.Code, w.notes.code); o.Code == "" && w.notes.atRisk != "" {
		o.Code = crm.CodeBystanderRefused
	}
}
