package sheet

import (
	"fmt"
	"slices"
)

// maxColumns is how many columns a sheet may have.
const maxColumns = 256

// Columns returns the canonical names of the columns that the tool knows.
func Columns() []string {
	return []string{
		"action", "object", "record_id", "user", "context_id", "access",
		"duration_minutes", "share_related", "group_permissions", "account",
		"not_before", "last_day",
	}
}

// ResultColumns returns the ten columns that a result file ends in, in order.
func ResultColumns() []string {
	return []string{
		"line", "result", "request_id", "code", "message",
		"http_status", "attempts", "call_id", "sent_at", "confirmed_at",
	}
}

// PermissionColumns returns the names of the columns that stand for one
// permission of a sales group each, in the vendor's order.
func PermissionColumns() []string {
	return []string{
		"ViewAllAccountsOfGroup", "ModifyAllAccountsOfGroup",
		"ViewAllLeadsOfGroup", "ModifyAllLeadsOfGroup",
		"AddUsersToGroup", "CreateGroupAutomation",
	}
}

// keyEmail is the field of a user column that is named after e-mail addresses.
// For the caller it is the column "user" too.
const keyEmail = "email"

// column is a column that the tool knows.
type column struct {
	key   string   // of the field that it fills, the csv tag in Fields
	names []string // what it may be called, the tool's own name first
}

// knownColumns returns all columns that fill a field, in the order of Columns.
func knownColumns() []column {
	columns := []column{
		{"action", []string{"action", "operation", "decision", "review_decision"}},
		{"object", []string{"object", "module", "entity"}},
		{"record_id", []string{"record_id", "EntityId", "ProspectAutoId", "LeadAutoId", "OpportunityId", "GroupId"}},
		{"user", []string{"user", "UserId"}},
		{keyEmail, []string{"user_email", "email"}},
		{"context_id", []string{"context_id", "ContextEntityId", "ActivityId"}},
		{"access", []string{"access", "AccessType", "permission"}},
		{"duration_minutes", []string{"duration_minutes", "DurationInMinutes", "duration"}},
		{"share_related", []string{"share_related", "share_related_records"}},
		{"group_permissions", []string{"group_permissions"}},
		{"account", []string{"account", "crm"}},
		{"not_before", []string{"not_before", "effective_date", "due", "due_date"}},
		{"last_day", []string{"last_day", "last_working_day", "leaving_date", "termination_date", "exit_date"}},
	}
	for i, name := range PermissionColumns() {
		columns = append(columns, column{fmt.Sprintf("permission[%d]", i), []string{name}})
	}
	return columns
}

// columnKey returns the key of the field that a column fills, or "" for a column
// that the tool does not know.
func columnKey(header string) string {
	folded := fold(header)
	for _, c := range knownColumns() {
		if slices.ContainsFunc(c.names, func(name string) bool { return fold(name) == folded }) {
			return c.key
		}
	}
	return ""
}

// neededColumns are the columns that every sheet has, each with all its names.
func neededColumns() (needed []column) {
	for _, c := range knownColumns() {
		switch c.key {
		case "action", "object", "record_id", "user":
			needed = append(needed, c)
		case keyEmail:
			user := &needed[len(needed)-1]
			user.names = append(user.names, c.names...)
		}
	}
	return needed
}
