package batch

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// DrainLimit is how long open calls may go on after a run was asked to stop. The
// providers hold to it.
const DrainLimit = 25 * time.Second

// Commit makes the prepared sheet the ledger's sheet, in one durable step, and binds
// the ledger to the accounts. Nothing is sent.
func (b *Batch) Commit(ctx context.Context) error {
	known, err := b.reader.Bindings(ctx)
	if err != nil {
		return err
	}
	if err := b.sideBySide(func(acc *account) error {
		if binding := b.binding(acc); !slices.Contains(known, binding) {
			return b.reader.Bind(ctx, binding)
		}
		return nil
	}); err != nil {
		return err
	}
	return b.importing.Commit(ctx, b.source)
}

// Run does what is still to be done, confirms it, and returns when nothing more can
// be done in this run or ctx is done. Cancelling ctx stops the intake and the
// pauses; open calls finish within 25 s. Rows that fail are results, not errors: an
// error is what ends the run, such as a ledger that can not be written. The summary
// is right in either case.
func (b *Batch) Run(ctx context.Context) (Summary, error) {
	b.started = time.Now()
	quietly := context.WithoutCancel(ctx)
	b.counters.start(b.counted)
	lost, err := b.reader.CountLost(quietly)
	if err != nil {
		return b.summary(), err
	}
	run, err := b.queue.BeginRun(quietly, ledger.RunInfo{Version: b.opts.Record.Version, Operator: b.opts.Record.Operator, Args: b.opts.Record.Args})
	if err != nil {
		return b.summary(), err
	}
	b.run = run
	b.beginEstimate()
	b.counters.phase.Store(PhaseRunning)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	b.stop = stop
	defer context.AfterFunc(ctx, func() { b.counters.stopped.CompareAndSwap(nil, new(time.Now())) })()
	var group errgroup.Group
	for _, acc := range b.atWork() {
		group.Go(func() error {
			defer b.working.Add(-1)
			var err error
			if lost > 0 {
				err = b.lookForBystanders(ctx, acc)
			}
			if err == nil && acc.end() == nil {
				err = newLoop(ctx, b, acc).run()
			}
			if err != nil {
				stop(err)
			}
			return err
		})
	}
	err = group.Wait()
	recount := b.counters.recount(quietly, b.reader)
	summary := b.summary()
	switch {
	case err != nil:
		summary.Stopped = err
	case ctx.Err() != nil:
		summary.Stopped = context.Cause(ctx)
	}
	return summary, b.end(quietly, &summary, cmp.Or(err, recount))
}

// atWork returns the accounts that have rows and have not ended: those that begin to work
// now.
func (b *Batch) atWork() (working []*account) {
	for _, acc := range b.order {
		if acc.rows > 0 && acc.needed && acc.end() == nil {
			working = append(working, acc)
		}
	}
	b.working.Store(int64(len(working)))
	return working
}

// end closes the run in the ledger. The error that ended the run counts for more
// than one on the way out.
func (b *Batch) end(ctx context.Context, s *Summary, runErr error) error {
	text, err := json.Marshal(s)
	if err == nil {
		err = b.queue.EndRun(ctx, b.run, text)
	}
	if err == nil {
		s.HeadSeq, s.Head, err = b.reader.Head(ctx)
	}
	if runErr != nil {
		return runErr
	}
	if err != nil {
		return fmt.Errorf("close the run: %w", err)
	}
	return nil
}

func (b *Batch) summary() Summary {
	s := Summary{Run: b.run, Started: b.started, Ended: time.Now(), Counts: b.counters.counts(), Sent: b.counters.sent.Load(), Alarms: b.counters.alarms, Worksheet: b.worksheet}
	s.Accounts = b.Usage()
	return s
}

// Usage returns how the accounts of the sheet stand, and what they were asked so far; with
// nothing asked before Prepare.
func (b *Batch) Usage() []SummaryAccount {
	var accounts []SummaryAccount
	for _, acc := range b.order {
		if acc.rows == 0 {
			continue
		}
		sa := SummaryAccount{Account: acc.Name, CRM: acc.CRM, Host: acc.Host, Ended: acc.end(), Clock: acc.clockError(), Usage: b.usage(acc)}
		if acc.Meter != nil && b.meters[acc.Meter] == acc {
			sa.Timeline = acc.Meter.Timeline()
		}
		accounts = append(accounts, sa)
	}
	return accounts
}

// OpenCalls returns how many calls are under way now. It may be called from any
// goroutine.
func (b *Batch) OpenCalls() (n int) {
	switch b.counters.phase.Load() {
	case PhaseChecking, PhaseRunning: // the accounts are connected
		for _, acc := range b.order {
			n += b.usage(acc).Open
		}
	}
	return n
}

// Progress returns how the batch stands now. It may be called from any goroutine
// while Run is under way.
func (b *Batch) Progress() Progress {
	phase, _ := b.counters.phase.Load().(string)
	p := Progress{Phase: phase}
	if phase == PhaseRunning {
		p.Counts, p.Accounts = b.counters.counts(), b.Usage()
		b.estimate(&p, time.Now())
		if at := b.counters.stopped.Load(); at != nil {
			p.Stopping = *at
		}
	}
	return p
}
