package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// workbook writes an .xlsx into the folder: sheets by name, in turn with the rows under
// the rig's header. change, if not nil, has the last word.
func (r *rig) workbook(name string, sheets []string, rows [][]string, change func(f *excelize.File)) string {
	r.t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	for i, sheetName := range sheets {
		if i == 0 {
			must(r.t, f.SetSheetName("Sheet1", sheetName))
		} else {
			_, err := f.NewSheet(sheetName)
			must(r.t, err)
		}
		for n, row := range append([]string{strings.TrimSpace(rigHead)}, rows[i]...) {
			cells := strings.Split(row, ",")
			must(r.t, f.SetSheetRow(sheetName, fmt.Sprintf("A%d", n+1), &cells))
		}
	}
	if change != nil {
		change(f)
	}
	path := r.path(name)
	must(r.t, f.SaveAs(path))
	return path
}

// Where --sheet is given, the files are named after the sheet too, and the sheets of
// one workbook have neither results nor history in common.
func TestFilesOfSheets(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.workbook("off.xlsx", []string{"November", "Leavers December", "a|b"}, [][]string{{lead("revoke", 1)}, {lead("revoke", 1), lead("revoke", 2)}, {lead("revoke", 3)}}, nil)
	got := r.runs(exitRefused, "run", path)
	if want := `the sheets "November", "Leavers December", "a|b" all have a header and rows`; !strings.Contains(got.stderr, want) {
		t.Errorf("the refusal says nothing of %q:\n%s", want, got.stderr)
	}
	r.only("off.xlsx")
	got = r.runs(exitDone, "run", "--sheet", "leavers DECEMBER", path)
	if want := path + `, sheet "Leavers December": 2 rows`; !strings.Contains(got.stderr, want) {
		t.Errorf("the summary says nothing of %q:\n%s", want, got.stderr)
	}
	r.runs(exitDone, "run", "--sheet", "November", path)
	if n := r.changes(); n != 3 {
		t.Errorf("%d changes, want 3: what is done for one sheet is not done for the other", n)
	}
	r.runs(exitDone, "run", "--sheet", "Leavers December", path)
	r.runs(exitDone, "run", r.path("off.Leavers December.results.csv"))
	r.runs(exitDone, "run", r.path("off.November.results.csv"))
	if n := r.changes(); n != 3 {
		t.Errorf("%d changes, want 3: the sheet and its result find their ledger", n)
	}
	r.runs(exitDone, "run", "--sheet", "a|b", path)
	r.only("off.xlsx", "off.Leavers December.results.csv", "off.Leavers December.ledger.db", "off.November.results.csv", "off.November.ledger.db", "off.a_b.results.csv", "off.a_b.ledger.db")

	for _, command := range []string{"results", "verify", "undo"} {
		got := r.runs(exitRefused, command, path)
		if want := "there are ledgers of several sheets of " + path + ": Leavers December, November, a_b"; !strings.Contains(got.stderr, want) {
			t.Errorf("%s without --sheet says nothing of %q:\n%s", command, want, got.stderr)
		}
		r.runs(exitDone, command, "--sheet", "leavers december", path)
	}
	if _, err := os.Stat(r.path("off.Leavers December.undo.csv")); err != nil {
		t.Error(err)
	}
	if rows := r.results("off.Leavers December.results.csv"); len(rows) != 2 {
		t.Errorf("the result has %d rows, want 2", len(rows))
	}
	r.runs(exitDone, "run", r.path("off.Leavers December.undo.csv"))
}

// In a sandbox the names have that in them too.
func TestFilesOfSheetsInSandbox(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	rows := []string{as("leadsquared", lead("revoke", 1))}
	path := r.workbook("off.xlsx", []string{"November", "December"}, [][]string{rows, rows}, nil)
	r.runs(exitDone, "run", "--sandbox", "--sheet", "November", path)
	got := r.runs(exitDone, "plan", "--sandbox", "--sheet", "november", path)
	if !strings.Contains(got.stdout, `sheet "November": 1 row, 0 to send`) {
		t.Errorf("the plan of a sheet that was done says:\n%s", got.stdout)
	}
	r.runs(exitDone, "results", "--sandbox", path)
	r.only("off.xlsx", "off.November.sandbox.results.csv", "off.November.sandbox.ledger.db", "off.November.sandbox.state")
}

