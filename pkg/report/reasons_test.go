package report

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestOpenReasons(t *testing.T) {
	t.Parallel()
	failed := func(code string) ledger.Result { return ledger.Result{Status: crm.Failed, Code: code} }
	const mend = "Mend what the messages below say, and run again."
	for _, tc := range []struct {
		name  string
		rows  []ledger.Result
		sum   batch.Summary
		facts Facts
		want  []openReason
	}{
		{name: "nothing is open", rows: []ledger.Result{{Status: crm.Done}, {Status: crm.Unchanged}}},
		{name: "one code", rows: []ledger.Result{failed("x"), failed("x")}, want: []openReason{{"failed", 2, "x", mend}}},
		{name: "no code", rows: []ledger.Result{failed("")}, want: []openReason{{"failed", 1, "", mend}}},
		{name: "the code is the result", rows: []ledger.Result{{Invalid: true, Code: "invalid"}},
			want: []openReason{{"invalid", 1, "", "Mend them in the sheet, and run again."}}},
		{name: "codes, the most frequent first", rows: []ledger.Result{failed("a"), failed("b"), failed("b"), failed("")},
			want: []openReason{{"failed", 4, "2 b, 1 a, 1 for other reasons", mend}}},
		{name: "more codes than are shown", rows: []ledger.Result{failed("a"), failed("b"), failed("c"), failed("d"), failed("e"), failed("f"), failed("g")},
			want: []openReason{{"failed", 7, "1 a, 1 b, 1 c, 1 d, 1 e, 2 for other reasons", mend}}},
		{name: "stopped", rows: []ledger.Result{{Status: crm.Pending}}, sum: batch.Summary{Stopped: errors.New("enough")},
			want: []openReason{{"not_attempted", 1, "", "The run was stopped before them. Run again to go on."}}},
		{name: "accepted is enough", rows: []ledger.Result{{Status: crm.Accepted}}, facts: Facts{AcceptedIsDone: true},
			want: []openReason{{"accepted", 1, "", "Without --confirm off, the next run asks about them."}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var reasons Reasons
			for _, res := range tc.rows {
				countRow(&tc.sum.Counts, res)
				if isOpen(res) {
					reasons.add(res)
				}
			}
			if diff := cmp.Diff(tc.want, openReasons(tc.sum, tc.facts, &reasons)); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}
