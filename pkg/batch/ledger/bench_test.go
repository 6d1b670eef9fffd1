package ledger

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// benchRows is how many rows the benchmarks work on. The package is built for a
// million: stage <= 5 s, match against as much history <= 15 s, results <= 4 s.
const benchRows = 20_000

func benchRow(i int) Staged {
	id := strconv.Itoa(i)
	op := crm.Operation{
		Action: crm.Revoke, Object: crm.Lead, Record: id, User: "user-" + strconv.Itoa(i%1000),
		Context: "4b8b5a9e-7b1c-4d57-9d7b-00" + id, Access: crm.Read,
	}
	return Staged{
		Line: i + 2, Account: "main", Op: op,
		Cells: []string{"revoke", op.Object, id, op.User, op.Context, "read", "some text"},
	}
}

func benchStage(b *testing.B, l *Ledger) *Stage {
	b.Helper()
	s, err := l.Stage(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for i := range benchRows {
		if err := s.Add(benchRow(i)); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	return s
}

// benchFinished returns a ledger in which all rows are done.
func benchFinished(b *testing.B) *Ledger {
	b.Helper()
	l := mustOpen(b, newFile(b))
	s := benchStage(b, l)
	match(b, s)
	if err := s.Adopt(b.Context(), Source{}); err != nil {
		b.Fatal(err)
	}
	if err := l.change(b.Context(), func(c *conn) error {
		_, err := c.exec(`UPDATE op SET state = 3, seq = id, turn = 0, open = 0, attempts = 1, first_run = 1, http_status = 200,
			call_id = 'c-' || id, request_id = '0c9a1b2c3d' || id, sent_at = 1700000000000, confirmed_at = 1700000000000`)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return l
}

func perRow(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

func BenchmarkStage(b *testing.B) {
	l := mustOpen(b, newFile(b))
	for b.Loop() {
		benchStage(b, l)
	}
	perRow(b)
}

func BenchmarkMatch(b *testing.B) {
	l := benchFinished(b)
	for b.Loop() {
		b.StopTimer()
		s := benchStage(b, l)
		b.StartTimer()
		match(b, s)
	}
	perRow(b)
}

func BenchmarkAdopt(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		l := mustOpen(b, newFile(b))
		s := benchStage(b, l)
		match(b, s)
		b.StartTimer()
		if err := s.Adopt(b.Context(), Source{}); err != nil {
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

// BenchmarkIntendSettle takes rows through intent and outcome from 64 goroutines
// for each processor, as calls in flight do.
func BenchmarkIntendSettle(b *testing.B) {
	l := mustOpen(b, newFile(b))
	s := benchStage(b, l)
	match(b, s)
	if err := s.Adopt(b.Context(), Source{}); err != nil {
		b.Fatal(err)
	}
	if _, err := l.BeginRun(b.Context(), RunInfo{}); err != nil {
		b.Fatal(err)
	}
	ops, err := l.Todo(b.Context(), "main", Cursor{}, benchRows)
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			op := ops[int(next.Add(1))%len(ops)]
			if err := l.Intend(b.Context(), Intent{CallID: "c", Account: "main", Ops: []int64{op.ID}, Attempt: 1, At: at}); err != nil {
				b.Error(err)
				return
			}
			if err := l.Settle(b.Context(), []Settle{outcome(op, "c", Done)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
