package sheet

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The limits of a workbook. The packed file is held in memory, its rows are not. A
// million rows of about 100 bytes are some 50 MiB packed and 400 MiB unpacked.
const (
	maxPacked   = 96 << 20
	maxUnpacked = 1 << 30
)

// bookSource reads the rows of one sheet of an .xlsx.
type bookSource struct {
	wb     *workbook
	opt    Options
	names  naming
	sheet  Worksheet // what was read, and what was not
	rows   *worksheet
	line   int   // number of the row that was read last
	never  []int // its formulas that were never calculated
	filled int   // rows so far that are not blank
	header *header
	above  []bookRow   // some of the rows that are passed over before the header
	ids    []knownCell // the columns that hold identifiers
	at     int         // line of the header
	hidden []int       // lines of the first rows that are hidden
	below  int         // rows under the header that are not blank
}

// openBook reads the header of a sheet. The bytes of the whole workbook go
// through sum before it returns. Errors are as openText's.
func openBook(in io.Reader, sum hash.Hash, opt Options, names naming) (*bookSource, Layout, error) {
	packed, err := loadBook(in, sum, opt)
	if err != nil {
		return nil, Layout{}, err
	}
	layout := Layout{Delimiter: ",", Newline: "\n", BOM: true}
	wb, err := openWorkbook(packed)
	if err != nil {
		return nil, layout, err
	}
	b := &bookSource{wb: wb, opt: opt, names: names}
	t, err := b.choose()
	if err == nil {
		err = b.open(t)
	}
	layout.Sheet = b.sheet.Name
	if b.header != nil {
		layout.Columns = b.header.columns
	}
	if err != nil {
		return nil, layout, errors.Join(err, b.close())
	}
	return b, layout, nil
}

