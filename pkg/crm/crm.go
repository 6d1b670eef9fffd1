// Package crm is the domain: what can be asked of a CRM, what a provider
// promises, and what is known afterwards about each operation. It knows nothing
// of sheets, files, flags, HTTP or the terminal.
package crm

import (
	"fmt"
	"strings"
)

// Action says what an operation does.
type Action uint8

// The actions. The zero value is none of them, so that an operation that was
// never filled in can not be mistaken for a revoke.
const (
	Revoke    Action = iota + 1 // one user loses one record
	Share                       // one user has one record, exactly as the operation says
	RevokeAll                   // everybody loses the record (Zoho)
	Keep                        // looked at and decided: nothing is sent, and no provider gets it
)

// String returns the word of the sheet's action column.
func (a Action) String() string {
	switch a {
	case Revoke:
		return "revoke"
	case Share:
		return "share"
	case RevokeAll:
		return "revoke_all"
	case Keep:
		return "keep"
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// ParseAction reads an action by any of the names that the README lists.
func ParseAction(s string) (Action, bool) {
	switch fold(s) {
	case "revoke", "remove", "unshare":
		return Revoke, true
	case "share", "grant", "add":
		return Share, true
	case "revokeall":
		return RevokeAll, true
	case "keep", "retain", "certify":
		return Keep, true
	}
	return 0, false
}

// Access is how much of a record a share lets somebody do.
type Access uint8

// The levels, in rising order. AccessUnset means that the row says nothing.
const (
	AccessUnset Access = iota
	Read
	Write
	Full // Zoho only
)

// String returns the word of the sheet's access column, "" for AccessUnset.
func (a Access) String() string {
	switch a {
	case AccessUnset:
		return ""
	case Read:
		return "read"
	case Write:
		return "write"
	case Full:
		return "full"
	}
	return fmt.Sprintf("access(%d)", uint8(a))
}

// ParseAccess reads a level by any of the names that the README lists. The
// empty string is AccessUnset.
func ParseAccess(s string) (Access, bool) {
	switch fold(s) {
	case "":
		return AccessUnset, true
	case "read", "1", "readonly":
		return Read, true
	case "write", "2", "readwrite":
		return Write, true
	case "full", "fullaccess":
		return Full, true
	}
	return 0, false
}

// Choice is a yes, a no, or nothing said.
type Choice uint8

// The choices.
const (
	Unsaid Choice = iota
	No
	Yes
)

// String returns "", "false" or "true".
func (c Choice) String() string {
	switch c {
	case No:
		return "false"
	case Yes:
		return "true"
	}
	return ""
}

// ParseChoice reads a yes or no as spreadsheets write it. The empty string is
// Unsaid.
func ParseChoice(s string) (Choice, bool) {
	switch fold(s) {
	case "":
		return Unsaid, true
	case "true", "yes", "1", "y", "x":
		return Yes, true
	case "false", "no", "0", "n":
		return No, true
	}
	return 0, false
}

// Permissions is the set of what a member of a LeadSquared sales group may do.
// The zero value is a plain member.
type Permissions uint8

// The permissions, in the vendor's order.
const (
	ViewAllAccountsOfGroup Permissions = 1 << iota
	ModifyAllAccountsOfGroup
	ViewAllLeadsOfGroup
	ModifyAllLeadsOfGroup
	AddUsersToGroup
	CreateGroupAutomation
)

var permissionNames = [...]string{
	"ViewAllAccountsOfGroup", "ModifyAllAccountsOfGroup",
	"ViewAllLeadsOfGroup", "ModifyAllLeadsOfGroup",
	"AddUsersToGroup", "CreateGroupAutomation",
}

// PermissionNames returns the vendor's names, the name at index i standing for
// the permission 1<<i.
func PermissionNames() []string { return append([]string(nil), permissionNames[:]...) }

// ParsePermission reads one permission by the vendor's name, without regard to
// case, spaces, "_" and "-".
func ParsePermission(s string) (Permissions, bool) {
	for i, name := range permissionNames {
		if fold(name) == fold(s) {
			return 1 << i, true
		}
	}
	return 0, false
}

// String returns the names in the set, separated by ";".
func (p Permissions) String() string {
	var b strings.Builder
	for i, name := range permissionNames {
		if p&(1<<i) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(';')
		}
		b.WriteString(name)
	}
	return b.String()
}

// fold makes names comparable: without regard to case, spaces, "_" and "-".
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '_' || r == '-':
			return -1
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, strings.TrimSpace(s))
}

