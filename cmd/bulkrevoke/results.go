package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// writeResults writes the result file from the ledger, whatever state a run is in.
func (a *app) writeResults(ctx context.Context, name string) (err error) {
	j := &job{app: a, adopted: true}
	defer func() { err = errors.Join(err, j.close()) }()
	if j.names, err = a.opts.names(ctx, name, a.opts.output, looksLikeResult(name)); err != nil {
		return err
	}
	if err := j.openWritten(ctx, name); err != nil {
		return err
	}
	if err := j.checkOutput(ctx); err != nil {
		return err
	}
	counts, err := report.WriteResults(ctx, j.led, report.Target{Path: j.names.output})
	if err != nil {
		return err
	}
	if !a.opts.quiet {
		a.say("results written", written(j.names.output, counts.Rows), "%s: %s written", j.names.output, plural(counts.Rows, "row"))
		j.tellSince(counts.NotAttempted)
	}
	return nil
}

// written are the figures of a file that was written.
func written(path string, rows int64) []slog.Attr {
	return []slog.Attr{slog.String("file", path), slog.Int64("rows", rows)}
}

// openWritten opens the ledger. While a run holds it, it is only read; otherwise
// it is told of the file that is written, if any, so that the file can be replaced later.
func (j *job) openWritten(ctx context.Context, name string) error {
	if _, err := os.Lstat(j.names.ledger); errors.Is(err, fs.ErrNotExist) {
		return refusef("Run the sheet first, or name its ledger with --ledger.", "there is no ledger %s", j.names.ledger)
	}
	wait := j.opts.wait
	j.opts.wait = 0 // for no run
	started := time.Now()
	readOnly := j.opts.open && j.opts.output == "" || j.lockLedger(ctx) != nil
	j.opts.wait = wait
	if !readOnly {
		j.sweepFiles(started, j.names.output) // nobody else writes it
	}
	if err := j.openLedgerFile(ctx, ledger.Options{ReadOnly: readOnly}); err != nil {
		return err
	}
	return j.chooseSheet(ctx, name)
}

// tellSince says that rows of the sheet are not done any more, because another sheet of
// the ledger has undone them.
func (j *job) tellSince(open int64) {
	if j.since == "" || open == 0 {
		return
	}
	j.say("undone since", []slog.Attr{slog.String("by", j.since), slog.Int64("rows", open)},
		"%s was run after %s, in the same ledger: of the rows, %d not done, or not any more; run %s again to do what is missing",
		j.since, j.ofLedger(j.sheet), open, j.ofLedger(j.sheet))
}

// looksLikeResult says whether a sheet is a result file: by its header, or by its
// name if the sheet itself is gone.
func looksLikeResult(name string) bool {
	file, err := peek(name)
	if err != nil {
		return strings.Contains(strings.ToLower(name), ".results.")
	}
	defer file.Close()
	r, err := sheet.Open(file, name, sheet.Options{Path: name, AnyHeader: true})
	if err != nil {
		return false
	}
	defer r.Close()
	return r.Layout().IsResult
}
