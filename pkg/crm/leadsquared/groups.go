package leadsquared

import (
	"context"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// groupTicket begins the tickets of changes of sales groups, and the group's id
// follows: the CRM has no status call for these, so the group is what Confirm looks
// at, once for all of its rows.
const groupTicket = "group:"

// addUsers is the body of AddUsers. All permissions are always sent: what an
// omitted one means is not documented.
type addUsers struct {
	GroupID     string      `json:"GroupId"`
	GroupUsers  []groupUser `json:"GroupUsers"`
	CallbackURL string      `json:"CallbackURL,omitzero"`
}

type groupUser struct {
	UserID                   string `json:"UserId"`
	ViewAllAccountsOfGroup   bool   `json:"ViewAllAccountsOfGroup"`
	ModifyAllAccountsOfGroup bool   `json:"ModifyAllAccountsOfGroup"`
	ViewAllLeadsOfGroup      bool   `json:"ViewAllLeadsOfGroup"`
	ModifyAllLeadsOfGroup    bool   `json:"ModifyAllLeadsOfGroup"`
	AddUsersToGroup          bool   `json:"AddUsersToGroup"`
	CreateGroupAutomation    bool   `json:"CreateGroupAutomation"`
}

// removeUsers is the body of RemoveUsers.
type removeUsers struct {
	GroupID     string   `json:"GroupId"`
	UserIDs     []string `json:"UserIds"`
	CallbackURL string   `json:"CallbackURL,omitzero"`
}

// checkGroup checks what is particular to sales groups: who is in one has
// permissions, not a level, and stays.
func checkGroup(op crm.Operation) (crm.Operation, error) {
	if op.Action == crm.Revoke {
		op.Access = crm.AccessUnset
		return op, nil
	}
	switch {
	case op.Access != crm.AccessUnset:
		return op, crm.Fault(crm.ColumnAccess, "a member of a sales group has permissions, not a level of access")
	case op.Minutes != 0:
		return op, crm.Fault(crm.ColumnMinutes, "membership of a sales group has no duration")
	}
	return op, nil
}

// group changes the members of one group: a look, what is already so told, the rest
// added and removed, at most Config.MaxUsers in one body.
func (w *work) group(ctx context.Context, pt *part) {
	seen, f := w.seen(ctx, pt.items[0].Op.Record)
	if f.Class != transport.Shown {
		w.settleLook(ctx, pt, f)
		return
	}
	leaves := func(item crm.Item) bool { return item.Op.Action == crm.Revoke }
	there := true
	if len(seen) == 0 && slices.ContainsFunc(pt.items, leaves) {
		there, f.Text = w.there(ctx, pt.items[0].Op.Record)
	}
	var adds, removes []int
	for i, item := range pt.items {
		switch {
		case !there && leaves(item):
			pt.out[i] = crm.Outcome{
				Verdict: crm.Failed, Code: crm.CodeUnknownGroup, HTTPStatus: f.Status, Maybe: item.Prior != crm.PriorNone,
				Message: "the CRM lists nobody in this sales group, and no sales group with this id",
			}
		case seen.already(item.Op):
			pt.out[i] = alreadySo(item, seen[item.Op.User], f)
		case item.Op.Action == crm.Share:
			adds = append(adds, i)
		default:
			removes = append(removes, i)
		}
	}
	for _, at := range [][]int{adds, removes} {
		for chunk := range slices.Chunk(at, w.p.users) {
			pt.within(chunk, func(sub *part) { w.change(ctx, sub, seen) })
		}
	}
}

// within runs f on a part made of some of pt's rows, and takes the outcomes back.
func (pt *part) within(at []int, f func(*part)) {
	sub := *pt
	sub.items, sub.out = make([]crm.Item, len(at)), make([]crm.Outcome, len(at))
	for i, n := range at {
		sub.items[i] = pt.items[n]
	}
	f(&sub)
	for i, n := range at {
		pt.out[n] = sub.out[i]
	}
}

// change sends one body, all of it additions or all of it removals, until every row
// is settled. After a lost answer the group is looked at before anything is sent
// again, and only what is not so yet is.
func (w *work) change(ctx context.Context, pt *part, seen members) {
	op, path, body := w.p.groupBody(pt.items)
	f := w.attempt(ctx, kindGroup, pt, w.post(op, path, body, seen.state()))
	switch {
	case f.Class == transport.Refused && len(pt.items) > 1:
		for _, half := range pt.split() {
			w.change(ctx, half, seen)
		}
		return
	case f.Class != transport.Uncertain && (f.Class != transport.Refused || pt.lost == 0), w.ended != nil, ctx.Err() != nil:
		w.settle(ctx, pt, f, groupTicket+pt.items[0].Op.Record)
		return
	}
	again := f.Class == transport.Uncertain && w.again(ctx, pt)
	now, look := w.seen(ctx, pt.items[0].Op.Record)
	if look.Class != transport.Shown {
		w.settle(ctx, pt, f, "")
		return
	}
	var rest []int
	for i, item := range pt.items {
		if !now.already(item.Op) {
			rest = append(rest, i)
			continue
		}
		pt.out[i] = crm.Outcome{
			Verdict: crm.Done, HTTPStatus: look.Status, Attempts: pt.sent,
			Message: labelled("the answer was lost; a look at the group shows that it is done", item, pt),
		}
	}
	if len(rest) == 0 {
		return
	}
	pt.within(rest, func(sub *part) {
		if again {
			w.change(ctx, sub, now)
		} else {
			w.settle(ctx, sub, f, "")
		}
	})
}

// groupBody is the request for items that all add or all remove.
func (p *Provider) groupBody(items []crm.Item) (op, path string, body any) {
	group := items[0].Op.Record
	if items[0].Op.Action == crm.Revoke {
		ids := make([]string, len(items))
		for i, item := range items {
			ids[i] = item.Op.User
		}
		return "UserGroup.RemoveUsers", p.cfg.RemoveUsersPath, removeUsers{group, ids, p.cfg.CallbackURL}
	}
	users := make([]groupUser, len(items))
	for i, item := range items {
		has := func(one crm.Permissions) bool { return item.Op.Permissions&one != 0 }
		users[i] = groupUser{
			item.Op.User,
			has(crm.ViewAllAccountsOfGroup), has(crm.ModifyAllAccountsOfGroup),
			has(crm.ViewAllLeadsOfGroup), has(crm.ModifyAllLeadsOfGroup),
			has(crm.AddUsersToGroup), has(crm.CreateGroupAutomation),
		}
	}
	return "UserGroup.AddUsers", "/v2/UserGroup.svc/AddUsers", addUsers{group, users, p.cfg.CallbackURL}
}

// there says whether the CRM lists the group among its sales groups. An empty list of
// members may stand for a group that is not there: what the CRM answers then is not
// documented, and a leaver may be in the group that was meant. Where no list is to be
// had, that is nothing against the group, and is told.
func (w *work) there(ctx context.Context, group string) (there bool, told string) {
	known, f := w.p.groups.list(ctx, w.p)
	if known == nil {
		return true, "whether there is such a group could not be found out: " + f.Text
	}
	return known[group], ""
}

// seen looks at a group, unless the account has ended.
func (w *work) seen(ctx context.Context, group string) (members, finding) {
	if w.ended != nil {
		return nil, finding{Finding: transport.Over(w.ended)}
	}
	m, f := w.p.members(ctx, group)
	if f.Ended != nil {
		w.ended = f.Ended
	}
	return m, f
}

// settleLook settles rows for which the look before has failed: nothing was sent.
func (w *work) settleLook(ctx context.Context, pt *part, f finding) {
	for i, item := range pt.items {
		o := crm.Outcome{
			Verdict: crm.Failed, Code: f.Code, Message: f.Text, HTTPStatus: f.Status,
			Ended: f.Ended, Maybe: item.Prior != crm.PriorNone,
		}
		switch {
		case f.Class == transport.Ended, ctx.Err() != nil:
			o.Verdict = crm.NotSent
		case f.Class == transport.Unsent, f.Class == transport.Uncertain:
			o.Verdict, o.Later = crm.NotSent, comeBack
			o.Message = "the look at the group brought nothing of use: " + f.Text
		default:
			o.Message = "nothing was sent, because the look at the group failed: " + f.Text
		}
		pt.out[i] = o
	}
}

// alreadySo is the outcome of a row that the look before shows to be so: unchanged,
// or done where an earlier run has sent it.
func alreadySo(item crm.Item, who member, f finding) crm.Outcome {
	o := crm.Outcome{Verdict: crm.Unchanged, HTTPStatus: f.Status, Message: "was a member with these permissions already"}
	if hidden := allPermissions &^ who.shown; hidden != 0 {
		o.Message = "was a member already, with these permissions as far as the CRM shows them; it does not show " + hidden.String()
	}
	if item.Op.Action == crm.Revoke {
		o.Message = crm.Join("was not a member", f.Text)
	}
	if item.Prior != crm.PriorNone {
		o.Verdict, o.Message = crm.Done, "sent earlier; a look at the group shows that it is done"
	}
	return o
}

// confirmGroup looks at the items' group and judges every item by its own membership.
// What is not so yet stays accepted: processing is asynchronous.
func (p *Provider) confirmGroup(ctx context.Context, items []crm.Item) ([]crm.Outcome, crm.State) {
	out := make([]crm.Outcome, len(items))
	var now members
	f := finding{Finding: transport.Finding{Code: crm.CodeInvalid, Text: "record_id: is no sales group's"}}
	if group := items[0].Op.Record; isGUID(group) {
		now, f = p.members(ctx, group)
	}
	for i, item := range items {
		out[i] = unconfirmed(f)
		if f.Class == transport.Shown {
			out[i] = judgeMember(now, item.Op)
			out[i].HTTPStatus = f.Status
		}
		if out[i].Verdict == crm.Accepted {
			out[i].Ticket = item.Ticket
		}
	}
	if f.Class != transport.Shown {
		return out, crm.State{}
	}
	return out, now.state()
}

// judgeMember says whether the change of one member can be seen.
func judgeMember(now members, op crm.Operation) crm.Outcome {
	who, in := now[op.User]
	switch {
	case op.Action == crm.Revoke && in:
		return crm.Outcome{Verdict: crm.Accepted, Code: crm.CodeStillMember, Message: "is still a member of the group"}
	case op.Action == crm.Revoke:
		return crm.Outcome{Verdict: crm.Done}
	case !in:
		return crm.Outcome{Verdict: crm.Accepted, Code: crm.CodeNotMember, Message: "is not yet a member of the group"}
	case !who.agrees(op):
		return crm.Outcome{Verdict: crm.Accepted, Code: crm.CodePermissionsDiffer, Message: "is a member with other permissions: " + who.has.String()}
	}
	o := crm.Outcome{Verdict: crm.Done}
	if hidden := op.Permissions &^ who.shown; hidden != 0 {
		o.Message = "is a member; the CRM does not show " + hidden.String()
	}
	return o
}
