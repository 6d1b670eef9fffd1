package sheet

import (
	"fmt"
	"slices"
	"strings"
)

// maxColumns is how many columns a sheet may have.
const maxColumns = 256

// Columns returns the canonical names of the columns that the tool knows.
func Columns() []string {
	return []string{
		"action", "object", "record_id", "user", "context_id", "access",
		"duration_minutes", "share_related", "group_permissions", "account",
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

// columnKey returns the key of the field that a column fills (the csv tag in
// Fields), or "" for a column that the tool does not know.
func columnKey(header string) string {
	folded := fold(header)
	switch folded {
	case "action", "operation":
		return "action"
	case "object", "module", "entity":
		return "object"
	case "recordid", "entityid", "prospectautoid", "leadautoid", "opportunityid", "groupid":
		return "record_id"
	case "user", "userid":
		return "user"
	case "useremail", "email":
		return keyEmail
	case "contextid", "contextentityid", "activityid":
		return "context_id"
	case "access", "accesstype", "permission":
		return "access"
	case "durationminutes", "durationinminutes", "duration":
		return "duration_minutes"
	case "sharerelated", "sharerelatedrecords":
		return "share_related"
	case "grouppermissions":
		return "group_permissions"
	case "account", "crm":
		return "account"
	}
	for i, name := range PermissionColumns() {
		if folded == fold(name) {
			return fmt.Sprintf("permission[%d]", i)
		}
	}
	return ""
}

// neededHints are the columns that every sheet has, each with its other names.
func neededHints() [][2]string {
	return [][2]string{
		{"action", "operation"},
		{"object", "module or entity"},
		{"record_id", "EntityId, ProspectAutoId, LeadAutoId, OpportunityId or GroupId"},
		{"user", "UserId, user_email or email"},
	}
}

// header is the meaning of a sheet's first row.
type header struct {
	columns  []string    // as read, without the result block
	width    int         // fields of a row, the result block included
	isResult bool        // the row ended in the result block
	known    []knownCell // the columns that fill a field, in sheet order
	unnamed  []int       // positions of columns without a name
}

// knownCell is a column that fills a field.
type knownCell struct {
	pos int
	key string
}

// callID returns what a row, block included, has in the block's column call_id.
func (h *header) callID(cells []string) string {
	if !h.isResult {
		return ""
	}
	return trim(cells[len(h.columns)+slices.Index(ResultColumns(), "call_id")])
}

// has reports whether a column fills the field of that key.
func (h *header) has(key string) bool {
	return slices.ContainsFunc(h.known, func(k knownCell) bool { return k.key == key })
}

// needed counts the needed columns, and recognised all that the tool knows.
func (h *header) needed() (needed, recognised int) {
	return len(neededHints()) - len(h.missing()), len(h.known)
}

// missing returns the needed columns that the sheet does not have.
func (h *header) missing() (names [][2]string) {
	for _, need := range neededHints() {
		if !h.has(need[0]) && !(need[0] == "user" && h.has(keyEmail)) {
			names = append(names, need)
		}
	}
	return names
}

// understand gives the cells of a header row their meaning. It refuses too many
// columns and columns given twice, but not missing ones: which are missing also
// tells delimiters apart.
func understand(cells []string, line int) (*header, *fault) {
	h := &header{columns: cells, width: len(cells)}
	if len(cells) > maxColumns {
		return h, &fault{line: line, column: maxColumns + 1,
			reason: fmt.Sprintf("%d columns are too many, the most is %d", len(cells), maxColumns)}
	}
	if n := len(cells) - len(ResultColumns()); n >= 0 && slices.EqualFunc(cells[n:], ResultColumns(),
		func(cell, name string) bool { return trim(cell) == name }) {
		h.isResult = true
		h.columns = cells[:n]
	}
	first := make(map[string]int) // position by key, and by folded name of unknown columns
	var twice *fault
	for i, cell := range h.columns {
		if trim(cell) == "" {
			h.unnamed = append(h.unnamed, i)
			continue
		}
		key := columnKey(cell)
		id := key
		if key == "" {
			id = "=" + fold(cell)
		} else {
			h.known = append(h.known, knownCell{i, key})
		}
		if j, ok := first[id]; ok && twice == nil {
			twice = &fault{line: line, column: i + 1,
				reason: fmt.Sprintf("column %d %q says the same as column %d %q", i+1, printable(cell), j+1, printable(h.columns[j])),
				hint:   "Leave one of the two columns in the sheet, or rename the other."}
		}
		first[id] = i
	}
	return h, twice
}

// complete refuses a header that lacks a needed column.
func (h *header) complete(line int) *fault {
	missing := h.missing()
	if len(missing) == 0 {
		return nil
	}
	names := make([]string, len(missing))
	hints := make([]string, len(missing))
	for i, m := range missing {
		names[i] = m[0]
		hints[i] = fmt.Sprintf("%s may also be called %s", m[0], m[1])
	}
	noun := "column"
	if len(missing) > 1 {
		noun = "columns"
	}
	return &fault{line: line,
		reason: fmt.Sprintf("the header lacks the needed %s %s", noun, strings.Join(names, ", ")),
		hint:   "The first row names the columns; " + strings.Join(hints, "; ") + "."}
}
