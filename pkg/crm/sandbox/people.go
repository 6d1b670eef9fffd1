package sandbox

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The roles that matter here.
const (
	roleAdmin = "Administrator"
	roleSales = "Sales_User"
)

// person is an entry of the user list.
type person struct {
	crm.User
	Role string
}

// people is a user list, in the order in which they were added. The server's mutex
// guards it.
type people struct {
	list    []person
	byID    map[string]int // by lower-case id
	byEmail map[string]int // by lower-case address; the latest to have it
}

func newPeople() people {
	return people{byID: map[string]int{}, byEmail: map[string]int{}}
}

// put adds p or replaces the entry with its id, and says whether that changed
// anything.
func (l *people) put(p person) bool {
	if p.Role == "" {
		p.Role = roleSales
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
	if !strings.Contains(name, "@") {
		id = strings.ToLower(name)
		if _, ok := l.find(id); ok {
			return id, false
		}
		return id, l.put(person{User: crm.User{ID: id, Email: id + "@sandbox.example", Active: true}})
	}
	if i, ok := l.byEmail[strings.ToLower(name)]; ok {
		return strings.ToLower(l.list[i].ID), false
	}
	sum := sha256.Sum256([]byte(strings.ToLower(name)))
	id = fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	return id, l.put(person{User: crm.User{ID: id, Email: name, Active: true}})
}
