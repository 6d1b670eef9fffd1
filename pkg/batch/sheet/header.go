package sheet

import (
	"fmt"
	"iter"
	"slices"
)

// header is the meaning of a sheet's first row.
type header struct {
	line     int
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

// readHeader gives the cells of a header row their meaning, and refuses one that is
// not complete. Where it does, others are rows near it.
func readHeader(cells []string, line int, names naming, others iter.Seq2[int, []string]) (*header, error) {
	h, err := understand(cells, line, names)
	if names.anything {
		return h, nil
	}
	if err == nil {
		err = h.complete(others)
	}
	return h, err
}

// record makes a record of a row's cells, the result block included.
func (h *header) record(line int, cells []string) Record {
	n := len(h.columns)
	rec := Record{Line: line, Cells: cells[:n:n]}
	if h.isResult {
		rec.CallID = trim(cells[n+slices.Index(ResultColumns(), "call_id")])
	}
	return rec
}

// has reports whether a column fills the field of that key. An e-mail address names a
// user too.
func (h *header) has(key string) bool {
	return slices.ContainsFunc(h.known, func(k knownCell) bool { return k.key == key || k.key == keyEmail && key == "user" })
}

// missing returns the needed columns that the sheet does not have.
func (h *header) missing() []column {
	return slices.DeleteFunc(neededColumns(), func(c column) bool { return h.has(c.key) })
}

// understand gives the cells of a header row their meaning. It refuses too many
// columns and columns given twice, but not missing ones: which are missing also
// tells delimiters apart.
func understand(cells []string, line int, names naming) (*header, error) {
	h := &header{line: line, columns: cells, width: len(cells), names: names}
	if len(cells) > maxColumns {
		hint := "Delete columns that are not needed here."
		if named := len(cutBlank(cells, 0)); named <= maxColumns { // most often a spreadsheet has counted empty ones
			hint = fmt.Sprintf("Those from column %d on have no name: delete them, and save the sheet again.", named+1)
		}
		return h, &Error{Line: line, Column: maxColumns + 1,
			Reason: fmt.Sprintf("%d columns are too many, the most is %d", len(cells), maxColumns), Hint: hint}
	}
	if n := len(cells) - len(ResultColumns()); n >= 0 && slices.EqualFunc(cells[n:], ResultColumns(),
		func(cell, name string) bool { return trim(cell) == name }) {
		h.isResult = true
		h.columns = cells[:n]
	}
	first := make(map[string]int) // position by key, and by folded name of unknown columns
	var twice error
	for i, cell := range h.columns {
		if trim(cell) == "" {
			h.unnamed = append(h.unnamed, i)
			continue
		}
		id, orNone := "="+fold(cell), "."
		key := names.key(cell)
		if key != "" {
			id = key
			h.known = append(h.known, knownCell{i, key})
		}
		if j, ok := first[id]; ok && twice == nil {
			if key != "" { // a mapping can take the meaning from one of them
				other := h.columns[j]
				if _, own := names.own[fold(other)]; own {
					other = cell
				}
				orNone = fmt.Sprintf("; or say that one of them means something else: %s.", mapFlag(Mapping{Header: other, Column: NoColumn}))
			}
			twice = &Error{Line: line, Column: i + 1,
				Reason: fmt.Sprintf("column %d %q says the same as column %d %q", i+1, printable(cell), j+1, printable(h.columns[j])),
				Hint:   "Leave one of the two columns in the sheet, or rename the other" + orNone}
		}
		first[id] = i
	}
	return h, twice
}
