package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// State is how far an operation has come.
type State uint8

// The states. The zero value is an operation of which nothing is under way.
const (
	Pending   State = iota // to be done; nothing of it is under way
	Sent                   // intended, perhaps sent; no outcome is known
	Accepted               // the CRM took it and has not confirmed it
	Done                   // the CRM confirmed it
	Unchanged              // it was already so
	Failed                 // the CRM refused it
	InDoubt                // the answer was lost, and it is not safe to repeat
)

// String returns the word of the result column. Sent is "in_doubt": whoever
// reads it found an intent that no outcome followed.
func (s State) String() string {
	switch s {
	case Pending:
		return "not_attempted"
	case Sent, InDoubt:
		return "in_doubt"
	case Accepted:
		return "accepted"
	case Done:
		return "done"
	case Unchanged:
		return "unchanged"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Settled says whether a later row of the target may go: the operation is done,
// unchanged or failed.
func (s State) Settled() bool { return s == Done || s == Unchanged || s == Failed }

// happened says that the CRM has done what was asked, or has accepted it.
func (s State) happened() bool { return s == Done || s == Unchanged || s == Accepted }

// Turn is when in a run an operation is looked at. Lower turns come first.
type Turn uint8

// The turns.
const (
	TurnNone   Turn = iota // nothing to do now
	TurnAsk                // accepted in an earlier run: asked about before anything else
	TurnNormal             // to be done
	TurnLate               // failed in an earlier run: after everything else
)

// Binding ties an account's name to the one place that the ledger's rows of that
// account were done in.
type Binding struct {
	Account string // the name in the configuration
	CRM     string
	Host    string
	Org     string // the organisation's id as the CRM gives it
}

// Source says what sheet the ledger stands for.
type Source struct {
	Name string
	// Sheet tells the sheets of a ledger apart: "" for the one that it is named after.
	Sheet  string `json:"Sheet,omitzero"`
	SHA256 string // of the sheet's bytes, in hexadecimal
	// Layout is whatever the sheet's reader needs to write its rows back as they
	// came: header, delimiter, line ending. The ledger does not look into it.
	Layout json.RawMessage
}

// Staged is one row of a sheet that is being read.
type Staged struct {
	Line    int
	Cells   []string // as read
	Account string
	// Op is the operation as the provider would send it. Where Email is set and
	// Op.User is empty, the user is what Stage.Resolve says of the address.
	Op    crm.Operation
	Email string // matched without regard to case, and handed out in lower case
	// Code and Problem, if Code is not empty, say why the row is invalid, and Column and
	// Value which cell is at fault; they are empty where no one cell is.
	Code, Problem string
	Column, Value string
	// Marks are what may make the row invalid when the whole sheet is known. They are not
	// handed out again.
	Marks []Mark
}

// StagedRow is a staged row as it stands now: resolved addresses are filled in,
// spoiled rows have their code and problem.
type StagedRow struct {
	Ord int64 // 1 for the first row of the sheet
	Staged
}

// StagedEmail is an address that occurs in valid rows of the staged sheet.
type StagedEmail struct {
	Account string
	Email   string // in lower case
	Line    int    // of the first row with it
	// Need says that some row has no user id of its own, so that the address must be
	// resolved; without it the address only has to agree with the ids beside it.
	Need bool
}

// Where picks staged rows. A row is picked if it is that ordinal, or, Ord being
// 0, if it is of Account and every other field that is not empty fits.
type Where struct {
	Ord     int64
	Account string
	Email   string // without regard to case
	User    string // the user id, given in the row or resolved
	// Other turns User around: rows that give a user id of their own which is not
	// User. It finds the rows whose address belongs to somebody else.
	Other bool
}

// Past is an operation of a target's history.
type Past struct {
	ID    int64
	Op    crm.Operation
	State State
	// Maybe says that it may have taken effect although its state says otherwise.
	Maybe bool
	// Prior is what was known of earlier sendings when a run last took it up.
	Prior crm.Prior
}

// Choice says what becomes of one staged row.
type Choice struct {
	// Take is the index of the past operation that the row stands for, or -1: the row
	// is an operation of its own, not tried yet.
	Take int
	// Join is the index, among the target's rows, of the row that it goes together
	// with and shares the outcome of: itself, or one before it that is its own.
	Join int
	// Turn is what there is to do; the row that is joined says it for those that join.
	Turn  Turn
	Prior crm.Prior
}

// Tally is how many rows are alike in the fields beside Rows.
type Tally struct {
	Account string
	Action  crm.Action
	Object  string
	Invalid bool // the row will never be sent; State and Turn say nothing
	Taken   bool // an earlier run has tried it
	State   State
	Turn    Turn
	Joined  bool // it shares the outcome of a row before it
	Rows    int64
}

// Op is an operation of the adopted sheet, with what is needed to do it. Only
// leaders are handed out: the rows that go together with one share its outcome.
type Op struct {
	ID        int64
	Ord       int64 // the ordinal of its row
	Line      int
	Account   string
	Operation crm.Operation
	State     State
	Turn      Turn
	Prior     crm.Prior
	Maybe     bool
	Ticket    string
	// Key, Target and Bundle are hashes, the account among what is hashed. Different
	// things may in theory share one, which costs time and never harm.
	Key, Target, Bundle int64
	Seq                 int64     // grows with every intent and outcome; 0 if never tried
	SentAt              time.Time // when it was last sent, zero if it never was
	Attempts            int       // how often the change was sent, in all runs
	FirstRun            int64     // the run that first intended it; 0 if none did
	Lead                int64     // the leader's id: its own
	Rows                int       // rows that share the outcome, this one included
	// Alone says that no other operation of the sheet has the key: what is here is all
	// that there is to know of the key's work. Round does not find it.
	Alone bool
}

// Cursor is a place in the order of work. The zero value is before everything.
type Cursor struct {
	Turn Turn
	Ord  int64
}

// Cursor returns the operation's place in the order of work.
func (o Op) Cursor() Cursor { return Cursor{o.Turn, o.Ord} }

// RunInfo says who runs what.
type RunInfo struct {
	Version  string
	Operator string
	Args     []string // without secrets
}

// Run is one use of the ledger.
type Run struct {
	ID      int64
	Started time.Time
	Ended   time.Time // zero while it goes on, and for ever if it was killed
	RunInfo
	Summary json.RawMessage // as EndRun got it
}

// Intent announces one sending of a change.
type Intent struct {
	CallID  string
	Account string
	Ops     []int64 // the leaders' ids
	// Known, if not nil, are the same operations as Todo, Round or Waiting gave them.
	// What is in them is not read again.
	Known   []Op
	Attempt int // 1 for the first sending in this call
	Before  crm.State
	At      time.Time
}

// Settle is what became of one leader and the rows that go with it.
type Settle struct {
	CallID string
	Op     int64 // the leader's id
	// Known, if not nil, is the same operation as Todo, Round or Waiting gave it. What
	// is in it is not read again.
	Known *Op
	State State
	Turn  Turn // what is left to do in this run
	Open  bool // whether it still holds up the later rows of its target
	Maybe bool

	RequestID, Ticket string
	Code, Message     string
	// Note is what stays to be said of the row whatever a later look shows, such as
	// that it was sent again after a lost answer.
	Note       string
	HTTPStatus int
	// Attempts is how often the change was sent in this call. It is added to the
	// operation's count.
	Attempts            int
	SentAt, ConfirmedAt time.Time // zero leaves what is known
	// Confirm says that this is what a look showed, not the answer to a change: the
	// place in the history stays, and so do call, request id and ticket where this
	// gives none.
	Confirm bool
}

// Result is a row of the adopted sheet and what became of it.
type Result struct {
	Ord     int64
	Line    int
	Cells   []string // as read
	Account string
	Op      crm.Operation // the zero value for an invalid row
	Invalid bool          // never sent; Code and Message say why

	ID            int64 // the operation's; 0 for an invalid row
	State         State
	Turn          Turn
	Open          bool
	Prior         crm.Prior
	Maybe         bool
	Joined        bool // it shares the outcome of a row before it
	Code, Message string
	Note          string // what stays to be said beside the message
	RequestID     string
	Ticket        string
	CallID        string
	HTTPStatus    int
	Attempts      int
	SentAt        time.Time
	ConfirmedAt   time.Time
	FirstRun      int64
	Before        int64 // the Call whose Before shows what was there; 0 if nobody looked
}

// Call is one announced sending, with what was seen before it.
type Call struct {
	Ref     int64 // what Result.Before refers to
	ID      string
	Account string
	Run     int64
	Attempt int
	SentAt  time.Time
	Before  crm.State
}

// Event is one link of the chain.
type Event struct {
	Seq  int64 // 1, 2, 3, ...
	At   time.Time
	Kind string // "ledger", "bind", "run", "intent", "outcome", "confirm", ...
	Body json.RawMessage
	Prev string // the hash of the event before, in hexadecimal
	Hash string
}
