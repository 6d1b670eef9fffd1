package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/fleet"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// submission is what `submit` is asked beside what `run` is.
type submission struct {
	wait       bool
	ledgerFile string
}

// travelling are the flags of a run that go with a submitted sheet to the host that runs it. The
// others are about files of this host, or about how the command itself goes.
var travelling = []string{
	"account", "sheet", "hidden-rows", "map", "header-row", "timezone", "require", "skip-invalid", "allow-empty", "allow-rounded-ids",
	"redo-in-doubt", "stop-after-failures", "approve", "max-rows", "max-duration", "confirm", "confirm-timeout", "limit", "share", "workers",
}

func (a *app) submitCommand() *cobra.Command {
	o, sub := newOptions(), &submission{}
	cmd := &cobra.Command{
		Use:   "submit SHEET...",
		Short: "Check sheets and queue them for the hosts that work",
		Long: `Check every row, show what would be done, take the sheet into its ledger in the database, and
queue it: a host that runs ` + "`bulkrevoke worker`" + ` does it, and another one goes on if that dies. With
--wait, wait until it is done, and write the result as run does. An account that is at work for
another sheet is not asked now: the worker makes its own plan, with the same guard rails.

Exit codes: 0 queued; 2 refused; 4 a sheet is queued or at work already; with --wait those of run,
and 3 if somebody must look or it was cancelled; 129, 130 and 143 interrupted: what is queued stays
so.`,
		Example: `  bulkrevoke submit offboarding.csv
  bulkrevoke submit --wait offboarding.csv -o offboarding.results.csv
  bulkrevoke submit clients/*.csv`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && sub.ledgerFile == "" {
				return refusef(fmt.Sprintf("See `%s --help`.", cmd.CommandPath()), "submit takes one sheet or more")
			}
			if slices.Contains(args, "") {
				return refusef("Name the sheet: a variable in the command may be empty.", "submit: the name of a sheet is empty")
			}
			return nil
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.submit(cmd, o, sub, args) }
	o.addFlags(cmd.Flags(), append(slices.Clone(travelling), "output", "ledger: the ledger `NAME` (default: named after the sheet)", "database", "config", "fresh", "yes", "log-format", "log-level", "quiet")...)
	cmd.Flags().BoolVar(&sub.wait, "wait", false, "wait until the sheets are done, need somebody or are cancelled, and write their results")
	cmd.Flags().StringVar(&sub.ledgerFile, "ledger-file", "", "bring the ledger in `FILE` into the database first, and go on with it there; the file can only be read from then on")
	return cmd
}

// forSheet returns an app for one sheet of several.
func (a *app) forSheet(sheetName string) *app {
	return &app{
		args: a.args, stdin: a.stdin, stdout: a.stdout, stderr: a.stderr, shown: a.shown, screen: a.screen, lookup: a.lookup, environ: a.environ,
		terminal: a.terminal, crms: a.crms, now: a.now, restart: a.restart, sheet: sheetName,
	}
}

// needDatabase opens the database of a command that is nothing without one.
func (j *job) needDatabase(ctx context.Context, command string) error {
	if err := j.useDatabase(ctx); err != nil {
		return err
	}
	if j.db == nil {
		return refusef("Name it with --database, BULKREVOKE_DATABASE or database: in the configuration.", "%s needs a database, and none is named", command)
	}
	return nil
}

