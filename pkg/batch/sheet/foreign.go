package sheet

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
)

// What somebody can do who has brought another format.
const (
	saveAsText   = "Save the sheet as CSV UTF-8."
	saveAsEither = "Save it as .xlsx or as CSV UTF-8."
	exportAgain  = "Export the list again as .xlsx or as CSV UTF-8."
	openAndSave  = "Open it in a spreadsheet and save it as CSV UTF-8."
	unpack       = "Unpack it first."
)

// foreign recognises input that is no text in UTF-8 or UTF-16, or text that is no
// sheet, by its first bytes. The name tells apart what begins alike.
func foreign(head []byte, name string) *fault {
	for _, known := range []struct{ magic, reason, hint string }{
		{"\xFF\xFE\x00\x00", "is UTF-32, which is not read", saveAsText},
		{"\x00\x00\xFE\xFF", "is UTF-32, which is not read", saveAsText},
		{"\xD0\xCF\x11\xE0", "is an old Excel workbook (.xls) or an encrypted one, not text", "Save it as .xlsx without a password, or as CSV UTF-8."},
		{"\x1F\x8B", "is compressed (gzip), not text", unpack},
		{"BZh", "is compressed (bzip2), not text", unpack},
		{"\xFD7zXZ", "is compressed (xz), not text", unpack},
		{"\x28\xB5\x2F\xFD", "is compressed (zstd), not text", unpack},
		{"7z\xBC\xAF\x27\x1C", "is compressed (7z), not text", unpack},
		{"Rar!\x1A\x07", "is compressed (rar), not text", unpack},
		{"%PDF", "is a PDF document, not text", exportAgain},
		{"{\\rtf", "is an RTF document, not text", exportAgain},
		{"\x89PNG\r\n", "is a picture (PNG), not text", exportAgain},
		{"\xFF\xD8\xFF", "is a picture (JPEG), not text", exportAgain},
		{"SQLite format 3\x00", "is a database, as ledgers are, and not a sheet", "Name the sheet; its ledger is found beside it, or by --ledger."},
	} {
		if bytes.HasPrefix(head, []byte(known.magic)) {
			return &fault{reason: known.reason, hint: known.hint}
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return packed(head, name)
	case wide(head, 4):
		return &fault{reason: "looks like UTF-32, which is not read", hint: saveAsText}
	case wide(head, 2):
		return &fault{reason: "looks like UTF-16 without a byte order mark", hint: saveAsText}
	}
	return markup(strings.ToLower(trim(string(bytes.TrimPrefix(head, []byte("\xEF\xBB\xBF"))))))
}

// Beginnings that no header has: a header may begin with "<" or "[", but goes on
// with a delimiter.
var (
	jsonStart = regexp.MustCompile(`^(\{\s*("|\}\s*$)|\[\s*[{\["\]])`)
	tagStart  = regexp.MustCompile(`^<[a-z!][^>]*>\s*(<|$)`)
)

// markup recognises text that is not a sheet by its beginning in lower case.
func markup(start string) *fault {
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<table", "<meta"} {
		if strings.HasPrefix(start, tag) {
			return &fault{reason: "is an HTML page, not text", hint: "Open it in a spreadsheet and save it as CSV UTF-8; a download may have given a login page instead of the file."}
		}
	}
	switch {
	case strings.HasPrefix(start, "<?xml"), tagStart.MatchString(start):
		return &fault{reason: "is an XML document, not text", hint: openAndSave}
	case strings.HasPrefix(start, "[internetshortcut]"):
		return &fault{reason: "is a shortcut to a web page, and holds no rows", hint: "Download what it leads to as .xlsx or as CSV UTF-8."}
	case !jsonStart.MatchString(start):
		return nil
	case strings.Contains(start, `"doc_id"`), strings.Contains(start, "docs.google.com"):
		return &fault{reason: "is a shortcut of Google Drive, and holds no rows",
			hint: "Open the sheet in the browser and download it as .xlsx or .csv (File, Download)."}
	}
	return &fault{reason: "is JSON, not a sheet", hint: exportAgain}
}

// packed tells the formats that are zip archives apart.
func packed(head []byte, name string) *fault {
	has := func(part string) bool { return bytes.Contains(head, []byte(part)) }
	switch strings.ToLower(filepath.Ext(name)) {
	case ".xlsb":
		return &fault{reason: "is a binary Excel workbook (.xlsb), not text", hint: saveAsEither}
	case ".xlsm", ".xltx", ".xltm":
		return &fault{reason: "is an Excel workbook with macros or a template, not text", hint: saveAsEither}
	case ".docx", ".docm":
		return &fault{reason: "is a Word document, not text", hint: "Copy its table into a spreadsheet, ids as text, and save that as .xlsx or as CSV UTF-8."}
	case ".pptx":
		return &fault{reason: "is a presentation, not text", hint: exportAgain}
	}
	switch {
	case has("opendocument.spreadsheet"):
		return &fault{reason: "is an OpenDocument spreadsheet (.ods), not text", hint: saveAsEither}
	case has("opendocument."):
		return &fault{reason: "is an OpenDocument file, not text", hint: exportAgain}
	case has("Index/"), has(".iwa"), has("buildVersionHistory.plist"):
		return &fault{reason: "is a spreadsheet of Apple Numbers (.numbers), not text", hint: "Export it as Excel (.xlsx) or as CSV UTF-8 (File, Export To)."}
	case has("[Content_Types].xml"), has("xl/"), has("_rels/.rels"):
		return &fault{reason: "is an Excel workbook (.xlsx), not text", hint: "Give the file a name that ends in .xlsx."}
	}
	return &fault{reason: "is a zip archive, not text", hint: "Unpack it first; an Excel workbook needs a name that ends in .xlsx."}
}
