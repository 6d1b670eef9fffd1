package report

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

const (
	// bookSheet is the name of the only sheet of a workbook result.
	bookSheet = "Results"
	// textFormat is the number format "@": what is typed into such a cell stays text.
	textFormat = 49
	// bookSample is how many rows say how wide the input's columns are.
	bookSample = 200
	// The widths of the input's columns, in characters. The narrowest still shows a
	// header beside its filter button.
	narrowest, widest = 10, 50
)

// blockWidths are the widths of the result columns, in the order of
// sheet.ResultColumns.
func blockWidths() [10]int { return [10]int{8, 15, 36, 24, 60, 13, 11, 30, 26, 26} }

// IsWorkbook says whether a result of this name is written as a workbook.
func IsWorkbook(path string) bool { return strings.EqualFold(filepath.Ext(path), ".xlsx") }

// CheckWorkbook refuses a sheet that does not fit into a workbook, if that is what
// path names: more rows than Excel takes, or a cell that is longer. Nothing is ever
// cut off a cell. The error is a *TargetError.
func CheckWorkbook(path string, size sheet.Extent) error {
	switch {
	case !IsWorkbook(path):
		return nil
	case size.Rows >= excelize.TotalRows:
		return tooMany(path, size.Rows)
	case size.Longest > excelize.TotalCellChars:
		return tooLong(path, fmt.Sprintf("the cell in line %d, column %d", size.Line, size.Column), size.Longest)
	}
	return nil
}

// asText is what to do where a workbook is too small.
const asText = "Name a .csv file with -o, which takes any number of rows and cells of any length."

func tooMany(path string, rows int) error {
	return &TargetError{Path: path, Hint: asText,
		Reason: fmt.Sprintf("a workbook takes %d rows below its header, and there are %d", excelize.TotalRows-1, rows)}
}

func tooLong(path, cell string, units int) error {
	return &TargetError{Path: path, Hint: asText,
		Reason: fmt.Sprintf("a cell of a workbook takes %d characters, and %s has %d", excelize.TotalCellChars, cell, units)}
}

// book is a workbook on its way out.
type book struct {
	path    string // of the result, for messages
	file    *excelize.File
	rows    *excelize.StreamWriter
	cells   []any // of the row that is being filled
	row     int   // number of the row that was written last
	columns int
	err     error // the first cell that does not fit
}

// writeWorkbook writes header and rows as writeCSV does, as a workbook with one
// sheet whose cells are all text: opening and saving it leaves every identifier as
// it is, and no cell is a formula. What XML can not carry (control characters but
// for tabs and line breaks) becomes U+FFFD.
//
// The rows wait in a temporary folder beside path, so that memory stays flat; it is
// gone when the function returns. What does not fit gives a *TargetError.
func writeWorkbook(ctx context.Context, w io.Writer, path string, led *ledger.Ledger, layout sheet.Layout, keep func(ledger.Result) bool) (counts batch.Counts, err error) {
	temp, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return counts, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	b := &book{path: path, file: excelize.NewFile(excelize.Options{TmpDir: temp})}
	defer func() { err = errors.Join(err, b.file.Close()) }()

	shown := shownColumns(layout)
	widths, err := inputWidths(ctx, led, layout, shown, keep)
	if err != nil {
		return counts, err
	}
	if err := b.begin(widths); err != nil {
		return counts, err
	}
	if err := b.header(layout, shown); err != nil {
		return counts, err
	}
	for res, err := range led.Results(ctx) {
		if err != nil {
			return counts, err
		}
		if keep != nil && !keep(res) {
			continue
		}
		addResult(b, shown, res)
		if err := b.end(); err != nil {
			return counts, err
		}
		tally(&counts, res)
	}
	return counts, b.save(w)
}

// inputWidths returns how wide the shown columns of the input are, going by the
// header and the first rows.
func inputWidths(ctx context.Context, led *ledger.Ledger, layout sheet.Layout, shown []int, keep func(ledger.Result) bool) ([]int, error) {
	widths := make([]int, len(shown))
	measure := func(cells []string) {
		for i, at := range shown {
			if at < len(cells) {
				widths[i] = min(max(widths[i], narrowest, utf8.RuneCountInString(cells[at])+2), widest)
			}
		}
	}
	measure(layout.Columns)
	n := 0
	for res, err := range led.Results(ctx) {
		if err != nil {
			return nil, err
		}
		if keep != nil && !keep(res) {
			continue
		}
		measure(res.Cells)
		if n++; n == bookSample {
			break
		}
	}
	return widths, nil
}

