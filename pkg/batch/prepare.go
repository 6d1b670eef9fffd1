package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/plan"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Prepare asks the accounts who works with them and who has which address, finds
// out what is done already, and says what a run would do. It sends no change and
// makes nothing durable. The caller holds the accounts' locks.
//
// The error is an *InvalidError (unknown people), a *ProtectedError, a
// *TwoAccountsError or a *ledger.BindingError where the sheet is refused. An account
// that can not be worked with is no error: its PlanAccount says so, and its rows will
// not be attempted.
func (b *Batch) Prepare(ctx context.Context) (*Plan, error) {
	b.shareMeters()
	b.counters.phase.Store(PhaseChecking)
	if err := b.identify(ctx); err != nil {
		return nil, err
	}
	dirs := newDirectories(b)
	if err := dirs.resolve(ctx); err != nil {
		return nil, err
	}
	if err := dirs.rejectSelfReview(ctx); err != nil {
		return nil, err
	}
	if err := b.protect(ctx, dirs); err != nil {
		return nil, err
	}
	if b.keeps {
		if _, err := b.importing.Reject(ctx, ledger.Where{KeptAndChanged: true}, ledger.Rejection{
			Code: crm.CodeKeptAndChanged, Problem: "action: one row keeps what another row of this sheet changes; only one of them can be meant",
		}); err != nil {
			return nil, err
		}
	}
	if err := b.refuseInvalid(ctx); err != nil {
		return nil, err
	}
	m, err := b.match(ctx)
	if err != nil {
		return nil, err
	}
	wrong, err := b.checkClocks(ctx, &m.dates)
	if err != nil {
		return nil, err
	}
	if wrong {
		if m, err = b.match(ctx); err != nil {
			return nil, err
		}
	}
	moved, err := dirs.recheck(ctx)
	if err != nil {
		return nil, err
	}
	if moved {
		if err := b.refuseInvalid(ctx); err != nil {
			return nil, err
		}
		if m, err = b.match(ctx); err != nil {
			return nil, err
		}
	}
	return b.plan(ctx, m)
}

// mostAsked is how many accounts are asked something at one time where nothing bounds
// that otherwise: their answers are waited for together.
const mostAsked = 256

// sideBySide does something for every account that has rows and has not ended, for many
// of them at a time. The error is that of the first of them that has one, in the order of
// the accounts, whoever comes to it first. After an error no more are begun.
func (b *Batch) sideBySide(do func(acc *account) error) error {
	errs := make([]error, len(b.order))
	var failed atomic.Bool
	var group errgroup.Group
	group.SetLimit(mostAsked)
	for i, acc := range b.order {
		if acc.rows == 0 || !acc.needed || acc.end() != nil {
			continue
		}
		if failed.Load() {
			break
		}
		group.Go(func() error {
			errs[i] = do(acc)
			if errs[i] != nil {
				failed.Store(true)
			}
			return nil
		})
	}
	_ = group.Wait()
	return cmp.Or(errs...)
}

// identify finds out whose keys the accounts work with, and that they are those of the
// ledger.
func (b *Batch) identify(ctx context.Context) error {
	recorded, err := b.reader.Bindings(ctx)
	if err != nil {
		return err
	}
	bound := make(map[string]ledger.Binding, len(recorded))
	for _, r := range recorded {
		bound[r.Account] = r
	}
	for _, acc := range b.order {
		// Whose keys they are is not asked of these; where they work can be seen all the same.
		was, ok := bound[acc.Name]
		if now := (ledger.Binding{Account: acc.Name, CRM: acc.CRM, Host: acc.Host, Org: was.Org}); ok && acc.rows > 0 && !acc.needed && was != now {
			return &ledger.BindingError{Recorded: was, Now: now}
		}
	}
	return b.sideBySide(func(acc *account) error {
		if acc.Provider == nil {
			return fmt.Errorf("account %q is not connected", acc.Name)
		}
		id, err := acc.Provider.Identify(ctx)
		if err != nil {
			return b.endOrFail(ctx, acc, err)
		}
		acc.identity = id
		if was, ok := bound[acc.Name]; ok && was != b.binding(acc) {
			return &ledger.BindingError{Recorded: was, Now: b.binding(acc)}
		}
		return nil
	})
}

