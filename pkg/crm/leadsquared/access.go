package leadsquared

import (
	"context"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// Do shares and revokes. Revokes of one kind of object go together, up to
// Config.MaxEntries in one body; a share goes alone; changes of a sales group go
// together, after one look. A body that the CRM refuses as a whole is split in
// halves and sent again until the refusal lands on its row. See crm.Provider for
// what it promises.
func (p *Provider) Do(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
	out := make([]crm.Outcome, len(call.Items))
	w := &work{p: p, callID: call.ID, j: j}
	items := slices.Clone(call.Items)
	for _, at := range p.parts(items, out) {
		pt := &part{items: make([]crm.Item, len(at)), out: make([]crm.Outcome, len(at))}
		for i, n := range at {
			pt.items[i] = items[n]
		}
		if pt.items[0].Op.Object == crm.SalesGroup {
			w.group(ctx, pt)
		} else {
			w.access(ctx, pt)
		}
		for i, n := range at {
			out[n] = pt.out[i]
		}
	}
	return out
}

// parts says which items go together, by their place in the call, and brings each
// into the form that Check gives it. Items that are not to be
// sent get their outcome and go nowhere.
func (p *Provider) parts(items []crm.Item, out []crm.Outcome) [][]int {
	var parts [][]int
	open := map[string]int{} // the part that still takes items of a name
	for n, item := range items {
		op, err := crm.Sendable(p, item.Op)
		if err != nil {
			out[n] = crm.Invalid(err)
			continue
		}
		if o, sent := sentAlready(item, op); sent {
			out[n] = o
			continue
		}
		items[n].Op = op
		name, most := p.Bundle(op)
		if op.Object == crm.SalesGroup {
			name, most = op.Object+"/"+op.Record, len(items)
		}
		if i, ok := open[name]; ok && most > 1 && len(parts[i]) < most {
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
func sentAlready(item crm.Item, op crm.Operation) (crm.Outcome, bool) {
	o := crm.Outcome{Verdict: crm.Unknown, Code: crm.CodeNoAnswer}
	switch {
	case repeatable(op):
		return crm.Outcome{}, false
	case item.Prior == crm.PriorLost:
		o.Message = "sent earlier, and its answer was lost; a share is not sent again"
	case item.Prior == crm.PriorUncertain:
		o.Message = "sent earlier, and nothing says whether it took effect; a share is not sent again"
	case item.Prior == crm.PriorAccepted:
		o = crm.Outcome{
			Verdict: crm.Accepted, RequestID: item.Ticket, Ticket: item.Ticket,
			Message: "accepted earlier and still unconfirmed; a share is not sent again",
		}
	default:
		return crm.Outcome{}, false
	}
	return o, true
}

// access sends a part of leads or opportunities until every row of it is settled.
func (w *work) access(ctx context.Context, pt *part) {
	entries := make([]entry, len(pt.items))
	for i, item := range pt.items {
		entries[i] = newEntry(item.Op)
	}
	op, path := "EntityAccess.Revoke", "/v2/EntityAccess.svc/Revoke"
	if pt.items[0].Op.Action == crm.Share {
		op, path = "EntityAccess.Share", "/v2/EntityAccess.svc/Share"
	}
	// LeadSquared shows nobody who has a share: the state before is unknown.
	req := w.post(op, path, entries, crm.State{})
	for {
		f := w.attempt(ctx, kindAccess, pt, req)
		switch {
		case f.Class == transport.Refused && len(pt.items) > 1:
			for _, half := range pt.split() {
				w.access(ctx, half)
			}
			return
		case f.Class == transport.Uncertain && w.again(ctx, pt):
			continue
		}
		w.settle(ctx, pt, f, f.id)
		return
	}
}

// again says whether a change whose answer was lost is to be sent again, after a
// pause. The first item speaks for all of its part.
func (w *work) again(ctx context.Context, pt *part) bool {
	return repeatable(pt.items[0].Op) && w.ended == nil && pt.lost < mostLost &&
		w.p.client.Backoff(ctx, pt.lost)
}
