package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// formatNames says which endings of a file's name promise a format, and what the
// format is called in messages. Endings that are not here, .txt among them, promise
// nothing and may be used for anything.
var formatNames = map[string]string{
	".csv": "CSV", ".tsv": "tab-separated text",
	".xlsx": "an Excel workbook", ".xlsm": "an Excel workbook with macros", ".xlsb": "a binary Excel workbook",
	".xls": "an old Excel workbook", ".xltx": "an Excel template", ".xltm": "an Excel template",
	".ods": "an OpenDocument spreadsheet", ".fods": "an OpenDocument spreadsheet", ".numbers": "a Numbers spreadsheet",
	".gsheet": "a shortcut to a Google sheet", ".parquet": "Parquet", ".pdf": "PDF",
	".json": "JSON", ".jsonl": "JSON lines", ".yaml": "YAML", ".yml": "YAML", ".xml": "XML", ".md": "Markdown",
	".html": "HTML", ".htm": "HTML", ".doc": "a Word document", ".docx": "a Word document", ".odt": "an OpenDocument text",
	".zip": "a ZIP archive", ".gz": "gzip", ".7z": "a 7z archive", ".db": "a database", ".sqlite": "a database", ".prom": "metrics",
}

// The endings that each kind of file may have, beside those that promise nothing.
var (
	sheetEndings   = []string{".csv", ".tsv", ".txt", ".xlsx"} // of what is read
	resultEndings  = []string{".csv", ".tsv", ".xlsx"}
	textEndings    = []string{".csv", ".tsv"}
	ledgerEndings  = []string{".db", ".sqlite"}
	reportEndings  = []string{".html", ".htm"}
	summaryEndings = []string{".json"}
	metricsEndings = []string{".prom"}
)

// checkFormat refuses a name whose ending promises another format than what is
// written there: a program that opens r.ods by its name cannot read CSV.
func checkFormat(flag, path string, endings []string) error {
	ending := strings.ToLower(filepath.Ext(path))
	promised, known := formatNames[ending]
	if !known || slices.Contains(endings, ending) {
		return nil
	}
	last := len(endings) - 1
	choices := endings[last]
	if last > 0 {
		choices = strings.Join(endings[:last], ", ") + " or " + choices
	}
	return refusef(fmt.Sprintf("Give it a name that ends in %s.", choices),
		"%s %s: the name says %s, and that is not what is written there", flag, path, promised)
}
