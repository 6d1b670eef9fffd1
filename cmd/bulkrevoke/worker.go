package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/fleet"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// workerOptions is what `worker` is asked.
type workerOptions struct {
	atOnce int
	listen string
	drain  time.Duration
}

func (a *app) workerCommand() *cobra.Command {
	o, wo := newOptions(), &workerOptions{}
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Do the queued sheets, until a signal ends it",
		Long: `Take sheets that ` + "`bulkrevoke submit`" + ` has queued, and do them, until SIGTERM or SIGINT: then no
new one is taken, open calls end, and what is not finished goes back to the queue. A second signal
ends at once. Several hosts may run workers on one database; the sheets of one that dies, freezes or
is cut off go on elsewhere. Each host needs the same configuration of accounts, and their secrets.

Exit codes: 0 it was asked to end, and everything is given back; 2 the configuration is refused; 3
it did not end in time.`,
		Example: `  bulkrevoke worker
  bulkrevoke worker --at-once 500 --listen 127.0.0.1:9464`,
		Args: noArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if a.job, err = a.readOptions(cmd, o); err != nil {
			return err
		}
		return errors.Join(a.job.serve(cmd.Context(), wo), a.job.close())
	}
	o.addFlags(cmd.Flags(), "database", "config", "limit", "share", "workers", "log-format", "log-level", "quiet")
	cmd.Flags().IntVar(&wo.atOnce, "at-once", 200, "work on up to `N` sheets at once")
	cmd.Flags().StringVar(&wo.listen, "listen", "", "serve /metrics, /healthz and /readyz on `ADDR`, such as :9464 (without a host: this machine alone)")
	cmd.Flags().DurationVar(&wo.drain, "drain", time.Minute, "when asked to end, wait so long for what is under way")
	return cmd
}

// serve does queued sheets until ctx is done. That is how it is meant to end, and no error.
func (j *job) serve(ctx context.Context, wo *workerOptions) error {
	switch {
	case wo.atOnce < 1 || wo.atOnce > mostSheets:
		return refusef("", "--at-once: %d must be at least 1 and at most %d", wo.atOnce, mostSheets)
	case wo.drain <= 0:
		return refusef("", "--drain: %s must be more than 0", wo.drain)
	}
	if err := j.needDatabase(ctx, "worker"); err != nil {
		return err
	}
	var err error
	if j.accounts, err = newAccounts(j.crms, j.cfg, j.opts, j.secrets()); err != nil {
		return err // better now than for each sheet
	}
	for _, a := range j.accounts {
		if a.bad != nil {
			return a.refusal() // another host may have the secret, and is to get its sheets
		}
	}
	j.serving.Store(true)
	h := &health{db: j.db}
	if wo.listen != "" {
		stop, err := h.listen(wo.listen, j.log)
		if err != nil {
			return err
		}
		j.later(stop)
	}
	j.say("worker ready", []slog.Attr{slog.String("host", j.db.name), slog.Int("at_once", wo.atOnce)},
		"working on up to %d sheets at once, until a signal ends it", wo.atOnce)
	for {
		host, err := j.db.join(ctx)
		if err != nil && ctx.Err() != nil {
			return nil // it has nothing to give back
		}
		if err != nil {
			return databaseError(ctx, err)
		}
		h.host.Store(host)
		err = host.Work(ctx, fleet.WorkOptions{AtOnce: wo.atOnce, Drain: wo.drain, Do: j.do, Log: j.log})
		h.host.Store(nil)
		switch {
		case errors.Is(err, fleet.ErrLost) && ctx.Err() == nil:
			j.log.Warn("this host was taken for dead; its sheets are others' now, and it goes on as a new one")
			j.db.forget(host)
			continue
		case errors.Is(err, fleet.ErrLost):
			return nil // nothing is left to give back
		case err != nil:
			return &startedError{err}
		}
		j.say("worker ended", nil, "ended, and what was not finished is queued again")
		return nil
	}
}

// mostSheets is how many sheets a worker does at once at most.
const mostSheets = 10_000

// do does one sheet.
func (j *job) do(ctx context.Context, t *fleet.Task) fleet.Result {
	w, err := j.forTask(t)
	if err == nil {
		err = w.runTask(ctx, t)
		closed := w.close()
		if err != nil || !w.committed {
			err = errors.Join(err, closed)
		} else if closed != nil { // the sheet has come to its end all the same
			w.log.Warn("what the sheet's run had open was not closed well", "error", closed)
		}
	}
	return w.resultOf(ctx, err)
}

