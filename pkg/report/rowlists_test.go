package report

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// A page shows the cells by what their columns stand for, by their names or by a
// mapping.
func TestCellsOf(t *testing.T) {
	t.Parallel()
	row := ledger.Result{Cells: []string{"a", "b", "c"}}
	for _, tc := range []struct {
		name   string
		layout sheet.Layout
		user   string
		cells  map[string]string
	}{
		{"our names", sheet.Layout{Columns: []string{"action", "record_id", "user"}}, "c", map[string]string{"action": "a", "record_id": "b"}},
		{"other names of ours", sheet.Layout{Columns: []string{"Operation", "Prospect Auto-Id", "E-mail"}}, "c", map[string]string{"action": "a", "record_id": "b"}},
		{"address before id", sheet.Layout{Columns: []string{"user", "user_email", "note"}}, "b", map[string]string{"user": "a", "note": ""}},
		{"mapped", sheet.Layout{Columns: []string{"What", "Lead No", "Owner mail"}, Mapped: map[int]string{0: "action", 1: "record_id", 2: "user_email"}}, "c",
			map[string]string{"action": "a", "record_id": "b"}},
		{"mapped to nothing", sheet.Layout{Columns: []string{"user", "email", "x"}, Mapped: map[int]string{1: ""}}, "a", map[string]string{"user_email": ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			columns := cellsOf(tc.layout)
			got := map[string]string{}
			for name := range tc.cells {
				got[name] = columns.cell(row, name)
			}
			if diff := cmp.Diff(tc.cells, got); diff != "" || columns.user(row) != tc.user {
				t.Errorf("user %q, want %q; cells (-want +got):\n%s", columns.user(row), tc.user, diff)
			}
		})
	}
}
