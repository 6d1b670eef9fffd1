package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// entryCheck reads the entries of one write.
type entryCheck struct {
	z     *zoho
	place zohoPlace
	put   bool
	rec   *zohoRecord
	fault *Fault
}

func entryPath(i int, name string) string { return fmt.Sprintf("$.share[%d].%s", i, name) }

func missingField(i int, name string) *zohoError {
	return &zohoError{Code: "MANDATORY_NOT_FOUND", Message: "required field not found",
		Details: map[string]any{"api_name": name, "json_path": entryPath(i, name)}}
}

func invalidField(i int, name, message string) *zohoError {
	return &zohoError{Code: "INVALID_DATA", Message: message,
		Details: map[string]any{"api_name": name, "json_path": entryPath(i, name)}}
}

// entry reads the entry with the index i. accepted are those before it that
// succeeded. The grant names the recipient even where the entry fails, as far as
// it could be read.
func (c *entryCheck) entry(i int, raw json.RawMessage, accepted []crm.Grant) (g crm.Grant, wrong *zohoError) {
	var f fields
	if json.Unmarshal(raw, &f) != nil || f == nil {
		return g, &zohoError{Code: "INVALID_DATA", Message: "invalid data",
			Details: map[string]any{"expected_data_type": "jsonobject", "json_path": fmt.Sprintf("$.share[%d]", i)}}
	}
	g.Type, wrong = c.typ(i, f)
	if wrong != nil {
		return g, wrong
	}
	g.Kind = crm.KindPublic
	if wrong = c.recipient(i, f, &g); wrong != nil {
		return g, wrong
	}
	if g.Access, wrong = c.permission(i, f); wrong != nil {
		return g, wrong
	}
	if related, there := f["share_related_records"]; there && json.Unmarshal(related, &g.Related) != nil {
		return g, invalidField(i, "share_related_records", "invalid data")
	}
	if wrong = c.keys(i, f); wrong != nil {
		return g, wrong
	}
	if contains(accepted, g) && c.put {
		return g, &zohoError{Code: "DUPLICATE_DATA", Message: "duplicate data",
			Details: map[string]any{"api_name": "shared_with", "json_path": entryPath(i, "shared_with")}}
	}
	return g, c.allowed(i, g, accepted)
}

// typ reads the type, which v2 does not have.
func (c *entryCheck) typ(i int, f fields) (string, *zohoError) {
	raw, there := f["type"]
	if !there {
		if c.place.version.typed() {
			return "", missingField(i, "type")
		}
		return "private", nil
	}
	var s string
	if json.Unmarshal(raw, &s) != nil || (s != "private" && s != "public") {
		e := invalidField(i, "type", "invalid data")
		e.Details["regex"] = "private|public"
		return "", e
	}
	return s, nil
}

// recipientKey returns the key under which an entry names its recipient. v4 has
// been seen with both.
func (c *entryCheck) recipientKey(f fields) string {
	_, user := f["user"]
	if c.place.version.usersOnly() || c.place.version == 4 && user {
		return "user"
	}
	return "shared_with"
}

// recipient reads whom an entry is about.
func (c *entryCheck) recipient(i int, f fields, g *crm.Grant) *zohoError {
	key := c.recipientKey(f)
	raw, there := f[key]
	if g.Type == "public" {
		if there {
			return misfit(i)
		}
		return nil
	}
	if !there {
		return missingField(i, key)
	}
	var who struct {
		ID   json.RawMessage `json:"id"`
		Type *string         `json:"type"`
	}
	if json.Unmarshal(raw, &who) != nil || bytes.Equal(raw, []byte("null")) {
		return invalidField(i, key, "invalid data")
	}
	switch {
	case key == "user" || who.Type != nil && *who.Type == "users":
		g.Kind = crm.KindUser
	case who.Type == nil:
		return missingField(i, key+".type")
	case *who.Type == "groups":
		g.Kind = crm.KindGroup
	case *who.Type == "roles":
		g.Kind = crm.KindRole
	default:
		return misfit(i)
	}
	if len(who.ID) == 0 {
		return missingField(i, key+".id")
	}
	if json.Unmarshal(who.ID, &g.ID) != nil || !c.z.isRecipient(*g) {
		e := invalidField(i, key+".id", "invalid "+g.Kind+" Id")
		e.Details["api_name"] = "id"
		return e
	}
	return nil
}

