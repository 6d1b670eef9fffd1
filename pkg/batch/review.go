package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
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
		return &crm.FieldError{Column: b.header[b.required.reviewer], Code: crm.CodeSelfReview, Reason: crm.Quote(reviewer) + " " + selfReview}
	}
	return nil
}

// selfReview is what is wrong with a reviewer.
const selfReview = "is the user whom the row is about: somebody else has to decide"

// reviewerMark begins the marks of rows whose reviewer may be their user by another name.
const reviewerMark = "reviewer "

// seeReviewer returns the mark of a good row whose reviewer and user are not named in the same
// way: whether they are one person is known when addresses are resolved.
func (b *Batch) seeReviewer(r Row, rec sheet.Record) []ledger.Mark {
	if !b.required.byReviewer || r.Code != "" {
		return nil
	}
	reviewer := cell(rec, b.required.reviewer)
	if isAddress(reviewer) == (r.Op.User == "") {
		return nil
	}
	return []ledger.Mark{{Name: reviewerMark + strings.ToLower(reviewer), Column: b.header[b.required.reviewer], Value: crm.Shown(reviewer)}}
}

// rejectSelfReview makes the rows invalid whose reviewer is their user by another name. Where
// an address is not known yet, the account's user list is read for it.
func (d *directories) rejectSelfReview(ctx context.Context) error {
	b := d.b
	if !b.required.byReviewer {
		return nil
	}
	for mark, err := range b.importing.Marks(ctx) {
		if err != nil {
			return err
		}
		reviewer, ok := strings.CutPrefix(mark, reviewerMark)
		if !ok {
			continue
		}
		if !isAddress(reviewer) {
			if err := b.rejectReviewed(ctx, ledger.Where{Mark: mark, User: reviewer}); err != nil {
				return err
			}
			continue
		}
		for _, acc := range b.order {
			if acc.rows == 0 {
				continue
			}
			ids, err := d.idsOf(ctx, acc, reviewer)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := b.rejectReviewed(ctx, ledger.Where{Mark: mark, Account: acc.Name, User: id}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (b *Batch) rejectReviewed(ctx context.Context, where ledger.Where) error {
	_, err := b.importing.Reject(ctx, where, ledger.Rejection{Code: crm.CodeSelfReview, Problem: selfReview})
	return err
}

// idsOf returns who has an address, in lower case, on an account, nobody where nobody can be
// asked.
func (d *directories) idsOf(ctx context.Context, acc *account, address string) ([]string, error) {
	id, bound, err := d.b.reader.EmailBinding(ctx, acc.Name, address)
	if err != nil || bound {
		return []string{id}, err
	}
	if !acc.needed {
		return nil, nil
	}
	users, err := d.list(ctx, acc)
	if errors.Is(err, crm.ErrNoUserList) {
		return nil, nil
	}
	return users[address], err
}

func cell(rec sheet.Record, i int) string { return sheet.Trim(rec.Cells[i]) }
