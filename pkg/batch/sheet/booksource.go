package sheet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// bookSource reads the rows of one sheet of an .xlsx.
type bookSource struct {
	wb     *workbook
	opt    Options
	names  naming
	sheet  Worksheet // what was read, and what was not
	rows   *worksheet
	row    sheetRow // that was read last
	filled int      // rows so far that are not blank
	header *header
	above  []sheetRow   // some of the rows that are passed over before the header
	ids    []knownCell  // the columns that hold identifiers
	hidden []int        // lines of the first rows that are hidden
	below  int          // rows under the header that are not blank
	dates  map[int]bool // columns of records with dates, and whether all of them are stored as such
}

// openBook reads the header of a sheet. The bytes of the whole workbook go
// through the hash before it returns. Errors are as openText's.
func (r *Reader) openBook(in io.Reader, names naming) error {
	packed, err := r.loadBook(in)
	if err != nil {
		return err
	}
	wb, err := openWorkbook(packed)
	b := &bookSource{wb: wb, opt: r.opt, names: names, dates: make(map[int]bool)}
	var t tab
	if err == nil {
		t, err = b.choose()
	}
	if err == nil {
		err = b.open(t)
	}
	if r.header = b.header; err != nil {
		return errors.Join(err, b.close())
	}
	if b.header.isResult {
		b.sheet.Others = slices.DeleteFunc(b.sheet.Others, func(name string) bool { return name == SummarySheet })
	}
	r.src, r.layout = b, Layout{Delimiter: ",", Newline: "\n", BOM: true, Sheet: b.sheet.Name}
	return nil
}

// loadBook reads a workbook into memory, from its path where it has one.
func (r *Reader) loadBook(in io.Reader) ([]byte, error) {
	if r.opt.Path != "" {
		file, err := os.Open(r.opt.Path)
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
		return nil, &Error{Reason: fmt.Sprintf("the workbook is over %d MiB", maxPacked>>20),
			Hint: "Save the sheet as CSV UTF-8, which may be of any size."}
	}
	r.hash.Write(packed)
	if !bytes.HasPrefix(packed, []byte("PK\x03\x04")) {
		if refusal := foreign(packed[:min(len(packed), 512)], r.opt.Path); refusal != nil {
			return nil, refusal
		}
		return nil, &Error{Reason: "is not an .xlsx workbook", Hint: "If it is text, give the file a name that ends in .csv."}
	}
	return packed, nil
}

// open opens a sheet and reads its header.
func (b *bookSource) open(t tab) (err error) {
	b.sheet.Name, b.sheet.Hidden = t.name, t.hidden
	if b.rows, err = b.wb.openSheet(t); err != nil {
		return err
	}
	cells, err := b.headerRow()
	if err != nil {
		return err
	}
	if len(b.row.never) > 0 && !b.names.anything {
		return &Error{Line: b.row.line, Column: b.row.never[0], Reason: "a formula that was never calculated", Hint: calculate}
	}
	b.header, err = readHeader(cells, b.row.line, b.names, b.others)
	for _, k := range b.header.known {
		switch k.key {
		case "record_id", "user", keyEmail, "context_id":
			b.ids = append(b.ids, k)
		}
	}
	return err
}

// headerRow reads up to the row of the header, which the options name, or which is the
// first that is not blank. That of a result is the first.
func (b *bookSource) headerRow() ([]string, error) {
	at := b.opt.HeaderRow
	for {
		err := b.read()
		cells := cutBlank(b.row.cells, 0)
		switch {
		case errors.Is(err, io.EOF) && b.row.line < at:
			return nil, b.names.point(&Error{Reason: fmt.Sprintf("--header-row %d is beyond the sheet, which has %d rows", at, b.row.line)}, 0, b.others)
		case errors.Is(err, io.EOF):
			return nil, emptySheet()
		case err != nil:
			return nil, err
		}
		if len(b.above) == 0 {
			if h, _ := understand(cells, b.row.line, b.names); h.isResult {
				return cells, nil
			}
		}
		switch {
		case b.row.line < at && len(b.above) < lookAhead:
			b.above = append(b.above, b.row)
		case b.row.line > at && at > 0:
			return nil, b.names.point(noHeaderIn(at), 0, b.others)
		case b.row.line >= at:
			return cells, nil
		}
	}
}