// forTask makes the job of a submitted sheet: with its flags, with what its columns mean and
// which account is the default where it was submitted, and with this host's accounts. Who is
// protected on either host is.
func (j *job) forTask(t *fleet.Task) (*job, error) {
	var from submittedFrom
	err := json.Unmarshal([]byte(t.Flags[submittedFromKey]), &from)
	o := newOptions()
	w := &job{app: j.forSheet(from.Sheet), opts: o, cfg: j.cfg, log: j.log.With("sheet", t.Sheet.Sheet), db: j.db, submitted: &from}
	w.args = from.Args
	w.cfg.Columns, w.cfg.Protect = from.Columns, slices.Concat(j.cfg.Protect, from.Protect)
	if err != nil {
		return w, fmt.Errorf("read where the sheet was submitted: %w", err)
	}
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o.addRunFlags(flags)
	for name, value := range t.Flags {
		if name == submittedFromKey {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			return w, refusef("Give all hosts one version of bulkrevoke, then submit the sheet again.", "--%s: %w", name, plainFlagError(err))
		}
	}
	if o.limit == (limitFlag{}) && o.share == 0 && o.workers == 0 {
		w.known = j.accounts // thousands of accounts for hundreds of sheets at once
	}
	if o.limit == (limitFlag{}) {
		o.limit = j.opts.limit
	}
	if o.share == 0 {
		o.share = j.opts.share
	}
	if o.workers == 0 {
		o.workers = j.opts.workers
	}
	o.ledgers, o.database, o.ledger, o.yes, o.quiet = j.db, j.opts.database, t.Sheet.Ledger, true, true
	w.names = names{sheet: from.Sheet, ledger: t.Sheet.Ledger, tab: from.Tab, inDatabase: true}
	return w, nil
}

// runTask is run for a submitted sheet: it has no files beside its ledger.
func (j *job) runTask(ctx context.Context, t *fleet.Task) error {
	ctx, cancel := j.opts.bound(ctx)
	defer cancel()
	if err := j.accountsInUse(ctx); err != nil {
		return err
	}
	in, err := t.Open(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(j.spool(in), in.Close()); err != nil {
		return err
	}
	if err := j.openInput(ctx); err != nil {
		return err
	}
	if err := j.lockLedger(ctx, 0); err != nil {
		return err
	}
	if err := j.openLedger(ctx); err != nil {
		return err
	}
	if err := j.openAccounts(true); err != nil {
		return err
	}
	if err := j.batch.LoadSheet(ctx, j.reader); err != nil {
		return err
	}
	_ = os.Remove(j.input) // a run may take days; where it is open still, close removes it
	if err := j.connect(ctx, j.batch.Used()); err != nil {
		return err
	}
	if quiet := j.conns.claims.quiet; quiet > 0 {
		// What is imported takes one of the few connections with temporary tables, which is not
		// to be held while nothing may be sent.
		return &quietError{quiet}
	}
	if err := j.makePlan(ctx); err != nil {
		return err
	}
	if err := j.batch.Commit(ctx); err != nil {
		return err
	}
	j.committed = true
	told := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(told)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				t.Report(countsOf(j.batch.Progress().Counts, t.Sheet.Counts[fleet.KeptCount])) // as the run before left them
			case <-stop:
				return
			}
		}
	}()
	summary, err := j.runBatch(ctx)
	close(stop)
	<-told
	j.ended, j.code = summary, verdict(summary, j.opts.confirmOff())
	return j.started(err)
}

// quietError says that nothing may be sent to an account yet: a host that had it before has not
// said goodbye.
type quietError struct{ left time.Duration }

func (e *quietError) Error() string {
	return fmt.Sprintf("a host that was taken for dead may have called just now: nothing is sent for %s", e.left.Round(time.Millisecond))
}

// accountsInUse is a *heldError where somebody works on an account that the sheet would have
// called when it was submitted: it is not read in vain then.
func (j *job) accountsInUse(ctx context.Context) error {
	var names []string
	var states []string
	for _, a := range j.known {
		if slices.Contains(j.submitted.Accounts, a.name) {
			states = append(states, a.state)
		}
	}
	places, err := j.db.fleet.Places(ctx, states)
	if err != nil {
		return err
	}
	for _, a := range j.known {
		if place := places[a.state]; place != "" {
			names = append(names, transport.OrganisationName(a.conf.CRM, a.host, place))
		}
	}
	held, err := j.db.fleet.InUse(ctx, append(names, states...))
	if err != nil || held == nil {
		return err
	}
	return claimError(ctx, held)
}

// countsOf returns counts by the words of results, and beside them by how many rows bystanders
// have lost access.
func countsOf(c batch.Counts, alarms int64) map[string]int64 {
	text, _ := json.Marshal(c) // numbers alone: it can not fail
	var counts map[string]int64
	_ = json.Unmarshal(text, &counts)
	counts[fleet.KeptCount] = alarms
	return counts
}

