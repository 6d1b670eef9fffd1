package sandbox

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// userEntry is an element of the user list. Like all replies it has the vendor's order
// of keys.
type userEntry struct {
	ID               string
	FirstName        string
	LastName         string
	EmailAddress     *string // null where there is none
	Role             string
	StatusCode       int // 0 active, 1 inactive
	Tag              *string
	IsPhoneCallAgent bool
}

// groupEntry is an element of the list of groups.
type groupEntry struct {
	GroupId, Name, Description, CreatedOn string
	UserCount                             string // a number, as text
}

// status tells what has become of a request. An Id that is not known is an
// exception; what the vendor does with one is unknown.
func (l *leadSquared) status(x *exchange) *reply {
	id := x.query.Get("id")
	if id == "" {
		return l.missing("id")
	}
	now := l.cfg.Now()
	l.advance(now)
	req, ok := l.byID[id]
	if !ok {
		return l.invalid("Parameter Name: id")
	}
	view := l.view(req, now)
	rep := struct {
		Status       string
		Message      struct{ ResponseText string }
		ShareStatus  int
		ErrorMessage *string
	}{Status: "Success", ShareStatus: view.Status, ErrorMessage: orNull(view.Error)}
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

// users lists everybody, inactive users too, in one reply.
func (l *leadSquared) users(*exchange) *reply {
	list := make([]userEntry, 0, len(l.people.list))
	for _, p := range l.people.list {
		first, last, _ := p.names()
		entry := userEntry{ID: p.ID, FirstName: first, LastName: last, EmailAddress: orNull(p.Email), Role: p.Role}
		if !p.Active {
			entry.StatusCode = 1
		}
		list = append(list, entry)
	}
	return jsonReply(http.StatusOK, list)
}

// whoAmI tells whose keys a request came with, and where the organisation lives.
// It works on any host.
func (l *leadSquared) whoAmI(x *exchange) *reply {
	owner, _ := l.people.find(l.cfg.Owner.ID)
	_, _, name := owner.names()
	type urls struct {
		API string `json:"api"`
		Web string `json:"web"`
	}
	return jsonReply(http.StatusOK, struct {
		Id, Name, Role                string
		EmailAddress                  *string
		OrgId, OrgShortCode, TimeZone string
		UserType                      int
		LSQCommonServiceURLs          urls
	}{
		Id: owner.ID, Name: name, Role: owner.Role, EmailAddress: orNull(owner.Email),
		OrgId: l.cfg.Org, OrgShortCode: "SANDBOX", TimeZone: "UTC",
		LSQCommonServiceURLs: urls{"https://" + cmp.Or(l.cfg.Host, x.r.Host) + "/v2/", "https://web.sandbox.example/"},
	})
}

// groups lists every group that is known, or those that the user in the query is
// in.
func (l *leadSquared) groups(x *exchange) *reply {
	user := lower(x.query.Get("UserId"))
	if user != "" && !guidPattern.MatchString(user) {
		return l.invalid("Parameter Name: UserId is not a GUID")
	}
	members := l.members()
	list := []groupEntry{}
	for name := range l.records {
		group, ok := strings.CutPrefix(name, crm.SalesGroup+"/")
		in := func(s Share) bool { return s.User == user }
		if !ok || user != "" && !slices.ContainsFunc(members[group], in) {
			continue
		}
		list = append(list, groupEntry{
			GroupId: group, Name: groupName(group), CreatedOn: "2019-07-29 12:18:09",
			UserCount: strconv.Itoa(len(members[group])),
		})
	}
	slices.SortFunc(list, func(a, b groupEntry) int { return strings.Compare(a.GroupId, b.GroupId) })
	return jsonReply(http.StatusOK, map[string]any{"RecordCount": len(list), "UserGroups": list})
}

// groupUsers lists the members of the group in the query. The documented reply has
// four of the six permissions.
func (l *leadSquared) groupUsers(x *exchange) *reply {
	group := lower(x.query.Get("GroupId"))
	switch {
	case group == "":
		return l.missing("GroupId")
	case !guidPattern.MatchString(group):
		return l.invalid("Parameter Name: GroupId is not a GUID")
	case l.cfg.Closed && !l.records[crm.SalesGroup+"/"+group]:
		return l.unknown("MXUnknownUserGroupException", "Group", group)
	}
	l.records[crm.SalesGroup+"/"+group] = true // in an open world, whatever is asked about exists
	list := []map[string]any{}
	for _, s := range l.members()[group] {
		p, _ := l.people.find(s.User)
		_, _, name := p.names()
		entry := map[string]any{"GroupId": group, "GroupName": groupName(group), "UserId": s.User, "UserName": name}
		for i, name := range crm.PermissionNames() {
			bit := crm.Permissions(1 << i)
			if bit&(crm.ViewAllAccountsOfGroup|crm.ModifyAllAccountsOfGroup) == 0 || l.cfg.ShowAllPermissions {
				entry[name] = s.Permissions&bit != 0
			}
		}
		list = append(list, entry)
	}
	return jsonReply(http.StatusOK, map[string]any{"RecordCount": len(list), "GroupUsers": list})
}

// members returns the memberships in force, by group.
func (l *leadSquared) members() map[string][]Share {
	byGroup := map[string][]Share{}
	for _, s := range l.shares(l.cfg.Now()) {
		if s.Object == crm.SalesGroup {
			byGroup[s.Record] = append(byGroup[s.Record], s)
		}
	}
	return byGroup
}

func groupName(id string) string { return "Group " + id[:min(8, len(id))] }

// orNull is what JSON shows as null where s is empty.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// lower is the spelling in which identifiers are compared.
func lower(id string) string { return strings.ToLower(strings.TrimSpace(id)) }
