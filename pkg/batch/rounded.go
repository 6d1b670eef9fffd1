package batch

import (
	"context"
	"fmt"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// exactDigits is how many digits of a number a spreadsheet keeps. Of a longer id it
// leaves zeros in the place of the others, and different ids become one.
const exactDigits = 15

// roundedPercent is how much of a sheet's long ids may end as a rounded one does
// before chance no longer explains it: of ids that nothing has rounded, one in ten
// ends in a zero for each digit beyond the exact ones.
const roundedPercent = 1

// idColumns returns the columns that hold ids.
func idColumns() []string { return []string{"record_id", "user", "context_id"} }

// roundedIDs counts the ids of a sheet that are long enough to be rounded, and those
// that look so. They are counted by cell and not by what they say: rounding makes
// one id of many.
type roundedIDs struct {
	long, rounded map[string]int64 // by column
	first         InvalidRow       // the first of the rounded
}

// see counts the ids of a row and returns the marks of those that look rounded.
func (r *roundedIDs) see(line int, f sheet.Fields) (marks []ledger.Mark) {
	for _, column := range idColumns() {
		id := f.Value(column)
		if !longID(id) {
			continue
		}
		if r.long == nil {
			r.long, r.rounded = make(map[string]int64), make(map[string]int64)
		}
		r.long[column]++
		if strings.Trim(id[exactDigits:], "0") != "" {
			continue
		}
		r.rounded[column]++
		if r.first.Line == 0 {
			r.first = InvalidRow{Line: line, Column: column, Value: crm.Shown(id)}
		}
		marks = append(marks, ledger.Mark{Name: roundedMark(column), Column: column, Value: crm.Shown(id)})
	}
	return marks
}

func longID(id string) bool {
	return len(id) > exactDigits && !strings.ContainsFunc(id, func(c rune) bool { return c < '0' || c > '9' })
}

func roundedMark(column string) string { return "rounded " + column }

// counts returns how many ids are long, and how many of these look rounded.
func (r *roundedIDs) counts() (long, rounded int64) {
	for column, n := range r.long {
		long, rounded = long+n, rounded+r.rounded[column]
	}
	return long, rounded
}

// wrong reports whether so many ids look rounded that a spreadsheet must have done it.
func (r *roundedIDs) wrong() bool {
	long, rounded := r.counts()
	return rounded >= 2 && rounded*100 > long*roundedPercent
}

// rejectRounded makes the rows invalid whose ids a spreadsheet has rounded, as the
// whole of the sheet shows.
func (b *Batch) rejectRounded(ctx context.Context) error {
	if b.opts.AllowRoundedIDs || !b.rounded.wrong() {
		return nil
	}
	for _, column := range idColumns() {
		if b.rounded.rounded[column] == 0 {
			continue
		}
		reason := fmt.Sprintf("ends in zeros after %d digits, as a spreadsheet rounds long numbers; the same in %d of %d rows with so long an id. "+
			"Export the ids again as text; if they are right as they are, give --allow-rounded-ids",
			exactDigits, b.rounded.rounded[column], b.rounded.long[column])
		if err := b.reject(ctx, roundedMark(column), crm.CodeRoundedID, reason); err != nil {
			return err
		}
	}
	return nil
}

// reject makes the rows with a mark invalid.
func (b *Batch) reject(ctx context.Context, mark, code, reason string) error {
	rejected, err := b.importing.Reject(ctx, ledger.Where{Mark: mark}, ledger.Rejection{Code: code, Problem: reason})
	for name, rows := range rejected {
		b.accounts[name].rows -= rows
	}
	return err
}

// note returns what the plan says of rounded ids that no row is invalid for; "" for
// nothing.
func (r *roundedIDs) note(allowed bool) string {
	long, rounded := r.counts()
	if rounded == 0 || r.wrong() && !allowed {
		return ""
	}
	return fmt.Sprintf("%d of %d long ids %s in zeros after %d digits, as a spreadsheet rounds long numbers; the first is %s %s in line %d",
		rounded, long, map[bool]string{true: "ends", false: "end"}[rounded == 1], exactDigits, r.first.Column, crm.Quote(r.first.Value), r.first.Line)
}
