package report

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// A date of the input comes back as one, and is read as the same text; what only looks
// like one stays the text that it is.
func TestWorkbookDates(t *testing.T) {
	t.Parallel()
	layout := noteLayout
	layout.Columns, layout.Dates = []string{"action", "object", "record_id", "user", "last_day", "text"}, []int{4}
	cells := []string{"2026-11-30", "2026-11-30 14:05:09", "14:05:09", "n/a", "", "2026-02-30", "2026-11-30 00:00:00", " 2026-11-30", "1900-02-29", "1900-03-01", "9999-12-31", "2026-11-30T14:05:09", "123456"}
	rows := noteRows(cells...)
	for i := range rows {
		rows[i].cells = append(rows[i].cells, cells[i])
	}
	path := workbook(t, newLedger(t, layout, rows))
	f := openBook(t, path)
	for i, value := range []string{"46356", "46356.586909722224", "", "", "", "", "", "", "", "61", "2958465", "", ""} {
		if value == "" {
			value = cells[i]
		}
		for column, want := range map[string]string{"E": value, "F": cells[i]} {
			at := fmt.Sprint(column, i+2)
			if got, err := f.GetCellValue(bookSheet, at, excelize.Options{RawCellValue: true}); err != nil || got != want {
				t.Errorf("%s holds %q (%v), want %q", at, got, err, want)
			}
		}
		if got, err := f.GetCellValue(bookSheet, fmt.Sprint("E", i+2)); err != nil || got != cells[i] {
			t.Errorf("row %d shows %q (%v), want %q", i+2, got, err, cells[i])
		}
	}
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	r, err := sheet.Open(file, path, sheet.Options{Path: path})
	must(t, err)
	var back []string
	for rec, err := range r.All() {
		must(t, err)
		if rec.Cells[4] != rec.Cells[5] {
			t.Errorf("line %d: %q came back as %q", rec.Line, rec.Cells[5], rec.Cells[4])
		}
		back = append(back, rec.Cells[5])
	}
	if diff := cmp.Diff(cells, back); diff != "" {
		t.Errorf("the texts changed (-written +read):\n%s", diff)
	}
	// The column now has a text that was taken for a date nowhere, and dates.
	if got := r.Layout().Dates; !slices.Equal(got, []int{4}) {
		t.Errorf("dates are in the columns %v, want [4]", got)
	}
}

// The colours are rules over the rows, one for each word of the result.
func TestWorkbookColours(t *testing.T) {
	t.Parallel()
	rows := noteRows("one", "two")
	rows[1].settle = &ledger.Outcome{Status: crm.Failed}
	f := openBook(t, workbook(t, newLedger(t, noteLayout, rows)))
	formats, err := f.GetConditionalFormats(bookSheet)
	must(t, err)
	var got, want []string
	for _, rule := range formats["A2:O3"] {
		style, err := f.GetConditionalStyle(*rule.Format)
		must(t, err)
		got = append(got, rule.Criteria+" "+style.Fill.Color[0])
	}
	want = append(want, `$I2="stayer_lost" `+tint("failed"))
	for _, r := range results(new(batch.Counts)) {
		want = append(want, fmt.Sprintf("$G2=%q %s", r.Word, tint(r.Word)))
	}
	if diff := cmp.Diff(want, got); diff != "" || len(formats) != 1 {
		t.Errorf("%d ranges, rules (-want +got):\n%s", len(formats), diff)
	}
}

// A workbook opens so that what a row is about stands beside what became of it.
func TestWorkbookOpensAtTheResult(t *testing.T) {
	t.Parallel()
	many := []string{"Region", "Team", "record_id"}
	for len(many) < 20 {
		many = append(many, fmt.Sprint("More ", len(many)))
	}
	for _, tc := range []struct {
		name, topLeft string
		columns       []string
		cell          string // in each column
		freeze        int
	}{
		{"a narrow input", "E2", []string{"action", "object", "record_id", "user", "note"}, "x", 4},
		{"a wide input", "U2", slices.Concat([]string{"action", "object", "record_id", "user"}, many[4:]), "x", 4},
		{"the record beyond the room", "V2", slices.Concat(many[3:], many[:2], []string{"record_id", "user"}), "x", 7},
		{"wide cells", "F2", []string{"action", "object", "record_id", "user", "note"}, strings.Repeat("x", 36), 2},
		{"the widest cells", "E2", []string{"action", "object", "record_id", "user"}, strings.Repeat("x", 100), 1},
		{"a mapped column", "U2", slices.Concat([]string{"action", "object", "user", "Lead No"}, many[4:]), "x", 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			layout := noteLayout
			layout.Columns, layout.Mapped = tc.columns, nil
			if i := slices.Index(tc.columns, "Lead No"); i >= 0 {
				layout.Mapped = map[int]string{i: "record_id"}
			}
			rows := []sheetRow{{cells: slices.Repeat([]string{tc.cell}, len(tc.columns)), op: revoke(1)}}
			f := openBook(t, workbook(t, newLedger(t, layout, rows)))
			panes, err := f.GetPanes(bookSheet)
			must(t, err)
			if !panes.Freeze || panes.YSplit != 1 || panes.XSplit != tc.freeze || panes.TopLeftCell != tc.topLeft || panes.ActivePane != "bottomRight" {
				t.Errorf("got %+v, want %d columns frozen and %s shown first", panes, tc.freeze, tc.topLeft)
			}
			for i := range len(tc.columns) {
				if visible, err := f.GetColVisible(bookSheet, columnName(i)); err != nil || !visible {
					t.Errorf("column %d is hidden (%v)", i+1, err)
				}
			}
		})
	}
}

func TestWorkbookPages(t *testing.T) {
	t.Parallel()
	f := openBook(t, workbook(t, newLedger(t, noteLayout, noteRows("n"))))
	if diff := cmp.Diff([]string{"Summary", "Results"}, f.GetSheetList()); diff != "" || f.GetActiveSheetIndex() != 0 {
		t.Errorf("sheet %d is shown of (-want +got):\n%s", f.GetActiveSheetIndex(), diff)
	}
	for _, name := range f.GetSheetList() {
		layout, err := f.GetPageLayout(name)
		must(t, err)
		props, err := f.GetSheetProps(name)
		must(t, err)
		if *layout.Orientation != "landscape" || *layout.FitToWidth != 1 || *layout.FitToHeight != 0 || !*props.FitToPage {
			t.Errorf("%s is printed %s, %d pages wide and %d high, fit to it: %v", name, *layout.Orientation, *layout.FitToWidth, *layout.FitToHeight, *props.FitToPage)
		}
	}
	var names []string
	for _, n := range f.GetDefinedName() {
		names = append(names, n.Name+" "+n.Scope+" "+n.RefersTo)
	}
	if diff := cmp.Diff([]string{"_xlnm._FilterDatabase Results 'Results'!$A$1:$O$2", "_xlnm.Print_Titles Results 'Results'!$1:$1"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestColumnName(t *testing.T) {
	t.Parallel()
	for i, want := range map[int]string{0: "A", 25: "Z", 26: "AA", 51: "AZ", 52: "BA", 701: "ZZ", 702: "AAA"} {
		if got := columnName(i); got != want {
			t.Errorf("column %d is %s, want %s", i, got, want)
		}
	}
}

// The sheet of the rows is called as that of the input, unless that is taken.
func TestResultTab(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{"": "Results", "Leavers": "Leavers", "summary": "Results", "a/b": "Results", strings.Repeat("x", 32): "Results"} {
		if got := resultTab(source); got != want {
			t.Errorf("for %q it is %q, want %q", source, got, want)
		}
	}
}
