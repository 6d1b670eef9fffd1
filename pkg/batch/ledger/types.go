package ledger

import (
	"encoding/json"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// happened says that the CRM has done what was asked, or has accepted it.
func happened(s crm.Status) bool {
	return s == crm.Done || s == crm.Unchanged || s == crm.Accepted
}

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

// ImportRow is one row of a sheet that is being read.
type ImportRow struct {
	Ord     int64 // 1 for the first row of the sheet; Add counts by itself
	Line    int
	Cells   []string // as read
	Account string
	// Op is the operation as the provider would send it. Where Email is set and
	// Op.User is empty, the user is what Import.Resolve says of the address.
	Op    crm.Operation
	Email string // matched without regard to case, and handed out in lower case
	// Code and Problem, if Code is not empty, say why the row is invalid, and Column and
	// Value which cell is at fault; they are empty where no one cell is.
	Code, Problem string
	Column, Value string
	// Due is when the row's date comes, zero where it has none, and LastDay the last day as
	// the sheet has it.
	Due     time.Time
	LastDay string
	// Marks are what may make the row invalid when the whole sheet is known. They are not
	// handed out again.
	Marks []Mark
}

// Address is an address that occurs in valid rows of the sheet.
type Address struct {
	Account string
	Email   string // in lower case
	Line    int    // of the first row with it
	// Need says that some row has no user id of its own, so that the address must be
	// resolved; without it the address only has to agree with the ids beside it.
	Need bool
}

// Entry is a row of the sheet, or an operation that was tried before, as Match hands
// them out. Equal ones that follow each other share Op, which nobody may change.
type Entry struct {
	Account string
	Op      *crm.Operation
	Ord     int64 // of a row; 0 for an earlier operation
	Line    int   // of a row
	Due     int64 // of a row: when its date comes, in milliseconds since 1970; 0 without one

	// What follows an earlier operation has alone.
	ID     int64
	Seq    int64 // its place in the history
	Status crm.Status
	// Uncertain says that it may have taken effect although its state says otherwise.
	Uncertain bool
	// Happened says that it failed and is done for the rest: access remains by another way;
	// or that it did, and is finished since.
	Happened bool
	Accepted bool // the CRM has accepted its last sending
	// Prior is what was known of earlier sendings when a run last took it up.
	Prior crm.Prior
}

// Choice says what becomes of one row.
type Choice struct {
	// Take is the index of the earlier operation that the row stands for, or -1: the row
	// is an operation of its own, not tried yet.
	Take int
	// Head is the index, among the target's rows, of the row that it goes together
	// with and shares the outcome of: itself, or one before it that is its own head.
	Head int
	// Turn is what there is to do; the head says it for its members.
	Turn  Turn
	Prior crm.Prior
	// Hold, if not nil, is what becomes of the row itself: there is nothing to do for its
	// operation, whose turn is TurnNone.
	Hold *Hold
}

// Hold is what a row has come to without its operation.
type Hold struct {
	// Status is NotDue before the row's date, Unavailable where dates can not be relied on,
	// and Unchanged for a row that asks for nothing.
	Status        crm.Status
	Code, Message string // Code is not empty
}

// Count is how many rows are alike in the fields beside Rows.
type Count struct {
	Account string
	Action  crm.Action
	Object  string
	Invalid bool // the row will never be sent; State and Turn say nothing
	Taken   bool // an earlier run has tried it
	Status  crm.Status
	Turn    Turn
	Member  bool // it shares the outcome of a row before it
	Rows    int64
}

// Op is an operation of the sheet, with what is needed to do it. Only heads are handed
// out: the rows that go together with one share its outcome.
type Op struct {
	ID        int64
	Ord       int64 // the ordinal of its row
	Line      int
	Account   string
	Operation crm.Operation
	// RecordLevel says that the sheet or its history has a row about everybody on the
	// record, so that all its rows act one after the other.
	RecordLevel bool
	Status      crm.Status
	Turn        Turn
	Prior       crm.Prior
	Uncertain   bool
	Ticket      string
	Seq         int64     // grows with every intent and outcome; 0 if never tried
	SentAt      time.Time // when it was last sent, zero if it never was
	Attempts    int       // how often the change was sent, in all runs
	FirstRun    int64     // the run that first intended it; 0 if none did
	Rows        int       // rows that share the outcome, this one included
	// Alone says, of what Next gave, that no other head of the record was open then. None
	// becomes open again before the next sheet.
	Alone bool
}

// Target is what the operation acts on, one operation after the other.
func (o Op) Target() crm.Target {
	if o.RecordLevel {
		return o.Operation.Target().Whole()
	}
	return o.Operation.Target()
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
	Ops     []Op // as Next, OfKey or Unconfirmed gave them
	Attempt int  // 1 for the first sending in this call
	Before  crm.State
	At      time.Time
}

// Outcome is what became of one head and the rows that go with it.
type Outcome struct {
	CallID    string
	Op        Op // as Next, OfKey or Unconfirmed gave it
	Status    crm.Status
	Turn      Turn // what is left to do in this run
	Open      bool // whether it still holds up the later rows of its target
	Uncertain bool
	// Happened says that it failed and is done for the rest: access remains by another way;
	// or that it did, and is finished since.
	Happened bool
	// Lost is what bystanders have lost by it and were not given back. It stays on record
	// until StillLost says otherwise.
	Lost []crm.Grant

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

// Result is a row of the ledger's sheet and what became of it.
type Result struct {
	Ord     int64
	Line    int
	Cells   []string // as read
	Account string
	Op      crm.Operation // the zero value for an invalid row
	Invalid bool          // never sent; Code and Message say why
	Due     time.Time     // when its date comes; zero without one
	LastDay string        // as the sheet has it
	Email   string        // the address that it names its user by, in lower case
	// Person tells, in what ResultsByPerson gives, the rows of one person from those of
	// others; "" for rows about everybody on a record and those that name nobody. Email is
	// the person's then, as far as the ledger knows it.
	Person string

	ID            int64 // the operation's; 0 for an invalid row
	Status        crm.Status
	Turn          Turn
	Open          bool
	Prior         crm.Prior
	Uncertain     bool
	Member        bool // it shares the outcome of a row before it
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
	Seen          int64 // the Seen that shows what was there before; 0 if nobody looked
}

// HasOp says whether the row stands for an operation: it is neither invalid nor one of an
// account that could not be worked with at all.
func (r Result) HasOp() bool { return !r.Invalid && (r.Status != crm.Unavailable || r.ID != 0) }

// Seen is what was seen before an announced sending.
type Seen struct {
	Ref     int64 // what Result.Seen refers to
	CallID  string
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
