package sheet

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// trim cuts off what surrounds a value without being seen: white space of any
// kind, non-breaking spaces, and format characters (zero-width spaces and
// joiners, direction marks, byte order marks), which copying from mail and
// spreadsheets leaves behind.
func trim(s string) string {
	if s == "" || visible(s[0]) && visible(s[len(s)-1]) {
		return s
	}
	return strings.TrimFunc(s, unseen)
}

// Trim cuts off what surrounds a value without being seen, as is done for Fields.
func Trim(s string) string { return trim(s) }

// visible is the short way for cells that begin and end in plain ASCII.
func visible(c byte) bool { return ' ' < c && c < utf8.RuneSelf }

func unseen(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }

// fold makes header names comparable: without regard to case, spaces, "_", "-"
// and characters that can not be seen.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || unseen(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// printable makes a piece of the input fit for a message: on one line, without
// control characters, and not long.
func printable(s string) string { return oneLine(s, 60) }

func oneLine(s string, longest int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest]) + "..."
	}
	return s
}
