package leadsquared

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// mostLost is how many answers to one change may be lost before it is given up.
const mostLost = 3

// work is one Do: what its parts have in common.
type work struct {
	p      *Provider
	callID string
	j      crm.Journal
	items  []crm.Item // in the form that Check gives them
	out    []crm.Outcome
	// ended is why the account can do no more; later parts are not sent.
	ended *crm.AccountError
}

// part is the rows of a call that go out in one body, by their place in it.
type part struct {
	at []int
	// sent and lost count, for each of its rows, how often the change was sent, and
	// how many of the answers were lost. Parts of a part inherit them.
	sent, lost int
	again      bool // sent again after a lost answer
}

// of returns a part that has some of the rows.
func (pt part) of(at []int) part {
	pt.at = at
	return pt
}

// Do shares and revokes. Revokes of one kind of object go together, up to
// Config.MaxEntries in one body; a share goes alone; changes of a sales group go
// together, after one look. A body that the CRM refuses as a whole is split in
// halves and sent again until the refusal lands on its row. See crm.Provider for
// what it promises.
func (p *Provider) Do(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
	w := &work{p: p, callID: call.ID, j: j, items: slices.Clone(call.Items), out: make([]crm.Outcome, len(call.Items))}
	for _, at := range w.parts() {
		if w.items[at[0]].Op.Object == crm.SalesGroup {
			w.group(ctx, part{at: at})
		} else {
			w.access(ctx, part{at: at})
		}
	}
	return w.out
}

// parts says which items go together. Those that are not to be sent get their outcome
// and go nowhere.
func (w *work) parts() [][]int {
	var parts [][]int
	open := map[string]int{} // the part that still takes items of a name
	for n, item := range w.items {
		op, err := crm.Sendable(w.p, item.Op)
		if err != nil {
			w.out[n] = crm.Invalid(err)
			continue
		}
		if o, sent := sentAlready(item, op); sent {
			w.out[n] = o
			continue
		}
		w.items[n].Op = op
		name, most := w.p.Bundle(op)
		if op.Object == crm.SalesGroup {
			name, most = op.Object+"/"+op.Record, len(w.items)
		}
		if i, ok := open[name]; ok && len(parts[i]) < most {
			parts[i] = append(parts[i], n)
			continue
		}
		open[name] = len(parts)
		parts = append(parts, []int{n})
	}
	return parts
}

// sentAlready is the outcome of a share that an earlier run has sent, and that must not
// be sent again.
func sentAlready(item crm.Item, op crm.Operation) (o crm.Outcome, sent bool) {
	if repeatable(op) {
		return o, false
	}
	switch item.Prior {
	case crm.PriorUnanswered:
		o = crm.Outcome{Code: crm.CodeNoAnswer, Message: "sent earlier, and its answer was lost; a share is not sent again"}
	case crm.PriorUncertain:
		o = crm.Outcome{Code: crm.CodeNoAnswer, Message: "sent earlier, and nothing says whether it took effect; a share is not sent again"}
	case crm.PriorAccepted:
		o = crm.Outcome{
			Status: crm.Accepted, RequestID: item.Ticket, Ticket: item.Ticket,
			Message: "accepted earlier and still unconfirmed; a share is not sent again",
		}
	default:
		return o, false
	}
	return o, true
}

// repeatable says whether a change may be sent again after a lost answer. Sharing
// a lead or an opportunity twice may extend or duplicate the share; revoking twice
// ends where revoking once does, and members of a group can be looked up.
func repeatable(op crm.Operation) bool {
	return op.Action == crm.Revoke || op.Object == crm.SalesGroup
}

