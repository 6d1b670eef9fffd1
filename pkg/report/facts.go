package report

import (
	"errors"
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
)

// Facts are what a summary, a report and the metrics say of a command beside
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
	// SLA is how long a row may take from its date to its confirmation; 0 is no limit.
	SLA   time.Duration
	Files Files
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

// noOutput says whether the result file could not be written.
func (f Facts) noOutput() bool { return errors.Is(f.Failure, ErrNoOutput) }

// planned returns what the plan said of an account; nil if it said nothing.
func (f Facts) planned(account string) *batch.PlanAccount {
	if f.Plan == nil {
		return nil
	}
	for i, a := range f.Plan.Accounts {
		if a.Account == account {
			return &f.Plan.Accounts[i]
		}
	}
	return nil
}

// digest returns the plan's digest, "" without a plan.
func (f Facts) digest() string {
	if f.Plan == nil {
		return ""
	}
	return f.Plan.Digest
}

// began says whether the engine began to work: before that a command has refused,
// or could not start, and the ledger's rows are those of an earlier run.
func began(s batch.Summary) bool { return !s.Started.IsZero() }

// ended says whether an account could not do all of its rows.
func ended(s batch.Summary) bool {
	return slices.ContainsFunc(s.Accounts, func(a batch.SummaryAccount) bool { return a.Ended != nil || a.Clock != nil })
}

// problem returns what a command or a run ended with, made safe; "" if with
// nothing.
func problem(err error) string {
	if err == nil {
		return ""
	}
	return Printable(err.Error())
}
