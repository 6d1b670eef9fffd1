package report

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
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
	// What the summary of a workbook tells beside what the ledger knows; each may be left
	// out. Run is how the run has ended that the file is of, AtWork says that a program
	// holds the ledger, so that a run without an end goes on.
	Facts  Facts
	Run    *batch.Summary
	AtWork bool
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
	file := resultFile(ours)
	if err := file.mayReplace(target.Path); err != nil {
		return counts, err
	}
	if err := led.Wrote(ctx, path); err != nil && !errors.Is(err, ledger.ErrReadOnly) {
		return counts, err
	}
	err = file.replace(ctx, target.Path, func(w io.Writer) error {
		if IsWorkbook(target.Path) {
			counts, err = writeWorkbook(ctx, w, led, layout, target)
		} else {
			counts, err = writeCSV(ctx, w, led, layout, target)
		}
		return err
	})
	if err != nil {
		return batch.Counts{}, err
	}
	return counts, nil
}

// NeedsSomebody says whether a row of a result is open: failed, in doubt, invalid,
// accepted and not confirmed, or not attempted; and whatever its result, if somebody
// whom it does not name has lost access by it. It is a Target's Keep.
func NeedsSomebody(res ledger.Result) bool { return isOpen(res) || res.Code == crm.CodeBystanderLost }

// PrintOpen writes the rows that NeedsSomebody keeps to w, as a result file has
// them, and returns how many there are, by result.
func PrintOpen(ctx context.Context, w io.Writer, led *ledger.Ledger) (counts batch.Counts, err error) {
	layout, err := layoutOf(ctx, led)
	if err != nil {
		return counts, err
	}
	buf := bufio.NewWriterSize(w, 1<<16)
	if counts, err = writeCSV(ctx, buf, led, layout, Target{Keep: NeedsSomebody}); err != nil {
		return counts, err
	}
	return counts, buf.Flush()
}

// layoutOf returns how the ledger's sheet was written.
func layoutOf(ctx context.Context, led *ledger.Ledger) (layout sheet.Layout, err error) {
	src, ok, err := led.Source(ctx)
	if err != nil {
		return layout, err
	}
	if !ok {
		return layout, errNoSheet
	}
	if err := json.Unmarshal(src.Layout, &layout); err != nil {
		return layout, fmt.Errorf("read the sheet's layout: %w", err)
	}
	return layout, nil
}

// writeCSV writes a result as text. Somebody else's texts are inert in it.
func writeCSV(ctx context.Context, w io.Writer, led *ledger.Ledger, layout sheet.Layout, target Target) (batch.Counts, error) {
	return writeRows(ctx, newCSV(w, layout), inert, led, layout, target)
}

// writeRows writes the header and the rows of a result. safe is what somebody else's
// text goes through.
func writeRows(ctx context.Context, t table, safe func(string) string, led *ledger.Ledger, layout sheet.Layout, target Target) (counts batch.Counts, err error) {
	shown := shownColumns(layout)
	addShown(t, layout.Columns, shown)
	t.add(sheet.ResultColumns()...)
	if err := t.end(); err != nil {
		return counts, err
	}
	for res, err := range led.Results(ctx) {
		if err != nil {
			return counts, err
		}
		if target.Keep != nil && !target.Keep(res) {
			continue
		}
		if target.Reasons != nil && isOpen(res) {
			target.Reasons.add(res)
		}
		addShown(t, res.Cells, shown)
		t.add(resultCells(res, safe)...)
		if err := t.end(); err != nil {
			return counts, err
		}
		countRow(&counts, res)
	}
	return counts, nil
}

// resultCells returns the ten result columns, in the order of sheet.ResultColumns.
func resultCells(res ledger.Result, safe func(string) string) []string {
	message := crm.Join(res.Message, res.Note)
	if res.Status == crm.Sent && !res.Invalid {
		message = strings.TrimSuffix(noAnswerYet+"; said before: "+message, "; said before: ")
	}
	status := ""
	if res.HTTPStatus != 0 {
		status = strconv.Itoa(res.HTTPStatus)
	}
	return []string{
		strconv.Itoa(res.Line), word(res), safe(res.RequestID), safe(res.Code), safe(message),
		status, strconv.Itoa(res.Attempts), res.CallID, stamp(res.SentAt), stamp(res.ConfirmedAt),
	}
}
