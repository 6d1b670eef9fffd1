package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

func (a *app) undoCommand() *cobra.Command {
	shown, hidden := a.crms.help()
	cmd := &cobra.Command{
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
		Args: a.oneSheet,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.settle(cmd); err != nil {
				return err
			}
			return a.undoSheet(cmd.Context(), args[0])
		},
	}
	flags := cmd.Flags()
	a.opts.addFileFlags(flags)
	flags.Lookup("output").Usage = "write the sheet to `FILE` (default: the sheet's name with .undo.csv)"
	flags.Lookup("ledger").Usage = "the ledger `FILE` (default: named after the sheet, beside it)"
	flags.Lookup("sandbox").Usage = "undo what was done in a sandbox"
	a.opts.addSheetFlag(flags)
	flags.Lookup("sheet").Usage = "the sheet `NAME` of an .xlsx that was run (default: the one that has a ledger)"
	a.opts.addConfigFlag(flags)
	flags.DurationVar(&a.opts.wait, "wait", 0, "wait so long for a run on this ledger")
	a.opts.addLogFlags(flags)
	return cmd
}

// undoSheet writes the inverse of what the ledger's runs have done. A ledger whose
// chain is broken is refused: what it says was there may be somebody's invention.
func (a *app) undoSheet(ctx context.Context, name string) (err error) {
	j := &job{app: a}
	defer func() { err = errors.Join(err, j.close()) }()
	if name == standardInput && a.opts.output == "" {
		return refusef("For instance: bulkrevoke undo - -o back.csv --ledger offboarding.ledger.db", "a sheet from standard input needs -o and --ledger")
	}
	output := a.opts.output
	if name != standardInput {
		if err := refuseUndoOfUndo(name); err != nil {
			return err
		}
	}
	if output == "" {
		n, err := namesToRead(ctx, name, a.opts) // which sheet of a workbook it is
		if err != nil {
			return err
		}
		output = stemOf(a.opts.fileName(n.sheet), looksLikeResult(name), a.opts.sandbox) + undoEnding + ".csv"
	}
	if err := checkFormat("-o", output, textEndings); err != nil {
		return err
	}
	started := time.Now()
	if err := j.openToRead(ctx, name); err != nil {
		return err
	}
	j.sweepFiles(started, output)
	if err := j.checkPlace(); err != nil {
		return err
	}
	if broken, err := j.checkChain(ctx); err != nil {
		return err
	} else if broken != nil {
		return refusef("Restore the ledger from a backup; `bulkrevoke verify` says what the CRM shows.",
			"the chain of events of %s is broken, so that what it says was there can not be relied on: %w", j.names.ledger, broken)
	}
	// Lines are told of this sheet's rows, if the ledger still has them.
	if _, err := j.led.Choose(ctx, a.opts.sheetID(j.names, name != standardInput && looksLikeResult(name))); err != nil {
		return err
	}
	counts, err := report.WriteUndo(ctx, j.led, output, func(row batch.UndoRow) {
		place, why := report.Printable(placeOf(row)), report.Printable(row.Left)
		a.say("by hand", []slog.Attr{slog.String("place", place), slog.String("why", why)}, "by hand: %s: %s", place, why)
	})
	if err != nil {
		return err
	}
	if counts.Left > 0 {
		j.code = exitOpen
	}
	j.tellUndone(name, output, counts)
	return nil
}

// placeOf says where something is that no row can put back.
func placeOf(row batch.UndoRow) string {
	words := []string{row.Account, row.Op.Object, row.Op.Record}
	if row.Op.Action != crm.RevokeAll {
		words = append(words, row.Op.User)
	}
	return strings.Join(words, " ")
}

// tellUndone says what the sheet has become, and what to do with it.
func (j *job) tellUndone(name, output string, c report.UndoCounts) {
	if j.opts.quiet {
		return
	}
	if c.Left > 0 {
		j.say("left by hand", []slog.Attr{slog.Int64("things", c.Left)}, "%s left to be put back by hand, listed above", plural(c.Left, "thing"))
	}
	if c.Rows == 0 {
		j.say("nothing to undo", nil, "there is nothing that a sheet could put back; none was written")
		return
	}
	j.say("undo written", written(output, c.Rows), "%s: %s written, nothing was sent", output, plural(c.Rows, "row"))
	if c.Noted > 0 {
		j.say("undo noted", []slog.Attr{slog.Int64("rows", c.Noted)}, "%s where not all is known of how it was: read the column note before you run it", plural(c.Noted, "row"))
	}
	again := j.putBackCommand(output)
	j.say("next", []slog.Attr{slog.String("command", again)}, "put it back with: %s", again)
	j.say("undo ledger", []slog.Attr{slog.String("ledger", j.names.ledger)},
		"it belongs to the ledger %s: %s, run again after it, does again what it has given back", j.names.ledger, j.ofLedger(name))
}
