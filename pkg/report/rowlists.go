package report

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const (
	// shownRows is how many open rows of one result a page lists: more is for the result
	// file. There are five such results, and two lists beside them.
	shownRows = 1000
	// wholeRows is how large a sheet may be of which a page names every row, also on paper.
	// Of a larger one it shows firstRows of each list and folds the rest away.
	wholeRows = 2000
	firstRows = 10
)

// The lists of rows that stand beside those of a result.
const (
	listAlarms  = "alarms"  // crm.CodeBystanderLost, whatever the result
	listRemarks = "remarks" // as the sheet asks, with something to be known about it
)

// gathered is what the rows of a ledger come to.
type gathered struct {
	counts  batch.Counts
	people  *people
	lists   map[string]openList // by result, or name of a list
	reasons Reasons
	longest ledger.Result // the row that took longest from sent to confirmed
}

// openList is a list of rows that somebody may have to look at.
type openList struct {
	Word           string // of their result; "" for what is not the list of one
	Title, Meaning string
	Shown          []openRow
	Folded         []openRow // what follows these
	rows           int64     // as many there are, shown or not
}

// openRow is a row as a page shows it.
type openRow struct {
	Line                                     int
	Action, Object, Record, Context, Account string
	User, Named                              string
	Code, Message                            string
	Details                                  string // when, attempts, status, request Id
}

// gather reads the rows of a ledger.
func gather(ctx context.Context, led *ledger.Ledger) (gathered, error) {
	g := gathered{lists: make(map[string]openList)}
	layout, err := layoutOf(ctx, led)
	if err != nil {
		return g, err
	}
	columns := cellsOf(layout)
	for res, err := range led.Results(ctx) {
		if err != nil {
			return g, err
		}
		countRow(&g.counts, res)
		if lasted(res) > lasted(g.longest) {
			g.longest = res
			g.longest.Cells = nil
		}
		lost := res.Code == crm.CodeBystanderLost
		if lost && !res.Invalid {
			g.list(listAlarms, res, columns)
		}
		switch {
		case isOpen(res):
			g.list(word(res), res, columns)
			g.reasons.add(res)
		case !lost && (res.Note != "" || res.Code == "" && res.Message != ""):
			// A message beside a code is the CRM's own way of saying that it is done.
			g.list(listRemarks, res, columns)
		}
	}
	most := namedRows
	if g.counts.Rows <= wholeRows {
		most = wholeRows
	}
	g.people = newPeople(most)
	for res, err := range led.ResultsByPerson(ctx) {
		if err != nil {
			return g, err
		}
		g.people.add(res, columns.user(res))
	}
	g.people.end()
	return g, nil
}

// lasted returns how long a row took from being sent to being confirmed, 0 if it
// was not.
func lasted(res ledger.Result) time.Duration {
	if res.Status != crm.Done || res.SentAt.IsZero() || res.ConfirmedAt.IsZero() {
		return 0
	}
	return res.ConfirmedAt.Sub(res.SentAt)
}

// list puts a row on a list, which has room for so many.
func (g *gathered) list(name string, res ledger.Result, columns shownCells) {
	l := g.lists[name]
	l.rows++
	if len(l.Shown) < shownRows {
		l.Shown = append(l.Shown, newOpenRow(res, columns))
	}
	g.lists[name] = l
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
	if !strings.EqualFold(r.User, res.Op.User) {
		r.Named = r.User
	}
	r.User = Printable(res.Op.User)
	if res.Op.Action == crm.RevokeAll {
		r.User, r.Named = "everybody", ""
	}
	return r
}

// message returns what there is to say about a row beside its code.
func message(res ledger.Result) string {
	if res.Status == crm.Sent && !res.Invalid {
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
