package batch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// required are the columns that no row may leave empty.
type required struct {
	columns []int // their places
	// byReviewer says that one of them, at reviewer, says who has decided.
	byReviewer bool
	reviewer   int
}

// reviewerColumn is the column whose person decides about others only.
const reviewerColumn = "reviewer"

// findRequired finds the columns of Options.Require. The error is a *sheet.Error where the
// sheet has no such column.
func (b *Batch) findRequired(layout sheet.Layout) error {
	b.required = required{}
	for _, name := range b.opts.Require {
		i := slices.IndexFunc(layout.Columns, func(header string) bool { return sheet.SameName(header, name) })
		if ours := sheet.ColumnNamed(name); i < 0 && ours != "" {
			for at := range layout.Columns {
				if layout.Column(at) == ours {
					i = at
				}
			}
		}
		if i < 0 {
			return &sheet.Error{
				Name: b.opts.Record.Sheet, Reason: fmt.Sprintf("there is no column %s, which no row may leave empty", crm.Quote(name)),
				Hint: "Add the column to the sheet, or take it out of --require.",
			}
		}
		b.required.columns = append(b.required.columns, i)
		if sheet.SameName(name, reviewerColumn) {
			b.required.byReviewer, b.required.reviewer = true, i
		}
	}
	return nil
}

// reviewed checks what a row says of who has decided about it, and why. The error is a
// *crm.FieldError.
func (b *Batch) reviewed(rec sheet.Record) error {
	for _, i := range b.required.columns {
		if cell(rec, i) == "" {
			return &crm.FieldError{Column: b.header[i], Code: crm.CodeRequired, Reason: "is empty, and no row may leave it so"}
		}
	}
	if !b.required.byReviewer {
		return nil
	}
	reviewer := cell(rec, b.required.reviewer)
	if strings.EqualFold(reviewer, rec.Fields.User) || strings.EqualFold(reviewer, rec.Fields.Email) {
		return &crm.FieldError{
			Column: b.header[b.required.reviewer], Code: crm.CodeSelfReview,
			Reason: crm.Quote(reviewer) + " is the user whom the row is about: somebody else has to decide",
		}
	}
	return nil
}

func cell(rec sheet.Record, i int) string { return sheet.Trim(rec.Cells[i]) }
