package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

func (a *app) verifyCommand() *cobra.Command {
	shown, hidden := a.crms.help()
	cmd := &cobra.Command{
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
		Args: a.oneSheet,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.settle(cmd); err != nil {
				return err
			}
			return a.verifySheet(cmd.Context(), args[0])
		},
	}
	flags := cmd.Flags()
	a.opts.addFileFlags(flags)
	flags.Lookup("output").Usage = "write the sheet with the answers to `FILE` (default: the answers alone, to standard output)"
	flags.Lookup("ledger").Usage = "the ledger `FILE` (default: named after the sheet, beside it)"
	flags.Lookup("sandbox").Usage = "ask the sandbox of the runs with --sandbox"
	a.opts.addSheetFlag(flags)
	flags.Lookup("sheet").Usage = "the sheet `NAME` of an .xlsx that was run (default: the one that has a ledger)"
	a.opts.addConfigFlag(flags)
	flags.DurationVar(&a.opts.wait, "wait", 0, "wait so long for another run on this account or ledger")
	flags.Var(&a.opts.limit, "limit", "make at most so many calls in so much time, such as 25/5s (default: the account's)")
	flags.Var(&a.opts.share, "share", "take this part of the limit, 1 for all of it (default: the account's, 0.8)")
	flags.Var(&a.opts.workers, "workers", "make at most `N` calls at once (default: as many as the limit lets be under way)")
	a.opts.addLogFlags(flags)
	return cmd
}

