package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/find"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/fleet"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// job is one sheet on its way through a command: what the command was asked, as readOptions
// has read it, and what is open, until close gives it back.
type job struct {
	*app
	opts *options
	cfg  config
	log  *slog.Logger

	input    string // the file that the sheet is read from, if that is not the sheet itself
	names    names
	reader   *sheet.Reader
	db       *database     // nil without --database
	lock     releaser      // of the ledger; nil while it is not this job's
	claim    *fleet.Claims // the same in a database
	led      *ledger.Ledger
	world    *world // nil without --sandbox
	accounts []*account
	conns    *connections
	batch    *batch.Batch
	since    string // the sheet that the ledger has taken up after the one that is read; "" if none

	made      bool           // the ledger was made by this job
	committed bool           // the sheet is the ledger's: from here on nothing is taken back
	closers   []func() error // run backwards by close
	lasts     []func() error // run by close when all is given back
	takeBack  []func() error // run by close, after closers, if the sheet was not committed

	submitted *submittedFrom // of a queued sheet; nil for any other
	known     []*account     // the accounts of the configuration, where another job has made them; else nil

	code int // what the command has come to, if it ends without an error

	// Of a find alone.
	isFind   bool
	coverage *find.Coverage // nil before it is known
	found    int64          // rows of its sheet

	// Of a run alone.
	isRun    bool
	evidence report.Files  // what can not be written is told once, and taken out
	plan     *batch.Plan   // what Prepare said; nil before
	ended    batch.Summary // how the run ended; the zero value before
	text     report.Facts  // what is told beside ended
}

// later has close call f.
func (j *job) later(f func() error) { j.closers = append(j.closers, f) }

// last has close call f when everything else is given back.
func (j *job) last(f func() error) { j.lasts = append(j.lasts, f) }

// unlessCommitted has close call f if nothing came of the job.
func (j *job) unlessCommitted(f func() error) { j.takeBack = append(j.takeBack, f) }

