package report

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// cellKind is how a cell is stored and shown.
type cellKind int

const (
	textCell   cellKind = iota
	numberCell          // a whole number
	momentCell          // a moment of the result
	dateCell            // a date of the input
	clockCell           // a date of the input with a time of day
	cellKinds
)

// textFormat is the number format "@": what is typed into such a cell stays text.
const textFormat = 49

// cellStyles are the styles, by kind. A moment is shown as the text result has it, so that
// nothing is lost to somebody who copies or exports it, and a date as the reader of sheets
// writes it.
func cellStyles() [cellKinds]excelize.Style {
	return [cellKinds]excelize.Style{
		{NumFmt: textFormat},
		{NumFmt: 1, Alignment: &excelize.Alignment{Horizontal: "center"}}, // "0"
		{CustomNumFmt: new(`yyyy\-mm\-dd\Thh:mm:ss.000\Z`), Alignment: left()},
		{CustomNumFmt: new(`yyyy\-mm\-dd`), Alignment: left()},
		{CustomNumFmt: new(`yyyy\-mm\-dd\ hh:mm:ss`), Alignment: left()},
	}
}

const (
	// freezeWidth is how much of the left, in characters, stays where it is when the rest is
	// scrolled: some 600 pixels, so that line, result and request Id have room beside it on
	// a screen of 1366.
	freezeWidth = 80
	// sizeA4 is the number of the paper size.
	sizeA4 = 9
)

// left is where texts begin, and what is read as one.
func left() *excelize.Alignment { return &excelize.Alignment{Horizontal: "left"} }

// bold is the font of headers. One without a family would not be that of the other cells.
func bold(size float64) *excelize.Font {
	return &excelize.Font{Family: "Calibri", Size: size, Bold: true}
}

// tint is the colour of the rows with a result, light enough for black text on a screen and
// in print. A result without a colour of its own is one that waits.
func tint(word string) string {
	switch word {
	case crm.Done.String():
		return "DDF1E4"
	case crm.Unchanged.String():
		return "EFF8F2"
	case crm.Accepted.String():
		return "DCE9F8"
	case crm.Failed.String():
		return "F9D6D3"
	case crm.Uncertain.String():
		return "FDE3C3"
	case wordInvalid:
		return "E8DAF2"
	case crm.NotDue.String():
		return "FBF6D9"
	}
	return "E7EAEE"
}

// bookLook is how the rows of a workbook look.
type bookLook struct {
	path, tab string
	widths    []int
	kinds     []cellKind
	names     []string // of the columns, as "AB"
	block     int      // the first result column, 0-based
	freeze    int      // how many columns stay where they are
	scroll    int      // the first column that is shown beside them when the file is opened
}

// newBookLook decides how the rows look. widths are those of all columns that are written.
//
// Somebody who opens the sheet wants to know whom and what a row is about and what became
// of it, and the result stands behind all columns of the input, whose order is promised. So
// the first columns are frozen, up to the one that completes record and user if there is
// room for it, and where the input is wide the others are opened scrolled on to the
// result. Nothing is hidden or folded away: the columns in between are a move to the left.
func newBookLook(path string, layout sheet.Layout, widths []int) bookLook {
	l := bookLook{path: path, tab: resultTab(layout.Sheet), widths: widths, kinds: make([]cellKind, len(widths)), block: len(widths) - len(blockWidths())}
	for i := range widths {
		l.names = append(l.names, columnName(i))
	}
	room, last := freezeWidth, 0
	for i, at := range shownColumns(layout) {
		if slices.Contains(layout.Dates, at) {
			l.kinds[i] = dateCell
		}
		if room -= widths[i]; room >= 0 {
			l.freeze = i + 1
		}
		switch layout.Column(at) {
		case "record_id", "user", "user_email":
			last = i + 1
		}
	}
	if last > 0 {
		l.freeze = min(l.freeze, last)
	}
	if l.scroll = l.block; room >= 0 { // for the whole input
		l.scroll = l.freeze
	}
	for i, name := range sheet.ResultColumns() {
		switch name {
		case "line", "http_status", "attempts":
			l.kinds[l.block+i] = numberCell
		case "sent_at", "confirmed_at":
			l.kinds[l.block+i] = momentCell
		}
	}
	return l
}

