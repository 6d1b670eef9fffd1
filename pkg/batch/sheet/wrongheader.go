package sheet

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// lookAhead is how many rows below a refused header are looked at for a better one.
const lookAhead = 20

// complete refuses a header that lacks a needed column, or one that a mapping names,
// and says what was found, and what may have been meant. others are rows near it with
// their lines; of one line there may be several, as it can be read in several ways.
func (h *header) complete(others iter.Seq2[int, []string]) error {
	missing, absent := h.missing(), h.names.absent(h.columns)
	if len(missing)+len(absent) == 0 {
		return nil
	}
	e := &Error{Line: h.line, Hint: fmt.Sprintf("Found in row %d: %s. ", h.line, h.found())}
	e.better = h.better(others)
	if len(absent) > 0 {
		var names []string
		for _, name := range absent {
			names = append(names, strconv.Quote(printable(name)))
		}
		e.Reason = fmt.Sprintf("the sheet has no column %s, which --map names", strings.Join(names, " and no "))
	} else {
		noun := "column"
		if len(missing) > 1 {
			noun = "columns"
		}
		var names []string
		for _, m := range missing {
			names = append(names, m.key)
		}
		e.Reason = fmt.Sprintf("the header lacks the needed %s %s", noun, strings.Join(names, ", "))
	}
	switch {
	case e.better > 0:
		e.Hint += headerIsAt(e.better)
	case len(absent) == 0:
		e.Hint += h.advice(missing)
	default:
		if near := Near(absent[0], h.columns...); near != "" {
			e.Hint += fmt.Sprintf("Did you mean %q?", printable(near))
		} else {
			e.Hint += "Name one of these, or leave the mapping out."
		}
	}
	return e
}

// emptySheet refuses a sheet that has nothing at all.
func emptySheet() *Error {
	return &Error{Line: 1, Reason: "the sheet is empty, it has no header",
		Hint: "A sheet without rows has at least the names of its columns: did the export fail?"}
}

// noHeaderIn refuses a header row that is blank, or within another row.
func noHeaderIn(row int) *Error {
	return &Error{Line: row, Reason: "no header begins in the row that --header-row names"}
}

// point adds to a refusal where below a line the header seems to be.
func (n naming) point(e *Error, below int, rows iter.Seq2[int, []string]) *Error {
	if at := (&header{names: n}).better(rows); at > below {
		e.Hint = strings.TrimSpace(e.Hint + " " + headerIsAt(at))
	}
	return e
}

// headerIsAt says where the header seems to be.
func headerIsAt(line int) string {
	if line == 1 {
		return "Row 1 looks like the header: give --header-row 1."
	}
	return fmt.Sprintf("Row %d looks like the header: give --header-row %d, or delete the rows above it.", line, line)
}

// found lists the names of the columns, those of a result block left out.
func (h *header) found() string {
	var names []string
	for i, cell := range h.columns {
		if slices.Contains(h.unnamed, i) {
			continue
		}
		name := printable(cell)
		if strings.ContainsAny(name, `,;"`) {
			name = strconv.Quote(name)
		}
		names = append(names, name)
	}
	if h.isResult {
		names = append(names, "the columns of a result")
	}
	return listed(names)
}

// better returns the line of the row that looks most like a header, 0 if none looks
// more like one than this. Two needed names are no accident.
func (h *header) better(others iter.Seq2[int, []string]) (at int) {
	most, exact := h.likeness()
	for line, cells := range others {
		other, _ := understand(cells, line, h.names)
		if n, e := other.likeness(); n >= 2 && (n > most || n == most && e > exact) {
			at, most, exact = line, n, e
		}
	}
	return at
}

// likeness is how many needed columns a row has by their names or nearly so, and how
// many of these exactly.
func (h *header) likeness() (columns, exact int) {
	missing := h.missing()
	exact = len(neededColumns()) - len(missing)
	return exact + len(h.meant(missing)), exact
}

