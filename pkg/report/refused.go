package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
)

// WriteRefusal writes, in the place of the report of an earlier run, that this command
// was refused or ended before a run began: whoever opens the page in the morning must
// not take last week's success for last night's. The ledger's id is that of the
// sheet's ledger, "" if it has none yet.
//
// The file is replaced as a whole, under the rules of CheckReport, and gets mode 0600.
func WriteRefusal(ctx context.Context, ledgerID string, facts Facts, path string) error {
	tmpl, err := pageTemplate()
	if err != nil {
		return err
	}
	p := newRefusal(ledgerID, facts, time.Now())
	return reportFile(ledgerID).replace(ctx, path, func(w io.Writer) error { return tmpl.Execute(w, p) })
}

func newRefusal(ledgerID string, facts Facts, now time.Time) *page {
	p := &page{
		LedgerID: ledgerID, Refused: true, Sheet: Printable(facts.Sheet), Sandbox: facts.Sandbox,
		SheetName: Printable(sheetTitle(facts.Sheet)), Ended: moment(now), Tone: "stopped",
	}
	switch {
	case facts.ExitCode == exitRefused:
		p.Headline = "Refused: nothing was sent."
	case facts.ExitCode == exitHeld:
		p.Headline = "Not started: another run or program was at it. Nothing was sent."
	case interrupted(facts.ExitCode):
		p.Headline = "Interrupted before anything was sent."
	default:
		p.Headline = "Ended before anything was sent."
	}
	if facts.Failure != nil {
		p.Remarks = append(p.Remarks, sentence(problem(facts.Failure)))
	}
	if facts.Hint != "" {
		p.Remarks = append(p.Remarks, Printable(facts.Hint))
	}
	if invalid, ok := errors.AsType[*batch.InvalidError](facts.Failure); ok {
		p.Invalid = invalidLines(p.SheetName, invalid)
	}
	p.Again = Printable(facts.Again)
	p.commandFacts(facts)
	p.run("Ended", p.Ended, false, "")
	p.run("Exit code", fmt.Sprint(facts.ExitCode), false, exitMeaning(facts.ExitCode))
	p.run("Result file", Printable(facts.Files.Results), false, "if it is there, it is that of an earlier run")
	return p
}
