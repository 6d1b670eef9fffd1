package sheet_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// rawTab is a sheet of a workbook that is written by hand.
type rawTab struct {
	name, state string
	kind        string // of its relationship; "" is a worksheet
	rows        string
}

// tabsBook packs a workbook of several sheets.
func tabsBook(t testing.TB, tabs ...rawTab) []byte {
	t.Helper()
	parts := bookParts("", "")
	var list, rels strings.Builder
	for i, tab := range tabs {
		kind, part := tab.kind, fmt.Sprintf("worksheets/sheet%d.xml", i+1)
		if kind == "" {
			kind = "worksheet"
		}
		fmt.Fprintf(&list, `<sheet name="%s" sheetId="%d" r:id="s%d" state="%s"/>`, tab.name, i+1, i+1, tab.state)
		if kind != "missing" {
			fmt.Fprintf(&rels, `<Relationship Id="s%d" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/%s" Target="%s"/>`, i+1, kind, part)
		}
		if kind == "worksheet" {
			parts["xl/"+part] = mainElement("worksheet", "<sheetData>"+tab.rows+"</sheetData>")
		} else {
			delete(parts, "xl/"+part)
		}
	}
	sheets := parts["xl/workbook.xml"]
	parts["xl/workbook.xml"] = strings.Replace(strings.Replace(sheets, `<sheet name="S" sheetId="1" r:id="r1"/>`, list.String(), 1), ` state=""`, "", -1)
	parts["xl/_rels/workbook.xml.rels"] = strings.Replace(parts["xl/_rels/workbook.xml.rels"], "<Relationship ", rels.String()+"<Relationship ", 1)
	return zipped(t, parts)
}

// mainElement writes an element in the namespace of spreadsheets.
func mainElement(name, inside string) string {
	return fmt.Sprintf(`<%[1]s xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">%[2]s</%[1]s>`, name, inside)
}

// leads are the header and a revoke for each of the records.
func leads(records ...string) string {
	rows := bookHead
	for _, record := range records {
		rows += "<row>" + texts("revoke", "lead", record, "u") + "</row>"
	}
	return rows
}

