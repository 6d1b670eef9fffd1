package sheet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// textSource reads the rows of a text.
type textSource struct {
	scan   *scanner
	header *header
	names  naming
	above  []byte // the beginning of the text, if rows above the header are passed over
}

// openText reads the header of a text. What comes back as an error is a *fault
// or an error of in. The columns are returned with a fault too, where the header
// got so far.
func openText(in io.Reader, name string, opt Options, names naming) (*textSource, Layout, error) {
	text, bom, err := decode(in, name)
	if err != nil {
		return nil, Layout{}, err
	}
	t := &textSource{scan: newScanner(text, 0), names: names}
	if err := t.findHeader(name, opt.HeaderRow); err != nil {
		return nil, Layout{}, err
	}
	layout := Layout{Delimiter: string(t.scan.comma), Newline: "\n", BOM: bom}
	if t.scan.crlf {
		layout.Newline = "\r\n"
	}
	var f *fault
	if t.header, f = understand(t.scan.cells(len(t.scan.spans)), t.scan.start, names); f == nil || names.anything {
		f = t.header.complete(t.scan.start, t.others)
	}
	layout.Columns = t.header.columns
	if f != nil {
		return nil, layout, f
	}
	return t, layout, nil
}

// findHeader finds out how the text is delimited and reads the record of the header:
// the one in row at, or the first that is not blank if that is 0.
func (t *textSource) findHeader(name string, at int) error {
	head, err := peek(t.scan.src)
	if err != nil {
		return err
	}
	comma, declared, f := declaration(head)
	if f != nil {
		return t.pointBelow(f, head)
	}
	if !declared && t.beginsAsResult(head) {
		at = 0
	}
	if at > 0 {
		t.above = slices.Clone(head)
	}
	skip := at - 1
	if declared {
		skip = max(skip, 1)
	}
	if err := t.scan.skip(skip); err != nil {
		return err
	}
	if !declared {
		if head, err = peek(t.scan.src); err != nil {
			return err
		}
		if comma, f = detect(head, name, t.scan.line, t.names); f != nil {
			return t.pointBelow(f, head)
		}
	}
	t.scan.comma = comma
	err = t.scan.next()
	switch {
	case errors.Is(err, io.EOF) && at > 0:
		f := &fault{reason: fmt.Sprintf("--header-row %d is beyond the sheet, which has %d lines", at, t.scan.line)}
		return t.point(f)
	case errors.Is(err, io.EOF):
		return emptySheet()
	case err == nil && at > 0 && t.scan.start != at:
		return t.point(&fault{line: at, reason: "no header begins in the row that --header-row names"})
	}
	return err
}

// peek returns the beginning of a text, as much as a scanner may look at.
func peek(text *bufio.Reader) ([]byte, error) {
	head, err := text.Peek(2 * maxRecord)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errSurrogate) {
		return nil, err
	}
	return head, nil
}

// beginsAsResult says whether the first row ends in the block of a result.
func (t *textSource) beginsAsResult(head []byte) bool {
	for line, cells := range readings(head, 1) {
		if line > 1 {
			break
		}
		if h, _ := understand(cells, 1, t.names); h.isResult {
			return true
		}
	}
	return false
}

// others yields the header's own row and those near it, each as every delimiter has
// it. What is read for it is lost to the reader.
func (t *textSource) others(yield func(int, []string) bool) {
	for line, cells := range readings(t.above, 1) {
		if line >= t.scan.start {
			break
		}
		if !yield(line, cells) {
			return
		}
	}
	if !yield(t.scan.start, t.scan.cells(len(t.scan.spans))) {
		return
	}
	rest, _ := t.scan.src.Peek(2 * maxRecord) // an error is told by whoever reads so far
	readings(rest, t.scan.line+1)(yield)
}

// point adds to a fault where the header seems to be.
func (t *textSource) point(f *fault) *fault {
	if at := (&header{names: t.names}).better(t.others); at > 0 {
		f.hint = headerIsAt(at)
	}
	return f
}

// pointBelow adds to a fault of the row that head begins with where the header seems
// to be: what can not be read may be a title.
func (t *textSource) pointBelow(f *fault, head []byte) *fault {
	if at := (&header{names: t.names}).better(readings(head, t.scan.line+1)); at > f.line {
		f.hint = strings.TrimSpace(f.hint + " " + headerIsAt(at))
	}
	return f
}

// readings yields the records that begin in the first lines of a text, each as every
// delimiter has it. What can not be read so is left out.
func readings(text []byte, line int) iter.Seq2[int, []string] {
	return func(yield func(int, []string) bool) {
		buf := bufio.NewReaderSize(nil, 2*maxRecord)
		for range lookAhead {
			for _, comma := range []byte(delimiters) {
				buf.Reset(bytes.NewReader(text))
				scan := newScanner(buf, comma)
				if scan.record() == nil && !yield(line, scan.cells(len(scan.spans))) {
					return
				}
			}
			end := bytes.IndexByte(text, '\n')
			if end < 0 {
				return
			}
			text, line = text[end+1:], line+1
		}
	}
}

// next implements source.
func (t *textSource) next() (Record, error) {
	if err := t.scan.next(); err != nil {
		return Record{}, err
	}
	if len(t.scan.spans) != t.header.width {
		return Record{}, t.miscounted()
	}
	if !t.header.isResult {
		return Record{Line: t.scan.start, Cells: t.scan.cells(len(t.header.columns))}, nil
	}
	n, cells := len(t.header.columns), t.scan.cells(t.header.width)
	return Record{Line: t.scan.start, Cells: cells[:n:n], CallID: t.header.callID(cells)}, nil
}

// close implements source.
func (t *textSource) close() error { return nil }
