// Package find makes the sheet that no report of a CRM gives: people in, rows out.
//
// It asks each account who these people are there, what the CRM shows them to have, and what
// earlier ledgers gave them; and it says of each part how much of it was looked at. It sees a
// CRM through a crm.Finder, which can change nothing.
//
// What was seen stands in a work file, chunk by chunk, so that a find that was stopped at any
// instant goes on where it ended; rows and coverage are projections of that file. Memory does
// not grow with the records that are looked at, only with the people and with what is known
// of them.
package find

// Error refuses what was asked for: nothing is written.
type Error struct {
	Reason string
	Hint   string // what to do about it, a sentence; may be empty
}

func (e *Error) Error() string { return e.Reason }