// Which sheet of a workbook is read, and what is told about it.
func TestBookChoice(t *testing.T) {
	t.Parallel()
	notes := "<row>" + texts("Notes") + "</row><row>" + texts("ask Jo") + "</row>"
	for _, tc := range []struct {
		name, sheet string
		tabs        []rawTab
		record      string // of the first row; "" where the workbook is refused
		want        sheet.Worksheet
		reason      string
		hint        string
	}{
		{name: "hidden in front", tabs: []rawTab{{name: "Old", state: "hidden", rows: leads("1")}, {name: "Leavers", rows: leads("2")}},
			record: "2", want: sheet.Worksheet{Name: "Leavers"}},
		{name: "very hidden in front", tabs: []rawTab{{name: "Old", state: "veryHidden", rows: leads("1")}, {name: "Leavers", rows: leads("2")}},
			record: "2", want: sheet.Worksheet{Name: "Leavers"}},
		{name: "a state that nobody knows", tabs: []rawTab{{name: "Old", state: "obscured", rows: leads("1")}, {name: "Leavers", rows: leads("2")}},
			record: "2", want: sheet.Worksheet{Name: "Leavers"}},
		{name: "hidden and named", sheet: "old", tabs: []rawTab{{name: "Old", state: "hidden", rows: leads("1")}, {name: "Leavers", rows: leads("2")}},
			record: "1", want: sheet.Worksheet{Name: "Old", Hidden: true}},
		{name: "others with rows and without", tabs: []rawTab{{name: "Export Summary", rows: notes}, {name: "Empty"}, {name: "Title", rows: "<row>" + texts("Title") + "</row>"}, {name: "Leavers", rows: leads("2")}, {name: "After", rows: notes}},
			record: "2", want: sheet.Worksheet{Name: "Leavers", Others: []string{"Export Summary", "After"}}},
		{name: "others where one was named", sheet: "Leavers", tabs: []rawTab{{name: "Export Summary", rows: notes}, {name: "Leavers", rows: leads("2")}},
			record: "2", want: sheet.Worksheet{Name: "Leavers"}},
		{name: "chart, dialog and macros in front", tabs: []rawTab{{name: "C", kind: "chartsheet"}, {name: "D", kind: "dialogsheet"}, {name: "M", kind: "xlMacrosheet"}, {name: "Module1", kind: "missing"}, {name: "Leavers", rows: leads("2")}},
			record: "2", want: sheet.Worksheet{Name: "Leavers"}},
		{name: "a header alone and one with rows", tabs: []rawTab{{name: "Form", rows: leads()}, {name: "Leavers", rows: leads("2")}},
			record: "2", want: sheet.Worksheet{Name: "Leavers"}},
		{name: "white space at the end", sheet: "leavers", tabs: []rawTab{{name: "Sheet1", rows: leads("1")}, {name: "Leavers ", rows: leads("2")}},
			record: "2", want: sheet.Worksheet{Name: "Leavers "}},
		{name: "exact before the same", sheet: "Leavers", tabs: []rawTab{{name: "Leavers ", rows: leads("1")}, {name: "Leavers", rows: leads("2")}},
			record: "2", want: sheet.Worksheet{Name: "Leavers"}},

		{name: "two with rows", tabs: []rawTab{{name: "Leavers", rows: leads("1")}, {name: "Leavers December", rows: leads("2")}},
			reason: `the sheets "Leavers", "Leavers December" all have a header and rows`,
			hint:   `Say which one is meant, for instance with --sheet "Leavers".`},
		{name: "name that is not there", sheet: "Levers", tabs: []rawTab{{name: "Leavers ", rows: leads("1")}, {name: "Old", state: "hidden"}, {name: "C", kind: "chartsheet"}},
			reason: `the workbook has no sheet "Levers"`,
			hint:   `Did you mean "Leavers "? Its sheets are "Leavers ", "Old" (hidden), "C" (a chart).`},
		{name: "name of two", sheet: "leavers", tabs: []rawTab{{name: "Leavers ", rows: leads("1")}, {name: " Leavers", rows: leads("1")}},
			reason: `"leavers" can be each of the sheets "Leavers ", " Leavers"`, hint: "Give its name with the same letters and blanks."},
		{name: "name of a chart", sheet: "C", tabs: []rawTab{{name: "C", kind: "chartsheet"}, {name: "Leavers", rows: leads("1")}},
			reason: `the sheet "C" is a chart and has no rows`},
		{name: "none of ours", tabs: []rawTab{{name: "Sheet", rows: notes}, {name: "C", kind: "chartsheet"}, {name: "Old", state: "hidden", rows: leads("1")}},
			reason: `sheet "Sheet": the header lacks the needed columns action, object, record_id, user`,
			hint:   `The workbook's sheets are "Sheet", "C" (a chart), "Old" (hidden); --sheet says which one is read. The hidden sheet "Old" has the needed columns: show it, or name it with --sheet.`},
		{name: "none of ours, and a header below a title", tabs: []rawTab{{name: "Sheet", rows: notes}, {name: "Plan", rows: notes}, {name: "My data", rows: notes + "<row>" + texts("action", "object", "record_id", "user") + "</row>"}},
			reason: `sheet "Sheet": the header lacks the needed columns action, object, record_id, user`,
			hint:   `--sheet says which one is read. In sheet "My data" row 3 looks like the header: give --sheet "My data" --header-row 3.`},
		{name: "none of ours, the first empty", tabs: []rawTab{{name: "Sheet"}, {name: "Notes", rows: notes}},
			reason: `sheet "Sheet": the sheet is empty, it has no header`,
			hint:   `The workbook's sheets are "Sheet", "Notes"; --sheet says which one is read.`},
		{name: "none visible", tabs: []rawTab{{name: "C", kind: "chartsheet"}, {name: "Old", state: "hidden", rows: leads("1")}},
			reason: "the workbook has no visible sheet with rows",
			hint:   `Its sheets are "C" (a chart), "Old" (hidden). The hidden sheet "Old" has the needed columns: show it, or name it with --sheet.`},
		{name: "a header that may be one", tabs: []rawTab{{name: "Old", rows: leads("1")}, {name: "New", rows: "<row>" + texts("action", "object", "record_id") + "<c><f>A9</f></c></row><row>" + texts("x") + "</row>"}},
			reason: `the sheets "Old", "New" all have a header and rows`, hint: `Say which one is meant, for instance with --sheet "Old".`},
		{name: "another one is damaged at its beginning", tabs: []rawTab{{name: "Old", rows: leads("1")}, {name: "New", rows: "<row><c><v>abc</v></c></row>"}},
			reason: `the cell says that it is a number, and holds "abc"`, hint: "Open the workbook in a spreadsheet, mend the cell and save it."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, records, err := readBook(tabsBook(t, tc.tabs...), sheet.Options{Sheet: tc.sheet})
			if tc.record == "" {
				e := refused(t, err)
				if e.Reason != tc.reason || !strings.HasSuffix(e.Hint, tc.hint) {
					t.Errorf("got  %s / %s\nwant %s / %s", e.Reason, e.Hint, tc.reason, tc.hint)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := records[0].Fields.Record; got != tc.record {
				t.Errorf("got record %s, want %s", got, tc.record)
			}
			if diff := cmp.Diff(tc.want, *r.Worksheet()); diff != "" {
				t.Errorf("worksheet (-want +got):\n%s", diff)
			}
			if got := r.Layout().Sheet; got != tc.want.Name {
				t.Errorf("the layout is of sheet %q, want %q", got, tc.want.Name)
			}
		})
	}
}

// Rows that a workbook hides are refused, rows or no rows, as it was said.
func TestBookHiddenRows(t *testing.T) {
	t.Parallel()
	row := func(attrs, record string) string {
		return "<row " + attrs + ">" + texts("revoke", "lead", record, "u") + "</row>"
	}
	three := bookHead + row("", "1") + row(`hidden="1"`, "2") + row(`hidden="true"`, "3")
	const hint = "Show them or delete them; or say what is meant: --hidden-rows send takes them like all others, --hidden-rows skip leaves them out."
	const filter = `<autoFilter ref="A1:D4"><filterColumn colId="0"><filters><filter val="x"/></filters></filterColumn></autoFilter>`
	const idle = `the sheet "S" has a filter that hides no row, as where it was set and not applied`
	const setFilter = "Apply the filter in a spreadsheet (or clear it) and save; --hidden-rows send takes all rows."
	for _, tc := range []struct {
		name, rows, after string
		reason, hint      string // of the refusal, if there is one
		skipped           string // the records that are left where hidden ones are skipped; "" is a refusal
		hidden            int
	}{
		{"hidden", three, "", `2 of the 3 rows of sheet "S" are hidden or filtered out (lines 3, 4)`, hint, "1", 2},
		{"hidden by a filter", three, filter, `2 of the 3 rows of sheet "S" are hidden or filtered out (lines 3, 4)`, hint, "1", 2},
		{"no height", bookHead + row(`ht="0" customHeight="1"`, "1") + row("", "2"), "", `1 of the 2 rows of sheet "S" is hidden or filtered out (line 2)`, hint, "2", 1},
		{"a closed group", bookHead + row(`outlineLevel="1" hidden="1"`, "1") + row(`collapsed="1"`, "2"), "", `1 of the 2 rows of sheet "S" is hidden or filtered out (line 2)`, hint, "2", 1},
		{"many", bookHead + strings.Repeat(row(`hidden="1"`, "1"), 8) + row("", "2"), "",
			`8 of the 9 rows of sheet "S" are hidden or filtered out (lines 2, 3, 4, 5, 6 and 3 more)`, hint, "2", 8},
		{"an open group", bookHead + row(`outlineLevel="1"`, "1"), "", "", "", "1", 0},
		{"hidden and blank", bookHead + row("", "1") + `<row hidden="1"><c><v></v></c></row>`, "", "", "", "1", 0},
		{"a hidden header", strings.Replace(bookHead, `<row r="1"`, `<row r="1" hidden="1"`, 1) + row("", "1"), "", "", "", "1", 0},
		{"hidden by default, these are not", bookHead + row("", "1"), "", "", "", "1", 0},
		{"buttons of a filter", bookHead + row("", "1"), `<autoFilter ref="A1:D2"><filterColumn colId="0" hiddenButton="1"/></autoFilter>`, "", "", "1", 0},
		{"a filter that nobody applied", bookHead + row("", "1"), filter, idle, setFilter, "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			parts := bookParts("", "")
			parts["xl/worksheets/sheet1.xml"] = mainElement("worksheet", `<sheetFormatPr zeroHeight="1"/><sheetData>`+tc.rows+`</sheetData>`+tc.after)
			data := zipped(t, parts)
			_, all, err := readBook(data, sheet.Options{})
			if tc.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
			} else if e := refused(t, err); e.Reason != tc.reason || e.Hint != tc.hint {
				t.Errorf("got  %s / %s\nwant %s / %s", e.Reason, e.Hint, tc.reason, tc.hint)
			}
			r, sent := mustReadBook(t, data, sheet.Options{HiddenRows: sheet.SendHidden})
			if len(sent) != len(all) || r.Worksheet().HiddenRows != tc.hidden || r.Worksheet().SkippedRows != 0 {
				t.Errorf("%d rows, %+v; want %d rows, %d of them hidden", len(sent), r.Worksheet(), len(all), tc.hidden)
			}
			r, kept, err := readBook(data, sheet.Options{HiddenRows: sheet.SkipHidden})
			if tc.skipped == "" {
				if got := refused(t, err).Reason; got != tc.reason {
					t.Errorf("with skip: got %s, want %s", got, tc.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var records []string
			for _, rec := range kept {
				records = append(records, rec.Fields.Record)
			}
			if got := strings.Join(records, " "); got != tc.skipped || r.Worksheet().SkippedRows != tc.hidden || r.Worksheet().HiddenRows != 0 {
				t.Errorf("with skip: records %s, %+v; want %s, %d skipped", got, r.Worksheet(), tc.skipped, tc.hidden)
			}
		})
	}
}

// The filter of a table stands in a part of its own.
func TestBookFilterOfTable(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, column string
		refused      bool
	}{
		{"buttons", `<filterColumn colId="0" hiddenButton="1"/>`, false},
		{"a condition", `<filterColumn colId="0"><customFilters><customFilter val="x"/></customFilters></filterColumn>`, true},
	} {
		parts := bookParts("", "")
		parts["xl/worksheets/sheet1.xml"] = mainElement("worksheet", "<sheetData>"+leads("1")+`</sheetData><tableParts count="1"><tablePart r:id="t1"/></tableParts>`)
		parts["xl/worksheets/_rels/sheet1.xml.rels"] = `<Relationships><Relationship Id="t1" Type="http://x/table" Target="../tables/any.xml"/></Relationships>`
		parts["xl/tables/any.xml"] = mainElement("table", `<autoFilter ref="A1:D2">`+tc.column+`</autoFilter>`)
		_, _, err := readBook(zipped(t, parts), sheet.Options{})
		if got := err != nil && strings.Contains(err.Error(), "filter that hides no row"); got != tc.refused {
			t.Errorf("%s: got error %v", tc.name, err)
		}
	}
}

// All rows hidden and skipped is no row; a hidden column that means something is told.
func TestBookHiddenAll(t *testing.T) {
	t.Parallel()
	rows := bookHead + `<row hidden="1">` + texts("revoke", "lead", "1", "u") + "</row>"
	_, _, err := readBook(rawBook(t, rows, ""), sheet.Options{HiddenRows: sheet.SkipHidden})
	if got, want := refused(t, err).Reason, "the sheet has a header and no row that is not hidden"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	parts := bookParts("", "")
	parts["xl/worksheets/sheet1.xml"] = mainElement("worksheet", `<cols><col min="1" max="2" hidden="1"/><col min="4" max="4" width="0"/><col min="5" max="9" hidden="1"/></cols><sheetData>`+leads("1")+"</sheetData>")
	r, _ := mustReadBook(t, zipped(t, parts), sheet.Options{})
	if diff := cmp.Diff([]string{"action", "object", "user"}, r.Worksheet().HiddenColumns); diff != "" {
		t.Errorf("hidden columns (-want +got):\n%s", diff)
	}
}

// A text has no sheets.
func TestSheetOfText(t *testing.T) {
	t.Parallel()
	r, err := sheet.Open(strings.NewReader(head+"revoke,lead,1,u\n"), "s.csv", sheet.Options{})
	if err != nil || r.Worksheet() != nil || r.Layout().Sheet != "" {
		t.Errorf("got worksheet %+v and error %v of a text", r.Worksheet(), err)
	}
}
