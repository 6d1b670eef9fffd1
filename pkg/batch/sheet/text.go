package sheet

import (
	"errors"
	"fmt"
	"io"
)

// textSource reads the rows of a text.
type textSource struct {
	scan   *scanner
	header *header
}

// openText reads the header of a text. What comes back as an error is a *fault
// or an error of in. The columns are returned with a fault too, where the header
// got so far.
func openText(in io.Reader, name string) (*textSource, Layout, error) {
	text, bom, err := decode(in)
	if err != nil {
		return nil, Layout{}, err
	}
	head, err := text.Peek(2 * maxRecord)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errSurrogate) {
		return nil, Layout{}, err
	}
	d, f := detect(head, name)
	if f != nil {
		return nil, Layout{}, f
	}
	src := &textSource{scan: newScanner(text, d.comma)}
	if d.declared {
		if _, err := text.ReadSlice('\n'); err != nil && !errors.Is(err, io.EOF) {
			return nil, Layout{}, err
		}
		src.scan.line++
	}
	if err := src.scan.next(); err != nil {
		if errors.Is(err, io.EOF) {
			err = &fault{line: 1, reason: "the sheet is empty, it has no header"}
		}
		return nil, Layout{}, err
	}
	layout := Layout{Delimiter: string(d.comma), Newline: "\n", BOM: bom}
	if src.scan.crlf {
		layout.Newline = "\r\n"
	}
	if src.header, f = understand(src.scan.cells(len(src.scan.spans)), src.scan.start); f == nil {
		f = src.header.complete(src.scan.start)
	}
	layout.Columns = src.header.columns
	if f != nil {
		return nil, layout, f
	}
	return src, layout, nil
}

// next implements source.
func (t *textSource) next() (Record, error) {
	if err := t.scan.next(); err != nil {
		return Record{}, err
	}
	if got, want := len(t.scan.spans), t.header.width; got != want {
		return Record{}, miscounted(t.scan.start, got, want)
	}
	if !t.header.isResult {
		return Record{Line: t.scan.start, Cells: t.scan.cells(len(t.header.columns))}, nil
	}
	n, cells := len(t.header.columns), t.scan.cells(t.header.width)
	return Record{Line: t.scan.start, Cells: cells[:n:n], CallID: t.header.callID(cells)}, nil
}

// miscounted refuses a row that has other fields than the header. Guessing which
// cell slipped could touch the wrong record.
func miscounted(line, got, want int) *fault {
	return &fault{line: line, column: min(got, want) + 1,
		reason: fmt.Sprintf("the row has %d fields, the header has %d", got, want),
		hint:   "A cell that contains the delimiter or a quote must stand in quotes."}
}

// close implements source.
func (t *textSource) close() error { return nil }
