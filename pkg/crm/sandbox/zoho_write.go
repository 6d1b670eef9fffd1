package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// maxZohoEntries is the longest list that a write may carry.
const maxZohoEntries = 20

// limitReached is what Zoho says where a record would have too many recipients.
const limitReached = "The record sharing limit has been reached"

// zohoBody is the body of a POST or PUT.
type zohoBody struct {
	entries []json.RawMessage
	mail    bool // the owner gets a mail
	members bool // whoever is shared with is told
}

// write adds to a record's list, or replaces it.
func (z *zoho) write(x *exchange, place zohoPlace, rec *zohoRecord) *reply {
	body, wrong := z.body(x, place)
	if wrong != nil {
		return wrong.reply()
	}
	check := entryCheck{z: z, place: place, put: x.r.Method == http.MethodPut, rec: rec, fault: x.fault}
	results := make([]*zohoAnswer, len(body.entries))
	var failed []crm.Grant
	for i, raw := range body.entries {
		grant, bad := check.entry(i, raw)
		if bad != nil {
			results[i], failed = bad, append(failed, grant)
			continue
		}
		results[i] = zohoSuccess("record will be shared successfully")
		check.accepted = append(check.accepted, grant)
	}
	accepted := check.accepted
	if len(accepted) == 0 {
		return jsonReply(http.StatusBadRequest, map[string]any{"share": results})
	}
	if len(body.entries) > 1 && contains(accepted, crm.Grant{Kind: crm.KindPublic}) {
		return zohoProblem(http.StatusBadRequest, "AMBIGUITY_DURING_PROCESSING",
			"For public sharing, more than one json object is given",
			"ambiguity_due_to", []map[string]any{{"api_name": "share", "json_path": "$.share"}}).reply()
	}
	var spared []crm.Grant // keep what they have although they stand in no entry that succeeded
	switch {
	case len(failed) > 0 && z.cfg.Partial == PartialKeep:
		spared = failed
	case len(failed) > 0 && z.cfg.Partial == PartialNobody:
		spared = rec.direct()
	}
	if over := check.over(accepted, spared); over != "" && !z.cfg.LimitPerEntry {
		if over == crm.KindUser && (check.put || place.usersOnly()) {
			return zohoProblem(http.StatusForbidden, "SHARE_LIMIT_EXCEEDED",
				fmt.Sprintf("Cannot share a record to more than %d users.", zohoLimits[over])).reply()
		}
		return zohoProblem(http.StatusForbidden, "LIMIT_EXCEEDED", limitReached).reply()
	}
	job := &zohoJob{Key: place.key(), Verb: x.r.Method, Entries: accepted, Spared: spared}
	if body.mail {
		job.Mails++
	}
	if body.members {
		job.Mails += len(accepted)
	}
	if x.fault.is(FaultDropEntry) {
		job.Entries = slices.DeleteFunc(accepted, func(g crm.Grant) bool { return g.ID == x.fault.Match })
	}
	if err := z.accept(x, job); err != nil {
		return notWritten(err)
	}
	status := z.cfg.SuccessStatus
	if len(failed) > 0 {
		status = http.StatusMultiStatus
	}
	return jsonReply(status, map[string]any{"share": results})
}

// body reads a write's body apart from its entries. Mails to the owner are sent unless
// they are declined.
func (z *zoho) body(x *exchange, place zohoPlace) (b zohoBody, wrong *zohoAnswer) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(x.body, &keys) != nil || keys == nil {
		return b, invalidBody("body", "$")
	}
	share, there := keys["share"]
	switch {
	case !there:
		return b, zohoProblem(http.StatusBadRequest, "MANDATORY_NOT_FOUND", "required field not found", "api_name", "share", "json_path", "$.share")
	case json.Unmarshal(share, &b.entries) != nil || len(b.entries) == 0:
		return b, invalidBody("share", "$.share")
	case len(b.entries) > maxZohoEntries:
		return b, invalidBody("share", "$.share", "maximum_length", maxZohoEntries)
	}
	b.mail = true
	known := map[string]*bool{"notify_on_completion": &b.mail, "notify_shared_members": &b.members}
	if place.version < 5 || z.cfg.LegacyNotify && x.r.Method == http.MethodPut {
		b.mail = place.version >= 5
		known = map[string]*bool{"notify": &b.mail}
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		flag := known[name]
		allowed := flag != nil || name == "share" || place.version == 4 && name == "notify_on_completion"
		if flag != nil && json.Unmarshal(keys[name], flag) != nil || z.cfg.StrictKeys && !allowed {
			return b, invalidBody(name, "$."+name)
		}
	}
	if b.members && !z.cfg.Feeds {
		return b, zohoProblem(http.StatusForbidden, "NOT_ALLOWED", "Feeds is not enabled for this org",
			"json_path", "$.notify_shared_members")
	}
	return b, nil
}
