package find

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Options are what is asked, of whom, about whom.
type Options struct {
	Accounts []Account
	// Only is the account of people and files that name none; "" is every account that
	// knows the person, and for files the only one that can look at records.
	Only    string
	People  *People // nil is everybody
	Records []*RecordsFile
	// Modules are those whose records are all looked at; AllModules is all there are.
	Modules    []string
	AllModules bool
	Ledgers    []string // paths
	// Protect are ids and addresses of people whom no row may touch.
	Protect []string
	// Review has Rows give all that was seen, not only what a row can take away.
	Review bool
	Now    func() time.Time
	Log    *slog.Logger
}

// Account is an account that is asked.
type Account struct {
	Name, CRM, Host string
	Rules           crm.Rules
	Finder          crm.Finder
	Meter           crm.Meter
	Workers         int // requests at one time
	// Words are objects that are read without regard to case, and PlainID gives a user's id
	// its one spelling; both may be nil.
	Words   []string
	PlainID func(string) string
}

// Record returns the record that a module and an id name in a file, as it is spelled, or what
// is wrong with them.
func (a *Account) Record(object, id string) (crm.RecordID, error) {
	for _, word := range a.Words {
		if strings.EqualFold(word, object) {
			object = word
		}
	}
	op, err := a.Rules.Check(crm.Operation{Action: crm.Revoke, Object: object, Record: id, User: "anybody@example.com"})
	return crm.RecordID{Object: op.Object, Record: op.Record}, err
}

// Find is one question on its way. The order is Learn, Plan, Run, and then Rows and
// Coverage, also where Run has ended early.
type Find struct {
	opts     Options
	accounts []*account // by name
	work     *Work
	started  time.Time
	looked   atomic.Int64 // records and people in this process
	calls    atomic.Int64 // as planned, those that were made before too
	total    atomic.Int64 // records and people that looked will come to
}

// account is an account at work.
type account struct {
	Account
	world
	find     *Find
	work     *Work
	identity crm.Identity
	sight    crm.Sight
	ended    *crm.AccountError // it can do no more
	users    directory
	modules  []crm.Module
	told     []string // what else is to be said in the coverage
	ledgers  givenList
	parts    []*part
	planned  int64 // calls that are still to be made, when Run begins
}

// New returns a find that has asked nothing yet.
func New(o Options) *Find {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Find{opts: o, started: o.Now()}
	for _, acc := range o.Accounts {
		acc.Workers = max(1, acc.Workers)
		a := &account{Account: acc, find: f, sight: acc.Finder.Sees(), world: world{account: acc.Name, subjects: make(map[string]*subject)}}
		f.accounts = append(f.accounts, a)
	}
	slices.SortFunc(f.accounts, func(a, b *account) int { return cmp.Compare(a.Name, b.Name) })
	return f
}

// sideBySide does something for all accounts. The error is that of the first.
func (f *Find) sideBySide(do func(*account) error) error {
	errs := make([]error, len(f.accounts))
	var group sync.WaitGroup
	for i, a := range f.accounts {
		group.Go(func() { errs[i] = do(a) })
	}
	group.Wait()
	return cmp.Or(errs...)
}

// Learn finds out whose keys the accounts have and who the people are there, and what there
// is to look at. It makes a few calls, and refuses what can not be done.
func (f *Find) Learn(ctx context.Context) error {
	if err := f.sideBySide(func(a *account) (err error) {
		a.identity, err = a.Finder.Identify(ctx)
		if ended, over := errors.AsType[*crm.AccountError](err); over {
			a.ended, err = ended, nil
		} else if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("account %q: %w", a.Name, err)
		}
		return err
	}); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	if err := f.listUsers(ctx, crm.Current, func(*account) bool { return true }); err != nil {
		return err
	}
	if err := f.resolve(ctx); err != nil {
		return err
	}
	if err := f.listModules(ctx); err != nil {
		return err
	}
	for _, a := range f.accounts {
		a.wanted, a.roles = make(map[string]bool), make(map[string][]*subject)
		for id, who := range a.subjects {
			a.wanted[id] = true
			if who.successor != "" {
				a.wanted[foldID(who.successor)] = true
			}
			if who.user.Role != "" {
				a.roles[who.user.Role] = append(a.roles[who.user.Role], who)
			}
		}
	}
	if err := f.readLedgers(ctx); err != nil {
		return err
	}
	for _, a := range f.accounts {
		a.divide()
	}
	if !slices.ContainsFunc(f.accounts, func(a *account) bool { return len(a.parts) > 0 || a.ended != nil || len(a.subjects) == 0 }) {
		return &Error{
			Reason: "there is nothing to look at: the CRM does not list what people have",
			Hint:   "Name files with record ids (--records), or modules (--modules Leads,Deals or --modules all).",
		}
	}
	return nil
}

