package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

func (a *app) planCommand() *cobra.Command {
	o := newOptions()
	cmd := a.sheetCommand(o, &cobra.Command{
		Use:   "plan SHEET",
		Short: "Check the sheet and show what run would do; send no change, leave no file",
		Long: `Check every row, ask the CRM who is who, and show what run would send, what is done already and
how long it will take. No change is sent and no file is left. The flags are those of run.

Exit codes: 0 the plan is shown; 2 refused, as run would be; 3 an account can not be worked with, or
the plan could not be written; 4 another run is at it; 129, 130 and 143 interrupted.`,
		Example: `  bulkrevoke plan offboarding.csv
  bulkrevoke plan --json offboarding.csv | jq .to_send`,
	}, func(ctx context.Context, j *job) error { return j.showPlan(ctx) })
	o.addRunFlags(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "write the plan as JSON")
	return cmd
}

// showPlan shows what a run would do. It sends no change and leaves no file; it reads the
// ledger if there is one.
func (j *job) showPlan(ctx context.Context) error {
	ctx, cancel := j.opts.bound(ctx)
	defer cancel()
	if err := j.openSheet(ctx); err != nil {
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
	for _, acc := range plan.Accounts {
		if acc.Ended != nil {
			j.code = exitStopped
		}
	}
	write := report.WritePlan
	if j.opts.json {
		write = report.WritePlanJSON
	}
	if err := write(j.stdout, title(j.sheet), *plan); err != nil {
		return err
	}
	return j.opts.checkPlan(plan)
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
