package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
// run that failed too: the files of a job that refuses every night must say so. The
// report needs a run.
func (j *job) writeEvidence(ctx context.Context, failure error) error {
	o := j.opts
	facts := j.facts(failure)
	var errs []error
	if o.report != "" && j.adopted {
		errs = append(errs, report.WriteHTML(ctx, j.led, j.ended, facts, o.report))
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
	if !j.adopted {
		f.Files.Report = "" // it takes a run
	}
	f.Host, _ = os.Hostname() // left out where the machine has no name
	if failure != nil {
		f.ExitCode, _, _ = exit(failure)
	}
	return f
}
