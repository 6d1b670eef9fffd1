package report

import (
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// wordInvalid is the word of the result column for a row that was never sent for what it
// says itself. The other words are those of the states.
const wordInvalid = "invalid"

// word returns the word of the result column for a row.
func word(res ledger.Result) string {
	if res.Invalid {
		return wordInvalid
	}
	return res.Status.String()
}

// isOpen says whether a row needs somebody, or a later run: it is anything but done,
// unchanged or not yet due.
func isOpen(res ledger.Result) bool {
	return res.Invalid || res.Status != crm.Done && res.Status != crm.Unchanged && res.Status != crm.NotDue
}

// result is one of the words of the result column.
type result struct {
	Word    string
	Meaning string // for somebody who has not read the manual
	n       *int64 // how many rows have it
}

// Rows is how many rows have the result.
func (r result) Rows() int64 { return *r.n }

// results returns the results in the order of the result column, with their places in the
// counts.
func results(c *batch.Counts) [8]result {
	return [8]result{
		{crm.Done.String(), "The CRM has confirmed it.", &c.Done},
		{crm.Unchanged.String(), "It was so already; no change was sent.", &c.Unchanged},
		{crm.Accepted.String(), "The CRM took it and has not yet confirmed that it took effect.", &c.Accepted},
		{crm.Failed.String(), "The CRM refused it, or shows that it did not take effect.", &c.Failed},
		{crm.Uncertain.String(), "It was sent, and no answer says whether it was done.", &c.InDoubt},
		{wordInvalid, "The row can not be carried out as it stands in the sheet; it was never sent.", &c.Invalid},
		{crm.Pending.String(), "The run ended before it, or it waits for an earlier row on the same user and record.", &c.NotAttempted},
		{crm.NotDue.String(), "Its date has not come, or it waits for an earlier row whose date has not.", &c.NotDue},
	}
}

// countRow counts a row under the word that the file has for it.
func countRow(c *batch.Counts, res ledger.Result) {
	c.Rows++
	for _, r := range results(c) {
		if r.Word == word(res) {
			*r.n++
		}
	}
}

// addCounts adds the counts of some rows to those of others.
func addCounts(to *batch.Counts, some batch.Counts) {
	to.Rows += some.Rows
	for i, r := range results(&some) {
		*results(to)[i].n += *r.n
	}
}

// undueHeadline says how the rows stand where none is open and some are not due; "" where all
// are due.
func undueHeadline(c batch.Counts) string {
	switch c.NotDue {
	case 0:
		return ""
	case c.Rows:
		return "Nothing is due yet."
	}
	return fmt.Sprintf("Every row that is due is as the sheet asks; %s of %s not due yet.", grouped(c.NotDue, "row", "rows"), group(c.Rows)+plural(c.NotDue, " is", " are"))
}

// stillOpen is how many rows are open, as isOpen has it.
func stillOpen(c batch.Counts) int64 { return c.Rows - c.Done - c.Unchanged - c.NotDue }
