package sheet

import (
	"archive/zip"
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

	"github.com/xuri/excelize/v2"
)

// The limits of a workbook. excelize keeps the packed file and every part but
// rows and shared strings in memory; parts over maxPart go to temporary files. A
// million rows of about 100 bytes are some 50 MiB packed and 400 MiB unpacked.
const (
	maxPacked   = 96 << 20
	maxUnpacked = 1 << 30
	maxPart     = 512 << 10
)

// bookSource reads the rows of one sheet of an .xlsx.
type bookSource struct {
	file   *excelize.File
	rows   *excelize.Rows
	line   int // number of the row that was read last
	header *header
	above  []bookRow   // some of the rows that are passed over before the header
	ids    []knownCell // the columns that hold identifiers
}

// openBook reads the header of a sheet. The bytes of the whole workbook go
// through sum before it returns. Errors are as openText's.
func openBook(in io.Reader, sum hash.Hash, opt Options, names naming) (*bookSource, Layout, error) {
	packed, err := loadBook(in, sum, opt)
	if err != nil {
		return nil, Layout{}, err
	}
	b := &bookSource{}
	layout := Layout{Delimiter: ",", Newline: "\n", BOM: true}
	if err := b.open(packed, opt.Sheet); err != nil {
		return nil, layout, errors.Join(err, b.close())
	}
	err = b.readHeader(opt.HeaderRow, names)
	if b.header != nil {
		layout.Columns = b.header.columns
	}
	if err != nil {
		return nil, layout, errors.Join(err, b.close())
	}
	return b, layout, nil
}

// loadBook reads a workbook into memory, from its path where it has one, and
// checks what excelize does not.
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
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return nil, damaged(err)
	}
	return packed, verify(archive)
}

// damaged refuses a workbook that can not be read as one.
func damaged(err error) *fault {
	return &fault{reason: "the workbook is damaged: " + oneLine(err.Error(), 240),
		hint: "Open it in a spreadsheet and save it again as .xlsx or as CSV UTF-8."}
}

// guard turns a panic of the workbook library, which meets files of any origin,
// into a refusal.
func guard(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = damaged(fmt.Errorf("%v", p))
		}
	}()
	return do()
}

// open finds the sheet, and its rows.
func (b *bookSource) open(packed []byte, name string) error {
	return guard(func() (err error) {
		b.file, err = excelize.OpenReader(bytes.NewReader(packed), excelize.Options{
			UnzipSizeLimit:    maxUnpacked,
			UnzipXMLSizeLimit: maxPart,
			ShortDatePattern:  "yyyy-mm-dd",
		})
		if err != nil {
			return damaged(err)
		}
		plainNumbers(b.file)
		names := b.file.GetSheetList()
		at := 0
		if name != "" {
			at = slices.Index(names, name)
		}
		if at < 0 || len(names) == 0 {
			return &fault{reason: fmt.Sprintf("the workbook has no sheet %q", printable(name)),
				hint: "Its sheets are " + strings.Join(quoteAll(names), ", ") + "."}
		}
		if b.rows, err = b.file.Rows(names[at]); err != nil {
			return damaged(err)
		}
		return nil
	})
}

func quoteAll(names []string) []string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(printable(name))
	}
	return quoted
}

// bookRow is a row with its number.
type bookRow struct {
	line  int
	cells []string
}

// readHeader takes the row with the number at for the header, or the first that is
// not blank if that is 0.
func (b *bookSource) readHeader(at int, names naming) error {
	cells, err := b.headerRow(at, names)
	if err != nil {
		return err
	}
	var f *fault
	if b.header, f = understand(cells, b.line, names); f == nil || names.anything {
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
			return nil, &fault{line: 1, reason: "the sheet is empty, it has no header"}
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
	cells, err := b.row()
	if err != nil {
		return Record{}, err
	}
	cells = cutBlank(cells, b.header.width)
	if len(cells) > b.header.width {
		return Record{}, miscounted(b.line, len(cells), b.header.width, "Clear what stands beside the table, or name its column in the header.")
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
func (b *bookSource) row() (cells []string, err error) {
	err = guard(func() error {
		for b.rows.Next() {
			b.line++
			row, err := b.rows.Columns()
			if err != nil {
				f := damaged(err)
				f.line = b.line
				return f
			}
			if len(cutBlank(row, 0)) > 0 {
				cells = row
				return b.check(row)
			}
		}
		return io.EOF
	})
	return cells, err
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

// problem finds an identifier whose digits the spreadsheet has eaten. A number
// has 15 exact digits there; what is longer comes from excelize in scientific
// notation, as it does when somebody has typed it so.
func (b *bookSource) problem(cells []string) *Problem {
	for _, id := range b.ids {
		value := trim(cells[id.pos])
		if !strings.Contains(strings.ToUpper(value), "E+") {
			continue
		}
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			continue
		}
		column := id.key
		if column == keyEmail {
			column = "user"
		}
		return &Problem{Column: column, Reason: printable(value) +
			" is a number with more digits than a spreadsheet keeps: format the column as text and paste the ids again"}
	}
	return nil
}

// close implements source; it removes excelize's temporary files.
func (b *bookSource) close() error {
	var errs []error
	if b.rows != nil {
		errs = append(errs, b.rows.Close())
		b.rows = nil
	}
	if b.file != nil {
		errs = append(errs, b.file.Close())
		b.file = nil
	}
	return errors.Join(errs...)
}
