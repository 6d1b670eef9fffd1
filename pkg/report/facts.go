package report

import (
	"context"
	"errors"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// Facts are what a report, a summary file and the metrics say of a command beside
// what the ledger and the engine know. Each field may be empty: what is not known is
// left out.
type Facts struct {
	Sheet    string   // as the user named it; "-" for standard input
	Operator string   // who ran it
	Version  string   // of the program
	Host     string   // the machine that it ran on
	Args     []string // the command line without the program, without secrets
	// Plan is what Prepare returned; nil if the command did not come that far.
	Plan     *batch.Plan
	ExitCode int
	// Failure is the error that the command ended with; nil if it came to its end.
	Failure error
	Hint    string // what to do about it, a sentence
	Again   string // the command that goes on with this sheet, ready to paste
	// AcceptedIsDone says that nobody will ask about accepted rows.
	AcceptedIsDone bool
	Sandbox        bool // no real CRM was involved
	Files          Files
}

// Files are the files of a run, as they are to be shown. One that is not written is
// empty.
type Files struct {
	Results string `json:"results,omitempty"`
	Ledger  string `json:"ledger,omitempty"`
	Report  string `json:"report,omitempty"`
	Summary string `json:"summary,omitempty"`
	Metrics string `json:"metrics,omitempty"`
}

// text is what the end of a run says with these facts.
func (f Facts) text() SummaryText {
	return SummaryText{
		Sheet: f.Sheet, Output: f.Files.Results, Failed: errors.Is(f.Failure, ErrNoOutput),
		Again: f.Again, Failure: f.Failure, AcceptedIsDone: f.AcceptedIsDone,
	}
}

// planned returns what the plan said of an account; ok is false if it said nothing.
func (f Facts) planned(account string) (p batch.PlanAccount, ok bool) {
	if f.Plan == nil {
		return p, false
	}
	for _, a := range f.Plan.Accounts {
		if a.Account == account {
			return a, true
		}
	}
	return p, false
}

// digest returns the plan's digest, "" without a plan.
func (f Facts) digest() string {
	if f.Plan == nil {
		return ""
	}
	return f.Plan.Digest
}

// sheetHash returns the SHA-256 of the sheet that the ledger has adopted, "" if
// there is none.
func sheetHash(ctx context.Context, led *ledger.Ledger) (string, error) {
	if led == nil {
		return "", nil
	}
	src, _, err := led.Source(ctx)
	return src.SHA256, err
}

// began says whether the engine began to work: before that a command has refused,
// or could not start, and the ledger's rows are those of an earlier run.
func began(s batch.Summary) bool { return !s.Started.IsZero() }

// stamp writes a moment for a program to read, "" for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}

// problem returns what a command or a run ended with, made safe; "" if with
// nothing.
func problem(errs ...error) string {
	if err := errors.Join(errs...); err != nil {
		return Printable(err.Error())
	}
	return ""
}