// submit queues the sheets, one after the other, and waits for them if it is to. What is wrong
// with one of them keeps none of the others from being queued.
func (a *app) submit(cmd *cobra.Command, o *options, sub *submission, sheets []string) (err error) {
	a.sheet = strings.Join(sheets, ", ")
	if len(sheets) > 1 && (o.output != "" || o.ledger != "" || sub.ledgerFile != "" || slices.Contains(sheets, standardInput)) {
		return refusef("Submit them one by one.", "-o, --ledger, --ledger-file and standard input are for one sheet, not for %d", len(sheets))
	}
	if a.job, err = a.readOptions(cmd, o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.job.close()) }()
	ctx := cmd.Context()
	if err := a.job.needDatabase(ctx, "submit"); err != nil {
		return err
	}
	if len(sheets) == 0 { // a ledger alone
		return a.job.bringIn(ctx, sub.ledgerFile)
	}
	flags := flagsThatTravel(cmd.Flags())
	var queued []*job
	for _, name := range sheets {
		j, err := undisturbed(ctx, name, func() (*job, error) {
			one := *o
			return &job{app: a.forSheet(name), opts: &one, cfg: a.job.cfg, log: a.job.log, db: a.job.db}, nil
		}, func(ctx context.Context, j *job) error { return j.queueSheet(ctx, sub, flags) })
		if ctx.Err() != nil {
			return cmp.Or(err, context.Cause(ctx)) // also where this one is queued
		}
		if err == nil {
			queued = append(queued, j)
			continue
		}
		if len(sheets) == 1 {
			return err
		}
		a.job.code = worse(a.job.code, printError(a.screen, name, err))
	}
	if !sub.wait {
		return nil
	}
	for _, j := range queued {
		code, err := j.awaitSheet(ctx)
		if err != nil && (len(sheets) == 1 || ctx.Err() != nil) {
			return err
		}
		if err != nil {
			code = printError(a.screen, j.sheet, err)
		}
		a.job.code = worse(a.job.code, code)
	}
	return nil
}

// worse returns the stronger of two exit codes of sheets.
func worse(a, b int) int {
	strength := []int{exitDone, exitOpen, exitHeld, exitRefused, exitStopped}
	if slices.Index(strength, b) > slices.Index(strength, a) {
		return b
	}
	return a
}

// flagsThatTravel returns what was said of a run, wherever it was said.
func flagsThatTravel(fs *pflag.FlagSet) map[string]string {
	said := map[string]string{}
	for _, name := range travelling {
		if f := fs.Lookup(name); f.Changed {
			said[name] = f.Value.String()
		}
	}
	return said
}

// origin is what a worker must know of the host that a sheet was submitted on. It is kept
// among the flags.
type submittedFrom struct {
	Sheet   string   `json:"sheet"`    // its path there
	SheetID string   `json:"sheet_id"` // what the ledger tells it apart by
	Tab     string   `json:"tab,omitempty"`
	Args    []string `json:"args"`
	By      string   `json:"by"`
	// What its configuration says of what sheets mean, and of who may not be touched.
	Columns columnNames `json:"columns,omitempty"`
	Protect []string    `json:"protect,omitempty"`
	// Accounts are those that it would have called then.
	Accounts []string `json:"accounts,omitempty"`
}

// submittedFromKey is among the flags what no flag can be called.
const submittedFromKey = "@"

// queueSheet checks a sheet, takes it into its ledger and queues it.
func (j *job) queueSheet(ctx context.Context, sub *submission, flags map[string]string) error {
	if err := j.keepInput(ctx); err != nil {
		return err
	}
	if err := j.openSheet(ctx); err != nil {
		return err
	}
	if err := j.checkOrigin(ctx); err != nil { // before another one is waited for
		return err
	}
	if err := j.lockUnqueued(ctx, sub.wait); err != nil {
		return err
	}
	ctx, stop := j.whileHost(ctx)
	defer stop()
	// Another one may have queued it while this one waited for the ledger.
	if err := j.notQueued(ctx, false); err != nil {
		return err
	}
	if sub.ledgerFile != "" {
		if err := j.bringIn(ctx, sub.ledgerFile); err != nil {
			return err
		}
	}
	if j.opts.fresh {
		if err := j.setAside(ctx); err != nil {
			return err
		}
	}
	if err := j.openLedger(ctx); err != nil {
		return err
	}
	if sub.wait && !j.opts.fresh {
		if err := j.checkOutput(ctx); err != nil {
			return err
		}
	}
	if err := j.openAccounts(true); err != nil {
		return err
	}
	if err := j.batch.LoadSheet(ctx, j.reader); err != nil {
		return err
	}
	if sub.wait {
		if err := report.CheckSize(j.names.output, j.reader.Extent()); err != nil {
			return err
		}
	}
	if err := j.planIfFree(ctx); err != nil {
		return err
	}
	// While a worker has the ledger, results can only read it, and must know that what it
	// writes here it may replace later. A file that is somebody else's stays theirs.
	if j.checkOutput(ctx) == nil {
		path, err := filepath.Abs(j.names.output)
		if err == nil {
			err = j.led.Wrote(ctx, path)
		}
		if err != nil {
			return err
		}
	}
	file, err := os.Open(j.input)
	if err != nil {
		return err
	}
	defer file.Close() // it is only read
	from := submittedFrom{
		Sheet: j.sheet, SheetID: j.sheetID(), Tab: j.names.tab, Args: j.args, By: operator(), Columns: j.cfg.Columns, Protect: j.cfg.Protect,
		Accounts: j.batch.Used(),
	}
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	said := map[string]string{submittedFromKey: string(text)}
	for name, value := range flags {
		said[name] = value
	}
	if said["account"], err = defaultAccount(j.cfg, j.opts.account); err != nil {
		return err
	} else if said["account"] == "" {
		delete(said, "account")
	}
	if j.names.tab != "" || j.opts.worksheet != "" {
		said["sheet"] = j.reader.Layout().Sheet // which was chosen
	}
	if err := j.db.fleet.Submit(ctx, fleet.Submission{
		Ledger: j.names.ledger, Sheet: title(j.sheet), SubmittedBy: operator() + " on " + j.db.name, File: file, Flags: said,
	}); err != nil {
		return queuedError(err)
	}
	j.committed = true
	if !j.opts.quiet {
		j.say("queued", []slog.Attr{slog.String("sheet", title(j.sheet)), slog.String("ledger", j.names.ledger)},
			"%s is queued, under the name %s: see `bulkrevoke status %s`", title(j.sheet), j.names.ledger, shellQuote(j.names.ledger))
	}
	return nil
}

