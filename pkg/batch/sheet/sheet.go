// Package sheet turns a spreadsheet into records, and does nothing else: it
// knows how sheets are written and what their columns are called, not what a
// valid row is.
//
// Text input (.csv, .tsv, .txt, standard input) is streamed, and so are the rows of an
// .xlsx. Blank rows are skipped, also those that have nothing but delimiters and white
// space.
//
// What can not be read without guessing is refused with file, line and column; a
// Reader never repairs a cell. The cells of a record are those of the input, byte
// for byte, so that the result can give them back; the fields beside them are
// trimmed and carry the names of the tool.
package sheet

import (
	"fmt"
	"strings"
)

// Layout is how the input is written, so that the result can be written the
// same way. It is kept as JSON in the ledger.
type Layout struct {
	Delimiter string // ",", ";", "\t" or "|"; "," for an .xlsx
	Newline   string // "\n" or "\r\n": the line end of the header; "\n" for an .xlsx
	// BOM says that the result starts with a UTF-8 byte order mark: the input had
	// one, was UTF-16, or was .xlsx.
	BOM bool
	// Sheet is the name of the sheet of an .xlsx; "" for a text.
	Sheet string `json:",omitempty"`
	// Columns are the header cells as read, without the result block. An unnamed
	// column is "" here; whether it is dropped is known at the end only.
	Columns []string
	// Keep holds, for each of Columns, its index in the input's rows.
	Keep []int
	// Mapped holds, by position in Columns, what Options.Map makes of columns: the
	// name that Column returns. It is nil where no mapping has a say.
	Mapped map[int]string `json:",omitempty"`
	// IsResult says that the input ended in exactly the ten result columns: it is
	// the result of an earlier run. The block is cut off.
	IsResult bool
	// Dropped are the positions in Columns of unnamed columns that were empty in
	// every row, rising. The result leaves them out. It is final only after the last
	// record.
	Dropped []int
	// Dates are the positions in Columns of those in which an .xlsx holds dates as
	// spreadsheets store them, and no text that reads like one, rising. A workbook may
	// hold them so again: DateOf tells the cells apart. It is final only after the last
	// record.
	Dates []int `json:",omitempty"`
}

// SummarySheet is the name of the sheet that a result in .xlsx has before that of its rows.
const SummarySheet = "Summary"

// Record is one row: its cells as read, and the fields that the tool knows.
// Nothing in it is shared with the reader; it may be kept.
type Record struct {
	// Line is the 1-based line of the row's first character in the input; in an
	// .xlsx the number of the row.
	Line int
	// Cells has one element per Layout.Columns, as read: decoded to UTF-8 and
	// unquoted, white space and CR LF inside quotes kept. In an .xlsx, a number is as
	// it is stored, a date or time in ISO 8601 with a space between the two, however it
	// is shown, a truth value TRUE or FALSE, an error as it is shown.
	Cells  []string
	Fields Fields
	// CallID is what the block of a result file says of the row's call, or empty.
	CallID string
	// Problem, if not nil, says that the row is invalid by itself, seen from how the
	// sheet stores it.
	Problem *Problem
}

// Problem is what makes a row invalid at this level: a numeric cell of an .xlsx
// that can not hold the identifier it stands for, or a formula without a value. Column
// is the canonical name, or the sheet's where the column means nothing to us.
type Problem struct {
	Column string
	Reason string // a sentence that says how to mend it
}

// Options say how to open a sheet. The zero value is for text input.
type Options struct {
	// Sheet names the sheet of an .xlsx, without regard to case and white space; empty
	// is the first that is visible and has a header of ours.
	Sheet string
	// HiddenRows says what is meant where an .xlsx hides rows.
	HiddenRows HiddenRows
	// Map gives columns of the sheet a meaning, over the one that their names have. A
	// later mapping of a header replaces an earlier one.
	Map []Mapping
	// HeaderRow is the line of a text, or the row of an .xlsx, that holds the header;
	// what stands above it is passed over. 0 is the first that is not blank. The header
	// of a result file is where it was written, in the first row.
	HeaderRow int
	// AnyHeader takes whatever header there is, without a meaning: for those who ask how
	// a file is written. Map and HeaderRow have no say then.
	AnyHeader bool
	// AllowEmpty takes a sheet that has a header and no row.
	AllowEmpty bool
	// Path is the .xlsx as a real file. Where it is empty, the .xlsx is read from
	// Open's reader.
	Path string
}

// HiddenRows is what becomes of rows that an .xlsx hides, by hand, in a closed group
// or by a filter. A person who has filtered a list may mean what is shown, or all of
// it.
type HiddenRows int

const (
	RefuseHidden HiddenRows = iota // the sheet is refused if it has any
	SendHidden                     // they are rows like all others
	SkipHidden                     // they are not in the sheet
)

// Worksheet is which sheet of an .xlsx was read, and what of it a person does not see
// who opens the file. The counts are final after the last record.
type Worksheet struct {
	Name          string   `json:"name"`
	Hidden        bool     `json:"hidden"`                   // the sheet itself: it was named
	HiddenRows    int      `json:"hidden_rows"`              // among the records
	SkippedRows   int      `json:"skipped_rows"`             // hidden, and not among them
	HiddenColumns []string `json:"hidden_columns,omitempty"` // that mean something, by our names
	// Others are the visible sheets with rows that were left alone, as none was named.
	Others []string `json:"others,omitempty"`
}

// Notes says in sentences what a person should know about the sheet who does not see
// the file; none where it is all there is.
func (w *Worksheet) Notes() (notes []string) {
	if w == nil {
		return nil
	}
	if w.Hidden {
		notes = append(notes, fmt.Sprintf("the sheet %s is hidden in the workbook", quote(w.Name)))
	}
	if len(w.Others) > 0 {
		var quoted []string
		for _, name := range w.Others {
			quoted = append(quoted, quote(name))
		}
		notes = append(notes, fmt.Sprintf("the sheet %s is read; left alone, as they have no header of ours: %s", quote(w.Name), listed(quoted)))
	}
	switch {
	case w.HiddenRows == 1:
		notes = append(notes, "1 of the rows is hidden in the workbook or filtered out, and counts like all others (--hidden-rows send)")
	case w.HiddenRows > 1:
		notes = append(notes, fmt.Sprintf("%d of the rows are hidden in the workbook or filtered out, and count like all others (--hidden-rows send)", w.HiddenRows))
	}
	switch {
	case w.SkippedRows == 1:
		notes = append(notes, "1 row of the workbook is hidden or filtered out, and left alone (--hidden-rows skip)")
	case w.SkippedRows > 1:
		notes = append(notes, fmt.Sprintf("%d rows of the workbook are hidden or filtered out, and left alone (--hidden-rows skip)", w.SkippedRows))
	}
	if len(w.HiddenColumns) > 0 {
		notes = append(notes, "hidden in the workbook, and read all the same: "+strings.Join(w.HiddenColumns, ", "))
	}
	return notes
}

// Of names a sheet for people: the file, and which of its sheets it is.
func (w *Worksheet) Of(file string) string {
	if w == nil {
		return file
	}
	return file + ", sheet " + quote(w.Name)
}
