package batch

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestInvalidRowsNameTheirCell(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.users = []crm.User{{ID: "u1", Email: "one@x.example"}}
	b := newBench(t, f)
	for _, tc := range []struct {
		name, row string
		want      InvalidRow
	}{
		{"a word that is no action", "delete r1 u1", InvalidRow{Line: 2, Code: crm.CodeInvalid, Column: "action", Value: "delete"}},
		{"an id that does not fit", "revoke x\x1b1 u1", InvalidRow{Line: 2, Code: crm.CodeInvalid, Column: "record_id", Value: "x\uFFFD1"}},
		{"an address that nobody has", "revoke r1 No@x.example", InvalidRow{Line: 2, Code: crm.CodeUnknownUser, Column: "user", Value: "no@x.example"}},
	} {
		_, _, err := b.prepare(tc.row)
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || len(invalid.First) != 1 {
			t.Errorf("%s: got %v, want one invalid row", tc.name, err)
			continue
		}
		got := invalid.First[0]
		if got.Reason == "" {
			t.Errorf("%s: no reason is given", tc.name)
		}
		got.Reason = ""
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestEqualComplaintsAreToldTogether(t *testing.T) {
	t.Parallel()
	b := newBench(t, newFake(t))
	rows := []string{"delete r0 u1"}
	for i := range 90 {
		rows = append(rows, fmt.Sprintf("revoke x%d u1", i))
	}
	rows = append(rows, "revoke r1 u1", "revoke x90 u1", "share r2 u1 some")
	_, _, err := b.prepare(rows...)
	invalid, ok := errors.AsType[*InvalidError](err)
	if !ok {
		t.Fatalf("got %v, want invalid rows", err)
	}
	var told []string
	for _, g := range invalid.Groups {
		for _, row := range g.First {
			told = append(told, fmt.Sprintf("%d %s %s", row.Line, row.Column, row.Value))
		}
		if g.More() > 0 {
			told = append(told, fmt.Sprintf("%d more, %s", g.More(), g.Others.String()))
		}
	}
	want := []string{
		"2 action delete",
		"3 record_id x0", "4 record_id x1", "5 record_id x2", "6 record_id x3", "7 record_id x4", "86 more, lines 8-92, 94",
		"95 access some",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if invalid.Total != 93 || len(invalid.First) != 93 || invalid.Ungrouped() != 0 {
		t.Errorf("%d rows, %d listed, %d without a group; want 93, 93, 0", invalid.Total, len(invalid.First), invalid.Ungrouped())
	}
}

// TestComplaintsAreBounded gives every row a complaint of its own, and then one of
// many values.
func TestComplaintsAreBounded(t *testing.T) {
	t.Parallel()
	e := &InvalidError{}
	for i := range 5000 {
		e.add(int64(i+1), InvalidRow{Line: i + 2, Column: "row", Reason: fmt.Sprintf("row: complaint %d", i)})
	}
	for i := range 5000 {
		ord := 5000 + 2*i // every other row
		e.add(int64(ord+1), InvalidRow{Line: ord + 2, Column: "row", Reason: "row: complaint 0"})
	}
	if len(e.Groups) != groupsShown || len(e.First) != InvalidShown || e.Total != 10_000 {
		t.Errorf("%d groups, %d rows of %d kept", len(e.Groups), len(e.First), e.Total)
	}
	if got, want := e.Others.String(), "lines 22-5001"; got != want || e.Ungrouped() != 4980 {
		t.Errorf("without a group are %d rows, %s; want 4980, %s", e.Ungrouped(), got, want)
	}
	g := e.Groups[0]
	if got, want := g.Others.String(), "lines 5010, 5012, 5014, 5016, 5018, 5020, 5022, 5024 and others"; got != want || g.More() != 4996 {
		t.Errorf("the group has %d more, %s; want 4996, %s", g.More(), got, want)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		rows [][2]int // place and line
		want string
	}{
		{"one", [][2]int{{1, 2}}, "line 2"},
		{"two that follow each other", [][2]int{{1, 2}, {2, 3}}, "lines 2-3"},
		{"two apart", [][2]int{{1, 2}, {3, 4}}, "lines 2, 4"},
		{"a blank line between", [][2]int{{1, 2}, {2, 9}}, "lines 2-9"},
	} {
		var l Lines
		for _, row := range tc.rows {
			l.add(int64(row[0]), row[1])
		}
		if got := l.String(); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}