// queuedError is what a sheet that is queued already comes to.
func queuedError(err error) error {
	if queued, ok := errors.AsType[*fleet.QueuedError](err); ok {
		return &heldError{what: "the ledger " + queued.Ledger, queued: queued}
	}
	return err
}

// keepInput keeps what comes from standard input, which is read twice: to be checked, and to
// be queued.
func (j *job) keepInput(ctx context.Context) error {
	j.input = j.sheet
	if j.sheet != standardInput {
		return nil
	}
	in, stop := untilDone(ctx, j.stdin)
	j.later(stop)
	return j.spool(in)
}

// What is read once is put into a temporary file of this name. It is needed until the sheet is
// imported; what is older was left by a killed process.
const (
	spoolName = "bulkrevoke-sheet-"
	spoolTime = 24 * time.Hour
)

// spool puts what is read into a file of this job's own, that is gone with it.
func (j *job) spool(in io.Reader) error {
	sweepSpooled(os.TempDir(), time.Now())
	file, err := os.CreateTemp("", spoolName+"*"+strings.ToLower(filepath.Ext(j.sheet)))
	if err != nil {
		return refusef("Name a folder that takes files in TMPDIR.", "the folder for temporary files, %s: %w", os.TempDir(), report.Reason(err))
	}
	j.input = file.Name()
	j.later(func() error { return removeIfThere(file.Name()) })
	_, err = io.Copy(file, in)
	return errors.Join(err, file.Close())
}

// sweepSpooled removes what killed processes have left of sheets. They hold people's data; what
// can not be removed keeps nothing from being done.
func sweepSpooled(dir string, now time.Time) {
	left, _ := filepath.Glob(filepath.Join(dir, spoolName+"*"))
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > spoolTime {
			_ = os.Remove(path)
		}
	}
}

// notQueued refuses a sheet that is queued or at work, or waits until it is neither.
func (j *job) notQueued(ctx context.Context, wait bool) error {
	sheets, err := j.db.fleet.Sheets(ctx, j.names.ledger)
	if err != nil || len(sheets) == 0 || sheets[0].State.Ended() {
		return err
	}
	if !wait {
		queued := &fleet.QueuedError{Ledger: j.names.ledger, State: sheets[0].State}
		if queued.State == fleet.Running {
			queued.Host = sheets[0].Host
		}
		return queuedError(queued)
	}
	_, err = j.db.fleet.Wait(ctx, j.names.ledger)
	return err
}

// lockUnqueued takes the ledger of a sheet that is neither queued nor at work. Another submit may
// be faster in between.
func (j *job) lockUnqueued(ctx context.Context, wait bool) error {
	patience := j.opts.wait
	if wait {
		patience = databasePatience
	}
	for {
		if err := j.notQueued(ctx, wait); err != nil {
			return err
		}
		if err := j.lockLedger(ctx, patience); err != nil {
			return err
		}
		err := j.notQueued(ctx, false)
		if err == nil || !wait {
			return err
		}
		if _, held := errors.AsType[*heldError](err); !held {
			return err
		}
		err = j.lock.release()
		j.lock, j.claim = nil, nil
		if err != nil {
			return err
		}
	}
}

