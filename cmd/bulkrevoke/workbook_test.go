package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// readSheet returns the layout and the cells of a sheet in the folder, as the
// program reads them.
func (r *rig) readSheet(name string) (sheet.Layout, [][]string) {
	r.t.Helper()
	file, err := os.Open(r.path(name))
	must(r.t, err)
	defer file.Close()
	in, err := sheet.Open(file, name, sheet.Options{Path: r.path(name)})
	must(r.t, err)
	var rows [][]string
	for rec, err := range in.All() {
		must(r.t, err)
		rows = append(rows, rec.Cells)
	}
	return in.Layout(), rows
}

// shownBook returns the cells of a workbook result in the folder, as a spreadsheet program
// shows them, without the header.
func (r *rig) shownBook(name string) [][]string {
	r.t.Helper()
	return r.shownSheet(name, "Results")[1:]
}

// shownSheet returns the cells of one sheet of a workbook in the folder.
func (r *rig) shownSheet(name, sheetName string) [][]string {
	r.t.Helper()
	f, err := excelize.OpenFile(r.path(name))
	must(r.t, err)
	defer f.Close()
	rows, err := f.GetRows(sheetName)
	must(r.t, err)
	return rows
}

// summaryOf returns what the summary of a workbook result says, a line for each row.
func (r *rig) summaryOf(name string) string {
	r.t.Helper()
	var b strings.Builder
	for _, row := range r.shownSheet(name, sheet.SummarySheet) {
		b.WriteString(strings.Join(row, " | ") + "\n")
	}
	return b.String()
}

// noted are rows with a last column that spreadsheets like to change.
func (r *rig) noted(name string, notes ...string) {
	r.t.Helper()
	text := strings.TrimSuffix(rigHead, "\n") + ",note\n"
	for i, note := range notes {
		text += lead("revoke", i) + "," + note + "\n"
	}
	r.write(name, text)
}

func TestWorkbookResult(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.noted("off.csv", "0012", "1234567890123456789", `"=1+1, and ""quotes"""`, " 2026-11-22 ")
	sheetPath, book := r.path("off.csv"), r.path("off.results.xlsx")
	r.runs(exitDone, "run", sheetPath, "-o", book)
	sent := r.changes()
	if sent != 4 {
		t.Fatalf("%d changes were sent, want 4", sent)
	}
	files := []string{"off.csv", "off.results.xlsx", "off.ledger.db"}
	r.only(files...)
	for _, want := range []string{"off.csv\n4 rows, all as the sheet asks.\n", "\nPlan digest | ", "\nMachine | ", "nothing, every row is as the sheet asks."} {
		if got := r.summaryOf("off.results.xlsx"); !strings.Contains(got, want) {
			t.Errorf("the summary says nothing of %q:\n%s", want, got)
		}
	}

	_, input := r.readSheet("off.csv")
	layout, back := r.readSheet("off.results.xlsx")
	if diff := cmp.Diff(input, back); diff != "" || !layout.IsResult {
		t.Errorf("is a result: %v; the cells changed (-sheet +workbook):\n%s", layout.IsResult, diff)
	}
	for i, row := range r.shownBook("off.results.xlsx") {
		if block := row[8:]; block[1] != "done" || len(block[2]) != 32 || len(block) != len(sheet.ResultColumns()) {
			t.Errorf("row %d ends in %q", i, block)
		}
	}

	// The same command does nothing and replaces its file, also after a spreadsheet
	// program has saved it.
	f, err := excelize.OpenFile(book)
	must(t, err)
	must(t, f.SetCellStr("Results", "H2", "changed by hand"))
	must(t, f.Save())
	must(t, f.Close())
	r.runs(exitDone, "run", sheetPath, "-o", book)
	if _, again := r.readSheet("off.results.xlsx"); !cmp.Equal(again, input) {
		t.Errorf("the second run wrote %q", again)
	}
	r.only(files...)

	// As a sheet it belongs to the ledger that it came from.
	r.runs(exitDone, "run", book)
	files = append(files, "off.results.csv")
	r.only(files...)
	if got := r.changes(); got != sent {
		t.Errorf("%d changes more were sent", got-sent)
	}
	if _, text := r.readSheet("off.results.csv"); !cmp.Equal(text, input) {
		t.Errorf("the result of the workbook holds %q, want %q", text, input)
	}

	r.runs(exitDone, "run", "--fresh", sheetPath, "-o", book)
	if aside, err := filepath.Glob(r.path("off.*Z.results.xlsx")); err != nil || len(aside) != 1 {
		t.Errorf("set aside: %q, %v; want the old workbook", aside, err)
	}
}

