package report

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// summarySchema names the shape of a summary file. Fields may be added to it;
// what is there keeps its name and meaning as long as the name ends in 1.
const summarySchema = "bulkrevoke/summary/1"

// SummaryFile is what WriteSummaryJSON writes. Moments are UTC in RFC 3339 with
// milliseconds, durations are seconds. What is unknown, or does not apply, is left
// out; counts are always there.
type SummaryFile struct {
	Schema   string   `json:"schema"` // "bulkrevoke/summary/1"
	Version  string   `json:"version"`
	Operator string   `json:"operator"`
	Host     string   `json:"host"` // the machine that it ran on
	Args     []string `json:"args"` // the command line, without secrets
	Sandbox  bool     `json:"sandbox"`
	// Run is the number of the run in its ledger; 0 if the command was refused, or
	// could not start, before a run began. Started, Ended and Seconds, Counts, Sent and
	// Alarms then say nothing, and Accounts what the checks have asked.
	Run      int64   `json:"run"`
	Started  string  `json:"started,omitempty"`
	Ended    string  `json:"ended,omitempty"`
	Seconds  float64 `json:"duration_seconds"`
	ExitCode int     `json:"exit_code"`
	Error    string  `json:"error,omitempty"` // what the command ended with
	Hint     string  `json:"hint,omitempty"`  // what to do about that
	// Invalid are the rows that the sheet was refused for, by line, at most
	// batch.InvalidShown of them.
	Invalid []summaryInvalid `json:"invalid,omitempty"`
	Stopped string           `json:"stopped,omitempty"` // what stopped the run before everything was tried
	Sheet   summarySheet     `json:"sheet"`
	Digest  string           `json:"digest,omitempty"` // the plan's, as --approve takes it
	Counts  batch.Counts     `json:"counts"`           // all rows of the sheet by result
	Sent    int64            `json:"sent"`             // rows sent in this run
	// Alarms is how many rows, of this run or an earlier one, changed a record that a
	// bystander lost at the same time and has not been given back: code stayer_lost in the
	// result.
	Alarms    int64            `json:"alarms"`
	Accounts  []summaryAccount `json:"accounts"`
	LedgerID  string           `json:"ledger_id,omitempty"`
	ChainHead *summaryHead     `json:"chain_head,omitempty"`
	Files     Files            `json:"files"`
	// Next says in sentences what is left for somebody to do, the most pressing
	// first, and Again is the command that goes on. Both are for people; decide by
	// ExitCode and Counts.
	Next  []string `json:"next"`
	Again string   `json:"again,omitempty"`
}

// summarySheet is the input.
type summarySheet struct {
	Name   string `json:"name"`             // as the user gave it
	SHA256 string `json:"sha256,omitempty"` // of its bytes, in hexadecimal
	// Worksheet is which sheet of a workbook was read, and what of it is hidden there.
	Worksheet *sheet.Worksheet `json:"worksheet,omitempty"`
}

// summaryInvalid is a row that can not be sent as it is. Column and Value are empty where
// no one cell is at fault.
type summaryInvalid struct {
	Line   int    `json:"line"` // of the sheet
	Column string `json:"column"`
	Value  string `json:"value"`
	Error  string `json:"error"`
	Code   string `json:"code"`
}

// summaryAccount is what one account was asked.
type summaryAccount struct {
	Account        string  `json:"account"`
	CRM            string  `json:"crm"`
	Host           string  `json:"host"`
	Calls          int64   `json:"calls"`                // HTTP attempts of every kind
	Refused        int64   `json:"refused"`              // of these, refused by the rate limit
	Repeats        int64   `json:"repeats"`              // of these, sent again after a failure
	Limit          int     `json:"limit"`                // calls that could stand in the window at the end
	WindowSeconds  float64 `json:"window_seconds"`       //
	PlannedCalls   *int64  `json:"planned_calls"`        // null without a plan
	PlannedSeconds *int64  `json:"planned_seconds"`      // null without a plan
	EndedCode      string  `json:"ended_code,omitempty"` // why the account ended early
	EndedText      string  `json:"ended_text,omitempty"` // what happened
	EndedHint      string  `json:"ended_hint,omitempty"` // what to do about it
}

// summaryHead is the last link of the ledger's chain of events.
type summaryHead struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"` // in hexadecimal
}

// WriteSummaryJSON writes how a command ended as one JSON object, a SummaryFile.
// led may be nil, and s the zero value, if no run began.
//
// The file is replaced as a whole, under the rules of CheckSummaryFile, and gets
// mode 0600.
func WriteSummaryJSON(ctx context.Context, led *ledger.Ledger, s batch.Summary, facts Facts, path string) error {
	out, err := summaryFileOf(ctx, led, s, facts)
	if err != nil {
		return err
	}
	return summaryFile().replace(ctx, path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	})
}

func summaryFileOf(ctx context.Context, led *ledger.Ledger, s batch.Summary, facts Facts) (SummaryFile, error) {
	out := SummaryFile{
		Schema: summarySchema, Version: facts.Version, Operator: facts.Operator, Host: facts.Host,
		Args: append([]string{}, facts.Args...), Sandbox: facts.Sandbox,
		Run: s.Run, Started: stamp(s.Started), Ended: stamp(s.Ended), Seconds: seconds(s.Ended.Sub(s.Started)),
		ExitCode: facts.ExitCode, Error: problem(facts.Failure), Hint: Printable(facts.Hint), Stopped: problem(s.Stopped),
		Sheet: summarySheet{Name: facts.Sheet, Worksheet: s.Worksheet}, Digest: facts.digest(), Counts: s.Counts, Sent: s.Sent, Alarms: s.Alarms,
		Accounts: []summaryAccount{}, Files: facts.Files, Next: []string{},
	}
	if invalid, ok := errors.AsType[*batch.InvalidError](facts.Failure); ok {
		for _, row := range invalid.First {
			out.Invalid = append(out.Invalid, summaryInvalid{row.Line, row.Column, Printable(row.Value), Printable(row.Reason), row.Code})
		}
	}
	for _, a := range s.Accounts {
		account := summaryAccount{
			Account: a.Account, CRM: a.CRM, Host: a.Host,
			Calls: a.Usage.Calls, Refused: a.Usage.Refused, Repeats: a.Usage.Repeats,
			Limit: a.Usage.Limit, WindowSeconds: seconds(a.Usage.Window),
		}
		if p := facts.planned(a.Account); p != nil {
			account.PlannedCalls, account.PlannedSeconds = new(p.Calls), new(int64(p.Duration.Round(time.Second).Seconds()))
		}
		if e := endedOf(cmp.Or(a.Ended, a.Clock)); e != nil {
			account.EndedCode, account.EndedText, account.EndedHint = e.Code, e.Message, e.Hint
		}
		out.Accounts = append(out.Accounts, account)
	}
	if led == nil || !began(s) {
		return out, nil
	}
	src, _, err := led.Source(ctx)
	out.Sheet.SHA256, out.LedgerID = src.SHA256, led.ID()
	out.Next, out.Again = next(s, facts)
	if s.Head != "" {
		out.ChainHead = &summaryHead{Seq: s.HeadSeq, Hash: s.Head}
	}
	return out, err
}
