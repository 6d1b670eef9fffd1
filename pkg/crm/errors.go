package crm

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FieldError says why an operation can not be sent as its row has it. Column is
// the canonical name of the column at fault. A Reason that tells what its cell says has
// it as Quote writes it, so that equal complaints about different values can be told
// together.
type FieldError struct {
	Column string
	Reason string
}

func (e *FieldError) Error() string { return e.Column + ": " + e.Reason }

// The reasons for which an account ends. They are the code of the rows that it
// leaves behind and of the summary.
const (
	EndKeys        = "keys"        // refused, not an administrator's, or expired
	EndQuota       = "quota"       // the day's calls are used up
	EndUnreachable = "unreachable" // nothing answers, or nothing of use
	EndRedirect    = "redirect"    // the host sends us elsewhere; we do not follow
	EndHost        = "host"        // the wrong host or path for this organisation
	EndFailures    = "failures"    // the guard: too many rows failed
)

// AccountError ends an account for the run: no further row of it can succeed.
type AccountError struct {
	Code string // one of the End constants
	Err  error  // what happened, without secrets
	Hint string // what somebody can do about it, a sentence; may be empty
}

func (e *AccountError) Error() string { return fmt.Sprintf("%s: %v", e.Code, e.Err) }

func (e *AccountError) Unwrap() error { return e.Err }

// longestShown is how many characters of a cell a message tells: more than any id,
// address or name has.
const longestShown = 80

// Shown returns a cell's value as messages tell it: on one line, without control
// characters, and cut to a length that people read.
func Shown(value string) string {
	shown := strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return utf8.RuneError
		}
		return r
	}, value)
	if runes := []rune(shown); len(runes) > longestShown {
		return string(runes[:longestShown-1]) + "…"
	}
	return shown
}

// Quote returns a cell's value as it stands in a Reason.
func Quote(value string) string { return `"` + Shown(value) + `"` }

// Join makes one message of two, of which either may be empty. A full stop between them,
// as a CRM ends its sentences, goes.
func Join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return strings.TrimSuffix(a, ".") + "; " + b
}
