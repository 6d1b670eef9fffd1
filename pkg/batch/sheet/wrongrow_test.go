package sheet_test

import (
	"strings"
	"testing"
)

// The hint of a row that is no row says what the cause seems to be.
func TestWrongRows(t *testing.T) {
	t.Parallel()
	const (
		good    = "revoke,lead,1,u\n"
		quotes  = `A cell that contains the delimiter or a quote must stand in quotes.`
		twice   = `A quote that belongs to the text is written twice, as "", in a cell that begins and ends with a quote.`
		comment = `The line looks like a comment, and a sheet has none: delete it.`
		mark    = `The line holds ^Z, the end mark of DOS programs: delete it.`
		early   = `The row ends early: was it cut off, or does it lack its empty cells? Each column needs one, also at the end.`
		note    = `The line is one cell: a title, a total or a note is no row, delete it.`
		ends    = `save the sheet again with line ends of Windows or Unix, and transfer it as it is (binary).`
	)
	for _, tc := range []struct {
		name, text string
		line       int
		want       string // the whole hint
	}{
		{"a comma at the end", head + good + "revoke,lead,1,u,\n", 3,
			"The row ends in 1 comma more than the header: take it off the end of the rows, or add as many to the end of the header."},
		{"semicolons at the end", strings.ReplaceAll(head+"revoke,lead,1,u,, \n", ",", ";"), 2,
			"The row ends in 2 semicolons more than the header: take them off the end of the rows, or add as many to the end of the header."},
		{"a tab at the end", strings.ReplaceAll(head+"revoke,lead,1,u,\n", ",", "\t"), 2,
			"The row ends in 1 tab more than the header: take it off the end of the rows, or add as many to the end of the header."},
		{"a comma in a cell", head + "revoke,lead,1,u,v\n", 2, quotes},
		{"a comma in a cell and one at the end", head + "revoke,lead,1,u,v,\n", 2, quotes},
		{"empty cells left out", head + "revoke,lead,1\n" + good, 2, early},
		{"cut off in the last row", head + good + "revoke,lead,1", 3, "The sheet ends in the middle of its last row: was it cut off?"},
		{"cut off in the first cell", head + good + "rev", 3, "The sheet ends in the middle of its last row: was it cut off?"},
		{"a line break in a cell", head + "revoke,lead,1\n2,u\n" + good, 2,
			"The row seems to go on in line 3: a cell with a line break in it must stand in quotes."},
		{"semicolons in the rows", head + "revoke;lead;1;u\n", 2,
			"The row is separated by semicolons and the header by commas: save the whole sheet with the same."},
		{"semicolons in the rows, commas in a cell", head + "revoke;lead;1;u, v\n", 2,
			"The row is separated by semicolons and the header by commas: save the whole sheet with the same."},
		{"commas in the rows", strings.ReplaceAll(head, ",", "|") + good, 2,
			"The row is separated by commas and the header by bars: save the whole sheet with the same."},
		{"tabs in a short row", head + "revoke\tlead\t1\n", 2,
			"The row is separated by tabs and the header by commas: save the whole sheet with the same."},
		{"a comment between", head + good + "# from here on: sales\n" + good, 3, comment},
		{"a comment without a space", head + "#sales\n" + good, 2, comment},
		{"a comment with delimiters", head + "# sales, service\n" + good, 2, comment},
		{"a comment of another language", head + "// sales\n" + good, 2, comment},
		{"a comment of SQL", head + "-- 3 rows\n" + good, 2, comment},
		{"a number that begins with a sign", "ticket," + head + "#12," + good + "#13,revoke,lead\n#14," + good, 3, early},
		{"the end mark", head + good + "\x1a", 3, mark},
		{"the end mark and a line end", head + good + "\x1a\x1a\r\n", 3, mark},
		{"the end mark between two files", head + good + "\x1a" + "\n" + good, 3, mark},
		{"another sheet below", head + good + "action,object,record_id,user,access\nshare,Leads,1,u,read\n", 3,
			"The row is a header with other columns: are these two sheets in one file? Give each its own."},
		{"a total", head + good + "3 rows\n", 3, note},
		{"twice converted line ends", head + "revoke,lead,1,u\r\r\n", 2, "The line ends in CR CR LF, as where line ends were converted twice: " + ends},
		{"twice converted line ends from the header on", strings.ReplaceAll(head+good, "\n", "\r\r\n"), 1,
			"The line ends in CR CR LF, as where line ends were converted twice: " + ends},
		{"old line ends", strings.ReplaceAll(head+good, "\n", "\r"), 1, "Save the sheet with line ends of Windows or Unix."},
		{"a space after a quote", head + "revoke,\"lead\" ,1,u\n", 2, "There is white space between the quote and the delimiter: take it out."},
		{"a space after the last quote", head + "revoke,lead,1,\"u\" \r\n", 2, "There is white space between the quote and the delimiter: take it out."},
		{"a space before a quote", head + "revoke, \"lead\",1,u\n", 2, "There is white space between the delimiter and the quote: take it out."},
		{"a backslash", head + "revoke,lead,1,\"u \\\"v\\\"\"\n", 2, `A quote that belongs to the text is written twice, as "", and not with a backslash.`},
		{"text after a quote", head + "revoke,\"le\"ad,1,u\n", 2, twice},
		{"a bare quote", head + "revoke,le\"ad,1,u\n", 2, twice},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := read(tc.text, "s.csv")
			if e := refused(t, err); e.Hint != tc.want || e.Line != tc.line {
				t.Errorf("line %d: %s\ngot  %s\nwant line %d, %s", e.Line, e.Reason, e.Hint, tc.line, tc.want)
			}
		})
	}
}

