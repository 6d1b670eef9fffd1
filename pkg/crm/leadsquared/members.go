package leadsquared

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// mostMemberBytes bounds the lists of groups and of a group's members, which come
// without paging.
const mostMemberBytes = 16 << 20

// member is what the CRM shows of somebody in a sales group.
type member struct {
	has crm.Permissions
	// shown are the permissions that the CRM said anything about. Its documented
	// reply leaves those about accounts out.
	shown crm.Permissions
}

// allPermissions are those that there are.
const allPermissions = crm.ViewAllAccountsOfGroup | crm.ModifyAllAccountsOfGroup | crm.ViewAllLeadsOfGroup |
	crm.ModifyAllLeadsOfGroup | crm.AddUsersToGroup | crm.CreateGroupAutomation

// members are the people of one group, by user id.
type members map[string]member

// state is what goes into the journal, in a stable order.
func (m members) state() crm.State {
	s := crm.State{Looked: true}
	for _, id := range slices.Sorted(maps.Keys(m)) {
		s.Grants = append(s.Grants, crm.Grant{Kind: crm.KindUser, ID: id, Permissions: m[id].has})
	}
	return s
}

// already says whether the group is as the operation wants it, as far as the CRM
// shows. A wanted permission that it does not show is not there for certain.
func (m members) already(op crm.Operation) bool {
	who, in := m[op.User]
	if op.Action == crm.Revoke {
		return !in
	}
	return in && who.agrees(op) && op.Permissions&^who.shown == 0
}

// agrees says whether nothing that the CRM shows of a member contradicts op.
func (who member) agrees(op crm.Operation) bool {
	return (who.has^op.Permissions)&who.shown == 0
}

// wireMember is an entry of the reply to RetrieveUsers.
type wireMember struct {
	GroupID text
	UserID  text

	ViewAllAccountsOfGroup, ModifyAllAccountsOfGroup text
	ViewAllLeadsOfGroup, ModifyAllLeadsOfGroup       text
	AddUsersToGroup, CreateGroupAutomation           text
}

func (w wireMember) member() member {
	var m member
	for i, flag := range []text{
		w.ViewAllAccountsOfGroup, w.ModifyAllAccountsOfGroup,
		w.ViewAllLeadsOfGroup, w.ModifyAllLeadsOfGroup,
		w.AddUsersToGroup, w.CreateGroupAutomation,
	} {
		switch strings.ToLower(string(flag)) {
		case "true", "1":
			m.has |= 1 << i
			fallthrough
		case "false", "0":
			m.shown |= 1 << i
		}
	}
	return m
}

// members looks at a group. The finding is Shown where the list can be relied on: a
// reply that is cut, shorter than its own count or about another group says nothing
// about who is not in it.
func (r *reader) members(ctx context.Context, group string) (m members, f finding) {
	f = r.list(ctx, transport.Request{
		Op: "UserGroup.RetrieveUsers", Path: pathMembers, Query: url.Values{"GroupId": {group}},
	}, "the list of the group's members", func(body []byte) (why string) {
		m, why = readMembers(body, group)
		return why
	})
	return m, f
}

// list asks for a list that comes without paging. Where it stands beside an error, comes
// with a status that is not that of a list, or read says why it can not be relied on, the
// finding is Uncertain.
func (r *reader) list(ctx context.Context, req transport.Request, name string, read func(body []byte) (why string)) finding {
	req.MaxBody = mostMemberBytes
	f := r.look(ctx, req)
	if f.Class != transport.Shown {
		return f
	}
	var why string
	switch {
	case f.Status != http.StatusOK:
		why = fmt.Sprintf("it comes with HTTP %d", f.Status)
	case f.reply.complains():
		why = "it stands beside an error: " + f.reply.words()
	default:
		why = read(f.body)
	}
	if why != "" {
		f.Class, f.Code, f.Text = transport.Uncertain, crm.CodeNoAnswer, name+" can not be relied on: "+why
	}
	return f
}

// groups are the organisation's sales groups, listed once in a run.
type groups struct {
	mu    sync.Mutex // guards known, and lets one list at a time
	known map[string]bool
}

// list returns the ids of all groups, nil where the CRM gave no list to rely on.
func (g *groups) list(ctx context.Context, r *reader) (known map[string]bool, f finding) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil {
		req := transport.Request{Op: "UserGroup.Retrieve", Path: pathGroups}
		f = r.list(ctx, req, "the list of sales groups", func(body []byte) (why string) {
			g.known, why = readGroups(body)
			return why
		})
	}
	return g.known, f
}

// readGroups reads the ids of a list of groups, or says why it can not be used.
func readGroups(body []byte) (known map[string]bool, why string) {
	list, why := readGroupList(body)
	if why != "" {
		return nil, why
	}
	known = map[string]bool{}
	for _, group := range list {
		known[group.ID] = true
	}
	return known, ""
}

// readGroupList reads the reply to Retrieve, or says why it can not be used.
func readGroupList(body []byte) (groups []crm.Membership, why string) {
	var w struct {
		RecordCount text
		UserGroups  once
	}
	var list []struct{ GroupID, Name text }
	if json.Unmarshal(transport.TrimJSON(body), &w) != nil {
		return nil, "it is not readable"
	}
	if why := readList(w.UserGroups, w.RecordCount, &list); why != "" {
		return nil, why
	}
	known := map[string]bool{}
	for _, group := range list {
		id, ok := readGUID(string(group.GroupID))
		switch {
		case !ok:
			return nil, "it holds a group without an id"
		case known[id]:
			return nil, "it holds a group twice"
		}
		known[id] = true
		groups = append(groups, crm.Membership{ID: id, Name: string(group.Name)})
	}
	return groups, ""
}

// readMembers reads the reply to RetrieveUsers, or says why it can not be used.
func readMembers(body []byte, group string) (m members, why string) {
	var w struct {
		RecordCount text
		GroupUsers  once
	}
	var list []wireMember
	if json.Unmarshal(transport.TrimJSON(body), &w) != nil {
		return nil, "it is not readable"
	}
	if why := readList(w.GroupUsers, w.RecordCount, &list); why != "" {
		return nil, why
	}
	m = members{}
	for _, u := range list {
		of, known := readGUID(string(u.GroupID))
		id, ok := readGUID(string(u.UserID))
		_, again := m[id]
		switch {
		case u.GroupID != "" && (!known || of != group):
			return nil, "it is another group's"
		case !ok:
			return nil, "it holds somebody without an id"
		case again:
			return nil, "it holds somebody twice"
		}
		m[id] = u.member()
	}
	return m, ""
}
