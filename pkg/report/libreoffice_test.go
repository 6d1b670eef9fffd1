//go:build libreoffice

package report

import (
	"encoding/csv"
	"encoding/xml"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// TestLibreOffice opens a workbook result in LibreOffice, which saves it, exports its rows
// and prints it. The tests of this file have a build tag of their own: they fail where
// LibreOffice Calc or pdftotext is not on the machine.
func TestLibreOffice(t *testing.T) {
	layout := noteLayout
	layout.Columns, layout.Dates = append([]string{"last_day"}, noteLayout.Columns...), []int{0}
	notes := []string{"0012", "1234567890123456789", "00000000000000000000001", "4.15087E+18", "TRUE", "2026-11-22", "1/2/26", "=1+1", "@SUM(A1)", "'quoted", `"quotes", commas; and <tags>`, "two\nlines", " edges ", "Ünïcødé 😀 漢字", "_x000D_", "-1"}
	days := []string{"2026-11-30", "2026-11-30 14:05:09", "", "n/a"}
	results := []*ledger.Outcome{
		{Status: crm.Done, RequestID: "007", HTTPStatus: 200, ConfirmedAt: at.Add(997)},
		{Status: crm.Failed, Code: "=c", Message: "-no such, user", HTTPStatus: 500}, nil,
	}
	const many = 600 // several pages
	var rows []sheetRow
	for i := range many {
		r := noteRows(notes[i%len(notes)])[0]
		r.op, r.settle = revoke(i), results[i%len(results)]
		r.cells = append([]string{days[i%len(days)]}, r.cells...)
		r.cells[3] = fmt.Sprintf("%025d", i)
		rows = append(rows, r)
	}
	led := newLedger(t, layout, rows)
	dir := t.TempDir()
	path := filepath.Join(dir, "r.xlsx")
	for _, name := range []string{path, filepath.Join(dir, "r.csv")} {
		_, err := WriteResults(t.Context(), led, Target{Path: name})
		must(t, err)
	}
	convert := func(from, format, ending string) string { return convert(t, from, format, ending) }
	again := convert(path, "xlsx", "xlsx")

	// What it saves is the same sheet to us.
	want, wantLayout := readAll(t, path)
	got, gotLayout := readAll(t, again)
	if diff := cmp.Diff(want, got); diff != "" || len(got) != many {
		t.Errorf("%d rows came back (-written +saved):\n%.2000s", len(got), diff)
	}
	if diff := cmp.Diff(wantLayout, gotLayout); diff != "" || !gotLayout.IsResult {
		t.Errorf("the layout (-written +saved):\n%s", diff)
	}
	if !isResult(again) {
		t.Error("it would not be replaced by a later result")
	}

	// Colours, dates, ids, and how it is printed.
	before, after := openBook(t, path), openBook(t, again)
	for _, at := range []string{"O2", "P2", "A2", "A3"} {
		a, errA := before.GetCellValue(bookSheet, at, excelize.Options{RawCellValue: true})
		b, errB := after.GetCellValue(bookSheet, at, excelize.Options{RawCellValue: true})
		must(t, errA)
		must(t, errB)
		if !momentIn(t, a).Equal(momentIn(t, b)) {
			t.Errorf("%s is %v, was %v", at, momentIn(t, b), momentIn(t, a))
		}
	}
	for _, at := range []string{"D2", "D3", "F2", "F3", "F9"} { // ids and notes
		if kind, err := after.GetCellType(bookSheet, at); err != nil || kind != excelize.CellTypeSharedString {
			t.Errorf("%s is of type %v (%v), want a text", at, kind, err)
		}
	}
	rules := func(f *excelize.File, path string) (all []string) {
		var styles struct {
			Dxfs []struct {
				Color struct {
					RGB string `xml:"rgb,attr"`
				} `xml:"fill>patternFill>bgColor"`
			} `xml:"dxfs>dxf"`
		}
		must(t, xml.Unmarshal([]byte(insides(t, path, "xl/styles.xml")), &styles))
		formats, err := f.GetConditionalFormats(bookSheet)
		must(t, err)
		for where, list := range formats {
			for _, rule := range list {
				all = append(all, fmt.Sprint(where, " ", rule.Criteria, " ", styles.Dxfs[*rule.Format].Color.RGB))
			}
		}
		return all
	}
	if diff := cmp.Diff(rules(before, path), rules(after, again)); diff != "" {
		t.Errorf("colours (-written +saved):\n%s", diff)
	}
	titles := ""
	for _, n := range after.GetDefinedName() {
		if n.Name == "_xlnm.Print_Titles" {
			titles = n.Scope + ": " + n.RefersTo
		}
	}
	page, err := after.GetPageLayout(bookSheet)
	must(t, err)
	if titles != "Results: Results!$1:$1" || *page.Orientation != "landscape" || *page.FitToWidth != 1 {
		t.Errorf("on each page stands %q, %s, %d wide", titles, *page.Orientation, *page.FitToWidth)
	}

	// What it shows is what the text result says: the second sheet, all as shown.
	shown := readCSV(t, convert(path, "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,true,false,false,2", "csv"))
	for _, row := range shown {
		for i := len(layout.Columns); i < len(row); i++ {
			row[i] = inert(row[i]) // which a text needs, and a workbook does not
		}
	}
	if diff := cmp.Diff(readCSV(t, filepath.Join(dir, "r.csv")), shown); diff != "" {
		t.Errorf("it shows (-text +LibreOffice):\n%.2000s", diff)
	}

	// On paper, the header stands on every page of rows.
	text, err := exec.CommandContext(t.Context(), "pdftotext", "-layout", convert(path, "pdf", "pdf"), "-").Output()
	must(t, err)
	pages := strings.Split(strings.TrimSuffix(string(text), "\f"), "\f")
	if len(pages) < 3 || !strings.Contains(pages[0], "rows of 600 are open.") {
		t.Fatalf("%d pages; the first:\n%s", len(pages), pages[0])
	}
	for i, text := range pages[1:] {
		head, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
		if got, want := strings.Fields(head), append(append([]string{}, layout.Columns...), sheet.ResultColumns()...); !cmp.Equal(got, want) {
			t.Errorf("page %d begins with %q, want the header", i+2, got)
		}
		if !strings.Contains(text, fmt.Sprintf("Page %d of %d", i+2, len(pages))) {
			t.Errorf("page %d has no number", i+2)
		}
	}
}

// The list of decisions is there when LibreOffice has saved a review.
func TestLibreOfficeKeepsTheDecisions(t *testing.T) {
	f := foundRows([]string{"", "n", "00123"}, []string{"", "4150868000001248015", "4150868000001248015"})
	f.Path = filepath.Join(t.TempDir(), "review.xlsx")
	_, err := WriteFound(t.Context(), f)
	must(t, err)
	book := openBook(t, convert(t, f.Path, "xlsx", "xlsx"))
	lists, err := book.GetDataValidations(foundSheet)
	must(t, err)
	// It stands beside all rows, and some beyond them.
	if len(lists) != 1 || !strings.HasPrefix(lists[0].Sqref, "A2:A1") || html.UnescapeString(lists[0].Formula1) != `"revoke,share,keep"` {
		t.Errorf("%d drop-downs: %+v", len(lists), lists)
	}
	if id, err := book.GetCellValue(foundSheet, "B3"); id != "4150868000001248015" || err != nil {
		t.Errorf("the id is %q (%v)", id, err)
	}
}

// convert has LibreOffice open a file and write it in another format.
func convert(t *testing.T, from, format, ending string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "soffice", "-env:UserInstallation=file://"+filepath.ToSlash(filepath.Join(dir, "profile")), "--headless", "--convert-to", format, "--outdir", dir, from)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("soffice --convert-to %s: %v\n%s", format, err, said)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*."+ending))
	if err != nil || len(made) != 1 {
		t.Fatalf("soffice --convert-to %s made %q (%v)", format, made, err)
	}
	return made[0]
}

// readAll reads a workbook as a sheet.
func readAll(t *testing.T, path string) (cells [][]string, layout sheet.Layout) {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	r, err := sheet.Open(file, path, sheet.Options{Path: path})
	must(t, err)
	for rec, err := range r.All() {
		must(t, err)
		cells = append(cells, rec.Cells)
	}
	return cells, r.Layout()
}

// readCSV reads a text.
func readCSV(t *testing.T, path string) [][]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(read(t, path))).ReadAll()
	must(t, err)
	return rows
}