// access sends a part of leads or opportunities until every row of it has its outcome.
func (w *work) access(ctx context.Context, pt part) {
	entries := make([]entry, len(pt.at))
	for i, n := range pt.at {
		entries[i] = newEntry(w.items[n].Op)
	}
	name := "Revoke"
	if w.items[pt.at[0]].Op.Action == crm.Share {
		name = "Share"
	}
	// LeadSquared shows nobody who has a share: the state before is unknown.
	req := w.post("EntityAccess."+name, "/v2/EntityAccess.svc/"+name, entries, crm.State{})
	for {
		f := w.attempt(ctx, kindAccess, &pt, req)
		switch {
		case f.Class == transport.Refused && len(pt.at) > 1:
			m := len(pt.at) / 2
			w.access(ctx, pt.of(pt.at[:m]))
			w.access(ctx, pt.of(pt.at[m:]))
			return
		case f.Class == transport.Uncertain && w.again(ctx, pt):
			continue
		}
		w.finish(ctx, pt, f, f.id)
		return
	}
}

// post builds a change. The body holds only what Check has passed.
func (w *work) post(op, path string, body any, before crm.State) transport.Request {
	raw, _ := json.Marshal(body) // texts, numbers and flags: it can not fail
	return transport.Request{
		Op: op, CallID: w.callID, Method: http.MethodPost, Path: path, Body: raw,
		Before: func(ctx context.Context) error { return w.j.Intend(ctx, before) },
	}
}

// attempt sends a change until something other than a rate-limit refusal comes of
// it. A refused attempt had no effect, so it is repeated for shares too; the gate
// holds each one back, and ends the account where refusals do not end.
func (w *work) attempt(ctx context.Context, k kind, pt *part, req transport.Request) finding {
	for {
		switch {
		case w.ended != nil:
			return finding{Finding: transport.Over(w.ended)}
		case ctx.Err() != nil:
			return finding{Finding: transport.Stopped(ctx)}
		}
		r, err := w.p.client.Send(ctx, req)
		f := w.p.clean(classify(k, r, err))
		if f.Class == transport.Throttled {
			continue
		}
		if f.Attempted {
			pt.sent++
			pt.again = pt.again || pt.lost > 0
		}
		if f.Class == transport.Uncertain {
			pt.lost++
		}
		if f.Ended != nil {
			w.ended = f.Ended
		}
		return f
	}
}

// again says whether a change whose answer was lost is to be sent again, after a
// pause. The first item speaks for all of its part.
func (w *work) again(ctx context.Context, pt part) bool {
	return repeatable(w.items[pt.at[0]].Op) && w.ended == nil && pt.lost < mostLost && w.p.client.Backoff(ctx, pt.lost)
}

// finish writes down what a finding means for every row of a part.
func (w *work) finish(ctx context.Context, pt part, f finding, ticket string) {
	for _, n := range pt.at {
		item := w.items[n]
		o := crm.Outcome{Code: f.Code, Message: f.Text, HTTPStatus: f.Status, Attempts: pt.sent, Ended: f.Ended}
		earlier := pt.lost > 0 || item.Prior != crm.PriorNone
		switch f.Class {
		case transport.Accepted:
			o.Status, o.RequestID, o.Ticket = crm.Accepted, f.id, ticket
		case transport.Refused:
			o.Status, o.Uncertain = crm.Failed, earlier
		case transport.Unsent, transport.Ended:
			o.Status, o.Uncertain = crm.Pending, earlier || f.uncertain
			if f.Class == transport.Unsent && ctx.Err() == nil {
				o.Later = transport.ComeBack
			}
		default:
			// The last answer was lost. What must not be repeated stays Unknown; what had no
			// chance to be repeated, because the run or the account ended, is still to be done.
			if !repeatable(item.Op) {
				o.Message = "sent, and no answer says whether it was done: " + f.Text
				break
			}
			o.Status, o.Uncertain = crm.Failed, true
			if ctx.Err() != nil || f.Ended != nil {
				o.Status = crm.Pending
			}
			o.Message = "no answer says whether it was done, the last was: " + f.Text + "; running again tries again"
		}
		o.Message = labelled(o.Message, item, pt)
		w.out[n] = o
	}
}

// labelled adds to the text of an outcome that its change was sent again, and why.
func labelled(s string, item crm.Item, pt part) string {
	if pt.sent == 0 {
		return s
	}
	return crm.Join(s, item.Prior.SentAgain(pt.again))
}
