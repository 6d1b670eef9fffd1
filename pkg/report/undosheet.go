package report

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

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
	if err := newFile().check(path); err != nil {
		return counts, err
	}
	of := inert(src.Name + " " + batch.UndoMark(led))
	err = newFile().replace(ctx, path, func(w io.Writer) error {
		line := newCSV(w, layout)
		line.add(undoColumns()...)
		line.add("note", UndoColumn)
		if err := line.end(); err != nil {
			return err
		}
		for row, err := range batch.Undo(ctx, led) {
			switch {
			case err != nil:
				return err
			case row.Left != "":
				counts.Left++
				left(row)
				continue
			case row.Note != "":
				counts.Noted++
			}
			counts.Rows++
			line.add(undoCells(row)...)
			line.add(inert(row.Note), of)
			if err := line.end(); err != nil {
				return err
			}
		}
		if counts.Rows == 0 {
			return errNothingToUndo
		}
		return nil
	})
	if errors.Is(err, errNothingToUndo) {
		return counts, nil
	}
	return counts, err
}

// undoColumns returns the columns of an undo sheet, but for its last two.
func undoColumns() []string {
	return []string{
		"action", "object", "record_id", "user", "context_id", "access",
		"duration_minutes", "share_related", "group_permissions", "account",
	}
}

// undoCells returns the cells of a row, in the order of undoColumns.
func undoCells(row batch.UndoRow) []string {
	op, minutes, related := row.Op, "", ""
	if op.Minutes > 0 {
		minutes = strconv.Itoa(op.Minutes)
	}
	if op.Action == crm.Share {
		related = op.Related.String()
	}
	return []string{
		op.Action.String(), op.Object, op.Record, op.User, op.Context, op.Access.String(),
		minutes, related, op.Permissions.String(), row.Account,
	}
}
