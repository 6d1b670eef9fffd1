package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

func (a *app) verifyCommand() *cobra.Command {
	o := newOptions()
	shown, hidden := a.crms.help()
	cmd := a.sheetCommand(o, &cobra.Command{
		Use:   "verify SHEET",
		Short: "Ask the CRM again whether each access is as the sheet says; check the event chain",
		Long: `Ask the CRM again, for every row that was done, whether the access still is as the row says, and
check that nobody has changed the ledger: its chain of events, and its rows, whose state, request Id
and operation must be what the last event about them says. Nothing is changed, in the CRM or in
the ledger. The rows are those of the last run; the sheet itself need not be there any more.

A line for each row goes to standard output, or with -o into a file like a result: the row's line
and result, whether it holds (yes, no, unknown), and what the CRM shows otherwise. Of rows about one
user and record the last one that was done counts, and the others share its answer.
` + shown + ` are looked at. On ` + hidden + ` the CRM tells
what became of the request, and not who has access now.

Exit codes: 0 every row holds; 1 some row no longer holds, was never done, or nobody can tell; 2
refused; 3 the chain is broken, or an account could not be asked; 4 another run is at it; 129, 130
and 143 interrupted.`,
		Example: `  bulkrevoke verify offboarding.csv
  bulkrevoke verify offboarding.csv -o offboarding.verified.csv`,
	}, func(ctx context.Context, j *job) error { return j.verify(ctx) })
	o.addFlags(cmd.Flags(), "config", "database", "limit", "share", "workers", "log-format", "log-level", "quiet",
		"output: write the sheet with the answers to `FILE` (default: the answers alone, to standard output)",
		"ledger: the ledger `FILE` (default: named after the sheet, beside it)",
		"sandbox: ask the sandbox of the runs with --sandbox",
		"sheet: the sheet `NAME` of an .xlsx that was run (default: the one that has a ledger)",
		"wait: wait so long for another run on this account or ledger")
	return cmd
}

// verify asks the CRMs about every row that was done. It leaves the ledger as it is.
func (j *job) verify(ctx context.Context) error {
	began, output := time.Now(), j.opts.output
	if err := j.openToRead(ctx); err != nil {
		return err
	}
	j.sweep(began, output)
	if err := j.chooseSheet(ctx); err != nil {
		return err
	}
	if output != "" {
		if err := checkFormat("-o", output, textEndings); err != nil {
			return err
		}
		if err := report.CheckVerified(output); err != nil {
			return err
		}
	}
	if err := j.checkPlace(); err != nil {
		return err
	}
	broken, err := j.checkChain(ctx)
	if err != nil {
		return err
	}
	if err := j.openAccounts(true); err != nil {
		return err
	}
	used, err := j.ledgersAccounts(ctx)
	if err != nil {
		return err
	}
	if err := j.connect(ctx, used); err != nil {
		return err
	}
	v, err := j.batch.Verify(ctx)
	if err != nil {
		return err
	}
	// What is known is told in any case, also to somebody who has interrupted it.
	ctx = context.WithoutCancel(ctx)
	var counts report.VerifyCounts
	if output == "" {
		counts, err = report.PrintVerified(ctx, j.stdout, v.Review)
	} else {
		counts, err = report.WriteVerified(ctx, j.led, v.Review, output)
	}
	if err != nil {
		return err
	}
	if counts.Open()+v.Alarms > 0 {
		j.code = exitOpen
	}
	// A broken chain, and an account that could not be asked, are told even to those who
	// want errors only.
	if broken != nil {
		j.code = exitStopped
		j.screen.Tell(report.ErrorEvent(fmt.Sprintf("the chain of events of %s is broken: %v", j.names.ledger, broken),
			"Somebody has changed the ledger. Keep it as it is, and compare it with a backup and with the chain's head in the summaries of its runs.", exitStopped))
	}
	for _, acc := range v.Accounts {
		if acc.Ended != nil {
			j.code = exitStopped
			j.screen.Tell(report.ErrorEvent(fmt.Sprintf("account %q could not be asked: %s", acc.Account, acc.Ended.Error()), acc.Ended.Hint, exitStopped))
		}
	}
	if !j.opts.quiet {
		if err := j.tellVerified(ctx, v, counts, broken == nil); err != nil {
			return err
		}
	}
	return v.Stopped
}

