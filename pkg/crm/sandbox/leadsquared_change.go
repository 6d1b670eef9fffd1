package sandbox

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

var (
	guidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	leadPattern = regexp.MustCompile(`^[0-9]{1,19}$`)
)

// defaultMinutes is how long a share lasts that does not say: 90 days.
const defaultMinutes = 129600

// acceptedReply answers a share or revoke that was taken.
type acceptedReply struct {
	Status  string
	Message struct {
		Id string `json:",omitzero"`
	}
}

// change takes shares or revokes, or users into a group or out of it. What it asks for
// is noted as open from here until its client has the answer and it has taken effect.
// One entry that can not be taken refuses the whole request.
func (l *leadSquared) change(x *exchange) *reply {
	if media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return exception(http.StatusBadRequest, "MXInvalidInputException", "Content-Type must be application/json")
	}
	c := &change{kind: kindShare}
	if x.op == opRevoke || x.op == opRemoveUsers {
		c.kind = kindRevoke
	}
	group := x.op == opAddUsers || x.op == opRemoveUsers
	var callback string
	var wrong *reply
	if group {
		c.entries, callback, wrong = l.groupEntries(x.body, c.kind)
	} else {
		c.entries, wrong = l.entries(x.body, c.kind)
	}
	if wrong != nil {
		return wrong
	}
	now := l.cfg.Now()
	l.advance(now)
	x.change = c
	l.server.open.begin(c, now)
	if !x.fault.carriedOut() {
		return nil
	}
	for _, s := range c.entries {
		if wrong := l.refusal(s, c.kind, now); wrong != nil {
			return wrong
		}
	}
	var id [16]byte
	rand.Read(id[:])
	req := &request{Request: Request{ID: fmt.Sprintf("%x", id), At: now, Due: now.Add(max(0, l.cfg.Processing())),
		Kind: c.kind, Entries: c.entries, Callback: callback}}
	switch f := x.fault; {
	case f.is(FaultNeverProcess):
		req.Never = true
	case f.is(FaultProcessFailed):
		req.Fails = cmp.Or(f.Text, "The request could not be processed.")
	case f.is(FaultUnlisted):
		req.Stuck = cmp.Or(f.Code, 9)
	}
	if group {
		req.ID = guid(id[:])
	}
	if err := l.server.write(record{Request: req}); err != nil {
		return notWritten(err)
	}
	l.add(req)
	c.due, c.never = req.Due, req.Never
	if !group {
		rep := acceptedReply{Status: "Success"}
		rep.Message.Id = req.ID
		return jsonReply(http.StatusOK, rep)
	}
	type response struct{ RequestType, RequestId string }
	what := map[string]string{kindShare: "Add Group Users", kindRevoke: "Remove Group Users"}[c.kind]
	return jsonReply(http.StatusOK, struct {
		Status   string
		Response response
	}{"Success", response{what, req.ID}})
}

// refusal says why an entry cannot be taken, nil if it can.
func (l *leadSquared) refusal(s Share, kind string, now time.Time) *reply {
	p, known := l.people.find(s.User)
	if l.cfg.Closed && !known {
		return l.unknown("MXUnknownUserException", "User", s.User)
	}
	if l.cfg.Closed && !l.records[s.Object+"/"+s.Record] {
		what := map[string][2]string{
			crm.Lead:        {"MXUnknownLeadException", "Lead"},
			crm.Opportunity: {"MXUnknownOpportunityException", "Opportunity"},
			crm.SalesGroup:  {"MXUnknownUserGroupException", "Group"},
		}[s.Object]
		return l.unknown(what[0], what[1], s.Record)
	}
	if l.cfg.Closed && s.Object == crm.Lead && !l.records["activity/"+s.Context] {
		return l.unknown("MXUnknownProspectActivityException", "Activity", s.Context)
	}
	notSales := known && kind == kindShare && p.Role != roleSales
	absent := kind == kindRevoke && l.cfg.RefuseAbsent && !now.Before(l.held[s.target()].until)
	switch group := s.Object == crm.SalesGroup; {
	case notSales && group:
		return l.invalid("User %s is not a sales user", s.User)
	case notSales:
		return l.invalid("Parameter Name: UserId is not a sales user")
	case absent && group:
		return l.invalid("User %s is not in the group", s.User)
	case absent:
		return l.invalid("%s %s is not shared with the user", s.Object, s.Record)
	}
	return nil
}

// entries reads the body of Share or Revoke: an array of entries of one kind of
// record.
func (l *leadSquared) entries(body []byte, kind string) (shares []Share, wrong *reply) {
	if !json.Valid(body) {
		return nil, exception(http.StatusBadRequest, "MXInvalidInputException", "The request body is not valid JSON")
	}
	var list []json.RawMessage
	switch err := json.Unmarshal(body, &list); {
	case err != nil || list == nil:
		return nil, l.invalid("The request body must be an array")
	case len(list) == 0:
		return nil, l.invalid("The request body is an empty array")
	case len(list) > l.cfg.MaxEntries:
		return nil, l.invalid("The request has %d entries, at most %d are allowed", len(list), l.cfg.MaxEntries)
	}
	for _, raw := range list {
		read := entryReader{l: l}
		if json.Unmarshal(raw, &read.fields) != nil || read.fields == nil {
			return nil, l.invalid("Every entry must be an object")
		}
		share := read.entry(kind)
		if wrong := read.end(); wrong != nil {
			return nil, wrong
		}
		if len(shares) > 0 && shares[0].Object != share.Object {
			return nil, l.invalid("All entries must have the same Entity")
		}
		shares = append(shares, share)
	}
	return shares, nil
}

