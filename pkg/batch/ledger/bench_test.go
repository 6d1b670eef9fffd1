package ledger_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// benchRows is how many rows the benchmarks work on. The package is built for a
// million: import <= 5 s, match against as much history <= 15 s, results <= 4 s.
const benchRows = 20_000

func benchRow(i int) ledger.ImportRow {
	id := strconv.Itoa(i)
	op := crm.Operation{
		Action: crm.Revoke, Object: crm.Lead, Record: id, User: "user-" + strconv.Itoa(i%1000),
		Context: "4b8b5a9e-7b1c-4d57-9d7b-00" + id, Access: crm.Read,
	}
	return ledger.ImportRow{
		Line: i + 2, Account: "main", Op: op,
		Cells: []string{"revoke", op.Object, id, op.User, op.Context, "read", "some text"},
	}
}

func benchImport(b *testing.B, l *ledger.Ledger) *ledger.Import {
	b.Helper()
	s, err := l.Import(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for i := range benchRows {
		if err := s.Add(benchRow(i)); err != nil {
			b.Fatal(err)
		}
	}
	if _, _, err := s.Reach(b.Context()); err != nil { // once all rows are in
		b.Fatal(err)
	}
	return s
}

// benchFinished returns a ledger in which all rows are done.
func benchFinished(b *testing.B) *ledger.Ledger {
	b.Helper()
	l := Open(b, newFile(b))
	s := benchImport(b, l)
	Match(b, s)
	if err := s.Commit(b.Context(), ledger.Source{}); err != nil {
		b.Fatal(err)
	}
	Must(b, l.Script(`UPDATE op SET state = 'done', seq = id, turn = 0, open = 0, attempts = 1, first_run = 1, http_status = 200,
			call_id = 'c-' || id, request_id = '0c9a1b2c3d' || id, sent_at = 1700000000000, confirmed_at = 1700000000000`))
	return l
}

func perRow(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

func BenchmarkImport(b *testing.B) {
	l := Open(b, newFile(b))
	for b.Loop() {
		benchImport(b, l)
	}
	perRow(b)
}

func BenchmarkMatch(b *testing.B) {
	l := benchFinished(b)
	for b.Loop() {
		b.StopTimer()
		s := benchImport(b, l)
		b.StartTimer()
		Match(b, s)
	}
	perRow(b)
}

func BenchmarkCommit(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		l := Open(b, newFile(b))
		s := benchImport(b, l)
		Match(b, s)
		b.StartTimer()
		if err := s.Commit(b.Context(), ledger.Source{}); err != nil {
			b.Fatal(err)
		}
	}
	perRow(b)
}

func BenchmarkResults(b *testing.B) {
	l := benchFinished(b)
	for b.Loop() {
		n := 0
		for _, err := range l.Results(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != benchRows {
			b.Fatalf("got %d rows", n)
		}
	}
	perRow(b)
}

// BenchmarkIntendRecord takes rows through intent and outcome from 64 goroutines
// for each processor, as calls in flight do.
func BenchmarkIntendRecord(b *testing.B) {
	l := Open(b, newFile(b))
	s := benchImport(b, l)
	Match(b, s)
	if err := s.Commit(b.Context(), ledger.Source{}); err != nil {
		b.Fatal(err)
	}
	if _, err := l.BeginRun(b.Context(), ledger.RunInfo{}); err != nil {
		b.Fatal(err)
	}
	ops, err := l.Next(b.Context(), "main", ledger.Cursor{}, benchRows)
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			op := ops[int(next.Add(1))%len(ops)]
			if err := l.Intend(b.Context(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{op}, Attempt: 1, At: At}); err != nil {
				b.Error(err)
				return
			}
			if err := l.Record(b.Context(), []ledger.Outcome{OutcomeOf(op, "c", crm.Done)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkExport and BenchmarkBringIn: a million rows are to be out, or in, within a minute.
func BenchmarkExport(b *testing.B) {
	l := benchFinished(b)
	for b.Loop() {
		Must(b, l.Export(b.Context(), newPath(b)))
	}
	perRow(b)
}

func BenchmarkBringIn(b *testing.B) {
	l := Open(b, newFile(b))
	s := benchImport(b, l)
	Match(b, s)
	Must(b, s.Commit(b.Context(), ledger.Source{}))
	path := newPath(b)
	Must(b, l.Export(b.Context(), path))
	for b.Loop() {
		_, err := marked(b, newFile(b)).BringIn(b.Context(), path)
		Must(b, err)
	}
	perRow(b)
}
