package sheet

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The size of a worksheet, as the file format has it.
const (
	maxRows   = 1 << 20
	maxColumn = 1 << 14
	// maxListed is for what a sheet lists beside its rows and is held in memory: hidden
	// columns, merged cells and tables.
	maxListed = 1 << 16
)

// worksheet reads the rows of one sheet of a workbook, from top to bottom. What it
// cannot understand it refuses: a row must neither disappear nor touch another
// record.
type worksheet struct {
	wb    *workbook
	part  string
	dec   *decoder
	row   int  // number of the row that was read last
	ended bool // there are no more rows

	hidden   []interval // columns that are hidden
	merged   []area     // known at the end of the rows
	filtered bool       // a filter has a condition; known at the end of the rows
}

// interval is a run of rows or columns, 1-based.
type interval struct{ from, to int }

// area is a rectangle of cells, 1-based.
type area struct {
	rows, columns interval
	name          string // as the file has it
}

// sheetRow is a row of a worksheet, blank or not.
type sheetRow struct {
	line   int
	hidden bool
	cells  []string
	// never are the columns with a formula whose value the file does not have.
	never []int
	// dates are the columns with a date that is stored as one, typed those with a text
	// that reads like one.
	dates, typed []int
}

// openSheet opens a worksheet and reads on to its rows.
func (wb *workbook) openSheet(t tab) (*worksheet, error) {
	dec, err := wb.open(t.part)
	if err != nil {
		return nil, err
	}
	w := &worksheet{wb: wb, part: t.part, dec: dec}
	if err := w.toRows(); err != nil {
		return nil, errors.Join(partError(w.part, err), w.close())
	}
	return w, nil
}

func (w *worksheet) close() error { return w.dec.in.Close() }

// toRows reads what stands before the rows: which columns are hidden.
func (w *worksheet) toRows() error {
	if err := w.dec.root("worksheet"); err != nil {
		return err
	}
	for {
		el, ok, err := w.dec.child(1)
		switch {
		case err != nil:
			return err
		case !ok:
			w.ended = true
			return w.dec.end()
		case ours(el.Name, "sheetData"):
			return nil
		case ours(el.Name, "cols"):
			err = w.dec.each("col", func(el xml.StartElement) error {
				if !yes(attr(el, "hidden")) && !isZero(attr(el, "width")) {
					return nil
				}
				from, err := strconv.Atoi(attr(el, "min"))
				to, err2 := strconv.Atoi(attr(el, "max"))
				if errors.Join(err, err2) != nil {
					return errors.New("it does not say which columns are hidden")
				}
				w.hidden = append(w.hidden, interval{from, to})
				return notEndless(len(w.hidden), "hidden columns")
			})
			if err != nil {
				return err
			}
		}
	}
}

// isZero reports whether a size is given and is nothing.
func isZero(size string) bool {
	n, err := strconv.ParseFloat(size, 64)
	return err == nil && n == 0
}

// notEndless refuses a list that is longer than any.
func notEndless(n int, what string) error {
	if n > maxListed {
		return fmt.Errorf("it has over %d %s", maxListed, what)
	}
	return nil
}

// next returns the next row that the file has, io.EOF after the last.
func (w *worksheet) next() (row sheetRow, err error) {
	for !w.ended {
		el, ok, err := w.dec.child(2)
		switch {
		case err != nil:
		case !ok:
			w.ended = true
			err = w.toEnd()
		case ours(el.Name, "row"):
			if row, err = w.readRow(el); err == nil {
				return row, nil
			}
		default:
			err = refuseAlternatives(el)
		}
		if err != nil {
			return sheetRow{}, partError(w.part, err)
		}
	}
	return sheetRow{}, io.EOF
}

func (w *worksheet) readRow(el xml.StartElement) (row sheetRow, err error) {
	row.line = w.row + 1
	if number := attr(el, "r"); number != "" {
		if row.line, err = strconv.Atoi(number); err != nil || row.line <= w.row {
			return row, fmt.Errorf("in row %d, %q comes after %d", w.row, printable(number), w.row)
		}
	}
	if w.row = row.line; w.row > maxRows {
		return row, fmt.Errorf("it goes to row %d, column 0", w.row)
	}
	// Filters and closed groups hide their rows by the same mark.
	row.hidden = yes(attr(el, "hidden")) || isZero(attr(el, "ht"))
	column := 0
	err = w.dec.each("", func(el xml.StartElement) error {
		if !ours(el.Name, "c") {
			// What another program has put between the cells is passed over, unless it
			// holds cells to choose from.
			return refuseAlternatives(el)
		}
		c, err := w.readCell(el, column)
		if err != nil {
			return err
		}
		column = c.column
		text, never, err := w.wb.value(c)
		switch {
		case err != nil:
			return err
		case never && c.fills != "":
			return &Error{damaged: true, Line: c.row, Column: c.column, Hint: calculate,
				Reason: fmt.Sprintf("a formula that fills the cells %s was never calculated", printable(c.fills))}
		case never:
			row.never = append(row.never, c.column)
		case text == "":
			return nil
		}
		if _, _, isDate := DateOf(text); isDate && (c.kind == "" || c.kind == "n" || c.kind == "d") {
			row.dates = append(row.dates, c.column)
		} else if isDate {
			row.typed = append(row.typed, c.column)
		}
		for len(row.cells) < c.column-1 {
			row.cells = append(row.cells, "")
		}
		row.cells = append(row.cells, text)
		return nil
	})
	return row, err
}

