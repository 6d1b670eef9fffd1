package crm

import "fmt"

// FieldError says why an operation can not be sent as its row has it. Column is
// the canonical name of the column at fault.
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
