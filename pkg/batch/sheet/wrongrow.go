package sheet

import (
	"fmt"
	"slices"
	"strings"
)

// miscounted refuses a row that has other fields than the header. Guessing which
// cell slipped could touch the wrong record.
func miscounted(line, got, want int, hint string) *Error {
	noun := "fields"
	if got == 1 {
		noun = "field"
	}
	return &Error{Line: line, Column: min(got, want) + 1,
		Reason: fmt.Sprintf("the row has %d %s, the header has %d", got, noun, want), Hint: hint}
}

// miscounted refuses the record that was read last, and says what the cause seems
// to be. What it reads on for that is lost to the reader.
func (t *textSource) miscounted() error {
	line, got, want := t.scan.start, len(t.scan.spans), t.header.width
	cells := t.scan.cells()
	return miscounted(line, got, want, t.cause(cells, want))
}

func (t *textSource) cause(cells []string, want int) string {
	first, alone := trim(cells[0]), len(cells) == 1
	begins := func(prefix string) bool { return strings.HasPrefix(first, prefix) }
	switch {
	case alone && strings.Trim(first, "\x1a") == "":
		return "The line holds ^Z, the end mark of DOS programs: delete it."
	case alone && begins("#"), begins("# "), begins("//"), begins("-- "):
		return "The line looks like a comment, and a sheet has none: delete it."
	}
	if other, _ := understand(cells, t.scan.start, t.names); len(other.missing()) == 0 {
		return "The row is a header with other columns: are these two sheets in one file? Give each its own."
	}
	for _, other := range []byte(delimiters) {
		n := strings.Count(strings.Join(cells, ""), string(other))
		if other != t.scan.comma && n > 0 && (alone || n == want-1) {
			return fmt.Sprintf("The row is separated by %s and the header by %s: save the whole sheet with the same.",
				delimiterName(other), delimiterName(t.scan.comma))
		}
	}
	if more := len(cells) - want; more > 0 {
		if slices.ContainsFunc(cells[want:], func(cell string) bool { return trim(cell) != "" }) {
			return "A cell that contains the delimiter or a quote must stand in quotes."
		}
		name, these := delimiterName(t.scan.comma), "them"
		if more == 1 {
			name, these = strings.TrimSuffix(name, "s"), "it"
		}
		return fmt.Sprintf("The row ends in %d %s more than the header: take %s off the end of the rows, or add as many to the end of the header.",
			more, name, these)
	}
	if t.scan.ended {
		return "The sheet ends in the middle of its last row: was it cut off?"
	}
	if err := t.scan.next(); err == nil && len(cells)+len(t.scan.spans)-1 == want {
		return fmt.Sprintf("The row seems to go on in line %d: a cell with a line break in it must stand in quotes.", t.scan.start)
	}
	if alone {
		return "The line is one cell: a title, a total or a note is no row, delete it."
	}
	return "The row ends early: was it cut off, or does it lack its empty cells? Each column needs one, also at the end."
}

// twiceQuoted says how a quote in a cell is written.
const twiceQuoted = `A quote that belongs to the text is written twice, as "", in a cell that begins and ends with a quote.`

// strayReturn explains a carriage return that no line feed follows at once, from
// there on.
func strayReturn(line []byte) string {
	if strings.Trim(string(line), "\r") == "\n" {
		return "The line ends in CR CR LF, as where line ends were converted twice: save the sheet again with line ends of Windows or Unix, and transfer it as it is (binary)."
	}
	return "Save the sheet with line ends of Windows or Unix."
}

// afterQuote explains text behind the quote that closes a cell.
func (s *scanner) afterQuote(line []byte) string {
	cell := line
	if i := strings.IndexAny(string(line), string(s.comma)+"\r\n"); i >= 0 {
		cell = line[:i]
	}
	switch {
	case trim(string(cell)) == "":
		return "There is white space between the quote and the delimiter: take it out."
	case strings.HasSuffix(string(s.text[s.cellFrom:]), `\`):
		return `A quote that belongs to the text is written twice, as "", and not with a backslash.`
	}
	return twiceQuoted
}

// bareQuote explains a quote in a cell that did not begin with one.
func (s *scanner) bareQuote() string {
	if trim(string(s.text[s.cellFrom:])) == "" {
		return "There is white space between the delimiter and the quote: take it out."
	}
	return twiceQuoted
}
