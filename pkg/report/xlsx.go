package report

import (
	"archive/zip"
	"context"
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
	// bookSheet is the name of the sheet with the rows of a workbook result, unless that of
	// the sheet that they came from can be taken.
	bookSheet = "Results"
	// rowsPart is the part of a workbook result that holds its rows.
	rowsPart = "xl/worksheets/sheet1.xml"
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
func blockWidths() []int { return []int{8, 15, 36, 24, 60, 14, 12, 22, 26, 26} }

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

// writeWorkbook writes a result as a workbook: a sheet that sums up, and one with the rows.
// Every cell of the input is text, unless the input was a workbook that had dates there, so
// that opening and saving it leaves every identifier as it is, and no cell is a formula.
// What does not fit gives a *TargetError.
//
// excelize makes everything but the rows. Its stream writer holds tens of MiB, writes
// all rows to a temporary file before it packs them, and changes control characters;
// here they go into the archive one by one, as they are. The archive has them first: only
// then it is known what there is to sum up.
func writeWorkbook(ctx context.Context, w io.Writer, led *ledger.Ledger, layout sheet.Layout, target Target) (counts batch.Counts, err error) {
	sum, err := newBookSummary(ctx, led, layout, target)
	if err != nil {
		return counts, err
	}
	widths, err := columnWidths(ctx, led, layout, target.Keep)
	if err != nil {
		return counts, err
	}
	look := newBookLook(target.Path, layout, widths)
	frame, err := look.frame(1, nil)
	if err != nil {
		return counts, err
	}
	archive := zip.NewWriter(w)
	part, err := create(archive, rowsPart, sum.now)
	if err != nil {
		return counts, err
	}
	b := &book{out: &capped{w: part, left: math.MaxUint32, path: target.Path}, path: target.Path, look: look, frame: frame}
	if _, err := b.out.Write(frame.before); err != nil {
		return counts, err
	}
	if target.Reasons == nil {
		target.Reasons = new(Reasons)
	}
	all, keep := &sum.counts, target.Keep
	target.Keep = func(res ledger.Result) bool {
		countRow(all, res)
		return keep == nil || keep(res)
	}
	// A text cell is never run as a formula, so that it needs nothing before it.
	if counts, err = writeRows(ctx, b, Printable, led, layout, target); err != nil {
		return counts, err
	}
	// Now that it is known what the rows are, the frame is made for them.
	sum.written, sum.reasons = counts.Rows, target.Reasons
	if frame, err = look.frame(b.row, sum); err != nil {
		return counts, err
	}
	if _, err := b.out.Write(frame.after); err != nil {
		return counts, err
	}
	for _, part := range frame.others {
		if err := repack(archive, part, sum.now); err != nil {
			return counts, err
		}
	}
	return counts, archive.Close()
}

// create begins a part of a workbook, with a time that programs which check archives take
// for one.
func create(archive *zip.Writer, name string, at time.Time) (io.Writer, error) {
	return archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: at})
}

// repack writes a part of another archive.
func repack(archive *zip.Writer, part *zip.File, at time.Time) error {
	in, err := part.Open()
	if err != nil {
		return err
	}
	defer in.Close() // it is only read
	out, err := create(archive, part.Name, at)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return err
}

// columnWidths returns how wide the columns are. Those of the input go by the header
// and the first rows.
func columnWidths(ctx context.Context, led *ledger.Ledger, layout sheet.Layout, keep func(ledger.Result) bool) ([]int, error) {
	shown := shownColumns(layout)
	widths := make([]int, len(shown))
	measure := func(cells []string, more int) {
		for i, at := range shown {
			if at < len(cells) {
				widths[i] = min(max(widths[i], narrowest, utf8.RuneCountInString(cells[at])+more), widest)
			}
		}
	}
	measure(layout.Columns, 4) // with the button of the filter
	n := 0
	for res, err := range led.Results(ctx) {
		if err != nil {
			return nil, err
		}
		if keep != nil && !keep(res) {
			continue
		}
		measure(res.Cells, 2)
		if n++; n == bookSample {
			break
		}
	}
	return slices.Concat(widths, blockWidths()), nil
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

// book writes the rows of a workbook, the first of them as its header. Texts are inline
// and in the text format.
type book struct {
	out    io.Writer
	path   string // of the result, for messages
	look   bookLook
	frame  *frame
	line   []byte // the row that is being filled
	column int    // how many cells it has
	row    int    // number of the row that was written last
	err    error  // the first cell that does not fit
}

// add appends cells. An empty one is no cell at all.
func (b *book) add(cells ...string) {
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
		b.line = append(b.line, b.look.names[b.column-1]...)
		b.line = strconv.AppendInt(b.line, int64(b.row+1), 10)
		b.line = append(b.line, `" s="`...)
		if b.row > 0 {
			if value, style := stored(b.look.kinds[b.column-1], s); value != "" {
				b.line = strconv.AppendInt(b.line, int64(b.frame.styles[style]), 10)
				b.line = append(append(append(b.line, `"><v>`...), value...), `</v></c>`...)
				continue
			}
		}
		b.line = strconv.AppendInt(b.line, int64(b.textStyle()), 10)
		b.line = append(b.line, `" t="inlineStr"><is><t`...)
		if strings.ContainsAny(s[:1]+s[len(s)-1:], " \t\r\n") { // what XML counts as space
			b.line = append(b.line, ` xml:space="preserve"`...)
		}
		b.line = append(b.line, '>')
		b.line = appendText(b.line, s)
		b.line = append(b.line, `</t></is></c>`...)
	}
}

// textStyle is the style of the next text.
func (b *book) textStyle() int {
	switch {
	case b.row > 0:
		return b.frame.styles[textCell]
	case b.column > b.look.block:
		return b.frame.blockHeader
	}
	return b.frame.header
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
