package report

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// errRunEnd stands for what stopped a run, where the ledger alone is asked: it does not
// know.
var errRunEnd = errors.New("how the run ended is not known")

// bookSummary is what the first sheet of a workbook result tells. All of it can come from
// the ledger, also while a run is at work: the counts are those of the rows that were
// written, and the hash is that of an event from before.
type bookSummary struct {
	target   Target
	now      time.Time
	sheet    string // for people
	src      ledger.Source
	ledgerID string
	headSeq  int64
	head     string
	runs     []ledger.Run
	bindings []ledger.Binding
	alarms   int64

	// What is known when the rows are written.
	counts  batch.Counts // of all rows, written or not
	written int64
	reasons *Reasons
}

// newBookSummary asks the ledger.
func newBookSummary(ctx context.Context, led *ledger.Ledger, layout sheet.Layout, target Target) (*bookSummary, error) {
	b := &bookSummary{target: target, now: time.Now().UTC(), ledgerID: led.ID()}
	var errs [5]error
	b.src, _, errs[0] = led.Source(ctx)
	b.runs, errs[1] = led.Runs(ctx)
	b.bindings, errs[2] = led.Bindings(ctx)
	b.alarms, errs[3] = led.CountLost(ctx)
	b.headSeq, b.head, errs[4] = led.Head(ctx)
	var tab *sheet.Worksheet
	if layout.Sheet != "" {
		tab = &sheet.Worksheet{Name: layout.Sheet}
	}
	b.sheet = Printable(tab.Of(sheetTitle(b.src.Name)))
	return b, errors.Join(errs[:]...)
}

// summaryWidths are the widths of the columns of the summary.
func summaryWidths() []float64 { return []float64{26, 24, 24, 96} }

// fill writes the summary into its sheet. rows is the sheet with the rows.
func (b *bookSummary) fill(file *excelize.File, rows string) error {
	p := &bookPage{file: file}
	colour := tint(crm.Done.String())
	if stillOpen(b.counts) > 0 || b.alarms > 0 {
		colour = tint(crm.Uncertain.String())
	}
	title := b.sheet
	if s := b.target.Run; s != nil {
		title += hiddenText(s.Worksheet)
	}
	p.wide(excelize.Style{Font: bold(15)}, title)
	p.wide(excelize.Style{Font: bold(12), Fill: fill(colour)}, b.headline())
	for _, line := range b.remarks() {
		p.wide(excelize.Style{}, line)
	}

	p.heading("What to do next")
	todo, again := b.next(rows)
	for _, line := range todo {
		p.wide(excelize.Style{}, sentence(Printable(line)))
	}
	if again != "" {
		p.line("", "Command", Printable(again))
	}

	p.heading("Result", figure("Rows"), "Part", "Meaning")
	for _, r := range results(&b.counts) {
		p.line(tint(r.Word), r.Word, r.Rows(), part(r.Rows(), b.counts.Rows), r.Meaning)
	}
	p.line("", "all", b.counts.Rows)

	// What has neither code nor message is told above, with what it means.
	reasons := slices.DeleteFunc(b.reasons.sorted(), func(r *reason) bool { return r.Code == "" && r.Message == "" })
	if len(reasons) > 0 {
		p.heading("Why rows are open", figure("Rows"), "Code", "Message of the first such row")
		rarer := b.reasons.other
		for i, r := range reasons {
			if i < shownReasons {
				p.line(tint(r.Result), r.Result, r.Rows, r.Code, r.Message)
			} else {
				rarer += r.Rows
			}
		}
		if rarer > 0 {
			p.line("", "rarer reasons", rarer)
		}
	}

	p.heading("Run on this ledger", "Started", "Ended", "Operator")
	for _, run := range b.runs[max(0, len(b.runs)-shownRuns):] {
		var ended any = run.Ended
		if run.Ended.IsZero() {
			ended = b.unended(run)
		}
		p.line("", strconv.FormatInt(run.ID, 10), run.Started, ended, fmt.Sprintf("%s, with bulkrevoke %s", Printable(run.Operator), Printable(run.Version)))
	}
	if n := len(b.runs) - shownRuns; n > 0 {
		p.wide(excelize.Style{}, grouped(int64(n), "earlier one is", "earlier ones are")+" in the ledger.")
	}

	p.heading("Evidence")
	for _, f := range b.evidence() {
		p.line("", f.Name, f.Value)
	}
	p.row++
	p.wide(excelize.Style{}, fmt.Sprintf("The sheet %s has the rows, in these colours. Where it is wide it opens at the result: scroll to the left for the columns before.", strconv.Quote(rows)))
	p.wide(excelize.Style{}, "All times are UTC. This file holds personal data: keep it as you keep the ledger.")

	for i, width := range summaryWidths() {
		p.try(file.SetColWidth(sheet.SummarySheet, columnName(i), columnName(i), width))
	}
	p.try(file.SetSheetDimension(sheet.SummarySheet, fmt.Sprintf("A1:D%d", p.row)))
	p.try(file.SetSheetProps(sheet.SummarySheet, &excelize.SheetPropsOptions{TabColorRGB: &colour}))
	p.try(file.SetSheetView(sheet.SummarySheet, 0, &excelize.ViewOptions{ShowGridLines: new(false)}))
	return errors.Join(p.errs...)
}

