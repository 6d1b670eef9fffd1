package report

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// VerifyColumns returns the columns that a verification adds: the line of the row
// in the sheet, its result, whether it holds ("yes", "no" or "unknown"), and why not
// or what there is to know.
func VerifyColumns() []string { return []string{"line", "result", "holds", "code", "message"} }

// VerifyCounts is how many rows of a verification stand how. Rows is all of them,
// and each is in one of Holds, Broken, NeverDone and Unknown.
type VerifyCounts struct {
	Rows       int64
	Holds      int64
	Broken     int64 // was done, and does not hold any more
	NeverDone  int64
	Unknown    int64
	Superseded int64 // of Rows: a later row of their target is what counts
}

// Open is how many rows do not hold for certain.
func (c VerifyCounts) Open() int64 { return c.Rows - c.Holds }

func (c *VerifyCounts) add(a ledger.Answer) {
	c.Rows++
	switch {
	case a.Holds == batch.Holds:
		c.Holds++
	case a.Holds == batch.HoldsNot && a.Code == batch.CodeNeverDone:
		c.NeverDone++
	case a.Holds == batch.HoldsNot:
		c.Broken++
	default:
		c.Unknown++
	}
	if a.Code == batch.CodeSuperseded {
		c.Superseded++
	}
}

// PrintVerified writes a line for every row of a verification, in sheet order, as
// comma-separated values with a header.
func PrintVerified(ctx context.Context, w io.Writer, review *ledger.Review) (VerifyCounts, error) {
	buf := bufio.NewWriterSize(w, 1<<16)
	counts, err := writeVerified(ctx, buf, review, newCells(",", "\n"), nil, nil)
	if err == nil {
		err = buf.Flush()
	}
	return counts, err
}

// WriteVerified writes a file like a result: every row of the sheet once, in sheet
// order, its cells as they were read, then VerifyColumns. The file is replaced as a
// whole, under the rules of CheckVerified, with mode 0600.
func WriteVerified(ctx context.Context, led *ledger.Ledger, review *ledger.Review, path string) (counts VerifyCounts, err error) {
	layout, err := layoutOf(ctx, led)
	if err != nil {
		return counts, err
	}
	whole, err := filepath.Abs(path)
	if err != nil {
		return counts, err
	}
	write := func(w io.Writer) error {
		if layout.BOM {
			if _, err := io.WriteString(w, "\uFEFF"); err != nil {
				return err
			}
		}
		counts, err = writeVerified(ctx, w, review, newCells(layout.Delimiter, layout.Newline), layout.Columns, shownColumns(layout))
		return err
	}
	may := func() error { return mayReplaceVerified(path) }
	if err := may(); err != nil {
		return counts, err
	}
	if err := replaceFile(ctx, whole, private, write, may); err != nil {
		return counts, fmt.Errorf("write %s: %w", path, err)
	}
	return counts, nil
}

// writeVerified writes header and rows, with the shown ones of the sheet's columns
// before those of the verification.
func writeVerified(ctx context.Context, w io.Writer, review *ledger.Review, line *cells, columns []string, shown []int) (counts VerifyCounts, err error) {
	for _, i := range shown {
		line.add(columns[i])
	}
	for _, name := range VerifyColumns() {
		line.add(name)
	}
	if _, err := w.Write(line.end()); err != nil {
		return counts, err
	}
	for row, err := range review.Answers(ctx) {
		if err != nil {
			return counts, err
		}
		for _, i := range shown {
			cell := ""
			if i < len(row.Cells) {
				cell = row.Cells[i]
			}
			line.add(cell)
		}
		line.number(row.Line)
		line.add(Word(row.Result))
		line.add(cmp.Or(row.Answer.Holds, batch.HoldsUnknown))
		line.add(Inert(row.Answer.Code))
		line.add(Inert(row.Answer.Message))
		if _, err := w.Write(line.end()); err != nil {
			return counts, err
		}
		counts.add(row.Answer)
	}
	return counts, nil
}

// CheckVerified says whether WriteVerified may write to path: its folder takes
// files, and path is free or a file that ends in VerifyColumns. Links, folders and
// other files are never written over. The error is a *TargetError.
func CheckVerified(path string) error {
	if err := mayReplaceVerified(path); err != nil {
		return err
	}
	return tryWriting(path, "-o", probeBytes)
}

func mayReplaceVerified(path string) error {
	if err := mayReplace(path, false); err == nil || !isVerified(path) {
		return err
	}
	return nil
}

// isVerified says whether path is a regular file whose header ends in the columns
// of a verification.
func isVerified(path string) bool {
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return false
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close() // it was only read
	r, err := sheet.Open(file, filepath.Base(path), sheet.Options{AnyHeader: true})
	if err != nil {
		return false
	}
	defer r.Close()
	columns := r.Layout().Columns
	n := len(columns) - len(VerifyColumns())
	return n >= 0 && slices.Equal(columns[n:], VerifyColumns())
}

// CheckNew says whether a file can be made at path, where nothing must be yet. The
// error is a *TargetError.
func CheckNew(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return &TargetError{Path: path, Reason: "exists already, and is not written over", Hint: "Move it away, or name another file with -o."}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return &TargetError{Path: path, Reason: err.Error(), Hint: "Name another file with -o."}
	}
	return CheckTarget(path, false)
}