// endOrFail ends the account if that is what the error says, and passes on
// anything else.
func (b *Batch) endOrFail(ctx context.Context, acc *account, err error) error {
	if ended, ok := errors.AsType[*crm.AccountError](err); ok {
		acc.setEnd(ended)
		b.log.Warn("account ended", "account", acc.Name, "code", ended.Code, "error", ended.Err)
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("account %q: %w", acc.Name, err)
}

func (b *Batch) binding(acc *account) ledger.Binding {
	return ledger.Binding{Account: acc.Name, CRM: acc.CRM, Host: acc.Host, Org: acc.identity.Org}
}

// protect refuses the sheet if a row touches somebody whom no row may touch. A
// revoke_all, which names nobody, can not be refused by its row: the calls say whom it
// may not touch.
func (b *Batch) protect(ctx context.Context, dirs *directories) error {
	if slices.ContainsFunc(b.opts.Protect, isAddress) {
		if err := dirs.listAll(ctx, func(*account) bool { return true }); err != nil {
			return err
		}
	}
	var all []ledger.AccountUser
	for _, acc := range b.order {
		if acc.rows == 0 {
			continue
		}
		ids, err := dirs.protected(ctx, acc)
		if err != nil {
			return err
		}
		for _, id := range ids {
			all = append(all, ledger.AccountUser{Account: acc.Name, User: id})
		}
		acc.protected = ids
	}
	u, line, touched, err := b.importing.Touching(ctx, all)
	if err != nil {
		return err
	}
	if touched {
		return &ProtectedError{Line: line, Account: u.Account, User: u.User, Owner: u.User == b.accounts[u.Account].identity.User}
	}
	dirs.warnOfStrangers()
	return nil
}

// matched is what a go through all rows of the sheet finds out beside the ledger's
// decisions.
type matched struct {
	pairs  int64  // targets with both a revoke and a share still to be sent
	taken  int64  // revokes to be sent of what another sheet gave back
	given  int64  // shares to be sent of what another sheet took away
	digest string // of every row, in order, done or not
	dates  dates
}

// match decides for every target what is done already and what goes together.
func (b *Batch) match(ctx context.Context) (m matched, err error) {
	digest, records := plan.NewDigest(), newSharedRecords(b)
	m.dates = dates{zone: b.zone(), sending: make(map[string]bool)}
	for row, err := range b.importing.Rows(ctx) {
		if err != nil {
			return m, err
		}
		if row.Code != "" {
			digest.AddInvalid(row.Account, row.Code)
			continue
		}
		op := row.Op
		if op.Action == crm.Keep && row.Email != "" {
			op.User = row.Email // whose it is is not found out every night
		}
		digest.Add(row.Account, b.accounts[row.Account].Host, op, row.Due)
		if twice := records.see(row); twice != nil {
			return m, twice
		}
	}
	m.digest = digest.Sum()
	about := func(e ledger.Entry) (string, *crm.Operation) { return e.Account, e.Op }
	err = b.importing.Match(ctx, func(entries iter.Seq2[ledger.Entry, error], choose func(past, rows []ledger.Entry, recordLevel bool, choices []ledger.Choice) error) error {
		for target, err := range plan.Targets(entries, about) {
			if err != nil {
				return err
			}
			past, rows := split(target)
			if len(rows) == 0 || len(rows) == 1 && len(past) == 0 && !target.RecordLevel && rows[0].Due == 0 && rows[0].Op.Action != crm.Keep {
				continue
			}
			if err := choose(past, rows, target.RecordLevel, b.choose(past, rows, &m)); err != nil {
				return err
			}
		}
		return nil
	})
	return m, err
}

// split parts what happened to a target from the rows about it, each in its order.
func split(t plan.Target[ledger.Entry]) (past, rows []ledger.Entry) {
	for _, e := range t.Entries {
		if e.Ord == 0 {
			past = append(past, e)
		} else {
			rows = append(rows, e)
		}
	}
	if t.RecordLevel { // they came user by user
		slices.SortFunc(past, func(a, b ledger.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
		slices.SortFunc(rows, func(a, b ledger.Entry) int { return cmp.Compare(a.Ord, b.Ord) })
	}
	return past, rows
}

// choose says what becomes of the rows of a target. Those that ask for nothing are kept
// apart from what happens to the others, which may share a record with them.
func (b *Batch) choose(past, rows []ledger.Entry, m *matched) []ledger.Choice {
	if !b.keeps {
		return b.chooseChanges(past, rows, m)
	}
	choices := make([]ledger.Choice, len(rows))
	var places []int // of the changes
	var changes []ledger.Entry
	for i, r := range rows {
		if r.Op.Action == crm.Keep {
			choices[i] = ledger.Choice{Take: -1, Head: i, Hold: kept()}
			continue
		}
		places, changes = append(places, i), append(changes, r)
	}
	for i, c := range b.chooseChanges(past, changes, m) {
		c.Head = places[c.Head]
		choices[places[i]] = c
	}
	return choices
}

// chooseChanges applies the rule of package plan to a target and says when in the run
// each row has its turn. It counts what the plan tells of pairs, and of rows that do
// again what another sheet has undone.
func (b *Batch) chooseChanges(past, rows []ledger.Entry, m *matched) []ledger.Choice {
	if len(rows) == 0 {
		return nil
	}
	var equal plan.Ops
	history, ops := make([]plan.Past, len(past)), make([]plan.Op, len(rows))
	for i, p := range past {
		history[i] = plan.Past{Op: equal.Of(p.Op), Standing: b.standing(p)}
	}
	for i, r := range rows {
		ops[i] = equal.Of(r.Op)
	}
	choices := make([]ledger.Choice, len(rows))
	late := false
	decided := plan.Decide(history, ops)
	for i, c := range decided {
		choices[i] = ledger.Choice{Take: c.Take, Head: c.Join, Turn: ledger.TurnNormal}
		if c.Take >= 0 {
			choices[i].Turn, choices[i].Prior = b.turn(past[c.Take], c.Moved)
		}
		if choices[i].Prior == crm.PriorHappened && decided[len(decided)-1].Join != c.Join {
			choices[i].Prior = crm.PriorSuperseded
		}
		late = late || choices[i].Turn == ledger.TurnLate
		if late && choices[i].Turn == ledger.TurnNormal {
			choices[i].Turn = ledger.TurnLate
		}
	}
	b.hold(b.accounts[rows[0].Account], past, rows, choices, &m.dates)
	if b.opts.ConfirmOff {
		b.askBeforeSending(past, rows, choices)
	}
	if pair(rows, choices) {
		m.pairs++
	}
	for i, again := range plan.Again(history, ops, decided) {
		switch turn := choices[i].Turn; {
		case !again || turn != ledger.TurnNormal && turn != ledger.TurnLate:
		case rows[i].Op.Action == crm.Share:
			m.given++
		default:
			m.taken++
		}
	}
	return choices
}

func (b *Batch) standing(p ledger.Entry) plan.Standing {
	switch p.Status {
	case crm.Done, crm.Unchanged:
		if p.Happened {
			return plan.Cleared
		}
		return plan.Finished
	case crm.Accepted:
		if b.opts.ConfirmOff {
			return plan.Finished
		}
		return plan.Accepted
	case crm.Sent, crm.Uncertain:
		return plan.Uncertain
	}
	if p.Happened {
		return plan.Happened
	}
	if p.Uncertain {
		return plan.Uncertain
	}
	return plan.Refused
}

// turn says what there is to do for a row that takes up an earlier operation.
func (b *Batch) turn(p ledger.Entry, moved bool) (ledger.Turn, crm.Prior) {
	switch p.Status {
	case crm.Accepted:
		if b.opts.ConfirmOff {
			return ledger.TurnNone, crm.PriorNone
		}
		if !moved {
			return ledger.TurnAsk, crm.PriorAccepted
		}
		return ledger.TurnNormal, b.again(crm.PriorUncertain)
	case crm.Sent:
		return ledger.TurnNormal, b.again(crm.PriorUnanswered)
	case crm.Uncertain:
		if b.opts.RedoInDoubt {
			return ledger.TurnNormal, crm.PriorRedo
		}
		return ledger.TurnNone, crm.PriorUnanswered
	case crm.Failed:
		switch {
		case p.Happened:
			return ledger.TurnAsk, crm.PriorHappened
		case p.Uncertain && (p.Accepted || p.Prior == crm.PriorAccepted || p.Prior == crm.PriorUncertain):
			return ledger.TurnLate, b.again(crm.PriorUncertain)
		case p.Uncertain:
			return ledger.TurnLate, b.again(crm.PriorUnanswered)
		}
		return ledger.TurnLate, crm.PriorNone
	case crm.Pending:
		return ledger.TurnNormal, crm.PriorNone
	}
	return ledger.TurnNone, crm.PriorNone
}

// again is how an operation is taken up that may have taken effect, with what is known
// of it otherwise.
func (b *Batch) again(prior crm.Prior) crm.Prior {
	if b.opts.RedoInDoubt {
		return crm.PriorRedo
	}
	return prior
}

// askBeforeSending has accepted operations asked about after all where rows of the
// target are to be sent behind them: order needs it, confirmations off or not. One whose
// date has been moved on is left alone: it would be sent again where it stays unconfirmed.
func (b *Batch) askBeforeSending(past, rows []ledger.Entry, choices []ledger.Choice) {
	sends := false
	for i := len(choices) - 1; i >= 0; i-- {
		c := &choices[i]
		if c.Turn != ledger.TurnNone {
			sends = true
		} else if sends && c.Take >= 0 && past[c.Take].Status == crm.Accepted && !dueOf(rows[i]).After(b.now) {
			c.Turn, c.Prior = ledger.TurnAsk, crm.PriorAccepted
		}
	}
}

// pair reports whether both a revoke and a share of the target are to be sent.
func pair(rows []ledger.Entry, choices []ledger.Choice) bool {
	var share, revoke bool
	for i, c := range choices {
		if c.Turn == ledger.TurnNone {
			continue
		}
		share = share || rows[i].Op.Action == crm.Share
		revoke = revoke || rows[i].Op.Action != crm.Share
	}
	return share && revoke
}
