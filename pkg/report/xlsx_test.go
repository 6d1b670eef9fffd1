package report

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// noteLayout has the columns that every sheet has, and one for remarks.
var noteLayout = sheet.Layout{Delimiter: ",", Newline: "\n", Columns: []string{"action", "object", "record_id", "user", "note"}, Keep: []int{0, 1, 2, 3, 4}}

// noteRows are rows that differ in their remarks.
func noteRows(notes ...string) []sheetRow {
	var rows []sheetRow
	for i, note := range notes {
		op := revoke(i)
		rows = append(rows, sheetRow{cells: []string{"revoke", "lead", op.Record, "u", note}, op: op, settle: &ledger.Outcome{Status: crm.Done}})
	}
	return rows
}

// workbook writes the result of a ledger as a workbook and returns its path.
func workbook(t *testing.T, led *ledger.Ledger) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sheet.results.xlsx")
	if _, err := WriteResults(t.Context(), led, Target{Path: path}); err != nil {
		t.Fatal(err)
	}
	return path
}

// openBook opens a workbook as a spreadsheet program does.
func openBook(t *testing.T, path string) *excelize.File {
	t.Helper()
	f, err := excelize.OpenFile(path)
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return f
}

// bookRows returns the rows of a workbook result as the text result has them: excelize
// shows no milliseconds.
func bookRows(t *testing.T, path string) [][]string {
	t.Helper()
	rows, err := openBook(t, path).GetRows(bookSheet, excelize.Options{RawCellValue: true})
	must(t, err)
	for _, row := range rows[1:] {
		for i := slices.Index(rows[0], "sent_at"); i < len(row); i++ {
			if row[i] != "" {
				row[i] = stamp(momentIn(t, row[i]))
			}
		}
	}
	return rows
}

// momentIn is the moment that a cell holds.
func momentIn(t *testing.T, value string) time.Time {
	t.Helper()
	days, err := strconv.ParseFloat(value, 64)
	must(t, err)
	return time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC).Add(time.Duration(math.Round(days*24*60*60*1000)) * time.Millisecond)
}

func TestWorkbookHoldsWhatTheTextHolds(t *testing.T) {
	t.Parallel()
	rows := []sheetRow{
		{cells: []string{"1", "done"}, op: revoke(1), settle: &ledger.Outcome{Status: crm.Done, RequestID: "007", HTTPStatus: 200, ConfirmedAt: at}},
		{cells: []string{"2", ""}, op: revoke(2), settle: &ledger.Outcome{Status: crm.Failed, Code: "=c", Message: "-no\nsuch, user", HTTPStatus: 500}},
		{cells: []string{"3", ""}, code: "invalid", problem: "record_id: is empty"},
		{cells: []string{"4", ""}, op: revoke(4)},
	}
	led := newLedger(t, plainLayout, rows)
	path := filepath.Join(t.TempDir(), "r.XLSX")
	counts, err := WriteResults(t.Context(), led, Target{Path: path})
	must(t, err)
	if want := (batch.Counts{Rows: 4, Done: 1, Failed: 1, Invalid: 1, NotAttempted: 1}); counts != want {
		t.Errorf("counts are %+v, want %+v", counts, want)
	}
	const sent = "2026-11-22T02:35:31.004Z"
	want := [][]string{
		append([]string{"id", "note"}, sheet.ResultColumns()...),
		{"1", "done", "2", "done", "007", "", "", "200", "1", "call-1", sent, sent},
		{"2", "", "3", "failed", "", "=c", "-no such, user", "500", "1", "call-2", sent},
		{"3", "", "4", "invalid", "", "invalid", "record_id: is empty", "", "0"},
		{"4", "", "5", "not_attempted", "", "", "", "", "0"},
	}
	if diff := cmp.Diff(want, bookRows(t, path)); diff != "" {
		t.Errorf("workbook (-want +got):\n%s", diff)
	}
}

func TestWorkbookKeepsTheRowsAskedFor(t *testing.T) {
	t.Parallel()
	rows := noteRows("one", "two")
	rows[1].settle = &ledger.Outcome{Status: crm.Failed}
	path := filepath.Join(t.TempDir(), "open.xlsx")
	counts, err := WriteResults(t.Context(), newLedger(t, noteLayout, rows), Target{Path: path, Keep: NeedsSomebody})
	must(t, err)
	if got := bookRows(t, path); counts.Rows != 1 || len(got) != 2 || got[1][4] != "two" {
		t.Errorf("%d rows: %q, want the failed one alone", counts.Rows, got)
	}
}

