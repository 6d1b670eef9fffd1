package sheet

import (
	"strconv"
	"strings"
)

// Error refuses the sheet as a whole: nothing of it may be sent.
type Error struct {
	Name   string // of the input, as given to Open; "-" is standard input
	Line   int    // 1-based, 0 where none is at fault
	Column int    // 1-based number of the column, 0 where none is at fault
	Header string // name of that column as the sheet has it, may be empty
	Reason string // what is wrong
	Hint   string // what to do about it, a sentence; may be empty

	better  int  // the row that looks like the header instead; 0 if none does
	damaged bool // the file is at fault, and not what somebody has written into it
}

// Error returns the place and the reason, as in
// "offboarding.csv:12:3 (record_id): reason".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(display(e.Name))
	if e.Line > 0 {
		b.WriteString(":" + strconv.Itoa(e.Line))
		if e.Column > 0 {
			b.WriteString(":" + strconv.Itoa(e.Column))
		}
	}
	if e.Header != "" {
		b.WriteString(" (" + e.Header + ")")
	}
	b.WriteString(": " + e.Reason)
	return b.String()
}

// display is how messages call an input.
func display(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}
