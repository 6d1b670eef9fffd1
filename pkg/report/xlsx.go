package report

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
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
	// bookSheet is the name of the only sheet of a workbook result, unless that of the
	// sheet that it came from can be taken.
	bookSheet = "Results"
	// rowsPart is the part of a workbook result that holds its rows.
	rowsPart = "xl/worksheets/sheet1.xml"
	// textFormat is the number format "@": what is typed into such a cell stays text.
	textFormat = 49
	// bookSample is how many rows say how wide the input's columns are.
	bookSample = 200
	// The widths of the input's columns, in characters. The narrowest still shows a
	// header beside its filter button.
	narrowest, widest = 10, 50
	// blockBytes is about what the result columns of a row take.
	blockBytes = 200
	// asText is what to do where a workbook is too small.
	asText = "Name a .csv file with -o, which takes any number of rows and cells of any length."
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

func tooMany(path string, rows int) error {
	return &TargetError{Path: path, Hint: asText,
		Reason: fmt.Sprintf("a workbook takes %d rows below its header, and there are %d", excelize.TotalRows-1, rows)}
}

func tooLong(path, cell string, units int) error {
	return &TargetError{Path: path, Hint: asText,
		Reason: fmt.Sprintf("a cell of a workbook takes %d characters, and %s has %d", excelize.TotalCellChars, cell, units)}
}