// What is written comes back the same through the reader of sheets, which is what
// holds identifiers together over any number of nights.
func TestWorkbookIsReadBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	notes := []string{
		"", " ", "  edges\t", "\u00a0no-break\u200b", "0012", "1234567890123456789", "00000000000000000000001", "4.15087E+18", "1e5", "TRUE", "2026-11-22", "1/2",
		"=1+1", "@SUM(A1)", "'quoted", `"quotes", commas; and <tags> & such`, "two\r\nlines", "two\nlines", "\n", "Ünïcødé 😀 漢字",
		"_x000D_", "_x005F_", "_x0041_b", "_x0041_x0042_", "_x00G1_", "_\r_", "a\x01b\x1fc\uFFFF", "\r", "_x000", "a_xABCD_x", "&amp;", "]]>", "#N/A", strings.Repeat("x", excelize.TotalCellChars), strings.Repeat("é", 32_000), strings.Repeat("😀", 16_000),
	}
	layout := noteLayout
	layout.Columns, layout.Dropped = append(layout.Columns, "", "message"), []int{5}
	rows := noteRows(notes...)
	for i := range rows {
		rows[i].cells = append(rows[i].cells, "", "of the user")
	}
	path := workbook(t, newLedger(t, layout, rows))
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	r, err := sheet.Open(file, path, sheet.Options{Path: path})
	must(t, err)
	if w := r.Worksheet(); w.Name != bookSheet || len(w.Others) > 0 {
		t.Errorf("of the workbook it says %+v, want its rows and nothing about others", w)
	}
	if got := r.Layout(); !got.IsResult || !cmp.Equal(got.Columns, []string{"action", "object", "record_id", "user", "note", "message"}) {
		t.Errorf("result: %v, columns %q", got.IsResult, got.Columns)
	}
	n := 0
	for rec, err := range r.All() {
		must(t, err)
		want := []string{"revoke", "lead", rows[n].op.Record, "u", notes[n], "of the user"}
		if diff := cmp.Diff(want, rec.Cells); diff != "" {
			t.Errorf("row %d (-written +read):\n%.300s", n, diff)
		}
		if rec.Problem != nil || rec.Line != n+2 {
			t.Errorf("row %d comes from line %d, problem %v", n, rec.Line, rec.Problem)
		}
		n++
	}
	if n != len(notes) {
		t.Errorf("%d rows came back, want %d", n, len(notes))
	}
}

// insides returns a part of a workbook as it is stored.
func insides(t *testing.T, path, part string) string {
	t.Helper()
	archive, err := zip.OpenReader(path)
	must(t, err)
	defer archive.Close()
	in, err := archive.Open(part)
	must(t, err)
	defer in.Close()
	text, err := io.ReadAll(in)
	must(t, err)
	return string(text)
}

// What stood in the sheet is text and stays text: also what somebody fills in, and also
// when Excel offers to make numbers of it. What is ours is what it looks like.
func TestWorkbookCells(t *testing.T) {
	t.Parallel()
	path := workbook(t, newLedger(t, noteLayout, noteRows("=1+1", "", "0012")))
	xml := insides(t, path, rowsPart)
	cells := regexp.MustCompile(`<c r="([A-Z]+)(\d+)" s="\d+"([^>]*)>(<v>)?`).FindAllStringSubmatch(xml, -1)
	if want := 15 + 3*5 - 1 + 3*5; len(cells) != want { // line, result, attempts, call and time of three rows
		t.Errorf("%d cells, want %d", len(cells), want)
	}
	for _, c := range cells {
		number := c[2] != "1" && slices.Contains([]string{"F", "K", "L", "N", "O"}, c[1])
		if (c[3] == "" && c[4] == "<v>") != number || (c[3] == ` t="inlineStr"`) == number {
			t.Errorf("%s: number: %v", c[0], !number)
		}
	}
	for _, want := range []string{
		`<autoFilter ref="$A$1:$O$4">`, `<ignoredError sqref="A1:O4" numberStoredAsText="true">`, `<ignoredError sqref="A1:O4" twoDigitTextYear="true">`,
		`<cols><col customWidth="true" max="2" min="1" style="1" width="10"></col>`, `max="15" min="14" style="3" width="26"></col></cols>`,
	} {
		if !strings.Contains(xml, want) {
			t.Errorf("the sheet has no %s", want)
		}
	}
	for _, bad := range []string{"<f>", "<dimension", "filterMode", "tabSelected"} {
		if strings.Contains(xml, bad) {
			t.Errorf("the sheet has %s", bad)
		}
	}
	f := openBook(t, path)
	for row := 1; row <= 5; row++ {
		for column, want := range map[string]string{"A": "@", "C": "@", "F": "0", "I": "@", "O": `yyyy\-mm\-dd\Thh:mm:ss.000\Z`} {
			id, err := f.GetCellStyle(bookSheet, fmt.Sprint(column, row))
			must(t, err)
			style, err := f.GetStyle(id)
			must(t, err)
			got := map[int]string{textFormat: "@", 1: "0"}[style.NumFmt]
			if style.CustomNumFmt != nil {
				got = *style.CustomNumFmt
			}
			if row == 1 {
				want = "@"
			}
			bold := style.Font != nil && style.Font.Bold
			if got != want || bold != (row == 1) {
				t.Errorf("%s%d has number format %q, bold %v", column, row, got, bold)
			}
		}
	}
	if width, err := f.GetColWidth(bookSheet, "J"); err != nil || width != 60 {
		t.Errorf("the message is %v wide (%v), want 60", width, err)
	}
	archive, err := zip.OpenReader(path)
	must(t, err)
	defer archive.Close()
	for _, part := range archive.File {
		if age := time.Since(part.Modified); age < 0 || age > time.Hour {
			t.Errorf("%s is of %v", part.Name, part.Modified)
		}
	}
}

