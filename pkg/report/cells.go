package report

import (
	"strconv"
	"strings"
	"time"
)

// timeLayout is how the result file writes a time, always in UTC.
const timeLayout = "2006-01-02T15:04:05.000Z"

// cells builds the lines of a delimited file. The standard library's writer turns
// line breaks inside a cell into its own; a result must give back what it read.
type cells struct {
	buf       []byte
	delimiter string
	newline   string
	special   string // what a cell must be quoted for
	first     bool   // nothing is on the line yet
}

func newCells(delimiter, newline string) *cells {
	return &cells{delimiter: delimiter, newline: newline, special: delimiter + "\"\r\n", first: true}
}

// add appends a cell, quoted only if it must be.
func (c *cells) add(s string) {
	c.next()
	if !strings.ContainsAny(s, c.special) {
		c.buf = append(c.buf, s...)
		return
	}
	c.buf = append(c.buf, '"')
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			break
		}
		c.buf = append(c.buf, s[:i+1]...)
		c.buf = append(c.buf, '"')
		s = s[i+1:]
	}
	c.buf = append(c.buf, s...)
	c.buf = append(c.buf, '"')
}

// text appends somebody else's text, so that no spreadsheet runs it.
func (c *cells) text(s string) { c.add(Inert(s)) }

// number appends a number.
func (c *cells) number(n int) {
	c.next()
	c.buf = strconv.AppendInt(c.buf, int64(n), 10)
}

// time appends a moment; the zero time is an empty cell.
func (c *cells) time(t time.Time) {
	c.next()
	if !t.IsZero() {
		c.buf = t.UTC().AppendFormat(c.buf, timeLayout)
	}
}

func (c *cells) next() {
	if !c.first {
		c.buf = append(c.buf, c.delimiter...)
	}
	c.first = false
}

// end closes the line and returns it. It is good until the next cell.
func (c *cells) end() []byte {
	line := append(c.buf, c.newline...)
	c.buf, c.first = line[:0], true
	return line
}
