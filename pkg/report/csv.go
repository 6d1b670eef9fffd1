package report

import (
	"io"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// table is a file of lines of cells, written from left to right.
type table interface {
	add(cells ...string)
	end() error // of the line
}

// csvFile writes a delimited file. The standard library's writer turns line breaks
// inside a cell into its own; a result must give back what it read.
type csvFile struct {
	w         io.Writer
	buf       []byte // the line so far
	delimiter string
	newline   string
	special   string // what a cell must be quoted for
	begun     bool   // something is on the line
}

// newCSV returns a file that is written as a sheet was.
func newCSV(w io.Writer, layout sheet.Layout) *csvFile {
	c := &csvFile{w: w, delimiter: layout.Delimiter, newline: layout.Newline, special: layout.Delimiter + "\"\r\n"}
	if layout.BOM {
		c.buf = []byte("\uFEFF")
	}
	return c
}

// add appends cells, quoted only where they must be.
func (c *csvFile) add(cells ...string) {
	for _, s := range cells {
		if c.begun {
			c.buf = append(c.buf, c.delimiter...)
		}
		c.begun = true
		if strings.ContainsAny(s, c.special) {
			s = `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
		}
		c.buf = append(c.buf, s...)
	}
}

// end writes the line.
func (c *csvFile) end() error {
	c.buf = append(c.buf, c.newline...)
	_, err := c.w.Write(c.buf)
	c.buf, c.begun = c.buf[:0], false
	return err
}

// addShown adds those cells of a row, or of the header, that are written back.
func addShown(t table, cells []string, shown []int) {
	for _, i := range shown {
		cell := ""
		if i < len(cells) {
			cell = cells[i]
		}
		t.add(cell)
	}
}

// shownColumns returns the indices of the columns that are written back.
func shownColumns(layout sheet.Layout) (shown []int) {
	for i := range layout.Columns {
		if !slices.Contains(layout.Dropped, i) {
			shown = append(shown, i)
		}
	}
	return shown
}
