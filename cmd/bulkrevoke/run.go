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

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// errDeclined is a no at the question.
var errDeclined = errors.New("declined, nothing was sent")

// runSheet does what a sheet asks for. Until Adopt an error is a refusal: nothing
// was sent, and nothing that was made along the way stays.
func (a *app) runSheet(ctx context.Context, name string) (err error) {
	ctx, cancel := a.opts.bound(ctx)
	defer cancel()
	j := &job{app: a}
	a.runEnded = func(code int) report.Event { return report.RunEnded(j.ended, report.Facts{}, code) }
	defer func() {
		if !j.adopted && j.batch != nil {
			j.ended.Accounts = j.batch.Usage() // the checks have made calls
		}
		j.sayUntouched(err)
		told := j.writeEvidence(context.WithoutCancel(ctx), err)
		if told != nil && j.adopted {
			told = &startedError{told}
		}
		err = errors.Join(err, told)
		closed := j.close()
		if closed != nil && j.adopted {
			closed = &startedError{closed}
		}
		err = errors.Join(err, closed)
	}()
	if err := j.prepareRun(ctx, name); err != nil {
		return err
	}
	plan, err := j.batch.Prepare(ctx)
	if err != nil {
		return err
	}
	j.plan = plan
	if err := j.opts.checkPlan(plan); err != nil {
		return err
	}
	if err := j.ask(ctx, plan); err != nil {
		return err
	}
	return j.carryOut(ctx)
}

// prepareRun opens, locks and checks everything that can be checked without
// asking a CRM.
func (j *job) prepareRun(ctx context.Context, name string) error {
	if err := j.openSheet(ctx, name); err != nil {
		return err
	}
	started := time.Now()
	if err := j.lockLedger(ctx); err != nil {
		return err
	}
	j.sweep(started)
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
	if err := j.openAccounts(true); err != nil {
		return err
	}
	if err := j.load(ctx); err != nil {
		return err
	}
	return j.connect(ctx, j.batch.Used())
}

// sweep removes what a killed run of this sheet left under temporary names beside its
// ledger, its result and its evidence. The ledger's lock keeps other runs away. What can not be
// removed is warned about: it holds people's data, and keeps nothing from being done.
func (j *job) sweep(started time.Time) {
	if err := ledger.Sweep(j.names.ledger, started); err != nil {
		j.log.Warn("what a killed run left could not be removed", "error", err)
	}
	j.sweepFiles(started, j.names.output, j.opts.report, j.opts.summary, j.opts.metricsFile)
}

// sweepFiles is sweep for files that the command writes, those of them that have a name.
func (j *job) sweepFiles(started time.Time, paths ...string) {
	for _, path := range paths {
		if path == "" {
			continue
		}
		if err := report.Sweep(path, started); err != nil {
			j.log.Warn("what a killed run left could not be removed", "error", err)
		}
	}
}

// checkOutput makes sure that the result can be written before anything is sent.
func (j *job) checkOutput(ctx context.Context) error {
	ours, err := j.led.HasWritten(ctx, j.names.output)
	if err != nil {
		return err
	}
	if !ours && j.names.inPlace() {
		_, known, err := j.led.Source(ctx)
		if err != nil {
			return err
		}
		return j.withoutLedger(known)
	}
	return report.CheckTarget(j.names.output, ours)
}

// withoutLedger refuses to write the result over the sheet: over one that is no result,
// and over a result file whose ledger, which knows what of it was done, is another, or is
// not there. known says that the one by this name
// has had a sheet.
func (j *job) withoutLedger(known bool) error {
	if j.reader != nil && !j.reader.Layout().IsResult {
		return refusef("Name another file; without -o the result stands beside the sheet.", "-o %s: is the sheet itself", j.names.output)
	}
	what := fmt.Sprintf("%s has not written it", j.names.ledger)
	if !known {
		what = fmt.Sprintf("its ledger %s is not there", j.names.ledger)
	}
	return refusef("Name the ledger with --ledger, or put it there. To start over, name another result with -o: all rows are sent again then.",
		"%s is the result of an earlier run, and %s", j.names.sheet, what)
}

// ask shows the plan and asks whether to go on, where a person can answer: on a
// terminal, with changes to send to a real CRM, and unless --yes.
func (j *job) ask(ctx context.Context, plan *batch.Plan) error {
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
	j.screen.Ask(fmt.Sprintf("Send %s%s to %s? [y/N] ", plural(plan.ToSend, "change"), of, strings.Join(places, ", ")))
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

// plural writes a number with its noun.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// carryOut adopts the sheet, runs it and reports. From the adoption on, errors are
// those of a run that had begun.
func (j *job) carryOut(ctx context.Context) error {
	if err := j.batch.Adopt(ctx); err != nil {
		return err
	}
	j.adopted = true
	path, err := filepath.Abs(j.names.output)
	if err == nil {
		err = j.led.Wrote(ctx, path)
	}
	if err != nil {
		return &startedError{err}
	}
	stop := j.showProgress()
	summary, runErr := j.batch.Run(ctx)
	stop()
	j.conns.rest() // where few files may be open at once, the result needs their place
	// What was done is told in any case, also to somebody who has interrupted it.
	ctx = context.WithoutCancel(ctx)
	var reasons report.Reasons
	if _, err := report.WriteResults(ctx, j.led, report.Target{Path: j.names.output, Reasons: &reasons}); err != nil {
		runErr = errors.Join(runErr, fmt.Errorf("%w: %w", report.ErrNoOutput, err))
	}
	j.ended = summary
	if err := j.summarise(summary, &reasons, runErr); err != nil {
		runErr = errors.Join(runErr, err)
	}
	if runErr != nil {
		return &startedError{runErr}
	}
	j.code = verdict(summary, j.opts.confirmOff())
	return nil
}

// summarise tells how the run ended; failure, nil if there is none, is told after it. A
// run that could not even begin has nothing to tell.
func (j *job) summarise(s batch.Summary, reasons *report.Reasons, failure error) error {
	facts := j.facts(failure)
	facts.Sheet = title(j.sheet)
	j.runEnded = func(code int) report.Event { return report.RunEnded(s, facts, code) }
	if j.opts.quiet || s.Started.IsZero() {
		return nil
	}
	var b strings.Builder
	if err := report.WriteSummary(&b, s, facts, reasons); err != nil {
		return err
	}
	j.screen.Tell(report.Event{Text: b.String()}) // machines get runEnded, after everything else
	return nil
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
