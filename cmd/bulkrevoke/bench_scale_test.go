package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/leadsquared"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// scaleRows is how many rows the big sheets have: a million, or what
// BULKREVOKE_TEST_ROWS says.
func scaleRows(b *testing.B) int {
	b.Helper()
	text := os.Getenv("BULKREVOKE_TEST_ROWS")
	if text == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("BULKREVOKE_TEST_ROWS=%q is no number of rows", text)
	}
	return n
}

// bigSheet gives a sheet of n lead revokes, a row at a time, so that a sheet of any
// size takes no memory. Its records come in no order, as in an export, and a
// thousand users share them.
type bigSheet struct {
	n, next int
	buf     []byte
}

func (s *bigSheet) Read(p []byte) (int, error) {
	if s.next == 0 && s.buf == nil {
		s.buf = append(s.buf, sheetHead...)
	}
	for len(s.buf) < len(p) && s.next < s.n {
		s.buf = s.appendRow(s.buf, s.next)
		s.next++
	}
	if len(s.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.buf)
	s.buf = append(s.buf[:0], s.buf[n:]...)
	return n, nil
}

func (s *bigSheet) appendRow(b []byte, i int) []byte {
	const scatter = 2654435761 // Knuth's multiplier: distinct for distinct 32-bit numbers
	record := uint32(i) * scatter
	b = strconv.AppendInt(append(b, "revoke,lead,"...), 1_000_000_000+int64(record), 10)
	b = appendGUID(append(b, ','), 'c', i)
	b = appendGUID(append(b, ','), 'd', i%1000)
	return append(b, ",read\n"...)
}

// appendGUID appends a GUID that ends in the number.
func appendGUID(b []byte, kind byte, n int) []byte {
	b = append(b, "00000000-0000-4000-8000-000000000000"...)
	b[len(b)-36] = kind
	for at := len(b) - 1; n > 0; at, n = at-1, n/10 {
		b[at] = byte('0' + n%10)
	}
	return b
}

// offline is a LeadSquared account that checks rows as the real one does and asks
// nobody: every change is announced, and done.
type offline struct{ leadsquared.Rules }

func (offline) Confirm(_ context.Context, items []crm.Item) ([]crm.Outcome, crm.State) {
	return make([]crm.Outcome, len(items)), crm.State{}
}

func (offline) Users(context.Context, crm.Part) iter.Seq2[crm.User, error] {
	return func(yield func(crm.User, error) bool) { yield(crm.User{}, crm.ErrNoUserList) }
}

func (offline) Identify(context.Context) (crm.Identity, error) { return crm.Identity{}, nil }
func (offline) Clock(context.Context) (time.Time, error)       { return time.Time{}, nil }

func (o offline) Do(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
	out := make([]crm.Outcome, len(call.Items))
	if j.Intend(ctx, crm.State{}) != nil {
		for i := range out {
			out[i].Status = crm.Pending
		}
		return out
	}
	for i := range out {
		out[i] = crm.Outcome{Status: crm.Done, RequestID: "6f3a2b9ce11cbc6c4eb00000000000ff", HTTPStatus: 200, Attempts: 1}
	}
	return out
}

// scale is a big sheet on its way through the engine.
type scale struct {
	b   *testing.B
	led *ledger.Ledger
	run *batch.Batch
}

func newScale(b *testing.B, path string, o ledger.Options) *scale {
	b.Helper()
	rules, err := leadsquared.NewRules(leadsquared.Config{})
	must(b, err)
	led, err := ledger.Open(path, o)
	must(b, err)
	run, err := batch.New(led, batch.Options{
		Accounts: []batch.Account{{Name: "main", CRM: "leadsquared", Host: "local", Provider: offline{rules}, Workers: benchWorkers}},
		Default:  "main",
	})
	must(b, err)
	return &scale{b: b, led: led, run: run}
}

// load reads and checks the sheet, and finds out what of it is done. It returns how
// many rows are.
func (s *scale) load(rows int) int64 {
	s.b.Helper()
	in, err := sheet.Open(&bigSheet{n: rows}, "sheet.csv", sheet.Options{})
	must(s.b, err)
	must(s.b, s.run.LoadSheet(s.b.Context(), in))
	plan, err := s.run.Prepare(s.b.Context())
	must(s.b, errors.Join(err, in.Close()))
	return plan.Done
}

// timed reports how long a step took.
func (s *scale) timed(name string, step func()) {
	start := time.Now()
	step()
	s.b.ReportMetric(time.Since(start).Seconds(), name)
}

// BenchmarkSheet takes a big sheet through the engine and its ledger without a CRM:
// read, checked and in the ledger ("load"); every row done ("run"); read again and
// matched against the finished ledger ("match"); and its result file.
func BenchmarkSheet(b *testing.B) {
	rows := scaleRows(b)
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "sheet.ledger.db")
		s := newScale(b, path, ledger.Options{Create: true})
		s.timed("load-s", func() {
			s.load(rows)
			must(b, s.run.Commit(b.Context()))
		})
		s.timed("run-s", func() {
			sum, err := s.run.Run(b.Context())
			must(b, err)
			if sum.Counts.Done != int64(rows) {
				b.Fatalf("counts %+v, want all done", sum.Counts)
			}
		})
		must(b, s.led.Close())
		info, err := os.Stat(path)
		must(b, err)
		b.ReportMetric(float64(info.Size())/float64(rows), "ledger-B/row")

		s = newScale(b, path, ledger.Options{})
		s.timed("match-s", func() {
			if done := s.load(rows); done != int64(rows) {
				b.Fatalf("%d rows are done, want all", done)
			}
		})
		must(b, s.run.Commit(b.Context()))
		s.timed("results-s", func() {
			_, err := report.WriteResults(b.Context(), s.led, report.Target{Path: filepath.Join(filepath.Dir(path), "sheet.results.csv")})
			must(b, err)
		})
		must(b, s.led.Close())
	}
}
