package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// errDeclined is a no at the question.
var errDeclined = errors.New("declined, nothing was sent")

func (a *app) runCommand() *cobra.Command {
	o := newOptions()
	cmd := a.sheetCommand(o, &cobra.Command{
		Use:   "run SHEET",
		Short: "Do what the sheet asks for: check, plan, execute, confirm, write results",
		Long: `Check every row, show what would be done, do it, ask the CRM whether it is really so, and
write SHEET.results.csv beside the sheet. SHEET is a .csv, .tsv, .txt or
.xlsx file, or - for standard input.

Every flag can be given as an environment variable too (--skip-invalid as BULKREVOKE_SKIP_INVALID)
or in the configuration (skip-invalid: true).

Exit codes: 0 every row is done or unchanged; 1 some rows are failed, invalid, in doubt or
unconfirmed; 2 refused, nothing was sent; 3 stopped early, run again to go on; 4 another run or
program is at it; 129, 130 and 143 interrupted by SIGHUP, SIGINT or SIGTERM, run again to go on.`,
		Example: `  bulkrevoke run --sandbox samples/offboarding.csv
  bulkrevoke run offboarding.csv
  bulkrevoke run --account sales-eu --skip-invalid offboarding.csv -o done/offboarding.csv
  query-leavers | bulkrevoke run - -o leavers.csv --ledger leavers.ledger.db`,
	}, func(ctx context.Context, j *job) error {
		if o.dryRun {
			return j.showPlan(ctx)
		}
		return j.run(ctx)
	})
	o.addRunFlags(cmd.Flags())
	return cmd
}

// run does what the sheet asks for. Until Commit an error is a refusal: nothing was sent,
// and nothing that was made along the way stays.
func (j *job) run(ctx context.Context) (err error) {
	ctx, cancel := j.opts.bound(ctx)
	defer cancel()
	j.isRun, j.evidence = true, j.opts.evidence()
	defer func() {
		if !j.committed && j.batch != nil {
			j.ended.Accounts = j.batch.Usage() // the checks have made calls
		}
		j.sayUntouched(err)
		err = errors.Join(err, j.started(j.writeEvidence(context.WithoutCancel(ctx), err)))
	}()

	// Read the header of the sheet, which says what its files are called.
	if err := j.openSheet(ctx); err != nil {
		return err
	}

	// Open the ledger, and see that all files can be written.
	began := time.Now()
	if err := j.lockLedger(ctx, j.opts.wait); err != nil {
		return err
	}
	ctx, stopWatching := j.whileHost(ctx)
	defer stopWatching()
	if err := j.sweepLedger(began); err != nil {
		j.log.Warn("what a killed run left could not be removed", "error", err)
	}
	j.sweep(began, j.names.output, j.evidence.Report, j.evidence.Summary, j.evidence.Metrics)
	if j.opts.fresh {
		if err := j.setAside(ctx); err != nil {
			return err
		}
	}
	if err := j.openLedger(ctx); err != nil {
		return err
	}
	if !j.opts.fresh {
		if err := j.checkOutput(ctx); err != nil {
			return err
		}
	}
	if err := j.checkEvidence(); err != nil {
		return err
	}

	// Import the rows, and connect the accounts that they name.
	if err := j.openAccounts(true); err != nil {
		return err
	}
	if err := j.load(ctx); err != nil {
		return err
	}
	if err := j.connect(ctx, j.batch.Used()); err != nil {
		return err
	}

	// Plan, and ask.
	if err := j.makePlan(ctx); err != nil {
		return err
	}
	if err := j.ask(ctx); err != nil {
		return err
	}

	// Execute. From the commit on, errors are those of a run that had begun.
	if err := j.batch.Commit(ctx); err != nil {
		return err
	}
	j.committed = true
	path, err := filepath.Abs(j.names.output)
	if err == nil {
		err = j.led.Wrote(ctx, path)
	}
	if err != nil {
		return j.started(err)
	}
	stop := j.showProgress()
	summary, runErr := j.runBatch(ctx)
	stop()
	j.conns.rest() // where few files may be open at once, the result needs their place

	// Report what was done in any case, also to somebody who has interrupted it.
	var reasons report.Reasons
	target := report.Target{Path: j.names.output, Reasons: &reasons, Facts: j.facts(runErr)}
	if !summary.Started.IsZero() {
		target.Run = &summary
	}
	if _, err := report.WriteResults(context.WithoutCancel(ctx), j.led, target); err != nil {
		runErr = errors.Join(runErr, fmt.Errorf("%w: %w", report.ErrNoOutput, err))
	}
	j.ended, j.text = summary, j.facts(runErr)
	j.text.Sheet = title(j.sheet)
	if !j.opts.quiet && !summary.Started.IsZero() { // else it could not even begin
		var b strings.Builder
		if err := report.WriteSummary(&b, summary, j.text, &reasons); err != nil {
			runErr = errors.Join(runErr, err)
		} else {
			j.screen.Tell(report.Event{Text: b.String()}) // machines are told last of all
		}
	}
	j.code = verdict(summary, j.opts.confirmOff())
	return j.started(runErr)
}

