package ledger

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestRejectTakesTheRowsOfAMark(t *testing.T) {
	t.Parallel()
	s := stageOf(t, mustOpen(t, newFile(t)), []Staged{
		{Line: 2, Account: "a", Op: lead("r1"), Marks: []Mark{{"odd", "record_id", "1"}, {"odd", "user", "2"}, {"other", "user", "2"}}},
		{Line: 3, Account: "a", Op: lead("r1"), Marks: []Mark{{"other", "user", "3"}}},
		{Line: 4, Account: "b", Op: lead("r1"), Marks: []Mark{{"odd", "record_id", "4"}}},
		{Line: 5, Account: "b", Op: crm.Operation{}, Code: "invalid", Problem: "user: is empty", Column: "user", Marks: []Mark{{"odd", "record_id", "5"}}},
		{Line: 6, Account: "b", Op: lead("r1")},
	})
	if diff := cmp.Diff([]string{"odd", "other"}, collect(t, s.Marks(t.Context()))); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	if rows := collect(t, s.Invalid(t.Context(), 0)); len(rows) != 1 {
		t.Fatalf("marks alone make rows invalid: %+v", rows)
	}
	for _, want := range []map[string]int64{{"a": 1, "b": 1}, {}} { // rejecting again changes nothing
		got, err := s.Reject(t.Context(), "odd", "odd_id", "is odd")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rejected (-want +got):\n%s", diff)
		}
	}
	if got, err := s.Reject(t.Context(), "of nothing", "x", "y"); err != nil || len(got) > 0 {
		t.Errorf("a mark that no row has: %v, %v", got, err)
	}
	var told []string
	for _, r := range collect(t, s.Invalid(t.Context(), 0)) {
		told = append(told, fmt.Sprintf("%d %s %s %s=%s", r.Line, r.Code, r.Problem, r.Column, r.Value))
	}
	want := []string{
		`2 odd_id record_id: "1" is odd record_id=1`, `4 odd_id record_id: "4" is odd record_id=4`, `5 invalid user: is empty user=`,
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("invalid (-want +got):\n%s", diff)
	}
}

func TestMarksArePaged(t *testing.T) {
	t.Parallel()
	var rows []Staged
	for i := range 2*pageRows + 3 {
		rows = append(rows, Staged{Line: i + 2, Account: "a", Op: lead("r1"), Marks: []Mark{{Name: fmt.Sprintf("m%05d", i/2)}}})
	}
	s := stageOf(t, mustOpen(t, newFile(t)), rows)
	if got, want := len(collect(t, s.Marks(t.Context()))), pageRows+2; got != want {
		t.Errorf("%d marks, want %d", got, want)
	}
}
