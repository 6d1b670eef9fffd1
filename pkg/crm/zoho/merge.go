package zoho

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// standing is how an operation stands in a list.
type standing uint8

const (
	open   standing = iota // not so, and a write can make it so
	so                     // it is so
	denied                 // not so, and no write on this record can make it so
)

// ruling is a standing with what is to be told about it.
type ruling struct {
	standing      standing
	code, message string
	happened      bool // denied, and so for the rest: the access that remains is none of the record's own
}

// verb is what a request does.
type verb uint8

const (
	verbNone verb = iota
	verbLook      // at the list of a record
	verbRead      // of anything else
	verbPost      // adds entries and touches no other
	verbPut       // replaces all direct entries
	verbDelete
)

// change is a write. The zero value writes nothing.
type change struct {
	verb    verb
	entries []entry // of the body, in its order
	owner   []int   // for each of entries: the place in ops of the one that asks for it, -1 for a bystander's
	ops     []int   // the operations that the write serves
	gone    []entry // the direct entries that it takes away
}

// bystanders are the entries of the change that nobody asks for.
func (c change) bystanders() []entry {
	var out []entry
	for i, e := range c.entries {
		if c.owner[i] < 0 {
			out = append(out, e)
		}
	}
	return out
}

// bounds are what bounds a write besides the list.
type bounds struct {
	usersOnly bool                   // the version writes no groups and roles
	protected func(user string) bool // nobody may take these along with everybody
}

// judge says whether an operation is true in a list.
func judge(list []entry, op crm.Operation) ruling {
	switch op.Action {
	case crm.Share:
		return judgeShare(list, op)
	case crm.RevokeAll:
		return judgeRevokeAll(list)
	}
	for _, e := range list {
		switch {
		case e.isUser(op.User):
			return ruling{standing: open}
		case e.direct() && e.id == op.User && e.kind != kindGroup && e.kind != kindRole:
			return ruling{standing: denied, code: crm.CodeUnreadable, message: "the record is shared with " + e.name() + ", and what that is is not known: the user may have it"}
		}
	}
	if e, ok := publicEntry(list); ok {
		r := denyPublic(e)
		r.happened = true
		return r
	}
	if from := parents(list, op.User); from != "" {
		return ruling{denied, crm.CodeInherited, "the user has the record through " + from + ": revoke it there", true}
	}
	return ruling{standing: so, message: others(list)}
}

func judgeShare(list []entry, op crm.Operation) ruling {
	found := false
	for _, e := range list {
		if !e.isUser(op.User) {
			continue
		}
		if !asAsked(e, op) {
			return ruling{standing: open}
		}
		found = true
	}
	if found {
		return ruling{standing: so}
	}
	return ruling{standing: open}
}

// judgeRevokeAll knows no groups and roles that stay: they lose the record too.
func judgeRevokeAll(list []entry) ruling {
	var from []string
	for _, e := range list {
		if e.through == "" {
			return ruling{standing: open}
		}
		from = append(from, e.through)
	}
	if len(from) > 0 {
		slices.Sort(from)
		return ruling{denied, crm.CodeInherited, "people have the record through " + strings.Join(slices.Compact(from), ", ") + ": revoke it there", true}
	}
	return ruling{standing: so}
}

// asAsked says whether a user's entry is what a share asks for.
func asAsked(e entry, op crm.Operation) bool {
	level, known := crm.ParseAccess(e.permission)
	return known && level == op.Access && (op.Related == crm.Unsaid || (e.related == crm.Yes) == (op.Related == crm.Yes))
}

func publicEntry(list []entry) (entry, bool) {
	for _, e := range list {
		if e.through == "" && e.public() {
			return e, true
		}
	}
	return entry{}, false
}

func denyPublic(e entry) ruling {
	return ruling{standing: denied, code: crm.CodePublic, message: fmt.Sprintf("the record is shared with the whole organisation (%s); end the public share first, or use revoke_all", e.permission)}
}

// parents names the records through which a user has this one; "" for none. A
// public share of a parent counts for everybody.
func parents(list []entry, user string) string {
	var from []string
	for _, e := range list {
		if e.through != "" && (e.public() || e.kind == kindUser && e.id == user) {
			from = append(from, e.through)
		}
	}
	slices.Sort(from)
	return strings.Join(slices.Compact(from), ", ")
}

// others names the groups and roles that have the record: a user who is in one of
// them has it still, and no look shows who is.
func others(list []entry) string {
	var names []string
	for _, e := range list {
		if e.kind != kindUser && !e.public() {
			name := e.name()
			if e.through != "" {
				name += " (through " + e.through + ")"
			}
			names = append(names, name)
		}
	}
	if names == nil {
		return ""
	}
	return "the record is shared with " + strings.Join(names, ", ") + " too, where the user may be a member"
}

// plan decides what is to be written so that the operations, at most one per
// target, become true of the list, and rules on each of them: those that stay open
// are the ones that the write serves. It is pure.
//
// Every direct entry that no operation is about goes into a PUT exactly as it was
// shown; inherited entries belong to their parents and stay out. A PUT is never
// empty: DELETE takes its place when nobody is left.
func plan(list []entry, ops []crm.Operation, b bounds) ([]ruling, change) {
	rulings := make([]ruling, len(ops))
	for i, op := range ops {
		rulings[i] = rule(list, op, b)
	}
	if c, ok := revokeAll(list, ops, rulings); ok {
		return rulings, c
	}
	c := merge(list, ops, rulings)
	if c.verb != verbPut {
		return rulings, c
	}
	code, message := unsafe(c, b)
	if code == "" {
		return rulings, c
	}
	for i, op := range ops {
		if rulings[i].standing == open && (op.Action == crm.Revoke || holds(list, op.User)) {
			rulings[i] = ruling{standing: denied, code: code, message: message}
		}
	}
	return rulings, merge(list, ops, rulings)
}

