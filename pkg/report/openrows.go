package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// shownRows is how many open rows of one result a page lists: more is for the result
// file. There are five such results, and two lists beside them.
const shownRows = 1000

// The lists of rows that stand beside those of a result.
const (
	listAlarms  = "alarms"  // crm.CodeStayerLost, whatever the result
	listRemarks = "remarks" // settled as the sheet asks, with something to be known about it
)

// openRow is a row that somebody may have to look at, as a page shows it.
type openRow struct {
	Line          int
	Action        string
	Object        string
	Record        string
	Context       string
	Account       string
	User, Named   string
	Code, Message string
	Details       string // status, attempts, when, request Id
}

// openRows gathers the rows of a result that somebody may have to look at, and why
// they are open.
type openRows struct {
	shown   map[string][]openRow // by result, or list
	rows    map[string]int64     // as many rows there are, shown or not
	reasons Reasons
}

func newOpenRows() *openRows {
	return &openRows{shown: make(map[string][]openRow), rows: make(map[string]int64)}
}

// add takes up a row if there is something about it to be shown.
func (o *openRows) add(res ledger.Result, columns shownCells) {
	word := Word(res)
	if res.Code == crm.CodeStayerLost && !res.Invalid {
		o.show(listAlarms, res, columns)
	}
	if word == ledger.Done.String() || word == ledger.Unchanged.String() {
		// A message beside a code is the CRM's own way of saying that it is done.
		if res.Code != crm.CodeStayerLost && (res.Note != "" || res.Code == "" && res.Message != "") {
			o.show(listRemarks, res, columns)
		}
		return
	}
	o.show(word, res, columns)
	o.reasons.add(word, res)
}

// show counts a row for a list, which has room for so many.
func (o *openRows) show(list string, res ledger.Result, columns shownCells) {
	o.rows[list]++
	if len(o.shown[list]) < shownRows {
		o.shown[list] = append(o.shown[list], newOpenRow(res, columns))
	}
}

func newOpenRow(res ledger.Result, columns shownCells) openRow {
	r := openRow{
		Line: res.Line, Account: Printable(res.Account), Code: Printable(res.Code), Message: Printable(message(res)),
		Action: Printable(columns.cell(res, "action")), Object: Printable(columns.cell(res, "object")),
		Record: Printable(columns.cell(res, "record_id")), User: Printable(columns.user(res)),
		Details: details(res),
	}
	if !res.HasOp() {
		return r
	}
	r.Action, r.Object, r.Record, r.Context = res.Op.Action.String(), Printable(res.Op.Object), Printable(res.Op.Record), Printable(res.Op.Context)
	if named := r.User; named != "" && !strings.EqualFold(named, res.Op.User) {
		r.Named = named
	}
	r.User = Printable(res.Op.User)
	if res.Op.Action == crm.RevokeAll {
		r.User, r.Named = "everybody", ""
	}
	return r
}

// message returns what there is to say about a row beside its code.
func message(res ledger.Result) string {
	if res.State == ledger.Sent && !res.Invalid {
		return noAnswerYet
	}
	return crm.Join(res.Message, res.Note)
}

// details says what is known of a row's last call.
func details(res ledger.Result) string {
	var parts []string
	if !res.SentAt.IsZero() {
		parts = append(parts, "sent "+moment(res.SentAt))
	}
	if res.Attempts > 1 {
		parts = append(parts, fmt.Sprintf("%d times", res.Attempts))
	}
	if res.HTTPStatus != 0 {
		parts = append(parts, fmt.Sprintf("HTTP %d", res.HTTPStatus))
	}
	if res.RequestID != "" {
		parts = append(parts, "request "+Printable(res.RequestID))
	}
	return strings.Join(parts, ", ")
}

// shownCells finds cells by what their column is called, for rows of which nothing
// but the cells is known.
type shownCells map[string]int

// cellsOf finds the columns that a page shows, by what they stand for; a sheet that
// was read has each of them once.
func cellsOf(layout sheet.Layout) shownCells {
	found := make(shownCells)
	for i := range layout.Columns {
		if name := layout.Column(i); name != "" {
			found[name] = i
		}
	}
	return found
}

// cell returns a cell of a row, "" if the sheet has no such column.
func (c shownCells) cell(res ledger.Result, name string) string {
	i, ok := c[name]
	if !ok || i >= len(res.Cells) {
		return ""
	}
	return strings.TrimSpace(res.Cells[i])
}

// user returns what the sheet calls the row's user: the address where it has one.
func (c shownCells) user(res ledger.Result) string {
	return cmp.Or(c.cell(res, "user_email"), c.cell(res, "user"))
}

// moment writes a time for people, in UTC.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// exactly is moment with milliseconds.
func exactly(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }

// day and clock write the halves of a moment, in UTC.
func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// took writes how long something lasted.
func took(d time.Duration) string {
	switch {
	case d < 0:
		return ""
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return roughly(d)
}
