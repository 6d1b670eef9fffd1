package batch

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// What a verification says of a row.
const (
	Holds        = "yes"     // the access is as the row asks for
	HoldsNot     = "no"      // it is not, or the row was never done
	HoldsUnknown = "unknown" // nobody can tell
)

const (
	// lookTries is how often a look at a record is tried that brings no answer, and
	// lookAgain the first pause between two, which doubles.
	lookTries = 3
	lookAgain = 2 * time.Second

	// noteRows is how many rows are noted in the ledger's working data at a time.
	noteRows = 1000

	// verifyNews is how often the log tells how far a verification has come.
	verifyNews = 30 * time.Second
)

// Verification is how a verification went. The answers are in its Review.
type Verification struct {
	Review *ledger.Review
	Asked  int64 // rows about which the CRMs were asked
	// Alarms is how many rows of this ledger, of its sheets or not, took access from a
	// bystander who has not been given it back.
	Alarms   int64
	Accounts []SummaryAccount
	// Stopped is nil if every row was come to; otherwise the cause of the context.
	Stopped error
}

// Verify asks the accounts again whether each access is as the ledger's sheet says.
// It sends no change and leaves the ledger as it is, which may be open for reading
// only; the caller holds the accounts' locks. Load, Prepare and Commit are not
// needed before.
//
// Of a target, the last row that was done counts: it is what the target should look
// like now, and rows before it share its answer. Where the CRM can be looked at, one
// look tells of all rows of a record; elsewhere the request Id is asked about, which
// tells what became of the request and not what others have done since. Rows that
// were never done are not asked about.
//
// Accounts that can not be worked with are no error: their SummaryAccount says so.
// Cancelling ctx ends it early, and what is known by then stands. The error is a
// *ledger.BindingError or what ended the work as a whole.
func (b *Batch) Verify(ctx context.Context) (*Verification, error) {
	b.started = time.Now()
	if err := b.countRows(ctx); err != nil {
		return nil, err
	}
	b.shareMeters()
	b.counters.phase.Store(PhaseChecking)
	review, err := b.led.Review(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.identify(ctx); err != nil {
		return nil, err
	}
	dirs := newDirectories(b)
	asked, err := b.sortOut(ctx, review, dirs)
	if err != nil {
		return nil, err
	}
	v := &Verification{Review: review, Asked: asked}
	var done atomic.Int64
	stop := b.tellVerified(ctx, &done, asked)
	defer stop()
	var group errgroup.Group
	for _, acc := range b.atWork() {
		group.Go(func() error { return (&verifier{b: b, acc: acc, dirs: dirs, review: review, done: &done}).run(ctx) })
	}
	err = group.Wait()
	if err == nil && ctx.Err() == nil {
		if v.Alarms, err = b.reader.CountLost(ctx); err == nil && v.Alarms > 0 {
			err = b.stillLost(ctx, v)
		}
	}
	v.Accounts = b.Usage()
	if ctx.Err() != nil {
		v.Stopped, err = context.Cause(ctx), nil
	}
	return v, err
}

// stillLost takes off the alarms those of whom a look shows that nothing is lost any more.
func (b *Batch) stillLost(ctx context.Context, v *Verification) error {
	for _, acc := range b.order {
		if acc.rows == 0 || !acc.needed || acc.end() != nil {
			continue
		}
		if err := b.eachLost(ctx, acc, func(_ ledger.Lost, still []crm.Grant) error {
			if len(still) == 0 {
				v.Alarms--
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// countRows finds out which accounts the committed sheet uses.
func (b *Batch) countRows(ctx context.Context) error {
	counts, err := b.reader.Counts(ctx)
	for _, t := range counts {
		if acc := b.accounts[t.Account]; acc != nil && !t.Invalid && t.Status != crm.Unavailable {
			acc.rows += t.Rows
			acc.needed = acc.needed || t.Status != crm.NotDue
		}
	}
	return err
}

// sortOut goes through the rows, answers for those that nobody need be asked about,
// and notes the questions. It returns how many there are.
func (b *Batch) sortOut(ctx context.Context, review *ledger.Review, dirs *directories) (asked int64, err error) {
	sorter := newRowSorter(func(r ledger.ReviewRow) (ticket string, looks bool) {
		acc := b.accounts[r.Account]
		if acc == nil {
			return r.Account, false // nobody will ask
		}
		if op := lookedFor(r.Op); acc.Rules.Shows(op) {
			return acc.Rules.Key(op).String(), true
		}
		return r.Ticket, false
	})
	var questions []ledger.Question
	var answers []ledger.Answer
	note := func(most int) error {
		if len(questions) > most {
			if err := review.Ask(ctx, questions); err != nil {
				return err
			}
			questions = questions[:0]
		}
		if len(answers) > most {
			if err := review.Answer(ctx, answers); err != nil {
				return err
			}
			answers = answers[:0]
		}
		return nil
	}
	for row, err := range review.Rows(ctx) {
		if err != nil {
			return 0, err
		}
		if err := dirs.whoKeeps(ctx, b.accounts[row.Account], &row.Op, row.Email); err != nil {
			return 0, err
		}
		if q, a := sorter.take(row); q != nil {
			asked++
			questions = append(questions, *q)
			answers = append(answers, b.unasked(row))
		} else {
			answers = append(answers, a)
		}
		if err := note(noteRows); err != nil {
			return 0, err
		}
	}
	return asked, note(0)
}

// unasked is the answer for a row until somebody has been asked about it.
func (b *Batch) unasked(row ledger.ReviewRow) ledger.Answer {
	a := ledger.Answer{Ord: row.Ord, Holds: HoldsUnknown, Code: crm.CodeNotAsked, Message: "the verification stopped before it came to this row"}
	acc := b.accounts[row.Account]
	if acc == nil {
		a.Code, a.Message = crm.CodeUnknownAccount, fmt.Sprintf("no account is called %q", row.Account)
	} else if end := acc.end(); end != nil {
		a.Code, a.Message = end.Code, fmt.Sprintf("the account could not be asked: %v", end.Err)
	}
	return a
}

// tellVerified logs how many rows have been asked about, until stopped.
func (b *Batch) tellVerified(ctx context.Context, done *atomic.Int64, rows int64) (stop func()) {
	quit, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(verifyNews)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				b.log.Info("verifying", "asked", done.Load(), "rows", rows)
			case <-quit:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-stopped
	}
}

// verifier asks one account.
type verifier struct {
	b      *Batch
	acc    *account
	dirs   *directories
	review *ledger.Review
	done   *atomic.Int64 // rows asked about, of all accounts
}

// run asks every question of the account, those with one ticket together.
func (v *verifier) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var pool errgroup.Group
	pool.SetLimit(v.b.workers(v.acc))
	give := func(questions []ledger.Question) {
		if len(questions) == 0 || ctx.Err() != nil {
			return
		}
		pool.Go(func() error {
			err := v.ask(ctx, questions)
			switch end := v.acc.end(); {
			case err != nil:
				cancel(err)
			case end != nil:
				cancel(end)
			}
			return err
		})
	}
	var together []ledger.Question
	var readErr error
	for q, err := range v.review.Questions(ctx, v.acc.Name) {
		if err == nil {
			err = v.dirs.whoKeeps(ctx, v.acc, &q.Op, q.Email)
		}
		if err != nil {
			readErr = err
			break
		}
		if len(together) > 0 && (together[0].Ticket != q.Ticket || len(together) >= mostItems) {
			give(together)
			together = nil
		}
		together = append(together, q)
	}
	give(together)
	err := pool.Wait()
	if err == nil && ctx.Err() == nil {
		err = readErr
	}
	if end := v.acc.end(); err == nil && end != nil {
		return v.endRest(context.WithoutCancel(ctx), end)
	}
	return err
}

// endRest says of the rows that were not come to that their account has ended.
func (v *verifier) endRest(ctx context.Context, end *crm.AccountError) error {
	for {
		var answers []ledger.Answer
		for q, err := range v.review.Unanswered(ctx, v.acc.Name, crm.CodeNotAsked) {
			if err != nil {
				return err
			}
			answers = append(answers, ledger.Answer{
				Ord: q, Holds: HoldsUnknown, Code: end.Code, Message: fmt.Sprintf("the account could not be asked: %v", end.Err),
			})
			if len(answers) == noteRows {
				break
			}
		}
		if len(answers) == 0 {
			return nil
		}
		if err := v.review.Answer(ctx, answers); err != nil {
			return err
		}
	}
}

// ask asks about rows with one ticket and notes the answers. Where ctx was done
// before an answer came, nothing is noted.
func (v *verifier) ask(ctx context.Context, questions []ledger.Question) error {
	if ctx.Err() != nil {
		return nil // it has waited for a worker meanwhile
	}
	items := make([]crm.Item, len(questions))
	for i, q := range questions {
		items[i] = crm.Item{Op: lookedFor(q.Op), Ticket: q.Ticket}
	}
	outcomes, seen := v.look(ctx, items)
	if len(outcomes) != len(items) {
		return errCount(v.acc.Name, len(outcomes), len(items))
	}
	v.done.Add(int64(len(items)))
	answers := make([]ledger.Answer, 0, len(items))
	for i, out := range outcomes {
		if out.Ended != nil && v.acc.setEnd(out.Ended) {
			v.b.log.Warn("account ended", "account", v.acc.Name, "code", out.Ended.Code, "error", out.Ended.Err)
		}
		a := answerOf(questions[i], out, seen)
		if a.Holds == HoldsUnknown && ctx.Err() != nil {
			continue
		}
		answers = append(answers, a)
	}
	return v.review.Answer(context.WithoutCancel(ctx), answers)
}

// look looks at what the items are about, or asks about their request. A look
// without an answer is made again.
func (v *verifier) look(ctx context.Context, items []crm.Item) ([]crm.Outcome, crm.State) {
	looks := v.acc.Rules.Shows(items[0].Op)
	for try := 0; ; try++ {
		outcomes, seen := v.acc.Provider.Confirm(ctx, items)
		again := looks && !seen.Looked && try+1 < lookTries && len(outcomes) > 0 && outcomes[0].Status == crm.Accepted && outcomes[0].Ended == nil
		if !again {
			return outcomes, seen
		}
		timer := time.NewTimer(max(outcomes[0].Later, lookAgain<<try))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return outcomes, seen
		}
	}
}