// groupEntries reads the body of AddUsers or RemoveUsers. The callback is the address
// that is to be told of the result; the sandbox calls nobody.
func (l *leadSquared) groupEntries(body []byte, kind string) (entries []Share, callback string, wrong *reply) {
	read := entryReader{l: l}
	if json.Unmarshal(body, &read.fields) != nil || read.fields == nil {
		return nil, "", exception(http.StatusBadRequest, "MXInvalidInputException", "The request body is not a JSON object")
	}
	group := read.guid("GroupId")
	if _, there := read.fields["CallbackURL"]; there {
		callback = need[string](&read, "CallbackURL", "a string")
		if u, err := url.Parse(callback); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			read.fail(l.invalid("Parameter Name: CallbackURL"))
		}
	}
	name := "GroupUsers"
	if kind == kindRevoke {
		name = "UserIds"
	}
	list := need[[]json.RawMessage](&read, name, "an array of users")
	switch {
	case len(list) == 0:
		read.fail(l.invalid("Parameter Name: %s must be an array of users", name))
	case len(list) > l.cfg.MaxGroupUsers:
		read.fail(l.invalid("%s has %d users, at most %d are allowed", name, len(list), l.cfg.MaxGroupUsers))
	}
	for _, raw := range list {
		one := entryReader{l: l}
		if kind == kindRevoke {
			one.fields = map[string]json.RawMessage{"UserId": raw}
		} else if json.Unmarshal(raw, &one.fields) != nil || one.fields == nil {
			one.fail(l.invalid("Every element of GroupUsers must be an object"))
		}
		s := Share{Object: crm.SalesGroup, Record: group, User: one.guid("UserId")}
		for i, permission := range crm.PermissionNames() {
			if given, _ := take[bool](&one, permission, "true or false"); given {
				s.Permissions |= 1 << i
			}
		}
		read.fail(one.end())
		entries = append(entries, s)
	}
	return entries, callback, read.end()
}

// entryReader takes fields out of an object of a body and remembers the first thing
// that was wrong with them.
type entryReader struct {
	l      *leadSquared
	fields map[string]json.RawMessage
	wrong  *reply
}

func (r *entryReader) fail(e *reply) {
	if r.wrong == nil {
		r.wrong = e
	}
}

// take removes a field, which must be what the text says. A field that is null counts
// as not there.
func take[T any](r *entryReader, name, what string) (v T, there bool) {
	raw, there := r.fields[name]
	delete(r.fields, name)
	if !there || string(raw) == "null" {
		return v, false
	}
	if json.Unmarshal(raw, &v) != nil {
		r.fail(r.l.invalid("Parameter Name: %s must be %s", name, what))
	}
	return v, true
}

// need is take for a field that is mandatory.
func need[T any](r *entryReader, name, what string) T {
	v, there := take[T](r, name, what)
	if !there {
		r.fail(r.l.missing(name))
	}
	return v
}

func (r *entryReader) constant(name string, want int) {
	if need[int](r, name, "an integer") != want {
		r.fail(r.l.invalid("Parameter Name: %s", name))
	}
}

func (r *entryReader) guid(name string) string {
	s := need[string](r, name, "a string")
	if !guidPattern.MatchString(s) {
		r.fail(r.l.invalid("Parameter Name: %s is not a GUID", name))
	}
	return strings.ToLower(s)
}

// entry reads an entry of Share or Revoke. Which fields are mandatory differs between
// share and revoke, and between leads and opportunities.
func (r *entryReader) entry(kind string) (s Share) {
	s.User = r.guid("UserId")
	switch need[int](r, "Entity", "an integer") {
	case 1:
		s.Object = crm.Lead
	case 5:
		s.Object = crm.Opportunity
	default:
		r.fail(r.l.invalid("Parameter Name: Entity"))
	}
	r.constant("EntityType", 3)
	if s.Object == crm.Lead {
		s.Record = need[string](r, "EntityId", "a string")
		if !leadPattern.MatchString(s.Record) {
			r.fail(r.l.invalid("Parameter Name: EntityId is not a ProspectAutoId"))
		}
		r.constant("ContextEntity", 1)
		s.Context = r.guid("ContextEntityId")
	} else {
		s.Record = r.guid("EntityId")
	}
	level, said := take[int](r, "AccessType", "an integer")
	switch {
	case !said && kind == kindShare:
		r.fail(r.l.missing("AccessType"))
	case !said || level == 1:
		s.Access = crm.Read
	case level == 2:
		s.Access = crm.Write
	default:
		r.fail(r.l.invalid("Parameter Name: AccessType"))
	}
	if kind == kindShare {
		s.Minutes = defaultMinutes
		if n, said := take[int](r, "DurationInMinutes", "an integer"); said {
			if s.Minutes = n; n <= 0 {
				r.fail(r.l.invalid("Parameter Name: DurationInMinutes"))
			}
		}
	}
	return s
}

// end returns the first thing that was wrong; a field that does not belong there
// is, too.
func (r *entryReader) end() *reply {
	if names := slices.Sorted(maps.Keys(r.fields)); len(names) > 0 {
		r.fail(exception(r.l.cfg.ErrorStatus, "MXUnknownAttributeException", "Unknown attribute %s", names[0]))
	}
	return r.wrong
}
