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

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// evidence returns the files that are to tell how a run ended.
func (o *options) evidence() report.Files {
	return report.Files{Report: o.report, Summary: o.summary, Metrics: o.metricsFile}
}

// checkOutput makes sure that the result can be written before anything is sent. It may take
// the place of the sheet only where this ledger has written the sheet as a result.
func (j *job) checkOutput(ctx context.Context) error {
	ours, err := j.led.HasWritten(ctx, j.names.output)
	if err != nil {
		return err
	}
	if ours || !j.names.inPlace() {
		return report.CheckTarget(j.names.output, ours)
	}
	_, known, err := j.led.Source(ctx)
	if err != nil {
		return err
	}
	return j.withoutLedger(known)
}

// withoutLedger refuses a result in the place of a sheet that the ledger has not written.
// known says that the ledger has had a sheet.
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

// checkEvidence makes sure, before anything is sent, that the report, the summary and the
// metrics can be written where the flags want them, and that no flag names the file of
// another. What can not be written is told here, and not tried again.
func (j *job) checkEvidence() error {
	e := &j.evidence
	named := map[string]string{}
	for _, f := range []struct{ what, path string }{
		{"the sheet", j.names.sheet}, {"the ledger", j.names.ledgerFile()}, {"the result", j.names.output},
		{"--report", e.Report}, {"--summary", e.Summary}, {"--metrics-file", e.Metrics},
	} {
		path, err := filepath.Abs(f.path)
		if f.path == "" || f.path == standardInput || err != nil {
			continue
		}
		other, taken := named[path]
		if taken && f.what != "the result" { // which may take the sheet's place
			*e = report.Files{}
			return refusef("Name another file.", "%s and %s are the same file, %s", other, f.what, f.path)
		}
		named[path] = f.what
	}
	var errs []error
	for _, f := range []struct {
		path  *string
		check func(path string) error
	}{
		{&e.Report, func(path string) error { return report.CheckReport(path, j.led.ID()) }},
		{&e.Summary, report.CheckSummaryFile},
		{&e.Metrics, report.CheckMetrics},
	} {
		if *f.path == "" {
			continue
		}
		if err := f.check(*f.path); err != nil {
			errs = append(errs, err)
			*f.path = ""
		}
	}
	return errors.Join(errs...)
}

// writeEvidence writes what --report, --summary and --metrics-file ask for, of a
// run that failed too: the files of a job that refuses every night must say so, and
// none of them may go on telling of the last night that went well.
func (j *job) writeEvidence(ctx context.Context, failure error) error {
	e, facts := j.evidence, j.facts(failure)
	_, held := errors.AsType[*heldError](failure)
	var errs []error
	switch {
	case e.Report == "":
	case j.committed:
		errs = append(errs, report.WriteHTML(ctx, j.led, j.ended, facts, e.Report))
	case held && j.led == nil:
		// Another run is at this sheet, and writes the page when it ends.
	default:
		errs = append(errs, report.WriteRefusal(ctx, j.ledgerOfReport(), facts, e.Report))
	}
	if e.Summary != "" {
		errs = append(errs, report.WriteSummaryJSON(ctx, j.led, j.ended, facts, e.Summary))
	}
	if e.Metrics != "" {
		errs = append(errs, report.WriteMetrics(ctx, j.led, j.ended, facts, e.Metrics))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write the evidence: %w", err)
	}
	return nil
}

// facts are what the evidence says beside the ledger and the engine.
func (j *job) facts(failure error) report.Facts {
	f := report.Facts{
		Sheet: j.sheet, Operator: operator(), Version: programVersion(), Args: j.args,
		Plan: j.plan, ExitCode: j.code, Failure: failure,
		Again: againCommand(j.args), AcceptedIsDone: j.opts.confirmOff(), Sandbox: j.opts.sandbox, SLA: j.opts.sla, Files: j.evidence,
	}
	f.Files.Results, f.Files.Ledger = j.names.output, j.names.ledger
	f.Host, _ = os.Hostname() // left out where the machine has no name
	if failure != nil {
		f.ExitCode, _, f.Hint = exit(failure)
	}
	return f
}

// refused writes the evidence of a run that ended with its command line, its environment
// or its configuration, as far as these can be made out, and returns the error.
func (a *app) refused(ctx context.Context, err error) error {
	o, name := a.looseOptions()
	a.sheet = cmp.Or(a.sheet, name)
	a.job = &job{app: a, opts: o, log: newLog(a.screen, o), isRun: !o.dryRun}
	if o.dryRun || a.sheet == "" {
		return err // nobody knows whose evidence it would be
	}
	for _, f := range o.files()[2:] {
		if strings.HasPrefix(*f.path, "--") || checkFormat("", *f.path, f.endings) != nil {
			*f.path = "" // which may be what was refused
		}
	}
	a.job.evidence = o.evidence()
	a.job.sayUntouched(err)
	return errors.Join(err, a.job.writeEvidence(context.WithoutCancel(ctx), err))
}

// probableNames is what the files of the sheet are called, also where that is not
// known: the sheet could not be read, so that nobody knows whether it is a result.
func (j *job) probableNames() (names, error) {
	if j.names.ledger != "" {
		return j.names, nil
	}
	return namesOf(j.sheet, j.opts.output, j.opts.ledger, looksLikeResult(j.sheet), j.opts.sandbox, j.db != nil)
}

// ledgerOfReport returns the id of the ledger that the report of a refused run belongs
// to, "" if the sheet has none that lasts.
func (j *job) ledgerOfReport() string {
	if j.led != nil {
		if j.made {
			return ""
		}
		return j.led.ID()
	}
	n, err := j.probableNames()
	if err != nil {
		return ""
	}
	led, err := j.opts.ledgers.open(context.Background(), n.ledger, ledger.Options{ReadOnly: true})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		return report.ReportLedger(j.evidence.Report) // it cannot be read, and the page may be its
	}
	defer led.Close() // it was only read
	return led.ID()
}

// sayUntouched says of a result that is there that it is not of this run: whoever has
// stopped a run looks there for what was done.
func (j *job) sayUntouched(failure error) {
	if failure == nil || j.committed {
		return
	}
	n := j.names
	if n.output == "" && errors.Is(failure, context.Canceled) { // so early that the names were not known
		n, _ = j.probableNames()
	}
	if n.output == "" || n.inPlace() {
		return
	}
	if there, err := exists(n.output); there && err == nil {
		j.log.Warn("nothing was sent, and the result file is not of this run", "results", n.output)
	}
}