// begin makes the sheet, with what has to stand before its rows.
func (b *book) begin(widths []int) error {
	block := blockWidths()
	widths = slices.Concat(widths, block[:])
	b.columns = len(widths)
	text, err := b.file.NewStyle(&excelize.Style{NumFmt: textFormat})
	if err != nil {
		return err
	}
	if err := errors.Join(
		b.file.SetDocProps(&excelize.DocProperties{Title: filepath.Base(b.path), Creator: "bulkrevoke", LastModifiedBy: "bulkrevoke"}),
		b.file.SetSheetName("Sheet1", bookSheet),
		// The sheet of a new file says that it is one cell large, and some readers believe it.
		b.file.SetSheetDimension(bookSheet, ""),
	); err != nil {
		return err
	}
	if b.rows, err = b.file.NewStreamWriter(bookSheet); err != nil {
		return err
	}
	if err := b.rows.SetPanes(&excelize.Panes{
		Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft",
		Selection: []excelize.Selection{{SQRef: "A2", ActiveCell: "A2", Pane: "bottomLeft"}},
	}); err != nil {
		return err
	}
	// The format is the columns', so that empty cells have it too.
	if err := b.rows.SetColStyle(1, b.columns, text); err != nil {
		return err
	}
	for i, width := range widths {
		if err := b.rows.SetColWidth(i+1, i+1, float64(width)); err != nil {
			return err
		}
	}
	return nil
}

// header writes the first row.
func (b *book) header(layout sheet.Layout, shown []int) error {
	bold, err := b.file.NewStyle(&excelize.Style{NumFmt: textFormat, Font: &excelize.Font{Bold: true}})
	if err != nil {
		return err
	}
	for _, i := range shown {
		b.add(layout.Columns[i])
	}
	for _, name := range sheet.ResultColumns() {
		b.add(name)
	}
	return b.end(excelize.RowOpts{StyleID: bold})
}

// add appends a cell of the input. An empty one is no cell at all.
func (b *book) add(s string) {
	if s == "" {
		b.cells = append(b.cells, nil)
		return
	}
	if len(s) > excelize.TotalCellChars && b.err == nil {
		if n := sheet.Units(s); n > excelize.TotalCellChars {
			b.err = tooLong(b.path, fmt.Sprintf("column %d of row %d", len(b.cells)+1, b.row+1), n)
		}
	}
	b.cells = append(b.cells, s)
}

// text appends somebody else's text. A text cell is never run as a formula, so it
// needs nothing before it.
func (b *book) text(s string) { b.add(Printable(s)) }

// number appends a number, as text like all the others.
func (b *book) number(n int) { b.add(strconv.Itoa(n)) }

// time appends a moment; the zero time is an empty cell.
func (b *book) time(t time.Time) {
	if t.IsZero() {
		b.add("")
		return
	}
	b.add(t.UTC().Format(timeLayout))
}

// end closes the row and writes it.
func (b *book) end(opts ...excelize.RowOpts) error {
	if b.err != nil {
		return b.err
	}
	if b.row == excelize.TotalRows {
		return tooMany(b.path, b.row)
	}
	b.row++
	err := b.rows.SetRow("A"+strconv.Itoa(b.row), b.cells, opts...)
	b.cells = b.cells[:0]
	return err
}

// save puts what has to stand after the rows there, and writes the workbook.
func (b *book) save(w io.Writer) error {
	last, err := excelize.CoordinatesToCellName(b.columns, b.row)
	if err != nil {
		return err
	}
	whole := "A1:" + last
	if err := errors.Join(
		b.file.AutoFilter(bookSheet, whole, nil),
		// Excel would offer to turn every identifier into a number.
		b.file.AddIgnoredErrors(bookSheet, whole, excelize.IgnoredErrorsNumberStoredAsText),
		b.rows.Flush(),
	); err != nil {
		return err
	}
	// excelize packs into memory and copies that to where it is told. The packer here
	// goes to w at once, and leaves excelize's memory empty.
	b.file.SetZipWriter(func(io.Writer) excelize.ZipWriter { return &packer{Writer: zip.NewWriter(w), path: b.path} })
	return b.file.Write(io.Discard)
}

// packer refuses parts of more than 4 GiB: an archive with one needs what
// spreadsheet programs do not understand from archive/zip.
type packer struct {
	*zip.Writer
	path string
}

// Create implements excelize.ZipWriter.
func (p *packer) Create(name string) (io.Writer, error) {
	w, err := p.Writer.Create(name)
	return &packed{w: w, left: math.MaxUint32, path: p.path}, err
}

// packed is a part of a workbook.
type packed struct {
	w    io.Writer
	left int64
	path string
}

// Write implements io.Writer.
func (p *packed) Write(b []byte) (int, error) {
	if p.left -= int64(len(b)); p.left < 0 {
		return 0, &TargetError{Path: p.path, Reason: "a workbook takes 4 GiB, and there is more", Hint: asText}
	}
	return p.w.Write(b)
}
