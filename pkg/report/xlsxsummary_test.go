package report

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// summaryOf returns what the summary of a workbook shows, a line for each row.
func summaryOf(t *testing.T, led *ledger.Ledger, target Target) string {
	t.Helper()
	target.Path = filepath.Join(t.TempDir(), "r.xlsx")
	_, err := WriteResults(t.Context(), led, target)
	must(t, err)
	f := openBook(t, target.Path)
	rows, err := f.GetRows(sheet.SummarySheet)
	must(t, err)
	var b strings.Builder
	for _, row := range rows {
		fmt.Fprintln(&b, strings.Join(row, " | "))
	}
	if strings.Contains(insides(t, target.Path, "xl/worksheets/sheet2.xml"), "<f") {
		t.Error("the summary has a formula")
	}
	return b.String()
}

func TestWorkbookSummary(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	rows := []sheetRow{
		{cells: []string{"1", ""}, op: revoke(1), settle: &ledger.Outcome{Status: crm.Done}},
		{cells: []string{"2", ""}, op: revoke(2), settle: &ledger.Outcome{Status: crm.Failed, Code: "=c", Message: "-no such\nuser"}},
		{cells: []string{"3", ""}, op: revoke(3), settle: &ledger.Outcome{Status: crm.Failed, Code: "=c", Message: "another text"}},
		{cells: []string{"4", ""}, code: "invalid", problem: "record_id: is empty"},
		{cells: []string{"5", ""}, op: revoke(5)},
	}
	led := newLedger(t, plainLayout, rows)
	seq, head, err := led.Head(ctx)
	must(t, err)
	always := []string{
		"sheet.csv\n4 rows of 5 are open.\n",
		"\ndone | 1 | 20.0 % | The CRM has confirmed it.\n", "\nfailed | 2 | 40.0 % |", "\nin_doubt | 0 |  |", "\nall | 5\n",
		"\nWhy rows are open | Rows | Code | Message of the first such row\nfailed | 2 | =c | -no such user\n", "\ninvalid | 1 | invalid | record_id: is empty\n",
		"\nSheet SHA-256 | 00\n", "\nLedger id | " + led.ID() + "\n", fmt.Sprintf("\nLast event of the chain | %d\nHash of that event | %s\n", seq, head),
		"\nAccount main | leadsquared at crm.example, organisation 1\n", " UTC | ", ", with bulkrevoke test\n",
	}
	plan := &batch.Plan{Digest: "d1e5"}
	openRows := func(res ledger.Result) bool { return isOpen(res) }
	for _, tc := range []struct {
		name   string
		target Target
		want   []string
		not    []string
	}{
		{"the ledger alone", Target{},
			[]string{" | cut off | ", `2 rows failed: see the sheet "Results" (column result = failed)`, "1 row was not attempted: run again to go on."},
			[]string{"at work", "Plan digest", "Command", "Sandbox", "Machine"}},
		{"while a run is at work", Target{AtWork: true, Facts: Facts{Again: "bulkrevoke run sheet.csv"}},
			[]string{" | at work | ", "Run 1 is at work: this is how far it had come at ", "nothing yet: the run goes on by itself"},
			[]string{"cut off", "run again", "Command"}},
		{"at the end of a run", Target{Run: &batch.Summary{Started: at, Ended: at, Stopped: errors.New("stopped by \x1b a guard")}, Facts: Facts{Plan: plan, Host: "host-1", Again: "bulkrevoke run 'a b.csv'", Sandbox: true}},
			[]string{"Sandbox: no real CRM was involved.", "The run was stopped before everything was tried: stopped by \uFFFD a guard.", "\nPlan digest | d1e5\n", "\nMachine | host-1\n", "\nCommand | bulkrevoke run 'a b.csv'\n"},
			[]string{"at work"}},
		{"the open rows alone", Target{Keep: openRows},
			[]string{"This file has only the rows that need somebody, 4. The figures are those of the whole sheet."}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := summaryOf(t, led, tc.target)
			for _, want := range append(tc.want, always...) {
				if !strings.Contains(got, want) {
					t.Errorf("the summary says nothing of %q:\n%s", want, got)
				}
			}
			for _, bad := range tc.not {
				if strings.Contains(got, bad) {
					t.Errorf("the summary says %q:\n%s", bad, got)
				}
			}
		})
	}

	must(t, led.EndRun(ctx, 1, nil))
	for range shownRuns {
		run, err := led.BeginRun(ctx, ledger.RunInfo{Version: "test"})
		must(t, err)
		must(t, led.EndRun(ctx, run, nil))
	}
	got := summaryOf(t, led, Target{AtWork: true}) // by somebody who sends nothing
	if !strings.Contains(got, "1 earlier one is in the ledger.") || strings.Contains(got, "at work") {
		t.Errorf("the summary of %d runs:\n%s", shownRuns+1, got)
	}
}

func TestWorkbookSummaryOfWhatIsDone(t *testing.T) {
	t.Parallel()
	layout := noteLayout
	layout.Sheet = "Leavers"
	got := summaryOf(t, newLedger(t, layout, noteRows("one", "two")), Target{})
	for _, want := range []string{"sheet.csv, sheet \"Leavers\"\n2 rows, all as the sheet asks.\n", "nothing, every row is as the sheet asks.", `The sheet "Leavers" has the rows`} {
		if !strings.Contains(got, want) {
			t.Errorf("the summary says nothing of %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "Why rows are open") {
		t.Errorf("rows are open:\n%s", got)
	}
}
