package report

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

const (
	// bookSheet is the name of the only sheet of a workbook result, unless that of the
	// sheet that it came from can be taken.
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

// CheckSize refuses a sheet whose result does not fit where path names it: the disk
// takes no file of that length, or a workbook has not so many rows, or no cell so
// long. Nothing is ever cut off a cell. The error is a *TargetError.
func CheckSize(path string, size sheet.Extent) error {
	expected := size.Bytes + int64(size.Rows)*blockBytes
	if IsWorkbook(path) {
		switch {
		case size.Rows >= excelize.TotalRows:
			return tooMany(path, size.Rows)
		case size.Longest > excelize.TotalCellChars:
			return tooLong(path, fmt.Sprintf("the cell in line %d, column %d", size.Line, size.Column), size.Longest)
		}
		expected /= 4 // about what ZIP makes of it
	}
	if expected <= probeBytes {
		return nil // CheckTarget has tried as much
	}
	return tryWriting(path, "-o", min(expected, mostProbed))
}

// blockBytes is about what the result columns of a row take.
const blockBytes = 200

// mostProbed bounds what is written as a trial. A disk that takes so much and not
// the rest is found when the result is written: the ledger has everything, and
// `results` writes the file later.
const mostProbed = 64 << 20

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

// writeWorkbook writes header and rows as writeCSV does, as a workbook with one
// sheet whose cells are all text: opening and saving it leaves every identifier as
// it is, and no cell is a formula. What does not fit gives a *TargetError; path is
// for its message.
//
// excelize makes everything but the rows. Its stream writer holds tens of MiB, and
// writes all rows to a temporary file before it packs them; here they go into the
// archive one by one.
func writeWorkbook(ctx context.Context, w io.Writer, path string, led *ledger.Ledger, layout sheet.Layout, keep func(ledger.Result) bool) (counts batch.Counts, err error) {
	shown := shownColumns(layout)
	widths, err := columnWidths(ctx, led, layout, shown, keep)
	if err != nil {
		return counts, err
	}
	frame, err := newFrame(path, layout.Sheet, widths, 1)
	if err != nil {
		return counts, err
	}
	archive := zip.NewWriter(w)
	out, err := archive.Create(frame.sheet)
	if err != nil {
		return counts, err
	}
	b := newBook(&capped{w: out, left: math.MaxUint32, path: path}, path, frame)
	if _, err := b.out.Write(frame.before); err != nil {
		return counts, err
	}
	if counts, err = b.write(ctx, led, layout, shown, keep); err != nil {
		return counts, err
	}
	// Now that it is known how many rows there are, the frame is made for so many.
	if frame, err = newFrame(path, layout.Sheet, widths, b.row); err != nil {
		return counts, err
	}
	if _, err := b.out.Write(frame.after); err != nil {
		return counts, err
	}
	for _, part := range frame.others {
		if err := archive.Copy(part); err != nil {
			return counts, err
		}
	}
	return counts, archive.Close()
}

// columnWidths returns how wide the columns are. Those of the input go by the header
// and the first rows.
func columnWidths(ctx context.Context, led *ledger.Ledger, layout sheet.Layout, shown []int, keep func(ledger.Result) bool) ([]int, error) {
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
	block := blockWidths()
	return slices.Concat(widths, block[:]), nil
}

// frame is a workbook without its rows.
type frame struct {
	sheet         string // the name of the part that holds the rows
	before, after []byte // what stands around them there
	others        []*zip.File
	text, bold    int // the styles of a cell and of one in the header
	columns       int
}

// resultTab returns what the sheet of a result is called: as the sheet of the workbook
// that the rows came from. What Excel would not take is left.
func resultTab(source string) string {
	if strings.TrimSpace(source) == "" || sheet.Units(source) > excelize.MaxSheetNameLength || strings.ContainsAny(source, `:\/?*[]'`) {
		return bookSheet
	}
	return source
}

// newFrame makes a workbook that has columns of these widths, and is to have so many
// rows with the header.
func newFrame(path, source string, widths []int, rows int) (*frame, error) {
	file := excelize.NewFile()
	defer file.Close() // it is in memory only
	f := &frame{sheet: "xl/worksheets/sheet1.xml", columns: len(widths)}
	var err error
	if f.text, err = file.NewStyle(&excelize.Style{NumFmt: textFormat}); err != nil {
		return nil, err
	}
	if f.bold, err = file.NewStyle(&excelize.Style{NumFmt: textFormat, Font: &excelize.Font{Bold: true}}); err != nil {
		return nil, err
	}
	last, err := excelize.ColumnNumberToName(len(widths))
	if err != nil {
		return nil, err
	}
	whole := fmt.Sprintf("A1:%s%d", last, rows)
	now := time.Now().UTC().Format(time.RFC3339)
	name := resultTab(source)
	errs := []error{
		file.SetDocProps(&excelize.DocProperties{Title: filepath.Base(path), Creator: "bulkrevoke", LastModifiedBy: "bulkrevoke", Created: now, Modified: now}),
		file.SetSheetName("Sheet1", name),
		// The sheet of a new file says that it is one cell large, and some readers believe it.
		file.SetSheetDimension(name, ""),
		file.SetPanes(name, &excelize.Panes{
			Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft",
			Selection: []excelize.Selection{{SQRef: "A2", ActiveCell: "A2", Pane: "bottomLeft"}},
		}),
		file.AutoFilter(name, whole, nil),
		// Excel would offer to turn every identifier into a number.
		file.AddIgnoredErrors(name, whole, excelize.IgnoredErrorsNumberStoredAsText),
	}
	for i, width := range widths {
		column, err := excelize.ColumnNumberToName(i + 1)
		errs = append(errs, err, file.SetColWidth(name, column, column, float64(width)))
	}
	// The columns have the format too, for the cells that are empty.
	errs = append(errs, file.SetColStyle(name, "A:"+last, f.text))
	packed, err := file.WriteToBuffer()
	if err = cmp.Or(errors.Join(errs...), err); err != nil {
		return nil, err
	}
	return f, f.take(packed.Bytes())
}

// take splits the packed workbook where the rows belong.
func (f *frame) take(packed []byte) error {
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return err
	}
	for _, part := range archive.File {
		if part.Name != f.sheet {
			f.others = append(f.others, part)
			continue
		}
		in, err := part.Open()
		if err != nil {
			return err
		}
		text, err := io.ReadAll(in)
		if err = errors.Join(err, in.Close()); err != nil {
			return err
		}
		// excelize says that a filter is at work wherever there could be one.
		text = bytes.Replace(text, []byte(`<sheetPr filterMode="true"></sheetPr>`), nil, 1)
		var found bool
		if f.before, f.after, found = bytes.Cut(text, []byte("<sheetData></sheetData>")); found {
			f.before = append(slices.Clip(f.before), "<sheetData>"...)
			f.after = append([]byte("</sheetData>"), f.after...)
		}
	}
	if f.after == nil {
		return errors.New("the frame of the workbook has no place for rows")
	}
	return nil
}

// capped refuses a part of more than 4 GiB: an archive with one needs what
// spreadsheet programs do not understand as archive/zip writes it.
type capped struct {
	w    io.Writer
	left int64
	path string
}

// Write implements io.Writer.
func (c *capped) Write(b []byte) (int, error) {
	if c.left -= int64(len(b)); c.left < 0 {
		return 0, &TargetError{Path: c.path, Reason: "a workbook takes 4 GiB, and there is more", Hint: asText}
	}
	return c.w.Write(b)
}