// A ledger that is there goes on under the name that it has, whether --sheet is given
// then or not: nothing is sent twice.
func TestSheetFindsItsLedger(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		first, later []string
		files        []string
	}{
		{"named later", nil, []string{"--sheet", "leavers"}, []string{"off.results.csv", "off.ledger.db"}},
		{"named before", []string{"--sheet", "Leavers"}, nil, []string{"off.Leavers.results.csv", "off.Leavers.ledger.db"}},
		{"never named", nil, nil, []string{"off.results.csv", "off.ledger.db"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path := r.workbook("off.xlsx", []string{"Leavers"}, [][]string{{lead("revoke", 1)}}, nil)
			r.runs(exitDone, append(append([]string{"run"}, tc.first...), path)...)
			r.runs(exitDone, append(append([]string{"run"}, tc.later...), path)...)
			r.runs(exitDone, append(append([]string{"results"}, tc.later...), path)...)
			r.runs(exitDone, append(append([]string{"verify"}, tc.later...), path)...)
			if n := r.changes(); n != 1 {
				t.Errorf("%d changes, want 1", n)
			}
			r.only(append([]string{"off.xlsx"}, tc.files...)...)
		})
	}
	t.Run("another sheet's", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, sandbox.Config{})
		path := r.workbook("off.xlsx", []string{"Leavers"}, [][]string{{lead("revoke", 1)}}, nil)
		r.runs(exitDone, "run", path)
		path = r.workbook("off.xlsx", []string{"Leavers", "December"}, [][]string{{lead("revoke", 1)}, {lead("revoke", 1)}}, nil)
		r.runs(exitDone, "run", "--sheet", "December", path)
		r.runs(exitDone, "run", "--sheet", "Leavers", path)
		if n := r.changes(); n != 2 {
			t.Errorf("%d changes, want 2", n)
		}
		r.only("off.xlsx", "off.results.csv", "off.ledger.db", "off.December.results.csv", "off.December.ledger.db")
	})
	t.Run("of two sheets with one safe name", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, sandbox.Config{})
		path := r.workbook("off.xlsx", []string{"a|b", "a_b"}, [][]string{{lead("revoke", 1)}, {lead("revoke", 1)}}, nil)
		r.runs(exitDone, "run", "--sheet", "a|b", path)
		got := r.runs(exitRefused, "run", "--sheet", "a_b", path)
		if want := `the ledger off.a_b.ledger.db is that of the sheet "a|b", and not of "a_b"`; !strings.Contains(got.stderr, want) {
			t.Errorf("the refusal says nothing of %q:\n%s", want, got.stderr)
		}
	})
	t.Run("by a text of the same name", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, sandbox.Config{})
		r.runs(exitDone, "run", r.write("off.csv", rigHead+lead("revoke", 1)+"\n"))
		path := r.workbook("off.xlsx", []string{"Leavers"}, [][]string{{lead("revoke", 1)}}, nil)
		r.runs(exitDone, "run", "--sheet", "Leavers", path)
		r.only("off.csv", "off.results.csv", "off.ledger.db", "off.xlsx", "off.Leavers.results.csv", "off.Leavers.ledger.db")
	})
	t.Run("that does not say its sheet", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, sandbox.Config{})
		path := r.workbook("off.xlsx", []string{"Leavers"}, [][]string{{lead("revoke", 1)}}, nil)
		r.runs(exitDone, "run", "--ledger", r.path("off.ledger.db"), "-o", r.path("out.csv"), r.write("old.results.csv", rigHead+lead("revoke", 1)+"\n"))
		got := r.runs(exitRefused, "run", "--sheet", "Leavers", path)
		if want := "go on with --ledger " + shellQuote(r.path("off.ledger.db")); !strings.Contains(got.stderr, want) {
			t.Errorf("the refusal says nothing of %q:\n%s", want, got.stderr)
		}
		r.runs(exitDone, "run", "--sheet", "Leavers", "--ledger", r.path("off.ledger.db"), path)
		if n := r.changes(); n != 1 {
			t.Errorf("%d changes, want 1", n)
		}
	})
}

