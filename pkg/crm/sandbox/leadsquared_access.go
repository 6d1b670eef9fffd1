package sandbox

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// change takes a share or a revoke. What it asks for is noted as open from here
// until its client has the answer and it has taken effect.
func (l *leadSquared) change(x *exchange, kind string) reply {
	shares, wrong := l.entries(x, kind)
	if wrong != nil {
		return wrong.reply()
	}
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	now := l.cfg.Now()
	l.settle(now)
	x.change = &change{kind: kind, entries: shares}
	l.server.open.begin(x.change, now)
	if !x.fault.carriedOut() {
		return reply{}
	}
	for _, s := range shares {
		if wrong := l.possible(s, kind, now); wrong != nil {
			return wrong.reply()
		}
	}
	req := l.newRequest(x, now)
	if err := l.server.accept(req); err != nil {
		return textReply(http.StatusInternalServerError, "sandbox: write journal: "+err.Error())
	}
	l.add(req)
	x.change.due, x.change.never = req.Due, req.Never
	return jsonReply(http.StatusOK, accepted(req.ID))
}

// possible says why an entry cannot be taken, nil if it can.
func (l *leadSquared) possible(s Share, kind string, now time.Time) *exception {
	if l.cfg.Closed {
		if wrong := l.exists(s); wrong != nil {
			return wrong
		}
	}
	if p, known := l.people.find(s.User); known && kind == kindShare && p.Role != roleSales {
		return l.invalid("Parameter Name: UserId is not a sales user")
	}
	if kind == kindRevoke && l.cfg.RefuseAbsent && !now.Before(l.held[s.target()].until) {
		return l.invalid("%s %s is not shared with the user", s.Object, s.Record)
	}
	return nil
}

func (l *leadSquared) exists(s Share) *exception {
	if _, ok := l.people.find(s.User); !ok {
		return l.unknown("MXUnknownUserException", "User", s.User)
	}
	if !l.records[s.Object+"/"+s.Record] {
		if s.Object == crm.Lead {
			return l.unknown("MXUnknownLeadException", "Lead", s.Record)
		}
		return l.unknown("MXUnknownOpportunityException", "Opportunity", s.Record)
	}
	if s.Object == crm.Lead && !l.records["activity/"+s.Context] {
		return l.unknown("MXUnknownProspectActivityException", "Activity", s.Context)
	}
	return nil
}

// newRequest makes the request that an exchange is accepted as, with what its
// fault has in store for it.
func (l *leadSquared) newRequest(x *exchange, now time.Time) *request {
	var id [16]byte
	rand.Read(id[:])
	req := &request{
		ID: hex.EncodeToString(id[:]), At: now, Due: now.Add(max(0, l.cfg.Processing())),
		Kind: x.change.kind, Entries: x.change.entries,
	}
	switch {
	case x.fault.is(FaultNeverProcess):
		req.Never = true
	case x.fault.is(FaultProcessFailed):
		req.Fails = x.fault.Text
		if req.Fails == "" {
			req.Fails = "The request could not be processed."
		}
	case x.fault.is(FaultUnlisted):
		req.Stuck = x.fault.Code
		if req.Stuck == 0 {
			req.Stuck = 9
		}
	}
	return req
}

// status tells what has become of a request. An Id that is not known is an
// exception; what the vendor does with one is unknown.
func (l *leadSquared) status(x *exchange) reply {
	id := x.query.Get("id")
	if id == "" {
		return l.missing("id").reply()
	}
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	now := l.cfg.Now()
	l.settle(now)
	req, ok := l.byID[id]
	if !ok {
		return l.invalid("Parameter Name: id").reply()
	}
	view := l.view(req, now)
	rep := statusReply{Status: "Success", ShareStatus: view.Status, ErrorMessage: orNull(view.Error)}
	switch {
	case view.Error != "":
		rep.Message.ResponseText = "Request failed."
	case view.Status == l.cfg.Success:
		rep.Message.ResponseText = "Request processed successfully."
	default:
		rep.Message.ResponseText = "Request is in progress."
	}
	return jsonReply(http.StatusOK, rep)
}
