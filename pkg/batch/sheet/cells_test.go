package sheet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

const neverCalculated = "a formula that was never calculated: open the workbook in a spreadsheet and save it, or paste values"

// A formula without a stored value is a fault of its cell, in every column; one whose
// result is the empty text is a blank cell.
func TestBookFormulas(t *testing.T) {
	t.Parallel()
	cell := func(attrs, inside string) string { return "<c " + attrs + "><f>A9</f>" + inside + "</c>" }
	for _, tc := range []struct {
		name, cell string
		never      bool
		value      string
	}{
		{"no value", cell("", ""), true, ""},
		{"an empty value, as openpyxl writes", cell("", "<v></v>"), true, ""},
		{"an empty element", cell("", "<v/>"), true, ""},
		{"white space", cell("", "<v> </v>"), true, ""},
		{"no value of a text", cell(`t="str"`, ""), true, ""},
		{"the empty text", cell(`t="str"`, "<v></v>"), false, ""},
		{"a text", cell(`t="str"`, "<v>x</v>"), false, "x"},
		{"a number", cell("", "<v>7</v>"), false, "7"},
		{"no truth value", cell(`t="b"`, "<v/>"), true, ""},
		{"no error", cell(`t="e"`, ""), true, ""},
		{"an error", cell(`t="e"`, "<v>#REF!</v>"), false, "#REF!"},
		{"no shared text", cell(`t="s"`, "<v/>"), true, ""},
		{"shared with another cell", `<c><f t="shared" si="0"/></c>`, true, ""},
		{"shared with another cell, calculated", `<c><f t="shared" si="0"/><v>7</v></c>`, false, "7"},
		{"an array of one cell", `<c><f t="array" ref="C2">A9</f></c>`, true, ""},
		{"an array that was calculated", `<c><f t="array" ref="C2:C4">A9</f><v>7</v></c>`, false, "7"},
		{"an empty cell", `<c/>`, false, ""},
	} {
		for column, header := range []string{"action", "object", "record_id", "user", "note", "access", ""} {
			t.Run(tc.name+" in "+header, func(t *testing.T) {
				t.Parallel()
				row := make([]string, 7)
				for i := range row {
					row[i] = texts("x")
				}
				row[column] = tc.cell
				head := `<row r="1">` + texts("action", "object", "record_id", "user_email", "note", "access", "", "z") + `</row>`
				_, records := mustReadBook(t, rawBook(t, head+`<row r="2">`+strings.Join(row, "")+`</row>`, ""), sheet.Options{})
				if got := records[0].Cells[column]; got != tc.value {
					t.Errorf("got %q, want %q", got, tc.value)
				}
				want := ""
				if tc.never {
					if want = header; want == "" {
						want = "column 7"
					}
					want += ": " + neverCalculated
				}
				got := ""
				if p := records[0].Problem; p != nil {
					got = p.Column + ": " + p.Reason
				}
				if got != want {
					t.Errorf("got problem  %q\nwant %q", got, want)
				}
			})
		}
	}
}

