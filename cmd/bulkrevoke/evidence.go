package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// checkEvidence makes sure, before anything is sent, that the report, the summary
// and the metrics can be written where the flags want them.
func (j *job) checkEvidence() error {
	o := j.opts
	if err := j.checkDistinct(); err != nil {
		o.report, o.summary, o.metricsFile = "", "", ""
		return err
	}
	// What can not be written is told once, here, and not tried again.
	var errs []error
	check := func(path *string, err error) {
		if err != nil {
			errs = append(errs, err)
			*path = ""
		}
	}
	if o.report != "" {
		check(&o.report, report.CheckReport(o.report, j.led.ID()))
	}
	if o.summary != "" {
		check(&o.summary, report.CheckSummaryFile(o.summary))
	}
	if o.metricsFile != "" {
		check(&o.metricsFile, report.CheckMetrics(o.metricsFile))
	}
	return errors.Join(errs...)
}

// checkDistinct refuses flags that name one file twice.
func (j *job) checkDistinct() error {
	o := j.opts
	named := map[string]string{}
	for _, f := range []struct{ what, path string }{
		{"the sheet", j.names.sheet}, {"the ledger", j.names.ledger}, {"the result", j.names.output},
		{"--report", o.report}, {"--summary", o.summary}, {"--metrics-file", o.metricsFile},
	} {
		path, err := filepath.Abs(f.path)
		if f.path == "" || f.path == standardInput || err != nil {
			continue
		}
		other, taken := named[path]
		if taken && f.what != "the result" { // which may take the sheet's place
			return refusef("Name another file.", "%s and %s are the same file, %s", other, f.what, f.path)
		}
		named[path] = f.what
	}
	return nil
}

// writeEvidence writes what --report, --summary and --metrics-file ask for, of a
// run that failed too: the files of a job that refuses every night must say so, and
// none of them may go on telling of the last night that went well.
func (j *job) writeEvidence(ctx context.Context, failure error) error {
	o := j.opts
	facts := j.facts(failure)
	_, held := errors.AsType[*heldError](failure)
	var errs []error
	switch {
	case o.report == "":
	case j.adopted:
		errs = append(errs, report.WriteHTML(ctx, j.led, j.ended, facts, o.report))
	case held && j.led == nil:
		// Another run is at this sheet, and writes the page when it ends.
	default:
		errs = append(errs, report.WriteRefusal(ctx, j.ledgerOfReport(), facts, o.report))
	}
	if o.summary != "" {
		errs = append(errs, report.WriteSummaryJSON(ctx, j.led, j.ended, facts, o.summary))
	}
	if o.metricsFile != "" {
		errs = append(errs, report.WriteMetrics(ctx, j.led, j.ended, facts, o.metricsFile))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write the evidence: %w", err)
	}
	return nil
}

// refused writes the evidence of a run that ended with its command line, its environment
// or its configuration, as far as these can be made out, and returns the error.
func (a *app) refused(ctx context.Context, err error) error {
	o, name := a.understood()
	a.opts, a.sheet = o, cmp.Or(a.sheet, name)
	if o.dryRun {
		return err
	}
	a.runEnded = func(code int) report.Event { return report.RunEnded(batch.Summary{}, report.Facts{}, code) }
	if a.sheet == "" {
		return err // nobody knows whose evidence it would be
	}
	for _, f := range []struct {
		path    *string
		endings []string
	}{{&o.report, reportEndings}, {&o.summary, summaryEndings}, {&o.metricsFile, metricsEndings}} {
		if strings.HasPrefix(*f.path, "--") || checkFormat("", *f.path, f.endings) != nil {
			*f.path = "" // which may be what was refused
		}
	}
	a.log = newLog(a.screen, o)
	j := &job{app: a}
	j.sayUntouched(err)
	return errors.Join(err, j.writeEvidence(context.WithoutCancel(ctx), err))
}

// ledgerOfReport returns the id of the ledger that the report of a refused run belongs
// to, "" if the sheet has none that lasts.
func (j *job) ledgerOfReport() string {
	switch {
	case j.made:
		return ""
	case j.led != nil:
		return j.led.ID()
	}
	path := j.names.ledger
	if path == "" {
		// The sheet could not be read, so that nobody knows whether it is a result.
		n, err := namesOf(j.sheet, j.opts.output, j.opts.ledger, looksLikeResult(j.sheet), j.opts.sandbox)
		if err != nil {
			return ""
		}
		path = n.ledger
	}
	led, err := ledger.Open(path, ledger.Options{ReadOnly: true})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		return report.ReportLedger(j.opts.report) // it cannot be read, and the page may be its
	}
	defer led.Close() // it was only read
	return led.ID()
}

// sayUntouched says of a result that is there that it is not of this run: whoever has
// stopped a run looks there for what was done.
func (j *job) sayUntouched(failure error) {
	if failure == nil || j.adopted {
		return
	}
	n := j.names
	if n.output == "" && errors.Is(failure, context.Canceled) { // so early that the names were not settled
		n, _ = namesOf(j.sheet, j.opts.output, j.opts.ledger, looksLikeResult(j.sheet), j.opts.sandbox)
	}
	if n.output == "" || n.inPlace() {
		return
	}
	if there, err := exists(n.output); there && err == nil {
		j.log.Warn("nothing was sent, and the result file is not of this run", "results", n.output)
	}
}

// facts are what the evidence says beside the ledger and the engine.
func (j *job) facts(failure error) report.Facts {
	f := report.Facts{
		Sheet: j.sheet, Operator: operator(), Version: programVersion(), Args: j.args,
		Plan: j.plan, ExitCode: j.code, Failure: failure,
		Again: againCommand(j.args), AcceptedIsDone: j.opts.confirmOff(), Sandbox: j.opts.sandbox,
		Files: report.Files{
			Results: j.names.output, Ledger: j.names.ledger,
			Report: j.opts.report, Summary: j.opts.summary, Metrics: j.opts.metricsFile,
		},
	}
	f.Host, _ = os.Hostname() // left out where the machine has no name
	if failure != nil {
		f.ExitCode, _, f.Hint = exit(failure)
	}
	return f
}
