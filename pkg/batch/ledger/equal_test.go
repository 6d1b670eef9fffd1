package ledger_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// Of equal rows, one operation is in memory while they are matched, not one for each:
// a row costs its place in the list and what decide is asked about. It does not run
// beside other tests, because it measures the whole process.
func TestEqualRowsShareTheirOperation(t *testing.T) {
	held := func(n int) uint64 {
		s := Import(t, Open(t, newFile(t)), Rows(strings.Repeat("r1a ", n)))
		var bytes uint64
		if err := s.Match(t.Context(), EachTarget(func(past, rows []ledger.Entry) []ledger.Choice {
			if len(rows) != n {
				t.Errorf("%d rows are asked about together, want %d", len(rows), n)
			}
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			bytes = m.HeapAlloc
			return Overlap(past, rows)
		})); err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	const few, many = 10_000, 50_000
	small, large := held(few), held(many)
	// What the sheet itself takes in this test: it gives its rows as one slice.
	perRow := (float64(large) - float64(small)) / (many - few)
	t.Logf("%.0f bytes a row", perRow)
	if perRow > 130 {
		t.Errorf("a further equal row takes %.0f bytes while it is matched", perRow)
	}
}
