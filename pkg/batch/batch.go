// Package batch is the engine: it loads a sheet into the ledger, decides with
// package plan what is still to be done, does it through the accounts' providers,
// confirms it, and knows when to stop. It sees crm.Provider and never a CRM.
//
// A batch goes through its steps in this order, and cmd puts its locks and
// questions in between:
//
//	b := batch.New(ledger, options)
//	b.Load(ctx, reader)      reads and checks every row; nothing is sent, nothing durable changes
//	plan := b.Prepare(ctx)   asks the CRMs who is who; says what would be done
//	b.Adopt(ctx)             makes the sheet the ledger's
//	summary := b.Run(ctx)    does it
//
// Starting and resuming are the same steps. Memory does not grow with the sheet:
// rows stream through the ledger.
package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Account is one account of one CRM, as the configuration names it.
type Account struct {
	Name     string
	CRM      string // "leadsquared", "zoho": recorded in the ledger's binding
	Host     string // normalised; the binding and the digest hold it
	Provider crm.Provider
	Workers  int // calls at once, > 0
	// SameAs, if not empty, names the account that works with the same keys in the same
	// place. Rows of this one are checked by it and go to that one, so that rows about
	// one record keep their order whatever name they give.
	SameAs string
	// Foreign, if not nil, tells an object that is a word of another CRM: the reason, which
	// follows the quoted word, why a row that does not fit is probably not meant for this
	// account, and a sentence about how the word was read where the row fits. Both are ""
	// for any other object.
	Foreign func(object string) (reason, note string)
	// Limit and Window are what the gate allows: for the plan's estimate only.
	Limit  int
	Window time.Duration
	// Gate names what holds the account to its limit: accounts of one name share it, and
	// "" is a limit of its own.
	Gate string
}

// Options are the settings of a batch. Accounts are needed; the zero value of
// everything else is usable.
type Options struct {
	Accounts []Account
	// Default names the account of rows that name none. If it is empty, Route says;
	// if that is nil too, such rows are invalid.
	Default string
	// Route, if not nil, names the account of a row without one by its object.
	Route func(object string) string
	// Doubt, if not nil, says of an object by which Route chose the account why it may be
	// a slip of typing, in words that follow the quoted object; "" if it is none. The row
	// is then invalid, unless the doubt is not sure and another row, which names its
	// account, has the same object.
	Doubt func(object string) (reason string, sure bool)
	// Protect holds users that no row may touch, as ids or e-mail addresses.
	Protect []string

	// Saw, if not nil, is told of every good row, in their order, when the whole sheet has
	// been loaded and is not refused.
	Saw func(Row)
	// Now is the clock that says which dates of the sheet lie ahead, in its time zone; nil
	// is time.Now.
	Now func() time.Time
	// Describe has the plan count people and records too, which takes a while for a
	// large sheet.
	Describe    bool
	SkipInvalid bool
	// AllowRoundedIDs takes ids that end in zeros as they do where a spreadsheet has
	// rounded them.
	AllowRoundedIDs bool
	RedoInDoubt     bool
	ConfirmOff      bool          // accepted rows are not asked about, except where order needs it
	ConfirmTimeout  time.Duration // per row, from its first look; 0 is 10 minutes
	Guard           Guard

	Sheet    string   // what the ledger calls the sheet
	SheetID  string   // what tells it apart from other sheets of the ledger
	Version  string   // of the program, for the run's record
	Operator string   // who runs it, for the run's record
	Args     []string // without secrets, for the run's record
	Log      *slog.Logger
}

// Batch is one sheet on its way. Its methods are called one after the other;
// Progress alone may be called at any time.
type Batch struct {
	led      *ledger.Ledger
	opts     Options
	accounts map[string]*account
	order    []*account
	stage    *ledger.Stage
	source   ledger.Source
	// worksheet is what was read of a workbook; nil for any other sheet.
	worksheet *sheet.Worksheet
	tallies   []ledger.Tally // of the sheet as it was prepared
	unstated  int64          // revokes that named no access
	header    []string       // the columns of the sheet, as it names them
	rounded   roundedIDs
	objects   objects
	run       int64
	calls     atomic.Int64
	stop      context.CancelCauseFunc // ends the run
	started   time.Time
	guard     *guard
	counters  counters
	log       *slog.Logger
}

// account is an Account at work.
type account struct {
	Account
	same     *account // whose rows its own go to; nil for itself
	identity crm.Identity
	rows     int64 // valid rows of the sheet that name it
	planned  backlog
	before   int64 // calls that its limit had seen when the run began
	todo     todo
	ended    atomic.Pointer[crm.AccountError]
	roster   *roster
}

// home is the account that the rows of this one go to.
func (a *account) home() *account {
	if a.same != nil {
		return a.same
	}
	return a
}

// end returns what has ended the account for this run, or nil.
func (a *account) end() *crm.AccountError { return a.ended.Load() }

// setEnd ends the account and reports whether it had not ended before.
func (a *account) setEnd(e *crm.AccountError) bool { return a.ended.CompareAndSwap(nil, e) }

// New checks the options and returns a batch on the ledger. The caller keeps the
// ledger open until the batch is through, and closes it.
func New(led *ledger.Ledger, opts Options) (*Batch, error) {
	if len(opts.Accounts) == 0 {
		return nil, errors.New("no account is configured")
	}
	if opts.ConfirmTimeout <= 0 {
		opts.ConfirmTimeout = 10 * time.Minute
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	b := &Batch{led: led, opts: opts, accounts: make(map[string]*account), log: opts.Log, guard: newGuard(opts.Guard)}
	b.source.Name, b.source.Sheet = opts.Sheet, opts.SheetID
	for _, a := range opts.Accounts {
		if a.Name == "" || a.Provider == nil || a.Workers < 1 {
			return nil, fmt.Errorf("account %q has no name, no provider or no workers", a.Name)
		}
		if b.accounts[a.Name] != nil {
			return nil, fmt.Errorf("account %q is given twice", a.Name)
		}
		acc := &account{Account: a, roster: newRoster()}
		b.accounts[a.Name] = acc
		b.order = append(b.order, acc)
	}
	for _, acc := range b.order {
		if acc.SameAs == "" {
			continue
		}
		if acc.same = b.accounts[acc.SameAs]; acc.same == nil || acc.same.SameAs != "" {
			return nil, fmt.Errorf("account %q can not be the same as %q", acc.Name, acc.SameAs)
		}
	}
	if opts.Default != "" && b.accounts[opts.Default] == nil {
		return nil, fmt.Errorf("the default account %q is not configured", opts.Default)
	}
	return b, nil
}

// IsCallOf reports whether a call's name is one that the ledger's batches give.
func IsCallOf(led *ledger.Ledger, call string) bool {
	return strings.HasPrefix(call, callPrefix(led)+"-")
}

// UndoMark is what an undo sheet says of the ledger that it came from. It is a name
// that IsCallOf knows.
func UndoMark(led *ledger.Ledger) string { return callPrefix(led) + "-undo" }

// callPrefix is what the names of a ledger's calls begin with.
func callPrefix(led *ledger.Ledger) string {
	id := led.ID()
	return id[:min(8, len(id))]
}

// callID names a call: unique in the ledger, and short enough for a log line.
func (b *Batch) callID() string {
	name := append(make([]byte, 0, 40), callPrefix(b.led)...)
	name = strconv.AppendInt(append(name, '-'), b.run, 10)
	return string(strconv.AppendInt(append(name, '-'), b.calls.Add(1), 10))
}