// resultOf says what is to become of a sheet whose run has ended so.
func (j *job) resultOf(ctx context.Context, err error) fleet.Result {
	r := fleet.Result{ExitCode: j.code}
	if !j.ended.Started.IsZero() {
		r.Counts = countsOf(j.ended.Counts, j.ended.Alarms)
	}
	if err != nil {
		r.ExitCode, r.Why, _ = exit(err)
	}
	if invalid, ok := errors.AsType[*batch.InvalidError](err); ok && len(invalid.First) > 0 {
		row := invalid.First[0]
		r.Why = fmt.Sprintf("%s, the first in line %d: %s", r.Why, row.Line, report.Printable(row.Reason))
	}
	r.Next = j.next(ctx, err, &r)
	if ctx.Err() != nil && r.Why == "" {
		r.Why = context.Cause(ctx).Error()
	}
	return r
}

// quotaPause is when a quota is tried again whose reset nobody tells.
const quotaPause = time.Hour

// next says whether, and when, a sheet is tried again, and why, unless that is said already.
func (j *job) next(ctx context.Context, err error, r *fleet.Result) fleet.Next {
	cause := context.Cause(ctx)
	_, held := errors.AsType[*heldError](err)
	quiet, _ := errors.AsType[*quietError](err)
	_, guard := errors.AsType[*batch.GuardError](j.ended.Stopped)
	switch {
	case errors.Is(cause, fleet.ErrCancelled):
		r.ExitCode = exitStopped
		return fleet.Next{Kind: fleet.NeedsSomebody} // who has cancelled it
	case ctx.Err() != nil, errors.Is(err, ledger.ErrFenced), errors.Is(err, fleet.ErrLost), errors.Is(err, errHostLost):
		return fleet.Next{Kind: fleet.HandBack}
	case held:
		return fleet.Next{Kind: fleet.Busy}
	case quiet != nil:
		return fleet.Next{Kind: fleet.Busy, After: quiet.left}
	case errors.Is(err, ledger.ErrInterrupted):
		return fleet.Next{Kind: fleet.Busy} // it is as good as before
	case errors.Is(err, fleet.ErrAway), errors.Is(err, ledger.ErrStorage), errors.Is(err, ledger.ErrBusy):
		return fleet.Next{Kind: fleet.Unreachable}
	}
	if end, ok := errors.AsType[*crm.AccountError](err); ok {
		return afterEnd(end)
	}
	// What is wrong with this host, such as a full disk, is not wrong with the sheet: another one
	// may do it.
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return fleet.Next{Kind: fleet.Unreachable}
	}
	if err != nil {
		if r.ExitCode == exitRefused {
			return fleet.Next{Kind: fleet.NeedsChange}
		}
		return fleet.Next{Kind: fleet.NeedsSomebody}
	}
	if guard && !stoppedAtTheEnd(j.ended) {
		r.Why = j.ended.Stopped.Error()
		return fleet.Next{Kind: fleet.NeedsSomebody}
	}
	if j.ended.Stopped != nil && !stoppedAtTheEnd(j.ended) { // its time was over
		r.Why = j.ended.Stopped.Error()
		return fleet.Next{Kind: fleet.NeedsSomebody}
	}
	var again *fleet.Next
	for _, a := range j.ended.Accounts {
		end := a.Ended
		if end == nil {
			end = a.Clock
		}
		if end == nil {
			continue
		}
		r.Why = fmt.Sprintf("account %q: %v", a.Account, end)
		next := afterEnd(end)
		if next.Kind == fleet.NeedsSomebody {
			return next
		}
		if again == nil || again.Kind == fleet.Quota {
			again = &next
		}
	}
	switch {
	case again != nil:
		return *again
	case j.ended.Counts.Accepted > 0 && !j.opts.confirmOff():
		r.Why = "rows are accepted, and the CRM has not said yet whether they are done"
		return fleet.Next{Kind: fleet.Unconfirmed}
	}
	return fleet.Next{Kind: fleet.Finished}
}

// afterEnd says when an account that has ended is tried again.
func afterEnd(end *crm.AccountError) fleet.Next {
	switch end.Code {
	case crm.EndUnreachable:
		return fleet.Next{Kind: fleet.Unreachable}
	case crm.EndQuota:
		if !end.Until.IsZero() {
			return fleet.Next{Kind: fleet.Quota, After: time.Until(end.Until)}
		}
		return fleet.Next{Kind: fleet.Quota, After: quotaPause}
	}
	return fleet.Next{Kind: fleet.NeedsSomebody}
}

// sheetID is what tells the job's sheet apart from the others of its ledger.
func (j *job) sheetID() string {
	if j.submitted != nil {
		return j.submitted.SheetID
	}
	return j.opts.sheetID(j.names, j.reader != nil && j.reader.Layout().IsResult)
}

// sheetBase is the name of the job's sheet without its folder, on whatever host it was.
func (j *job) sheetBase() string { return filepath.Base(filepath.FromSlash(j.sheet)) }