func TestResultsAsAWorkbook(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.noted("off.csv", "good", "bad")
	text, err := os.ReadFile(r.path("off.csv"))
	must(t, err)
	r.write("off.csv", strings.Replace(string(text), "lead,7001,", "lead,4.1E+18,", 1))
	r.runs(exitOpen, "run", "--skip-invalid", r.path("off.csv"))
	r.runs(exitDone, "results", r.path("off.csv"), "-o", r.path("all.xlsx"))
	r.runs(exitDone, "results", "--open", r.path("off.csv"), "-o", r.path("open.xlsx"))
	words := func(name string) (words []string) {
		for _, row := range r.shownBook(name) {
			words = append(words, row[7]+" "+row[9])
		}
		return words
	}
	if got, want := words("all.xlsx"), []string{"good done", "bad invalid"}; !slices.Equal(got, want) {
		t.Errorf("all.xlsx holds %q, want %q", got, want)
	}
	if got, want := words("open.xlsx"), []string{"bad invalid"}; !slices.Equal(got, want) {
		t.Errorf("open.xlsx holds %q, want %q", got, want)
	}
	again := "\nCommand | bulkrevoke run --skip-invalid " + r.path("off.csv") + "\n"
	for name, wants := range map[string][]string{
		"all.xlsx":  {"off.csv\n1 row of 2 is open.\n", "\ninvalid | 1 | invalid | record_id: ", again},
		"open.xlsx": {"off.csv\n1 row of 2 is open.\n", "only the rows that need somebody, 1.", again},
	} {
		for _, want := range wants {
			if got := r.summaryOf(name); !strings.Contains(got, want) {
				t.Errorf("the summary of %s says nothing of %q:\n%s", name, want, got)
			}
		}
	}
	// Twice is as good as once.
	r.runs(exitDone, "results", r.path("off.csv"), "-o", r.path("all.xlsx"))
	r.only("off.csv", "off.results.csv", "off.ledger.db", "all.xlsx", "open.xlsx")
}

// What can not be written is refused before anything is sent, and leaves nothing.
func TestWorkbookIsRefusedBeforehand(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, note string
		make       func(r *rig)
		want       string
	}{
		{"a cell that is too long", strings.Repeat("x", excelize.TotalCellChars+1), func(*rig) {}, "the cell in line 2, column 8 has 32768"},
		{"another workbook", "n", func(r *rig) {
			f := excelize.NewFile()
			must(r.t, f.SaveAs(r.path("out.xlsx")))
			must(r.t, f.Close())
		}, "was not written by this sheet's ledger"},
		{"no folder", "n", func(r *rig) { r.env["BULKREVOKE_OUTPUT"] = r.path("none/out.xlsx") }, "folder of the ledger"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			r.env["BULKREVOKE_OUTPUT"] = r.path("out.xlsx")
			r.noted("off.csv", tc.note)
			tc.make(r)
			if got := r.runs(exitRefused, "run", r.path("off.csv")); !strings.Contains(got.stderr, tc.want) || !strings.Contains(got.stderr, "hint: ") {
				t.Errorf("it said %q, want %q and a hint", got.stderr, tc.want)
			}
			if tc.note != "n" {
				if got := r.runs(exitRefused, "plan", r.path("off.csv")); !strings.Contains(got.stderr, tc.want) {
					t.Errorf("the plan said %q, want %q", got.stderr, tc.want)
				}
			}
			if r.changes() > 0 {
				t.Error("something was sent")
			}
			r.only("off.csv", "out.xlsx")
		})
	}
}

// A workbook that is written while a run is at work says so, and how far it has come.
func TestWorkbookDuringARun(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(lead("revoke", 1), lead("revoke", 2))
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultHang})
	p := r.start("run", path)
	until(t, "not every call is in flight", func() bool { return r.changes() == 2 })
	r.runs(exitDone, "results", path, "-o", r.path("live.xlsx"))
	must(t, p.cmd.Process.Kill())
	p.wait()
	r.runs(exitDone, "results", path, "-o", r.path("killed.xlsx"))
	for name, wants := range map[string][]string{
		"live.xlsx":   {"2 rows of 2 are open.", "Run 1 is at work", "\nin_doubt | 2 | 100 %", "\nin_doubt | 2 |  | sent, no answer recorded yet", " | at work | "},
		"killed.xlsx": {"2 rows of 2 are open.", "\nin_doubt | 2 | 100 %", " | cut off | ", "\nCommand | bulkrevoke run " + path + "\n"},
	} {
		for _, want := range wants {
			if got := r.summaryOf(name); !strings.Contains(got, want) {
				t.Errorf("%s says nothing of %q:\n%s", name, want, got)
			}
		}
	}
}

// What a workbook had as dates is dates in its result, and in the result of that.
func TestWorkbookKeepsDates(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.workbook("off.xlsx", []string{"Leavers"}, [][]string{{lead("revoke", 1), lead("revoke", 2)}}, func(f *excelize.File) {
		for at, value := range map[string]any{"H1": "hired", "H2": time.Date(2020, 2, 29, 0, 0, 0, 0, time.UTC), "H3": time.Date(2020, 2, 29, 6, 0, 0, 0, time.UTC), "I1": "typed", "I2": "2020-02-29"} {
			must(t, f.SetCellValue("Leavers", at, value))
		}
	})
	for _, command := range [][]string{{"run", path, "-o", r.path("off.results.xlsx")}, {"run", r.path("off.results.xlsx"), "-o", r.path("again.xlsx")}} {
		r.runs(exitDone, command...)
		name := filepath.Base(command[3])
		f, err := excelize.OpenFile(r.path(name))
		must(t, err)
		for at, want := range map[string][2]string{"H2": {"2020-02-29", "43890"}, "H3": {"2020-02-29 06:00:00", "43890.25"}, "I2": {"2020-02-29", "2020-02-29"}} {
			shown, err := f.GetCellValue("Leavers", at)
			must(t, err)
			raw, err := f.GetCellValue("Leavers", at, excelize.Options{RawCellValue: true})
			must(t, err)
			if got := [2]string{shown, raw}; got != want {
				t.Errorf("%s of %s shows and holds %q, want %q", at, name, got, want)
			}
		}
		must(t, f.Close())
	}
	if n := r.changes(); n != 2 {
		t.Errorf("%d changes were sent, want 2", n)
	}
}