// headline says how the rows stand.
func (b *bookSummary) headline() string {
	switch open := stillOpen(b.counts); {
	case b.counts.Rows == 0:
		return "The sheet has no row."
	case open == 0 && b.counts.NotDue > 0:
		return undueHeadline(b.counts)
	case open == 0:
		return grouped(b.counts.Rows, "row, which is", "rows, all") + " as the sheet asks."
	default:
		return fmt.Sprintf("%s of %s %s open.", grouped(open, "row", "rows"), group(b.counts.Rows), plural(open, "is", "are"))
	}
}

// remarks are what must be known to read the figures.
func (b *bookSummary) remarks() (lines []string) {
	if b.target.Facts.Sandbox {
		lines = append(lines, "Sandbox: no real CRM was involved.")
	}
	if b.goesOn() {
		lines = append(lines, fmt.Sprintf("Run %d is at work: this is how far it had come at %s.", b.runs[len(b.runs)-1].ID, moment(b.now)))
	}
	if b.target.Keep != nil {
		lines = append(lines, fmt.Sprintf("This file has only the rows that need somebody, %s. The figures are those of the whole sheet.", group(b.written)))
	}
	if s := b.target.Run; s != nil && s.Stopped != nil {
		lines = append(lines, sentence("The run was stopped before everything was tried: "+problem(s.Stopped)))
	}
	return lines
}

// goesOn says whether a run is at work on the ledger.
func (b *bookSummary) goesOn() bool {
	return b.target.Run == nil && b.target.AtWork && len(b.runs) > 0 && b.runs[len(b.runs)-1].Ended.IsZero()
}

// unended says what is known of a run without an end.
func (b *bookSummary) unended(run ledger.Run) string {
	if b.goesOn() && run.ID == b.runs[len(b.runs)-1].ID {
		return "at work"
	}
	return "cut off"
}

// next says what is left to do, and with what command.
func (b *bookSummary) next(rows string) (lines []string, again string) {
	if b.goesOn() {
		return []string{"nothing yet: the run goes on by itself, and bulkrevoke results writes this file anew"}, ""
	}
	s := batch.Summary{Alarms: b.alarms, Stopped: errRunEnd}
	if b.target.Run != nil {
		s = *b.target.Run
	}
	s.Counts = b.counts
	facts := b.target.Facts
	facts.Files.Results = "the sheet " + strconv.Quote(rows)
	return next(s, facts)
}

