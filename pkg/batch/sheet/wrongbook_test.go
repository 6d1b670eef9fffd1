package sheet_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

func TestBookRefusals(t *testing.T) {
	t.Parallel()
	row := func(n int, cells string) string { return fmt.Sprintf(`<row r="%d">%s</row>`, n, cells) }
	good := texts("revoke", "lead", "1", "u")
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"text", []byte(head + "revoke,lead,1,u\n"), "is not an .xlsx workbook"},
		{"nothing", nil, "is not an .xlsx workbook"},
		{"xls", []byte("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"), "is an old Excel workbook (.xls) or an encrypted one, not text"},
		{"cut off", book(t, []any{"action"})[:900], "the workbook is damaged: zip: not a valid zip file"},
		{"empty sheet", book(t), ":1: the sheet is empty, it has no header"},
		{"no row", rawBook(t, bookHead, ""), "the sheet has a header and no row"},
		{"needed column missing", rawBook(t, row(3, texts("action", "object", "user")), ""), ":3: the header lacks the needed column record_id"},
		{"column twice", rawBook(t, row(1, texts("action", "object", "record_id", "user", "Operation")), ""),
			`:1:5 (Operation): column 5 "Operation" says the same as column 1 "action"`},
		{"row too wide", rawBook(t, bookHead+row(2, good)+row(9, good+texts("", "x")), ""), ":9:5: the row has 6 fields, the header has 4"},
		{"record too long", rawBook(t, bookHead+row(2, texts("revoke", strings.Repeat("l", 65<<10), "1", "u")), ""), ":2:2 (object): the record is over 64 KiB"},
		{"broken XML", rawBook(t, bookHead+row(2, good)+`<row r="3"><c>`, ""),
			"the workbook is damaged: xl/worksheets/sheet1.xml: XML syntax error on line 1: element <c> closed by </sheetData>"},
		{"control character", rawBook(t, bookHead+row(2, texts("revoke", "le\x01ad", "1", "u")), ""),
			"the workbook is damaged: xl/worksheets/sheet1.xml: XML syntax error on line 1: illegal character code U+0001"},
		{"shared string missing", rawBook(t, bookHead+row(2, texts("revoke", "lead")+`<c t="s"><v>1</v></c>`+texts("u")), "<si><t>12</t></si>"),
			"the workbook is damaged: a cell has text 2 of 1"},
		{"shared string negative", rawBook(t, bookHead+row(2, texts("revoke", "lead")+`<c t="s"><v>-1</v></c>`+texts("u")), "<si><t>12</t></si>"),
			`the workbook is damaged: xl/worksheets/sheet1.xml: a cell of row 2 has text "-1"`},
		{"rows out of order", rawBook(t, bookHead+row(3, good)+row(2, good), ""),
			`the workbook is damaged: xl/worksheets/sheet1.xml: in row 3, "2" comes after 3`},
		{"cells out of order", rawBook(t, bookHead+row(2, `<c r="B2"><v>1</v></c><c r="A2"><v>2</v></c>`), ""),
			`the workbook is damaged: xl/worksheets/sheet1.xml: in row 2, "1" comes after 2`},
		{"cell of another row", rawBook(t, bookHead+row(2, `<c r="A3"><v>1</v></c>`), ""),
			`the workbook is damaged: xl/worksheets/sheet1.xml: a cell of row 2 is called "A3"`},
		{"row number too high", rawBook(t, bookHead+row(1<<30, good), ""),
			"the workbook is damaged: xl/worksheets/sheet1.xml: it goes to row 1073741824, column 0"},
		{"text without end", rawBook(t, bookHead+row(2, texts(strings.Repeat("x", 2<<20))), ""),
			"the workbook is damaged: xl/worksheets/sheet1.xml: a tag or text is over 1 MiB"},
		{"path out of the archive", zipped(t, map[string]string{"../x.xml": ""}), `the workbook is damaged: it has a part named "../x.xml"`},
		{"huge list of sheets", hugePart(t, "_rels/.rels"), "the workbook is damaged: _rels/.rels: it is over 64 MiB"},
		{"nothing inside", zipped(t, map[string]string{"xl/media/a.png": ""}), "the workbook is damaged: it does not say where its workbook is"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := readBook(tc.data, sheet.Options{})
			got, want := refused(t, err).Error(), "s.xlsx"+tc.want
			if !strings.HasPrefix(tc.want, ":") {
				want = "s.xlsx: " + tc.want
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// hugePart packs a part that says it is larger than what is taken into memory.
func hugePart(t testing.TB, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if _, err := w.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, UncompressedSize64: 65 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func FuzzBook(f *testing.F) {
	f.Add(bookHead+`<row r="2">`+texts("revoke", "lead", "1", "u")+`</row>`, "<si><t>x</t></si>")
	f.Add(bookHead+`<row><c r="A2" t="s"><v>0</v></c><c s="3"><v>45123</v></c><c t="b"><v>1</v></c></row>`, "<si><t>x</t></si>")
	f.Add(bookHead+`<row r="4" s="9"><c r="D4" t="d"><v>2026-01-01T00:00:00Z</v></c></row>`, "<si><r><t>x</t></r></si>")
	f.Fuzz(func(t *testing.T, rows, shared string) {
		r, records, err := readBook(rawBook(t, rows, shared), sheet.Options{})
		line := 0
		for _, rec := range records {
			if rec.Line <= line || len(rec.Cells) != len(r.Layout().Columns) {
				t.Fatalf("got line %d with %d cells after line %d", rec.Line, len(rec.Cells), line)
			}
			line = rec.Line
		}
		if err != nil {
			refused(t, err)
		}
	})
}

// A part that is not what its checksum says is refused, whichever it is.
func TestBookChecksums(t *testing.T) {
	t.Parallel()
	parts := bookParts(leads("1"), "<si><t>x</t></si>")
	for wrong := range parts {
		if wrong == "[Content_Types].xml" {
			continue // it says nothing that is needed
		}
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for name, text := range parts {
			sum := crc32.ChecksumIEEE([]byte(text))
			if name == wrong {
				sum++
			}
			part, err := w.CreateRaw(&zip.FileHeader{Name: name, CRC32: sum, CompressedSize64: uint64(len(text)), UncompressedSize64: uint64(len(text))})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := part.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_, _, err := readBook(b.Bytes(), sheet.Options{})
		if got, want := refused(t, err).Reason, "the workbook is damaged: "+wrong+": zip: checksum error"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
