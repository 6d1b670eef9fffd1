package sheet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxRecord is how many bytes a record may have, its quotes, delimiters and line
// ends included.
const maxRecord = 64 << 10

// state is where in a record a scanner stands.
type state uint8

const (
	cellStart state = iota
	unquoted
	quoted
	quoteSeen // a quote inside a quoted cell: its end, or the first of a pair
)

// span is where a cell's text lies in the scanner's buffer.
type span struct{ from, to int }

// scanner splits text into records as RFC 4180 has it, for any delimiter and
// both line ends. The standard library's reader is not used because it turns a CR
// LF inside quotes into LF and holds a record of any size.
//
// It never holds more than a record and one buffer, and refuses what it would
// have to guess.
type scanner struct {
	src   *bufio.Reader // at least 2*maxRecord large
	comma byte

	line  int  // lines read so far
	start int  // line in which the record began
	crlf  bool // the last line ended in CR LF
	ended bool // the last line had no end: the input ends in the record

	state     state
	text      []byte // the cells' text, one after the other
	spans     []span
	cellFrom  int // where the open cell begins in text
	quoteLine int // where the open quote stands
	quoteCol  int
}

func newScanner(src *bufio.Reader, comma byte) *scanner {
	return &scanner{src: src, comma: comma}
}

// next reads up to the end of the next record that is not blank; a line that is
// empty, or has nothing but delimiters, quotes and white space, is blank. The
// record is in text and spans until the next call. The error is io.EOF at the
// end, an *Error, or that of the source.
func (s *scanner) next() error {
	for {
		if err := s.record(); err != nil {
			return err
		}
		for _, sp := range s.spans {
			if sp.from < sp.to && (visible(s.text[sp.from]) || trim(string(s.text[sp.from:sp.to])) != "") {
				return nil
			}
		}
	}
}

// skip passes over whole lines, whatever stands in them. It stops at the end of the
// input.
func (s *scanner) skip(lines int) error {
	for s.line < lines {
		part, err := s.src.ReadSlice('\n')
		switch {
		case err == nil || errors.Is(err, io.EOF) && len(part) > 0:
			s.line++
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
	return nil
}

// cells returns the cells of the record, as new strings.
func (s *scanner) cells() []string {
	cells, text := make([]string, len(s.spans)), string(s.text)
	for i, sp := range s.spans {
		cells[i] = text[sp.from:sp.to]
	}
	return cells
}

// record reads one record, blank or not.
func (s *scanner) record() error {
	s.text, s.spans = s.text[:0], s.spans[:0]
	s.state, s.cellFrom, s.start = cellStart, 0, s.line+1
	size := 0
	for {
		line, err := s.src.ReadSlice('\n')
		if len(line) > 0 {
			s.line++
		}
		size += len(line)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) || size > maxRecord:
			return s.tooLong(line[:len(line)-max(0, size-maxRecord)])
		case errors.Is(err, io.EOF) && size == 0:
			return io.EOF
		case errors.Is(err, io.EOF) && len(line) == 0 && s.state == quoted:
			return s.neverClosed("the quote that opens here is never closed")
		case errors.Is(err, io.EOF) && len(line) == 0:
			s.closeCell()
			s.ended = true
			return nil
		case errors.Is(err, errSurrogate):
			if len(line) == 0 {
				s.line++
			}
			return s.unreadable(line, err.Error())
		case err != nil && !errors.Is(err, io.EOF):
			return err
		}
		if i := bytes.IndexByte(line, 0); i >= 0 {
			return s.unreadable(line[:i], "a NUL byte")
		}
		if !utf8.Valid(line) {
			return s.notUTF8(line)
		}
		if done, err := s.feed(line); err != nil {
			return err
		} else if done {
			return nil
		}
	}
}

// notUTF8 refuses a line with bytes that no text in UTF-8 has.
func (s *scanner) notUTF8(line []byte) error {
	i := 0
	for {
		r, size := utf8.DecodeRune(line[i:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		i += size
	}
	reason := fmt.Sprintf("not UTF-8 (byte 0x%02X)", line[i])
	if i+1 == len(line) || line[i+1] < utf8.RuneSelf {
		reason += ", it looks like Windows-1252 (Latin-1)"
	}
	return s.unreadable(line[:i], reason)
}

// unreadable refuses what stands behind the beginning of a line.
func (s *scanner) unreadable(before []byte, reason string) error {
	if _, err := s.feed(before); err != nil {
		return err
	}
	return s.refuse(reason, "Save the sheet as CSV UTF-8.")
}

// tooLong explains a record that is over the limit; line is what of its last
// line lies within. A quote that was left open is the usual reason, and old line
// ends another.
func (s *scanner) tooLong(line []byte) error {
	if i := bytes.IndexByte(line, 0); i >= 0 {
		return s.unreadable(line[:i], "a NUL byte")
	}
	if _, err := s.feed(line); err != nil {
		return err
	}
	reason := fmt.Sprintf("the record is over %d KiB", maxRecord>>10)
	if s.state == quoted {
		return s.neverClosed(reason + "; the quote that opens here may never be closed")
	}
	return &Error{Line: s.start, Column: len(s.spans) + 1, Reason: reason, Hint: "Shorten the cells, or leave out columns that are not needed here."}
}

func (s *scanner) neverClosed(reason string) error {
	return &Error{Line: s.quoteLine, Column: s.quoteCol, Reason: reason, Hint: `A quote that belongs to the text is written twice, as "".`}
}

// feed takes the bytes of one line, or the beginning of one, its line end
// included, and reports whether they end the record.
func (s *scanner) feed(line []byte) (done bool, err error) {
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch s.state {
		case quoted:
			n := bytes.IndexByte(line[i:], '"')
			if n < 0 {
				s.text = append(s.text, line[i:]...)
				return false, nil
			}
			s.text = append(s.text, line[i:i+n]...)
			i += n
			s.state = quoteSeen
			continue
		case quoteSeen:
			if c == '"' {
				s.text = append(s.text, c)
				s.state = quoted
				continue
			}
		case cellStart:
			if c == '"' {
				s.state, s.quoteLine, s.quoteCol = quoted, s.line, len(s.spans)+1
				continue
			}
		}
		switch {
		case c == s.comma:
			s.closeCell()
		case c == '\n':
			s.crlf = false
			s.closeCell()
			return true, nil
		case c == '\r' && i+1 < len(line) && line[i+1] == '\n':
			s.crlf = true
			s.closeCell()
			return true, nil
		case c == '\r' && i+1 == len(line) && len(line) >= maxRecord:
			// The line is cut here, and too long whatever follows.
		case c == '\r':
			return false, s.refuse("a carriage return without a line feed; line ends of old Macs are not read", strayReturn(line[i:]))
		case s.state == quoteSeen:
			return false, s.refuse("text after the quote that closes the cell", s.afterQuote(line[i:]))
		case c == '"':
			return false, s.refuse("a quote inside a cell that does not begin with one", s.bareQuote())
		default:
			s.state = unquoted
			s.text = append(s.text, c)
		}
	}
	return false, nil
}

// refuse refuses what stands where the scanner is.
func (s *scanner) refuse(reason, hint string) error {
	return &Error{Line: s.line, Column: len(s.spans) + 1, Reason: reason, Hint: hint}
}

func (s *scanner) closeCell() {
	s.spans = append(s.spans, span{s.cellFrom, len(s.text)})
	s.cellFrom = len(s.text)
	s.state = cellStart
}
