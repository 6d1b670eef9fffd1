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
		{"action", []string{"action", "operation"}},
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

// header is the meaning of a sheet's first row.
type header struct {
	columns  []string    // as read, without the result block
	width    int         // fields of a row, the result block included
	isResult bool        // the row ended in the result block
	known    []knownCell // the columns that fill a field, in sheet order
	unnamed  []int       // positions of columns without a name
	names    naming      // by which they were understood
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
	return len(neededColumns()) - len(h.missing()), len(h.known)
}

// missing returns the needed columns that the sheet does not have.
func (h *header) missing() (missing []column) {
	for _, need := range neededColumns() {
		if !h.has(need.key) && !(need.key == "user" && h.has(keyEmail)) {
			missing = append(missing, need)
		}
	}
	return missing
}

// understand gives the cells of a header row their meaning. It refuses too many
// columns and columns given twice, but not missing ones: which are missing also
// tells delimiters apart.
func understand(cells []string, line int, names naming) (*header, *fault) {
	h := &header{columns: cells, width: len(cells), names: names}
	if len(cells) > maxColumns {
		return h, &fault{line: line, column: maxColumns + 1,
			reason: fmt.Sprintf("%d columns are too many, the most is %d", len(cells), maxColumns),
			hint:   tooWide(cells)}
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
		key := names.key(cell)
		id := key
		if key == "" {
			id = "=" + fold(cell)
		} else {
			h.known = append(h.known, knownCell{i, key})
		}
		if j, ok := first[id]; ok && twice == nil {
			twice = &fault{line: line, column: i + 1,
				reason: fmt.Sprintf("column %d %q says the same as column %d %q", i+1, printable(cell), j+1, printable(h.columns[j])),
				hint:   "Leave one of the two columns in the sheet, or rename the other" + h.orNone(key, cell, h.columns[j])}
		}
		first[id] = i
	}
	return h, twice
}

// tooWide says what to do about a header with too many columns: most often a
// spreadsheet has counted empty ones.
func tooWide(cells []string) string {
	named := len(cells)
	for named > 0 && trim(cells[named-1]) == "" {
		named--
	}
	if named <= maxColumns {
		return fmt.Sprintf("Those from column %d on have no name: delete them, and save the sheet again.", named+1)
	}
	return "Delete columns that are not needed here."
}

// orNone ends the hint about two columns that say the same: a mapping can take the
// meaning from one of them.
func (h *header) orNone(key, cell, other string) string {
	if key == "" {
		return "."
	}
	if _, own := h.names.own[fold(other)]; own {
		other = cell
	}
	return fmt.Sprintf("; or say that one of them means something else: %s.", mapFlag(Mapping{Header: other, Column: NoColumn}))
}