// columnName names a column, 0-based, as spreadsheets do.
func columnName(i int) (name string) {
	for i++; i > 0; i = (i - 1) / 26 {
		name = string(rune('A'+(i-1)%26)) + name
	}
	return name
}

// cell names a cell of a column, 0-based, in a row, 1-based.
func (l bookLook) cell(column, row int) string { return l.names[column] + strconv.Itoa(row) }

// resultTab returns what the sheet of a result is called: as the sheet of the workbook
// that the rows came from. What Excel would not take is left.
func resultTab(source string) string {
	if strings.TrimSpace(source) == "" || sheet.Units(source) > excelize.MaxSheetNameLength || strings.ContainsAny(source, `:\/?*[]'`) ||
		strings.EqualFold(source, sheet.SummarySheet) {
		return bookSheet
	}
	return source
}

// stored returns what a cell of a kind holds, and the style that shows it as the text that
// it stands for; "" where it is to hold that text.
func stored(kind cellKind, s string) (value string, style cellKind) {
	switch kind {
	case numberCell:
		if len(s) > 15 || strings.Trim(s, "0123456789") != "" {
			return "", textCell
		}
		return s, numberCell
	case momentCell:
		t, err := time.Parse(stampFormat, s)
		if err != nil {
			return "", textCell
		}
		return serial(t), momentCell
	case dateCell:
		switch t, clock, ok := sheet.DateOf(s); {
		case ok && clock:
			return serial(t), clockCell
		case ok:
			return serial(t), dateCell
		}
	}
	return "", textCell
}

// serial returns a moment in UTC as spreadsheets count it: in days, exact to the
// millisecond.
func serial(t time.Time) string {
	const day = 24 * 60 * 60 * 1000
	first := time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	return strconv.FormatFloat(float64(t.UnixMilli()-first.UnixMilli())/day, 'f', -1, 64)
}

// frame is a workbook without its rows.
type frame struct {
	before, after       []byte // what stands around the rows in their part
	others              []*zip.File
	styles              [cellKinds]int
	header, blockHeader int // styles of the cells above the input and above the result
}

// frame makes a workbook that is to have so many rows with the header, and the summary
// unless it is nil.
func (l bookLook) frame(rows int, sum *bookSummary) (*frame, error) {
	file := excelize.NewFile()
	defer file.Close() // it is in memory only
	now := time.Now().UTC().Format(time.RFC3339)
	_, err := file.NewSheet(sheet.SummarySheet)
	err = errors.Join(err,
		file.SetDocProps(&excelize.DocProperties{Title: filepath.Base(l.path), Creator: "bulkrevoke", LastModifiedBy: "bulkrevoke", Created: now, Modified: now}),
		file.SetSheetName("Sheet1", l.tab),
		file.MoveSheet(sheet.SummarySheet, l.tab), // before what refers to sheets by their place
	)
	file.SetActiveSheet(0)
	f := &frame{}
	err = errors.Join(err, f.setStyles(file), l.setRows(file, f, rows), l.setPages(file))
	if sum != nil {
		err = errors.Join(err, sum.fill(file, l.tab))
	}
	if err != nil {
		return nil, err
	}
	packed, err := file.WriteToBuffer()
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
	if err != nil {
		return nil, err
	}
	in, err := archive.Open(rowsPart)
	if err != nil {
		return nil, err
	}
	part, err := io.ReadAll(in)
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, err
	}
	f.others = slices.DeleteFunc(archive.File, func(part *zip.File) bool { return part.Name == rowsPart })
	// excelize says that a filter is at work wherever there could be one.
	part = bytes.Replace(part, []byte(` filterMode="true"`), nil, 1)
	before, after, found := bytes.Cut(part, []byte("<sheetData></sheetData>"))
	if !found {
		return nil, errors.New("the frame of the workbook has no place for rows")
	}
	f.before, f.after = slices.Concat(before, []byte("<sheetData>")), slices.Concat([]byte("</sheetData>"), after)
	return f, nil
}

// setStyles makes the styles of the rows.
func (f *frame) setStyles(file *excelize.File) (err error) {
	var errs []error
	for kind, style := range cellStyles() {
		f.styles[kind], err = file.NewStyle(&style)
		errs = append(errs, err)
	}
	header := func(colour string) int {
		style, err := file.NewStyle(&excelize.Style{NumFmt: textFormat, Font: bold(11), Fill: fill(colour)})
		errs = append(errs, err)
		return style
	}
	f.header, f.blockHeader = header("E9ECEF"), header("CFD8E3")
	return errors.Join(errs...)
}

