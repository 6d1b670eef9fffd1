package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

func (a *app) undoCommand() *cobra.Command {
	o := newOptions()
	shown, hidden := a.crms.help()
	cmd := a.sheetCommand(o, &cobra.Command{
		Use:   "undo SHEET",
		Short: "Write the sheet that puts back what the ledger says was changed",
		Long: `Write SHEET.undo.csv: the rows that put every user and record back to how it was before the ledger's
first change of it, over all of its runs. Nothing is sent and no account is needed; look at the
sheet, take out what is to stay, and run it.

On ` + shown + ` it is exact, because the ledger saw what was there before each
change. On ` + hidden + ` a revoke becomes a share with the level that the row
named, and a share becomes a revoke; the column note says what is not known. What no row can put
back, such as a group that lost a record by a revoke_all, is listed on standard error.

The undo sheet belongs to the ledger that it came from, SHEET.ledger.db, and run uses that: the
sheet's own rows that it undoes are then to be done again, and plan SHEET says how many. Under a
name of its own it needs --ledger, and without its ledger it is refused.

Exit codes: 0 the sheet puts everything back, or there is nothing to put back; 1 something is left
to be done by hand; 2 refused, also where the ledger has been changed; 4 a run is at it; 129, 130
and 143 interrupted.`,
		Example: `  bulkrevoke undo offboarding.csv
  bulkrevoke plan offboarding.undo.csv
  bulkrevoke run offboarding.undo.csv`,
	}, func(ctx context.Context, j *job) error { return j.undo(ctx) })
	o.addFlags(cmd.Flags(), "config", "database", "log-format", "log-level", "quiet",
		"output: write the sheet to `FILE` (default: the sheet's name with .undo.csv)",
		"ledger: the ledger `FILE` (default: named after the sheet, beside it)",
		"sandbox: undo what was done in a sandbox",
		"sheet: the sheet `NAME` of an .xlsx that was run (default: the one that has a ledger)",
		"wait: wait so long for a run on this ledger")
	return cmd
}

// undo writes the inverse of what the ledger's runs have done.
func (j *job) undo(ctx context.Context) error {
	output := j.opts.output
	if j.sheet == standardInput && output == "" {
		return refusef("For instance: bulkrevoke undo - -o back.csv --ledger offboarding.ledger.db", "a sheet from standard input needs -o and --ledger")
	}
	isResult := looksLikeResult(j.sheet)
	if _, mark := undoMark(j.sheet); mark != "" || isUndoName(j.sheet, isResult) { // a ledger is undone as a whole
		return refusef("Run the sheet that it undoes once more, which does again what this one has given back; or undo that sheet, which undoes all of its ledger.",
			"%s is an undo sheet", j.sheet)
	}
	if err := checkFormat("-o", output, textEndings); err != nil {
		return err
	}
	began := time.Now()
	if err := j.openToRead(ctx); err != nil {
		return err
	}
	if output == "" {
		output = stemOf(withTab(j.sheet, j.names.tab), isResult, j.opts.sandbox) + undoEnding + ".csv"
	}
	j.sweep(began, output)
	if err := j.checkPlace(); err != nil {
		return err
	}
	// What a ledger says was there may be somebody's invention if its chain is broken.
	if broken, err := j.checkChain(ctx); err != nil {
		return err
	} else if broken != nil {
		return refusef("Restore the ledger from a backup; `bulkrevoke verify` says what the CRM shows.",
			"the chain of events of %s is broken, so that what it says was there can not be relied on: %w", j.names.ledger, broken)
	}
	// Lines are told of this sheet's rows, if the ledger still has them.
	kept, err := j.led.Sheets(ctx)
	if err != nil {
		return err
	}
	if _, _, err := j.choose(ctx, kept); err != nil {
		return err
	}
	c, err := report.WriteUndo(ctx, j.led, output, func(row batch.UndoRow) {
		words := []string{row.Account, row.Op.Object, row.Op.Record}
		if row.Op.Action != crm.RevokeAll {
			words = append(words, row.Op.User)
		}
		place, why := report.Printable(strings.Join(words, " ")), report.Printable(row.Left)
		j.say("by hand", []slog.Attr{slog.String("place", place), slog.String("why", why)}, "by hand: %s: %s", place, why)
	})
	if err != nil {
		return err
	}
	if c.Left > 0 {
		j.code = exitOpen
	}
	if j.opts.quiet {
		return nil
	}
	if c.Left > 0 {
		j.say("left by hand", []slog.Attr{slog.Int64("things", c.Left)}, "%s left to be put back by hand, listed above", report.Count(c.Left, "thing"))
	}
	if c.Rows == 0 {
		j.say("nothing to undo", nil, "there is nothing that a sheet could put back; none was written")
		return nil
	}
	j.say("undo written", written(output, c.Rows), "%s: %s written, nothing was sent", output, report.Count(c.Rows, "row"))
	if c.Noted > 0 {
		j.say("undo noted", []slog.Attr{slog.Int64("rows", c.Noted)}, "%s where not all is known of how it was: read the column note before you run it", report.Count(c.Noted, "row"))
	}
	again := j.putBackCommand(output)
	j.say("next", []slog.Attr{slog.String("command", again)}, "put it back with: %s", again)
	j.say("undo ledger", []slog.Attr{slog.String("ledger", j.names.ledger)},
		"it belongs to the ledger %s: %s, run again after it, does again what it has given back", j.names.ledger, j.ofLedger())
	return nil
}

// putBackCommand is the command that carries out an undo sheet of this job's ledger.
func (j *job) putBackCommand(output string) string {
	words := []string{"bulkrevoke", "run"}
	if j.opts.sandbox {
		words = append(words, "--sandbox")
	}
	byName, err := namesOf(output, "", "", false, j.opts.sandbox, j.db != nil)
	if err == nil {
		byName, err = (&options{sandbox: j.opts.sandbox, ledgers: j.opts.ledgers}).ofItsUndone(context.Background(), byName, false)
	}
	if err != nil || filepath.Clean(byName.ledger) != filepath.Clean(j.names.ledger) {
		words = append(words, "--ledger", shellQuote(j.names.ledger))
	}
	return strings.Join(append(words, shellQuote(output)), " ")
}
