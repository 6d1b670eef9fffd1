package zoho

import (
	"context"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// settle writes a row's outcome down. The first one counts.
func (w *work) settle(r *row, o crm.Outcome) {
	if r.settled {
		return
	}
	o.Attempts = r.sent
	if o.Verdict == crm.Failed || o.Verdict == crm.NotSent {
		o.Maybe = w.lost > 0 && r.sent > 0 || r.prior != crm.PriorNone
	}
	r.out, r.settled = o, true
}

// rule settles a row as a look shows it.
func (w *work) rule(r *row, j ruling, status int) {
	o := crm.Outcome{Code: j.code, Message: j.message, HTTPStatus: status}
	switch {
	case j.standing == denied:
		o.Verdict = crm.Failed
	case r.sent > 0:
		o.Verdict, o.Message = crm.Done, crm.Join("a look shows it, after an answer that did not say so", j.message)
	case r.prior != crm.PriorNone:
		o.Verdict, o.Message = crm.Done, crm.Join("sent before, and a look shows it", j.message)
	default:
		o.Verdict = crm.Unchanged
	}
	w.settle(r, o)
	if j.standing == denied {
		r.out.Maybe = false // the look says how it stands
	}
}

// unlooked settles rows that a finding keeps from being taken any further: no look,
// no token, a busy record, or an account that has ended.
func (w *work) unlooked(ctx context.Context, rows []*row, f finding) {
	o := crm.Outcome{Verdict: crm.NotSent, Code: f.code, Message: f.text, HTTPStatus: f.status, Ended: f.ended}
	switch {
	case f.class == refused && w.p.dialect.userKey && versionUnknown(f.code):
		o.Verdict, o.Code = crm.Failed, codeNeedsV8
		o.Message = "the list can not be looked at by API v8, and the older versions do not show groups and roles: " + f.text
	case f.class == refused:
		o.Verdict = crm.Failed
	case f.class == busy:
		o.Later = busyFor
	case f.ended == nil && ctx.Err() == nil:
		o.Later = comeBack
	}
	for _, r := range rows {
		w.settle(r, o)
	}
}

// versionUnknown says whether a code means that the API version does not exist.
func versionUnknown(code string) bool {
	return code == "API_NOT_SUPPORTED" || code == "INVALID_URL_PATTERN"
}

// refused settles the rows of a write that was refused as a whole, or returns the
// parts in which to try again: the revokes without the shares, which can not be at
// fault then, and after them the shares in halves, down to the one that is.
func (w *work) refused(rows []*row, c change, f finding) [][]*row {
	if len(rows) > 1 && divisible(f) {
		var revokes, shares []*row
		for _, r := range rows {
			if r.op.Action == crm.Share {
				shares = append(shares, r)
			} else {
				revokes = append(revokes, r)
			}
		}
		switch {
		case len(revokes) > 0 && len(shares) > 0:
			return [][]*row{revokes, shares}
		case len(shares) > 1:
			m := len(shares) / 2
			return [][]*row{shares[:m], shares[m:]}
		}
	}
	for _, r := range rows {
		w.settle(r, crm.Outcome{Verdict: crm.Failed, Code: f.code, Message: c.explain(f), HTTPStatus: f.status})
	}
	return nil
}

// divisible says whether a request that was refused could be taken with fewer
// entries. What is about the caller, the module or the record is not.
func divisible(f finding) bool {
	switch strings.ToUpper(f.code) {
	case "SHARE_LIMIT_EXCEEDED", "LIMIT_EXCEEDED", "DUPLICATE_DATA", "MANDATORY_NOT_FOUND", "AMBIGUITY_DURING_PROCESSING", "BAD_REQUEST", "CANNOT_PROCESS":
		return true
	case "INVALID_DATA":
		said := strings.ToUpper(f.text)
		return !strings.Contains(said, "ENTITY_ID_INVALID") && !strings.Contains(said, "SHARED RECORD CANNOT")
	}
	return false
}

// annotate adds to a row's outcome that it was sent again, and what befell others.
func (w *work) annotate(r *row) {
	if v := r.out.Verdict; r.harm != "" && (v == crm.Done || v == crm.Failed) { // else it is found again
		r.out.Message, r.out.Alarm = crm.Join(r.out.Message, r.harm), true
		if r.out.Code == "" {
			r.out.Code = codeStayer
		}
	}
	if r.sent == 0 {
		return
	}
	switch {
	case r.out.Verdict != crm.Accepted && r.out.Verdict != crm.Failed:
	case r.prior == crm.PriorAccepted:
		r.out.Message = crm.Join(r.out.Message, "sent again after it stayed unconfirmed")
	case r.prior == crm.PriorLost, r.prior == crm.PriorRedo, w.lost > 0 && r.sent > 1:
		r.out.Message = crm.Join(r.out.Message, "sent again after a lost answer")
	case r.prior == crm.PriorUncertain:
		r.out.Message = crm.Join(r.out.Message, "sent again, as an earlier sending may have taken effect")
	}
	code := w.noteCode
	if code == "" && w.atRisk != "" {
		code = codeAtRisk
	}
	r.out.Message = crm.Join(crm.Join(r.out.Message, w.note), w.atRisk)
	r.out.Alarm = r.out.Alarm || w.noteCode == codeStayer
	if r.out.Code == "" {
		r.out.Code = code
	}
}

// findHarmed notes, at the first look, who has lost something since a row was sent
// earlier. That change was to leave them alone, and whoever sent it did not come to
// see what it did.
func (w *work) findHarmed(list []entry, rows []*row) {
	for _, r := range rows {
		if len(r.stay) > 0 {
			r.harm, r.stay = harmed(list, r.stay), nil
		}
	}
}
