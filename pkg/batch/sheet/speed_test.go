package sheet_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// rows gives n rows of about 100 bytes without holding them.
type rows struct {
	n    int
	rest string
}

func (r *rows) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.n == 0 {
			return 0, io.EOF
		}
		r.n--
		r.rest = fmt.Sprintf("revoke,opportunity,5a4a5c9b-f3ea-11ee-8c62-%012d,7bd5a8f2-1c8e-4d4c-9d39-0123456789ab,read,main\n", r.n)
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

const rowsHead = "action,object,record_id,user,access,account\n"

func TestMemoryIsFlat(t *testing.T) {
	r, err := sheet.Open(io.MultiReader(strings.NewReader(rowsHead), &rows{n: 50_000}), "s.csv", sheet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var first, now runtime.MemStats
	n, most := 0, uint64(0)
	for _, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%10_000 == 0 {
			runtime.GC()
			if runtime.ReadMemStats(&now); first.HeapAlloc == 0 {
				first = now
			}
			most = max(most, now.HeapAlloc)
		}
	}
	if n != 50_000 {
		t.Errorf("got %d records, want 50000", n)
	}
	if grown := int64(most) - int64(first.HeapAlloc); grown > 2<<20 {
		t.Errorf("the heap grew by %d bytes over 40000 rows, want it flat", grown)
	}
}

func BenchmarkRead(b *testing.B) {
	const n = 100_000
	text, err := io.ReadAll(io.MultiReader(strings.NewReader(rowsHead), &rows{n: n}))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		_, records, err := readCount(string(text))
		if err != nil || records != n {
			b.Fatalf("got %d records and error %v", records, err)
		}
	}
}

func readCount(text string) (r *sheet.Reader, n int, err error) {
	r, err = sheet.Open(strings.NewReader(text), "s.csv", sheet.Options{})
	if err != nil {
		return nil, 0, err
	}
	for _, err := range r.All() {
		if err != nil {
			return r, n, err
		}
		n++
	}
	return r, n, nil
}

// largeBook writes n rows with shared strings, as Excel does, in parts so large
// that they are read from temporary files.
func largeBook(t testing.TB, n int) []byte {
	t.Helper()
	var rows, shared strings.Builder
	padding := "<!--" + strings.Repeat(" ", 520<<10) + "-->"
	rows.WriteString(padding + bookHead)
	shared.WriteString(padding + "<si><t>revoke</t></si><si><t>opportunity</t></si>")
	for i := range n {
		fmt.Fprintf(&rows, `<row r="%[1]d"><c r="A%[1]d" t="s"><v>0</v></c><c r="B%[1]d" t="s"><v>1</v></c><c r="C%[1]d" t="s"><v>%[2]d</v></c><c r="D%[1]d"><v>%[1]d</v></c></row>`, i+2, i+2)
		fmt.Fprintf(&shared, "<si><t>5a4a5c9b-f3ea-11ee-8c62-%012d</t></si>", i)
	}
	return rawBook(t, rows.String(), shared.String())
}

func TestLargeBook(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	const n = 2_000
	data := largeBook(t, n)
	r, err := sheet.Open(bytes.NewReader(data), "s.xlsx", sheet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for rec, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("5a4a5c9b-f3ea-11ee-8c62-%012d", rows); rec.Line != rows+2 || rec.Fields.Record != want || rec.Fields.User != fmt.Sprint(rec.Line) {
			t.Fatalf("got %+v, want record %s", rec, want)
		}
		rows++
	}
	if rows != n {
		t.Errorf("got %d rows, want %d", rows, n)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if runtime.GOOS != "windows" && (err != nil || len(left) != 0) {
		t.Errorf("%v (%v) was left in the temporary folder", left, err)
	}
}

// A sheet that is opened and not read, or read in part, leaves no file either.
func TestBookLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	data := largeBook(t, 2_000)
	for range 2 {
		r, err := sheet.Open(bytes.NewReader(data), "s.xlsx", sheet.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range r.All() {
			break
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := readBook(data, sheet.Options{Sheet: "none"}); err == nil {
		t.Error("a sheet that does not exist was opened")
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("%v (%v) was left in the temporary folder", left, err)
	}
}

func BenchmarkReadBook(b *testing.B) {
	data := largeBook(b, 200_000)
	b.ReportAllocs()
	for b.Loop() {
		r, err := sheet.Open(bytes.NewReader(data), "s.xlsx", sheet.Options{})
		if err != nil {
			b.Fatal(err)
		}
		most, n := uint64(0), 0
		var stats runtime.MemStats
		for _, err := range r.All() {
			if err != nil {
				b.Fatal(err)
			}
			if n++; n%10_000 == 0 {
				runtime.ReadMemStats(&stats)
				most = max(most, stats.HeapInuse)
			}
		}
		b.ReportMetric(float64(most>>20), "MiB")
	}
}
