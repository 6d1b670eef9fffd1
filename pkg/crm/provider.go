package crm

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Rules say what an account of a CRM can be asked to do, before anybody asks it. They
// follow from the account's configuration alone, need no secret, send nothing, and are
// safe for concurrent use.
type Rules interface {
	// Check says whether the account could be asked to do op, and returns it as it would
	// be sent: identifiers in the vendor's spelling, defaults of the account filled in,
	// fields that would not be sent cleared. op.User may still be an e-mail address (it
	// then contains an "@"), which Check leaves alone. The error is a *FieldError.
	Check(op Operation) (Operation, error)

	// Key names what at most one open call may work on: the fields of op's target that
	// matter, the others empty. Operations of one key may share a Call; a Call holds at
	// most one operation per target.
	Key(op Operation) Target

	// Bundle names the calls that op may go in with operations of other keys, and how
	// many operations such a call may hold; most < 2 means that op goes with its key only.
	Bundle(op Operation) (name string, most int)

	// Cost returns the requests for a key with n operations such as op, if nothing goes
	// wrong and each of them is a change; confirm says whether they are confirmed
	// afterwards. It is a fraction where operations of several keys share a call.
	Cost(op Operation, n int64, confirm bool) float64

	// Shows says whether the CRM shows who has what op is about. Confirm then looks, for
	// all operations of a key at once, whether they were ever sent or not; where it does
	// not show that, Confirm asks what became of the request that a ticket names.
	Shows(op Operation) bool
}

// Provider makes operations true in one account of one CRM, with which it is connected.
//
// A provider is safe for concurrent use. It holds no state that a restart would
// miss: what must survive is in the journal or in a ticket.
type Provider interface {
	Rules

	// Do performs the call's operations and returns one outcome for each, in the
	// same order. A failure is an outcome, never a panic or a missing element.
	//
	// Every change is announced through j right before it is sent, with the rate
	// slot already held. Repeating a write is Do's business: it knows what is safe
	// to repeat, and looks first where it must. When ctx is done, Do sends no
	// further change, but for the repair of one that took something from a bystander, and
	// comes back within 25 s; what was not sent is Pending.
	Do(ctx context.Context, call Call, j Journal) []Outcome

	// Confirm says what became of operations: of one ticket, or of one key where the CRM
	// shows who has what they are about. It asks or looks once, with as few requests as
	// it can, and returns one outcome for each item, in the same order: Done, Failed, or
	// Accepted where it is not so yet, with the CRM's raw code and text. A look that
	// failed leaves the item Accepted. The state is what the CRM showed; it has been
	// looked at only if it says so. Confirm changes nothing and is safe to repeat. An
	// item's Prior does not matter.
	Confirm(ctx context.Context, items []Item) ([]Outcome, State)

	// Users streams the people of a part of the organisation, at most MostUsers of them.
	// An error ends the list; it is ErrNoUserList where the CRM has none.
	Users(ctx context.Context, part Part) iter.Seq2[User, error]

	// Identify returns whose keys the account works with, and says no where they can not
	// do the work. It costs a request or none (the answer may be remembered). The error
	// is an *AccountError where the account can not be worked with.
	Identify(ctx context.Context) (Identity, error)

	// Clock returns what time it is for the CRM, as its last answer said, give or take the
	// seconds that the answer took; zero where its answers do not say. It costs a request
	// where nothing has been answered yet. The error is an *AccountError where the account
	// can not be worked with.
	Clock(ctx context.Context) (time.Time, error)
}

// Part says which of an organisation's people a list has.
type Part uint8

const (
	// Current are those whom the organisation has, inactive ones too.
	Current Part = iota
	// Deleted are those whom it has deleted, where the list of the current ones leaves
	// them out; elsewhere that is nobody.
	Deleted
)

// MostUsers is how many people a user list may have: nothing that a CRM sends is read
// without a bound, and it is far beyond what organisations have.
const MostUsers = 100_000

var (
	// ErrTooManyUsers ends a user list that is longer.
	ErrTooManyUsers = fmt.Errorf("the CRM lists more than %d people, and no more are read", MostUsers)
	// ErrNoUserList is the user list of a CRM that has none.
	ErrNoUserList = errors.New("this CRM has no user list; name users by id")
)

// Call is what a provider does together. It may cost several HTTP requests.
type Call struct {
	ID    string // our own id of the call, also in the log
	Items []Item
	// Protected are the ids of users whom the call may take nothing from, not even by an
	// operation that names nobody.
	Protected []string
}