// makePlan says what there is to do, and refuses what the guard rails do not allow.
func (j *job) makePlan(ctx context.Context) (err error) {
	if j.plan, err = j.batch.Prepare(ctx); err != nil {
		return err
	}
	return j.opts.checkPlan(j.plan)
}

// load reads the sheet to its end and checks every row, and that its result can be
// written as it was asked for.
func (j *job) load(ctx context.Context) error {
	if err := j.batch.LoadSheet(ctx, j.reader); err != nil {
		return err
	}
	if j.world != nil {
		if err := j.world.seedAll(j.batch.Rows(ctx)); err != nil {
			return err
		}
	}
	return report.CheckSize(j.names.output, j.reader.Extent())
}

// ask shows the plan and asks whether to go on, where a person can answer: on a
// terminal, with changes to send to a real CRM, and unless --yes.
func (j *job) ask(ctx context.Context) error {
	plan := j.plan
	if j.opts.yes || j.opts.sandbox || plan.ToSend == 0 || !j.terminal(j.stdin) || !j.terminal(j.stderr) {
		for _, note := range plan.Notes { // nobody sees the plan
			j.log.Warn("the plan has a note", "note", note)
		}
		return nil
	}
	j.screen.Tell(report.PlanEvent(title(j.sheet), *plan))
	var places []string
	for _, a := range plan.Accounts {
		places = append(places, fmt.Sprintf("%s (%s)", a.Account, a.Host))
	}
	of := ""
	if plan.Worksheet != nil {
		of = " of " + report.Printable(plan.Worksheet.Of(title(j.sheet))) + ","
	}
	j.screen.Ask(fmt.Sprintf("Send %s%s to %s? [y/N] ", report.Count(plan.ToSend, "change"), of, strings.Join(places, ", ")))
	answer := make(chan string, 1)
	// The goroutine may outlive the question: a read from a terminal can not be called
	// off, and the program ends right after.
	go func() {
		line, _ := bufio.NewReader(j.stdin).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case word := <-answer:
		j.screen.Answered()
		if word != "y" && word != "yes" {
			return &usageError{err: errDeclined, hint: "Answer y, or give --yes."}
		}
		return nil
	}
}

// showProgress shows how the run stands until the returned function is called.
func (j *job) showProgress() (stop func()) {
	mode := j.opts.progress.value
	if j.opts.quiet || mode == "never" {
		return func() {}
	}
	term, _ := j.lookup("TERM") // a dumb one can not draw over a line
	opts := report.ProgressOptions{
		Screen: j.screen, Bar: !j.screen.JSON() && term != "dumb" && (mode == "always" || j.terminal(j.stderr)), Width: j.terminalWidth,
		Get: j.batch.Progress, AcceptedIsDone: j.opts.confirmOff(),
	}
	return report.StartProgress(opts).Stop
}

// againCommand returns the command line that goes on with this run, for a shell:
// the same without what is meant for one time.
func againCommand(args []string) string {
	words := []string{"bulkrevoke"}
	for _, arg := range args {
		if slices.Contains([]string{"--fresh", "--fresh=true", "--redo-in-doubt", "--redo-in-doubt=true"}, arg) {
			continue
		}
		words = append(words, shellQuote(arg))
	}
	return strings.Join(words, " ")
}

// shellQuote quotes a word if a shell would read it otherwise.
func shellQuote(word string) string {
	safe := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./=:,@%+", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !safe(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
