package sheet

import "slices"

// DateColumn is a column that says when a row is due. It fills no field; its cells are
// the record's.
type DateColumn struct {
	Pos  int    // in Layout.Columns
	Name string // as the sheet has it
	// Last says that it is the last day of something, which is over when the day is.
	Last bool
}

// DateColumns returns the columns of the sheet that say when a row is due, matched as
// other headers are. One that Options.Map gives a meaning, or none, says nothing of that.
func (r *Reader) DateColumns() (dates []DateColumn) {
	due := []string{"not_before", "effective_date", "due", "due_date"}
	last := []string{"last_day", "last_working_day", "leaving_date", "termination_date", "exit_date"}
	named := func(names []string, header string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return fold(name) == fold(header) })
	}
	for i, header := range r.layout.Columns {
		_, mapped := r.header.names.own[fold(header)]
		switch {
		case mapped:
		case named(due, header):
			dates = append(dates, DateColumn{Pos: i, Name: printable(header)})
		case named(last, header):
			dates = append(dates, DateColumn{Pos: i, Name: printable(header), Last: true})
		}
	}
	return dates
}
