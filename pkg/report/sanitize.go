package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is how many characters of somebody else's text are shown. The longest
// message that the references document has about 200.
const maxText = 1000

// replaced stands where a character was that must not be shown.
const replaced = '\uFFFD'

// Printable makes a text from outside safe for a terminal and for a log line:
// line breaks and tabs become spaces, every other control, formatting or
// bidirectional character and every broken byte becomes U+FFFD, and what is
// longer than 1000 characters is cut off with an ellipsis. A text without any of
// these comes back as it is.
func Printable(s string) string {
	if len(s) < maxText && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == maxText-1 {
			b.WriteRune('…')
			break
		}
		b.WriteRune(printable(r))
		n++
	}
	return b.String()
}

// printable returns what is shown for a character.
func printable(r rune) rune {
	switch {
	case r == '\n' || r == '\r' || r == '\t' || r == '\v' || r == '\f' || r == '\u0085' || r == '\u2028' || r == '\u2029':
		return ' '
	case r == utf8.RuneError, unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Cs, unicode.Co, unicode.Noncharacter_Code_Point):
		return replaced
	}
	return r
}

// inert is Printable for a cell: a text that a spreadsheet would run as a formula
// gets an apostrophe before the character that would start it. That holds at the
// start of the text and, because a spreadsheet may take another character for the
// delimiter than the file has, after each delimiter in it.
func inert(s string) string {
	s = Printable(s)
	if !strings.ContainsFunc(s, starts) {
		return s
	}
	var b strings.Builder
	fresh := true // nothing but space and quotes since the start of a cell
	for _, r := range s {
		if fresh && starts(r) {
			b.WriteByte('\'')
		}
		b.WriteRune(r)
		switch {
		case r == ',' || r == ';' || r == '|':
			fresh = true
		case !unicode.IsSpace(r) && r != '"' && r != replaced:
			fresh = false
		}
	}
	return b.String()
}

// starts says whether a formula can start with r: in Excel, LibreOffice or Google
// Sheets, typed as it is or full-width.
func starts(r rune) bool {
	return strings.ContainsRune("=+-@＝＋－＠﹦﹢﹣﹫−", r)
}
