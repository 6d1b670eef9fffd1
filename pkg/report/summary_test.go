package report

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestSummarySaysWhatToDoNext(t *testing.T) {
	t.Parallel()
	main := batch.SummaryAccount{Account: "main", CRM: "leadsquared", Host: "crm.example", Usage: crm.Usage{Calls: 31}}
	text := Facts{Sheet: "off.csv", Files: Files{Results: "off.results.csv"}, Again: "bulkrevoke run off.csv"}
	const byCode = "reasons by code, the most frequent first"
	reasons := map[string]*Reasons{byCode: reasonsOf(map[string]int{
		"MXInvalidInputException": 12, "status_7": 7, "inherited": 4, "public": 3, "unknown_user": 1, "protected": 1, "quota": 1,
	})}
	for _, tc := range []struct {
		name  string
		sum   batch.Summary
		facts Facts
		want  string
	}{
		{
			"all done",
			batch.Summary{Started: at, Ended: at.Add(12340 * time.Millisecond), Sent: 14, Counts: batch.Counts{Rows: 15, Done: 14, Unchanged: 1}, Accounts: []batch.SummaryAccount{main}},
			text,
			`off.csv: 15 rows, 14 sent in 12.3s
  done          14
  unchanged     1
account main (leadsquared at crm.example): 31 calls
results: off.results.csv
next: nothing, every row is as the sheet asks
`,
		},
		{
			"some of everything",
			batch.Summary{Counts: batch.Counts{Rows: 9, Done: 1, Accepted: 1, Failed: 3, InDoubt: 2, Invalid: 1, NotAttempted: 1}, Accounts: []batch.SummaryAccount{{
				Account: "main", CRM: "leadsquared", Host: "crm.example", Usage: crm.Usage{Calls: 9, Refused: 2, Repeats: 1},
				Ended: &crm.AccountError{Code: crm.EndKeys, Err: errors.New("wrong\x1b[2J key"), Hint: "Check the keys."},
			}}, Stopped: errors.New("enough")},
			text,
			`off.csv: 9 rows
  done          1
  accepted      1
  failed        3
  in_doubt      2
  invalid       1
  not_attempted 1
account main (leadsquared at crm.example): 9 calls, 2 refused by the rate limit, 1 repeated after a failure
account main ended: keys: wrong` + "\uFFFD" + `[2J key
  Check the keys.
stopped: enough
results: off.results.csv
next: 1 row was not attempted: mend what ended the account, then run again to go on
next: 3 rows failed: see off.results.csv (column result = failed), mend what its message says and run again
next: 2 rows are in doubt, sent without an answer: the next run finds out what it can; for what stays look at the CRM (off.results.csv, column result = in_doubt)
next: 1 row is invalid and never sent: see off.results.csv (column result = invalid), mend the sheet and run again
next: 1 row is accepted and not confirmed yet: run again later to ask about them
again: bulkrevoke run off.csv
`,
		},
		{
			"stopped",
			batch.Summary{Counts: batch.Counts{Rows: 2, NotAttempted: 2}, Stopped: errors.New("stopped by a signal: interrupt")},
			text,
			"off.csv: 2 rows\n  not_attempted 2\nstopped: a signal: interrupt\nresults: off.results.csv\n" +
				"next: 2 rows were not attempted: run again to go on\nagain: bulkrevoke run off.csv\n",
		},
		{
			"rows behind one that is in doubt",
			batch.Summary{Counts: batch.Counts{Rows: 2, InDoubt: 1, NotAttempted: 1}},
			text,
			"off.csv: 2 rows\n  in_doubt      1\n  not_attempted 1\nresults: off.results.csv\n" +
				"next: 1 row was not attempted: an earlier row about the same user and record is in doubt or unconfirmed\n" +
				"next: 1 row is in doubt: look at the CRM (off.results.csv, column result = in_doubt); run again with --redo-in-doubt to send them again\n" +
				"again: bulkrevoke run off.csv\n",
		},
		{
			byCode,
			batch.Summary{Counts: batch.Counts{Rows: 30, Failed: 29, InDoubt: 1}},
			Facts{Sheet: "off.csv", Files: Files{Results: "o.csv"}, Again: "x"},
			"off.csv: 30 rows\n  failed        29\n" +
				"        12  MXInvalidInputException\n         7  status_7\n         4  inherited\n         3  public\n" +
				"         1  protected\n         2  other codes\n  in_doubt      1\nresults: o.csv\n" +
				"next: 29 rows failed: see o.csv (column result = failed), mend what its message says and run again\n" +
				"next: 1 row is in doubt: look at the CRM (o.csv, column result = in_doubt); run again with --redo-in-doubt to send them again\nagain: x\n",
		},
		{
			"no result file, though all is done",
			batch.Summary{Counts: batch.Counts{Rows: 1, Done: 1}},
			Facts{Sheet: "off.csv", Files: Files{Results: "o.csv"}, Again: "x", Failure: ErrNoOutput},
			"off.csv: 1 row\n  done          1\nresults: o.csv could not be written\n" +
				"next: the result file is missing: mend what is in its way and write it with bulkrevoke results\n",
		},
		{
			"a bystander lost access",
			batch.Summary{Counts: batch.Counts{Rows: 2, Done: 2}, Alarms: 2},
			Facts{Sheet: "off.csv", Files: Files{Results: "o.csv"}, Again: "x"},
			"off.csv: 2 rows\n  done          2\nresults: o.csv\n" +
				"next: 2 rows took access from a bystander, whom no row is about: the message in o.csv names them, give it back by hand\n",
		},
		{
			"an account ended, and every row is done",
			batch.Summary{Counts: batch.Counts{Rows: 1, Done: 1}, Accounts: []batch.SummaryAccount{{
				Account: "main", CRM: "zoho", Host: "h", Ended: &crm.AccountError{Code: crm.EndQuota, Err: errors.New("used up")},
			}}},
			Facts{Sheet: "off.csv", Files: Files{Results: "o.csv"}, Again: "x"},
			"off.csv: 1 row\n  done          1\naccount main (zoho at h): 0 calls\naccount main ended: quota: used up\nresults: o.csv\n" +
				"next: every row is as the sheet asks, and an account ended early: see above\n",
		},
		{
			"accepted is enough",
			batch.Summary{Counts: batch.Counts{Rows: 1, Accepted: 1}},
			Facts{Sheet: "off.csv", Files: Files{Results: "o.csv"}, Again: "x", AcceptedIsDone: true},
			"off.csv: 1 row\n  accepted      1\nresults: o.csv\nnext: nothing; what is accepted was not asked about, without --confirm off it is\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			must(t, WriteSummary(&b, tc.sum, tc.facts, reasons[tc.name]))
			if diff := cmp.Diff(tc.want, b.String()); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
		})
	}
}

