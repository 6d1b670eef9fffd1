package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
)

var updateSamples = flag.Bool("update-samples", false, "write the workbook among the samples anew")

// sampleSheets are the sheets among the samples, counted by hand: the lines on
// which their rows start, and what the result's cells are told apart by.
var sampleSheets = map[string]struct {
	lines []int
	comma rune
}{
	"offboarding.csv":     {[]int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29}, ','},
	"offboarding.xlsx":    {[]int{2, 3, 4, 5, 6, 8, 9}, ','},
	"excel-semicolon.csv": {[]int{2, 3, 4, 7, 8, 9}, ';'},
	"excel-unicode.txt":   {[]int{2, 3, 4, 5, 6}, '\t'},
	"google-export.csv":   {[]int{2, 3, 4, 5, 8, 9}, ','},
}

// samplePath returns the path of a sample.
func samplePath(name string) string { return filepath.Join("..", "..", "samples", name) }

// otherSamples are the files among the samples that are no sheets.
var otherSamples = []string{
	".gitattributes", "alert-rule.test.yaml", "alert-rule.yaml", "bulkrevoke-mail@.service", "bulkrevoke-worker.service", "bulkrevoke.service",
	"bulkrevoke.timer", "bulkrevoke.yaml", "cronjob.yaml", "crontab", "kubernetes-submit.yaml", "kubernetes-workers.yaml", "logrotate", "nightly.sh",
	"people.csv", "report-dark.png", "report-light.png",
}

// shippedSamples are the samples that belong to the repository. Beside them may lie
// whatever somebody has tried out.
func shippedSamples() []string {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(sampleSheets)), otherSamples...)))
}

// copySamples makes a folder of the samples that belong to the repository.
func copySamples(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, name := range shippedSamples() {
		data, err := os.ReadFile(samplePath(name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// TestEverySampleIsTested makes sure that the repository has no sample that no test
// looks at, and that git takes up these and nothing else among them.
func TestEverySampleIsTested(t *testing.T) {
	t.Parallel()
	ignore, err := os.ReadFile(repository(".gitignore"))
	must(t, err)
	var allowed []string
	for line := range strings.Lines(string(ignore)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "!/samples/"); ok {
			allowed = append(allowed, name)
		}
	}
	slices.Sort(allowed)
	if diff := cmp.Diff(shippedSamples(), allowed); diff != "" {
		t.Errorf("samples that .gitignore lets in (-tested +let in):\n%s", diff)
	}
	list := exec.Command("git", "ls-files", "samples")
	list.Dir = repository("")
	out, err := list.Output()
	if err != nil {
		t.Logf("not in a repository, its files are not compared: %v", err)
		return
	}
	var kept []string
	for line := range strings.Lines(string(out)) {
		kept = append(kept, strings.TrimPrefix(strings.TrimSpace(line), "samples/"))
	}
	slices.Sort(kept)
	if diff := cmp.Diff(shippedSamples(), kept); diff != "" {
		t.Errorf("samples in the repository (-tested +kept):\n%s", diff)
	}
}

// Whatever a newcomer has bulkrevoke write among the samples, git sees nothing new.
func TestTryingSamplesOutLeavesGitClean(t *testing.T) {
	t.Parallel()
	path, err := program()
	must(t, err)
	dir := t.TempDir()
	must(t, copySamples(filepath.Join(dir, "samples")))
	ignore, err := os.ReadFile(repository(".gitignore"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, ".gitignore"), ignore, 0o600))
	inShell(t, dir, nil, "git", "init", "--quiet")
	inShell(t, dir, nil, "git", "add", ".")
	inShell(t, dir, nil, "git", "commit", "--quiet", "-m", "samples")
	if got := strings.Count(inShell(t, dir, nil, "git", "ls-files", "samples"), "\n"); got != len(shippedSamples()) {
		t.Fatalf("git has taken up %d samples, want %d", got, len(shippedSamples()))
	}
	for _, words := range []string{
		"run --sandbox samples/excel-unicode.txt",
		"undo --sandbox samples/excel-unicode.txt",
		"undo --sandbox samples/excel-unicode.txt -o samples/back.csv",
		"run --sandbox samples/excel-unicode.txt -o samples/x.xlsx --ledger samples/excel-unicode.sandbox.ledger.db",
		"run --sandbox samples/excel-unicode.sandbox.undo.csv",
		"run --sandbox samples/excel-unicode.txt --report samples/r.html --summary samples/s.json --metrics-file samples/m.prom",
		"run --sandbox --fresh samples/excel-unicode.txt",
		"verify --sandbox samples/excel-unicode.txt -o samples/verified.csv",
		"results --sandbox --open samples/excel-unicode.txt -o samples/open.csv",
	} {
		before := folder(t, filepath.Join(dir, "samples"))
		inShell(t, dir, []string{"BULKREVOKE_SHARE=1", "BULKREVOKE_PROGRESS=never"}, path, strings.Fields(words)...)
		if cmp.Equal(before, folder(t, filepath.Join(dir, "samples"))) {
			t.Errorf("%s has written nothing", words)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "samples", "my-people.csv"), []byte("user\na@example.com\n"), 0o600))
	if got := inShell(t, dir, nil, "git", "status", "--porcelain"); got != "" {
		t.Errorf("git sees\n%s", got)
	}
}

// TestSampleSheets runs every sheet among the samples as a person would who tries
// it out, and holds the result to its first promise.
func TestSampleSheets(t *testing.T) {
	t.Parallel()
	path, err := program()
	must(t, err)
	for _, name := range slices.Sorted(maps.Keys(sampleSheets)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runSampleSheet(t, path, name)
		})
	}
}