// planIfFree plans the sheet as run does, asks, and takes it into the ledger. Where an account
// is at work for another sheet, the worker plans it when it is free.
func (j *job) planIfFree(ctx context.Context) error {
	err := j.connect(ctx, j.batch.Used())
	if held, ok := errors.AsType[*heldError](err); ok {
		j.log.Info("an account is at work for another sheet: the worker plans this one", "sheet", title(j.sheet), "held", held.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if err := j.makePlan(ctx); err != nil {
		return err
	}
	if err := j.ask(ctx); err != nil {
		return err
	}
	return j.batch.Commit(ctx)
}

// awaitSheet waits until a queued sheet has ended or needs somebody, writes its result, and
// returns the exit code that it has come to.
func (j *job) awaitSheet(ctx context.Context) (code int, err error) {
	s, err := j.db.fleet.Wait(ctx, j.names.ledger)
	if err != nil {
		return 0, err
	}
	one := *j.opts
	r := &job{app: j.app, opts: &one, cfg: j.cfg, log: j.log, db: j.db}
	r.opts.ledger, r.opts.wait = j.names.ledger, leastBusyWait
	r.opts.output = j.names.output
	if err := errors.Join(r.writeResults(ctx), r.close()); err != nil {
		return 0, &startedError{err}
	}
	switch s.State {
	case fleet.Cancelled:
		code = exitStopped
		j.log.Warn("the sheet was cancelled", "sheet", title(j.sheet))
	case fleet.Done:
		code = s.ExitCode
	default:
		code = cmp.Or(s.ExitCode, exitStopped)
		j.screen.Tell(report.ErrorEvent(fmt.Sprintf("%s needs somebody: %s", title(j.sheet), s.Why),
			fmt.Sprintf("When it is mended: bulkrevoke retry %s", shellQuote(j.names.ledger)), code))
	}
	return code, nil
}

// bringIn takes the ledger in a file into the database, under the name that the job's sheet has
// there, or, without a sheet, that of the file. The file can only be read from then on.
func (j *job) bringIn(ctx context.Context, path string) (err error) {
	if j.names.ledger == "" { // without a sheet
		j.sheet = path
		stem := strings.TrimSuffix(filepath.Base(path), ledgerEnding)
		j.names = names{sheet: path, ledger: cmp.Or(j.opts.ledger, strings.TrimSuffix(stem, filepath.Ext(stem))), inDatabase: true}
		if err := j.names.check(); err != nil {
			return err
		}
		if err := j.lockLedger(ctx, j.opts.wait); err != nil {
			return err
		}
	}
	if there, err := exists(path); err != nil || !there {
		return refusef("Name the file of a ledger, such as offboarding.ledger.db.", "--ledger-file: there is no ledger %s", path)
	}
	// Nobody works on the file meanwhile.
	lock, err := acquireLock(ctx, lockOptions{what: "ledger " + path, path: path + ".lock", remove: true, holder: me(j.sheet)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	there, err := j.db.exists(ctx, j.names.ledger)
	if err != nil {
		return err
	}
	if err := j.checkOrigin(ctx); err != nil {
		return err
	}
	o, err := j.ledgerOptions(ledger.Options{Create: true, Marked: true})
	if err != nil {
		return err
	}
	into, err := j.db.open(ctx, j.names.ledger, o)
	if err != nil {
		return err
	}
	already, err := into.BringIn(ctx, path)
	if err != nil {
		err = fmt.Errorf("--ledger-file, into %s in the database: %w", j.names.ledger, err)
	}
	if err = errors.Join(err, into.Close()); err != nil {
		if !there {
			err = errors.Join(err, unlessLost(j.db.ledgers.Remove(context.WithoutCancel(ctx), j.names.ledger, j.mayWrite)))
		}
		return err
	}
	j.takeBack = nil // whatever becomes of the sheet, the ledger is here now
	if j.opts.quiet {
		return nil
	}
	what := "%s is in the database as %s from now on, and can only be read"
	if already {
		what = "%s was in the database as %s already; nothing has changed"
	}
	j.say("ledger brought in", []slog.Attr{slog.String("file", path), slog.String("ledger", j.names.ledger)}, what, path, j.names.ledger)
	return nil
}