// The objects that LeadSquared has. Zoho's are the API names of its modules.
const (
	Lead        = "lead"
	Opportunity = "opportunity"
	SalesGroup  = "sales_group"
)

// Operation is one validated intent. It is comparable: two operations are the
// same if every field that would be sent is, which is why a provider's Check
// clears the fields that would not be sent and fills in its defaults.
//
// Identifiers are strings and stay strings; a 19-digit id does not survive a
// float64.
type Operation struct {
	Action  Action
	Object  string // Lead, Opportunity, SalesGroup, or the API name of a Zoho module
	Record  string
	Context string // leads: the activity in whose context the lead is shared
	User    string // empty for RevokeAll

	Access      Access
	Minutes     int         // LeadSquared: duration of a share; 0 leaves it to the account's default
	Related     Choice      // Zoho: related records too; Unsaid leaves an existing share's flag alone
	Permissions Permissions // sales groups
}

// Target names what an operation is about: one user on one record (and context).
// Operations on a target act in sheet order, one after the other.
type Target struct {
	Object, Record, Context, User string
}

// Target returns the operation's target. That of a RevokeAll has no user: it is
// the record as a whole.
func (op Operation) Target() Target {
	return Target{op.Object, op.Record, op.Context, op.User}
}

// Undoes reports whether the operation, if it comes after another one of its target
// or record, leaves the other's user with something else than the other asked for.
func (op Operation) Undoes(other Operation) bool {
	if op.User != other.User && op.Action != RevokeAll && other.Action != RevokeAll {
		return false
	}
	if op.Action == Share && other.Action == Share {
		return op != other
	}
	return op.Action == Share || other.Action == Share
}

// String returns the fields that are not empty, for messages and to tell targets apart
// within one object.
func (t Target) String() string {
	var parts []string
	for _, part := range []string{t.Object, t.Record, t.Context, t.User} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/")
}

// Whole returns the target that stands for the record as a whole.
func (t Target) Whole() Target { return Target{Object: t.Object, Record: t.Record} }

// User is an entry of a CRM's user list.
type User struct {
	ID     string
	Email  string
	Active bool
	Role   string // the id of the user's role, "" where the list does not tell
}

// Identity is who owns the keys that a run works with, and where.
type Identity struct {
	User  string // the CRM's user id: protected from every row of the run
	Email string
	Name  string
	Org   string // the organisation's id: what a ledger is bound to, with the host
	// Role is what the CRM calls the user's rights, a role or a profile. Shares is whether
	// they may share and revoke; Unsaid where only the calls on a record tell.
	Role   string
	Shares Choice
}

// Grant is one entry of who has a record, or of who is in a group.
type Grant struct {
	Kind        string      `json:"kind"` // one of the Kind constants
	ID          string      `json:"id,omitempty"`
	Access      Access      `json:"access,omitempty"`
	Related     bool        `json:"related,omitempty"`
	Type        string      `json:"type,omitempty"` // Zoho's "private" or "public"
	Permissions Permissions `json:"permissions,omitempty"`
	// Through names the parent record that an inherited grant comes from, as
	// "Module/id"; empty for a grant on the record itself.
	Through string `json:"through,omitempty"`
}

// State is what the CRM showed of a record at one moment. The zero value means
// that nobody looked (LeadSquared shows shares to nobody).
type State struct {
	Looked bool    `json:"looked,omitempty"`
	Grants []Grant `json:"grants,omitempty"`
	// Rewrites says, of what is seen before a change, that the change writes all of it
	// back.
	Rewrites bool `json:"rewrites,omitempty"`
	// Fresh says that no earlier sending of the call's operations may have had an
	// effect, so that this is how things were before any of them.
	Fresh bool `json:"-"`
}
