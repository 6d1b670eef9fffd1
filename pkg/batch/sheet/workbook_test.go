package sheet_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// The parts of a workbook are where its relationships say, whatever they are called.
func TestBookParts(t *testing.T) {
	t.Parallel()
	const main, rel = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
	move := func(parts map[string]string, from, to string) {
		parts[to] = parts[from]
		delete(parts, from)
	}
	replace := func(parts map[string]string, name, from, to string) {
		if !strings.Contains(parts[name], from) {
			t.Fatalf("%s has no %s", name, from)
		}
		parts[name] = strings.ReplaceAll(parts[name], from, to)
	}
	for _, tc := range []struct {
		name   string
		change func(parts map[string]string)
		want   string // of the refusal, "" where it is read
	}{
		{"as usual", func(map[string]string) {}, ""},
		{"shared strings by another name", func(p map[string]string) {
			move(p, "xl/sharedStrings.xml", "xl/strings.xml")
			replace(p, rel, "sharedStrings.xml", "strings.xml")
		}, ""},
		{"shared strings by another name, and others by the usual one", func(p map[string]string) {
			p["xl/strings.xml"] = p["xl/sharedStrings.xml"]
			p["xl/sharedStrings.xml"] = mainElement("sst", "<si><t>999</t></si><si><t>998</t></si>")
			replace(p, rel, "sharedStrings.xml", "strings.xml")
		}, ""},
		{"shared strings by a rooted name", func(p map[string]string) {
			move(p, "xl/sharedStrings.xml", "other/Strings.XML")
			replace(p, rel, `Target="sharedStrings.xml"`, `Target="/other/strings.xml"`)
		}, ""},
		{"styles by another name", func(p map[string]string) {
			move(p, "xl/styles.xml", "xl/looks.xml")
			replace(p, rel, "styles.xml", "looks.xml")
		}, ""},
		{"the sheet by another name, and a stray one by the usual one", func(p map[string]string) {
			p["xl/tabs/a.xml"] = p["xl/worksheets/sheet1.xml"]
			p["xl/worksheets/sheet1.xml"] = mainElement("worksheet", "<sheetData>"+leads("999")+"</sheetData>")
			replace(p, rel, "worksheets/sheet1.xml", "tabs/a.xml")
		}, ""},
		{"the workbook by another name", func(p map[string]string) {
			move(p, main, "xl/book.xml")
			move(p, rel, "xl/_rels/book.xml.rels")
			replace(p, "_rels/.rels", main, "/xl/book.xml")
		}, ""},
		{"the workbook in the root", func(p map[string]string) {
			for _, name := range slices.Collect(maps.Keys(p)) {
				if rest, ok := strings.CutPrefix(name, "xl/"); ok {
					move(p, name, rest)
				}
			}
			replace(p, "_rels/.rels", main, "workbook.xml")
		}, ""},
		{"folders of Windows", func(p map[string]string) {
			for _, name := range slices.Collect(maps.Keys(p)) {
				move(p, name, strings.ReplaceAll(name, "/", `\`))
			}
		}, ""},
		{"the strict variant", func(p map[string]string) {
			for name := range p {
				p[name] = strings.NewReplacer("http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://purl.oclc.org/ooxml/spreadsheetml/main",
					"http://schemas.openxmlformats.org/officeDocument/2006/relationships", "http://purl.oclc.org/ooxml/officeDocument/relationships").Replace(p[name])
			}
		}, ""},
		{"what other programs add", func(p map[string]string) {
			replace(p, "xl/worksheets/sheet1.xml", "<sheetData>", `<mc:AlternateContent xmlns:mc="http://m"><mc:Choice><sheetData><row/></sheetData></mc:Choice></mc:AlternateContent><x:sheetData xmlns:x="http://x"><x:row/></x:sheetData><sheetData>`)
			replace(p, "xl/worksheets/sheet1.xml", "</sheetData>", `</sheetData><extLst><ext><x14:conditionalFormattings xmlns:x14="http://x"><sheetData><row/></sheetData></x14:conditionalFormattings></ext></extLst>`)
			replace(p, main, "<sheets>", `<x15:sheets xmlns:x15="http://x"/><definedNames><definedName name="_xlnm._FilterDatabase" localSheetId="0" hidden="1">S!$A$1:$D$2</definedName></definedNames><externalReferences/><sheets>`)
		}, ""},
		{"what other programs say of the same things", func(p map[string]string) {
			replace(p, main, "<sheets>", `<x:workbookPr xmlns:x="http://x" date1904="1"/><x:sheets xmlns:x="http://x"><x:sheet name="T" r:id="r2"/></x:sheets><sheets>`)
			replace(p, main, `<sheet name="S" sheetId="1" r:id="r1"`, `<sheet name="S" sheetId="1" r:id="r1" x:state="hidden" x:id="r2" x:name="T" xmlns:x="http://x"`)
			replace(p, "xl/worksheets/sheet1.xml", `<c t="s">`, `<c t="s" x:t="n" x:r="Z9" xmlns:x="http://x">`)
		}, ""},
		{"in UTF-16", func(p map[string]string) {
			for name, text := range p {
				var wide strings.Builder
				for _, unit := range utf16.Encode([]rune("\ufeff" + `<?xml version="1.0" encoding="UTF-16"?>` + text)) {
					wide.WriteByte(byte(unit))
					wide.WriteByte(byte(unit >> 8))
				}
				p[name] = wide.String()
			}
		}, ""},
		{"prefixes for everything", func(p map[string]string) {
			for _, name := range []string{main, "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml"} {
				p[name] = regexp.MustCompile(`<(/?)(\w)`).ReplaceAllString(p[name], "<${1}x:${2}")
				replace(p, name, "xmlns=", "xmlns:x=")
			}
		}, ""},
		{"a large picture", func(p map[string]string) { p["xl/media/a.png"] = strings.Repeat("x", 3<<20) }, ""},

		{"no shared strings", func(p map[string]string) { delete(p, "xl/sharedStrings.xml") },
			"the workbook is damaged: it has no part xl/sharedStrings.xml"},
		{"shared strings that nobody names", func(p map[string]string) { replace(p, rel, "/sharedStrings", "/somethingElse") },
			"the workbook is damaged: a cell has text 1 of 0"},
		{"shared strings that are something else", func(p map[string]string) { p["xl/sharedStrings.xml"] = mainElement("comments", "") },
			"the workbook is damaged: xl/sharedStrings.xml: it is a comments and not a sst"},
		{"shared strings outside", func(p map[string]string) {
			replace(p, rel, `Target="sharedStrings.xml"`, `TargetMode="External" Target="http://example.com/s.xml"`)
		}, "the workbook is damaged: a cell has text 1 of 0"},
		{"shared strings cut off", func(p map[string]string) { replace(p, "xl/sharedStrings.xml", "</sst>", "") },
			"the workbook is damaged: xl/sharedStrings.xml: XML syntax error on line 1: unexpected EOF"},
		{"no styles", func(p map[string]string) { delete(p, "xl/styles.xml") },
			"the workbook is damaged: it has no part xl/styles.xml"},
		{"no workbook", func(p map[string]string) { delete(p, main) }, "the workbook is damaged: it has no part xl/workbook.xml"},
		{"no relationships", func(p map[string]string) { delete(p, "_rels/.rels") },
			"the workbook is damaged: it does not say where its workbook is"},
		{"a binary workbook", func(p map[string]string) { replace(p, "_rels/.rels", main, "xl/workbook.bin") }, "is a binary workbook (.xlsb)"},
		{"a document", func(p map[string]string) { p[main] = "<document/>" },
			"the workbook is damaged: xl/workbook.xml: it is a document and not a workbook"},
		{"one relationship twice", func(p map[string]string) { replace(p, rel, `Id="r3"`, `Id="r1"`) },
			`the workbook is damaged: xl/workbook.xml: the relationship "r1" is there twice`},
		{"shared strings in two parts", func(p map[string]string) {
			p["xl/more.xml"] = mainElement("sst", "<si><t>999</t></si><si><t>998</t></si>")
			replace(p, rel, "</Relationships>", `<Relationship Id="r9" Type="http://x/sharedStrings" Target="more.xml"/></Relationships>`)
		}, "the workbook is damaged: xl/workbook.xml: there are two parts of the kind sharedStrings"},
		{"two workbooks", func(p map[string]string) {
			replace(p, "_rels/.rels", "</Relationships>", `<Relationship Id="r9" Type="http://x/officeDocument" Target="other.xml"/></Relationships>`)
		}, "the workbook is damaged: it names two workbooks"},
		{"two sheets of one name", func(p map[string]string) {
			replace(p, main, "</sheets>", `<sheet name="S" sheetId="2" r:id="r2"/></sheets>`)
		}, `the workbook is damaged: xl/workbook.xml: two sheets are called "S"`},
		{"the first sheet is not there, the second is ours", func(p map[string]string) {
			replace(p, main, "<sheets>", `<sheets><sheet name="Leavers" sheetId="2" r:id="r9"/>`)
			replace(p, rel, "</Relationships>", `<Relationship Id="r9" Type="http://x/worksheet" Target="worksheets/sheet9.xml"/></Relationships>`)
		}, "the workbook is damaged: it has no part xl/worksheets/sheet9.xml"},
		{"in another encoding", func(p map[string]string) {
			p["xl/sharedStrings.xml"] = `<?xml version="1.0" encoding="ISO-8859-1"?>` + p["xl/sharedStrings.xml"]
		},
			"the workbook is damaged: xl/sharedStrings.xml: it says that it is written in ISO-8859-1, and parts of a workbook are in UTF-8 or UTF-16"},
		{"elements without end", func(p map[string]string) {
			replace(p, "xl/worksheets/sheet1.xml", "<sheetData>", "<sheetPr>"+strings.Repeat("<a>", 300)+strings.Repeat("</a>", 300)+"</sheetPr><sheetData>")
		}, "the workbook is damaged: xl/worksheets/sheet1.xml: over 256 elements stand in each other"},
		{"elements without end among the styles", func(p map[string]string) {
			replace(p, "xl/styles.xml", "</styleSheet>", strings.Repeat("<a>", 300)+strings.Repeat("</a>", 300)+"</styleSheet>")
		}, "the workbook is damaged: xl/styles.xml: over 256 elements stand in each other"},
		{"runs without end", func(p map[string]string) { replace(p, "xl/sharedStrings.xml", "<t>u</t>", "<r><r><t>u</t></r></r>") },
			"the workbook is damaged: xl/sharedStrings.xml: a run of text is inside another"},
		{"a remark without end", func(p map[string]string) {
			replace(p, "xl/worksheets/sheet1.xml", "<sheetData>", "<!--"+strings.Repeat("<a>", 1<<19)+"--><sheetData>")
		}, "the workbook is damaged: xl/worksheets/sheet1.xml: a tag or text is over 1 MiB"},
		{"a text without end", func(p map[string]string) {
			replace(p, "xl/sharedStrings.xml", "<t>u</t>", "<t><![CDATA["+strings.Repeat("<a>", 1<<19)+"]]></t>")
		}, "the workbook is damaged: xl/sharedStrings.xml: a tag or text is over 1 MiB"},
		{"merged cells without end", func(p map[string]string) {
			replace(p, "xl/worksheets/sheet1.xml", "</sheetData>", "</sheetData><mergeCells>"+strings.Repeat(`<mergeCell ref="X1:Y1"/>`, 1<<16+1)+"</mergeCells>")
		}, "the workbook is damaged: xl/worksheets/sheet1.xml: it has over 65536 merged cells"},
		{"hidden columns without end", func(p map[string]string) {
			replace(p, "xl/worksheets/sheet1.xml", "<sheetData>", "<cols>"+strings.Repeat(`<col min="9" max="9" hidden="1"/>`, 1<<16+1)+"</cols><sheetData>")
		}, "the workbook is damaged: xl/worksheets/sheet1.xml: it has over 65536 hidden columns"},
		{"one part twice", func(p map[string]string) { p["XL/sharedStrings.xml"] = "" },
			`the workbook is damaged: it has two parts named "xl/sharedStrings.xml"`},
		{"rows in two places", func(p map[string]string) {
			replace(p, "xl/worksheets/sheet1.xml", "</sheetData>", "</sheetData><sheetData/>")
		}, "the workbook is damaged: xl/worksheets/sheet1.xml: it has rows in two places"},
		{"a chart for a worksheet", func(p map[string]string) { p["xl/worksheets/sheet1.xml"] = mainElement("chartsheet", "") },
			"the workbook is damaged: xl/worksheets/sheet1.xml: it is a chartsheet and not a worksheet"},
		{"a sheet cut off", func(p map[string]string) { replace(p, "xl/worksheets/sheet1.xml", "</worksheet>", "") },
			"the workbook is damaged: xl/worksheets/sheet1.xml: XML syntax error on line 1: unexpected EOF"},
		{"no sheet", func(p map[string]string) { replace(p, main, `<sheet name="S" sheetId="1" r:id="r1"/>`, "") },
			"the workbook has no visible sheet with rows"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			parts := bookParts(bookHead+"<row>"+texts("revoke", "lead")+`<c t="s"><v>0</v></c><c t="s"><v>1</v></c><c s="3"/></row>`, "<si><t>869191</t></si><si><t>u</t></si>")
			tc.change(parts)
			_, records, err := readBook(zipped(t, parts), sheet.Options{})
			if tc.want != "" {
				if got := refused(t, err).Reason; got != tc.want {
					t.Errorf("got  %s\nwant %s", got, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(records) != 1 || records[0].Fields.Record != "869191" || records[0].Fields.User != "u" {
				t.Errorf("got %+v, want record 869191 and user u", records)
			}
		})
	}
}
