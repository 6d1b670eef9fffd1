package ledger_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// A ledger of many rows is taken out and brought in with the memory of one of few. It does
// not run beside other tests, because it measures the whole process.
func TestCopyInFlatMemory(t *testing.T) {
	held := func(n int) (most uint64) {
		count := 0
		look := tap{before: func(query string, _ []any) error {
			if !strings.Contains(query, " FROM op WHERE") && !strings.HasPrefix(query, "INSERT INTO op") {
				return nil
			}
			if count++; count%32 == 0 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
			return nil
		}}
		from := newFile(t)
		l, err := from.Open(Options())
		Must(t, err)
		s, err := l.Import(t.Context())
		Must(t, err)
		for i := range n {
			Must(t, s.Add(benchRow(i)))
		}
		Match(t, s)
		Must(t, s.Commit(t.Context(), ledger.Source{Name: "sheet.csv"}))
		Must(t, l.Close())
		l, err = from.Open(look.on(Options()))
		Must(t, err)
		f := export(t, l)
		Must(t, l.Close())
		to := newFile(t)
		l, err = to.Open(look.on(Options()))
		Must(t, err)
		bringIn(t, l, f, true)
		Must(t, l.Close())
		rows := 0
		Must(t, to.DB(t).QueryRow("SELECT count(*) FROM op o JOIN sheet_row s ON s.op = o.id").Scan(&rows))
		if rows != n || count == 0 {
			t.Errorf("%d rows have come in, want %d", rows, n)
		}
		return most
	}
	const few, many = 10_000, 40_000
	small, large := held(few), held(many)
	perRow := (float64(large) - float64(small)) / (many - few)
	t.Logf("%.1f bytes a row", perRow)
	if perRow > 10 {
		t.Errorf("a further row takes %.1f bytes", perRow)
	}
}
