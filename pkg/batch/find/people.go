package find

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/plan"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// CarriedPrefix stands before the names of columns that are carried from the sheet of
// people, so that they mean nothing to a run.
const CarriedPrefix = "person_"

// Person is a line of the sheet of people.
type Person struct {
	Line int
	// ID is a user id, Address an e-mail address; one of them may be empty. Where both are
	// there, they must be one user's.
	ID, Address string
	Successor   string // a user id or an address; "" for none
	LastDay     string
	Account     string // "" is every account that knows the person
	Carried     []string
}

// Name is how the sheet calls the person.
func (p *Person) Name() string {
	if p.ID != "" {
		return p.ID
	}
	return p.Address
}

// People are the people of a sheet, in its order.
type People struct {
	Sheet   string // for messages
	SHA256  string // of the input; "" for everybody
	Carried []string
	All     []Person
}

// The columns of a sheet of people. The first name is ours.
const (
	columnPerson    = "user"
	columnAddress   = "email"
	columnSuccessor = "successor"
	columnLastDay   = "last_day"
	columnAccount   = "account"
)

// peopleColumns returns what the columns of a sheet of people may be called. Who the person
// is may be said by id and by address.
func peopleColumns() map[string][]string {
	return map[string][]string{
		columnPerson:    {"user", "user_id", "leaver"},
		columnAddress:   {"work_email", "email", "user_email"},
		columnSuccessor: {"successor", "replace", "handover_to"},
	}
}

// ReadPeople reads a sheet of people, which was opened with any header. own are what the
// user calls columns; a later one replaces an earlier one.
func ReadPeople(r *sheet.Reader, name string, own []sheet.Mapping) (*People, error) {
	p := &People{Sheet: name}
	columns := r.Layout().Columns
	at, carried, err := peopleHeader(name, columns, own)
	if err != nil {
		return nil, err
	}
	for _, i := range carried {
		p.Carried = append(p.Carried, CarriedPrefix+sheet.Trim(columns[i]))
	}
	var wrong []error
	met := make(map[string]int)
	for rec, err := range r.All() {
		if err != nil {
			return nil, err
		}
		cell := func(column string) string {
			if i, ok := at[column]; ok {
				return sheet.Trim(rec.Cells[i])
			}
			return ""
		}
		person := Person{Line: rec.Line, Successor: cell(columnSuccessor), LastDay: cell(columnLastDay), Account: cell(columnAccount)}
		for _, column := range []string{columnPerson, columnAddress} {
			switch value := cell(column); {
			case value == "":
			case !isAddress(value):
				person.ID = value
			default:
				person.Address = strings.ToLower(value)
			}
		}
		for _, i := range carried {
			person.Carried = append(person.Carried, rec.Cells[i])
		}
		fault := ""
		if day, clock, ok := sheet.DateOf(person.LastDay); ok && !clock {
			person.LastDay = day.Format(time.DateOnly)
		}
		key := strings.ToLower(person.Name() + "\x00" + person.Account)
		switch _, err := plan.AfterDay(person.LastDay, time.UTC); {
		case rec.Problem != nil && at[columnPerson] == slices.Index(columns, rec.Problem.Column):
			fault = rec.Problem.Column + ": " + rec.Problem.Reason
		case person.Name() == "":
			fault = "names nobody"
		case err != nil:
			fault = fmt.Sprintf("last_day: %q %s", person.LastDay, err)
		case met[key] > 0:
			fault = fmt.Sprintf("names the same person as line %d", met[key])
		}
		met[key] = rec.Line
		if fault != "" {
			wrong = append(wrong, p.fault(&person, fault))
			continue
		}
		p.All = append(p.All, person)
	}
	p.SHA256 = r.SHA256()
	return p, some(wrong)
}

// fault is a complaint about a person's line.
func (p *People) fault(person *Person, reason string) error {
	return &Error{Reason: fmt.Sprintf("%s:%d: %s", p.Sheet, person.Line, reason), Hint: "Mend the line, or take it out."}
}

// mostFaults is how many complaints of a kind are told one by one.
const mostFaults = 5

// some joins complaints, the first of them if there are many.
func some(wrong []error) error {
	if more := len(wrong) - mostFaults; more > 0 {
		wrong = append(wrong[:mostFaults:mostFaults], &Error{Reason: fmt.Sprintf("and %d more lines like these", more), Hint: "Mend the lines, or take them out."})
	}
	return errors.Join(wrong...)
}

// peopleHeader says where the columns stand that mean something, and which are carried.
func peopleHeader(name string, columns []string, own []sheet.Mapping) (at map[string]int, carried []int, err error) {
	at = make(map[string]int)
	rank := make(map[string]int) // how near the name that was met is to our own
	for i, header := range columns {
		column, near := meaning(header, own)
		old, twice := at[column]
		switch {
		case sheet.Trim(header) == "":
		case column == "":
			carried = append(carried, i)
		case twice && rank[column] == near:
			return nil, nil, &Error{
				Reason: fmt.Sprintf("%s: the columns %q and %q say the same", name, columns[old], header),
				Hint:   fmt.Sprintf("Leave one of them in the sheet, or give --map %q.", header+"=none"),
			}
		case twice && rank[column] < near:
			carried = append(carried, i)
		default:
			if twice {
				carried = append(carried, old)
			}
			at[column], rank[column] = i, near
		}
	}
	_, byName := at[columnPerson]
	_, byAddress := at[columnAddress]
	if !byName && !byAddress {
		return nil, nil, &Error{
			Reason: fmt.Sprintf("%s: no column says who the people are; it has %s", name, strings.Join(columns, ", ")),
			Hint:   "Call the column user, or say which it is with --map, such as --map \"Employee mail=user\".",
		}
	}
	slices.Sort(carried)
	return at, carried, nil
}

// meaning returns what a column of a sheet of people is, "" if it is carried, and where its
// name stands among the names that such a column may have.
func meaning(header string, own []sheet.Mapping) (column string, rank int) {
	for _, m := range slices.Backward(own) {
		if sheet.SameName(m.Header, header) {
			if ours := sheet.ColumnNamed(m.Column); ours == columnPerson || ours == columnLastDay || ours == columnAccount {
				return ours, -1
			}
			if sheet.SameName(m.Column, sheet.NoColumn) {
				return "", 0
			}
		}
	}
	for column, names := range peopleColumns() {
		if i := slices.IndexFunc(names, func(n string) bool { return sheet.SameName(n, header) }); i >= 0 {
			return column, i
		}
	}
	if ours := sheet.ColumnNamed(header); ours == columnLastDay || ours == columnAccount {
		return ours, 0
	}
	return "", 0
}

// isAddress tells an e-mail address from an id.
func isAddress(name string) bool { return strings.Contains(name, "@") }
