package zoho

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// The kinds of recipients, as the wire names them. An entry without a recipient is
// a public share.
const (
	kindUser  = "users"
	kindGroup = "groups"
	kindRole  = "roles"
)

// The types of an entry.
const (
	typePrivate = "private"
	typePublic  = "public"
)

// entry is one line of a record's list, with the vendor's own words, so that it can
// be written back exactly. It is comparable.
type entry struct {
	kind       string // "users", "groups", "roles", or whatever else there is; "" without a recipient
	id         string
	permission string
	related    crm.Choice // Unsaid where the CRM does not show the flag
	sort       string     // "private" or "public"; "" where the CRM does not show it
	through    string     // "Module/id" of the parent that it is inherited from
}

// public says whether the entry is a share with the whole organisation.
func (e entry) public() bool { return e.sort == typePublic || e.kind == "" && e.id == "" }

// direct says whether the entry is on the record itself, and not for everybody.
func (e entry) direct() bool { return e.through == "" && !e.public() }

// isUser says whether the entry gives the record itself to the user.
func (e entry) isUser(id string) bool { return e.direct() && e.kind == kindUser && e.id == id }

// sound says whether everything is known that it takes to write the entry back: a
// permission that is left out would become full access, and a flag false.
func (e entry) sound() bool {
	return e.kind != "" && number.MatchString(e.id) && e.permission != "" && e.related != crm.Unsaid
}

// kindOf is the domain's word for a kind of recipient, which messages use too.
func kindOf(kind string) string {
	switch kind {
	case kindUser:
		return crm.KindUser
	case kindGroup:
		return crm.KindGroup
	case kindRole:
		return crm.KindRole
	}
	return kind
}

// name is the entry's recipient for messages.
func (e entry) name() string {
	if e.kind == "" {
		return "everybody"
	}
	return kindOf(e.kind) + " " + e.id
}

// grant is the entry as the journal keeps it.
func (e entry) grant() crm.Grant {
	g := crm.Grant{Kind: kindOf(e.kind), ID: e.id, Related: e.related == crm.Yes, Type: e.sort, Through: e.through}
	g.Access, _ = crm.ParseAccess(e.permission)
	if e.public() {
		g.Kind = crm.KindPublic
	}
	return g
}

// grants are entries as the journal keeps them.
func grants(list []entry) []crm.Grant {
	all := make([]crm.Grant, len(list))
	for i, e := range list {
		all[i] = e.grant()
	}
	return all
}

// permissionOf is the vendor's word for a level.
func permissionOf(a crm.Access) string {
	switch a {
	case crm.Read:
		return "read_only"
	case crm.Write:
		return "read_write"
	}
	return "full_access"
}

// What takes any JSON value, so that one odd field does not hide the others.
type (
	text = transport.Text
	once = transport.Once
)

// reply is the superset of the envelopes. Every field takes any JSON value, so
// that one odd field does not hide the others.
type reply struct {
	Code        text `json:"code"`
	Message     text `json:"message"`
	Status      text `json:"status"`
	Error       text `json:"error"`
	Description text `json:"error_description"`
	Share       once `json:"share"`
	Info        once `json:"info"`
	Details     once `json:"details"`
}

// says is the text of an error reply.
func (p *reply) says() string { return string(cmp.Or(p.Message, p.Description)) }

// words are the reply's own, for messages about one that contradicts itself.
func (p *reply) words() string {
	words := transport.Quoted([2]string{"status", string(p.Status)}, [2]string{"code", string(p.Code)}, [2]string{"message", p.says()})
	return cmp.Or(words, "no status, code or message")
}

// complains says whether the reply as a whole speaks of anything but success,
// whatever else is in it: a list beside an error is no list.
func (p *reply) complains() bool {
	word := strings.ToLower(string(p.Status))
	return p.Error != "" || p.Code != "" && !strings.EqualFold(string(p.Code), "SUCCESS") || word != "" && word != "success"
}

// result is what a write says of one entry, or of a whole request.
type result struct {
	Code    text `json:"code"`
	Message text `json:"message"`
	Status  text `json:"status"`
	Details once `json:"details"`
	said    said
}

// readResults reads what a write says, which is one result or a list of them.
func readResults(raw once) (one result, list []result, isOne, isList bool) {
	isOne, isList = json.Unmarshal(raw, &one) == nil, json.Unmarshal(raw, &list) == nil
	return one, list, isOne, isList
}