// advice says what to do about columns that are missing.
func (h *header) advice(missing []column) string {
	if advice := h.oneCell(); advice != "" {
		return advice
	}
	if len(missing) == len(neededColumns()) && slices.ContainsFunc(h.columns, looksLikeValue) {
		return fmt.Sprintf("Row %d looks like a row already: put one above it that names the columns, such as action,object,record_id,user.", h.line)
	}
	advice, how := "", "Rename the columns, or say what they stand for: "
	meant, strange := h.meant(missing), h.strange()
	var pairs []string
	for _, m := range meant {
		pairs = append(pairs, fmt.Sprintf("%q for %s", printable(h.columns[m.pos]), m.key))
	}
	if len(meant) > 0 {
		advice = "Did you mean " + strings.Join(pairs, ", ") + "? "
	} else if len(missing) == 1 {
		names := missing[0].names
		advice = fmt.Sprintf("%s may also be called %s. ", names[0], strings.Join(names[1:], ", "))
	}
	if len(strange) < len(missing) {
		return advice + "Add what is missing; or is this another sheet?"
	}
	// A mapping mends the header, with the columns that were probably meant, or else
	// with the first that means nothing yet.
	if len(meant) == 0 {
		how = "Rename the columns, or say what they stand for, as in "
		meant = []knownCell{{strange[0], missing[0].key}}
	}
	var maps []Mapping
	for _, m := range meant {
		maps = append(maps, Mapping{Header: h.columns[m.pos], Column: m.key})
	}
	example := mapFlag(maps...)
	if len(meant) < len(missing) {
		example = example[:len(example)-1] + ",..." + example[len(example)-1:]
	}
	return advice + how + example + "."
}

// meant finds the columns that were probably meant to be missing ones, in the order
// of these.
func (h *header) meant(missing []column) (meant []knownCell) {
	left := h.strange()
	for _, m := range missing {
		near := func(pos int) bool { return Near(h.columns[pos], m.names...) != "" }
		if i := slices.IndexFunc(left, near); i >= 0 {
			meant = append(meant, knownCell{left[i], m.key})
			left = slices.Delete(left, i, i+1)
		}
	}
	return meant
}

// Suspects returns the columns that mean nothing to us and are nearly called as one
// of ours that the sheet does not have: a slip in their names would have their values
// carried through, and not heeded.
func (r *Reader) Suspects() (suspects []Mapping) {
	var missing []string
	for _, c := range knownColumns() {
		if !r.header.has(c.key) && !(c.key == keyEmail && r.header.has("user")) {
			missing = append(missing, c.names...)
		}
	}
	for _, i := range r.header.strange() {
		if near := Near(r.header.columns[i], missing...); near != "" {
			suspects = append(suspects, Mapping{Header: printable(r.header.columns[i]), Column: ColumnNamed(near)})
		}
	}
	return suspects
}

// strange returns the columns that nobody has given a meaning.
func (h *header) strange() (positions []int) {
	for i, cell := range h.columns {
		if _, own := h.names.own[fold(cell)]; !own && trim(cell) != "" && columnKey(cell) == "" {
			positions = append(positions, i)
		}
	}
	return positions
}

// oneCell says how a line becomes cells if the header is one cell that holds several
// names of ours, and nothing otherwise.
func (h *header) oneCell() string {
	named := slices.DeleteFunc(slices.Clone(h.columns), func(cell string) bool { return trim(cell) == "" })
	if len(named) != 1 {
		return ""
	}
	part := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '-' }
	inside, _ := understand(strings.FieldsFunc(named[0], func(r rune) bool { return !part(r) }), 0, h.names)
	if len(neededColumns())-len(inside.missing()) < 2 {
		return ""
	}
	between := strings.TrimLeftFunc(trim(named[0]), part)
	between = between[:strings.IndexFunc(between, part)]
	switch {
	case len(between) == 1 && strings.Contains(delimiters, between):
		return fmt.Sprintf("The line is one cell, although %q stands in it: is it in quotes as a whole, or does the first line declare another delimiter?", between)
	case between == " ":
		between = "spaces"
	default:
		between = strconv.Quote(between)
	}
	return "The names are separated by " + between + ": save the sheet with commas, semicolons, tabs or bars between the cells."
}

// looksLikeValue reports whether a cell of a first row is rather a value: an
// address, a number as long as ids are, or a GUID.
func looksLikeValue(cell string) bool {
	cell = trim(cell)
	if strings.Contains(cell, "@") && !strings.ContainsFunc(cell, unicode.IsSpace) {
		return true
	}
	hex := func(r rune) bool { return unicode.Is(unicode.ASCII_Hex_Digit, r) || r == '-' }
	number := func(r rune) bool { return '0' <= r && r <= '9' }
	return len(cell) >= 5 && strings.Trim(cell, "0123456789") == "" ||
		len(cell) == 36 && strings.Count(cell, "-") == 4 && strings.IndexFunc(cell, func(r rune) bool { return !hex(r) }) < 0 && strings.ContainsFunc(cell, number)
}
