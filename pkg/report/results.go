package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The words of the result column.
const (
	wordInvalid      = "invalid"
	wordNotAttempted = "not_attempted"
)

// noAnswerYet is the message of a row that was sent and has no outcome: the run is
// still at it, or was killed.
const noAnswerYet = "sent, no answer recorded yet"

// errNoSheet says that a ledger has no sheet that was taken up by a run.
var errNoSheet = errors.New("the ledger has no sheet yet")

// ErrNoOutput is joined to the error of a result file that could not be written
// after a run: the ledger has everything, and `results` writes the file.
var ErrNoOutput = errors.New("the run is in the ledger, but the result file could not be written")

// Target says where a result goes and which rows it holds.
type Target struct {
	Path string // a name that ends in .xlsx is written as a workbook, any other as text
	// Keep picks rows; nil keeps every one, which is what a result file is.
	Keep func(ledger.Result) bool
	// Reasons, if not nil, counts why the rows that are written are open.
	Reasons *Reasons
}

// WriteResults writes the ledger's sheet with what became of each row: every row
// once, in sheet order, its cells as they were read, then the ten result columns.
// It returns how many rows it wrote, by result.
//
// The file is replaced as a whole, under the rules of CheckTarget. The ledger is
// told before the first byte, so that it knows the file again; a ledger that is
// open for reading only is not told. Safe to repeat, and to call during a run.
func WriteResults(ctx context.Context, led *ledger.Ledger, target Target) (counts batch.Counts, err error) {
	layout, err := layoutOf(ctx, led)
	if err != nil {
		return counts, err
	}
	path, err := filepath.Abs(target.Path)
	if err != nil {
		return counts, err
	}
	ours, err := led.HasWritten(ctx, path)
	if err != nil {
		return counts, err
	}
	if err := mayReplace(target.Path, ours); err != nil {
		return counts, err
	}
	if err := led.Wrote(ctx, path); err != nil && !errors.Is(err, ledger.ErrReadOnly) {
		return counts, err
	}
	keep := target.Keep
	if target.Reasons != nil {
		keep = target.Reasons.gather(keep)
	}
	write := func(w io.Writer) error {
		if IsWorkbook(target.Path) {
			counts, err = writeWorkbook(ctx, w, target.Path, led, layout, keep)
		} else {
			counts, err = writeCSV(ctx, w, led, layout, keep)
		}
		return err
	}
	if err := replaceFile(ctx, path, private, write, func() error { return mayReplace(target.Path, ours) }); err != nil {
		if _, ok := errors.AsType[*TargetError](err); ok {
			return batch.Counts{}, err // it names the file
		}
		return batch.Counts{}, fmt.Errorf("write %s: %w", target.Path, err)
	}
	return counts, nil
}

// layoutOf returns how the ledger's sheet was written.
func layoutOf(ctx context.Context, led *ledger.Ledger) (sheet.Layout, error) {
	src, ok, err := led.Source(ctx)
	if err != nil {
		return sheet.Layout{}, err
	}
	if !ok {
		return sheet.Layout{}, errNoSheet
	}
	var layout sheet.Layout
	if err := json.Unmarshal(src.Layout, &layout); err != nil {
		return sheet.Layout{}, fmt.Errorf("read the sheet's layout: %w", err)
	}
	return layout, nil
}

// writeCSV writes header and rows.
func writeCSV(ctx context.Context, w io.Writer, led *ledger.Ledger, layout sheet.Layout, keep func(ledger.Result) bool) (counts batch.Counts, err error) {
	if layout.BOM {
		if _, err := io.WriteString(w, "\uFEFF"); err != nil {
			return counts, err
		}
	}
	shown := shownColumns(layout)
	line := newCells(layout.Delimiter, layout.Newline)
	for _, i := range shown {
		line.add(layout.Columns[i])
	}
	for _, name := range sheet.ResultColumns() {
		line.add(name)
	}
	if _, err := w.Write(line.end()); err != nil {
		return counts, err
	}
	for res, err := range led.Results(ctx) {
		if err != nil {
			return counts, err
		}
		if keep != nil && !keep(res) {
			continue
		}
		addResult(line, shown, res)
		if _, err := w.Write(line.end()); err != nil {
			return counts, err
		}
		countRow(&counts, res)
	}
	return counts, nil
}

// shownColumns returns the indices of the columns that are written back.
func shownColumns(layout sheet.Layout) []int {
	dropped := make(map[int]bool, len(layout.Dropped))
	for _, i := range layout.Dropped {
		dropped[i] = true
	}
	var shown []int
	for i := range layout.Columns {
		if !dropped[i] {
			shown = append(shown, i)
		}
	}
	return shown
}

// lineBuilder takes the cells of a line of a result file, from left to right.
type lineBuilder interface {
	add(string)  // a cell of the input, or a word of ours
	text(string) // somebody else's, made safe
	number(int)
	time(time.Time)
}

// addResult adds the shown cells of a row, then the block.
func addResult(line lineBuilder, shown []int, res ledger.Result) {
	for _, i := range shown {
		cell := ""
		if i < len(res.Cells) {
			cell = res.Cells[i]
		}
		line.add(cell)
	}
	block(line, res)
}

// block adds the ten result columns, in the order of sheet.ResultColumns.
func block(line lineBuilder, res ledger.Result) {
	word := Word(res)
	message := crm.Join(res.Message, res.Note)
	if res.State == ledger.Sent && !res.Invalid {
		message = strings.TrimSuffix(noAnswerYet+"; said before: "+message, "; said before: ")
	}
	line.number(res.Line)
	line.add(word)
	line.text(res.RequestID)
	line.text(res.Code)
	line.text(message)
	if res.HTTPStatus == 0 {
		line.add("")
	} else {
		line.number(res.HTTPStatus)
	}
	line.number(res.Attempts)
	line.add(res.CallID)
	line.time(res.SentAt)
	line.time(res.ConfirmedAt)
}

// Word returns the word of the result column for a row.
func Word(res ledger.Result) string {
	if res.Invalid {
		return wordInvalid
	}
	return res.State.String()
}

// countRow counts a row under the word that the file has for it.
func countRow(c *batch.Counts, res ledger.Result) {
	c.Rows++
	switch Word(res) {
	case ledger.Done.String():
		c.Done++
	case ledger.Unchanged.String():
		c.Unchanged++
	case ledger.Accepted.String():
		c.Accepted++
	case ledger.Failed.String():
		c.Failed++
	case ledger.Uncertain.String():
		c.InDoubt++
	case wordInvalid:
		c.Invalid++
	default:
		c.NotAttempted++
	}
}
