package sandbox

import (
	"net/http"
	"net/url"
	"slices"
)

// ZohoGroup is a group of Zoho with its sources: users and roles by id.
type ZohoGroup struct {
	ID    string   `json:"id"`
	Name  string   `json:"name,omitempty"`
	Users []string `json:"users,omitempty"`
	Roles []string `json:"roles,omitempty"`
}

// putGroup adds a group, or replaces the one with its id, and makes its users known.
func (z *zoho) putGroup(g *ZohoGroup) {
	for _, user := range g.Users {
		z.people.named(user)
	}
	i := slices.IndexFunc(z.groups, func(old ZohoGroup) bool { return old.ID == g.ID })
	if i >= 0 {
		z.groups[i] = *g
		return
	}
	z.groups = append(z.groups, *g)
}

// associatedGroups lists a page of the groups that a user is in, by themselves or by their
// role.
func (z *zoho) associatedGroups(query url.Values, user string) *reply {
	p, ok := z.people.find(user)
	if !ok {
		return zohoProblem(http.StatusBadRequest, "INVALID_DATA", "the id given seems to be invalid", "resource_path_index", 1).reply()
	}
	if include := query.Get("include"); include != "" && include != "sources" {
		return badQuery("include").reply()
	}
	page, ok1 := positive(query, "page", 1)
	perPage, ok2 := positive(query, "per_page", 200)
	if !ok1 || !ok2 || perPage > 200 {
		return badQuery("per_page").reply()
	}
	perPage = min(perPage, z.cfg.PageSize)
	var list []map[string]any
	n, start := 0, (page-1)*perPage
	for _, g := range z.groups {
		if !slices.Contains(g.Users, p.ID) && !slices.Contains(g.Roles, p.roleID()) {
			continue
		}
		if n >= start && n < start+perPage {
			entry := map[string]any{"id": g.ID, "name": g.Name, "description": nil}
			if query.Get("include") == "sources" {
				entry["sources"] = g.sources()
			}
			list = append(list, entry)
		}
		n++
	}
	if len(list) == 0 {
		return &reply{status: http.StatusNoContent}
	}
	return jsonReply(http.StatusOK, map[string]any{"user_groups": list, "info": map[string]any{
		"per_page": perPage, "count": len(list), "page": page, "more_records": n > start+perPage,
	}})
}

// sources are what a group is made of, as the API shows it.
func (g ZohoGroup) sources() []map[string]any {
	list := []map[string]any{}
	add := func(kind string, ids []string) {
		for _, id := range ids {
			list = append(list, map[string]any{"type": kind, "source": map[string]string{"id": id, "name": kind + " " + id}})
		}
	}
	add("users", g.Users)
	add("roles", g.Roles)
	return list
}
