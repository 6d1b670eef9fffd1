package batch

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// InvalidError says that rows are wrong by themselves and nothing was sent.
type InvalidError struct {
	Total int64
	First []InvalidRow // by line; at most InvalidShown
	// Groups are the equal complaints, by the line of their first row; at most
	// groupsShown. Others are the rows that belong to none of them.
	Groups []InvalidGroup
	Others Lines
}

// InvalidGroup is the rows that have one complaint in common: the same column is wrong
// for the same reason, whatever the value.
type InvalidGroup struct {
	First  []InvalidRow // by line; at most examplesShown
	Others Lines        // the rows after those
	key    string
}

// InvalidRow is a row that can not be sent as it is. Value is what the cell at fault
// says, in one line and cut to a length that can be shown; Column and Value are empty
// where no one cell is at fault.
type InvalidRow struct {
	Line   int
	Code   string
	Column string
	Value  string
	Reason string // with the column
}

// InvalidShown is how many invalid rows an InvalidError lists one by one, for
// programs.
const InvalidShown = 1000

// What an InvalidError tells people of each complaint, and of how many: a screen or
// two, whatever the sheet.
const (
	examplesShown = 5
	groupsShown   = 20
)

func (e *InvalidError) Error() string {
	if e.Total == 1 {
		return "1 row is invalid"
	}
	return fmt.Sprintf("%d rows are invalid", e.Total)
}

// Ungrouped is how many rows belong to no group that is told.
func (e *InvalidError) Ungrouped() int64 { return e.Others.n }

// More is how many rows have the complaint beside the examples.
func (g InvalidGroup) More() int64 { return g.Others.n }

// add takes in the next invalid row; ord is its place among the rows of the sheet.
func (e *InvalidError) add(ord int64, row InvalidRow) {
	if e.Total++; len(e.First) < InvalidShown {
		e.First = append(e.First, row)
	}
	key := row.Column + "\x00" + row.Reason
	if row.Value != "" {
		key = strings.ReplaceAll(key, crm.Quote(row.Value), "")
	}
	i := slices.IndexFunc(e.Groups, func(g InvalidGroup) bool { return g.key == key })
	switch {
	case i < 0 && len(e.Groups) == groupsShown:
		e.Others.add(ord, row.Line)
		return
	case i < 0:
		i = len(e.Groups)
		e.Groups = append(e.Groups, InvalidGroup{key: key})
	}
	if g := &e.Groups[i]; len(g.First) < examplesShown {
		g.First = append(g.First, row)
	} else {
		g.Others.add(ord, row.Line)
	}
}

// Lines are lines of the sheet, told as ranges of rows that follow each other. The
// zero value is none. Memory is bounded however many there are.
type Lines struct {
	n      int64
	ranges []lineRange // at most rangesShown
	more   bool        // there are lines after the ranges
}

// lineRange is the lines of rows that follow each other in the sheet. What stands
// between two rows, blank lines for one, is no row.
type lineRange struct {
	first, last int
	ord         int64 // of the last row
}

// rangesShown is how many ranges are told before "and others".
const rangesShown = 8

// add takes in the next row, by its place in the sheet and its line.
func (l *Lines) add(ord int64, line int) {
	l.n++
	if last := len(l.ranges) - 1; !l.more && last >= 0 && l.ranges[last].ord+1 == ord {
		l.ranges[last].last, l.ranges[last].ord = line, ord
		return
	}
	if l.more = l.more || len(l.ranges) == rangesShown; !l.more {
		l.ranges = append(l.ranges, lineRange{line, line, ord})
	}
}

// String returns the lines as in "line 7" and "lines 7-96, 99 and others".
func (l *Lines) String() string {
	var parts []string
	for _, r := range l.ranges {
		if r.first == r.last {
			parts = append(parts, fmt.Sprint(r.first))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.first, r.last))
		}
	}
	text := strings.Join(parts, ", ")
	switch {
	case l.n == 1:
		return "line " + text
	case l.more:
		return "lines " + text + " and others"
	}
	return "lines " + text
}

// refuseInvalid returns an *InvalidError if rows are invalid and may not be
// skipped. Rows of an account that could not be started are not meant.
func (b *Batch) refuseInvalid(ctx context.Context) error {
	if b.opts.SkipInvalid {
		return nil
	}
	refused := &InvalidError{}
	for row, err := range b.importing.Invalid(ctx, 0) {
		if err != nil {
			return err
		}
		refused.add(row.Ord, invalidRow(row))
	}
	if refused.Total > 0 {
		return refused
	}
	return nil
}

// invalidRow returns what is told of a row. What was found out about a row after it
// was read, and is no one cell's fault by its own record, is about its address.
func invalidRow(row ledger.ImportRow) InvalidRow {
	column, value := row.Column, row.Value
	if column == "" && row.Email != "" {
		column, value = "user", crm.Shown(row.Email)
	}
	return InvalidRow{Line: row.Line, Code: row.Code, Column: column, Value: value, Reason: row.Problem}
}
