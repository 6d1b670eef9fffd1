package sheet

import (
	"fmt"
	"strings"
)

// miscounted refuses a row that has other fields than the header. Guessing which
// cell slipped could touch the wrong record.
func miscounted(line, got, want int, hint string) *fault {
	noun := "fields"
	if got == 1 {
		noun = "field"
	}
	return &fault{line: line, column: min(got, want) + 1,
		reason: fmt.Sprintf("the row has %d %s, the header has %d", got, noun, want), hint: hint}
}

// miscounted refuses the record that was read last, and says what the cause seems
// to be.
func (t *textSource) miscounted() *fault {
	line, got, want := t.scan.start, len(t.scan.spans), t.header.width
	cells := t.scan.cells(got)
	if hint := t.strangeLine(cells); hint != "" {
		return miscounted(line, got, want, hint)
	}
	if got > want {
		return miscounted(line, got, want, tooMany(cells[want:], t.scan.comma))
	}
	return miscounted(line, got, want, t.tooFew(got))
}

// strangeLine recognises a line that is no row of this sheet at all.
func (t *textSource) strangeLine(cells []string) string {
	const mark = "\x1a"
	first, alone := trim(cells[0]), len(cells) == 1
	switch {
	case alone && strings.Trim(first, mark) == "":
		return "The line holds ^Z, the end mark of DOS programs: delete it."
	case alone && strings.HasPrefix(first, "#"), hasPrefix(first, "# ", "//", "-- "):
		return "The line looks like a comment, and a sheet has none: delete it."
	}
	if other, _ := understand(cells, t.scan.start, t.names); len(other.missing()) == 0 {
		return "The row is a header with other columns: are these two sheets in one file? Give each its own."
	}
	for _, other := range []byte(delimiters) {
		n := strings.Count(strings.Join(cells, ""), string(other))
		if other != t.scan.comma && n > 0 && (alone || n == t.header.width-1) {
			return fmt.Sprintf("The row is separated by %s and the header by %s: save the whole sheet with the same.",
				delimiterName(other), delimiterName(t.scan.comma))
		}
	}
	return ""
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// delimiterName is what messages call a delimiter.
func delimiterName(comma byte) string {
	switch comma {
	case ',':
		return "commas"
	case ';':
		return "semicolons"
	case '\t':
		return "tabs"
	}
	return "bars"
}

// tooMany explains cells beside the header.
func tooMany(more []string, comma byte) string {
	for _, cell := range more {
		if trim(cell) != "" {
			return "A cell that contains the delimiter or a quote must stand in quotes."
		}
	}
	name, these := delimiterName(comma), "them"
	if len(more) == 1 {
		name, these = strings.TrimSuffix(name, "s"), "it"
	}
	return fmt.Sprintf("The row ends in %d %s more than the header: take %s off the end of the rows, or add as many to the end of the header.",
		len(more), name, these)
}

// tooFew explains a row that is too short, and reads on for it.
func (t *textSource) tooFew(got int) string {
	if t.scan.ended {
		return "The sheet ends in the middle of its last row: was it cut off?"
	}
	if err := t.scan.next(); err == nil && got+len(t.scan.spans)-1 == t.header.width {
		return fmt.Sprintf("The row seems to go on in line %d: a cell with a line break in it must stand in quotes.", t.scan.start)
	}
	if got == 1 {
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