// evidence is what ties the workbook to the sheet, the plan and the ledger.
func (b *bookSummary) evidence() []fact {
	facts := []fact{
		{Name: "Sheet", Value: b.sheet},
		{Name: "Sheet SHA-256", Value: Printable(b.src.SHA256)},
		{Name: "Plan digest", Value: Printable(b.target.Facts.digest())},
		{Name: "Ledger id", Value: b.ledgerID},
		{Name: "Last event of the chain", Value: group(b.headSeq)},
		{Name: "Hash of that event", Value: Printable(b.head)},
		{Name: "Machine", Value: Printable(b.target.Facts.Host)},
	}
	for _, of := range b.bindings {
		where := of.CRM + " at " + of.Host
		if of.Org != "" {
			where += ", organisation " + of.Org
		}
		facts = append(facts, fact{Name: "Account " + Printable(of.Account), Value: Printable(where)})
	}
	return known(append(facts, fact{Name: "Written", Value: moment(b.now)}))
}

// figure is a text that stands at the right of its cell, as numbers do.
type figure string

// bookPage fills the sheet of the summary from top to bottom.
type bookPage struct {
	file *excelize.File
	row  int // that was written last
	errs []error
}

// try keeps an error.
func (p *bookPage) try(err error) {
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// set writes a cell of the row and says how it looks; numbers and moments are stored as
// such, texts as texts.
func (p *bookPage) set(column int, value any, style excelize.Style) {
	align := excelize.Alignment{Vertical: "top"}
	style.NumFmt = textFormat
	switch v := value.(type) {
	case string:
		align.WrapText = column == len(summaryWidths())-1
	case figure:
		value, align.Horizontal, align.Indent = string(v), "right", 2
	case int64:
		style.NumFmt, align.Horizontal, align.Indent = 3, "right", 2 // "#,##0"
	case time.Time:
		style.NumFmt, style.CustomNumFmt, align.Horizontal = 0, new(`yyyy\-mm\-dd\ hh:mm:ss\ "UTC"`), "left"
		value = v.UTC().Truncate(time.Second)
	}
	if style.Alignment == nil {
		style.Alignment = &align
	}
	id, err := p.file.NewStyle(&style)
	p.try(err)
	at := columnName(column) + strconv.Itoa(p.row)
	if text, ok := value.(string); ok {
		p.try(p.file.SetCellStr(sheet.SummarySheet, at, text))
	} else {
		p.try(p.file.SetCellValue(sheet.SummarySheet, at, value))
	}
	p.try(p.file.SetCellStyle(sheet.SummarySheet, at, at, id))
}

// line writes a row of cells, on a colour unless it is "".
func (p *bookPage) line(colour string, values ...any) {
	p.row++
	for i, value := range values {
		style := excelize.Style{}
		if colour != "" {
			style.Fill = fill(colour)
		}
		p.set(i, value, style)
	}
	if widths := summaryWidths(); len(values) == len(widths) {
		p.high(values[len(values)-1], widths[len(widths)-1], 15)
	}
}

// heading leaves a row free and writes the head of a block.
func (p *bookPage) heading(values ...any) {
	p.row += 2
	for i := range summaryWidths() {
		var value any = ""
		if i < len(values) {
			value = values[i]
		}
		p.set(i, value, excelize.Style{Font: bold(11), Border: []excelize.Border{{Type: "bottom", Style: 1, Color: "8A95A3"}}})
	}
}

// wide writes a text over the whole row.
func (p *bookPage) wide(style excelize.Style, text string) {
	p.row++
	total, size := 0.0, 15.0
	for i, width := range summaryWidths() {
		total += width
		p.set(i, "", style)
	}
	style.Alignment = &excelize.Alignment{Vertical: "top", WrapText: true}
	p.set(0, text, style)
	p.try(p.file.MergeCell(sheet.SummarySheet, fmt.Sprintf("A%d", p.row), fmt.Sprintf("D%d", p.row)))
	if style.Font != nil {
		total, size = total*10/style.Font.Size, style.Font.Size*1.5
	}
	p.high(text, total, size)
}

// high makes the row as high as a text needs that is wrapped at a width: programs do that
// by themselves only for cells that are not merged, and not all of them then.
func (p *bookPage) high(text any, width, line float64) {
	s, _ := text.(string)
	if n := math.Ceil(float64(utf8.RuneCountInString(s)) * 1.1 / width); n > 1 || line != 15 {
		p.try(p.file.SetRowHeight(sheet.SummarySheet, p.row, line*max(1, n)))
	}
}
