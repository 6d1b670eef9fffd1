package crm

import (
	"fmt"
	"strings"
	"time"
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
	Code   string // of the row; "" is CodeInvalid
}

func (e *FieldError) Error() string { return e.Column + ": " + e.Reason }

// The columns of a sheet that a FieldError may find at fault.
const (
	ColumnAction      = "action"
	ColumnObject      = "object"
	ColumnRecord      = "record_id"
	ColumnUser        = "user"
	ColumnContext     = "context_id"
	ColumnAccess      = "access"
	ColumnMinutes     = "duration_minutes"
	ColumnRelated     = "share_related"
	ColumnPermissions = "group_permissions"
)

// Fault returns a *FieldError.
func Fault(column, reason string) error { return &FieldError{Column: column, Reason: reason} }

// FaultID returns the fault of an id that a provider can not use: the usual mistake
// that it is, else the given reason.
func FaultID(column, id, reason string) error {
	switch {
	case id == "":
		return Fault(column, "is empty")
	case MistakenID(id) != "":
		return Fault(column, Quote(id)+" "+MistakenID(id))
	}
	return Fault(column, reason+": "+Quote(id))
}

// Sendable is the Check of an operation that is to be sent now: with an address in the
// place of the user's id it can not be.
func Sendable(r Rules, op Operation) (Operation, error) {
	op, err := r.Check(op)
	if err == nil && strings.Contains(op.User, "@") {
		err = Fault(ColumnUser, "the address was not resolved")
	}
	return op, err
}

// Invalid is the outcome of an operation that is not Sendable.
func Invalid(err error) Outcome {
	return Outcome{Status: Failed, Code: CodeInvalid, Message: err.Error()}
}

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
	// Until is when the account can be worked with again by itself; zero where nobody says.
	Until time.Time
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