// ok says whether the entry was accepted, no whether it was refused, doubtful that it is
// neither.
func (r result) ok() bool       { return r.said == yes }
func (r result) no() bool       { return r.said == no }
func (r result) doubtful() bool { return r.said == unclear }

// entryPath is how an error names the entry that it is about.
var entryPath = regexp.MustCompile(`^\$\.share\[([0-9]{1,4})\]`)

// place returns the index of the entry that a result is about: the one that a
// refusal names, else its own; named says which.
func (r result) place(own int) (at int, named bool) {
	var details struct {
		Path text `json:"json_path"`
	}
	_ = json.Unmarshal(r.Details, &details) // what can not be read names nothing
	if m := entryPath.FindStringSubmatch(string(details.Path)); m != nil && r.no() {
		at, _ = strconv.Atoi(m[1]) // four digits at most
		return at, true
	}
	return own, false
}

// about says whether the result is about the record, as far as it tells.
func (r result) about(record string) bool {
	var details struct {
		ID text `json:"id"`
	}
	return r.Details.Absent() || json.Unmarshal(r.Details, &details) == nil && (details.ID == "" || string(details.ID) == record)
}

// wireEntry is an entry as the CRM shows it: with "shared_with", or with "user" in
// the older versions.
type wireEntry struct {
	SharedWith once `json:"shared_with"`
	User       once `json:"user"`
	Permission text `json:"permission"`
	Related    text `json:"share_related_records"`
	Type       text `json:"type"`
	Through    once `json:"shared_through"`
}

var errUnreadable = errors.New("the list of shares can not be read")

// readList reads the list that a look at record brought. What it takes for granted is no
// more than what a decision needs: an entry that is odd in other ways stays in the list
// and is not sound.
func readList(raw once, record string) ([]entry, error) {
	var wire []wireEntry
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) || json.Unmarshal(raw, &wire) != nil {
		return nil, errUnreadable
	}
	list := make([]entry, len(wire))
	for i, w := range wire {
		e := entry{permission: string(w.Permission), sort: strings.ToLower(string(w.Type))}
		related := strings.ToLower(string(w.Related))
		e.related = map[string]crm.Choice{"true": crm.Yes, "false": crm.No}[related]
		var whom, from bool
		e.kind, e.id, whom = w.recipient()
		e.through, from = readThrough(w.Through, record)
		bare := e.kind == "" && e.sort != typePublic && e.permission == ""
		if !whom || !from || bare || related != "" && e.related == crm.Unsaid {
			return nil, errUnreadable
		}
		list[i] = e
	}
	return list, nil
}

// recipient reads whom the entry is about; nobody where it names nobody. It is not ok where
// that can not be told: a user whose id is none may be anybody, the leaver too, and so may
// one who is named twice.
func (w wireEntry) recipient() (kind, id string, ok bool) {
	for i, raw := range []once{w.SharedWith, w.User} {
		if raw.Absent() {
			continue
		}
		var one struct{ ID, Type text }
		if json.Unmarshal(raw, &one) != nil {
			return "", "", false
		}
		k := cmp.Or(strings.ToLower(string(one.Type)), []string{"", kindUser}[i])
		if one.ID == "" || k == "" || k == kindUser && !number.MatchString(string(one.ID)) || id != "" && (id != string(one.ID) || kind != k) {
			return "", "", false
		}
		kind, id = k, string(one.ID)
	}
	return kind, id, true
}

// readThrough names the parent that an entry is inherited from; "" where it is the
// record itself, or none is named.
func readThrough(raw once, record string) (parent string, ok bool) {
	var through struct {
		ID     text
		Module once
	}
	if !raw.Absent() && json.Unmarshal(raw, &through) != nil {
		return "", false
	}
	if through.ID == "" || string(through.ID) == record {
		return "", true
	}
	var module struct {
		APIName text `json:"api_name"`
		Name    text `json:"name"`
	}
	var name text
	if json.Unmarshal(through.Module, &module) == nil {
		name = cmp.Or(module.APIName, module.Name)
	} else if !through.Module.Absent() {
		_ = name.UnmarshalJSON(through.Module) // takes every value
	}
	return string(name) + "/" + string(through.ID), true
}