// Plan, question, summary, page and result say which sheet was read and what of it is
// hidden.
func TestSheetIsNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.workbook("off.xlsx", []string{"Cover", "Leavers"}, [][]string{{"x"}, {lead("revoke", 1), lead("revoke", 2), lead("revoke", 3)}}, func(f *excelize.File) {
		must(t, f.SetSheetRow("Cover", "A1", &[]string{"Offboarding", "", "", "", "", "", ""}))
		must(t, f.SetRowVisible("Leavers", 3, false))
		must(t, f.SetColVisible("Leavers", "E", false))
	})
	got := r.runs(exitRefused, "plan", path)
	for _, want := range []string{`off.xlsx:3: 1 of the 3 rows of sheet "Leavers" is hidden or filtered out (line 3)`, "--hidden-rows send"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("the refusal says nothing of %q:\n%s", want, got.stderr)
		}
	}
	got = r.runs(exitDone, "plan", "--hidden-rows", "skip", path)
	for _, want := range []string{path + `, sheet "Leavers": 2 rows, 2 to send`, `left alone, as they have no header of ours: "Cover"`, "1 row of the workbook is hidden or filtered out, and left alone"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the plan says nothing of %q:\n%s", want, got.stdout)
		}
	}
	r.env["BULKREVOKE_HIDDEN_ROWS"] = "send"
	got = r.runs(exitDone, "plan", "--json", path)
	var plan struct {
		Worksheet struct {
			Name       string
			HiddenRows int `json:"hidden_rows"`
			Others     []string
		}
		Notes []string
	}
	must(t, json.Unmarshal([]byte(got.stdout), &plan))
	if plan.Worksheet.Name != "Leavers" || plan.Worksheet.HiddenRows != 1 || !slices.Equal(plan.Worksheet.Others, []string{"Cover"}) || len(plan.Notes) < 3 {
		t.Errorf("the plan in JSON has %+v", plan)
	}

	o := &outside{stdin: strings.NewReader("y\n"), env: r.env, terminal: true}
	if code := o.execute(t.Context(), "run", "-o", r.path("off.results.xlsx"), "--report", r.path("r.html"), "--summary", r.path("s.json"), path); code != exitDone {
		t.Fatalf("ended with %d:\n%s", code, o.stderr.String())
	}
	for _, want := range []string{`Send 3 changes of ` + path + `, sheet "Leavers", to lsq`, `sheet "Leavers": 3 rows (1 of them hidden in the workbook)`} {
		if !strings.Contains(o.stderr.String(), want) {
			t.Errorf("the terminal says nothing of %q:\n%s", want, o.stderr.String())
		}
	}
	for name, want := range map[string]string{"r.html": "off.xlsx, sheet &#34;Leavers&#34;", "s.json": `"name": "Leavers"`} {
		raw, err := os.ReadFile(r.path(name))
		must(t, err)
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s says nothing of %q", name, want)
		}
	}
	f, err := excelize.OpenFile(r.path("off.results.xlsx"))
	must(t, err)
	defer f.Close()
	if diff := cmp.Diff([]string{"Summary", "Leavers"}, f.GetSheetList()); diff != "" {
		t.Errorf("sheets of the result (-want +got):\n%s", diff)
	}
	r.runs(exitDone, "run", r.path("off.results.xlsx"))
	if n := r.changes(); n != 3 {
		t.Errorf("%d changes, want 3", n)
	}
}

// What a workbook hides or has not calculated never ends in a run that says that all
// is done.
func TestWorkbooksThatMislead(t *testing.T) {
	t.Parallel()
	rows := [][]string{{lead("revoke", 1), lead("revoke", 2), lead("revoke", 3)}}
	for _, tc := range []struct {
		name   string
		change func(f *excelize.File) error
		want   string
	}{
		{"a formula without a value", func(f *excelize.File) error {
			must(t, f.SetCellValue("Leavers", "D3", nil))
			return f.SetCellFormula("Leavers", "D3", "A1")
		}, ":3: record_id: a formula that was never calculated"},
		{"a row of them", func(f *excelize.File) error {
			for _, column := range "ABCDEFG" {
				must(t, f.SetCellFormula("Leavers", fmt.Sprintf("%c5", column), "A1"))
			}
			return nil
		}, ":5: "},
		{"a hidden row", func(f *excelize.File) error { return f.SetRowVisible("Leavers", 4, false) }, "1 of the 3 rows"},
		{"a row of no height", func(f *excelize.File) error { return f.SetRowHeight("Leavers", 4, 0) }, "1 of the 3 rows"},
		{"merged cells", func(f *excelize.File) error { return f.MergeCell("Leavers", "D2", "D4") }, "the cells D2:D4 are merged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path := r.workbook("off.xlsx", []string{"Leavers"}, rows, func(f *excelize.File) { must(t, tc.change(f)) })
			for _, command := range []string{"plan", "run"} {
				if got := r.runs(exitRefused, command, path); !strings.Contains(got.stderr, tc.want) {
					t.Errorf("%s says nothing of %q:\n%s", command, tc.want, got.stderr)
				}
			}
			if n := r.changes(); n != 0 {
				t.Errorf("%d changes were sent", n)
			}
			r.only("off.xlsx")
		})
	}
}