// checkChain checks the events, and the rows against them. A broken chain is no error: what is there can be
// asked about all the same.
func (j *job) checkChain(ctx context.Context) (*ledger.ChainError, error) {
	err := j.led.VerifyChain(ctx)
	if err == nil {
		err = j.led.VerifyRows(ctx)
	}
	if broken, ok := errors.AsType[*ledger.ChainError](err); ok {
		return broken, nil
	}
	return nil, err
}

// ledgersAccounts returns the names of the accounts of the ledger's rows. One that is
// not there, or can not be worked with, is a refusal.
func (j *job) ledgersAccounts(ctx context.Context) (used []string, err error) {
	counts, err := j.led.Counts(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range counts {
		if t.Invalid || t.Status == crm.Unavailable || t.Status == crm.NotDue {
			continue
		}
		i := slices.IndexFunc(j.accounts, func(acc *account) bool { return acc.name == t.Account })
		switch {
		case i < 0:
			return nil, refusef("Add it to the configuration, with the host and keys of the run.",
				"the ledger has rows of the account %q, and no account is called so", t.Account)
		case j.accounts[i].bad != nil:
			return nil, j.accounts[i].refusal()
		}
		used = append(used, t.Account)
	}
	return used, nil
}

// tellVerified says what came of a verification. whole says that the chain is.
func (j *job) tellVerified(ctx context.Context, v *batch.Verification, c report.VerifyCounts, whole bool) error {
	of := j.ofLedger()
	j.say("verified", []slog.Attr{
		slog.Int64("rows", c.Rows), slog.Int64("hold", c.Holds), slog.Int64("hold_no_longer", c.Broken),
		slog.Int64("never_done", c.NeverDone), slog.Int64("unknown", c.Unknown), slog.Bool("chain_whole", whole),
	}, "%s: of %s, %d hold, %d no longer hold, %d were never done, of %d nobody can tell",
		of, report.Count(c.Rows, "row"), c.Holds, c.Broken, c.NeverDone, c.Unknown)
	if v.Alarms > 0 {
		j.say("alarms", []slog.Attr{slog.Int64("rows", v.Alarms)}, "by %s a bystander, whom no row is about, lost a record and was not given it back: the result names them, give it back by hand", report.Count(v.Alarms, "row"))
	}
	if c.NotDue > 0 {
		j.say("not due", []slog.Attr{slog.Int64("rows", c.NotDue)}, "%s not due yet and not asked about", report.Count(c.NotDue, "row")+map[bool]string{true: " is", false: " are"}[c.NotDue == 1])
	}
	if c.Superseded > 0 {
		j.say("superseded", []slog.Attr{slog.Int64("rows", c.Superseded)}, "%s answered for by a later row about the same user and record", report.Count(c.Superseded, "row"))
	}
	changed, err := j.sheetChanged(ctx)
	if err != nil {
		return err
	}
	if changed {
		j.say("sheet changed", nil, "%s has changed since its last run; these are the rows of that run", of)
	}
	seq, head, err := j.led.Head(ctx)
	if err == nil && whole {
		j.say("chain", []slog.Attr{slog.Int64("events", seq), slog.String("head", head)}, "the chain of %s is whole, its head is %s", report.Count(seq, "event"), head)
	}
	if j.opts.output != "" {
		j.say("answers written", written(j.opts.output, c.Rows), "answers: %s", j.opts.output)
	}
	if j.since != "" && c.Broken > 0 {
		j.say("next", nil, "%s was run after %s, in the same ledger: run %s again to do what it has undone", j.since, of, of)
		return err
	}
	if c.NeverDone > 0 {
		j.say("next", nil, "rows that were never done: run the sheet again")
	}
	if c.Broken > 0 {
		j.say("next", nil, "rows that no longer hold: put them into a sheet of their own and run that, because this ledger has them as done")
	}
	return err
}

// sheetChanged says whether the sheet is another one than the last run's. A sheet
// that is gone, or is a result, tells nothing.
func (j *job) sheetChanged(ctx context.Context) (bool, error) {
	if j.sheet == standardInput || looksLikeResult(j.sheet) {
		return false, nil
	}
	src, ok, err := j.led.Source(ctx)
	if err != nil || !ok {
		return false, err
	}
	file, err := peek(j.sheet)
	if err != nil {
		return false, nil
	}
	defer file.Close() // it is only read
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return false, nil
	}
	return hex.EncodeToString(sum.Sum(nil)) != src.SHA256, nil
}