// others yields the row that was read last and those near it. What is read for it is
// lost to the reader.
func (b *bookSource) others(yield func(int, []string) bool) {
	for _, row := range append(b.above, b.row) {
		if !yield(row.line, cutBlank(row.cells, 0)) {
			return
		}
	}
	for range lookAhead {
		if b.read() != nil || !yield(b.row.line, cutBlank(b.row.cells, 0)) {
			return
		}
	}
}

// read reads the next row that is not blank. A formula that was never calculated is not
// blank: a spreadsheet would show what nobody knows here.
func (b *bookSource) read() error {
	for {
		row, err := b.rows.next()
		if err != nil {
			return err
		}
		if len(cutBlank(row.cells, 0)) == 0 && len(row.never) == 0 {
			continue
		}
		b.row = row
		b.filled++
		size := 0
		for i, cell := range row.cells { // as the scanner checks a text
			if size += len(cell) + 1; size > maxRecord {
				return &Error{Line: row.line, Column: i + 1, Reason: fmt.Sprintf("the record is over %d KiB", maxRecord>>10)}
			}
			if strings.Contains(cell, "\x00") {
				return &Error{Line: row.line, Column: i + 1, Reason: "a NUL byte"}
			}
		}
		return nil
	}
}

// next implements source. A row that is shorter than the header is padded: .xlsx
// leaves out empty cells. At the end, what the sheet hides must leave no question open.
func (b *bookSource) next() (Record, error) {
	for {
		err := b.read()
		if errors.Is(err, io.EOF) && !b.names.anything {
			if refusal := b.ambiguous(); refusal != nil {
				return Record{}, refusal
			}
		}
		if err != nil {
			return Record{}, err
		}
		b.below++
		if b.row.hidden {
			if len(b.hidden) < hiddenShown {
				b.hidden = append(b.hidden, b.row.line)
			}
			if b.opt.HiddenRows == SkipHidden && !b.names.anything {
				b.sheet.SkippedRows++
				continue
			}
			b.sheet.HiddenRows++
		}
		cells, width := cutBlank(b.row.cells, b.header.width), b.header.width
		wide := len(cells)
		if n := len(b.row.never); n > 0 {
			wide = max(wide, b.row.never[n-1])
		}
		if wide > width {
			return Record{}, miscounted(b.row.line, wide, width, "Clear what stands beside the table, or name its column in the header.")
		}
		for len(cells) < width {
			cells = append(cells, "")
		}
		b.seeDates()
		rec := b.header.record(b.row.line, cells)
		rec.Problem = b.problem(rec.Cells)
		return rec, nil
	}
}

// seeDates notes in which columns the row that was read last has dates.
func (b *bookSource) seeDates() {
	for _, column := range b.row.dates {
		if _, seen := b.dates[column]; !seen {
			b.dates[column] = true
		}
	}
	for _, column := range b.row.typed {
		b.dates[column] = false
	}
}

// dateColumns are Layout.Dates.
func (b *bookSource) dateColumns() (positions []int) {
	for i := range b.header.columns {
		if b.dates[i+1] {
			positions = append(positions, i)
		}
	}
	return positions
}

// cutBlank takes blank cells off the end of a row, but leaves n.
func cutBlank(row []string, n int) []string {
	for len(row) > n && trim(row[len(row)-1]) == "" {
		row = row[:len(row)-1]
	}
	return row
}

// problem finds what makes the row that was read last invalid by itself: a formula
// without a value, in a column that means something or else in one that is carried
// through, and an identifier whose digits the spreadsheet has eaten. A number has 15
// exact digits there; what is longer comes in scientific notation, as it does when
// somebody has typed it so.
func (b *bookSource) problem(cells []string) *Problem {
	never := b.row.never
	if i := slices.IndexFunc(b.header.known, func(k knownCell) bool { return slices.Contains(never, k.pos+1) }); i >= 0 {
		never = []int{b.header.known[i].pos + 1}
	}
	if len(never) > 0 && never[0] <= len(cells) {
		return &Problem{Column: b.columnName(never[0]),
			Reason: "a formula that was never calculated: open the workbook in a spreadsheet and save it, or paste values"}
	}
	for _, id := range b.ids {
		value := trim(cells[id.pos])
		if !strings.Contains(strings.ToUpper(value), "E+") {
			continue
		}
		if _, err := strconv.ParseFloat(value, 64); err == nil {
			return &Problem{Column: b.columnName(id.pos + 1), Reason: printable(value) +
				" is a number with more digits than a spreadsheet keeps: format the column as text and paste the ids again"}
		}
	}
	return nil
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
	return errors.Join(err, b.wb.texts.close())
}
