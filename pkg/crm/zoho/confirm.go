package zoho

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Confirm looks at the record of the items, which is their ticket, and judges each
// of them by what it asked for. A revoke is Done when the user has no share on the
// record itself any more, and Failed with the code inherited if the record is theirs
// through a parent still; groups and roles that have the record are a message. A
// share is Done when the user has what was asked for. A revoke_all is Done when
// nobody has a share. An outcome that ends the matter names those of Item.Stay who
// are no longer there as they were, with an alarm. Whatever is not so yet, or could not be looked at, is Accepted
// with the reason.
func (p *Provider) Confirm(ctx context.Context, items []crm.Item) []crm.Outcome {
	out, _ := p.Look(ctx, items)
	return out
}

// Ticket is the record: a look at its list tells of every operation on it.
func (p *Provider) Ticket(op crm.Operation) string { return key(op) }

// Look is Confirm, and returns the list that it is based on: that of the last of
// the items' records, of which there should be one.
func (p *Provider) Look(ctx context.Context, items []crm.Item) ([]crm.Outcome, crm.State) {
	out := make([]crm.Outcome, len(items))
	var seen crm.State
	looks := map[string]finding{}
	for n, item := range items {
		op, err := check(item.Op)
		if err != nil || strings.Contains(op.User, "@") {
			out[n] = unsendable(err)
			continue
		}
		f, ok := looks[key(op)]
		if !ok {
			f = p.confirmingLook(ctx, op)
			looks[key(op)], seen = f, crm.State{}
			if f.class == shown {
				seen = stateOf(f.list)
			}
		}
		out[n] = confirmed(op, item, f)
	}
	return out, seen
}

// Rewrites is true: a PUT replaces the whole list of a record.
func (p *Provider) Rewrites(crm.Operation) bool { return true }

// confirmingLook looks at a record, with the looks at others if that is set.
func (p *Provider) confirmingLook(ctx context.Context, op crm.Operation) finding {
	var f finding
	if p.together != nil {
		f = p.together.look(ctx, op.Object, op.Record)
	} else {
		f = p.look(ctx, "", op.Object, op.Record)
	}
	if f.class == shown {
		// What this look shows need not be waited for by the next write.
		p.recent.pending(key(op), f.list, time.Now())
	}
	return f
}

// confirmed is what a look says of an accepted operation.
func confirmed(op crm.Operation, item crm.Item, f finding) crm.Outcome {
	o := crm.Outcome{Verdict: crm.Accepted, Ticket: item.Ticket, Code: f.code, Message: f.text, HTTPStatus: f.status, Ended: f.ended}
	if f.class == busy {
		o.Later = busyFor
	}
	if f.class != shown {
		return o
	}
	j := judge(f.list, op)
	o.Code, o.Message = j.code, j.message
	switch j.standing {
	case so:
		o.Verdict, o.Ticket = crm.Done, ""
	case denied:
		o.Verdict, o.Ticket = crm.Failed, ""
	default:
		o.Code = codeNotYet
		return o
	}
	if harm := harmed(f.list, item.Stay); harm != "" {
		o.Message, o.Alarm = crm.Join(o.Message, harm), true
		if o.Code == "" {
			o.Code = codeStayer
		}
	}
	return o
}

// harmed names those who had the record before a change that was to leave them
// alone, and do not have it now as they had it. It can not tell whether the change
// was it, so that nobody is given anything back.
func harmed(list []entry, stay []crm.Grant) string {
	var names []string
	for _, g := range stay {
		if g.Through != "" || slices.ContainsFunc(list, func(e entry) bool { return keeps(e, g) }) {
			continue // what comes through a parent is the parent's
		}
		name := strings.TrimSpace(g.Kind + " " + g.ID)
		if slices.ContainsFunc(list, func(e entry) bool { now := e.grant(); return now.Through == "" && now.Kind == g.Kind && now.ID == g.ID }) {
			name += " (has other access now)"
		}
		names = append(names, name)
	}
	if names == nil {
		return ""
	}
	return "since before the change these lost the record or what they might do with it, by it or by somebody else, and were not given it back: " + strings.Join(names, ", ")
}

// keeps says whether an entry gives what a grant gave.
func keeps(e entry, g crm.Grant) bool {
	now := e.grant()
	return now.Through == "" && now.Kind == g.Kind && now.ID == g.ID && now.Access == g.Access && now.Related == g.Related
}
