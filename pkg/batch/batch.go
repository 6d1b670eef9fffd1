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
	Name string
	CRM  string // what the CRM is called: recorded in the ledger's binding
	Host string // normalised; the binding and the digest hold it
	// Rules check its rows, before it is connected. nil leaves that to Provider.
	Rules crm.Rules
	// Provider does its rows, and Meter counts the calls for that, nil counting none. They
	// may be left to Batch.Connect.
	Provider crm.Provider
	Meter    crm.Meter
	// Err, if not nil, says why the account can not be worked with. It refuses the sheets
	// that name it.
	Err     error
	Workers int // calls at once, > 0
	// Limit and Window are what the gate allows: for the plan's estimate only.
	Limit  int
	Window time.Duration
}

// Options are the settings of a batch. Accounts are needed; the zero value of
// everything else is usable.
type Options struct {
	Accounts []Account
	// Default names the account of rows that name none. If it is empty, Words.Route says;
	// if that is nil too, such rows are invalid.
	Default string
	// Protect holds users that no row may touch, as ids or e-mail addresses.
	Protect []string

	// Zone is where the days of the sheet begin. Without it, a date without a time of day
	// and an offset makes its row invalid.
	Zone *time.Location
	// Require names columns of the sheet that no row may leave empty. With "reviewer" among
	// them, nobody decides about themselves.
	Require []string

	SkipInvalid bool
	// AllowRoundedIDs takes ids that end in zeros as they do where a spreadsheet has
	// rounded them.
	AllowRoundedIDs bool
	RedoInDoubt     bool
	ConfirmOff      bool          // accepted rows are not asked about, except where order needs it
	ConfirmTimeout  time.Duration // per row, from its first look; 0 is 10 minutes
	Guard           Guard
	// Describe has the plan count people and records too, which takes a while for a
	// large sheet.
	Describe bool

	Record Record
	Words  Words
	// Now is the clock that says which rows are due; nil is time.Now.
	Now func() time.Time
	Log *slog.Logger // nil discards
}

// Record is what the ledger keeps of a batch beside its rows.
type Record struct {
	Sheet    string   // what the ledger calls the sheet
	SheetID  string   // what tells it apart from other sheets of the ledger
	Version  string   // of the program
	Operator string   // who runs it
	Args     []string // without secrets
}

// Words say what is known of the words that sheets have for objects, where there are
// several CRMs. Each function may be nil.
type Words struct {
	// Route names the account of a row without one by its object.
	Route func(object string) (account string)
	// Doubt says of an object by which Route chose the account why it may be a slip of
	// typing, in words that follow the quoted object; "" if it is none. The row is then
	// invalid, unless the doubt is not sure and another row, which names its account, has
	// the same object.
	Doubt func(object string) (reason string, sure bool)
	// Foreign tells an object that is a word of another CRM than the account's: the reason,
	// which follows the quoted word, why a row that does not fit is probably not meant for
	// this account, and a sentence about how the word was read where the row fits. Both are
	// "" for any other object.
	Foreign func(account, object string) (reason, note string)
}

// Batch is one sheet on its way. Its methods are called one after the other;
// Progress alone may be called at any time.
type Batch struct {
	led       *ledger.Ledger // begins an import or a review
	queue     queue
	reader    reader
	opts      Options
	accounts  map[string]*account
	order     []*account
	meters    map[crm.Meter]*account // the first of the accounts that each counts for
	importing importer
	source    ledger.Source
	// worksheet is what was read of a workbook; nil for any other sheet.
	worksheet *sheet.Worksheet
	counted   []ledger.Count // of the sheet as it was prepared
	unstated  int64          // revokes that named no access
	header    []string       // the columns of the sheet, as it names them
	required  required
	now       time.Time // when the rows were loaded, and which of them are due was decided
	keeps     bool      // some row asks for nothing
	rounded   roundedIDs
	objects   objects
	run       int64
	calls     atomic.Int64
	atOnce    int                     // see Bound
	working   atomic.Int64            // accounts at work
	stop      context.CancelCauseFunc // ends the run
	started   time.Time
	guard     *guard
	counters  counters
	log       *slog.Logger
}

