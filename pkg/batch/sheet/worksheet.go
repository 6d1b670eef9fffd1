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
	in    *partReader
	dec   *decoder
	inRow bool // the decoder stands among the rows
	row   int  // number of the row that was read last
	ended bool

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
}

// openSheet opens a worksheet and reads on to its rows.
func (wb *workbook) openSheet(t tab) (*worksheet, error) {
	in, err := wb.open(t.part)
	if err != nil {
		return nil, err
	}
	w := &worksheet{wb: wb, part: t.part, in: in, dec: newDecoder(in)}
	if err := w.toRows(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *worksheet) close() error { return w.in.Close() }

// damaged refuses the workbook because of this sheet.
func (w *worksheet) damaged(err error) error { return partError(w.part, err) }

// toRows reads what stands before the rows.
func (w *worksheet) toRows() error {
	inside := false
	for {
		token, err := w.dec.Token()
		if errors.Is(err, io.EOF) && inside {
			w.ended = true
			return nil
		}
		if err != nil {
			return w.damaged(err)
		}
		el, ok := token.(xml.StartElement)
		switch {
		case !ok:
			continue
		case !inside:
			if inside = ours(el.Name, "worksheet"); !inside {
				return w.damaged(fmt.Errorf("it is a %s and not a worksheet", printable(el.Name.Local)))
			}
			continue
		case ours(el.Name, "sheetData"):
			w.inRow = true
			return nil
		case ours(el.Name, "cols"):
			err = w.columns()
		default:
			err = w.dec.Skip()
		}
		if err != nil {
			return w.damaged(err)
		}
	}
}

// columns reads which columns are hidden.
func (w *worksheet) columns() error {
	return w.each(func(el xml.StartElement) error {
		if ours(el.Name, "col") && (yes(attr(el, "hidden")) || isZero(attr(el, "width"))) {
			from, err := strconv.Atoi(attr(el, "min"))
			to, err2 := strconv.Atoi(attr(el, "max"))
			if err := errors.Join(err, err2); err != nil {
				return errors.New("it does not say which columns are hidden")
			}
			if w.hidden = append(w.hidden, interval{from, to}); len(w.hidden) > maxListed {
				return endless("hidden columns")
			}
		}
		return w.dec.Skip()
	})
}

// isZero reports whether a size is given and is nothing.
func isZero(size string) bool {
	n, err := strconv.ParseFloat(size, 64)
	return err == nil && n == 0
}

// each hands the children of the open element to do, which reads each to its end.
func (w *worksheet) each(do func(xml.StartElement) error) error {
	for {
		token, err := w.dec.Token()
		if err != nil {
			return err
		}
		switch el := token.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if err := do(el); err != nil {
				return err
			}
		}
	}
}

// next returns the next row that the file has, io.EOF after the last.
func (w *worksheet) next() (sheetRow, error) {
	for w.inRow {
		token, err := w.dec.Token()
		if err != nil {
			return sheetRow{}, w.damaged(err)
		}
		switch el := token.(type) {
		case xml.EndElement:
			w.inRow = false
		case xml.StartElement:
			if ours(el.Name, "row") {
				row, err := w.readRow(el)
				if err != nil {
					return sheetRow{}, w.damaged(err)
				}
				return row, nil
			}
			if err := w.skip(el); err != nil {
				return sheetRow{}, w.damaged(err)
			}
		}
	}
	if !w.ended {
		w.ended = true
		if err := w.toEnd(); err != nil {
			return sheetRow{}, w.damaged(err)
		}
	}
	return sheetRow{}, io.EOF
}

// skip passes over what another program has put between rows or cells, unless it
// holds rows or cells to choose from.
func (w *worksheet) skip(el xml.StartElement) error {
	if err := refuseAlternatives(el); err != nil {
		return err
	}
	return w.dec.Skip()
}

func (w *worksheet) readRow(el xml.StartElement) (row sheetRow, err error) {
	if w.row, err = rising(w.row, attr(el, "r"), w.row); err != nil {
		return row, err
	}
	if w.row > maxRows {
		return row, fmt.Errorf("it goes to row %d, column 0", w.row)
	}
	row.line = w.row
	// Filters and closed groups hide their rows by the same mark.
	row.hidden = yes(attr(el, "hidden")) || isZero(attr(el, "ht"))
	column := 0
	err = w.each(func(el xml.StartElement) error {
		if !ours(el.Name, "c") {
			return w.skip(el)
		}
		c, err := w.readCell(el, column)
		if err != nil {
			return err
		}
		column = c.column
		return row.add(w, c)
	})
	return row, err
}

