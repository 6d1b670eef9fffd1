package sandbox

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// groupEntry is an element of the list of groups.
type groupEntry struct {
	GroupId     string
	Name        string
	Description string
	CreatedOn   string
	UserCount   string // a number, as text
}

// groups lists every group that is known, or those that the user in the query is
// in.
func (l *leadSquared) groups(x *exchange) reply {
	user := lower(x.query.Get("UserId"))
	if user != "" && !guidPattern.MatchString(user) {
		return l.invalid("Parameter Name: UserId is not a GUID").reply()
	}
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
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

// groupUsers lists the members of the group in the query.
func (l *leadSquared) groupUsers(x *exchange) reply {
	group := lower(x.query.Get("GroupId"))
	switch {
	case group == "":
		return l.missing("GroupId").reply()
	case !guidPattern.MatchString(group):
		return l.invalid("Parameter Name: GroupId is not a GUID").reply()
	}
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	if l.cfg.Closed && !l.records[crm.SalesGroup+"/"+group] {
		return l.unknown("MXUnknownUserGroupException", "Group", group).reply()
	}
	l.records[crm.SalesGroup+"/"+group] = true // in an open world, whatever is asked about exists
	list := []map[string]any{}
	for _, s := range l.members()[group] {
		list = append(list, l.memberEntry(s))
	}
	return jsonReply(http.StatusOK, map[string]any{"RecordCount": len(list), "GroupUsers": list})
}

// memberEntry returns a membership as RetrieveUsers shows it. The documented reply
// has four of the six permissions.
func (l *leadSquared) memberEntry(s Share) map[string]any {
	p, _ := l.people.find(s.User)
	first, last := nameOf(p)
	entry := map[string]any{
		"GroupId": s.Record, "GroupName": groupName(s.Record),
		"UserId": s.User, "UserName": strings.TrimSpace(first + " " + last),
	}
	for i, name := range crm.PermissionNames() {
		bit := crm.Permissions(1 << i)
		if bit&(crm.ViewAllAccountsOfGroup|crm.ModifyAllAccountsOfGroup) == 0 || l.cfg.ShowAllPermissions {
			entry[name] = s.Permissions&bit != 0
		}
	}
	return entry
}

// members returns the memberships in force, by group. The server's mutex is held.
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
