package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// planSheet shows what a run would do. It sends no change and leaves no file; it
// reads the ledger if there is one.
func (a *app) planSheet(ctx context.Context, name string) (err error) {
	ctx, cancel := a.opts.bound(ctx)
	defer cancel()
	j := &job{app: a}
	defer func() { err = errors.Join(err, j.close()) }()
	if err := j.openSheet(ctx, name); err != nil {
		return err
	}
	if err := j.openToLook(ctx); err != nil {
		return err
	}
	if err := j.checkPlace(); err != nil {
		return err
	}
	if err := j.openAccounts(false); err != nil {
		return err
	}
	if err := j.load(ctx); err != nil {
		return err
	}
	if err := j.connect(ctx, j.batch.Used()); err != nil {
		return err
	}
	plan, err := j.batch.Prepare(ctx)
	if err != nil {
		return err
	}
	j.code = planVerdict(plan)
	write := report.WritePlan
	if a.opts.json {
		write = report.WritePlanJSON
	}
	if err := write(a.stdout, title(a.sheet), *plan); err != nil {
		return err
	}
	return a.opts.checkPlan(plan)
}

// openToLook opens the ledger for reading, or a scratch one if there is none or
// the run would start over.
func (j *job) openToLook(ctx context.Context) (err error) {
	if !j.opts.fresh {
		if err = j.openLedgerFile(ctx, ledger.Options{ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if j.names.inPlace() {
			return j.withoutLedger(false)
		}
	}
	dir := os.TempDir()
	if err := takesFiles(dir); err != nil {
		return refusef("Name a folder that takes files in TMPDIR.",
			"the folder for temporary files, %s, takes none: %w", dir, report.Reason(err))
	}
	if j.led, err = ledger.Scratch(dir); err == nil {
		j.later(j.led.Close)
	}
	return err
}

// takesFiles says whether a folder takes files, by making one and removing it.
func takesFiles(dir string) error {
	file, err := os.CreateTemp(dir, "bulkrevoke.*.tmp")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// planVerdict returns the exit code of a plan: an account that can not be worked
// with is told by it too.
func planVerdict(p *batch.Plan) int {
	for _, a := range p.Accounts {
		if a.Ended != nil {
			return exitStopped
		}
	}
	return exitDone
}
