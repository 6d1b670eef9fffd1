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

// group changes the members of one group: a look, what is already so told, the rest
// added and removed, at most Config.MaxUsers in one body.
func (w *work) group(ctx context.Context, pt part) {
	group := w.items[pt.at[0]].Op.Record
	seen, f := w.seen(ctx, group)
	if f.Class != transport.Shown {
		w.notSeen(ctx, pt, f)
		return
	}
	leaves := func(n int) bool { return w.items[n].Op.Action == crm.Revoke }
	there := true
	if len(seen) == 0 && slices.ContainsFunc(pt.at, leaves) {
		// An empty list may stand for a group that is not there: what the CRM answers then is
		// not documented, and a leaver may be in the group that was meant. Where no list of
		// groups is to be had, that is nothing against the group, and is told.
		known, listed := w.p.groups.list(ctx, w.p.reader)
		if there = known == nil || known[group]; known == nil {
			f.Text = "whether there is such a group could not be found out: " + listed.Text
		}
	}
	var adds, removes []int
	for _, n := range pt.at {
		item := w.items[n]
		switch {
		case !there && leaves(n):
			w.out[n] = crm.Outcome{
				Status: crm.Failed, Code: crm.CodeUnknownGroup, HTTPStatus: f.Status, Uncertain: item.Prior != crm.PriorNone,
				Message: "the CRM lists nobody in this sales group, and no sales group with this id",
			}
		case seen.already(item.Op):
			w.out[n] = alreadySo(item, seen[item.Op.User], f)
		case leaves(n):
			removes = append(removes, n)
		default:
			adds = append(adds, n)
		}
	}
	for _, at := range [][]int{adds, removes} {
		for chunk := range slices.Chunk(at, w.p.users) {
			w.change(ctx, pt.of(chunk), seen)
		}
	}
}

// change sends one body, all of it additions or all of it removals, until every row
// has its outcome. After a lost answer the group is looked at before anything is sent
// again, and only what is not so yet is.
func (w *work) change(ctx context.Context, pt part, seen members) {
	group := w.items[pt.at[0]].Op.Record
	f := w.attempt(ctx, kindGroup, &pt, w.groupRequest(pt, seen))
	switch {
	case f.Class == transport.Refused && len(pt.at) > 1:
		m := len(pt.at) / 2
		w.change(ctx, pt.of(pt.at[:m]), seen)
		w.change(ctx, pt.of(pt.at[m:]), seen)
		return
	case f.Class != transport.Uncertain && (f.Class != transport.Refused || pt.lost == 0), w.ended != nil, ctx.Err() != nil:
		w.finish(ctx, pt, f, groupTicket+group)
		return
	}
	again := f.Class == transport.Uncertain && w.again(ctx, pt)
	now, look := w.seen(ctx, group)
	if look.Class != transport.Shown {
		w.finish(ctx, pt, f, "")
		return
	}
	var rest []int
	for _, n := range pt.at {
		if !now.already(w.items[n].Op) {
			rest = append(rest, n)
			continue
		}
		w.out[n] = crm.Outcome{
			Status: crm.Done, HTTPStatus: look.Status, Attempts: pt.sent,
			Message: labelled("the answer was lost; a look at the group shows that it is done", w.items[n], pt),
		}
	}
	if again && len(rest) > 0 {
		w.change(ctx, pt.of(rest), now)
	} else {
		w.finish(ctx, pt.of(rest), f, "")
	}
}

// groupRequest is the change for rows that all add or all remove.
func (w *work) groupRequest(pt part, seen members) transport.Request {
	first := w.items[pt.at[0]].Op
	if first.Action == crm.Revoke {
		body := removeUsers{GroupID: first.Record, CallbackURL: w.p.cfg.CallbackURL}
		for _, n := range pt.at {
			body.UserIDs = append(body.UserIDs, w.items[n].Op.User)
		}
		return w.post("UserGroup.RemoveUsers", w.p.cfg.RemoveUsersPath, body, seen.state())
	}
	body := addUsers{GroupID: first.Record, CallbackURL: w.p.cfg.CallbackURL}
	for _, n := range pt.at {
		op := w.items[n].Op
		has := func(one crm.Permissions) bool { return op.Permissions&one != 0 }
		body.GroupUsers = append(body.GroupUsers, groupUser{
			op.User,
			has(crm.ViewAllAccountsOfGroup), has(crm.ModifyAllAccountsOfGroup),
			has(crm.ViewAllLeadsOfGroup), has(crm.ModifyAllLeadsOfGroup),
			has(crm.AddUsersToGroup), has(crm.CreateGroupAutomation),
		})
	}
	return w.post("UserGroup.AddUsers", "/v2/UserGroup.svc/AddUsers", body, seen.state())
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

// notSeen finishes rows for which the look before has failed: nothing was sent.
func (w *work) notSeen(ctx context.Context, pt part, f finding) {
	o := crm.Outcome{Status: crm.Pending, Code: f.Code, Message: f.Text, HTTPStatus: f.Status, Ended: f.Ended}
	switch {
	case f.Class == transport.Ended, ctx.Err() != nil:
	case f.Class == transport.Unsent, f.Class == transport.Uncertain:
		o.Later, o.Message = transport.ComeBack, "the look at the group brought nothing of use: "+f.Text
	default:
		o.Status, o.Message = crm.Failed, "nothing was sent, because the look at the group failed: "+f.Text
	}
	for _, n := range pt.at {
		w.out[n] = o
		w.out[n].Uncertain = w.items[n].Prior != crm.PriorNone
	}
}

// alreadySo is the outcome of a row that the look before shows to be so: unchanged,
// or done where an earlier run has sent it.
func alreadySo(item crm.Item, who member, f finding) crm.Outcome {
	o := crm.Outcome{Status: crm.Unchanged, HTTPStatus: f.Status, Message: "was a member with these permissions already"}
	if hidden := allPermissions &^ who.shown; hidden != 0 {
		o.Message = "was a member already, with these permissions as far as the CRM shows them; it does not show " + hidden.String()
	}
	if item.Op.Action == crm.Revoke {
		o.Message = crm.Join("was not a member", f.Text)
	}
	if item.Prior != crm.PriorNone {
		o.Status, o.Message = crm.Done, "sent earlier; a look at the group shows that it is done"
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
		if out[i] = unconfirmed(f); f.Class == transport.Shown {
			out[i] = judgeMember(now, item.Op)
			out[i].HTTPStatus = f.Status
		}
		if out[i].Status == crm.Accepted {
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
	hidden := op.Permissions &^ who.shown
	switch {
	case op.Action == crm.Revoke && in:
		return crm.Outcome{Status: crm.Accepted, Code: crm.CodeStillMember, Message: "is still a member of the group"}
	case op.Action == crm.Revoke:
		return crm.Outcome{Status: crm.Done}
	case !in:
		return crm.Outcome{Status: crm.Accepted, Code: crm.CodeNotMember, Message: "is not yet a member of the group"}
	case !who.agrees(op):
		return crm.Outcome{Status: crm.Accepted, Code: crm.CodePermissionsDiffer, Message: "is a member with other permissions: " + who.has.String()}
	case hidden != 0:
		return crm.Outcome{Status: crm.Done, Message: "is a member; the CRM does not show " + hidden.String()}
	}
	return crm.Outcome{Status: crm.Done}
}