// writeWorkbook writes a result as a workbook with one sheet whose cells are all text:
// opening and saving it leaves every identifier as it is, and no cell is a formula. What
// does not fit gives a *TargetError.
//
// excelize makes everything but the rows. Its stream writer holds tens of MiB, writes
// all rows to a temporary file before it packs them, and changes control characters;
// here they go into the archive one by one, as they are.
func writeWorkbook(ctx context.Context, w io.Writer, led *ledger.Ledger, layout sheet.Layout, target Target) (counts batch.Counts, err error) {
	widths, err := columnWidths(ctx, led, layout, target.Keep)
	if err != nil {
		return counts, err
	}
	frame, err := newFrame(target.Path, layout.Sheet, widths, 1)
	if err != nil {
		return counts, err
	}
	archive := zip.NewWriter(w)
	part, err := archive.Create(rowsPart)
	if err != nil {
		return counts, err
	}
	b := &book{out: &capped{w: part, left: math.MaxUint32, path: target.Path}, path: target.Path, frame: frame}
	if _, err := b.out.Write(frame.before); err != nil {
		return counts, err
	}
	// A text cell is never run as a formula, so that it needs nothing before it.
	if counts, err = writeRows(ctx, b, Printable, led, layout, target); err != nil {
		return counts, err
	}
	// Now that it is known how many rows there are, the frame is made for so many.
	if frame, err = newFrame(target.Path, layout.Sheet, widths, b.row); err != nil {
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
func columnWidths(ctx context.Context, led *ledger.Ledger, layout sheet.Layout, keep func(ledger.Result) bool) ([]int, error) {
	shown := shownColumns(layout)
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
	before, after []byte // what stands around the rows in their part
	others        []*zip.File
	text, bold    int      // the styles of a cell and of one in the header
	columns       []string // names
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
	f := &frame{}
	errs := make([]error, 2)
	f.text, errs[0] = file.NewStyle(&excelize.Style{NumFmt: textFormat})
	f.bold, errs[1] = file.NewStyle(&excelize.Style{NumFmt: textFormat, Font: &excelize.Font{Bold: true}})
	for i := range widths {
		column, err := excelize.ColumnNumberToName(i + 1)
		f.columns, errs = append(f.columns, column), append(errs, err)
	}
	last := f.columns[len(f.columns)-1]
	whole := fmt.Sprintf("A1:%s%d", last, rows)
	now := time.Now().UTC().Format(time.RFC3339)
	name := resultTab(source)
	errs = append(errs,
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
	)
	for i, width := range widths {
		errs = append(errs, file.SetColWidth(name, f.columns[i], f.columns[i], float64(width)))
	}
	// The columns have the format too, for the cells that are empty.
	errs = append(errs, file.SetColStyle(name, "A:"+last, f.text))
	packed, err := file.WriteToBuffer()
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
	if err != nil {
		return nil, err
	}
	in, err := archive.Open(rowsPart)
	if err != nil {
		return nil, err
	}
	part, err := io.ReadAll(in)
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, err
	}
	f.others = slices.DeleteFunc(archive.File, func(part *zip.File) bool { return part.Name == rowsPart })
	// excelize says that a filter is at work wherever there could be one.
	part = bytes.Replace(part, []byte(`<sheetPr filterMode="true"></sheetPr>`), nil, 1)
	before, after, found := bytes.Cut(part, []byte("<sheetData></sheetData>"))
	if !found {
		return nil, errors.New("the frame of the workbook has no place for rows")
	}
	f.before, f.after = slices.Concat(before, []byte("<sheetData>")), slices.Concat([]byte("</sheetData>"), after)
	return f, nil
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

// book writes the rows of a workbook, the first of them in bold. All cells are inline
// texts in the text format.
type book struct {
	out    io.Writer
	path   string // of the result, for messages
	frame  *frame
	line   []byte // the row that is being filled
	column int    // how many cells it has
	row    int    // number of the row that was written last
	err    error  // the first cell that does not fit
}

// add appends cells. An empty one is no cell at all.
func (b *book) add(cells ...string) {
	style := b.frame.text
	if b.row == 0 {
		style = b.frame.bold
	}
	for _, s := range cells {
		b.column++
		if s == "" {
			continue
		}
		if len(s) > excelize.TotalCellChars && b.err == nil {
			if n := sheet.Units(s); n > excelize.TotalCellChars {
				b.err = tooLong(b.path, fmt.Sprintf("column %d of row %d", b.column, b.row+1), n)
			}
		}
		b.line = append(b.line, `<c r="`...)
		b.line = append(b.line, b.frame.columns[b.column-1]...)
		b.line = strconv.AppendInt(b.line, int64(b.row+1), 10)
		b.line = append(b.line, `" s="`...)
		b.line = strconv.AppendInt(b.line, int64(style), 10)
		b.line = append(b.line, `" t="inlineStr"><is><t`...)
		if strings.ContainsAny(s[:1]+s[len(s)-1:], " \t\r\n") { // what XML counts as space
			b.line = append(b.line, ` xml:space="preserve"`...)
		}
		b.line = append(b.line, '>')
		b.line = appendText(b.line, s)
		b.line = append(b.line, `</t></is></c>`...)
	}
}

// end closes the row and writes it.
func (b *book) end() error {
	if b.err != nil {
		return b.err
	}
	if b.row == excelize.TotalRows {
		return tooMany(b.path, b.row)
	}
	b.row++
	if _, err := fmt.Fprintf(b.out, `<row r="%d">`, b.row); err != nil {
		return err
	}
	b.line = append(b.line, "</row>"...)
	_, err := b.out.Write(b.line)
	b.line, b.column = b.line[:0], 0
	return err
}

// appendText appends a text as the file format has it: what XML can not carry, or
// would change, is written as _xHHHH_, and so is the start of what only looks like
// that (ECMA-376 part 1, 22.4.2.4).
func appendText(b []byte, s string) []byte {
	for i, r := range s {
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '_' && escaped(s[i:]), r < ' ' && r != '\t' && r != '\n', r == 0xFFFE, r == 0xFFFF:
			b = fmt.Appendf(b, "_x%04X_", r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// escaped says whether a text starts with a character written as _xHHHH_.
func escaped(s string) bool {
	return len(s) >= 7 && s[1] == 'x' && s[6] == '_' && strings.Trim(s[2:6], "0123456789abcdefABCDEF") == ""
}