func TestSafeTab(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Leavers December": "Leavers December", "Leavers ": "Leavers ", `a/b\c:d*e?f"g<h>i|j`: "a_b_c_d_e_f_g_h_i_j", "a\tb": "a_b",
		strings.Repeat("é", 60): strings.Repeat("é", 50), "..": "..",
	} {
		if got := safeTab(name); got != want {
			t.Errorf("safeTab(%q) is %q, want %q", name, got, want)
		}
		path := withTab(filepath.Join("d", "off.xlsx"), safeTab(name))
		if dir := filepath.Dir(path); dir != "d" {
			t.Errorf("a file named after %q lies in %s", name, dir)
		}
	}
}

// What is undone of one sheet of a workbook is done again by that sheet, and the
// commands that read the ledger say which sheet they mean.
func TestUndoOfASheetOfAWorkbook(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.workbook("off.xlsx", []string{"November", "Leavers December"}, [][]string{{lead("revoke", 1)}, {lead("revoke", 1), lead("revoke", 2)}}, nil)
	said := func(code int, want string, args ...string) {
		t.Helper()
		if got := r.runs(code, append(args, "--sheet", "leavers december", path)...); !strings.Contains(got.stdout+got.stderr, want) {
			t.Errorf("%s says nothing of %q:\n%s%s", args[0], want, got.stdout, got.stderr)
		}
	}
	name := path + `, sheet "Leavers December"`
	said(exitDone, name+": 2 rows, 2 sent", "run")
	said(exitDone, name+": of 2 rows, 2 hold", "verify")
	said(exitDone, name+", run again after it, does again what it has given back", "undo")
	r.runs(exitDone, "run", r.path("off.Leavers December.undo.csv"))
	said(exitOpen, "run "+name+" again to do what it has undone", "verify")
	said(exitDone, "run "+name+" again to do what is missing", "results")
	said(exitDone, "2  of those to send: take away again", "plan")
	sent := r.changes()
	said(exitDone, name+": 2 rows, 2 sent", "run")
	r.runs(exitDone, "run", "--sheet", "November", path)
	if n := r.changes() - sent; n != 3 {
		t.Errorf("%d changes, want the 2 of the one sheet again, and the 1 of the other", n)
	}
}

// A workbook whose first sheet is hidden, or whose texts stand in a part of another
// name, is read as a person sees it.
func TestWorkbooksAsSeen(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.workbook("off.xlsx", []string{"Old list", "Leavers"}, [][]string{{lead("revoke", 8), lead("revoke", 9)}, {lead("revoke", 1), lead("revoke", 2), lead("revoke", 3)}}, func(f *excelize.File) {
		f.SetActiveSheet(1)
		must(t, f.SetSheetVisible("Old list", false))
	})
	renamePart(t, path, "xl/sharedStrings.xml", "xl/strings.xml")
	if got := r.runs(exitDone, "plan", path); !strings.Contains(got.stdout, path+`, sheet "Leavers": 3 rows, 3 to send`) {
		t.Errorf("the plan says\n%s", got.stdout)
	}
	r.runs(exitDone, "run", path)
	var records []string
	for _, row := range r.results("off.results.csv") {
		records = append(records, row["record_id"])
	}
	if diff := cmp.Diff([]string{"7001", "7002", "7003"}, records); diff != "" || r.changes() != 3 {
		t.Errorf("%d changes; records (-want +got):\n%s", r.changes(), diff)
	}
}

// renamePart gives a part of a workbook another name, and the relationships with it.
func renamePart(t *testing.T, path, from, to string) {
	t.Helper()
	in, err := zip.OpenReader(path)
	must(t, err)
	defer in.Close()
	var packed bytes.Buffer
	out := zip.NewWriter(&packed)
	for _, part := range in.File {
		file, err := part.Open()
		must(t, err)
		text, err := io.ReadAll(file)
		must(t, err)
		if strings.HasSuffix(part.Name, ".rels") {
			text = bytes.ReplaceAll(text, []byte(filepath.Base(from)), []byte(filepath.Base(to)))
		}
		name := part.Name
		if name == from {
			name = to
		}
		w, err := out.Create(name)
		must(t, err)
		_, err = w.Write(text)
		must(t, err)
	}
	must(t, out.Close())
	must(t, os.WriteFile(path, packed.Bytes(), 0o600))
}
