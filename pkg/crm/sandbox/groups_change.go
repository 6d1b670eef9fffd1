package sandbox

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The operations on sales groups, as Fault.Op and Arrival.Op have them.
const (
	opGroups      = "UserGroup.Retrieve"
	opGroupUsers  = "UserGroup.RetrieveUsers"
	opAddUsers    = "UserGroup.AddUsers"
	opRemoveUsers = "UserGroup.RemoveUsers"
)

// never is when a membership runs out.
var never = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// groupRoute is route for sales groups; handle is nil for other paths.
func (l *leadSquared) groupRoute(path string) (op, method string, handle func(*exchange) reply) {
	switch path {
	case "/v2/UserGroup.svc/Retrieve":
		return opGroups, http.MethodGet, l.groups
	case "/v2/UserGroup.svc/RetrieveUsers":
		return opGroupUsers, http.MethodGet, l.groupUsers
	case "/v2/UserGroup.svc/AddUsers":
		return opAddUsers, http.MethodPost, func(x *exchange) reply { return l.changeGroup(x, kindShare) }
	case "/v2/UserGroup.svc/RemoveUsers":
		return opRemoveUsers, http.MethodPost, func(x *exchange) reply { return l.changeGroup(x, kindRevoke) }
	}
	return "", "", nil
}

// groupReply answers a change of a group that was taken.
type groupReply struct {
	Status   string
	Response struct {
		RequestType string
		RequestId   string
	}
}

// changeGroup takes users into a group or out of it. Like a share it takes effect
// later; one user who can not be taken refuses the whole request.
func (l *leadSquared) changeGroup(x *exchange, kind string) reply {
	entries, callback, wrong := l.groupChange(x, kind)
	if wrong != nil {
		return wrong.reply()
	}
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	now := l.cfg.Now()
	l.settle(now)
	x.change = &change{kind: kind, entries: entries}
	l.server.open.begin(x.change, now)
	if !x.fault.carriedOut() {
		return reply{}
	}
	for _, s := range entries {
		if wrong := l.groupPossible(s, kind); wrong != nil {
			return wrong.reply()
		}
	}
	req := l.newRequest(x, now)
	req.ID = req.ID[:8] + "-" + req.ID[8:12] + "-" + req.ID[12:16] + "-" + req.ID[16:20] + "-" + req.ID[20:]
	req.Callback = callback
	if err := l.server.accept(req); err != nil {
		return journalFailed(err)
	}
	l.add(req)
	x.change.due, x.change.never = req.Due, req.Never
	rep := groupReply{Status: "Success"}
	rep.Response.RequestType, rep.Response.RequestId = "Add Group Users", req.ID
	if kind == kindRevoke {
		rep.Response.RequestType = "Remove Group Users"
	}
	return jsonReply(http.StatusOK, rep)
}

// groupPossible says why an entry cannot be taken, nil if it can.
func (l *leadSquared) groupPossible(s Share, kind string) *exception {
	p, known := l.people.find(s.User)
	if l.cfg.Closed && !known {
		return l.unknown("MXUnknownUserException", "User", s.User)
	}
	if l.cfg.Closed && !l.records[s.Object+"/"+s.Record] {
		return l.unknown("MXUnknownUserGroupException", "Group", s.Record)
	}
	if known && kind == kindShare && p.Role != roleSales {
		return l.invalid("User %s is not a sales user", s.User)
	}
	if _, in := l.held[s.target()]; kind == kindRevoke && l.cfg.RefuseAbsent && !in {
		return l.invalid("User %s is not in the group", s.User)
	}
	return nil
}

// regroup lets an entry of a group change take effect.
func (l *leadSquared) regroup(kind string, s Share) {
	target := s.target()
	l.records[s.Object+"/"+s.Record] = true
	if kind == kindRevoke {
		delete(l.held, target)
		return
	}
	if _, in := l.held[target]; in && l.cfg.KeepPermissions {
		return
	}
	l.held[target] = grant{until: never, permissions: s.Permissions}
}

// groupChange reads the body of AddUsers or RemoveUsers.
func (l *leadSquared) groupChange(x *exchange, kind string) (entries []Share, callback string, wrong *exception) {
	if media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, "", &exception{http.StatusBadRequest, "MXInvalidInputException", "Content-Type must be application/json"}
	}
	var f fields
	if json.Unmarshal(x.body, &f) != nil || f == nil {
		return nil, "", &exception{http.StatusBadRequest, "MXInvalidInputException", "The request body is not a JSON object"}
	}
	read := entryReader{l: l, fields: f}
	group := read.guid("GroupId")
	callback = read.callback()
	name := "GroupUsers"
	if kind == kindRevoke {
		name = "UserIds"
	}
	for _, raw := range read.list(name) {
		s := Share{Object: crm.SalesGroup, Record: group}
		if kind == kindShare {
			s.User, s.Permissions = read.member(raw)
		} else {
			one := entryReader{l: l, fields: fields{"UserId": raw}}
			s.User = one.guid("UserId")
			read.fail(one.end())
		}
		entries = append(entries, s)
	}
	return entries, callback, read.end()
}

// list takes a list of users out of a body.
func (r *entryReader) list(name string) []json.RawMessage {
	raw, ok := r.take(name)
	if !ok {
		r.fail(r.l.missing(name))
		return nil
	}
	var list []json.RawMessage
	switch {
	case json.Unmarshal(raw, &list) != nil || len(list) == 0:
		r.fail(r.l.invalid("Parameter Name: %s must be an array of users", name))
	case len(list) > r.l.cfg.MaxGroupUsers:
		r.fail(r.l.invalid("%s has %d users, at most %d are allowed", name, len(list), r.l.cfg.MaxGroupUsers))
	}
	return list
}

// callback takes the address out of a body that is to be told of the result. The
// sandbox calls nobody.
func (r *entryReader) callback() string {
	if _, there := r.fields["CallbackURL"]; !there {
		return ""
	}
	s := r.text("CallbackURL")
	if u, err := url.Parse(s); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		r.fail(r.l.invalid("Parameter Name: CallbackURL"))
	}
	return s
}

// member reads an element of GroupUsers. A permission that is left out is not
// given.
func (r *entryReader) member(raw json.RawMessage) (user string, p crm.Permissions) {
	var f fields
	if json.Unmarshal(raw, &f) != nil || f == nil {
		r.fail(r.l.invalid("Every element of GroupUsers must be an object"))
		return "", 0
	}
	one := entryReader{l: r.l, fields: f}
	user = one.guid("UserId")
	for i, name := range crm.PermissionNames() {
		raw, there := one.take(name)
		var given bool
		if there && json.Unmarshal(raw, &given) != nil {
			one.fail(r.l.invalid("Parameter Name: %s must be true or false", name))
		}
		if given {
			p |= 1 << i
		}
	}
	r.fail(one.end())
	return user, p
}