// runSampleSheet runs one sheet in a folder of its own.
func runSampleSheet(t *testing.T, program, name string) {
	want := sampleSheets[name]
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, name), readSample(t, name), 0o400))
	cmd := exec.CommandContext(t.Context(), program, "run", "--sandbox", name, "--share", "1", "--progress", "never")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rows := resultTable(t, filepath.Join(dir, strings.TrimSuffix(name, filepath.Ext(name))+".sandbox.results.csv"), want.comma)
	var lines []int
	for _, row := range rows {
		line, err := strconv.Atoi(row["line"])
		must(t, err)
		lines = append(lines, line)
		ofZoho := routeByObject(row["object"]) == crmZoho // which gives no request Ids, and shows what is so already
		if row["result"] != "done" && !(ofZoho && row["result"] == "unchanged") || row["request_id"] == "" && !ofZoho || row["confirmed_at"] == "" {
			t.Errorf("line %d is %s (%s %s), request Id %q, confirmed at %q; want done with both",
				line, row["result"], row["code"], row["message"], row["request_id"], row["confirmed_at"])
		}
	}
	if diff := cmp.Diff(want.lines, lines); diff != "" {
		t.Errorf("lines in the result (-want +got):\n%s", diff)
	}
}

// resultTable reads a result file of any delimiter by column name.
func resultTable(t *testing.T, path string, comma rune) []map[string]string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	r.Comma = comma
	records, err := r.ReadAll()
	must(t, err)
	var rows []map[string]string
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = record[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// TestSampleSheetsAreAsTheirToolsSaveThem keeps editors and version control from
// making all samples alike.
func TestSampleSheetsAreAsTheirToolsSaveThem(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, start, end, within string }{
		{"excel-semicolon.csv", "\ufeffOperation;", ";\r\n", "Umbruch und \"\"Anf\u00fchrung\"\""},
		{"excel-semicolon.csv", "\ufeffOperation;", ";\r\n", "871002\u00a0;\u00a0e6b8"},
		{"excel-unicode.txt", "\xff\xfeA\x00c\x00", "\r\x00\n\x00", "\t\x00"},
		{"google-export.csv", "Action,", ",acts only after the row above", "\u200bleaver.e@example.com"},
		{"google-export.csv", "Action,", ",acts only after the row above", ",Note\r\n"},
	} {
		text := string(readSample(t, tc.name))
		if !strings.HasPrefix(text, tc.start) || !strings.HasSuffix(text, tc.end) || !strings.Contains(text, tc.within) {
			t.Errorf("%s does not start with %q, hold %q and end with %q", tc.name, tc.start, tc.within, tc.end)
		}
	}
}

