package crm

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// Provider makes operations true in one account of one CRM.
//
// A provider is safe for concurrent use. It holds no state that a restart would
// miss: what must survive is in the journal or in a ticket.
type Provider interface {
	// Check says whether the provider could send op, and returns it as it would be
	// sent: identifiers in the vendor's spelling, defaults of the account filled in,
	// fields that would not be sent cleared. It sends nothing. op.User may still be
	// an e-mail address (it then contains an "@"), which Check leaves alone. The
	// error is a *FieldError.
	Check(op Operation) (Operation, error)

	// Key names what at most one open call may work on. Operations of one key may
	// share a Call; a Call holds at most one operation per target.
	Key(op Operation) string

	// Do performs the call's operations and returns one outcome for each, in the
	// same order. A failure is an outcome, never a panic or a missing element.
	//
	// Every change is announced through j right before it is sent, with the rate
	// slot already held. Repeating a write is Do's business: it knows what is safe
	// to repeat, and looks first where it must. When ctx is done, Do sends no
	// further change and comes back within 25 s; what was not sent is NotSent.
	Do(ctx context.Context, call Call, j Journal) []Outcome
}

// Call is what a provider does together. It may cost several HTTP requests.
type Call struct {
	ID    string // our own id of the call, also in the log
	Items []Item
}

// Item is an operation of a call, and what became of it earlier.
type Item struct {
	Op    Operation
	Prior Prior
	// Ticket is that of the earlier acceptance, where Prior is PriorAccepted.
	Ticket string
	// Stay is, of a Rewriter's operation that was sent before, what was seen before that
	// of everybody whom no row of the sheet is about: none of it was to change.
	Stay []Grant
}

// Prior says what is known of an earlier sending of the same operation.
type Prior uint8

const (
	// PriorNone: never sent, or sent and refused.
	PriorNone Prior = iota
	// PriorLost: sent, and the answer was lost. An operation that is not safe to
	// repeat is not sent again: its outcome is Unknown.
	PriorLost
	// PriorAccepted: accepted by an earlier run, asked about since, and still
	// unconfirmed. What is not safe to repeat is not sent again: its outcome is
	// Accepted, with the same ticket.
	PriorAccepted
	// PriorRedo: as PriorLost, and the operator says to send it again all the same.
	PriorRedo
	// PriorUncertain: as PriorLost in all that is done about it, but no answer was lost.
	// The CRM accepted it and never confirmed it, and has refused it since, or something
	// else of its target came in between.
	PriorUncertain
)

// Journal is told of every change before it is sent.
type Journal interface {
	// Intend returns when the intent to send the call's change is durable, with what
	// the CRM showed before, where the provider looked. The change may be sent only
	// then, and only if the error is nil. Each sending is announced, repeats too.
	Intend(ctx context.Context, before State) error
}

// Verdict is what is known about an operation. The zero value means that nothing
// is known, never success.
type Verdict uint8

const (
	// Unknown: sent, the answer was lost, and it is not safe to repeat.
	Unknown Verdict = iota
	// NotSent: no change of this operation is under way; it is still to be done.
	NotSent
	// Accepted: the CRM took it and will do it later. The ticket asks about it.
	Accepted
	// Done: the CRM says, or shows, that it is so.
	Done
	// Unchanged: the CRM shows that it was so before; nothing was sent.
	Unchanged
	// Failed: the CRM refused it.
	Failed
)

// String returns the verdict's name, for logs.
func (v Verdict) String() string {
	switch v {
	case Unknown:
		return "unknown"
	case NotSent:
		return "not_sent"
	case Accepted:
		return "accepted"
	case Done:
		return "done"
	case Unchanged:
		return "unchanged"
	case Failed:
		return "failed"
	}
	return "verdict"
}

// Outcome says three separate things: the verdict on the operation, whether and
// when to come back to it, and whether the account has ended. It is never an
// error: a refused row is a result like any other.
type Outcome struct {
	Verdict   Verdict
	RequestID string // the Id that the CRM returned, as it came
	// Ticket is what Confirm needs to ask about an Accepted operation, from another
	// process too. Operations with equal tickets are asked about together.
	Ticket string
	// Code and Message are the CRM's, or ours ("inherited", "protected", ...), as
	// they came: whoever shows them makes them safe.
	Code, Message string
	HTTPStatus    int // of the last answer; 0 where none came
	// Attempts is how often the change was sent in this call, without those that a
	// rate limit refused.
	Attempts int
	// Maybe says that the change may have taken effect although the verdict is
	// Failed or NotSent (an answer was lost on the way there).
	Maybe bool
	// Alarm says that somebody must look at the row whatever its verdict: a person whom
	// it does not name has lost access, by it or at the same time, and was not given it
	// back.
	Alarm bool
	// Later, if positive, says when to come back: a NotSent operation whose record is
	// busy, or an Accepted one that is worth no look before.
	Later time.Duration
	// Ended, if not nil, says that the account can do no more in this run.
	Ended *AccountError
}

