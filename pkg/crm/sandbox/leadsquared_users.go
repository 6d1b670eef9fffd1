package sandbox

import (
	"net/http"
	"strings"
)

// users lists everybody, inactive users too, in one reply.
func (l *leadSquared) users(*exchange) reply {
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	list := make([]userEntry, 0, len(l.people.list))
	for _, p := range l.people.list {
		first, last := nameOf(p)
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
func (l *leadSquared) whoAmI(x *exchange) reply {
	owner := l.owner()
	first, last := nameOf(owner)
	host := l.cfg.Host
	if host == "" {
		host = x.r.Host
	}
	rep := whoAmIReply{
		Id: owner.ID, Name: strings.TrimSpace(first + " " + last), Role: owner.Role,
		EmailAddress: orNull(owner.Email), OrgId: l.cfg.Org, OrgShortCode: "SANDBOX", TimeZone: "UTC",
	}
	rep.LSQCommonServiceURLs.API = "https://" + host + "/v2/"
	rep.LSQCommonServiceURLs.Web = "https://web.sandbox.example/"
	return jsonReply(http.StatusOK, rep)
}

// nameOf makes a name from an address.
func nameOf(p person) (first, last string) {
	local, _, _ := strings.Cut(p.Email, "@")
	first, last, _ = strings.Cut(local, ".")
	return first, last
}

// orNull is what JSON shows as null where s is empty.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// lower is the spelling in which identifiers are compared.
func lower(id string) string { return strings.ToLower(strings.TrimSpace(id)) }
