package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A date cell of a workbook is a date, however it is shown and wherever days are
// counted from: one that lies ahead refuses the sheet, and a number that is not shown
// as a date may lie ahead too.
func TestDateCellsAhead(t *testing.T) {
	t.Parallel()
	ahead := time.Date(2199, 12, 31, 0, 0, 0, 0, time.UTC)
	over := time.Date(2020, 1, 31, 0, 0, 0, 0, time.UTC)
	styled := func(f *excelize.File, value any, format string) {
		style, err := f.NewStyle(&excelize.Style{CustomNumFmt: &format})
		must(t, err)
		must(t, f.SetCellValue("Leavers", "H3", value))
		must(t, f.SetCellStyle("Leavers", "H3", "H3", style))
	}
	for _, tc := range []struct {
		name   string
		header string
		cell   func(f *excelize.File)
		want   string // of the refusal; "" where the sheet is done
	}{
		{"a date cell", "Last Working Day", func(f *excelize.File) { must(t, f.SetCellValue("Leavers", "H3", ahead)) }, `"2199-12-31" lies ahead`},
		{"shown the German way", "due", func(f *excelize.File) { styled(f, ahead, "dd.mm.yyyy") }, `"2199-12-31" lies ahead`},
		{"shown as a month", "exit_date", func(f *excelize.File) { styled(f, ahead, "mmm yy") }, `"2199-12-31" lies ahead`},
		{"counted from 1904", "Effective Date", func(f *excelize.File) {
			must(t, f.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: new(true)}))
			styled(f, 46000, "yyyy-mm-dd")
		}, `"2029-12-10" lies ahead`},
		{"with a time of day", "not_before", func(f *excelize.File) { styled(f, ahead.Add(9*time.Hour), "d/m/yy h:mm") }, `"2199-12-31 09:00:00" lies ahead`},
		{"a number that is shown as one", "due_date", func(f *excelize.File) { must(t, f.SetCellValue("Leavers", "H3", 46356)) }, `"46356" can not be read as a date and may lie ahead`},
		{"a date as a text", "leaving-date", func(f *excelize.File) { must(t, f.SetCellValue("Leavers", "H3", "31.12.2199")) }, `"31.12.2199" lies ahead`},
		{"an error", "last_day", func(f *excelize.File) { must(t, f.SetCellValue("Leavers", "H3", "#N/A")) }, `"#N/A" can not be read`},
		{"a day that is over", "termination_date", func(f *excelize.File) { styled(f, over, "mmm yy") }, ""},
		{"no date", "last day", func(*excelize.File) {}, ""},
		{"a column that the sheet says nothing of", "last seen", func(f *excelize.File) { must(t, f.SetCellValue("Leavers", "H3", ahead)) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path := r.workbook("off.xlsx", []string{"Leavers"}, [][]string{{lead("revoke", 1), lead("revoke", 2)}}, func(f *excelize.File) {
				must(t, f.SetCellValue("Leavers", "H1", tc.header))
				must(t, f.SetCellValue("Leavers", "H2", over))
				tc.cell(f)
			})
			if tc.want == "" {
				r.runs(exitDone, "run", path)
				return
			}
			want := "line 3 takes access away, and its " + tc.header + " " + tc.want
			for _, args := range [][]string{{"plan", path}, {"run", "--skip-invalid", path}} {
				got := r.runs(exitRefused, args...)
				if !strings.Contains(got.stderr, want) || !strings.Contains(got.stderr, `give --map "`+tc.header+`=none".`) {
					t.Errorf("%s says nothing of %q:\n%s", args[0], want, got.stderr)
				}
			}
			if n := r.changes(); n != 0 {
				t.Errorf("%d changes were sent", n)
			}
			r.only("off.xlsx")
			// Whoever says that the column means nothing is believed.
			r.runs(exitDone, "run", "--map", tc.header+"=none", path)
		})
	}
}

// Thousands of equal mistakes are told in a few lines. As JSON the first thousand have a
// line each, and a result that was asked for has them all.
func TestThousandsOfEqualMistakes(t *testing.T) {
	t.Parallel()
	const rows = 3_100
	r := newRig(t, sandbox.Config{})
	var text strings.Builder
	text.WriteString(rigHead)
	for i := range rows {
		fmt.Fprintln(&text, strings.Replace(lead("revoke", i), fmt.Sprintf(",%d,", 7000+i), fmt.Sprintf(",%dX,", 7000+i), 1))
	}
	off := r.write("off.csv", text.String()+lead("revoke", rows)+"\n")
	got := r.runs(exitRefused, "run", off)
	for _, want := range []string{`off.csv:2: record_id: `, `"7000X"`, "off.csv:6: ", "and 3095 more like it (lines 7-3101)", "3100 rows are invalid, nothing was sent"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("it says nothing of %q:\n%.2000s", want, got.stderr)
		}
	}
	if n := strings.Count(got.stderr, "\n"); n > 10 {
		t.Errorf("%d lines for one kind of mistake", n)
	}
	got = r.runs(exitRefused, "run", "--log-format", "json", off)
	if n := strings.Count(got.stderr, `"value":`); n != 1_000 {
		t.Errorf("%d rows as JSON, want the first 1000", n)
	}
	if n := r.changes(); n != 0 {
		t.Errorf("%d changes were sent", n)
	}
	r.runs(exitOpen, "run", "--skip-invalid", off)
	raw, err := os.ReadFile(r.path("off.results.csv"))
	must(t, err)
	if n := strings.Count(string(raw), ",invalid,"); n < rows {
		t.Errorf("the result has %d invalid rows, want %d", n, rows)
	}
}
