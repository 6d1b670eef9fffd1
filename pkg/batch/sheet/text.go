package sheet

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
	"strings"
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
	text, bom, err := decode(in, name)
	if err != nil {
		return nil, Layout{}, err
	}
	head, err := text.Peek(2 * maxRecord)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errSurrogate) {
		return nil, Layout{}, err
	}
	d, f := detect(head, name)
	if f != nil {
		return nil, Layout{}, f.pointBelow(head)
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
		f = src.header.complete(src.scan.start, src.below)
	}
	layout.Columns = src.header.columns
	if f != nil {
		return nil, layout, f
	}
	return src, layout, nil
}

// below yields the rows that stand under the header, each as every delimiter has it.
func (t *textSource) below(yield func(int, []string) bool) {
	rest, _ := t.scan.src.Peek(2 * maxRecord) // an error is told by whoever reads so far
	readings(rest, t.scan.line+1)(yield)
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

// pointBelow adds to a fault of the first row where the header seems to be: what can
// not be read may be a title.
func (f *fault) pointBelow(text []byte) *fault {
	if at := new(header).better(readings(text, 1)); at > f.line {
		f.hint = strings.TrimSpace(f.hint + " " + headerIsAt(at))
	}
	return f
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