// rawCell is a cell as the file has it.
type rawCell struct {
	row, column int
	kind        string // what its value is; "" is a number
	style       string // index of its style
	formula     bool
	fills       string // the cells that an array formula fills, if there are several
	stored      bool   // it has a value, which may be empty
	value       string
	inline      bool // it has a text of its own, in value
}

// readCell reads a cell that follows the one in column after.
func (w *worksheet) readCell(el xml.StartElement, after int) (c rawCell, err error) {
	c.row, c.kind, c.style = w.row, attr(el, "t"), attr(el, "s")
	c.column = after + 1
	if name := attr(el, "r"); name != "" {
		column, row := coordinates(name)
		if column == 0 || row != w.row {
			return c, fmt.Errorf("a cell of row %d is called %q", w.row, printable(name))
		}
		if column <= after {
			return c, fmt.Errorf(`in row %d, "%d" comes after %d`, w.row, column, after)
		}
		c.column = column
	}
	if c.column > maxColumn {
		return c, fmt.Errorf("it goes to row %d, column %d", w.row, c.column)
	}
	err = w.dec.each("", func(el xml.StartElement) (err error) {
		var text []byte
		switch {
		case ours(el.Name, "f"):
			c.formula = true
			if kind, ref := attr(el, "t"), attr(el, "ref"); (kind == "array" || kind == "dataTable") && strings.Contains(ref, ":") {
				c.fills = ref
			}
		case !ours(el.Name, "v") && !ours(el.Name, "is"):
			err = refuseAlternatives(el)
		case c.stored || c.inline:
			err = fmt.Errorf("a cell of row %d has two values", w.row)
		case el.Name.Local == "v":
			text, err = w.dec.text(nil)
			c.stored, c.value = true, string(text)
		default:
			text, err = w.dec.richText(nil, false)
			c.inline, c.value = true, unescape(string(text))
		}
		return err
	})
	return c, err
}

// coordinates reads a cell's name, as in "AB12"; 0 is what has no meaning.
func coordinates(name string) (column, row int) {
	i := 0
	for ; i < len(name) && i < 4 && name[i]|0x20 >= 'a' && name[i]|0x20 <= 'z'; i++ {
		column = column*26 + int(name[i]|0x20-'a') + 1
	}
	row, err := strconv.Atoi(name[i:])
	if err != nil {
		return 0, 0
	}
	return column, row
}

// toEnd reads what stands behind the rows.
func (w *worksheet) toEnd() error {
	var tables []string
	err := w.dec.each("", func(el xml.StartElement) error {
		switch {
		case ours(el.Name, "sheetData"):
			return errors.New("it has rows in two places")
		case ours(el.Name, "mergeCells"):
			return w.dec.each("mergeCell", w.readMerged)
		case ours(el.Name, "autoFilter"):
			return w.readFilter(w.dec)
		case ours(el.Name, "tableParts"):
			return w.dec.each("tablePart", func(el xml.StartElement) error {
				tables = append(tables, relationshipID(el))
				return notEndless(len(tables), "tables")
			})
		}
		return nil
	})
	if err == nil {
		err = w.dec.end()
	}
	var rels []relationship
	if err == nil && len(tables) > 0 {
		rels, err = w.wb.relationships(w.part)
	}
	if err != nil {
		return err
	}
	for _, r := range rels {
		if !slices.Contains(tables, r.id) || r.kind != "table" {
			continue
		}
		err := w.wb.read(r.target, "table", func(dec *decoder, el xml.StartElement) error {
			if ours(el.Name, "autoFilter") {
				return w.readFilter(dec)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *worksheet) readMerged(el xml.StartElement) error {
	a := area{name: attr(el, "ref")}
	first, last, several := strings.Cut(strings.ReplaceAll(a.name, "$", ""), ":")
	if !several {
		last = first
	}
	a.columns.from, a.rows.from = coordinates(first)
	a.columns.to, a.rows.to = coordinates(last)
	if a.columns.from == 0 || a.columns.to == 0 {
		return fmt.Errorf("merged cells are called %q", printable(a.name))
	}
	if first == last {
		return nil
	}
	w.merged = append(w.merged, a)
	return notEndless(len(w.merged), "merged cells")
}

// readFilter looks whether a column of a filter has a condition. One that only hides
// its button has none.
func (w *worksheet) readFilter(dec *decoder) error {
	return dec.each("filterColumn", func(xml.StartElement) error {
		return dec.each("", func(xml.StartElement) error {
			w.filtered = true
			return nil
		})
	})
}
