package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// maxZohoEntries is the longest list that a write may carry.
const maxZohoEntries = 20

// zohoBody is the body of a POST or PUT.
type zohoBody struct {
	entries []json.RawMessage
	mail    bool // the owner gets a mail
	members bool // whoever is shared with is told
}

// write adds to a record's list, or replaces it.
func (z *zoho) write(x *exchange, place zohoPlace, rec *zohoRecord) reply {
	body, wrong := z.body(x, place)
	if wrong != nil {
		return wrong.reply()
	}
	check := entryCheck{z: z, place: place, put: x.r.Method == http.MethodPut, rec: rec, fault: x.fault}
	results, failed := make([]zohoError, len(body.entries)), make([]crm.Grant, 0)
	var accepted []crm.Grant
	for i, raw := range body.entries {
		grant, bad := check.entry(i, raw, accepted)
		if bad == nil && z.cfg.LimitPerEntry {
			bad = check.room(i, grant, accepted)
		}
		if bad != nil {
			results[i], failed = bad.wire(), append(failed, grant)
			continue
		}
		results[i] = zohoError{Code: "SUCCESS", Details: map[string]any{}, Message: "record will be shared successfully", Status: "success"}
		accepted = append(accepted, grant)
	}
	if len(accepted) == 0 {
		return jsonReply(http.StatusBadRequest, map[string]any{"share": results})
	}
	if bad := check.public(body.entries, accepted); bad != nil {
		return bad.reply()
	}
	spared := z.spared(rec, failed)
	if over := check.over(accepted, spared); over != "" && !z.cfg.LimitPerEntry {
		return check.limit(over).reply()
	}
	mails := body.mails(len(accepted))
	if x.fault.is(FaultDropEntry) {
		accepted = slices.DeleteFunc(accepted, func(g crm.Grant) bool { return g.ID == x.fault.Match })
	}
	job := &zohoJob{Key: place.key(), Verb: x.r.Method, Entries: accepted, Spared: spared, Mails: mails}
	if err := z.accept(x, job); err != nil {
		return journalFailed(err)
	}
	status := z.cfg.SuccessStatus
	if len(failed) > 0 {
		status = http.StatusMultiStatus
	}
	return jsonReply(status, map[string]any{"share": results})
}

// spared returns those who keep what they have although they stand in no entry
// that succeeded.
func (z *zoho) spared(rec *zohoRecord, failed []crm.Grant) []crm.Grant {
	switch {
	case len(failed) == 0:
		return nil
	case z.cfg.Partial == PartialKeep:
		return failed
	case z.cfg.Partial == PartialNobody:
		return rec.direct()
	}
	return nil
}

// mails is how many mails a write causes of which so many entries succeed.
func (b zohoBody) mails(entries int) int {
	n := 0
	if b.mail {
		n++
	}
	if b.members {
		n += entries
	}
	return n
}

// body reads a write's body apart from its entries.
func (z *zoho) body(x *exchange, place zohoPlace) (b zohoBody, wrong *zohoError) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(x.body, &keys) != nil || keys == nil {
		return b, invalidBody("body", "$")
	}
	if _, there := keys["share"]; !there {
		return b, &zohoError{status: http.StatusBadRequest, Code: "MANDATORY_NOT_FOUND", Message: "required field not found",
			Details: map[string]any{"api_name": "share", "json_path": "$.share"}}
	}
	if json.Unmarshal(keys["share"], &b.entries) != nil || len(b.entries) == 0 {
		return b, invalidBody("share", "$.share")
	}
	if len(b.entries) > maxZohoEntries {
		e := invalidBody("share", "$.share")
		e.Details["maximum_length"] = maxZohoEntries
		return b, e
	}
	legacy := place.version < 5 || z.cfg.LegacyNotify && x.r.Method == http.MethodPut
	known := []string{"share", "notify_on_completion", "notify_shared_members"}
	if legacy {
		known = []string{"share", "notify"}
	}
	if place.version == 4 {
		known = append(known, "notify_on_completion")
	}
	for name := range keys {
		if z.cfg.StrictKeys && !slices.Contains(known, name) {
			return b, invalidBody(name, "$."+name)
		}
	}
	return b, z.notifications(keys, place, legacy, &b)
}

// notifications reads who is to be told of a write. Mails to the owner are sent
// unless they are declined.
func (z *zoho) notifications(keys map[string]json.RawMessage, place zohoPlace, legacy bool, b *zohoBody) *zohoError {
	flags := map[string]*bool{"notify_on_completion": &b.mail, "notify_shared_members": &b.members}
	b.mail = true
	if legacy {
		flags = map[string]*bool{"notify": &b.mail}
		b.mail = place.version >= 5
	}
	for name, flag := range flags {
		if raw, there := keys[name]; there && json.Unmarshal(raw, flag) != nil {
			return invalidBody(name, "$."+name)
		}
	}
	if b.members && !z.cfg.Feeds {
		return &zohoError{status: http.StatusForbidden, Code: "NOT_ALLOWED", Message: "Feeds is not enabled for this org",
			Details: map[string]any{"json_path": "$.notify_shared_members"}}
	}
	return nil
}

func invalidBody(name, path string) *zohoError {
	return &zohoError{status: http.StatusBadRequest, Code: "INVALID_DATA", Message: "invalid data",
		Details: map[string]any{"api_name": name, "json_path": path}}
}

// public refuses a list in which sharing with everybody does not stand alone.
func (c *entryCheck) public(entries []json.RawMessage, accepted []crm.Grant) *zohoError {
	if len(entries) < 2 || !contains(accepted, crm.Grant{Kind: crm.KindPublic}) {
		return nil
	}
	return &zohoError{status: http.StatusBadRequest, Code: "AMBIGUITY_DURING_PROCESSING",
		Message: "For public sharing, more than one json object is given",
		Details: map[string]any{"ambiguity_due_to": []map[string]any{{"api_name": "share", "json_path": "$.share"}}}}
}

// over returns the kind of recipient of which the record would have too many,
// empty for none.
func (c *entryCheck) over(accepted, spared []crm.Grant) string {
	after := slices.Clone(accepted)
	kept := spared
	if !c.put {
		kept = c.rec.direct()
	}
	for _, g := range kept {
		if !contains(after, g) && contains(c.rec.direct(), g) {
			after = append(after, g)
		}
	}
	count := map[string]int{}
	for _, g := range after {
		if count[g.Kind]++; g.Kind != crm.KindPublic && count[g.Kind] > zohoLimits[g.Kind] {
			return g.Kind
		}
	}
	return ""
}

// limit is the refusal of a request as a whole.
func (c *entryCheck) limit(kind string) *zohoError {
	if kind == crm.KindUser && (c.put || c.place.version.usersOnly()) {
		return &zohoError{status: http.StatusForbidden, Code: "SHARE_LIMIT_EXCEEDED",
			Message: fmt.Sprintf("Cannot share a record to more than %d users.", zohoLimits[kind])}
	}
	return &zohoError{status: http.StatusForbidden, Code: "LIMIT_EXCEEDED", Message: "The record sharing limit has been reached"}
}

// room refuses the entry with which the record has too many of its kind.
func (c *entryCheck) room(i int, g crm.Grant, accepted []crm.Grant) *zohoError {
	if c.over(append(slices.Clone(accepted), g), nil) != g.Kind {
		return nil
	}
	return &zohoError{Code: "LIMIT_EXCEEDED", Message: "The record sharing limit has been reached",
		Details: map[string]any{"limit": zohoLimits[g.Kind], "api_name": "type", "json_path": entryPath(i, "shared_with.type")}}
}
