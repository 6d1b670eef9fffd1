package sheet

// Extent is how much of a sheet was read: what says whether it fits into a
// workbook.
type Extent struct {
	Rows int // below the header
	// Longest is the length of the longest cell, in Units; the first of that length
	// stands in Line and Column, 1-based. The header counts.
	Longest, Line, Column int
	// Bytes is the length of all cells with a delimiter each: about what the sheet takes
	// as text. The header counts.
	Bytes int64
}

// Units returns how long a text is as spreadsheet programs count: in UTF-16 code
// units.
func Units(s string) int {
	n := 0
	for _, r := range s {
		if n++; r > 0xFFFF {
			n++
		}
	}
	return n
}

// measure takes the cells of a row. The units of few are counted: a text has at least
// as many bytes as units.
func (e *Extent) measure(line int, cells []string) {
	for i, cell := range cells {
		e.Bytes += int64(len(cell)) + 1
		if len(cell) <= e.Longest {
			continue
		}
		if n := Units(cell); n > e.Longest {
			e.Longest, e.Line, e.Column = n, line, i+1
		}
	}
}

// Extent returns how large the part of the sheet is that All has yielded, or has
// read ahead of what it yielded. After All has ended it is the whole sheet.
func (r *Reader) Extent() Extent { return r.extent }
