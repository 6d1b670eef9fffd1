package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// entryCheck reads the entries of one write.
type entryCheck struct {
	z        *zoho
	place    zohoPlace
	put      bool
	rec      *zohoRecord
	fault    *Fault
	accepted []crm.Grant // of the entries before, those that succeeded
}

// bad is an error about a field of the entry with the index i.
func (c *entryCheck) bad(i int, name, message string, details ...any) *zohoAnswer {
	return zohoProblem(0, "INVALID_DATA", message,
		append([]any{"api_name", name, "json_path", entryPath(i, name)}, details...)...)
}

func missingField(i int, name string) *zohoAnswer {
	return zohoProblem(0, "MANDATORY_NOT_FOUND", "required field not found", "api_name", name, "json_path", entryPath(i, name))
}

func entryPath(i int, name string) string { return fmt.Sprintf("$.share[%d].%s", i, name) }

// entry reads the entry with the index i. The grant names the recipient even where the
// entry fails, as far as it could be read.
func (c *entryCheck) entry(i int, raw json.RawMessage) (g crm.Grant, wrong *zohoAnswer) {
	var f map[string]json.RawMessage
	if json.Unmarshal(raw, &f) != nil || f == nil {
		return g, zohoProblem(0, "INVALID_DATA", "invalid data", "expected_data_type", "jsonobject", "json_path", fmt.Sprintf("$.share[%d]", i))
	}
	// v2 has no type, and v4 has been seen with both keys of the recipient.
	switch typ, there := f["type"]; {
	case !there && c.place.typed():
		return g, missingField(i, "type")
	case !there:
		g.Type = "private"
	default:
		if err := json.Unmarshal(typ, &g.Type); err != nil || (g.Type != "private" && g.Type != "public") {
			g.Type = ""
			return g, c.bad(i, "type", "invalid data", "regex", "private|public")
		}
	}
	key := "shared_with"
	if _, user := f["user"]; c.place.usersOnly() || c.place.version == 4 && user {
		key = "user"
	}
	g.Kind = crm.KindPublic
	if wrong = c.recipient(i, key, f, &g); wrong != nil {
		return g, wrong
	}
	if g.Access, wrong = c.permission(i, f); wrong != nil {
		return g, wrong
	}
	if related, there := f["share_related_records"]; there && json.Unmarshal(related, &g.Related) != nil {
		return g, c.bad(i, "share_related_records", "invalid data")
	}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if c.z.cfg.StrictKeys && !slices.Contains([]string{key, "permission", "share_related_records", "type"}, name) {
			return g, c.bad(i, name, "invalid data")
		}
	}
	if c.put && contains(c.accepted, g) {
		return g, zohoProblem(0, "DUPLICATE_DATA", "duplicate data", "api_name", "shared_with", "json_path", entryPath(i, "shared_with"))
	}
	if wrong = c.allowed(i, g); wrong != nil || !c.z.cfg.LimitPerEntry {
		return g, wrong
	}
	if c.over(append(slices.Clone(c.accepted), g), nil) == g.Kind {
		return g, zohoProblem(0, "LIMIT_EXCEEDED", limitReached,
			"limit", zohoLimits[g.Kind], "api_name", "type", "json_path", entryPath(i, "shared_with.type"))
	}
	return g, nil
}

// recipient reads whom an entry is about, under a key of it.
func (c *entryCheck) recipient(i int, key string, f map[string]json.RawMessage, g *crm.Grant) *zohoAnswer {
	raw, there := f[key]
	misfit := func() *zohoAnswer {
		return c.bad(i, "shared_with", "invalid data", "dependee", map[string]any{"api_name": "type", "json_path": entryPath(i, "type")})
	}
	switch {
	case g.Type == "public" && there:
		return misfit()
	case g.Type == "public":
		return nil
	case !there:
		return missingField(i, key)
	}
	var who *struct {
		ID   json.RawMessage `json:"id"`
		Type *string         `json:"type"`
	}
	if json.Unmarshal(raw, &who) != nil || who == nil {
		return c.bad(i, key, "invalid data")
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
		return misfit()
	}
	if len(who.ID) == 0 {
		return missingField(i, key+".id")
	}
	if json.Unmarshal(who.ID, &g.ID) != nil || !c.z.isRecipient(*g) {
		return c.bad(i, key+".id", "invalid "+g.Kind+" Id", "api_name", "id")
	}
	return nil
}

// isRecipient says that a user, group or role exists. Groups and roles exist where
// they are on some record, and in an open world wherever they are well-formed.
func (z *zoho) isRecipient(g crm.Grant) bool {
	if !zohoID.MatchString(g.ID) {
		return false
	}
	closed := z.server.cfg.Closed
	if g.Kind == crm.KindUser {
		p, known := z.people.find(g.ID)
		return !p.Deleted && (known || !closed)
	}
	if !closed {
		return true
	}
	for _, rec := range z.records {
		if contains(rec.grants(), g) {
			return true
		}
	}
	return false
}

// permission reads the level. Where it may be left out, everything is allowed.
func (c *entryCheck) permission(i int, f map[string]json.RawMessage) (crm.Access, *zohoAnswer) {
	raw, there := f["permission"]
	switch {
	case !there && (c.put || c.place.version < 5):
		return crm.Full, nil
	case !there:
		return 0, missingField(i, "permission")
	}
	var s string
	if err := json.Unmarshal(raw, &s); err == nil && s != "" {
		if level := slices.Index(zohoPermissions, s); level > 0 {
			return crm.Access(level), nil
		}
	}
	return 0, c.bad(i, "permission", "invalid data", "regex", strings.Join(zohoPermissions[1:], "|"))
}

// allowed says why the record may not be shared like this, nil if it may.
func (c *entryCheck) allowed(i int, g crm.Grant) *zohoAnswer {
	const cannot = "cannot share to the user"
	if f := c.fault; f.is(FaultRefuseEntry) && (f.Match == g.ID || f.Match == "" && f.Code == i) {
		wrong := c.bad(i, "shared_with", cannot)
		if f.Type != "" {
			wrong.Code, wrong.Message = f.Type, f.Text
		}
		return wrong
	}
	all := c.rec.grants()
	visible := contains(all, g) || contains(c.accepted, g) || g.Kind == crm.KindUser && contains(all, crm.Grant{Kind: crm.KindPublic})
	switch {
	case visible && !c.put && c.z.cfg.AmbiguousVisible:
		return c.bad(i, "shared_with", cannot)
	case visible && !c.put:
		return c.bad(i, "shared_with", "record is already visible to the user.")
	case g.Kind != crm.KindUser:
		return nil
	}
	p, known := c.z.people.find(g.ID)
	if !known || p.reachable() || c.put && c.z.cfg.KeepInactive && contains(c.rec.direct(), g) {
		return nil
	}
	return c.bad(i, "shared_with", cannot)
}

// over returns the kind of recipient of which the record would have too many,
// empty for none.
func (c *entryCheck) over(accepted, spared []crm.Grant) string {
	after, direct := slices.Clone(accepted), c.rec.direct()
	if !c.put {
		spared = direct
	}
	for _, g := range spared {
		if !contains(after, g) && contains(direct, g) {
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
