package batch

import (
	"fmt"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Counts is how many rows of the sheet stand how.
type Counts struct {
	Rows         int64 `json:"rows"`
	Done         int64 `json:"done"`
	Unchanged    int64 `json:"unchanged"`
	Accepted     int64 `json:"accepted"`
	Failed       int64 `json:"failed"`
	InDoubt      int64 `json:"in_doubt"`
	Invalid      int64 `json:"invalid"`
	NotAttempted int64 `json:"not_attempted"`
	NotDue       int64 `json:"not_due"`
}

// Ended is how many rows need nothing more, whatever the result.
func (c Counts) Ended() int64 { return c.Done + c.Unchanged + c.Failed + c.InDoubt + c.Invalid }

// Plan is what a run would do: everything that can be known before the first
// change is sent.
type Plan struct {
	Rows    int64 `json:"rows"`
	ToSend  int64 `json:"to_send"`  // rows that a run would send
	Done    int64 `json:"done"`     // rows that are finished already
	Asked   int64 `json:"asked"`    // accepted earlier, or failed for access by another way: asked about first
	Waiting int64 `json:"in_doubt"` // in doubt, and not repeated
	Retried int64 `json:"retried"`  // of ToSend, refused by the CRM in an earlier run
	Invalid int64 `json:"invalid"`  // rows that can not be sent
	// Unavailable are rows whose account could not be asked who has their address.
	Unavailable int64 `json:"unavailable,omitempty"`
	// ClockHeld are rows with a date that can not be relied on, as the clocks of this machine
	// and of the CRM differ, and rows behind them.
	ClockHeld int64 `json:"clock_held,omitempty"`
	// Kept are rows that ask for nothing.
	Kept int64 `json:"kept"`
	// NotDue are rows whose date, or that of an earlier row of their target, has not come:
	// the first days with how many become due on each, and how many after those.
	NotDue   int64    `json:"not_due"`
	DueDays  []DueDay `json:"due_days,omitempty"`
	DueLater int64    `json:"due_later,omitempty"`
	// Overdue are rows whose date has come, and which are not finished and wait for no earlier
	// row's date, and OldestDue is the earliest of these dates.
	Overdue   int64      `json:"overdue"`
	OldestDue *time.Time `json:"oldest_due,omitempty"`
	Joined    int64      `json:"joined"`   // rows that go with an equal one
	Pairs     int64      `json:"pairs"`    // targets with both a revoke and a share still to be sent
	Unstated  int64      `json:"unstated"` // revokes without access that are sent with one: the account's default is sent
	Contexts  int64      `json:"contexts"` // lead revokes: the user may keep the lead through another activity
	// Of ToSend, the rows that do again what an undo sheet, or another sheet of the same
	// ledger, has undone since: revokes of what it gave back, shares of what it took.
	TakenAgain int64  `json:"taken_again"`
	GivenAgain int64  `json:"given_again"`
	Digest     string `json:"digest"`
	// Notes are sentences about what somebody should look at although no row is
	// invalid for it.
	Notes []string `json:"notes"`
	// Worksheet is what was read of a workbook; nil for any other sheet.
	Worksheet *sheet.Worksheet `json:"worksheet,omitempty"`
	// People and Records are how many the sheet names; 0 without Options.Describe.
	People  int64 `json:"people,omitempty"`
	Records int64 `json:"records,omitempty"`
	// Groups are the rows to send by account, action and object, in a fixed order.
	Groups   []PlanGroup   `json:"groups"`
	Accounts []PlanAccount `json:"accounts"`
}

// PlanGroup counts the rows of one account, action and object.
type PlanGroup struct {
	Account string `json:"account"`
	Action  string `json:"action"`
	Object  string `json:"object"`
	Rows    int64  `json:"rows"`
	ToSend  int64  `json:"to_send"`
}

// PlanAccount is what a run would ask of one account.
type PlanAccount struct {
	Account  string        `json:"account"`
	CRM      string        `json:"crm"`
	Host     string        `json:"host"`
	Calls    int64         `json:"calls"`
	Duration time.Duration `json:"duration_ns"`
	// Ended is set if the account can not be worked with at all, and Clock if rows with a
	// date are not attempted because clocks differ.
	Ended *crm.AccountError `json:"-"`
	Clock *crm.AccountError `json:"-"`
}

// Summary is how a run ended.
type Summary struct {
	Run     int64     `json:"run"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Counts  Counts    `json:"counts"`
	Sent    int64     `json:"sent"` // rows sent in this run
	// Alarms is how many rows, of this run or an earlier one, changed a record that a
	// bystander lost at the same time, and has not been given back as far as looks have
	// shown; the rows' messages name them.
	Alarms   int64            `json:"alarms"`
	Accounts []SummaryAccount `json:"accounts"`
	// Stopped is nil if everything was tried; otherwise what stopped the run before
	// that: the cause of the context, the guard, or the error that Run returns. What ended
	// single accounts stands with them.
	Stopped error `json:"-"`
	// Worksheet is what was read of a workbook; nil for any other sheet.
	Worksheet *sheet.Worksheet `json:"worksheet,omitempty"`
	HeadSeq   int64            `json:"head_seq"` // of the chain of events
	Head      string           `json:"head"`
}

// SummaryAccount is how a run ended on one account.
type SummaryAccount struct {
	Account string            `json:"account"`
	CRM     string            `json:"crm"`
	Host    string            `json:"host"`
	Usage   crm.Usage         `json:"usage"`
	Ended   *crm.AccountError `json:"-"`
	// Clock is set if rows with a date are not attempted because clocks differ.
	Clock *crm.AccountError `json:"-"`
	// Timeline is when the calls of Usage were sent; zero if the provider does not say.
	Timeline crm.Timeline `json:"-"`
}

// Progress is how a run stands at one moment.
type Progress struct {
	Phase    string // PhaseLoading, PhaseChecking, PhaseRunning
	Counts   Counts
	Accounts []SummaryAccount
	// CallsMade is how many calls were made since the run began, CallsLeft how many it has
	// still to make beside those that are open, and TimeLeft how long these and the CRM's
	// own processing take as things stand: by the plan less what is finished, the limits
	// and the slots that are taken, and the pauses that are on. They are known from the
	// moment that the phase is PhaseRunning. What may still go wrong is not in them.
	CallsMade, CallsLeft int64
	TimeLeft             time.Duration
	// Stopping is zero, or when the run was asked to end: from then on nothing new is
	// begun, and what is open ends within DrainLimit.
	Stopping time.Time
}

// ProtectedError says that a row would touch a user that no row may touch.
type ProtectedError struct {
	Line    int
	Account string
	User    string
	Owner   bool // the user whose keys run the job
}

func (e *ProtectedError) Error() string {
	if e.Owner {
		return fmt.Sprintf("line %d would touch user %s, whose keys run the job on account %q", e.Line, e.User, e.Account)
	}
	return fmt.Sprintf("line %d would touch user %s, who is protected on account %q", e.Line, e.User, e.Account)
}
