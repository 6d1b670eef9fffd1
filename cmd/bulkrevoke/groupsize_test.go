package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A ledger grows by the rows of its sheet, and not by how many others are in their
// groups; undo has what it needs all the same.
func TestLedgerOfLargeGroups(t *testing.T) {
	t.Parallel()
	const rows = 100
	sizes := map[int]int64{}
	undo := map[int][]string{}
	for _, size := range []int{rows + 20, 20_000} {
		r := newRig(t, sandbox.Config{})
		users := make([]int, size)
		for i := range users {
			users[i] = i
		}
		r.seedGroup(1, users...)
		var lines []string
		for i := range rows {
			lines = append(lines, member("revoke", 1, i))
		}
		path := r.sheet(lines...)
		r.runs(exitDone, "run", path)
		info, err := os.Stat(r.path("off.ledger.db"))
		must(t, err)
		sizes[size] = info.Size()
		r.runs(exitDone, "undo", path)
		for _, row := range r.results("off.undo.csv") {
			undo[size] = append(undo[size], row["action"]+" "+row["user"]+" "+row["group_permissions"])
		}
	}
	small, large := sizes[rows+20], sizes[20_000]
	t.Logf("%d bytes for a row in a group of %d users, %d in one of 20,000", small/rows, rows+20, large/rows)
	if large > small+small/10 {
		t.Errorf("the ledger has %d bytes where the group has 20,000 users, and %d where it has %d", large, small, rows+20)
	}
	if len(undo[20_000]) != rows || !slices.Equal(undo[20_000], undo[rows+20]) {
		t.Errorf("undo has %d rows, want %d as for the small group:\n%s", len(undo[20_000]), rows, strings.Join(undo[20_000], "\n"))
	}
}
