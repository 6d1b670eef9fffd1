package sheet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
)

// textSource reads the rows of a text.
type textSource struct {
	scan   *scanner
	header *header
	names  naming
	above  []byte // the beginning of the text, if rows above the header are passed over
}

// openText reads the header of a text. The error is an *Error or one of in.
func (r *Reader) openText(in io.Reader, names naming) error {
	text, bom, err := decode(io.TeeReader(in, r.hash), r.name)
	if err != nil {
		return err
	}
	t := &textSource{scan: newScanner(text, 0), names: names}
	if err := t.findHeader(r.name, r.opt.HeaderRow); err != nil {
		return err
	}
	r.layout = Layout{Delimiter: string(t.scan.comma), Newline: "\n", BOM: bom}
	if t.scan.crlf {
		r.layout.Newline = "\r\n"
	}
	t.header, err = readHeader(t.scan.cells(), t.scan.start, names, t.others)
	r.src, r.header = t, t.header
	return err
}

// findHeader finds out how the text is delimited and reads the record of the header:
// the one in row at, or the first that is not blank if that is 0. What can not be read
// may be a title: the refusal says where the header seems to be.
func (t *textSource) findHeader(name string, at int) error {
	head, err := peek(t.scan.src)
	if err != nil {
		return err
	}
	comma, declared, refusal := declaration(head)
	if refusal != nil {
		return t.names.point(refusal, refusal.Line, readings(head, 1))
	}
	skip := 1
	if !declared {
		for line, cells := range readings(head, 1) {
			if line > 1 {
				break
			}
			if h, _ := understand(cells, 1, t.names); h.isResult {
				at = 0 // the header of a result is the first row
			}
		}
		skip = 0
	}
	if at > 0 {
		t.above = slices.Clone(head)
	}
	if err := t.scan.skip(max(skip, at-1)); err != nil {
		return err
	}
	if !declared {
		if head, err = peek(t.scan.src); err != nil {
			return err
		}
		if comma, refusal = detect(head, name, t.scan.line, t.names); refusal != nil {
			return t.names.point(refusal, refusal.Line, readings(head, t.scan.line+1))
		}
	}
	t.scan.comma = comma
	err = t.scan.next()
	switch {
	case errors.Is(err, io.EOF) && at > 0:
		return t.names.point(&Error{Reason: fmt.Sprintf("--header-row %d is beyond the sheet, which has %d lines", at, t.scan.line)}, 0, t.others)
	case errors.Is(err, io.EOF):
		return emptySheet()
	case err == nil && at > 0 && t.scan.start != at:
		return t.names.point(noHeaderIn(at), 0, t.others)
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
	if !yield(t.scan.start, t.scan.cells()) {
		return
	}
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
				if scan.record() == nil && !yield(line, scan.cells()) {
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
	return t.header.record(t.scan.start, t.scan.cells()), nil
}

// close implements source.
func (t *textSource) close() error { return nil }
