package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// profileAdmin and profileStandard are the profiles that Zoho ships.
const (
	profileAdmin    = "Administrator"
	profileStandard = "Standard"
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

// reachable says that a record can be shared with u.
func (u ZohoUser) reachable() bool { return u.Active && !u.Unconfirmed && !u.Deleted }

func (u ZohoUser) status() string {
	switch {
	case u.Deleted:
		return "deleted"
	case !u.Active:
		return "disabled"
	}
	return "active"
}

// zohoPeople is a user list, in the order in which they were added. The server's
// mutex guards it.
type zohoPeople struct {
	list []ZohoUser
	byID map[string]int
}

// put adds u or replaces the entry with its id, and says whether that changed
// anything.
func (p *zohoPeople) put(u ZohoUser) bool {
	if u.Profile == "" {
		u.Profile = profileStandard
	}
	i, known := p.byID[u.ID]
	if !known {
		p.byID[u.ID] = len(p.list)
		p.list = append(p.list, u)
		return true
	}
	if p.list[i] == u {
		return false
	}
	p.list[i] = u
	return true
}

func (p *zohoPeople) find(id string) (ZohoUser, bool) {
	i, ok := p.byID[id]
	if !ok {
		return ZohoUser{}, false
	}
	return p.list[i], true
}

// named returns the id of the user that a sheet names by id or by e-mail address.
// One who is not known is added, with an id or an address made from the name, so
// that the same sheet makes the same user everywhere.
func (p *zohoPeople) named(name string) (id string, added bool) {
	if !strings.Contains(name, "@") {
		if _, ok := p.find(name); ok {
			return name, false
		}
		return name, p.put(ZohoUser{User: crm.User{ID: name, Email: name + "@sandbox.example", Active: true}})
	}
	for _, u := range p.list {
		if strings.EqualFold(u.Email, name) {
			return u.ID, false
		}
	}
	sum := sha256.Sum256([]byte(strings.ToLower(name)))
	id = fmt.Sprintf("5%018d", binary.BigEndian.Uint64(sum[:8])%1e18)
	return id, p.put(ZohoUser{User: crm.User{ID: id, Email: name, Active: true}})
}

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

// entry returns u as the API shows it. Those who were never confirmed have no
// zuid.
func (u ZohoUser) entry() zohoUserEntry {
	first, last := nameOf(person{User: u.User})
	e := zohoUserEntry{
		ID: u.ID, Email: u.Email, FirstName: first, LastName: last, FullName: strings.TrimSpace(first + " " + last),
		Status: u.status(), Confirm: !u.Unconfirmed,
		Role:    zohoPrincipal{Name: "Manager", ID: "5000000000000000501"},
		Profile: zohoPrincipal{Name: u.Profile, ID: "5000000000000000601"},
	}
	if e.Confirm {
		e.ZUID = zuid(u.ID)
	}
	if u.Profile == profileAdmin {
		e.Role, e.Profile.ID = zohoPrincipal{Name: "CEO", ID: "5000000000000000500"}, "5000000000000000600"
	}
	return e
}

// zuid makes a number from a user's id that is not the id, as Zoho's account
// numbers are.
func zuid(id string) string {
	sum := sha256.Sum256([]byte("zuid " + id))
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(sum[:4]))+600000000, 10)
}

// zohoUserTypes says who is listed by a value of the parameter type.
var zohoUserTypes = map[string]func(ZohoUser) bool{
	"AllUsers":              func(u ZohoUser) bool { return !u.Deleted },
	"ActiveUsers":           func(u ZohoUser) bool { return u.Active && !u.Deleted },
	"AllActiveUsers":        func(u ZohoUser) bool { return u.Active && !u.Deleted },
	"DeactiveUsers":         func(u ZohoUser) bool { return !u.Active && !u.Deleted },
	"ConfirmedUsers":        func(u ZohoUser) bool { return !u.Unconfirmed && !u.Deleted },
	"NotConfirmedUsers":     func(u ZohoUser) bool { return u.Unconfirmed && !u.Deleted },
	"DeletedUsers":          func(u ZohoUser) bool { return u.Deleted },
	"ActiveConfirmedUsers":  ZohoUser.reachable,
	"AdminUsers":            func(u ZohoUser) bool { return u.Profile == profileAdmin && !u.Deleted },
	"ActiveConfirmedAdmins": func(u ZohoUser) bool { return u.Profile == profileAdmin && u.reachable() },
}

// users lists a page of users, or the one whose "/id" follows the path.
func (z *zoho) users(query url.Values, one string) reply {
	z.server.mu.Lock()
	defer z.server.mu.Unlock()
	if one != "" {
		u, ok := z.people.find(one[1:])
		if !ok {
			return z.noUser().reply()
		}
		return jsonReply(http.StatusOK, map[string]any{"users": []zohoUserEntry{u.entry()}})
	}
	kind := query.Get("type")
	if kind == "" {
		kind = "AllUsers"
	}
	listed := zohoUserTypes[kind]
	if kind == "CurrentUser" {
		listed = func(u ZohoUser) bool { return u.ID == z.cfg.Owner.ID }
	}
	if listed == nil {
		return badQuery("type").reply()
	}
	page, ok1 := positive(query, "page", 1)
	perPage, ok2 := positive(query, "per_page", 200)
	if !ok1 || !ok2 || perPage > 200 {
		return badQuery("per_page").reply()
	}
	return z.userPage(listed, page, min(perPage, z.cfg.PageSize))
}

func (z *zoho) userPage(listed func(ZohoUser) bool, page, perPage int) reply {
	all := slices.Collect(func(yield func(ZohoUser) bool) {
		for _, u := range z.people.list {
			if listed(u) && !yield(u) {
				return
			}
		}
	})
	start := min((page-1)*perPage, len(all))
	end := min(start+perPage, len(all))
	if start == end {
		return reply{status: http.StatusNoContent}
	}
	entries := make([]zohoUserEntry, 0, end-start)
	for _, u := range all[start:end] {
		entries = append(entries, u.entry())
	}
	return jsonReply(http.StatusOK, map[string]any{
		"users": entries,
		"info": map[string]any{
			"per_page": perPage, "count": len(entries), "page": page, "more_records": end < len(all),
		},
	})
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

func badQuery(name string) *zohoError {
	return &zohoError{status: http.StatusBadRequest, Code: "PATTERN_NOT_MATCHED",
		Message: "Please check whether the input values are correct", Details: map[string]any{"api_name": name}}
}

func (z *zoho) noUser() *zohoError {
	return &zohoError{status: http.StatusBadRequest, Code: "INVALID_DATA", Message: "the id given seems to be invalid",
		Details: map[string]any{"resource_path_index": 0}}
}

// org tells which organisation the token is for.
func (z *zoho) org(*exchange) reply {
	return jsonReply(http.StatusOK, map[string]any{"org": []map[string]any{{
		"id": "5000000000000000010", "zgid": z.cfg.Org, "company_name": "Sandbox", "primary_email": z.cfg.Owner.Email,
		"time_zone": "UTC",
	}}})
}
