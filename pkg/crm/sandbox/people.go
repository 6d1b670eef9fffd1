package sandbox

import (
	"crypto/sha256"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// person is an entry of a user list.
type person struct {
	crm.User
	Role        string // of Zoho the name of the profile
	Unconfirmed bool   `json:",omitempty"` // Zoho
	Deleted     bool   `json:",omitempty"` // Zoho
}

// reachable says that a record can be shared with p.
func (p person) reachable() bool { return p.live() && !p.Unconfirmed }

// live says that p can use the CRM.
func (p person) live() bool { return p.Active && !p.Deleted }

// names makes a name from the address.
func (p person) names() (first, last, full string) {
	local, _, _ := strings.Cut(p.Email, "@")
	first, last, _ = strings.Cut(local, ".")
	return first, last, strings.TrimSpace(first + " " + last)
}

// people is a user list, in the order in which they were added.
type people struct {
	role   string                  // of those who come without one
	makeID func(sum []byte) string // makes an id from the digest of an address

	list    []person
	byID    map[string]int // by lower-case id
	byEmail map[string]int // by lower-case address; the latest to have it
}

func newPeople(role string, makeID func([]byte) string, owner person) people {
	l := people{role: role, makeID: makeID, byID: map[string]int{}, byEmail: map[string]int{}}
	l.put(owner)
	return l
}

// put adds p or replaces the entry with its id, and says whether that changed
// anything.
func (l *people) put(p person) bool {
	if p.Role == "" {
		p.Role = l.role
	}
	id := strings.ToLower(p.ID)
	i, known := l.byID[id]
	switch {
	case !known:
		i = len(l.list)
		l.byID[id] = i
		l.list = append(l.list, p)
	case l.list[i] == p:
		return false
	default:
		if old := strings.ToLower(l.list[i].Email); l.byEmail[old] == i {
			delete(l.byEmail, old)
		}
		l.list[i] = p
	}
	if p.Email != "" {
		l.byEmail[strings.ToLower(p.Email)] = i
	}
	return true
}

func (l *people) find(id string) (person, bool) {
	i, ok := l.byID[strings.ToLower(id)]
	if !ok {
		return person{}, false
	}
	return l.list[i], true
}

// named returns the id of the user that a sheet names by id or by e-mail address.
// One who is not known is added: an address gets an id made from it, so that the
// same sheet makes the same user everywhere; an id gets an address made from it.
func (l *people) named(name string) (id string, added bool) {
	lower := strings.ToLower(name)
	if !strings.Contains(name, "@") {
		if _, ok := l.find(lower); ok {
			return lower, false
		}
		return lower, l.put(person{User: crm.User{ID: lower, Email: lower + "@sandbox.example", Active: true}})
	}
	if i, ok := l.byEmail[lower]; ok {
		return strings.ToLower(l.list[i].ID), false
	}
	sum := sha256.Sum256([]byte(lower))
	id = l.makeID(sum[:])
	return id, l.put(person{User: crm.User{ID: id, Email: name, Active: true}})
}
