package main

import (
	"context"
	"errors"

	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// writeOpen writes the rows that need somebody, as the result file has them, to
// standard output or to the file that was named.
func (a *app) writeOpen(ctx context.Context, name string) (err error) {
	j := &job{app: a, adopted: true}
	defer func() { err = errors.Join(err, j.close()) }()
	if j.names, err = namesToRead(ctx, name, a.opts); err != nil {
		return err
	}
	if err := j.openWritten(ctx, name); err != nil {
		return err
	}
	if a.opts.output == "" {
		_, err := report.PrintOpen(ctx, a.stdout, j.led)
		return err
	}
	if err := j.checkOutput(ctx); err != nil {
		return err
	}
	counts, err := report.WriteResults(ctx, j.led, report.Target{Path: j.names.output, Keep: report.NeedsSomebody})
	if err != nil {
		return err
	}
	if !a.opts.quiet {
		a.say("open rows written", written(j.names.output, counts.Rows), "%s: %s that need somebody", j.names.output, plural(counts.Rows, "row"))
		j.tellSince(counts.NotAttempted)
	}
	return nil
}
