package report

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// plainLayout is a sheet of two columns.
var plainLayout = sheet.Layout{Delimiter: ",", Newline: "\n", Columns: []string{"id", "note"}, Keep: []int{0, 1}}

// wholeLayout has the columns that every sheet has.
var wholeLayout = sheet.Layout{Delimiter: ",", Newline: "\n", Columns: []string{"action", "object", "record_id", "user"}, Keep: []int{0, 1, 2, 3}}

const blockHeader = "line,result,request_id,code,message,http_status,attempts,call_id,sent_at,confirmed_at"

func TestResultsSayWhatBecameOfEachRow(t *testing.T) {
	t.Parallel()
	rows := []sheetRow{
		{cells: []string{"1", "done"}, op: revoke(1), settle: &ledger.Outcome{Status: crm.Done, RequestID: "r1", HTTPStatus: 200, ConfirmedAt: at.Add(1500 * time.Millisecond)}},
		{cells: []string{"2", "unchanged"}, op: revoke(2), settle: &ledger.Outcome{Status: crm.Unchanged}},
		{cells: []string{"3", "accepted"}, op: revoke(3), settle: &ledger.Outcome{Status: crm.Accepted, RequestID: "r3", HTTPStatus: 200}},
		{cells: []string{"4", "failed"}, op: revoke(4), settle: &ledger.Outcome{Status: crm.Failed, Code: "MXInvalidException", Message: "=no\nsuch, user", HTTPStatus: 500}},
		{cells: []string{"5", "in doubt"}, op: share(5), settle: &ledger.Outcome{Status: crm.Uncertain, Code: "no_answer"}},
		{cells: []string{"6", "invalid"}, code: "invalid", problem: "record_id: is empty"},
		{cells: []string{"7", "account"}, code: crm.EndKeys, problem: "the keys were refused", aside: true},
		{cells: []string{"8", "pending"}, op: revoke(8)},
		{cells: []string{"9", "revoke sent"}, op: revoke(9), sent: true},
		{cells: []string{"10", "share sent"}, op: share(10), sent: true},
	}
	led := newLedger(t, plainLayout, rows)
	path := filepath.Join(t.TempDir(), "r.csv")
	counts, err := WriteResults(t.Context(), led, Target{Path: path})
	must(t, err)
	wantCounts := batch.Counts{Rows: 10, Done: 1, Unchanged: 1, Accepted: 1, Failed: 1, InDoubt: 3, Invalid: 1, NotAttempted: 2}
	if diff := cmp.Diff(wantCounts, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	got := read(t, path)
	want := "id,note," + blockHeader + "\n" + `1,done,2,done,r1,,,200,1,call-1,2026-11-22T02:35:31.004Z,2026-11-22T02:35:32.504Z
2,unchanged,3,unchanged,,,,,1,call-2,2026-11-22T02:35:31.004Z,
3,accepted,4,accepted,r3,,,200,1,call-3,2026-11-22T02:35:31.004Z,
4,failed,5,failed,,MXInvalidException,"'=no such, user",500,1,call-4,2026-11-22T02:35:31.004Z,
5,in doubt,6,in_doubt,,no_answer,,,1,call-5,2026-11-22T02:35:31.004Z,
6,invalid,7,invalid,,invalid,record_id: is empty,,0,,,
7,account,8,not_attempted,,keys,the keys were refused,,0,,,
8,pending,9,not_attempted,,,,,0,,,
9,revoke sent,10,in_doubt,,,"sent, no answer recorded yet",,1,call-9,2026-11-22T02:35:31.004Z,
10,share sent,11,in_doubt,,,"sent, no answer recorded yet",,1,call-10,2026-11-22T02:35:31.004Z,
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result file (-want +got):\n%s", diff)
	}
}

func TestResultsAreWrittenAsTheSheetWas(t *testing.T) {
	t.Parallel()
	const semicolons = "line;result;request_id;code;message;http_status;attempts;call_id;sent_at;confirmed_at"
	for _, tc := range []struct {
		name   string
		layout sheet.Layout
		cells  []string
		want   string
	}{
		{
			"CR LF, byte order mark, line breaks inside a cell",
			sheet.Layout{Delimiter: ";", Newline: "\r\n", BOM: true, Columns: []string{"id", "a,b"}},
			[]string{" 1 ", "two\r\nlines; \"quoted\""},
			"\uFEFFid;a,b;" + semicolons + "\r\n 1 ;\"two\r\nlines; \"\"quoted\"\"\";2;not_attempted;;;;;0;;;\r\n",
		},
		{
			"tabs",
			sheet.Layout{Delimiter: "\t", Newline: "\n", Columns: []string{"id", "note"}},
			[]string{"=1+1", "a\tb"},
			"id\tnote\t" + strings.ReplaceAll(blockHeader, ",", "\t") + "\n=1+1\t\"a\tb\"\t2\tnot_attempted\t\t\t\t\t0\t\t\t\n",
		},
		{
			"dropped columns",
			sheet.Layout{Delimiter: ",", Newline: "\n", Columns: []string{"id", "", "note", ""}, Dropped: []int{1, 3}},
			[]string{"1", "", "n", ""},
			"id,note," + blockHeader + "\n1,n,2,not_attempted,,,,,0,,,\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := written(t, newLedger(t, tc.layout, []sheetRow{{cells: tc.cells, op: revoke(1)}}))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("result file (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResultsKeepTheRowsAskedFor(t *testing.T) {
	t.Parallel()
	led := newLedger(t, plainLayout, []sheetRow{
		{cells: []string{"1", ""}, op: revoke(1), settle: &ledger.Outcome{Status: crm.Done}},
		{cells: []string{"2", ""}, op: revoke(2), settle: &ledger.Outcome{Status: crm.Failed}},
	})
	path := filepath.Join(t.TempDir(), "open.csv")
	n, err := WriteResults(t.Context(), led, Target{Path: path, Keep: func(r ledger.Result) bool { return r.Status == crm.Failed }})
	if err != nil || n != (batch.Counts{Rows: 1, Failed: 1}) {
		t.Fatalf("WriteResults wrote %+v, error %v; want one failed row and none", n, err)
	}
	if got := read(t, path); strings.Contains(got, "\n1,") || !strings.Contains(got, "\n2,") {
		t.Errorf("the file holds other rows than the failed one:\n%s", got)
	}
}

func TestResultFileIsPrivateAndReplacedAsAWhole(t *testing.T) {
	t.Parallel()
	led := newLedger(t, wholeLayout, []sheetRow{{cells: []string{"revoke", "lead", "1", "u"}, op: revoke(1)}})
	path := filepath.Join(t.TempDir(), "r.csv")
	for range 2 {
		if _, err := WriteResults(t.Context(), led, Target{Path: path}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	must(t, err)
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %04o, want 0600", info.Mode().Perm())
	}
	if ours, err := led.HasWritten(t.Context(), path); err != nil || !ours {
		t.Errorf("the ledger does not know the file: %v, %v", ours, err)
	}
	lonely(t, path)
}

func TestFailedWriteLeavesTheOldResult(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "r.csv")
	must(t, os.WriteFile(path, []byte("old"), 0o600))
	broken := errors.New("broken")
	err := replaceFile(t.Context(), path, private, func(io.Writer) error { return broken }, func() error { return nil })
	if !errors.Is(err, broken) {
		t.Errorf("error is %v, want %v", err, broken)
	}
	err = replaceFile(t.Context(), path, private, func(io.Writer) error { return nil }, func() error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("error is %v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	err = replaceFile(ctx, path, private, func(io.Writer) error { return nil }, func() error { return nil })
	if !errors.Is(err, broken) {
		t.Errorf("error is %v, want %v", err, broken)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("the file is %q now, want it untouched", got)
	}
	lonely(t, path)
}

func TestNoSheetYet(t *testing.T) {
	t.Parallel()
	led, err := ledger.Open(filepath.Join(t.TempDir(), "l.db"), ledger.Options{Create: true})
	must(t, err)
	defer led.Close()
	path := filepath.Join(t.TempDir(), "r.csv")
	if _, err := WriteResults(t.Context(), led, Target{Path: path}); !errors.Is(err, errNoSheet) {
		t.Errorf("error is %v, want %v", err, errNoSheet)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was written: %v", err)
	}
}

func written(t *testing.T, led *ledger.Ledger) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sheet.results.csv")
	if _, err := WriteResults(t.Context(), led, Target{Path: path}); err != nil {
		t.Fatal(err)
	}
	return read(t, path)
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// lonely fails the test if anything else is in the folder of path.
func lonely(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// BenchmarkResults writes the result of a sheet whose rows were never sent, as text and as
// a workbook.
func BenchmarkResults(b *testing.B) {
	const rows = 100_000
	list := make([]sheetRow, rows)
	for i := range list {
		op := revoke(i)
		list[i] = sheetRow{cells: []string{"revoke", "lead", op.Record, "somebody.who.left@example.com"}, op: op}
	}
	led := newLedger(b, wholeLayout, list)
	for _, format := range []string{"csv", "xlsx"} {
		b.Run(format, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "r."+format)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := WriteResults(b.Context(), led, Target{Path: path}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