// listModules finds the modules whose records are to be looked at.
func (f *Find) listModules(ctx context.Context) error {
	if !f.opts.AllModules && len(f.opts.Modules) == 0 {
		return nil
	}
	lists, met := false, make(map[string]bool)
	var names []string
	unsure := false
	err := f.sideBySide(func(a *account) error {
		if !a.sight.Lists || a.ended != nil {
			return nil
		}
		all, err := a.Finder.Modules(ctx)
		ended, over := errors.AsType[*crm.AccountError](err)
		unseen, refused := errors.AsType[*crm.Unseen](err)
		switch {
		case over:
			a.ended = ended
		case refused:
			a.parts = append(a.parts, &part{kind: partModules, scope: "which modules there are", refused: unseen.Error()})
		case err != nil:
			return err
		}
		a.modules = all
		return nil
	})
	if err != nil {
		return err
	}
	for _, a := range f.accounts {
		lists = lists || a.sight.Lists
		unsure = unsure || a.sight.Lists && (a.ended != nil || len(a.parts) > 0)
		a.modules = slices.DeleteFunc(slices.Clone(a.modules), func(m crm.Module) bool {
			names = append(names, m.Name)
			asked := slices.IndexFunc(f.opts.Modules, func(name string) bool { return strings.EqualFold(name, m.Name) })
			if asked >= 0 {
				met[f.opts.Modules[asked]] = true
			}
			return asked < 0 && !f.opts.AllModules
		})
	}
	if !lists {
		return &Error{Reason: "--modules: no account lists records by module", Hint: "Leave --modules out."}
	}
	for _, name := range f.opts.Modules {
		if !met[name] && !unsure {
			slices.Sort(names)
			return &Error{Reason: fmt.Sprintf("--modules: there is no module %s; there are %s", crm.Quote(name), strings.Join(slices.Compact(names), ", "))}
		}
	}
	return nil
}

// divide parts what the account is asked about.
func (a *account) divide() {
	if a.ended != nil {
		return
	}
	if len(a.subjects) == 0 {
		a.told = append(a.told, "nothing was looked at, as it has nobody to ask about")
		return
	}
	o := a.find.opts
	// What was seen counts for the same people only.
	who := sha256.New()
	for _, id := range a.members() {
		s := a.subjects[foldID(id)]
		if s == nil {
			s = &subject{}
		}
		fmt.Fprintf(who, "%s\x00%s\x00%s\n", id, s.successor, s.user.Role)
	}
	prefix := fmt.Sprintf("%s %s/%s %s ", a.Name, a.Host, a.identity.Org, hex.EncodeToString(who.Sum(nil)[:8]))
	var looks []*part
	for _, file := range o.Records {
		if a.sight.Records && (o.Only == "" || strings.EqualFold(o.Only, a.Name)) {
			looks = append(looks, &part{kind: partRecords, scope: file.scope(), key: prefix + "records " + file.sha256 + file.scope(), file: file})
		}
	}
	for _, m := range a.modules {
		p := &part{kind: partModule, scope: m.Name, key: prefix + "module " + m.Name, object: m.Name}
		switch {
		case m.Public:
			p.skip, p.public, p.fine = "everybody sees every record of it, so that no share matters", true, true
		case m.Skip != "":
			p.skip, p.fine = m.Skip, o.AllModules // nobody has named it
		}
		looks = append(looks, p)
	}
	if a.sight.Groups && (a.sight.GroupObject != "" || len(looks) > 0) {
		a.parts = append(a.parts, &part{kind: partGroups, scope: people(len(a.members())), key: prefix + "groups"})
	}
	if a.ledgers.files > 0 {
		a.parts = append(a.parts, &part{kind: partLedgers, scope: count(a.ledgers.files, "ledger")})
	}
	a.parts = append(a.parts, looks...)
	if !a.sight.Records && a.sight.GroupObject == "" {
		a.told = append(a.told, "nothing, as the CRM shows nothing of who has what")
	} else if a.sight.Records && len(looks) == 0 {
		a.told = append(a.told, "records: none was in scope; name files with --records, or modules with --modules")
	}
}