// loadBook reads a workbook into memory, from its path where it has one.
func loadBook(in io.Reader, sum hash.Hash, opt Options) ([]byte, error) {
	if opt.Path != "" {
		file, err := os.Open(opt.Path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	packed, err := io.ReadAll(io.LimitReader(in, maxPacked+1))
	if err != nil {
		return nil, err
	}
	if len(packed) > maxPacked {
		return nil, &fault{reason: fmt.Sprintf("the workbook is over %d MiB", maxPacked>>20),
			hint: "Save the sheet as CSV UTF-8, which may be of any size."}
	}
	sum.Write(packed)
	if !bytes.HasPrefix(packed, []byte("PK\x03\x04")) {
		if f := foreign(packed[:min(len(packed), 512)], opt.Path); f != nil {
			return nil, f
		}
		return nil, &fault{reason: "is not an .xlsx workbook", hint: "If it is text, give the file a name that ends in .csv."}
	}
	return packed, nil
}

// damaged refuses a workbook that can not be read as one.
func damaged(err error) *fault {
	return &fault{damaged: true, reason: "the workbook is damaged: " + oneLine(err.Error(), 240),
		hint: "Open it in a spreadsheet and save it again as .xlsx or as CSV UTF-8."}
}

// open opens a sheet and reads its header.
func (b *bookSource) open(t tab) (err error) {
	b.sheet.Name, b.sheet.Hidden = t.name, t.hidden
	if b.rows, err = b.wb.openSheet(t); err != nil {
		return err
	}
	return b.readHeader()
}

// bookRow is a row with its number.
type bookRow struct {
	line  int
	cells []string
}

// readHeader takes the row that the options name for the header, or the first that is
// not blank.
func (b *bookSource) readHeader() error {
	cells, err := b.headerRow(b.opt.HeaderRow, b.names)
	if err != nil {
		return err
	}
	b.at = b.line
	if len(b.never) > 0 && !b.names.anything {
		return b.neverCalculated(b.never[0])
	}
	var f *fault
	if b.header, f = understand(cells, b.line, b.names); f == nil || b.names.anything {
		f = b.header.complete(b.line, b.others(cells))
	}
	if f != nil {
		return f
	}
	for _, k := range b.header.known {
		switch k.key {
		case "record_id", "user", keyEmail, "context_id":
			b.ids = append(b.ids, k)
		}
	}
	return nil
}

// headerRow reads up to the row of the header. That of a result is the first.
func (b *bookSource) headerRow(at int, names naming) ([]string, error) {
	for {
		cells, err := b.row()
		cells = cutBlank(cells, 0)
		switch {
		case errors.Is(err, io.EOF) && at > 0 && b.line < at:
			return nil, b.point(nil, names, &fault{reason: fmt.Sprintf("--header-row %d is beyond the sheet, which has %d rows", at, b.line)})
		case errors.Is(err, io.EOF):
			return nil, emptySheet()
		case err != nil:
			return nil, err
		}
		if len(b.above) == 0 {
			if h, _ := understand(cells, b.line, names); h.isResult {
				return cells, nil
			}
		}
		switch {
		case b.line < at && len(b.above) < lookAhead:
			b.above = append(b.above, bookRow{b.line, cells})
		case b.line > at && at > 0:
			return nil, b.point(cells, names, &fault{line: at, reason: "no header begins in the row that --header-row names"})
		case b.line >= at:
			return cells, nil
		}
	}
}

// others yields the row that was read last and those near it. What is read for it is
// lost to the reader.
func (b *bookSource) others(cells []string) iter.Seq2[int, []string] {
	return func(yield func(int, []string) bool) {
		for _, row := range b.above {
			if !yield(row.line, row.cells) {
				return
			}
		}
		if !yield(b.line, cells) {
			return
		}
		for range lookAhead {
			cells, err := b.row()
			if err != nil || !yield(b.line, cutBlank(cells, 0)) {
				return
			}
		}
	}
}

// point adds to a fault where the header seems to be.
func (b *bookSource) point(cells []string, names naming, f *fault) *fault {
	if at := (&header{names: names}).better(b.others(cells)); at > 0 {
		f.hint = headerIsAt(at)
	}
	return f
}

// next implements source. A row that is shorter than the header is padded: .xlsx
// leaves out empty cells.
func (b *bookSource) next() (Record, error) {
	for {
		row, err := b.nextRow()
		if err != nil {
			return Record{}, err
		}
		if row.hidden {
			if b.opt.HiddenRows == SkipHidden && !b.names.anything {
				b.sheet.SkippedRows++
				continue
			}
			b.sheet.HiddenRows++
		}
		return b.record(row.cells)
	}
}

// nextRow returns the next row under the header, and io.EOF only where what the sheet
// hides leaves no question open.
func (b *bookSource) nextRow() (sheetRow, error) {
	row, err := b.nextFilled()
	switch {
	case errors.Is(err, io.EOF):
		if f := b.ambiguous(); f != nil {
			return row, f
		}
		return row, err
	case err != nil:
		return row, err
	}
	b.below++
	if row.hidden && len(b.hidden) < hiddenShown {
		b.hidden = append(b.hidden, row.line)
	}
	return row, nil
}

// record makes a record of the row that was read last.
func (b *bookSource) record(cells []string) (Record, error) {
	cells = cutBlank(cells, b.header.width)
	wide := len(cells)
	if n := len(b.never); n > 0 {
		wide = max(wide, b.never[n-1])
	}
	if wide > b.header.width {
		return Record{}, miscounted(b.line, wide, b.header.width, "Clear what stands beside the table, or name its column in the header.")
	}
	for len(cells) < b.header.width {
		cells = append(cells, "")
	}
	call := b.header.callID(cells)
	cells = cells[:len(b.header.columns):len(b.header.columns)]
	return Record{Line: b.line, Cells: cells, CallID: call, Problem: b.problem(cells)}, nil
}

// cutBlank takes blank cells off the end of a row, but leaves n.
func cutBlank(row []string, n int) []string {
	for len(row) > n && trim(row[len(row)-1]) == "" {
		row = row[:len(row)-1]
	}
	return row
}

// row returns the cells of the next row that is not blank, without some of the
// empty ones at its end.
func (b *bookSource) row() ([]string, error) {
	row, err := b.nextFilled()
	return row.cells, err
}

// nextFilled returns the next row that is not blank. A formula that was never
// calculated is not blank: a spreadsheet would show what nobody knows here.
func (b *bookSource) nextFilled() (sheetRow, error) {
	for {
		row, err := b.rows.next()
		if err != nil {
			return row, err
		}
		if b.line = row.line; len(cutBlank(row.cells, 0)) > 0 || len(row.never) > 0 {
			b.never = row.never
			b.filled++
			return row, b.check(row.cells)
		}
	}
}

// check applies to a row what the scanner applies to text.
func (b *bookSource) check(row []string) error {
	size := 0
	for i, cell := range row {
		if size += len(cell) + 1; size > maxRecord {
			return &fault{line: b.line, column: i + 1, reason: fmt.Sprintf("the record is over %d KiB", maxRecord>>10)}
		}
		if strings.Contains(cell, "\x00") {
			return &fault{line: b.line, column: i + 1, reason: "a NUL byte"}
		}
	}
	return nil
}

// neverCalculated refuses the sheet because of a formula in the header.
func (b *bookSource) neverCalculated(column int) *fault {
	return &fault{line: b.line, column: column, reason: "a formula that was never calculated", hint: calculate}
}

// problem finds what makes a row invalid by itself: a formula without a value, in a
// column that means something or is carried through, and an identifier whose digits
// the spreadsheet has eaten. A number has 15 exact digits there; what is longer comes
// in scientific notation, as it does when somebody has typed it so.
func (b *bookSource) problem(cells []string) *Problem {
	if column := b.neverAmong(len(cells)); column > 0 {
		return &Problem{Column: b.columnName(column),
			Reason: "a formula that was never calculated: open the workbook in a spreadsheet and save it, or paste values"}
	}
	for _, id := range b.ids {
		value := trim(cells[id.pos])
		if !strings.Contains(strings.ToUpper(value), "E+") {
			continue
		}
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			continue
		}
		return &Problem{Column: b.columnName(id.pos + 1), Reason: printable(value) +
			" is a number with more digits than a spreadsheet keeps: format the column as text and paste the ids again"}
	}
	return nil
}

// neverAmong returns the column of a formula without a value, 0 if there is none among
// the first columns: one that means something, before one that is carried through.
func (b *bookSource) neverAmong(columns int) int {
	for _, k := range b.header.known {
		if slices.Contains(b.never, k.pos+1) {
			return k.pos + 1
		}
	}
	if len(b.never) > 0 && b.never[0] <= columns {
		return b.never[0]
	}
	return 0
}

// columnName is what messages about rows call a column: by our name, or by its own.
func (b *bookSource) columnName(column int) string {
	for _, k := range b.header.known {
		switch {
		case k.pos != column-1:
		case k.key == keyEmail:
			return "user"
		default:
			return nameOf(k.key)
		}
	}
	if name := printable(b.header.columns[column-1]); name != "" {
		return name
	}
	return fmt.Sprintf("column %d", column)
}

// close implements source; it removes temporary files.
func (b *bookSource) close() error {
	var err error
	if b.rows != nil {
		err = b.rows.close()
		b.rows = nil
	}
	return errors.Join(err, b.wb.close())
}