// rule is judge, with what makes an open operation impossible.
func rule(list []entry, op crm.Operation, b bounds) ruling {
	j := judge(list, op)
	if j.standing != open {
		return j
	}
	if op.Action == crm.RevokeAll {
		for _, e := range list {
			if e.direct() && e.kind == kindUser && b.protected != nil && b.protected(e.id) {
				return ruling{standing: denied, code: crm.CodeProtected, message: "user " + e.id + " is protected and has the record; revoke the others one by one"}
			}
		}
		return j
	}
	if e, ok := publicEntry(list); ok {
		return denyPublic(e)
	}
	if op.Action == crm.Share && !holds(list, op.User) {
		if from := parents(list, op.User); from != "" {
			return ruling{standing: denied, code: crm.CodeInherited, message: "the user has the record through " + from + " already, and Zoho shares a record only with those who do not have it"}
		}
	}
	return j
}

// holds says whether a user has the record directly.
func holds(list []entry, user string) bool {
	return slices.ContainsFunc(list, func(e entry) bool { return e.isUser(user) })
}

// revokeAll is the write of an open revoke_all, which goes before all others.
func revokeAll(list []entry, ops []crm.Operation, rulings []ruling) (change, bool) {
	for i, op := range ops {
		if op.Action != crm.RevokeAll || rulings[i].standing != open {
			continue
		}
		c := change{verb: verbDelete, ops: []int{i}}
		for _, e := range list {
			if e.through == "" {
				c.gone = append(c.gone, e)
			}
		}
		return c, true
	}
	return change{}, false
}

// merge builds the write of the open operations.
func merge(list []entry, ops []crm.Operation, rulings []ruling) change {
	var c change
	replace := false
	by := map[string]int{} // the place of the operation on a user in c.ops
	for i, op := range ops {
		if rulings[i].standing == open {
			by[op.User] = len(c.ops)
			c.ops = append(c.ops, i)
		}
	}
	var met []int // places of operations on users who have the record
	for _, e := range list {
		if !e.direct() {
			continue
		}
		n, ours := by[e.id]
		switch {
		case !ours || e.kind != kindUser:
			c.entries, c.owner = append(c.entries, e), append(c.owner, -1)
		case ops[c.ops[n]].Action == crm.Revoke:
			replace = true
			c.gone = append(c.gone, e)
		case !slices.Contains(met, n):
			replace = true
			c.entries, c.owner = append(c.entries, changed(e, ops[c.ops[n]])), append(c.owner, n)
			met = append(met, n)
		}
	}
	if !replace {
		c.entries, c.owner = nil, nil
	}
	for n, i := range c.ops {
		if ops[i].Action == crm.Share && !slices.Contains(met, n) {
			c.entries, c.owner = append(c.entries, added(ops[i])), append(c.owner, n)
		}
	}
	switch {
	case len(c.ops) == 0:
	case !replace:
		c.verb = verbPost
	case len(c.entries) == 0:
		c.verb = verbDelete
	default:
		c.verb = verbPut
	}
	return c
}

// changed is a user's entry made as a share asks for. A flag that the share says
// nothing about stays.
func changed(e entry, op crm.Operation) entry {
	e.permission = permissionOf(op.Access)
	if op.Related != crm.Unsaid {
		e.related = op.Related
	}
	return e
}

// added is the entry of a user who does not have the record.
func added(op crm.Operation) entry {
	e := entry{kind: kindUser, id: op.User, permission: permissionOf(op.Access), related: op.Related, sort: typePrivate}
	if e.related == crm.Unsaid {
		e.related = crm.No
	}
	return e
}

// unsafe says why a PUT must not be sent; "" for no reason.
func unsafe(c change, b bounds) (code, message string) {
	for _, e := range c.bystanders() {
		switch {
		case !e.sound():
			return crm.CodeUnreadable, "the entry of " + e.name() + " can not be written back exactly as it is, and nobody else is to lose or gain anything"
		case b.usersOnly && e.kind != kindUser:
			return crm.CodeNeedsV8, e.name() + " has the record too, and the configured API version would take it away: set the version to v8"
		}
	}
	return "", ""
}

// visible says whether a list shows what a write was to do: who was to go is gone,
// and the entries that operations asked for are there.
func visible(list []entry, c change) bool {
	for _, e := range c.gone {
		if slices.ContainsFunc(list, func(now entry) bool { return now.through == "" && now.kind == e.kind && now.id == e.id }) {
			return false
		}
	}
	for i, e := range c.entries {
		if c.owner[i] >= 0 && !slices.ContainsFunc(list, func(now entry) bool { return sameAccess(now, e) }) {
			return false
		}
	}
	return true
}

// sameAccess says whether an entry of a list gives what another one did.
func sameAccess(now, then entry) bool {
	return now.through == "" && now.kind == then.kind && now.id == then.id && now.permission == then.permission &&
		(now.related == crm.Yes) == (then.related == crm.Yes)
}
