package crm

import "fmt"

// Status is how far an operation has come. The zero value is Uncertain: what nobody has
// said anything about is never a success.
type Status uint8

// The statuses.
const (
	// Uncertain: sent, the answer was lost, and it is not safe to repeat.
	Uncertain Status = iota
	// Pending: no change of it is under way; it is still to be done.
	Pending
	// Sent: intended, perhaps sent; no outcome is known.
	Sent
	// Accepted: the CRM took it and will do it later, or has not confirmed it. The ticket
	// asks about it.
	Accepted
	// Done: the CRM says, or shows, that it is so.
	Done
	// Unchanged: the CRM shows that it was so before; nothing was sent.
	Unchanged
	// Failed: the CRM refused it.
	Failed
	// Unavailable is the status of a row, never of an operation: its account can not be
	// worked with, or not by its date.
	Unavailable
	// NotDue is the status of a row, never of an operation: its date has not come, or that of
	// an earlier row of its target.
	NotDue
)

var statusNames = [...]string{"uncertain", "pending", "sent", "accepted", "done", "unchanged", "failed", "unavailable", "not_due"}

// Name is the status's own name, as ledgers keep it.
func (s Status) Name() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// ParseStatus returns the status of that name.
func ParseStatus(name string) (s Status, ok bool) {
	for s := range Status(len(statusNames)) {
		if statusNames[s] == name {
			return s, true
		}
	}
	return Uncertain, false
}

// String returns the word of the result column. Sent is "in_doubt": whoever reads it found
// an intent that no outcome followed.
func (s Status) String() string {
	switch s {
	case Pending, Unavailable:
		return "not_attempted"
	case Sent, Uncertain:
		return "in_doubt"
	}
	return s.Name()
}

// Finished says whether a later row of the target may go: the operation is done, unchanged
// or failed.
func (s Status) Finished() bool { return s == Done || s == Unchanged || s == Failed }