// Digest is that of the question: what was seen for another one does not count for this.
func (f *Find) Digest(ctx context.Context) (string, error) {
	sum := sha256.New()
	say := func(parts ...any) error { return json.NewEncoder(sum).Encode(parts) }
	errs := []error{say("find", workVersion, f.opts.Only, f.opts.Modules, f.opts.AllModules, f.opts.Protect)}
	if f.opts.People != nil {
		errs = append(errs, say("people", f.opts.People.SHA256, f.opts.People.All))
	}
	for _, r := range f.opts.Records {
		errs = append(errs, say("records", r.sha256, r.object, r.sheet.Sheet, r.sheet.HiddenRows))
	}
	for _, path := range f.opts.Ledgers {
		head := "unread"
		if led, err := ledger.Open(path, ledger.Options{ReadOnly: true}); err == nil {
			_, head, err = led.Head(ctx)
			errs = append(errs, err, led.Close())
		}
		errs = append(errs, say("ledger", path, head))
	}
	return hex.EncodeToString(sum.Sum(nil)), errors.Join(errs...)
}

// Plan is what a find would still do.
type Plan struct {
	Accounts []PlanAccount
	People   int
	Made     int64 // calls so far
	Calls    int64 // still to be made
	Time     time.Duration
	// Guess says that how many groups people are in is one.
	Guess bool
}

// PlanAccount is what is to be asked of one account.
type PlanAccount struct {
	Account, Host string
	People        int
	Records       int64 // that are still to be looked at
	Calls         int64
	Credits       int64 // of the CRM's, that these calls take; 0 where it counts none
	Time          time.Duration
	Parts         []string // in words
	Ended         *crm.AccountError
}

// All is how many calls the find makes in all.
func (p *Plan) All() int64 { return p.Made + p.Calls }

// Plan counts the records, takes up what the work file holds, and says what is left to do.
func (f *Find) Plan(ctx context.Context, work *Work) (*Plan, error) {
	f.work = work
	if err := f.sideBySide(func(a *account) error { return a.take(ctx, work) }); err != nil {
		return nil, err
	}
	plan := &Plan{}
	people, total := make(map[*Person]bool), int64(0)
	for _, a := range f.accounts {
		acc := PlanAccount{Account: a.Name, Host: a.Host, People: len(a.subjects), Ended: a.ended}
		for _, who := range a.subjects {
			people[who.person] = true
		}
		for _, p := range a.parts {
			if a.ended != nil {
				break
			}
			calls, pages, records, words := a.cost(p)
			acc.Calls, acc.Records = acc.Calls+calls, acc.Records+records
			if a.sight.ListCredits > 0 {
				acc.Credits += calls + pages*int64(a.sight.ListCredits-1)
			}
			if total += records; p.kind == partGroups {
				total += int64(len(a.members())) - p.n
			}
			acc.Parts = append(acc.Parts, words)
			plan.Guess = plan.Guess || p.kind == partGroups && a.sight.GroupCalls > 0 && !p.ended
		}
		a.planned = acc.Calls
		if a.Meter != nil {
			if acc.Calls > 0 {
				acc.Time = a.Meter.Forecast(int(acc.Calls), a.Workers)
			}
		}
		plan.Calls += acc.Calls
		plan.Time = max(plan.Time, acc.Time)
		plan.Accounts = append(plan.Accounts, acc)
	}
	plan.People, plan.Made = len(people), f.Calls()
	f.total.Store(total)
	f.calls.Store(plan.All())
	return plan, nil
}

// take gives the parts their places in the work file, and counts modules that nobody has
// counted.
func (a *account) take(ctx context.Context, work *Work) error {
	a.work = work
	for _, p := range a.parts {
		if p.key == "" {
			p.progress = &progress{count: -1}
			continue
		}
		p.progress = work.at(p.key)
		if p.kind == partGroups && p.ended {
			a.meet(p)
		}
		for _, id := range p.checked {
			a.ledgers.looked[id] = true
		}
		if p.kind != partModule || p.skip != "" && !p.public || p.count >= 0 || a.ended != nil {
			continue
		}
		n, err := a.Finder.Count(ctx, p.object)
		ended, over := errors.AsType[*crm.AccountError](err)
		unseen, refused := errors.AsType[*crm.Unseen](err)
		switch {
		case over:
			a.ended = ended
			return nil
		case refused && !p.public:
			p.refused = unseen.Error()
		case refused:
			// How many it has does not matter.
		case err != nil:
			return err
		default:
			if err := work.add(workLine{Part: p.key, Count: &n}); err != nil {
				return err
			}
		}
	}
	return nil
}

