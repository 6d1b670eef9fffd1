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
func foreign(head []byte, name string) *Error {
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
			return &Error{Reason: known.reason, Hint: known.hint}
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return packed(head, name)
	case wide(head, 4):
		return &Error{Reason: "looks like UTF-32, which is not read", Hint: saveAsText}
	case wide(head, 2):
		return &Error{Reason: "looks like UTF-16 without a byte order mark", Hint: saveAsText}
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
func markup(start string) *Error {
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<table", "<meta"} {
		if strings.HasPrefix(start, tag) {
			return &Error{Reason: "is an HTML page, not text", Hint: "Open it in a spreadsheet and save it as CSV UTF-8; a download may have given a login page instead of the file."}
		}
	}
	switch {
	case strings.HasPrefix(start, "<?xml"), tagStart.MatchString(start):
		return &Error{Reason: "is an XML document, not text", Hint: openAndSave}
	case strings.HasPrefix(start, "[internetshortcut]"):
		return &Error{Reason: "is a shortcut to a web page, and holds no rows", Hint: "Download what it leads to as .xlsx or as CSV UTF-8."}
	case !jsonStart.MatchString(start):
		return nil
	case strings.Contains(start, `"doc_id"`), strings.Contains(start, "docs.google.com"):
		return &Error{Reason: "is a shortcut of Google Drive, and holds no rows",
			Hint: "Open the sheet in the browser and download it as .xlsx or .csv (File, Download)."}
	}
	return &Error{Reason: "is JSON, not a sheet", Hint: exportAgain}
}

// packed tells the formats that are zip archives apart.
func packed(head []byte, name string) *Error {
	has := func(part string) bool { return bytes.Contains(head, []byte(part)) }
	switch strings.ToLower(filepath.Ext(name)) {
	case ".xlsb":
		return &Error{Reason: "is a binary Excel workbook (.xlsb), not text", Hint: saveAsEither}
	case ".xlsm", ".xltx", ".xltm":
		return &Error{Reason: "is an Excel workbook with macros or a template, not text", Hint: saveAsEither}
	case ".docx", ".docm":
		return &Error{Reason: "is a Word document, not text", Hint: "Copy its table into a spreadsheet, ids as text, and save that as .xlsx or as CSV UTF-8."}
	case ".pptx":
		return &Error{Reason: "is a presentation, not text", Hint: exportAgain}
	}
	switch {
	case has("opendocument.spreadsheet"):
		return &Error{Reason: "is an OpenDocument spreadsheet (.ods), not text", Hint: saveAsEither}
	case has("opendocument."):
		return &Error{Reason: "is an OpenDocument file, not text", Hint: exportAgain}
	case has("Index/"), has(".iwa"), has("buildVersionHistory.plist"):
		return &Error{Reason: "is a spreadsheet of Apple Numbers (.numbers), not text", Hint: "Export it as Excel (.xlsx) or as CSV UTF-8 (File, Export To)."}
	case has("[Content_Types].xml"), has("xl/"), has("_rels/.rels"):
		return &Error{Reason: "is an Excel workbook (.xlsx), not text", Hint: "Give the file a name that ends in .xlsx."}
	}
	return &Error{Reason: "is a zip archive, not text", Hint: "Unpack it first; an Excel workbook needs a name that ends in .xlsx."}
}
