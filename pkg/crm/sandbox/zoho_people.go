package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"net/url"
	"strconv"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// ZohoUser is an entry of Zoho's user list. One who is not active has the status
// disabled; the unconfirmed have not accepted their invitation. Records can be
// shared with neither of them.
type ZohoUser struct {
	crm.User
	Profile     string `json:",omitempty"` // empty for Standard
	Unconfirmed bool   `json:",omitempty"`
	Deleted     bool   `json:",omitempty"`
}

func (u ZohoUser) person() person { return person{u.User, u.Profile, u.Unconfirmed, u.Deleted} }

// zohoUserEntry is an entry of the reply of GET users.
type zohoUserEntry struct {
	ID        string        `json:"id"`
	Email     string        `json:"email"`
	FirstName string        `json:"first_name"`
	LastName  string        `json:"last_name"`
	FullName  string        `json:"full_name"`
	Status    string        `json:"status"`
	Confirm   bool          `json:"confirm"`
	ZUID      string        `json:"zuid,omitempty"`
	Role      zohoPrincipal `json:"role"`
	Profile   zohoPrincipal `json:"profile"`
}

// zohoEntry returns p as the API shows it. Those who were never confirmed have no
// zuid.
func (p person) zohoEntry() zohoUserEntry {
	first, last, full := p.names()
	e := zohoUserEntry{
		ID: p.ID, Email: p.Email, FirstName: first, LastName: last, FullName: full,
		Status: "active", Confirm: !p.Unconfirmed,
		Role:    zohoPrincipal{Name: p.roleName(), ID: p.roleID()},
		Profile: zohoPrincipal{Name: p.Role, ID: "5000000000000000601"},
	}
	switch {
	case p.Deleted:
		e.Status = "deleted"
	case !p.Active:
		e.Status = "disabled"
	}
	if e.Confirm {
		e.ZUID = zuid(p.ID)
	}
	if p.Role == roleAdmin {
		e.Profile.ID = "5000000000000000600"
	}
	return e
}

// roleID returns the id of the role of somebody in Zoho: their own, or what their profile
// stands for.
func (p person) roleID() string {
	switch {
	case p.User.Role != "":
		return p.User.Role
	case p.Role == roleAdmin:
		return "5000000000000000500"
	}
	return "5000000000000000501"
}

func (p person) roleName() string {
	switch {
	case p.User.Role != "":
		return "Role " + p.User.Role
	case p.Role == roleAdmin:
		return "CEO"
	}
	return "Manager"
}

// zuid makes a number from a user's id that is not the id, as Zoho's account
// numbers are.
func zuid(id string) string {
	sum := sha256.Sum256([]byte("zuid " + id))
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(sum[:4]))+600000000, 10)
}

// zohoUserTypes says who is listed by a value of the parameter type.
var zohoUserTypes = map[string]func(person) bool{
	"":                      func(p person) bool { return !p.Deleted },
	"AllUsers":              func(p person) bool { return !p.Deleted },
	"ActiveUsers":           person.live,
	"AllActiveUsers":        person.live,
	"DeactiveUsers":         func(p person) bool { return !p.Active && !p.Deleted },
	"ConfirmedUsers":        func(p person) bool { return !p.Unconfirmed && !p.Deleted },
	"NotConfirmedUsers":     func(p person) bool { return p.Unconfirmed && !p.Deleted },
	"DeletedUsers":          func(p person) bool { return p.Deleted },
	"ActiveConfirmedUsers":  person.reachable,
	"AdminUsers":            func(p person) bool { return p.Role == roleAdmin && !p.Deleted },
	"ActiveConfirmedAdmins": func(p person) bool { return p.Role == roleAdmin && p.reachable() },
}

// users lists a page of users, or the one with an id.
func (z *zoho) users(query url.Values, id string) *reply {
	if id != "" {
		p, ok := z.people.find(id)
		if !ok {
			return zohoProblem(http.StatusBadRequest, "INVALID_DATA", "the id given seems to be invalid", "resource_path_index", 0).reply()
		}
		return jsonReply(http.StatusOK, map[string]any{"users": []zohoUserEntry{p.zohoEntry()}})
	}
	listed := zohoUserTypes[query.Get("type")]
	if query.Get("type") == "CurrentUser" {
		listed = func(p person) bool { return p.ID == z.cfg.Owner.ID }
	}
	if listed == nil {
		return badQuery("type").reply()
	}
	page, ok1 := positive(query, "page", 1)
	perPage, ok2 := positive(query, "per_page", 200)
	if !ok1 || !ok2 || perPage > 200 {
		return badQuery("per_page").reply()
	}
	perPage = min(perPage, z.cfg.PageSize)
	var entries []zohoUserEntry
	n, start := 0, (page-1)*perPage
	for _, p := range z.people.list {
		if !listed(p) {
			continue
		}
		if n >= start && n < start+perPage {
			entries = append(entries, p.zohoEntry())
		}
		n++
	}
	if len(entries) == 0 {
		return &reply{status: http.StatusNoContent}
	}
	return jsonReply(http.StatusOK, map[string]any{"users": entries, "info": map[string]any{
		"per_page": perPage, "count": len(entries), "page": page, "more_records": n > start+perPage,
	}})
}

// positive reads a number of the query, with a default for one that is not there.
func positive(query url.Values, name string, missing int) (int, bool) {
	text := query.Get(name)
	if text == "" {
		return missing, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n > 0 && n < 1<<20
}

// org tells which organisation the token is for.
func (z *zoho) org() *reply {
	return jsonReply(http.StatusOK, map[string]any{"org": []map[string]any{{
		"id": "5000000000000000010", "zgid": z.cfg.Org, "company_name": "Sandbox", "primary_email": z.cfg.Owner.Email,
		"time_zone": "UTC",
	}}})
}
