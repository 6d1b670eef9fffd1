package report

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// book writes the rows of a workbook. All cells are inline texts in the text format.
type book struct {
	out    io.Writer
	path   string // of the result, for messages
	bold   int
	style  int      // of the cells of the row that is being filled
	names  []string // of the columns
	line   []byte   // the row that is being filled
	column int      // how many cells it has
	row    int      // number of the row that was written last
	err    error    // the first cell that does not fit
}

func newBook(out io.Writer, path string, f *frame) *book {
	b := &book{out: out, path: path, bold: f.bold, style: f.text}
	for i := range f.columns {
		name, _ := excelize.ColumnNumberToName(i + 1) // a sheet has far fewer columns than a workbook takes
		b.names = append(b.names, name)
	}
	return b
}

// write writes the header and the rows.
func (b *book) write(ctx context.Context, led *ledger.Ledger, layout sheet.Layout, shown []int, keep func(ledger.Result) bool) (counts batch.Counts, err error) {
	text := b.style
	b.style = b.bold
	for _, i := range shown {
		b.add(layout.Columns[i])
	}
	for _, name := range sheet.ResultColumns() {
		b.add(name)
	}
	if err := b.end(); err != nil {
		return counts, err
	}
	b.style = text
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
		countRow(&counts, res)
	}
	return counts, nil
}

// add appends a cell of the input. An empty one is no cell at all.
func (b *book) add(s string) {
	b.column++
	if s == "" {
		return
	}
	if len(s) > excelize.TotalCellChars && b.err == nil {
		if n := sheet.Units(s); n > excelize.TotalCellChars {
			b.err = tooLong(b.path, fmt.Sprintf("column %d of row %d", b.column, b.row+1), n)
		}
	}
	b.line = append(b.line, `<c r="`...)
	b.line = append(b.line, b.names[b.column-1]...)
	b.line = strconv.AppendInt(b.line, int64(b.row+1), 10)
	b.line = append(b.line, `" s="`...)
	b.line = strconv.AppendInt(b.line, int64(b.style), 10)
	b.line = append(b.line, `" t="inlineStr"><is><t`...)
	if blank(s[0]) || blank(s[len(s)-1]) {
		b.line = append(b.line, ` xml:space="preserve"`...)
	}
	b.line = append(b.line, '>')
	b.line = appendText(b.line, s)
	b.line = append(b.line, `</t></is></c>`...)
}

// blank says whether XML counts a byte as space.
func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

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
			b = append(b, string(r)...)
		}
	}
	return b
}

// escaped says whether a text starts with a character written as _xHHHH_.
func escaped(s string) bool {
	return len(s) >= 7 && s[1] == 'x' && s[6] == '_' && strings.Trim(s[2:6], "0123456789abcdefABCDEF") == ""
}