func misfit(i int) *zohoError {
	e := invalidField(i, "shared_with", "invalid data")
	e.Details["dependee"] = map[string]any{"api_name": "type", "json_path": entryPath(i, "type")}
	return e
}

// isRecipient says that a user, group or role exists. Groups and roles exist where
// they are on some record, and in an open world wherever they are well-formed.
func (z *zoho) isRecipient(g crm.Grant) bool {
	if !zohoID.MatchString(g.ID) {
		return false
	}
	if !z.server.cfg.Closed {
		u, _ := z.people.find(g.ID)
		return g.Kind != crm.KindUser || !u.Deleted
	}
	if g.Kind == crm.KindUser {
		u, ok := z.people.find(g.ID)
		return ok && !u.Deleted
	}
	for _, rec := range z.records {
		if slices.ContainsFunc(rec.list, func(h held) bool { return same(h.Grant, g) }) {
			return true
		}
	}
	return false
}

// permission reads the level. Where it may be left out, everything is allowed.
func (c *entryCheck) permission(i int, f fields) (crm.Access, *zohoError) {
	raw, there := f["permission"]
	if !there {
		if c.put || c.place.version < 5 {
			return crm.Full, nil
		}
		return 0, missingField(i, "permission")
	}
	var s string
	if json.Unmarshal(raw, &s) == nil && s != "" {
		if level := slices.Index(zohoPermissions, s); level > 0 {
			return crm.Access(level), nil
		}
	}
	e := invalidField(i, "permission", "invalid data")
	e.Details["regex"] = strings.Join([]string{"read_only", "read_write", "full_access"}, "|")
	return 0, e
}

// keys refuses keys that do not belong into an entry, where the configuration says
// so.
func (c *entryCheck) keys(i int, f fields) *zohoError {
	if !c.z.cfg.StrictKeys {
		return nil
	}
	for name := range f {
		switch name {
		case c.recipientKey(f), "permission", "share_related_records", "type":
		default:
			return invalidField(i, name, "invalid data")
		}
	}
	return nil
}

// allowed says why the record may not be shared like this, nil if it may.
func (c *entryCheck) allowed(i int, g crm.Grant, accepted []crm.Grant) *zohoError {
	if f := c.fault; f.is(FaultRefuseEntry) && (f.Match == g.ID || f.Match == "" && f.Code == i) {
		code, text := f.Type, f.Text
		if code == "" {
			code, text = "INVALID_DATA", "cannot share to the user"
		}
		return &zohoError{Code: code, Message: text,
			Details: map[string]any{"api_name": "shared_with", "json_path": entryPath(i, "shared_with")}}
	}
	if !c.put && c.visible(g, accepted) {
		if c.z.cfg.AmbiguousVisible {
			return invalidField(i, "shared_with", "cannot share to the user")
		}
		return invalidField(i, "shared_with", "record is already visible to the user.")
	}
	if g.Kind != crm.KindUser {
		return nil
	}
	u, known := c.z.people.find(g.ID)
	if !known || u.reachable() || c.put && c.z.cfg.KeepInactive && contains(c.rec.direct(), g) {
		return nil
	}
	return invalidField(i, "shared_with", "cannot share to the user")
}

// visible says that a recipient has the record already, by whatever way its list
// tells of.
func (c *entryCheck) visible(g crm.Grant, accepted []crm.Grant) bool {
	all := c.rec.grants()
	return contains(all, g) || contains(accepted, g) ||
		g.Kind == crm.KindUser && contains(all, crm.Grant{Kind: crm.KindPublic})
}