// close gives everything back, takes away what a refused job has made, and lets go of the
// ledger last.
func (j *job) close() error {
	var errs []error
	for _, f := range slices.Backward(j.closers) {
		errs = append(errs, f())
	}
	if !j.committed {
		for _, f := range slices.Backward(j.takeBack) {
			errs = append(errs, f())
		}
	}
	if j.lock != nil {
		errs = append(errs, j.lock.release())
	}
	for _, f := range j.lasts {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// started marks an error, if it is one, of a job that may have sent something.
func (j *job) started(err error) error {
	if err == nil || !j.committed {
		return err
	}
	return &startedError{err}
}

// openSheet opens the sheet and decides what its files are called.
func (j *job) openSheet(ctx context.Context) (err error) {
	if err := j.openInput(ctx); err != nil {
		return err
	}
	layout := j.reader.Layout()
	// What was a result file and has been edited so that it is none any more would be
	// sent again. Whoever names a ledger knows better.
	block := sheet.ResultColumns()
	missing := slices.DeleteFunc(slices.Clone(block), func(name string) bool { return slices.Contains(layout.Columns, name) })
	if !layout.IsResult && j.opts.ledger == "" && len(missing) <= len(block)/2 {
		what := "do not stand in their order at the end"
		if len(missing) > 0 {
			what = "are not whole, without " + strings.Join(missing, ", ")
		}
		return refusef(fmt.Sprintf("Let the columns end in %s, in this order. To begin anew, take them out, or name a ledger with --ledger: all rows are sent again then.",
			strings.Join(block, ",")), "%s has the columns of a result, which %s", title(j.sheet), what)
	}
	for _, s := range j.reader.Suspects() {
		j.log.Warn("a column is nearly called as one of ours, and means nothing here; --map can say what it is", "column", s.Header, "near", s.Column)
	}
	j.names, err = j.opts.names(ctx, j.sheet, j.opts.output, layout.Sheet, layout.IsResult)
	return err
}

// openInput opens the sheet and reads its header.
func (j *job) openInput(ctx context.Context) (err error) {
	in, path := j.stdin, ""
	if name := cmp.Or(j.input, j.sheet); name != standardInput {
		file, regular, err := openFile(ctx, name)
		if err != nil {
			return err
		}
		j.later(file.Close)
		if in = file; regular {
			path = name
		}
	}
	if path == "" {
		var stop func() error
		in, stop = untilDone(ctx, in)
		j.later(stop)
	}
	if j.reader, err = sheet.Open(in, j.sheet, j.sheetOptions(path)); err == nil {
		j.later(j.reader.Close)
	}
	return err
}

// releaser is a right that is given back.
type releaser interface{ release() error }

// lockLedger takes the lock beside the ledger, or claims it in the database.
func (j *job) lockLedger(ctx context.Context, wait time.Duration) (err error) {
	if j.db != nil {
		return j.claimLedger(ctx, wait)
	}
	folder := filepath.Dir(j.names.ledger)
	if _, err := os.Stat(folder); err != nil {
		return refusef("Make the folder, or name another with -o and --ledger.", "the folder of the ledger, %s: %w", folder, report.Reason(err))
	}
	elsewhere := fmt.Sprintf("Write result and ledger elsewhere, with -o FOLDER/%s.", filepath.Base(j.names.output))
	if j.opts.ledger != "" {
		elsewhere = "Name a ledger in another folder with --ledger."
	}
	if err := takesFiles(folder); err != nil {
		return refusef(elsewhere, "the folder of the ledger, %s, takes no files: %w", folder, report.Reason(err))
	}
	l, err := acquireLock(ctx, lockOptions{
		what: "ledger " + j.names.ledger, path: j.names.ledger + ".lock", remove: true, wait: wait, holder: me(j.sheet),
		hint: "Make room there. " + elsewhere,
	})
	if err != nil {
		return err
	}
	j.lock = l
	return nil
}

// takesFiles says whether a folder takes files, by making one and removing it.
func takesFiles(dir string) error {
	file, err := os.CreateTemp(dir, "bulkrevoke.*.tmp")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// sweep removes what a killed run of this sheet left under temporary names beside files
// that have a name. The ledger's lock keeps other runs away. What can not be removed is
// warned about: it holds people's data, and keeps nothing from being done.
func (j *job) sweep(started time.Time, paths ...string) {
	for _, path := range paths {
		if path == "" {
			continue
		}
		if err := report.Sweep(path, started); err != nil {
			j.log.Warn("what a killed run left could not be removed", "error", err)
		}
	}
}

// openLedger opens the ledger, or makes it.
func (j *job) openLedger(ctx context.Context) error {
	there, err := j.opts.ledgers.exists(ctx, j.names.ledger)
	if err != nil {
		return err
	}
	if err := j.openLedgerFile(ctx, ledger.Options{Create: true}); err != nil {
		return err
	}
	if j.made = !there; j.made {
		j.unlessCommitted(func() error {
			if j.db != nil {
				return unlessLost(j.db.ledgers.Remove(context.WithoutCancel(ctx), j.names.ledger, j.mayWrite))
			}
			var errs []error
			for _, suffix := range ledgerFiles {
				errs = append(errs, removeIfThere(j.names.ledger+suffix))
			}
			return errors.Join(errs...)
		})
	}
	return j.checkPlace()
}

// ledgerFiles are the files that a ledger can consist of, by what they add to its
// name.
var ledgerFiles = [...]string{"", "-wal", "-shm"}

// leastBusyWait is how long a ledger that another program holds is waited for without
// --wait: as long as somebody's query takes, and the end of another command.
const leastBusyWait = 3 * time.Second

// openLedgerFile opens the ledger, and waits for another program that holds its file, such
// as a backup, as --wait says.
func (j *job) openLedgerFile(ctx context.Context, o ledger.Options) (err error) {
	if err := j.checkOrigin(ctx); err != nil {
		return err
	}
	if o, err = j.ledgerOptions(o); err != nil {
		return err
	}
	enough := time.NewTimer(max(leastBusyWait, j.opts.wait))
	defer enough.Stop()
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		j.led, err = j.opts.ledgers.open(ctx, j.names.ledger, o)
		if err == nil {
			j.later(j.led.Close)
		}
		if !errors.Is(err, ledger.ErrBusy) {
			return err
		}
		select {
		case <-poll.C:
		case <-enough.C:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ledgerIsThere refuses what needs a ledger where there is none.
func (j *job) ledgerIsThere(ctx context.Context) error {
	there, err := j.opts.ledgers.exists(ctx, j.names.ledger)
	switch {
	case there || err != nil && j.db == nil: // a file that can not be looked at is told when it is opened
		return nil
	case err != nil:
		return err
	case j.db != nil:
		return refusef("Run the sheet first, or name its ledger with --ledger.", "there is no ledger %s in the database", j.names.ledger)
	}
	return refusef("Run the sheet first, or name its ledger with --ledger.", "there is no ledger %s", j.names.ledger)
}

// openToRead finds the ledger that a command reads, holds runs off it, and opens it
// for reading: a ledger whose chain is broken opens too.
func (j *job) openToRead(ctx context.Context) (err error) {
	if j.names, err = j.namesToRead(ctx); err != nil {
		return err
	}
	if err := j.ledgerIsThere(ctx); err != nil {
		return err
	}
	err = j.lockLedger(ctx, j.opts.wait)
	if err != nil && j.db != nil {
		return err
	}
	// Where no lock can be made, on a read-only disk for one, nobody can run either.
	if _, held := errors.AsType[*heldError](err); held || err != nil && ctx.Err() != nil {
		return err
	}
	return j.openLedgerFile(ctx, ledger.Options{ReadOnly: true})
}

// checkPlace keeps what was done in a sandbox and what was done in a CRM apart.
func (j *job) checkPlace() error {
	bindings, err := j.led.Bindings(context.Background())
	if err != nil {
		return err
	}
	for _, b := range bindings {
		if (b.Host == sandboxHost) == j.opts.sandbox {
			continue
		}
		if j.opts.sandbox {
			return refusef("Name another ledger with --ledger, or leave out --sandbox.",
				"%s is the ledger of %s at %s, not of a sandbox", j.names.ledger, b.CRM, b.Host)
		}
		return refusef("Use the original sheet, name another ledger with --ledger, or give --sandbox.",
			"%s is the ledger of a sandbox", j.names.ledger)
	}
	return nil
}

// openAccounts makes the accounts, those of a sandbox or those of the
// configuration, and the batch that works with them. With keep, the sandbox keeps
// its state beside the ledger.
func (j *job) openAccounts(keep bool) (err error) {
	opts := batch.Options{
		Zone: j.opts.timezone.Location, Require: j.opts.require, Now: j.now,
		Protect: j.cfg.Protect, SkipInvalid: j.opts.skipInvalid, AllowRoundedIDs: j.opts.allowRoundedIDs, RedoInDoubt: j.opts.redoInDoubt,
		ConfirmOff: j.opts.confirmOff(), ConfirmTimeout: j.opts.confirmTimeout, Guard: j.opts.guard.Guard,
		Describe: !keep, // `plan` is there to be read
		Record: batch.Record{
			Sheet: j.sheetBase(), SheetID: j.sheetID(), Version: programVersion(), Operator: j.operator(), Args: j.args,
		},
		Log: j.log,
	}
	var byObject kinds // whose accounts rows without one go to
	if j.opts.sandbox {
		byObject = j.crms.inSandbox()
		if name := strings.ToLower(j.opts.account); slices.Contains(byObject.names(), name) {
			opts.Default = name
		}
		err = j.openWorld(keep)
	} else {
		if j.accounts = j.known; j.accounts == nil {
			j.accounts, err = newAccounts(j.crms, j.cfg, j.opts, j.secrets())
		}
		if err == nil {
			opts.Default, err = defaultAccount(j.cfg, j.opts.account)
		}
		if j.cfg.Path == "" {
			// The environment's accounts are called after their CRMs.
			byObject = slices.DeleteFunc(slices.Clone(j.crms), func(k kind) bool {
				return !slices.ContainsFunc(j.accounts, func(a *account) bool { return a.name == k.name })
			})
		}
	}
	if err != nil {
		return err
	}
	opts.Accounts, opts.Words = batchAccounts(j.accounts), j.crms.words(j.accounts, byObject)
	j.batch, err = batch.New(j.led, opts)
	j.working.Store(j.batch)
	return err
}

// secrets is where the configuration's secrets are read.
func (j *job) secrets() secretSource {
	return secretSource{lookup: j.lookup, warn: func(m string) { j.log.Warn(m) }}
}

// openWorld starts the sandbox of this run.
func (j *job) openWorld(keep bool) (err error) {
	journal := ""
	if keep {
		journal = j.names.state
	}
	if j.world, err = startWorld(j.crms, "", journal, true); err != nil {
		return err
	}
	j.later(j.world.close)
	j.unlessCommitted(j.world.forget)
	j.accounts, err = j.world.accounts(j.opts)
	return err
}

const (
	// leastOpenFiles is how many files a run needs: some 20 for the ledger, the sheet, locks
	// and state, and a few for connections. With 20, calls wait for each other for minutes
	// (measured 2026-11).
	leastOpenFiles = 24
	// filesOfAccount is how many files one account more needs: its lock, the stamps of its
	// calls, and a connection.
	filesOfAccount = 3
	// callsPerProcessor is how many calls may be under way at one time for each processor,
	// over all accounts: what a processor carries, some 1,500 calls a second, at a third
	// of a second for an answer (measured 2026-11). More take memory and make nothing faster.
	callsPerProcessor = 512
	// gcAccounts is from how many accounts on the garbage collector runs more often: when as
	// much garbage has come as is gcPercent of what is in use. 500 accounts took 133 to 140
	// MiB with 50 and 153 to 172 with Go's 100, for some tenth of the processor time; with
	// 40 it was 130 MiB for a fifth (measured 2026-11).
	gcAccounts = 50
	gcPercent  = 50
)

// callsAtOnce returns how many calls may be under way at one time over so many accounts, or
// refuses to work with so many: this process can not have enough files open.
func callsAtOnce(accounts int, most uint64) (int, error) {
	calls := callsPerProcessor * runtime.GOMAXPROCS(0)
	if most == 0 {
		return calls, nil
	}
	need := uint64(leastOpenFiles + filesOfAccount*max(0, accounts-1))
	if most < need {
		what := ""
		if accounts > 1 {
			what = fmt.Sprintf(" for %d accounts", accounts)
		}
		return 0, refusef(fmt.Sprintf("Raise the limit, with `ulimit -n %d` for one.", max(256, need+need/4)),
			"this process may have %d files open at once, connections among them; it needs at least %d%s", most, need, what)
	}
	left := int(min(most, 1<<20)) - leastOpenFiles - (filesOfAccount-1)*accounts
	return min(calls, max(left, accounts)), nil
}

// connect connects the accounts of those names, and gives the batch their providers.
func (j *job) connect(ctx context.Context, names []string) (err error) {
	atOnce, err := callsAtOnce(len(names), mostOpenFiles())
	if err != nil {
		return err
	}
	j.batch.Bound(atOnce)
	if _, set := j.lookup("GOGC"); !set && len(names) >= gcAccounts {
		debug.SetGCPercent(gcPercent)
	}
	o := connectOptions{wait: j.opts.wait, holder: me(j.sheet), log: j.log, userAgent: "bulkrevoke/" + programVersion(), atOnce: atOnce, db: j.db}
	if !j.opts.sandbox {
		if o.state, err = stateFolder(j.lookup); err != nil {
			return err
		}
	}
	used := slices.DeleteFunc(slices.Clone(j.accounts), func(a *account) bool { return !slices.Contains(names, a.name) })
	j.conns, err = connectAccounts(ctx, used, o)
	j.later(j.conns.close)
	if err != nil {
		return err
	}
	for _, c := range j.conns.accounts {
		if err := j.batch.Connect(c.account.name, c.provider, c.org.gate); err != nil {
			return err
		}
	}
	return nil
}

// operator returns who has asked for what the job does.
func (j *job) operator() string {
	if j.submitted != nil {
		return j.submitted.By
	}
	return operator()
}

// operator returns who runs the program, for the ledger's record. In a container the system
// often has no name for the user, and USER is who the engine was told.
func operator() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	if name := os.Getenv("USER"); name != "" {
		return name
	}
	return fmt.Sprintf("user %d", os.Getuid())
}
