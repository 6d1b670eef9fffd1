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
	for i, header := range r.layout.Columns {
		named := func(name string) bool { return SameName(name, header) }
		_, mapped := r.header.names.own[fold(header)]
		isLast := slices.ContainsFunc(last, named)
		if !mapped && (isLast || slices.ContainsFunc(due, named)) {
			dates = append(dates, DateColumn{Pos: i, Name: printable(header), Last: isLast})
		}
	}
	return dates
}