// account is an Account at work.
type account struct {
	Account
	identity  crm.Identity
	protected []string // ids of the users from whom nothing may be taken
	rows      int64    // valid rows of the sheet that name it
	// needed says that somebody has to be asked something for a row: one that is due, or an
	// address that nobody has resolved. listed says that a row that is not due has an address.
	needed, listed bool
	clock          string // why dates do not count, "" where they do
	planned        backlog
	before         int64 // calls that its limit had seen when the run began
	todo           todo
	ended          atomic.Pointer[crm.AccountError]
	roster         *roster
}

// usage is what the account was asked so far. Of accounts that share a meter, the first
// one has the calls of all.
func (b *Batch) usage(a *account) crm.Usage {
	if a.Meter == nil {
		return crm.Usage{}
	}
	u := a.Meter.Usage()
	if b.meters[a.Meter] != a {
		u = crm.Usage{Limit: u.Limit, Window: u.Window, PausedUntil: u.PausedUntil, Why: u.Why}
	}
	return u
}

// shareMeters finds out which account of the sheet has the calls of each meter.
func (b *Batch) shareMeters() {
	for _, a := range b.order {
		if a.rows > 0 && a.Meter != nil && b.meters[a.Meter] == nil {
			b.meters[a.Meter] = a
		}
	}
}

// Used returns the names of the accounts that the loaded sheet makes calls to: those that
// have good rows, some of which are due or name their user by an address that is new.
func (b *Batch) Used() []string {
	var names []string
	for _, acc := range b.order {
		if acc.rows > 0 && acc.needed {
			names = append(names, acc.Name)
		}
	}
	return names
}

// workers is how many calls an account may have under way now: what is its part of all, and
// at least one. Where few accounts are at work, or at work still, that is all that it may
// have by itself.
func (b *Batch) workers(acc *account) int {
	if b.atOnce <= 0 {
		return acc.Workers
	}
	return min(acc.Workers, max(1, b.atOnce/int(max(1, b.working.Load()))))
}

// Bound bounds the calls that are under way at one time over all accounts, but for one of
// each; without it, each account has its own bound alone. It is called before Prepare or
// Verify.
func (b *Batch) Bound(calls int) { b.atOnce = calls }

// Connect gives an account its provider and its meter, which may be nil. It is called
// before Prepare or Verify, for all accounts that these work with.
func (b *Batch) Connect(name string, p crm.Provider, m crm.Meter) error {
	acc := b.accounts[name]
	if acc == nil {
		return fmt.Errorf("there is no account %q to connect", name)
	}
	acc.Provider, acc.Meter = p, m
	return nil
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
	b := &Batch{led: led, queue: led, reader: led, opts: opts, accounts: make(map[string]*account), meters: make(map[crm.Meter]*account), log: opts.Log, guard: newGuard(opts.Guard)}
	b.source.Name, b.source.Sheet = opts.Record.Sheet, opts.Record.SheetID
	for _, a := range opts.Accounts {
		if a.Rules == nil && a.Provider != nil {
			a.Rules = a.Provider
		}
		if a.Name == "" || a.Rules == nil && a.Err == nil || a.Workers < 1 {
			return nil, fmt.Errorf("account %q has no name, no rules or no workers", a.Name)
		}
		if b.accounts[a.Name] != nil {
			return nil, fmt.Errorf("account %q is given twice", a.Name)
		}
		acc := &account{Account: a, roster: newRoster()}
		b.accounts[a.Name] = acc
		b.order = append(b.order, acc)
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
func callPrefix(led reader) string {
	id := led.ID()
	return id[:min(8, len(id))]
}

// callID names a call: unique in the ledger, and short enough for a log line.
func (b *Batch) callID() string {
	name := append(make([]byte, 0, 40), callPrefix(b.reader)...)
	name = strconv.AppendInt(append(name, '-'), b.run, 10)
	return string(strconv.AppendInt(append(name, '-'), b.calls.Add(1), 10))
}
