package sheet_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// book writes a workbook with the given rows in its first sheet, from A1.
func book(t testing.TB, rows ...[]any) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	fillSheet(t, f, "Sheet1", rows...)
	return packed(t, f)
}

func fillSheet(t testing.TB, f *excelize.File, name string, rows ...[]any) {
	t.Helper()
	for i, row := range rows {
		if err := f.SetSheetRow(name, fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
}

func packed(t testing.TB, f *excelize.File) []byte {
	t.Helper()
	b, err := f.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rawBook packs a workbook of one sheet from the XML of its rows and of its
// shared strings.
func rawBook(t testing.TB, rows, shared string) []byte {
	t.Helper()
	return zipped(t, bookParts(rows, shared))
}

// bookParts are the parts of rawBook by name.
func bookParts(rows, shared string) map[string]string {
	const ns = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"`
	const rel = `http://schemas.openxmlformats.org/officeDocument/2006/relationships`
	return map[string]string{
		"[Content_Types].xml": `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>`,
		"_rels/.rels":         `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="` + rel + `/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
		"xl/workbook.xml":     `<workbook ` + ns + ` xmlns:r="` + rel + `"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="` + rel + `/worksheet" Target="worksheets/sheet1.xml"/>` +
			`<Relationship Id="r2" Type="` + rel + `/sharedStrings" Target="sharedStrings.xml"/><Relationship Id="r3" Type="` + rel + `/styles" Target="styles.xml"/></Relationships>`,
		"xl/styles.xml":            `<styleSheet ` + ns + `><numFmts count="1"><numFmt numFmtId="164" formatCode="00000"/></numFmts><cellXfs count="4"><xf numFmtId="0"/><xf numFmtId="1"/><xf numFmtId="164"/><xf numFmtId="14"/></cellXfs></styleSheet>`,
		"xl/sharedStrings.xml":     `<sst ` + ns + `>` + shared + `</sst>`,
		"xl/worksheets/sheet1.xml": `<worksheet ` + ns + `><sheetData>` + rows + `</sheetData></worksheet>`,
	}
}

func zipped(t testing.TB, parts map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		part, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(parts[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readBook(data []byte, opt sheet.Options) (*sheet.Reader, []sheet.Record, error) {
	r, err := sheet.Open(bytes.NewReader(data), "s.xlsx", opt)
	if err != nil {
		return nil, nil, err
	}
	records, err := collect(r)
	return r, records, err
}

func mustReadBook(t testing.TB, data []byte, opt sheet.Options) (*sheet.Reader, []sheet.Record) {
	t.Helper()
	r, records, err := readBook(data, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r, records
}

// bookHead is head as the first row of a workbook, in XML.
var bookHead = `<row r="1">` + texts("action", "object", "record_id", "user") + `</row>`

// texts writes cells that hold text.
func texts(values ...string) string {
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, `<c t="inlineStr"><is><t xml:space="preserve">%s</t></is></c>`, v)
	}
	return b.String()
}

func TestBook(t *testing.T) {
	t.Parallel()
	data := book(t,
		nil,
		[]any{"Action", "object", "record_id", "User Id", "last day", "share_related", nil, "note"},
		[]any{"revoke", "lead", 12345, " u1\u00a0", time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC), true, nil, "two\r\nlines"},
		nil,
		[]any{"revoke", "lead", "4150868000000624001", "a@b.c", nil, nil, nil, " ", "", " \u00a0"},
		[]any{"", " "},
		[]any{"revoke", "lead", 123456789012345, "u3", 1.5, false, nil, "=1+1"},
	)
	r, got := mustReadBook(t, data, sheet.Options{})
	fields := func(record, user, email, lastDay, related string) sheet.Fields {
		return sheet.Fields{Action: "revoke", Object: "lead", Record: record, User: user, Email: email, LastDay: lastDay, Related: related}
	}
	want := []sheet.Record{
		{Line: 3, Cells: []string{"revoke", "lead", "12345", " u1\u00a0", "2026-11-30", "TRUE", "", "two\r\nlines"}, Fields: fields("12345", "u1", "", "2026-11-30", "TRUE")},
		{Line: 5, Cells: []string{"revoke", "lead", "4150868000000624001", "a@b.c", "", "", "", " "}, Fields: fields("4150868000000624001", "", "a@b.c", "", "")},
		{Line: 7, Cells: []string{"revoke", "lead", "123456789012345", "u3", "1.5", "FALSE", "", "=1+1"}, Fields: fields("123456789012345", "u3", "", "1.5", "FALSE")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	layout := sheet.Layout{Delimiter: ",", Newline: "\n", BOM: true, Sheet: "Sheet1",
		Columns: []string{"Action", "object", "record_id", "User Id", "last day", "share_related", "", "note"},
		Keep:    []int{0, 1, 2, 3, 4, 5, 6, 7}, Dropped: []int{6}, Dates: []int{4}}
	if diff := cmp.Diff(layout, r.Layout()); diff != "" {
		t.Errorf("layout (-want +got):\n%s", diff)
	}
	sum := sha256.Sum256(data)
	if got, want := r.SHA256(), hex.EncodeToString(sum[:]); got != want {
		t.Errorf("got hash %s, want %s", got, want)
	}
}

// A row's line is its number, whether it says it itself or not.
func TestBookLines(t *testing.T) {
	t.Parallel()
	good := texts("revoke", "lead", "1", "u")
	_, records := mustReadBook(t, rawBook(t, bookHead+"<row>"+good+`</row><row r="5">`+good+"</row><row/><row>"+good+
		`</row><row r="9"><c r="A9" t="s"><v/></c><c r="B9"><v>7</v></c><c><v>8</v></c><c r="D9" t="b"><v>1</v></c></row>`, ""), sheet.Options{})
	var lines []int
	for _, rec := range records {
		lines = append(lines, rec.Line)
	}
	if diff := cmp.Diff([]int{2, 5, 7, 9}, lines); diff != "" {
		t.Fatalf("lines (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"", "7", "8", "TRUE"}, records[3].Cells); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
}

func TestBookIdentifiers(t *testing.T) {
	t.Parallel()
	const eaten = " is a number with more digits than a spreadsheet keeps: format the column as text and paste the ids again"
	number := func(v string, style int) string { return fmt.Sprintf(`<c s="%d"><v>%s</v></c>`, style, v) }
	for _, tc := range []struct {
		name, cell string
		value      string
		problem    string
	}{
		{"short number", number("4150", 0), "4150", ""},
		{"15 digits", number("415086800000062", 0), "415086800000062", ""},
		{"15 digits with the format 0", number("415086800000062", 1), "415086800000062", ""},
		{"15 digits with a format of its own", number("415086800000062", 2), "415086800000062", ""},
		{"15 digits, scientific in the file", number("4.15086800000062E14", 0), "415086800000062", ""},
		{"16 digits", number("4150868000000624", 0), "4.15086800000062E+15", "4.15086800000062E+15" + eaten},
		{"19 digits", number("4150868000000624001", 0), "4.15086800000062E+18", "4.15086800000062E+18" + eaten},
		{"19 digits by Excel", number("4.1508680000006241E+18", 0), "4.15086800000062E+18", "4.15086800000062E+18" + eaten},
		{"19 digits with the format 0", number("4150868000000624001", 1), "4.15086800000062E+18", "4.15086800000062E+18" + eaten},
		{"round with the format 0", number("4150870000000000000", 1), "4.15087E+18", "4.15087E+18" + eaten},
		{"a fraction that the format hides", number("4150.7", 1), "4150.7", ""},
		{"with leading zeros shown", number("123", 2), "123", ""},
		{"a date", number("45123", 3), "2023-07-16", ""},
		{"text", texts("4150868000000624001"), "4150868000000624001", ""},
		{"text that ends in zeros", texts("4150870000000000000"), "4150870000000000000", ""},
		{"text that was eaten before", texts(" 4.15087e+18 "), "4.15087e+18", "4.15087e+18" + eaten},
		{"text like it", texts("E+18"), "E+18", ""},
		{"formula text", `<c t="str"><f>A1</f><v>4150868000000624001</v></c>`, "4150868000000624001", ""},
		{"an error", `<c t="e"><v>#N/A</v></c>`, "#N/A", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, records := mustReadBook(t, rawBook(t, bookHead+`<row r="2">`+texts("revoke", "lead")+tc.cell+texts("u")+`</row>`, ""), sheet.Options{})
			if got := records[0].Fields.Record; got != tc.value {
				t.Errorf("got record_id %q, want %q", got, tc.value)
			}
			var want *sheet.Problem
			if tc.problem != "" {
				want = &sheet.Problem{Column: "record_id", Reason: tc.problem}
			}
			if diff := cmp.Diff(want, records[0].Problem); diff != "" {
				t.Errorf("problem (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBookProblemColumns(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ header, want string }{
		{"user", "user"}, {"email", "user"}, {"context_id", "context_id"}, {"note", ""}, {"duration", ""}, {"account", ""},
	} {
		row := []any{"revoke", "lead", "1", "u", 4150868000000624001}
		header := []any{"action", "object", "record_id", "UserId", tc.header}
		if tc.header == "user" {
			header[3] = "email"
		}
		_, records := mustReadBook(t, book(t, header, row), sheet.Options{})
		got := ""
		if p := records[0].Problem; p != nil {
			got = p.Column
		}
		if got != tc.want {
			t.Errorf("%s: got a problem in %q, want %q", tc.header, got, tc.want)
		}
	}
}

func TestBookSheets(t *testing.T) {
	t.Parallel()
	f := excelize.NewFile()
	defer f.Close()
	if _, err := f.NewSheet("Zweites Blatt"); err != nil {
		t.Fatal(err)
	}
	fillSheet(t, f, "Sheet1", []any{"action", "object", "record_id", "user"}, []any{"revoke", "lead", "1", "u"})
	fillSheet(t, f, "Zweites Blatt", []any{"action", "object", "record_id", "user"}, []any{"share", "lead", "2", "u"})
	data := packed(t, f)
	for name, want := range map[string]string{"Sheet1": "revoke", "Zweites Blatt": "share", " zweites  BLATT": "share"} {
		_, records := mustReadBook(t, data, sheet.Options{Sheet: name})
		if got := records[0].Fields.Action; got != want {
			t.Errorf("sheet %q: got action %q, want %q", name, got, want)
		}
	}
	_, _, err := readBook(data, sheet.Options{Sheet: "Drittes"})
	e := refused(t, err)
	if got, want := e.Error()+" / "+e.Hint, `s.xlsx: the workbook has no sheet "Drittes" / Its sheets are "Sheet1", "Zweites Blatt".`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBookFromPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "real.xlsx")
	if err := os.WriteFile(path, book(t, []any{"action", "object", "record_id", "user"}, []any{"revoke", "lead", "1", "u"}), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := sheet.Open(nil, "s.XLSX", sheet.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if records, err := collect(r); err != nil || len(records) != 1 || r.SHA256() == "" {
		t.Errorf("got %d records, hash %q, error %v", len(records), r.SHA256(), err)
	}
	if _, err := sheet.Open(nil, "s.xlsx", sheet.Options{Path: path + "x"}); !os.IsNotExist(err) && !strings.Contains(err.Error(), "read s.xlsx: ") {
		t.Errorf("got error %v for a missing file", err)
	}
}

func TestBookResult(t *testing.T) {
	t.Parallel()
	header := []any{"action", "object", "record_id", "user"}
	for _, c := range sheet.ResultColumns() {
		header = append(header, c)
	}
	r, records := mustReadBook(t, book(t, header, []any{"revoke", "lead", "1", "u", 2, "done"}), sheet.Options{})
	if l := r.Layout(); !l.IsResult || len(l.Columns) != 4 || len(records[0].Cells) != 4 {
		t.Errorf("got layout %+v and cells %q, want the block cut off", l, records[0].Cells)
	}
	f := excelize.NewFile()
	defer f.Close()
	for _, name := range []string{sheet.SummarySheet, "Notes"} {
		if _, err := f.NewSheet(name); err != nil {
			t.Fatal(err)
		}
		fillSheet(t, f, name, []any{"sheet.csv"}, []any{"1 row"})
	}
	fillSheet(t, f, "Sheet1", header, []any{"revoke", "lead", "1", "u", 2, "done"})
	r, _ = mustReadBook(t, packed(t, f), sheet.Options{})
	if w := r.Worksheet(); w.Name != "Sheet1" || !slices.Equal(w.Others, []string{"Notes"}) {
		t.Errorf("of a result with a summary it says %+v, want that Notes is left alone", w)
	}
}