func TestWorkbookIsPrivateReplacedAndAlone(t *testing.T) {
	t.Parallel()
	led := newLedger(t, noteLayout, noteRows("n"))
	path := workbook(t, led)
	first := bookRows(t, path)
	_, err := WriteResults(t.Context(), led, Target{Path: path})
	must(t, err)
	if diff := cmp.Diff(first, bookRows(t, path)); diff != "" {
		t.Errorf("the same ledger gives another workbook:\n%s", diff)
	}
	info, err := os.Stat(path)
	must(t, err)
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %04o, want 0600", info.Mode().Perm())
	}
	lonely(t, path)
}

func TestCheckSize(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		path string
		size sheet.Extent
		want string
	}{
		{"r.xlsx", sheet.Extent{Rows: 1<<20 - 1, Longest: 32767}, ""},
		{"r.xlsx", sheet.Extent{Rows: 1 << 20}, "r.xlsx: a workbook takes 1048575 rows below its header, and there are 1048576"},
		{"r.XLSX", sheet.Extent{Rows: 1, Longest: 32768, Line: 7, Column: 3}, "r.XLSX: a cell of a workbook takes 32767 characters, and the cell in line 7, column 3 has 32768"},
		{"r.csv", sheet.Extent{Rows: 1 << 20, Longest: 32768}, ""},
	} {
		err := CheckSize(tc.path, tc.size)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s with %+v: refused: %v", tc.path, tc.size, err)
			}
			continue
		}
		if refused, ok := errors.AsType[*TargetError](err); !ok || err.Error() != tc.want || !strings.Contains(refused.Hint, "-o") {
			t.Errorf("%s with %+v: error is %v, want a TargetError %q", tc.path, tc.size, err, tc.want)
		}
	}
}