// A row of nothing but formulas without a value is a row, and so is one where they
// stand at the end; beside the table and in the header they refuse the sheet.
func TestBookFormulasByPlace(t *testing.T) {
	t.Parallel()
	const never = `<c><f>A9</f></c>`
	_, records := mustReadBook(t, rawBook(t, leads("1")+"<row>"+strings.Repeat(never, 4)+"</row>", ""), sheet.Options{})
	if len(records) != 2 || records[1].Problem == nil || records[1].Line != 3 {
		t.Errorf("got %+v, want two rows, the second invalid", records)
	}
	blank := `<c t="str"><f>A9</f><v></v></c>`
	if _, records = mustReadBook(t, rawBook(t, leads("1")+"<row>"+strings.Repeat(blank, 4)+"</row>", ""), sheet.Options{}); len(records) != 1 {
		t.Errorf("got %d rows, want that of empty texts skipped", len(records))
	}
	for _, tc := range []struct{ name, rows, want string }{
		{"beside the table", bookHead + "<row>" + texts("revoke", "lead", "1", "u") + never + "</row>", "s.xlsx:2:5: the row has 5 fields, the header has 4"},
		{"in the header", "<row>" + texts("action", "object", "record_id") + never + "</row><row>" + texts("x") + "</row>", "s.xlsx:1:4: a formula that was never calculated"},
		{"over several rows", leads("1") + `<row><c><f t="array" ref="A3:A9">X</f></c></row>`, "s.xlsx:3:1 (action): a formula that fills the cells A3:A9 was never calculated"},
		{"a table of data", leads("1") + `<row><c><f t="dataTable" ref="A3:B9"/></c></row>`, "s.xlsx:3:1 (action): a formula that fills the cells A3:B9 was never calculated"},
	} {
		_, _, err := readBook(rawBook(t, tc.rows, ""), sheet.Options{})
		if got := refused(t, err).Error(); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

// A workbook that asks for its formulas to be calculated when it is opened, or was
// saved before they were, stores values that mean nothing: libraries write 0.
func TestBookStaleFormulas(t *testing.T) {
	t.Parallel()
	for setting, stale := range map[string]bool{
		"": false, `<calcPr calcId="191029"/>`: false, `<calcPr fullCalcOnLoad="0" calcCompleted="1"/>`: false,
		`<calcPr fullCalcOnLoad="1"/>`: true, `<calcPr fullCalcOnLoad="true"/>`: true, `<calcPr calcMode="manual" calcCompleted="0"/>`: true,
	} {
		parts := bookParts(bookHead+"<row>"+texts("revoke", "lead")+"<c><f>Z1</f><v>0</v></c>"+texts("u")+"</row>", "")
		parts["xl/workbook.xml"] = strings.Replace(parts["xl/workbook.xml"], "</workbook>", setting+"</workbook>", 1)
		_, records := mustReadBook(t, zipped(t, parts), sheet.Options{})
		if got := records[0].Problem != nil; got != stale {
			t.Errorf("with %q: is a problem: %v, want %v", setting, got, stale)
		}
	}
}

// What a cell holds is what is read, of whatever kind it is, or the cell is refused.
func TestBookCells(t *testing.T) {
	t.Parallel()
	const shared = `<si><t>plain</t></si><si><r><rPr><b/></rPr><t xml:space="preserve">in </t></r><r><t>parts</t></r><rPh sb="0" eb="1"><t>SPOKEN</t></rPh><phoneticPr fontId="1"/></si><si><t>a_x000D_b_x005F_x000D__xZZZZ__xD83D__xDE00__xD800_</t></si><si/>`
	refusal := func(what, value string) string {
		return fmt.Sprintf("the cell says that it is %s, and holds %q", what, value)
	}
	for _, tc := range []struct{ name, cell, want, reason string }{
		{"shared", `<c t="s"><v>0</v></c>`, "plain", ""},
		{"shared, by a number with blanks", `<c t="s"><v> 0 </v></c>`, "plain", ""},
		{"shared in runs, with a pronunciation", `<c t="s"><v>1</v></c>`, "in parts", ""},
		{"escaped", `<c t="s"><v>2</v></c>`, "a\rb_x000D__xZZZZ_\U0001F600_xD800_", ""},
		{"shared and empty", `<c t="s"><v>3</v></c>`, "", ""},
		{"inline", `<c t="inlineStr"><is><t> own </t></is></c>`, " own ", ""},
		{"inline in runs", `<c t="inlineStr"><is><r><t>a</t></r><r><t>b</t></r><rPh sb="0" eb="1"><t>SPOKEN</t></rPh></is></c>`, "ab", ""},
		{"inline and empty", `<c t="inlineStr"><is/></c>`, "", ""},
		{"inline without a text", `<c t="inlineStr"/>`, "", ""},
		{"formula text, escaped", `<c t="str"><f>A1</f><v>a_x0009_b</v></c>`, "a\tb", ""},
		{"text without a formula", `<c t="str"><v>x</v></c>`, "x", ""},
		{"comments inside", `<c><v>4<!-- x -->2</v></c>`, "42", ""},
		{"true", `<c t="b"><v>1</v></c>`, "TRUE", ""},
		{"false in letters", `<c t="b"><v>false</v></c>`, "FALSE", ""},
		{"an error", `<c t="e"><v>#DIV/0!</v></c>`, "#DIV/0!", ""},
		{"a number", `<c t="n"><v>-1.50</v></c>`, "-1.5", ""},
		{"a number of zero", `<c><v>0</v></c>`, "0", ""},
		{"a share that is shown as percent", `<c s="4"><v>0.5</v></c>`, "0.5", ""},
		{"a number that is shown rounded", `<c s="1"><v>1234.5</v></c>`, "1234.5", ""},
		{"a number that is not shown", `<c s="5"><v>7</v></c>`, "7", ""},
		{"a date", `<c s="3"><v>46356</v></c>`, "2026-11-30", ""},
		{"a date shown the German way", `<c s="6"><v>46356</v></c>`, "2026-11-30", ""},
		{"a date with a time that is not shown", `<c s="3"><v>46356.5</v></c>`, "2026-11-30 12:00:00", ""},
		{"a time", `<c s="7"><v>0.75</v></c>`, "18:00:00", ""},
		{"hours beyond a day", `<c s="8"><v>1.5</v></c>`, "36:00:00", ""},
		{"the day that never was", `<c s="3"><v>60</v></c>`, "1900-02-29", ""},
		{"the first days", `<c s="3"><v>59</v></c>`, "1900-02-28", ""},
		{"a date before all dates", `<c s="3"><v>-1</v></c>`, "-1", ""},
		{"a date after all dates", `<c s="3"><v>2958466</v></c>`, "2958466", ""},
		{"stored as a date", `<c t="d"><v>2026-11-30</v></c>`, "2026-11-30", ""},
		{"stored as a date at midnight", `<c t="d"><v>2026-11-30T00:00:00Z</v></c>`, "2026-11-30", ""},
		{"stored as a date with a time", `<c t="d"><v>2026-11-30T08:30:00.000</v></c>`, "2026-11-30 08:30:00", ""},
		{"stored as a time", `<c t="d"><v>08:30:00</v></c>`, "08:30:00", ""},
		{"a text that looks like a number", texts("0012"), "0012", ""},
		{"a text with an apostrophe before it", `<c s="9" t="inlineStr"><is><t>007</t></is></c>`, "007", ""},
		{"a remark of another program", `<c><v>1</v><extLst><ext><v xmlns="http://other">2</v></ext></extLst></c>`, "1", ""},

		{"not a number", `<c><v>abc</v></c>`, "", refusal("a number", "abc")},
		{"not a number of ours", `<c><v>0x1F</v></c>`, "", refusal("a number", "0x1F")},
		{"no number", `<c><v>NaN</v></c>`, "", refusal("a number", "NaN")},
		{"too large", `<c><v>1e999</v></c>`, "", refusal("a number", "1e999")},
		{"not true", `<c t="b"><v>2</v></c>`, "", refusal("a truth value", "2")},
		{"not a date", `<c t="d"><v>soon</v></c>`, "", refusal("a date", "soon")},
		{"a kind that there is not", `<c t="x"><v>1</v></c>`, "", refusal(`of the kind "x"`, "1")},
		{"a text that is not in it", `<c t="inlineStr"><v>x</v></c>`, "", refusal("text that stands in it", "x")},
		{"a text in a number", `<c><is><t>x</t></is></c>`, "", refusal("text that stands in it", "x")},
		{"two values", `<c><v>1</v><v>2</v></c>`, "", "the workbook is damaged: xl/worksheets/sheet1.xml: a cell of row 2 has two values"},
		{"two values of two kinds", `<c t="inlineStr"><is><t>1</t></is><v>2</v></c>`, "", "the workbook is damaged: xl/worksheets/sheet1.xml: a cell of row 2 has two values"},
		{"something in a value", `<c><v>1<b/></v></c>`, "", "the workbook is damaged: xl/worksheets/sheet1.xml: an element b is inside a text"},
		{"a style that there is not", `<c s="99"><v>1</v></c>`, "", `the workbook is damaged: xl/worksheets/sheet1.xml: a cell of row 2 has style "99" of 10`},
		{"alternatives", `<mc:AlternateContent xmlns:mc="http://m"><mc:Choice><c><v>1</v></c></mc:Choice></mc:AlternateContent>`, "",
			"the workbook is damaged: xl/worksheets/sheet1.xml: there are several alternatives of a cell"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			parts := bookParts(`<row r="1">`+texts("note", "action", "object", "record_id", "user")+`</row><row r="2">`+tc.cell+`<c r="E2" t="inlineStr"><is><t>u</t></is></c></row>`, shared)
			parts["xl/styles.xml"] = mainElement("styleSheet", `<numFmts><numFmt numFmtId="164" formatCode="00000"/><numFmt numFmtId="165" formatCode=";;;"/><numFmt numFmtId="166" formatCode="dd\.mm\.yyyy"/><numFmt numFmtId="167" formatCode="[h]:mm"/></numFmts>`+
				`<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="1"/><xf numFmtId="164"/><xf numFmtId="14"/><xf numFmtId="9"/><xf numFmtId="165"/><xf numFmtId="166"/><xf numFmtId="20"/><xf numFmtId="167"/><xf numFmtId="0" quotePrefix="1"/></cellXfs>`)
			_, records, err := readBook(zipped(t, parts), sheet.Options{})
			if tc.reason != "" {
				e := refused(t, err)
				if e.Reason != tc.reason {
					t.Errorf("got  %s\nwant %s", e.Reason, tc.reason)
				}
				if strings.HasPrefix(tc.reason, "the cell") && (e.Line != 2 || e.Column != 1) {
					t.Errorf("the refusal names line %d, column %d; want 2 and 1", e.Line, e.Column)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := records[0].Cells[0]; got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// Days are counted from 1900 or from 1904 on, as the workbook says.
func TestBookEpoch(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"": "2026-11-30", `<workbookPr date1904="0"/>`: "2026-11-30", `<workbookPr date1904="1"/>`: "2030-12-01", `<workbookPr date1904="true"/>`: "2030-12-01",
		`<workbookPr filterPrivacy="1"/>`: "2026-11-30",
	} {
		parts := bookParts(bookHead+"<row>"+texts("revoke", "lead", "1")+`<c s="3"><v>46356</v></c></row>`, "")
		parts["xl/workbook.xml"] = strings.Replace(parts["xl/workbook.xml"], "<sheets>", setting+"<sheets>", 1)
		_, records := mustReadBook(t, zipped(t, parts), sheet.Options{})
		if got := records[0].Cells[3]; got != want {
			t.Errorf("with %q: got %s, want %s", setting, got, want)
		}
	}
}

// Which columns have dates is kept, unless one has a text too that reads as a date.
func TestBookDates(t *testing.T) {
	t.Parallel()
	day, typed := `<c s="3"><v>46356</v></c>`, texts("2026-11-30")
	row := "<row>" + texts("revoke", "lead", "1", "u")
	parts := bookParts(`<row r="1">`+texts("action", "object", "record_id", "user", "dates", "mixed", "typed", "some", "iso", "clock")+"</row>"+
		row+day+day+typed+texts("n/a")+`<c t="d"><v>2026-11-30T14:05:09</v></c>`+`<c s="3"><v>0.5</v></c></row>`+
		row+day+typed+typed+day+`<c/><c s="3"><v>0.25</v></c></row>`+
		row+`<c/>`+day+`</row>`, "")
	r, records := mustReadBook(t, zipped(t, parts), sheet.Options{})
	if got, want := r.Layout().Dates, []int{4, 7, 8}; !slices.Equal(got, want) {
		t.Errorf("dates are in the columns %v, want %v; the rows are %v", got, want, records)
	}
}

func TestDateOf(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"2026-11-30": "2026-11-30 00:00:00 false", "2026-11-30 14:05:09": "2026-11-30 14:05:09 true", "1900-03-01": "1900-03-01 00:00:00 false", "9999-12-31 23:59:59": "9999-12-31 23:59:59 true",
		"": "", "2026-02-30": "", "1900-02-29": "", "1900-02-28": "", "2026-11-30 00:00:00": "", "2026-11-30 1:05:09": "", "2026-11-30T14:05:09": "", " 2026-11-30": "", "2026-11-30 ": "", "30-11-2026": "", "14:05:09": "", "0026-11-30": "",
	} {
		when, clock, ok := sheet.DateOf(cell)
		got := ""
		if ok {
			got = fmt.Sprint(when.Format(time.DateTime), " ", clock)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", cell, got, want)
		}
	}
}

// A value that spreads over several cells is stored in one of them: the others are
// not empty to whoever looks, and nobody guesses which were meant.
func TestBookMergedCells(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, ref, want string }{
		{"down a column that matters", "D2:D3", "s.xlsx:2:4 (user): the cells D2:D3 are merged, so that one value stands for several cells"},
		{"along a row", "C3:D3", "s.xlsx:3:3 (record_id): the cells C3:D3 are merged, so that one value stands for several cells"},
		{"in the header", "A1:B1", "s.xlsx:1:1 (action): the cells A1:B1 are merged, so that one value stands for several cells"},
		{"from the header down", "$A$1:$A$2", "s.xlsx:1:1 (action): the cells $A$1:$A$2 are merged, so that one value stands for several cells"},
		{"two areas", `A2:A3"/><mergeCell ref="B2:B3`, "s.xlsx:2:1 (action): the cells A2:A3 are merged, so that one value stands for several cells; 2 areas of the table are merged in all"},
		{"no name", "here", `s.xlsx: the workbook is damaged: xl/worksheets/sheet1.xml: merged cells are called "here"`},
		{"one cell", "A2", ""},
		{"below the table", "A4:B9", ""},
		{"beside the table", "F1:G2", ""},
	} {
		parts := bookParts("", "")
		parts["xl/worksheets/sheet1.xml"] = mainElement("worksheet", "<sheetData>"+leads("1", "2")+`</sheetData><mergeCells count="1"><mergeCell ref="`+tc.ref+`"/></mergeCells>`)
		_, records, err := readBook(zipped(t, parts), sheet.Options{})
		got := ""
		if err != nil {
			got = refused(t, err).Error()
		}
		if got != tc.want || tc.want == "" && len(records) != 2 {
			t.Errorf("%s: got  %s\nwant %s", tc.name, got, tc.want)
		}
	}
	// A title above the header may be as wide as it likes.
	parts := bookParts("", "")
	title := `<row r="1">` + texts("Leavers") + `</row>` + strings.Replace(leads("1"), `<row r="1">`, "<row>", 1)
	parts["xl/worksheets/sheet1.xml"] = mainElement("worksheet", "<sheetData>"+title+`</sheetData><mergeCells><mergeCell ref="A1:D1"/></mergeCells>`)
	if _, records := mustReadBook(t, zipped(t, parts), sheet.Options{HeaderRow: 2}); len(records) != 1 {
		t.Errorf("got %d rows under a title, want 1", len(records))
	}
}

// A number format may be offered in two forms to choose from, as Excel does for dates
// in some languages: the dates are dates all the same. What other programs have added
// under the format's own names says nothing of them.
func TestBookFormatsToChooseFrom(t *testing.T) {
	t.Parallel()
	const choice = `<numFmts><mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><mc:Choice Requires="x16r2">` +
		`<numFmt numFmtId="170" formatCode="[$-409]d mmm yyyy" x16r2:formatCode16="[$-en-US,1]d mmm yyyy" xmlns:x16r2="http://x16r2"/></mc:Choice>` +
		`<mc:Fallback><numFmt numFmtId="170" formatCode="[$-409]d mmm yyyy"/></mc:Fallback></mc:AlternateContent></numFmts>`
	const foreign = `<x:numFmts xmlns:x="http://x"><x:numFmt numFmtId="170" formatCode="yyyy"/></x:numFmts>`
	for name, tc := range map[string]struct{ formats, want string }{
		"a date in two forms":   {choice, "2026-11-30"},
		"another program's":     {foreign, "46356"},
		"one that says nothing": {`<numFmts><numFmt numFmtId="170" formatCode="0" x:formatCode="yyyy" xmlns:x="http://x"/></numFmts>`, "46356"},
	} {
		parts := bookParts(bookHead+"<row>"+texts("revoke", "lead", "1")+`<c s="1"><v>46356</v></c></row>`, "")
		parts["xl/styles.xml"] = mainElement("styleSheet", tc.formats+`<cellXfs><xf numFmtId="0"/><xf numFmtId="170"/></cellXfs>`)
		_, records := mustReadBook(t, zipped(t, parts), sheet.Options{})
		if got := records[0].Cells[3]; got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}
