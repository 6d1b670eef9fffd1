package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

func (a *app) resultsCommand() *cobra.Command {
	o := newOptions()
	cmd := a.sheetCommand(o, &cobra.Command{
		Use:   "results SHEET",
		Short: "Write the result file from the ledger, also during a run",
		Long: `Write SHEET.results.csv again from the ledger, with what is known by now. It may be called while
run is at work, and sends nothing.

Exit codes: 0 written, whatever became of the rows; 2 refused, or the file could not be written; 3
standard output could not be written to; 4 another program holds the ledger; 129, 130 and 143
interrupted.`,
		Example: `  bulkrevoke results offboarding.csv
  bulkrevoke results --open offboarding.csv
  bulkrevoke results --ledger-file offboarding.ledger.db offboarding.csv
  bulkrevoke results --sandbox samples/offboarding.csv -o so-far.csv`,
	}, func(ctx context.Context, j *job) error { return j.writeResults(ctx) })
	o.addFlags(cmd.Flags(), "output", "config", "database", "log-format", "log-level", "quiet", "sla",
		"sheet: the sheet `NAME` of an .xlsx that was run (default: the one that has a ledger)",
		"ledger: the ledger `FILE` (default: named after the sheet, beside the result)",
		"sandbox: of what was done in a sandbox",
		"wait: wait so long for another program that holds the ledger; a run is not waited for")
	cmd.Flags().BoolVar(&o.byPerson, "by-person", false, "write a line for each person instead, to SHEET.people.csv: what was taken and given, when, and what is open")
	cmd.Flags().StringVar(&o.ledgerFile, "ledger-file", "", "take the ledger out of the database into `FILE`, to be read and verified anywhere, and write nothing else")
	cmd.Flags().BoolVar(&o.move, "move", false, "with --ledger-file: go on with the file; the ledger in the database can only be read from then on")
	cmd.Flags().BoolVar(&o.open, "open", false, "write only the rows that need somebody, to standard output or the FILE of -o")
	return cmd
}

// writeResults writes the result file from the ledger, whatever state a run is in, or
// with --open its rows that need somebody, to standard output where no file was named.
func (j *job) writeResults(ctx context.Context) (err error) {
	o := j.opts
	if o.ledgerFile != "" {
		return j.takeOut(ctx)
	}
	if o.move {
		return refusef("Name the file with --ledger-file.", "--move moves a ledger out of the database into a file, and no file is named")
	}
	if o.open && o.byPerson {
		return refusef("Call it twice, or leave one of them out.", "--open writes rows, and --by-person people")
	}
	if o.open || o.byPerson {
		j.names, err = j.namesToRead(ctx)
	} else {
		j.names, err = o.names(ctx, j.sheet, o.output, "", looksLikeResult(j.sheet))
	}
	if err != nil {
		return err
	}
	if err := j.ledgerIsThere(ctx); err != nil {
		return err
	}
	// While a run holds the ledger, it is only read; otherwise it is told of the file that
	// is written, if any, so that the file can be replaced later.
	began := time.Now()
	toStdout := o.open && o.output == ""
	var locked error
	if !toStdout && !o.byPerson {
		locked = j.tryLedger(ctx)
	}
	readOnly := toStdout || o.byPerson || locked != nil
	if !readOnly {
		j.sweep(began, j.names.output) // nobody else writes it
	}
	err = j.openLedgerFile(ctx, ledger.Options{ReadOnly: readOnly})
	if !readOnly && (errors.Is(err, ledger.ErrCopy) || errors.Is(err, ledger.ErrMoved)) { // which can be read
		err = j.openLedgerFile(ctx, ledger.Options{ReadOnly: true})
	}
	if err != nil {
		return err
	}
	if err := j.chooseSheet(ctx); err != nil {
		return err
	}
	if toStdout {
		_, err := report.PrintOpen(ctx, j.stdout, j.led)
		return err
	}
	if o.byPerson {
		return j.writePeople(ctx)
	}
	if err := j.checkOutput(ctx); err != nil {
		return err
	}
	target := report.Target{Path: j.names.output, Facts: report.Facts{Sandbox: o.sandbox}}
	_, target.AtWork = errors.AsType[*heldError](locked)
	if target.Facts.Again, err = j.lastCommand(ctx); err != nil {
		return err
	}
	event, format := "results written", "%s: %s written"
	if o.open {
		target.Keep, event, format = report.NeedsSomebody, "open rows written", "%s: %s that need somebody"
	}
	counts, err := report.WriteResults(ctx, j.led, target)
	if err != nil || o.quiet {
		return err
	}
	j.say(event, written(j.names.output, counts.Rows), format, j.names.output, report.Count(counts.Rows, "row"))
	if j.since != "" && counts.NotAttempted > 0 {
		of := j.ofLedger()
		j.say("undone since", []slog.Attr{slog.String("by", j.since), slog.Int64("rows", counts.NotAttempted)},
			"%s was run after %s, in the same ledger: of the rows, %d not done, or not any more; run %s again to do what is missing",
			j.since, of, counts.NotAttempted, of)
	}
	return nil
}