// workbookRows are the rows of the sample workbook. A time is a date cell, a bool
// a check box, all else a text cell.
func workbookRows() [][]any {
	const a = "e6b8a9b2-51d0-4f1e-9a55-0f4f8f1f2d21"
	left := time.Date(2026, time.June, 30, 0, 0, 0, 0, time.UTC)
	return [][]any{
		{"Action", "Object", "Record ID", "User", "Context ID", "Access", "Duration", "Name", "Left on", "Keys returned"},
		{"revoke", "lead", "873001", a, "cf6f8a10-1d5e-4d3c-8a4b-2b60f7a1c401", "read", "", "Leaver G", left, true},
		{"revoke", "lead", "873002", a, "cf6f8a10-1d5e-4d3c-8a4b-2b60f7a1c402", "write", "", "Leaver G", left, true},
		{"revoke", "opportunity", "0b9a3f52-7c1d-4a58-8f0e-6f2f4f7d0401", a, "", "read", "", "Leaver G", left, true},
		{"revoke", "opportunity", "0b9a3f52-7c1d-4a58-8f0e-6f2f4f7d0402", "leaver.h@example.com", "", "", "", "Leaver H", left, false},
		{"revoke", "sales_group", "0b9a3f52-7c1d-4a58-8f0e-6f2f4f7e0001", "leaver.h@example.com", "", "", "", "Leaver H", left, false},
		{},
		{"share", "lead", "873001", "successor@example.com", "cf6f8a10-1d5e-4d3c-8a4b-2b60f7a1c401", "write", "30d", "Successor"},
		{"share", "sales_group", "0b9a3f52-7c1d-4a58-8f0e-6f2f4f7e0001", "successor@example.com", "", "", "", "Successor"},
	}
}

// idColumns are the columns of the workbook that hold identifiers.
var idColumns = []string{"C", "D", "E"}

// TestSampleWorkbook holds the workbook to its rows, and its identifiers to being
// text, also where somebody types one in. With -update-samples it is written first.
func TestSampleWorkbook(t *testing.T) {
	t.Parallel()
	if *updateSamples {
		must(t, writeWorkbook(samplePath("offboarding.xlsx")))
	}
	f, err := excelize.OpenFile(samplePath("offboarding.xlsx"))
	must(t, err)
	defer f.Close()
	sheetName := f.GetSheetList()[0]
	for i, row := range workbookRows() {
		for j, want := range row {
			cell, err := excelize.CoordinatesToCellName(j+1, i+1)
			must(t, err)
			got, err := f.GetCellValue(sheetName, cell)
			must(t, err)
			if text := shown(want); got != text {
				t.Errorf("%s is %q, want %q", cell, got, text)
			}
			kind, err := f.GetCellType(sheetName, cell)
			must(t, err)
			if want != "" && kind != excelize.CellTypeSharedString && slices.Contains(idColumns, cell[:1]) {
				t.Errorf("%s is not a text cell", cell)
			}
		}
	}
	for _, column := range idColumns {
		id, err := f.GetColStyle(sheetName, column)
		must(t, err)
		style, err := f.GetStyle(id)
		must(t, err)
		if style.NumFmt != textFormat {
			t.Errorf("column %s has the number format %d, want that of text", column, style.NumFmt)
		}
	}
}

// textFormat is the number format "@".
const textFormat = 49

// shown returns a cell of the workbook as a spreadsheet shows it.
func shown(cell any) string {
	switch cell := cell.(type) {
	case time.Time:
		return cell.Format(time.DateOnly)
	case bool:
		return strings.ToUpper(strconv.FormatBool(cell))
	}
	return fmt.Sprint(cell)
}

// writeWorkbook writes the sample workbook: a table as somebody keeps it, and a
// second sheet that is none of bulkrevoke's business.
func writeWorkbook(path string) error {
	f := excelize.NewFile()
	defer f.Close()
	const main = "Leavers"
	err := f.SetSheetName("Sheet1", main)
	style := func(s excelize.Style) int {
		id, failed := f.NewStyle(&s)
		err = errors.Join(err, failed)
		return id
	}
	for _, column := range idColumns {
		err = errors.Join(err, f.SetColStyle(main, column, style(excelize.Style{NumFmt: textFormat})), f.SetColWidth(main, column, column, 38))
	}
	err = errors.Join(err, f.SetColStyle(main, "I", style(excelize.Style{CustomNumFmt: new("yyyy-mm-dd")})), f.SetColWidth(main, "I", "I", 12))
	for i, row := range workbookRows() {
		for j, cell := range row {
			name, failed := excelize.CoordinatesToCellName(j+1, i+1)
			err = errors.Join(err, failed)
			if cell != "" {
				err = errors.Join(err, f.SetCellValue(main, name, cell))
			}
		}
	}
	_, failed := f.NewSheet("Notes")
	err = errors.Join(err, failed,
		f.SetCellStyle(main, "A1", "J1", style(excelize.Style{Font: &excelize.Font{Bold: true}, NumFmt: textFormat})),
		f.SetPanes(main, &excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}),
		f.SetCellStr("Notes", "A1", "The columns with ids are formatted as text, so that no digit is lost."))
	packed, failed := f.WriteToBuffer()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return os.WriteFile(path, packed.Bytes(), 0o644)
}
