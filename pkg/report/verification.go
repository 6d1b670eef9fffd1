package report

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"strconv"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// verifyColumns are the columns that a verification adds: the line of the row in the
// sheet, its result, whether it holds ("yes", "no" or "unknown"), and why not or what
// there is to know.
func verifyColumns() []string { return []string{"line", "result", "holds", "code", "message"} }

// VerifyCounts is how many rows of a verification stand how. Rows is all of them,
// and each is in one of Holds, Broken, NeverDone, Unknown and NotDue.
type VerifyCounts struct {
	Rows       int64
	Holds      int64
	Broken     int64 // was done, and does not hold any more
	NeverDone  int64
	Unknown    int64
	Superseded int64 // of Rows: a later row of their target is what counts
	NotDue     int64
}

// Open is how many rows do not hold for certain, of those that are due.
func (c VerifyCounts) Open() int64 { return c.Rows - c.Holds - c.NotDue }

func (c *VerifyCounts) add(a ledger.Answer) {
	c.Rows++
	switch {
	case a.Holds == batch.Holds:
		c.Holds++
	case a.Holds == batch.HoldsNot && a.Code == crm.CodeNeverDone:
		c.NeverDone++
	case a.Holds == batch.HoldsNot:
		c.Broken++
	case a.Code == crm.CodeNotDue:
		c.NotDue++
	default:
		c.Unknown++
	}
	if a.Code == crm.CodeSuperseded {
		c.Superseded++
	}
}

// PrintVerified writes a line for every row of a verification, in sheet order, as
// comma-separated values with a header.
func PrintVerified(ctx context.Context, w io.Writer, review *ledger.Review) (VerifyCounts, error) {
	buf := bufio.NewWriterSize(w, 1<<16)
	counts, err := writeVerified(ctx, buf, review, sheet.Layout{Delimiter: ",", Newline: "\n"})
	if err == nil {
		err = buf.Flush()
	}
	return counts, err
}

// WriteVerified writes a file like a result: every row of the sheet once, in sheet
// order, its cells as they were read, then the columns that PrintVerified writes. The
// file is replaced as a whole, under the rules of CheckVerified, with mode 0600.
func WriteVerified(ctx context.Context, led *ledger.Ledger, review *ledger.Review, path string) (counts VerifyCounts, err error) {
	layout, err := layoutOf(ctx, led)
	if err != nil {
		return counts, err
	}
	err = verificationFile().replace(ctx, path, func(w io.Writer) error {
		counts, err = writeVerified(ctx, w, review, layout)
		return err
	})
	return counts, err
}

// writeVerified writes header and rows, with the columns that the layout has before those
// of the verification.
func writeVerified(ctx context.Context, w io.Writer, review *ledger.Review, layout sheet.Layout) (counts VerifyCounts, err error) {
	line, shown := newCSV(w, layout), shownColumns(layout)
	addShown(line, layout.Columns, shown)
	line.add(verifyColumns()...)
	if err := line.end(); err != nil {
		return counts, err
	}
	for row, err := range review.Answers(ctx) {
		if err != nil {
			return counts, err
		}
		a := row.Answer
		addShown(line, row.Cells, shown)
		line.add(strconv.Itoa(row.Line), word(row.Result), cmp.Or(a.Holds, batch.HoldsUnknown), inert(a.Code), inert(a.Message))
		if err := line.end(); err != nil {
			return counts, err
		}
		counts.add(a)
	}
	return counts, nil
}