// Item is an operation of a call, and what became of it earlier.
type Item struct {
	Op    Operation
	Prior Prior
	// Ticket is that of the earlier acceptance, where Prior is PriorAccepted.
	Ticket string
	// Bystanders is, of an operation that was sent before by a change that writes everybody
	// back, what was seen before that of everybody whom no row of the sheet is about: none
	// of it was to change.
	Bystanders []Grant
}

// Prior says what is known of an earlier sending of the same operation.
type Prior uint8

const (
	// PriorNone: never sent, or sent and refused.
	PriorNone Prior = iota
	// PriorUnanswered: sent, and the answer was lost. An operation that is not safe to
	// repeat is not sent again: its outcome is Uncertain.
	PriorUnanswered
	// PriorAccepted: accepted by an earlier run, asked about since, and still
	// unconfirmed. What is not safe to repeat is not sent again: its outcome is
	// Accepted, with the same ticket.
	PriorAccepted
	// PriorRedo: as PriorUnanswered, and the operator says to send it again all the same.
	PriorRedo
	// PriorUncertain: as PriorUnanswered in all that is done about it, but no answer was lost.
	// The CRM accepted it and never confirmed it, and has refused it since, or something
	// else of its target came in between.
	PriorUncertain
	// PriorHappened: the earlier outcome was Happened. It is asked about and not sent
	// again, unless it was never sent.
	PriorHappened
	// PriorSuperseded: as PriorHappened, and a later row of its target counts since: who
	// has access to the record itself says nothing about this one.
	PriorSuperseded
)

// SentAgain says why an operation of that prior has been sent again, for the message of
// its outcome; lost says that an answer to this call was lost before. "" is not again.
func (p Prior) SentAgain(lost bool) string {
	switch {
	case p == PriorAccepted:
		return "sent again after it stayed unconfirmed"
	case p == PriorUnanswered, p == PriorRedo, lost:
		return "sent again after a lost answer"
	case p == PriorUncertain:
		return "sent again, as an earlier sending may have taken effect"
	}
	return ""
}

// Journal is told of every change before it is sent.
type Journal interface {
	// Intend returns when the intent to send the call's change is durable, with what
	// the CRM showed before, where the provider looked. The change may be sent only
	// then, and only if the error is nil. Each sending is announced, repeats too.
	Intend(ctx context.Context, before State) error
}

// Outcome says three separate things: the status of the operation, whether and
// when to come back to it, and whether the account has ended. It is never an
// error: a refused row is a result like any other.
type Outcome struct {
	Status    Status
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
	// Maybe says that the change may have taken effect although the status is
	// Failed or Pending (an answer was lost on the way there).
	Uncertain bool
	// Happened says of a Failed operation that no change of the record can do more for it:
	// it has been carried out, or was so, and access remains by another way.
	Happened bool
	// Lost is what bystanders have lost, by the operation or at the same time, and were not
	// given back: somebody must look at the row whatever its status. Confirm says it of
	// those of Item.Bystanders.
	Lost []Grant
	// Later, if positive, says when to come back: a Pending operation whose record is
	// busy, or an Accepted one that is worth no look before.
	Later time.Duration
	// Ended, if not nil, says that the account can do no more in this run.
	Ended *AccountError
}

// Meter counts what was asked within one limit. Accounts with equal meters share it.
type Meter interface {
	// Usage is what was asked so far, and how the account stands.
	Usage() Usage
	// Timeline is when the calls were made that Usage counts.
	Timeline() Timeline
	// Forecast returns how long it takes until so many more calls are answered, and those
	// that are open, if nothing goes wrong from now on and the limit is used as far as
	// atOnce calls at a time can use it.
	Forecast(calls, atOnce int) time.Duration
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

// Timeline is how many calls a run made over time: the same calls that
// Usage.Calls counts, by when each was sent. It has a bounded number of steps
// and pauses however long the run takes. The zero value is a run that made none.
type Timeline struct {
	Start time.Time     // when the first call was sent
	Step  time.Duration // the length of one element of Calls
	Calls []int64       // Calls[i] were sent from Start+i*Step on; the last step may not be over
	// Pauses are when the account's calls were stopped, by a refusal or for want of an
	// answer, in order. They are few: of too many the closest have become one.
	Pauses []Pause
}

// Pause is a time in which an account's calls were stopped. The end of the last one may
// be still to come.
type Pause struct{ From, Until time.Time }