// takeOut takes the ledger out of the database into a file: a copy, or the ledger itself.
func (j *job) takeOut(ctx context.Context) (err error) {
	path := j.opts.ledgerFile
	switch {
	case j.db == nil:
		return refusef("The ledger is a file already; name the database that it is in with --database.", "--ledger-file takes a ledger out of a database, and no database is named")
	case j.opts.open || j.opts.byPerson || j.opts.output != "":
		return refusef("Call it twice.", "--ledger-file writes the ledger and nothing else")
	}
	if err := checkFormat("--ledger-file", path, ledgerEndings); err != nil {
		return err
	}
	if j.names, err = j.namesToRead(ctx); err != nil {
		return err
	}
	if err := j.ledgerIsThere(ctx); err != nil {
		return err
	}
	if j.opts.move {
		if err := j.lockLedger(ctx, j.opts.wait); err != nil {
			return err
		}
	}
	if err := j.openLedgerFile(ctx, ledger.Options{ReadOnly: !j.opts.move, Marked: true}); err != nil {
		return err
	}
	what := "the ledger %s was copied into %s, where it can be read and verified"
	if j.opts.move {
		what = "the ledger %s is in %s from now on, and can only be read in the database"
		err = j.led.MoveTo(ctx, path)
	} else {
		err = j.led.Export(ctx, path)
	}
	if errors.Is(err, fs.ErrExist) {
		return refusef("Move it away, or name another file.", "--ledger-file %s: the file exists already", path)
	}
	if err == nil && !j.opts.quiet {
		j.say("ledger taken out", []slog.Attr{slog.String("ledger", j.names.ledger), slog.String("file", path)}, what, j.names.ledger, path)
	}
	return err
}

// peopleEnding is what the name of a file of evidence by person ends with, before .csv.
const peopleEnding = ".people"

// writePeople writes evidence by person.
func (j *job) writePeople(ctx context.Context) error {
	output := j.opts.output
	if output == "" {
		if j.sheet == standardInput {
			return refusef("For instance: bulkrevoke results --by-person - -o people.csv --ledger offboarding.ledger.db", "a sheet from standard input needs -o")
		}
		output = stemOf(withTab(j.sheet, j.names.tab), looksLikeResult(j.sheet), j.opts.sandbox) + peopleEnding + ".csv"
	}
	if err := checkFormat("-o", output, textEndings); err != nil {
		return err
	}
	if err := report.CheckPeople(output); err != nil {
		return err
	}
	c, err := report.WritePeople(ctx, j.led, output, j.opts.sla, j.now())
	if err != nil || j.opts.quiet {
		return err
	}
	people := fmt.Sprintf("%d people", c.People)
	if c.People == 1 {
		people = "1 person"
	}
	late := ""
	if j.opts.sla > 0 {
		late = fmt.Sprintf(", %d of them late", c.Late)
	}
	j.say("people written", append(written(output, c.People), slog.Int64("open", c.Open), slog.Int64("late", c.Late)),
		"%s: %s, %d with open rows%s", output, people, c.Open, late)
	return nil
}

// lastCommand is the command that goes on with the sheet of the ledger, "" where a run of
// another one came after it.
func (j *job) lastCommand(ctx context.Context) (string, error) {
	runs, err := j.led.Runs(ctx)
	if err != nil || len(runs) == 0 || j.since != "" {
		return "", err
	}
	return againCommand(runs[len(runs)-1].Args), nil
}

// written are the figures of a file that was written.
func written(path string, rows int64) []slog.Attr {
	return []slog.Attr{slog.String("file", path), slog.Int64("rows", rows)}
}