// verifySheet asks the CRMs about every row that was done. It leaves the ledger as
// it is.
func (a *app) verifySheet(ctx context.Context, name string) (err error) {
	j := &job{app: a}
	defer func() { err = errors.Join(err, j.close()) }()
	started := time.Now()
	if err := j.openToRead(ctx, name); err != nil {
		return err
	}
	j.sweepFiles(started, a.opts.output)
	if err := j.chooseSheet(ctx, name); err != nil {
		return err
	}
	if a.opts.output != "" {
		if err := checkFormat("-o", a.opts.output, textEndings); err != nil {
			return err
		}
		if err := report.CheckVerified(a.opts.output); err != nil {
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
	counts, err := j.writeVerified(context.WithoutCancel(ctx), v)
	if err != nil {
		return err
	}
	if err := j.tellVerified(name, v, counts, broken); err != nil {
		return err
	}
	if v.Stopped != nil {
		return v.Stopped
	}
	j.code = verifyVerdict(v, counts, broken)
	return nil
}

// openToRead finds the ledger that a command reads, holds runs off it, and opens it
// for reading: a ledger whose chain is broken opens too.
func (j *job) openToRead(ctx context.Context, name string) (err error) {
	if j.names, err = namesToRead(ctx, name, j.opts); err != nil {
		return err
	}
	if _, err := os.Lstat(j.names.ledger); errors.Is(err, fs.ErrNotExist) {
		return refusef("Run the sheet first, or name its ledger with --ledger.", "there is no ledger %s", j.names.ledger)
	}
	err = j.lockLedger(ctx)
	// Where no lock can be made, on a read-only disk for one, nobody can run either.
	if _, held := errors.AsType[*heldError](err); held || err != nil && ctx.Err() != nil {
		return err
	}
	return j.openLedgerFile(ctx, ledger.Options{ReadOnly: true})
}

// namesToRead says which ledger a command reads that only writes what it was asked
// for: the one beside the sheet, or, if there is none, the one beside the output,
// where a run with that -o has put it.
func namesToRead(ctx context.Context, name string, o *options) (names, error) {
	if name == standardInput && o.ledger == "" {
		return names{}, refusef("For instance: bulkrevoke verify - --ledger offboarding.ledger.db", "a sheet from standard input needs --ledger")
	}
	isResult := name != standardInput && looksLikeResult(name)
	output := ""
	if name == standardInput {
		output = standardInput // it has no name to make one of
	}
	n, err := o.names(ctx, name, output, isResult)
	beside := cmp.Or(o.output, o.runOutput)
	if err != nil || beside == "" {
		return n, err
	}
	if _, err := os.Lstat(n.ledger); errors.Is(err, fs.ErrNotExist) && o.ledger == "" {
		if n, err = o.namesAfterTab(ctx, name, beside, "", isResult); err != nil {
			return n, err
		}
	}
	n.output = o.output
	return n, n.check()
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
		if t.Invalid || t.State == ledger.Unavailable {
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

// writeVerified writes the answers.
func (j *job) writeVerified(ctx context.Context, v *batch.Verification) (report.VerifyCounts, error) {
	if j.opts.output == "" {
		return report.PrintVerified(ctx, j.stdout, v.Review)
	}
	return report.WriteVerified(ctx, j.led, v.Review, j.opts.output)
}

// tellVerified says what came of a verification. A broken chain is told even to
// those who want errors only.
func (j *job) tellVerified(name string, v *batch.Verification, c report.VerifyCounts, broken *ledger.ChainError) error {
	ctx := context.Background()
	if broken != nil {
		j.screen.Tell(report.ErrorEvent(fmt.Sprintf("the chain of events of %s is broken: %v", j.names.ledger, broken),
			"Somebody has changed the ledger. Keep it as it is, and compare it with a backup and with the chain's head in the summaries of its runs.", exitStopped))
	}
	for _, acc := range v.Accounts {
		if acc.Ended != nil {
			j.screen.Tell(report.ErrorEvent(fmt.Sprintf("account %q could not be asked: %s", acc.Account, acc.Ended.Error()), acc.Ended.Hint, exitStopped))
		}
	}
	if j.opts.quiet {
		return nil
	}
	j.say("verified", []slog.Attr{
		slog.Int64("rows", c.Rows), slog.Int64("hold", c.Holds), slog.Int64("hold_no_longer", c.Broken),
		slog.Int64("never_done", c.NeverDone), slog.Int64("unknown", c.Unknown), slog.Bool("chain_whole", broken == nil),
	}, "%s: of %s, %d hold, %d no longer hold, %d were never done, of %d nobody can tell",
		j.ofLedger(name), plural(c.Rows, "row"), c.Holds, c.Broken, c.NeverDone, c.Unknown)
	if v.Alarms > 0 {
		j.say("alarms", []slog.Attr{slog.Int64("rows", v.Alarms)}, "by %s a bystander, whom no row is about, lost a record and was not given it back: the result names them, give it back by hand", plural(v.Alarms, "row"))
	}
	if c.Superseded > 0 {
		j.say("superseded", []slog.Attr{slog.Int64("rows", c.Superseded)}, "%s answered for by a later row about the same user and record", plural(c.Superseded, "row"))
	}
	changed, err := j.sheetChanged(ctx, name)
	if err != nil {
		return err
	}
	if changed {
		j.say("sheet changed", nil, "%s has changed since its last run; these are the rows of that run", j.ofLedger(name))
	}
	seq, head, err := j.led.Head(ctx)
	if err == nil && broken == nil {
		j.say("chain", []slog.Attr{slog.Int64("events", seq), slog.String("head", head)}, "the chain of %s is whole, its head is %s", plural(seq, "event"), head)
	}
	if j.opts.output != "" {
		j.say("answers written", written(j.opts.output, c.Rows), "answers: %s", j.opts.output)
	}
	if j.since != "" && c.Broken > 0 {
		j.say("next", nil, "%s was run after %s, in the same ledger: run %s again to do what it has undone", j.since, j.ofLedger(name), j.ofLedger(name))
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
func (j *job) sheetChanged(ctx context.Context, name string) (bool, error) {
	if name == standardInput || looksLikeResult(name) {
		return false, nil
	}
	src, ok, err := j.led.Source(ctx)
	if err != nil || !ok {
		return false, err
	}
	file, err := peek(name)
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

// verifyVerdict returns the exit code of a verification that came to its end.
func verifyVerdict(v *batch.Verification, c report.VerifyCounts, broken *ledger.ChainError) int {
	if broken != nil {
		return exitStopped
	}
	for _, acc := range v.Accounts {
		if acc.Ended != nil {
			return exitStopped
		}
	}
	if c.Open()+v.Alarms > 0 {
		return exitOpen
	}
	return exitDone
}