// What is no sheet at all is called by its name, whatever the file is called.
func TestForeignText(t *testing.T) {
	t.Parallel()
	const zip = "PK\x03\x04\x14\x00"
	for _, tc := range []struct {
		name, file, text string
		reason, hint     string // hint is a part of it
	}{
		{"list of objects", "s.csv", `[{"action":"revoke"}]`, "is JSON, not a sheet", "Export the list again"},
		{"list of lists", "-", "[\n  [\"action\"]\n]", "is JSON, not a sheet", "Export the list again"},
		{"an object", "s.csv", "\ufeff{\n \"rows\": []}", "is JSON, not a sheet", "Export the list again"},
		{"a line for each", "s.txt", "{\"action\":\"revoke\"}\n{\"action\":\"revoke\"}\n", "is JSON, not a sheet", "Export the list again"},
		{"a shortcut", "list.gsheet", `{"doc_id":"abc"}`, "is a shortcut of Google Drive, and holds no rows", "download it as .xlsx or .csv"},
		{"an old shortcut", "list.csv", `{"url": "https://docs.google.com/open?id=abc"}`, "is a shortcut of Google Drive, and holds no rows", "download it as .xlsx or .csv"},
		{"a link", "list.csv", "[InternetShortcut]\r\nURL=https://example.com\r\n", "is a shortcut to a web page, and holds no rows", "Download what it leads to"},
		{"a document without declaration", "s.csv", "<Workbook><Row>", "is an XML document, not text", "Open it in a spreadsheet"},
		{"a fragment of a page", "s.csv", "<div class=\"x\">\n<span>", "is an XML document, not text", "Open it in a spreadsheet"},
		{"Numbers", "s.numbers", zip + "\x00\x00Index/Document.iwa", "is a spreadsheet of Apple Numbers (.numbers), not text", "Export it"},
		{"Numbers by another name", "s.csv", zip + "\x00\x00Index/Document.iwa", "is a spreadsheet of Apple Numbers (.numbers), not text", "Export it"},
		{"an OpenDocument text", "s.odt", zip + "mimetypeapplication/vnd.oasis.opendocument.text", "is an OpenDocument file, not text", "Export the list again"},
		{"a binary workbook", "s.xlsb", zip + "[Content_Types].xml", "is a binary Excel workbook (.xlsb), not text", "Save it as .xlsx"},
		{"macros", "S.XLSM", zip + "[Content_Types].xml", "is an Excel workbook with macros or a template, not text", "Save it as .xlsx"},
		{"Word", "s.docx", zip + "[Content_Types].xml", "is a Word document, not text", "Copy its table"},
		{"7z", "s.csv", "7z\xBC\xAF\x27\x1C", "is compressed (7z), not text", "Unpack it first."},
		{"rar", "s.csv", "Rar!\x1A\x07\x01\x00", "is compressed (rar), not text", "Unpack it first."},
		{"a screenshot", "s.png", "\x89PNG\r\n\x1A\n", "is a picture (PNG), not text", "Export the list again"},
		{"a photograph", "s.jpg", "\xFF\xD8\xFF\xE0", "is a picture (JPEG), not text", "Export the list again"},
		{"a ledger", "s.ledger.db", "SQLite format 3\x00\x10\x00", "is a database, as ledgers are, and not a sheet", "Name the sheet"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := read(tc.text, tc.file)
			e := refused(t, err)
			if e.Reason != tc.reason || !strings.Contains(e.Hint, tc.hint) || e.Line != 0 {
				t.Errorf("got %q with hint %q, want %q with hint %q", e.Error(), e.Hint, tc.reason, tc.hint)
			}
		})
	}
}

// Headers may begin with what those formats begin with.
func TestHeadersLikeMarkup(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"<Owner>", "[Lead No]", "{Lead}", "[", "<", "{}x", "#", "<a> b", "[x] \"y\""} {
		text := "action;object;record_id;user;" + first + "\nrevoke;lead;1;u;x\n"
		if strings.Contains(first, `"`) {
			text = strings.ReplaceAll(text, first, `"`+strings.ReplaceAll(first, `"`, `""`)+`"`)
		}
		for _, text := range []string{text, swapped(text)} {
			if _, records, err := read(text, "s.csv"); err != nil || len(records) != 1 {
				t.Errorf("%q: got %v", text, err)
			}
		}
	}
}

// swapped puts the last column of a text first.
func swapped(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		cells := strings.TrimSuffix(line, "\n")
		i := strings.LastIndex(cells, ";")
		lines = append(lines, cells[i+1:]+";"+cells[:i]+"\n")
	}
	return strings.Join(lines, "")
}