// Confirmer is a Provider that can say what became of accepted operations.
type Confirmer interface {
	// Confirm looks once, with as few requests as it can, and returns one outcome for
	// each item, in the same order: Done, Failed, or Accepted where the CRM has not
	// come to it yet (with the raw code and text that it gave). A look that failed
	// leaves the item Accepted. It changes nothing and is safe to repeat. An item's
	// Prior does not matter; the items have one ticket.
	Confirm(ctx context.Context, items []Item) []Outcome
}

// Looker is a Provider that can look at what an operation is about, whether it was
// ever sent or not.
type Looker interface {
	// Ticket returns the ticket of a look at what op is about, or "" where the CRM
	// tells no more than what became of a request Id. Operations with equal tickets
	// are looked at together.
	Ticket(op Operation) string

	// Look is Confirm for items whose ticket is that of Ticket. It returns beside the
	// outcomes what the CRM showed: an Accepted outcome says that it is not so if the
	// state has been looked at, and that the look has failed otherwise.
	Look(ctx context.Context, items []Item) ([]Outcome, State)
}

// Rewriter is a Confirmer some of whose changes write back what they are to leave
// alone, so that people whom no row is about may lose by them. Its items come with
// Item.Stay.
type Rewriter interface {
	Confirmer
	// Rewrites says whether op is done by such a change.
	Rewrites(op Operation) bool
}

// MostUsers is how many people a user list may have: nothing that a CRM sends is read
// without a bound, and it is far beyond what organisations have.
const MostUsers = 100_000

// ErrTooManyUsers ends a user list that is longer.
var ErrTooManyUsers = fmt.Errorf("the CRM lists more than %d people, and no more are read", MostUsers)

// UserLister is a Provider that can list its users, inactive ones too.
type UserLister interface {
	// Users streams the whole list, at most MostUsers people. An error ends it.
	Users(ctx context.Context) iter.Seq2[User, error]
}

// FormerLister is a UserLister whose list leaves out people whom the organisation has
// deleted.
type FormerLister interface {
	// FormerUsers streams those, as Users does.
	FormerUsers(ctx context.Context) iter.Seq2[User, error]
}

// UserList is a list that a CRM gives.
type UserList = func(ctx context.Context) iter.Seq2[User, error]

// Preflighter is a Provider that can tell whose keys it works with and whether
// they may do the work.
type Preflighter interface {
	// Preflight costs a request or none (it may be remembered). The error is an
	// *AccountError where the account can not be worked with.
	Preflight(ctx context.Context) (Identity, error)
}

// Bundler is a Provider whose calls may hold operations of several keys.
type Bundler interface {
	// Bundle names the calls that op may go in with others, and how many operations
	// such a call may hold; most < 2 means that op goes alone with its key.
	Bundle(op Operation) (name string, most int)
}

// Coster is a Provider that can say beforehand what its work costs.
type Coster interface {
	// Cost returns the requests for a key with so many operations such as op, if nothing
	// goes wrong and each of them is a change; confirm says whether they are asked about
	// afterwards. It is a fraction where operations of several keys share a call.
	Cost(op Operation, n int64, confirm bool) float64
}

// Meter is a Provider that counts what it asks of the CRM.
type Meter interface {
	Usage() Usage
}

// Usage is what a run has asked of an account so far, and how it stands.
type Usage struct {
	Calls    int64         // HTTP attempts of every kind
	Refused  int64         // of these, refused by the rate limit
	Repeats  int64         // of these, sent again after a failure
	Open     int           // calls that are under way
	InFlight int           // what these count for, where one counts for several
	Limit    int           // calls that may stand in Window now
	Window   time.Duration //
	// PausedUntil is zero, or when the account's calls go on; Why says what stopped
	// them.
	PausedUntil time.Time
	Why         string
}

// Forecaster is a Provider that can say how long its calls are going to take.
type Forecaster interface {
	// Forecast returns how long it takes until so many more calls are answered, and those
	// that are open, if nothing goes wrong from now on and the limit is used as far as
	// atOnce calls at a time can use it.
	Forecast(calls, atOnce int) time.Duration
}

// Timeliner is a Provider that remembers when it made its calls.
type Timeliner interface {
	Timeline() Timeline
}

// Timeline is how many calls a run made over time: the same calls that
// Usage.Calls counts, by when each was sent. It has a bounded number of steps
// however long the run takes. The zero value is a run that made none.
type Timeline struct {
	Start time.Time     // when the first call was sent
	Step  time.Duration // the length of one element of Calls
	Calls []int64       // Calls[i] were sent from Start+i*Step on; the last step may not be over
}