// A ledger can hold what a workbook can not: it may have been run with a text
// result. The workbook is refused then, and nothing is left of it.
func TestWorkbookThatDoesNotFit(t *testing.T) {
	t.Parallel()
	led := newLedger(t, noteLayout, noteRows("n", strings.Repeat("😀", excelize.TotalCellChars/2+1)))
	dir := t.TempDir()
	_, err := WriteResults(t.Context(), led, Target{Path: filepath.Join(dir, "r.xlsx")})
	if _, ok := errors.AsType[*TargetError](err); !ok || !strings.Contains(err.Error(), "column 5 of row 3 has 32768") {
		t.Errorf("error is %v, want a TargetError that names the cell", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v was left behind (%v)", left, err)
	}
	b := &book{out: io.Discard, path: "r.xlsx", row: excelize.TotalRows}
	if _, ok := errors.AsType[*TargetError](b.end()); !ok {
		t.Error("a row below the last was not refused")
	}
	p := &capped{w: io.Discard, left: 3, path: "r.xlsx"}
	if _, err := p.Write([]byte("abc")); err != nil {
		t.Errorf("what fits is refused: %v", err)
	}
	if _, err := p.Write([]byte("d")); err == nil {
		t.Error("a part over its limit was not refused")
	}
}

// A result may be larger than what the sheet package takes: as it was written, it is
// recognised by its header alone.
func TestWorkbookIsRecognisedByItsHeader(t *testing.T) {
	t.Parallel()
	archive, err := zip.OpenReader(workbook(t, newLedger(t, noteLayout, noteRows(strings.Repeat("n", 30_000)))))
	must(t, err)
	defer archive.Close()
	if !asWritten(&archive.Reader) {
		t.Error("the header is not recognised")
	}
}

func TestCheckTargetOfAWorkbook(t *testing.T) {
	t.Parallel()
	ours := read(t, workbook(t, newLedger(t, noteLayout, noteRows("n"))))
	// saved is the workbook as a spreadsheet program saves it, with a table.
	saved := func(t *testing.T, path string, sheets ...[][]string) {
		t.Helper()
		f := excelize.NewFile()
		defer f.Close()
		for i, rows := range sheets {
			name := fmt.Sprint("Sheet", i+1)
			_, err := f.NewSheet(name)
			must(t, err)
			for r, row := range rows {
				for c, cell := range row {
					at, err := excelize.CoordinatesToCellName(c+1, r+1)
					must(t, err)
					if cell != "" {
						must(t, f.SetCellStr(name, at, cell))
					}
				}
			}
		}
		must(t, f.SaveAs(path))
	}
	// again is our own workbook as another program saves it after a change.
	again := func(t *testing.T, path string, change func(*excelize.File) error) {
		t.Helper()
		f, err := excelize.OpenReader(strings.NewReader(ours))
		must(t, err)
		defer f.Close()
		must(t, change(f))
		must(t, f.SaveAs(path))
	}
	header := append([]string{"action", "object", "record_id", "user", "message", ""}, sheet.ResultColumns()...)
	for _, tc := range []struct {
		name string
		make func(t *testing.T, path string)
		ours bool
		want string
	}{
		{"nothing there", func(*testing.T, string) {}, false, ""},
		{"ours", func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(ours), 0o600)) }, true, ""},
		{"ours, saved by a spreadsheet program", func(t *testing.T, path string) { saved(t, path, [][]string{header, {"revoke"}}) }, true, ""},
		{"ours, moved down", func(t *testing.T, path string) { saved(t, path, [][]string{{}, {}, header}) }, true, ""},
		{"not ours", func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(ours), 0o600)) }, false, "was not written by this sheet's ledger"},
		{"ours, with a cell changed", func(t *testing.T, path string) {
			again(t, path, func(f *excelize.File) error { return f.SetCellStr(bookSheet, "A2", "mine") })
		}, true, ""},
		{"ours, with a sheet behind it", func(t *testing.T, path string) {
			again(t, path, func(f *excelize.File) error { _, err := f.NewSheet("Notes"); return err })
		}, true, ""},
		{"ours, with its summary gone", func(t *testing.T, path string) {
			again(t, path, func(f *excelize.File) error { return f.DeleteSheet(sheet.SummarySheet) })
		}, true, ""},
		{"ours, with its summary moved behind", func(t *testing.T, path string) {
			again(t, path, func(f *excelize.File) error { return f.MoveSheet(bookSheet, sheet.SummarySheet) })
		}, true, ""},
		{"ours, now with its rows gone", func(t *testing.T, path string) {
			again(t, path, func(f *excelize.File) error { return f.DeleteSheet(bookSheet) })
		}, true, "is something else now"},
		{"ours, now with a column more", func(t *testing.T, path string) {
			again(t, path, func(f *excelize.File) error { return f.SetCellStr(bookSheet, "P1", "mine") })
		}, true, "is something else now"},
		{"ours, now behind another sheet", func(t *testing.T, path string) {
			again(t, path, func(f *excelize.File) error {
				_, err := f.NewSheet("Mine")
				return errors.Join(err, f.SetCellStr("Mine", "A1", "id"), f.MoveSheet("Mine", bookSheet))
			})
		}, true, "is something else now"},
		{"ours, now with its result gone", func(t *testing.T, path string) {
			again(t, path, func(f *excelize.File) error { return f.RemoveCol(bookSheet, "G") })
		}, true, "is something else now"},
		{"now another table", func(t *testing.T, path string) { saved(t, path, [][]string{{"id", "note"}, header}) }, true, "is something else now"},
		{"now with a column more", func(t *testing.T, path string) { saved(t, path, [][]string{append(header, "mine")}) }, true, "is something else now"},
		{"now with another first sheet", func(t *testing.T, path string) { saved(t, path, [][]string{{"id"}}, [][]string{header}) }, true, "is something else now"},
		{"now without anything", func(t *testing.T, path string) { saved(t, path, nil) }, true, "is something else now"},
		{"now text", func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(strings.Join(header, ",")), 0o600)) }, true, "is something else now"},
		{"now cut off", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, []byte(ours)[:len(ours)/2], 0o600))
		}, true, "is something else now"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "r.xlsx")
			tc.make(t, path)
			checkTarget(t, path, tc.ours, tc.want)
		})
	}
}

func TestWorkbookThatCanNotBeWritten(t *testing.T) {
	t.Parallel()
	led := newLedger(t, noteLayout, noteRows("n"))
	path := filepath.Join(t.TempDir(), "none", "r.xlsx")
	if _, err := WriteResults(t.Context(), led, Target{Path: path}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want %v", err, fs.ErrNotExist)
	}
	broken := errors.New("broken")
	if _, err := writeWorkbook(t.Context(), failing{broken}, led, noteLayout, Target{Path: filepath.Join(t.TempDir(), "r.xlsx")}); !errors.Is(err, broken) {
		t.Errorf("error is %v, want %v", err, broken)
	}
}

// failing is a disk that is full.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
