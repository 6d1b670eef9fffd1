package report

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// peopleColumns are the columns of evidence by person.
func peopleColumns() []string {
	return []string{"person", "email", "last_day", "taken", "given", "kept", "open", "first_sent_at", "last_confirmed_at", "hours", "late", "not_covered"}
}

// PeopleCounts is how many people evidence by person names, and how many of them stand how.
type PeopleCounts struct{ People, Open, Late int64 }

// WritePeople writes, for everybody whom the ledger's sheet names, a line with what was
// taken from them and given to them and when: comma-separated values, as the sheet is
// written. One person are the rows that name somebody by id and by address. Who has an open
// row, one that is not due among them, has no end time. With an sla, late says whether a row
// took longer from its date to its confirmation, or has been open for longer by now.
//
// The file is replaced as a whole, under the rules of CheckPeople, with mode 0600. It works
// on a ledger that is open for reading only; memory does not grow with the rows.
func WritePeople(ctx context.Context, led *ledger.Ledger, path string, sla time.Duration, now time.Time) (counts PeopleCounts, err error) {
	layout, err := layoutOf(ctx, led)
	if err != nil {
		return counts, err
	}
	columns := cellsOf(layout)
	err = peopleFile().replace(ctx, path, func(w io.Writer) error {
		line := newCSV(w, layout)
		line.add(peopleColumns()...)
		failed := line.end()
		all := newPeople(0)
		all.each = func(who *person) {
			if failed != nil {
				return
			}
			counts.add(who, sla, now)
			line.add(personCells(who, sla, now)...)
			failed = line.end()
		}
		for res, err := range led.ResultsByPerson(ctx) {
			if err != nil {
				return err
			}
			if all.add(res, columns.user(res)); failed != nil {
				return failed
			}
		}
		all.end()
		if n := all.rest.Rows; n > 0 { // more than are told apart
			all.each(&person{Named: "others, whom only invalid rows name", Counts: all.rest, Access: accessTimes{open: true}})
		}
		return failed
	})
	return counts, err
}

func (c *PeopleCounts) add(who *person, sla time.Duration, now time.Time) {
	if who.somebody() {
		c.People++
	}
	if who.Open() > 0 {
		c.Open++
	}
	if who.Access.Late(sla, now) {
		c.Late++
	}
}

// personCells returns the cells of a person, in the order of peopleColumns.
func personCells(who *person, sla time.Duration, now time.Time) []string {
	name, late, a := who.Name(), "", &who.Access
	if id := who.User(); id != "" {
		name = id
	}
	if name == "" {
		name = "everybody on the record"
	}
	if sla > 0 {
		late = "no"
		if a.Late(sla, now) {
			late = "yes"
		}
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return []string{
		inert(name), inert(who.Email), a.LastDay, number(a.Taken), number(a.Given), number(a.Kept), number(who.Open()),
		stamp(a.FirstSent), stamp(a.LastConfirmed()), a.Hours(), late, notCovered,
	}
}
