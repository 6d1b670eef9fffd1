package sheet

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gocarina/gocsv"
)

// Fields are the values of the known columns, without the white space,
// non-breaking and zero-width characters around them. A column that the sheet
// does not have is "".
//
// gocsv fills the struct; the tags are the keys that columns.go gives the header.
type Fields struct {
	Action string `csv:"action"`
	Object string `csv:"object"`
	Record string `csv:"record_id"`
	// User and Email are the two ways to name the user. Where the sheet has one
	// column for it, under whatever name, the value is in Email if it contains an
	// "@", else in User. Where it has both, each has its own.
	User        string `csv:"user"`
	Email       string `csv:"email"`
	Context     string `csv:"context_id"`
	Access      string `csv:"access"`
	Duration    string `csv:"duration_minutes"`
	Related     string `csv:"share_related"`
	Permissions string `csv:"group_permissions"`
	Account     string `csv:"account"`
	NotBefore   string `csv:"not_before"`
	LastDay     string `csv:"last_day"`
	// Permission holds the columns that are named after one permission, in the order
	// of PermissionColumns.
	Permission [6]string `csv:"permission" csv[]:"6"`
}

// Value returns the value of a column by the name that Columns or PermissionColumns
// gives it; "" for any other.
func (f *Fields) Value(column string) string {
	switch column {
	case "action":
		return f.Action
	case "object":
		return f.Object
	case "record_id":
		return f.Record
	case "user":
		return cmp.Or(f.User, f.Email)
	case "context_id":
		return f.Context
	case "access":
		return f.Access
	case "duration_minutes":
		return f.Duration
	case "share_related":
		return f.Related
	case "group_permissions":
		return f.Permissions
	case "account":
		return f.Account
	case "not_before":
		return f.NotBefore
	case "last_day":
		return f.LastDay
	}
	if i := slices.Index(PermissionColumns(), column); i >= 0 {
		return f.Permission[i]
	}
	return ""
}

// filler fills the fields of records through gocsv, a batch at a time: gocsv's
// row by row unmarshaller takes the standard library's reader only, and its
// callbacks and channels lose errors.
type filler struct {
	known   []knownCell
	oneUser bool       // the sheet has one column for the user, by id or address
	rows    [][]string // the keys, then the trimmed known cells of each record
	fields  []Fields
}

var _ gocsv.CSVReader = (*filler)(nil)

func newFiller(h *header) *filler {
	keys := make([]string, len(h.known))
	for i, k := range h.known {
		keys[i] = k.key
	}
	return &filler{known: h.known, oneUser: !(slices.Contains(keys, "user") && slices.Contains(keys, keyEmail)), rows: [][]string{keys}}
}

// fill sets the Fields of records from their Cells.
func (f *filler) fill(records []Record) error {
	n := len(f.known)
	if n == 0 {
		return nil // gocsv does not take a sheet without columns
	}
	f.rows = f.rows[:1]
	cells := make([]string, n*len(records))
	for i, rec := range records {
		row := cells[i*n : (i+1)*n]
		for j, k := range f.known {
			row[j] = trim(rec.Cells[k.pos])
		}
		f.rows = append(f.rows, row)
	}
	if err := gocsv.UnmarshalCSV(f, &f.fields); err != nil {
		return fmt.Errorf("fill the fields of %d rows: %w", len(records), err)
	}
	for i := range records {
		fields := f.fields[i]
		if user := fields.User + fields.Email; f.oneUser && strings.Contains(user, "@") {
			fields.User, fields.Email = "", user
		} else if f.oneUser {
			fields.User, fields.Email = user, ""
		}
		records[i].Fields = fields
	}
	return nil
}

// ReadAll implements gocsv.CSVReader: it returns the keys and the batch.
func (f *filler) ReadAll() ([][]string, error) { return f.rows, nil }

// Read implements gocsv.CSVReader. gocsv asks for batches only.
func (f *filler) Read() ([]string, error) { return nil, errors.ErrUnsupported }