// fill fills a cell with a colour.
func fill(colour string) excelize.Fill {
	return excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{colour}}
}

// setRows says of the sheet with the rows how it looks.
func (l bookLook) setRows(file *excelize.File, f *frame, rows int) error {
	last := l.names[len(l.names)-1]
	whole := fmt.Sprintf("A1:%s%d", last, rows)
	panes := &excelize.Panes{Freeze: true, XSplit: l.freeze, YSplit: 1, TopLeftCell: l.cell(l.scroll, 2), ActivePane: "bottomRight"}
	panes.Selection = []excelize.Selection{{SQRef: panes.TopLeftCell, ActiveCell: panes.TopLeftCell, Pane: panes.ActivePane}}
	if l.freeze == 0 {
		panes.ActivePane, panes.TopLeftCell = "bottomLeft", "A2"
		panes.Selection = []excelize.Selection{{SQRef: "A2", ActiveCell: "A2", Pane: "bottomLeft"}}
	}
	errs := []error{
		// The sheet of a new file says that it is one cell large, and some readers believe it.
		file.SetSheetDimension(l.tab, ""),
		file.SetPanes(l.tab, panes),
		file.AutoFilter(l.tab, whole, nil),
		// Excel would offer to turn every identifier into a number.
		file.AddIgnoredErrors(l.tab, whole, excelize.IgnoredErrorsNumberStoredAsText),
		file.AddIgnoredErrors(l.tab, whole, excelize.IgnoredErrorsTwoDigitTextYear),
	}
	for i, width := range l.widths {
		errs = append(errs, file.SetColWidth(l.tab, l.names[i], l.names[i], float64(width)))
		// The columns have the format too, for the cells that are empty.
		errs = append(errs, file.SetColStyle(l.tab, l.names[i], f.styles[l.kinds[i]]))
	}
	// The colours go by what stands in the row, so that they stay right when it is sorted,
	// and when somebody changes the word. The first rule that holds wins.
	var rules []excelize.ConditionalFormatOptions
	rule := func(column, value, colour string) {
		style, err := file.NewConditionalStyle(&excelize.Style{Fill: fill(colour)})
		errs = append(errs, err)
		at := l.names[l.block+slices.Index(sheet.ResultColumns(), column)]
		rules = append(rules, excelize.ConditionalFormatOptions{Type: "formula", Criteria: fmt.Sprintf(`$%s2="%s"`, at, value), Format: &style, StopIfTrue: true})
	}
	rule("code", crm.CodeBystanderLost, tint(crm.Failed.String())) // which may be a row that is done
	for _, r := range results(new(batch.Counts)) {
		rule("result", r.Word, tint(r.Word))
	}
	return errors.Join(append(errs, file.SetConditionalFormat(l.tab, fmt.Sprintf("A2:%s%d", last, max(rows, 2)), rules))...)
}

// setPages says how both sheets are printed: on wide pages that hold all columns, each
// page of rows with the header, and with the file, the sheet and its number below.
func (l bookLook) setPages(file *excelize.File) error {
	errs := []error{file.SetDefinedName(&excelize.DefinedName{Name: "_xlnm.Print_Titles", RefersTo: fmt.Sprintf("'%s'!$1:$1", l.tab), Scope: l.tab})}
	for _, name := range []string{sheet.SummarySheet, l.tab} {
		errs = append(errs,
			file.SetSheetProps(name, &excelize.SheetPropsOptions{FitToPage: new(true)}),
			file.SetPageLayout(name, &excelize.PageLayoutOptions{Size: new(sizeA4), Orientation: new("landscape"), FitToWidth: new(1), FitToHeight: new(0)}),
			file.SetPageMargins(name, &excelize.PageLayoutMarginsOptions{Left: new(0.4), Right: new(0.4), Top: new(0.4), Bottom: new(0.6), Footer: new(0.3)}),
			file.SetHeaderFooter(name, &excelize.HeaderFooterOptions{OddFooter: "&L&F&C&A&RPage &P of &N"}),
		)
	}
	return errors.Join(errs...)
}
