package report

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// summaryText writes a summary file and returns it.
func summaryText(t *testing.T, led *ledger.Ledger, s batch.Summary, facts Facts) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "summary.json")
	must(t, WriteSummaryJSON(t.Context(), led, s, facts, path))
	return read(t, path)
}

func TestSummaryFile(t *testing.T) {
	t.Parallel()
	rows, s, facts := examplePage()
	s.Counts = batch.Counts{Rows: 60, Done: 42, Unchanged: 9, Accepted: 1, Failed: 3, InDoubt: 1, Invalid: 1, NotAttempted: 3}
	s.Accounts = append(s.Accounts, batch.SummaryAccount{
		Account: "old", CRM: "zoho", Host: "www.zohoapis.eu",
		Ended: &crm.AccountError{Code: crm.EndKeys, Err: errors.New("the token <was>\x1b refused"), Hint: "Make a new one."},
	})
	led := pageLedger(t, rows)
	got := strings.ReplaceAll(summaryText(t, led, s, facts), led.ID(), "00000000-0000-4000-8000-000000000000")
	golden(t, "summary.json", got)
	if !strings.HasPrefix(got, summaryStart) {
		t.Errorf("the file begins with %.40q, so that it would not be known again", got)
	}
	dec := json.NewDecoder(strings.NewReader(got))
	dec.DisallowUnknownFields()
	var back SummaryFile
	must(t, dec.Decode(&back))
	if back.Schema != summarySchema || back.Counts != s.Counts || *back.Accounts[0].PlannedSeconds != 43 || back.Accounts[1].PlannedCalls != nil {
		t.Errorf("read back it says %+v", back)
	}
}

func TestSummaryFileOfARefusal(t *testing.T) {
	t.Parallel()
	got := summaryText(t, nil, batch.Summary{}, Facts{Sheet: "-", ExitCode: 2, Failure: errors.New("line 3: \x07no")})
	var back SummaryFile
	must(t, json.Unmarshal([]byte(got), &back))
	want := SummaryFile{
		Schema: summarySchema, Args: []string{}, ExitCode: 2, Error: "line 3: \uFFFDno", Sheet: summarySheet{Name: "-"},
		Accounts: []summaryAccount{}, Next: []string{},
	}
	if diff := cmp.Diff(want, back); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if strings.Contains(got, "null") || strings.Contains(got, "started") {
		t.Errorf("what is unknown is not left out:\n%s", got)
	}
}