// reasonsOf returns reasons as rows that failed with these codes come to.
func reasonsOf(codes map[string]int) *Reasons {
	var r Reasons
	for code, rows := range codes {
		for range rows {
			r.add(ledger.Result{Status: crm.Failed, Code: code})
		}
	}
	return &r
}

// examplePlan is a plan that has something to say about everything.
func examplePlan() batch.Plan {
	return batch.Plan{
		Rows: 20, ToSend: 12, Done: 3, Asked: 1, Waiting: 1, Retried: 2, Invalid: 3, Joined: 1, Pairs: 1, Unstated: 4, Contexts: 5, Digest: "abc", Notes: []string{"odd\x1b"},
		Groups: []batch.PlanGroup{
			{Account: "main", Action: "revoke", Object: "lead", Rows: 10, ToSend: 8},
			{Account: "main", Action: "share", Object: "opportunity", Rows: 7, ToSend: 4},
		},
		Accounts: []batch.PlanAccount{
			{Account: "main", CRM: "leadsquared", Host: "crm.example", Calls: 24, Duration: 5 * time.Second},
			{Account: "old", CRM: "leadsquared", Host: "old.example", Ended: &crm.AccountError{Code: crm.EndKeys, Err: errors.New("401"), Hint: "Check."}},
		},
	}
}

func TestPlanAsText(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	must(t, WritePlan(&b, "off.csv", examplePlan()))
	want := `off.csv: 20 rows, 12 to send
  3  finished already, nothing to do
  1  left open by an earlier run, asked about first
  1  in doubt, not repeated without --redo-in-doubt
  2  of those to send: refused in an earlier run, tried again at the end
  3  invalid, never sent
  1  go together with an equal row
  4  revokes without access: the account's default is sent
  5  lead revokes: the user may keep the lead through another activity
  note: 1 target has both a revoke and a share; they act in sheet order
  note: odd�

account  action  object       rows  to send
main     revoke  lead         10    8
main     share   opportunity  7     4

account main (leadsquared at crm.example): about 24 calls, 5s

account old (leadsquared at old.example): about 0 calls, less than a second
  can not be worked with: keys: 401
  Check.

digest abc
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

func TestPlanAsJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	must(t, WritePlanJSON(&b, "off.csv", examplePlan()))
	for _, want := range []string{
		`"sheet": "off.csv"`, `"to_send": 12`, `"digest": "abc"`, `"duration_ns": 5000000000`,
		`"ended": {
        "code": "keys",
        "message": "401",
        "hint": "Check."
      }`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the JSON lacks %s:\n%s", want, b.String())
		}
	}
	if strings.Count(b.String(), `"accounts"`) != 1 {
		t.Errorf("accounts are there twice:\n%s", b.String())
	}
}
