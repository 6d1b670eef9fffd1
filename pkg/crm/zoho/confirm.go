package zoho

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Confirm looks at the record of the items, which is their ticket, and judges each
// of them by what it asked for. A revoke is Done when the user has no share on the
// record itself any more, and Failed with the code inherited if the record is theirs
// through a parent still; groups and roles that have the record are a message. A
// share is Done when the user has what was asked for. A revoke_all is Done when
// nobody has a share. An outcome that ends the matter names those of Item.Bystanders who are no
// longer there as they were, with what they have lost. Whatever is not so yet, or could
// not be looked at, is Accepted with the reason.
//
// The state is that of the last of the items' records, of which there should be one.
func (p *Provider) Confirm(ctx context.Context, items []crm.Item) ([]crm.Outcome, crm.State) {
	out := make([]crm.Outcome, len(items))
	var seen crm.State
	looks := map[string]finding{}
	for n, item := range items {
		op, err := crm.Sendable(p, item.Op)
		if err != nil {
			out[n] = crm.Invalid(err)
			continue
		}
		f, ok := looks[key(op)]
		if !ok {
			look := func(ctx context.Context, object, record string) finding { return p.look(ctx, "", object, record) }
			if p.composite != nil {
				look = p.composite.look
			}
			f = look(ctx, op.Object, op.Record)
			looks[key(op)], seen = f, crm.State{}
			if f.Class == shown {
				seen = crm.State{Looked: true, Grants: grants(f.list)}
				p.pending.hides(key(op), f.list, time.Now(), true) // what is seen, the next write need not wait for
			}
		}
		out[n] = confirmed(op, item, f)
	}
	return out, seen
}

// confirmed is what a look says of an accepted operation.
func confirmed(op crm.Operation, item crm.Item, f finding) crm.Outcome {
	o := crm.Outcome{Status: crm.Accepted, Ticket: item.Ticket, Code: f.Code, Message: f.Text, HTTPStatus: f.Status, Ended: f.Ended}
	if f.Class == busy {
		o.Later = busyFor
	}
	if f.Class != shown {
		return o
	}
	list := f.list
	if item.Prior == crm.PriorSuperseded {
		list = slices.DeleteFunc(slices.Clone(list), func(e entry) bool {
			return e.isUser(op.User) || op.Action == crm.RevokeAll && e.through == ""
		})
	}
	harm, lost := harmed(f.list, item.Bystanders)
	j := judge(list, op)
	o.Code, o.Message = j.code, j.message
	switch j.standing {
	case so:
		o.Status, o.Ticket = crm.Done, ""
	case denied:
		o.Status, o.Ticket, o.Happened = crm.Failed, "", true
	default:
		if o.Code = crm.CodeNotYet; item.Ticket == "" { // else the change is not in force yet
			o.Lost = lost
		}
		return o
	}
	if harm != "" {
		o.Message, o.Lost, o.Code = crm.Join(o.Message, harm), lost, cmp.Or(o.Code, crm.CodeBystanderLost)
	}
	return o
}