// add puts a cell into its row.
func (row *sheetRow) add(w *worksheet, c rawCell) error {
	text, never, err := w.wb.value(c)
	if err != nil {
		return err
	}
	if never {
		if c.fills != "" {
			return &fault{damaged: true, line: c.row, column: c.column, hint: calculate,
				reason: fmt.Sprintf("a formula that fills the cells %s was never calculated", printable(c.fills))}
		}
		row.never = append(row.never, c.column)
	}
	if text == "" && !never {
		return nil
	}
	for len(row.cells) < c.column-1 {
		row.cells = append(row.cells, "")
	}
	row.cells = append(row.cells, text)
	return nil
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
	number := ""
	if name := attr(el, "r"); name != "" {
		column, row := coordinates(name)
		if column == 0 || row != w.row {
			return c, fmt.Errorf("a cell of row %d is called %q", w.row, printable(name))
		}
		number = strconv.Itoa(column)
	}
	if c.column, err = rising(after, number, w.row); err != nil {
		return c, err
	}
	if c.column > maxColumn {
		return c, fmt.Errorf("it goes to row %d, column %d", w.row, c.column)
	}
	err = w.each(func(el xml.StartElement) error {
		switch {
		case ours(el.Name, "f"):
			c.formula = true
			if kind := attr(el, "t"); kind == "array" || kind == "dataTable" {
				if ref := attr(el, "ref"); strings.Contains(ref, ":") {
					c.fills = ref
				}
			}
			return w.dec.Skip()
		case ours(el.Name, "v") && !c.stored && !c.inline:
			text, err := plainText(w.dec, nil)
			c.stored, c.value = true, string(text)
			return err
		case ours(el.Name, "is") && !c.stored && !c.inline:
			text, err := richText(w.dec, nil, false)
			c.inline, c.value = true, unescape(string(text))
			return err
		case ours(el.Name, "v"), ours(el.Name, "is"):
			return fmt.Errorf("a cell of row %d has two values", w.row)
		}
		return w.skip(el)
	})
	return c, err
}

// rising counts to the number that an element gives itself, or by one if it gives
// none.
func rising(at int, number string, row int) (int, error) {
	if number == "" {
		return at + 1, nil
	}
	n, err := strconv.Atoi(number)
	if err != nil || n <= at {
		return at, fmt.Errorf("in row %d, %q comes after %d", row, printable(number), at)
	}
	return n, nil
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
	for {
		token, err := w.dec.Token()
		if errors.Is(err, io.EOF) {
			return w.readTables(tables)
		}
		if err != nil {
			return err
		}
		el, ok := token.(xml.StartElement)
		switch {
		case !ok:
			continue
		case ours(el.Name, "sheetData"):
			err = errors.New("it has rows in two places")
		case ours(el.Name, "mergeCells"):
			err = w.each(w.readMerged)
		case ours(el.Name, "autoFilter"):
			err = w.each(w.readFilter)
		case ours(el.Name, "tableParts"):
			err = w.each(func(el xml.StartElement) error {
				for _, a := range el.Attr {
					if a.Name.Local == "id" {
						tables = append(tables, a.Value)
					}
				}
				if len(tables) > maxListed {
					return endless("tables")
				}
				return w.dec.Skip()
			})
		default:
			err = w.dec.Skip()
		}
		if err != nil {
			return err
		}
	}
}

func endless(what string) error { return fmt.Errorf("it has over %d %s", maxListed, what) }

func (w *worksheet) readMerged(el xml.StartElement) error {
	if ours(el.Name, "mergeCell") {
		name := attr(el, "ref")
		first, last, several := strings.Cut(strings.ReplaceAll(name, "$", ""), ":")
		if !several {
			last = first
		}
		a := area{name: name}
		a.columns.from, a.rows.from = coordinates(first)
		a.columns.to, a.rows.to = coordinates(last)
		if a.columns.from == 0 || a.columns.to == 0 {
			return fmt.Errorf("merged cells are called %q", printable(name))
		}
		if first != last {
			if w.merged = append(w.merged, a); len(w.merged) > maxListed {
				return endless("merged cells")
			}
		}
	}
	return w.dec.Skip()
}

// readFilter takes one column of a filter. One that only hides its button has no
// condition.
func (w *worksheet) readFilter(el xml.StartElement) error {
	if !ours(el.Name, "filterColumn") {
		return w.dec.Skip()
	}
	return w.each(func(xml.StartElement) error {
		w.filtered = true
		return w.dec.Skip()
	})
}

// readTables looks whether the filter of a table has a condition.
func (w *worksheet) readTables(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	rels, err := w.wb.relationships(w.part)
	if err != nil {
		return err
	}
	for _, r := range rels {
		if !slices.Contains(ids, r.ID) || r.kind() != "table" {
			continue
		}
		var table struct {
			XMLName xml.Name `xml:"table"`
			Columns []struct {
				Conditions []struct{ XMLName xml.Name } `xml:",any"`
			} `xml:"autoFilter>filterColumn"`
		}
		if err := w.wb.decode(r.Target, &table); err != nil {
			return err
		}
		for _, column := range table.Columns {
			w.filtered = w.filtered || len(column.Conditions) > 0
		}
	}
	return nil
}