// cost returns the calls and records that a part still takes, how many of the calls list ids,
// and the part in words.
func (a *account) cost(p *part) (calls, pages, records int64, words string) {
	looks, ids := int64(max(1, a.sight.Looks)), int64(max(1, a.sight.IDs))
	switch {
	case p.kind == partLedgers:
		return 0, 0, 0, count(a.ledgers.files, "earlier ledger")
	case p.refused != "":
		return 0, 0, 0, fmt.Sprintf("%s: refused (%s)", p.scope, p.refused)
	case p.skip != "":
		return 0, 0, 0, fmt.Sprintf("%s: left alone: %s", p.scope, p.skip)
	case p.kind == partGroups:
		left := int64(len(a.members())) - p.n
		return left * int64(1+a.sight.GroupCalls), 0, 0, "groups of " + people(len(a.members()))
	case p.kind == partRecords:
		records = p.file.ids - p.n
		return (records + looks - 1) / looks, 0, records, fmt.Sprintf("%d records: %s", p.file.ids, p.scope)
	}
	if words = fmt.Sprintf("%s: %d records", p.scope, p.count); p.ended {
		return 0, 0, 0, words
	}
	records = max(0, p.count-p.n)
	pages = records/ids + 2
	calls = pages + (records+looks-1)/looks
	if p.owned == nil {
		calls++
	}
	return calls, pages, records, words
}

// Run looks at all that is left. Errors are those that end everything, such as a disk that
// is full; what ends an account, or can not be seen, is in the coverage.
func (f *Find) Run(ctx context.Context) error {
	err := f.sideBySide(func(a *account) error {
		if a.ended != nil {
			return nil
		}
		err := a.run(ctx)
		for _, p := range a.parts {
			for _, id := range p.checked {
				a.ledgers.looked[id] = true
			}
		}
		return err
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Ended returns what ended an account early, nil if nothing did.
func (f *Find) Ended() *crm.AccountError {
	for _, a := range f.accounts {
		if a.ended != nil {
			return a.ended
		}
	}
	return nil
}

// State is how a find stands, for whoever watches it.
type State struct {
	Looked, Records      int64 // records and people, in this process
	CallsMade, CallsLeft int64
	Accounts             []StateAccount
}

// StateAccount is how an account stands.
type StateAccount struct {
	Name  string
	Usage crm.Usage
	Left  time.Duration
}

// State says how the find stands. It may be called while Run is at work.
func (f *Find) State() State {
	s := State{Looked: f.looked.Load(), Records: f.total.Load()}
	for _, a := range f.accounts {
		if a.Meter == nil {
			continue
		}
		s.Accounts = append(s.Accounts, StateAccount{Name: a.Name, Usage: a.Meter.Usage()})
	}
	s.CallsMade = f.Calls()
	s.CallsLeft = max(0, f.calls.Load()-s.CallsMade)
	for i, a := range f.accounts {
		if i < len(s.Accounts) && s.CallsLeft > 0 && a.planned > 0 {
			s.Accounts[i].Left = a.Meter.Forecast(int(min(a.planned, s.CallsLeft)), a.Workers)
		}
	}
	return s
}

// Calls is how many calls this process has made through the accounts' meters, to tell whose
// keys they are too. Accounts of one organisation have one meter.
func (f *Find) Calls() (n int64) {
	met := make(map[crm.Meter]bool)
	for _, a := range f.accounts {
		if a.Meter != nil && !met[a.Meter] {
			met[a.Meter] = true
			n += a.calls()
		}
	}
	return n
}

func (a *account) calls() int64 {
	if a.Meter == nil {
		return 0
	}
	return a.Meter.Usage().Calls
}

func people(n int) string {
	if n == 1 {
		return "1 person"
	}
	return fmt.Sprintf("%d people", n)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// NoneLeft returns what ended an account where no account can be worked with; nil where
// one can.
func (f *Find) NoneLeft() *crm.AccountError {
	for _, a := range f.accounts {
		if a.ended == nil {
			return nil
		}
	}
	return f.Ended()
}
