package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// noteColumn is what an undo sheet has beside the columns that the tool knows.
const noteColumn = "note"

// UndoColumn is the column by which an undo sheet says what it undoes: the name of the
// sheet, and the mark of the ledger that it came from.
const UndoColumn = "undo_of"

// errNothingToUndo keeps an empty sheet from being written.
var errNothingToUndo = errors.New("nothing to undo")

// UndoCounts is what an undo sheet came to.
type UndoCounts struct {
	Rows  int64 // of the sheet
	Noted int64 // of these, with a note of what is not known
	Left  int64 // things that no row can put back
}

// WriteUndo writes the sheet of batch.Undo, ready for a run: the columns under
// their canonical names, the account filled in, and a note. It is delimited as the
// ledger's sheet is. What no row can put back is handed to left. Without any row
// there is no file.
//
// The file gets mode 0600 and takes no name that is in use; the error is a
// *TargetError then.
func WriteUndo(ctx context.Context, led *ledger.Ledger, path string, left func(batch.UndoRow)) (counts UndoCounts, err error) {
	layout, err := layoutOf(ctx, led)
	if err != nil {
		return counts, err
	}
	src, _, err := led.Source(ctx)
	if err != nil {
		return counts, err
	}
	of := Inert(src.Name + " " + batch.UndoMark(led))
	if err := CheckNew(path); err != nil {
		return counts, err
	}
	whole, err := filepath.Abs(path)
	if err != nil {
		return counts, err
	}
	err = replaceFile(ctx, whole, private, func(w io.Writer) error {
		counts, err = writeUndo(ctx, w, led, layout, of, left)
		if err == nil && counts.Rows == 0 {
			err = errNothingToUndo
		}
		return err
	}, func() error { return CheckNew(path) })
	if err != nil && !errors.Is(err, errNothingToUndo) {
		return counts, fmt.Errorf("write %s: %w", path, err)
	}
	return counts, nil
}

func writeUndo(ctx context.Context, w io.Writer, led *ledger.Ledger, layout sheet.Layout, of string, left func(batch.UndoRow)) (counts UndoCounts, err error) {
	if layout.BOM {
		if _, err := io.WriteString(w, "\uFEFF"); err != nil {
			return counts, err
		}
	}
	line := newCells(layout.Delimiter, layout.Newline)
	for _, name := range append(sheet.Columns(), noteColumn, UndoColumn) {
		line.add(name)
	}
	if _, err := w.Write(line.end()); err != nil {
		return counts, err
	}
	for row, err := range batch.Undo(ctx, led) {
		if err != nil {
			return counts, err
		}
		if row.Left != "" {
			counts.Left++
			left(row)
			continue
		}
		counts.Rows++
		if row.Note != "" {
			counts.Noted++
		}
		for _, name := range sheet.Columns() {
			line.add(undoCell(row, name))
		}
		line.add(Inert(row.Note))
		line.add(of)
		if _, err := w.Write(line.end()); err != nil {
			return counts, err
		}
	}
	return counts, nil
}

// undoCell returns the cell of a row in a column of the tool.
func undoCell(row batch.UndoRow, column string) string {
	op := row.Op
	switch column {
	case "action":
		return op.Action.String()
	case "object":
		return op.Object
	case "record_id":
		return op.Record
	case "user":
		return op.User
	case "context_id":
		return op.Context
	case "access":
		return op.Access.String()
	case "duration_minutes":
		if op.Minutes > 0 {
			return strconv.Itoa(op.Minutes)
		}
	case "share_related":
		if op.Action == crm.Share {
			return op.Related.String()
		}
	case "group_permissions":
		return op.Permissions.String()
	case "account":
		return row.Account
	}
	return ""
}
