package report

import (
	"fmt"
	"strconv"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// notCovered is what no evidence of this program says anything about.
const notCovered = "Not covered: ownership, roles, territories, profiles, sharing rules, other systems."

// accessTimes are how one person's access was taken and given, and when.
type accessTimes struct {
	LastDay            string // the latest of the rows, "" where the sheet has none
	Taken, Given, Kept int64  // rows; the first two are confirmed
	FirstSent          time.Time
	open               bool          // some row is not as the sheet asks
	confirmed          time.Time     // the last time that a row was
	took               time.Duration // the longest from a row's date to its confirmation
	dated              bool          // some confirmed row has a date
	waiting            time.Time     // the earliest date of an open row
}

// add takes in a row.
func (a *accessTimes) add(res ledger.Result) {
	a.LastDay = max(a.LastDay, res.LastDay)
	if !res.SentAt.IsZero() && (a.FirstSent.IsZero() || res.SentAt.Before(a.FirstSent)) {
		a.FirstSent = res.SentAt
	}
	switch {
	case res.Invalid || res.Status != crm.Done && res.Status != crm.Unchanged:
		a.open = true
		if !res.Due.IsZero() && (a.waiting.IsZero() || res.Due.Before(a.waiting)) {
			a.waiting = res.Due
		}
		return
	case res.Code == crm.CodeKept:
		a.Kept++
	case res.Status == crm.Unchanged:
	case res.Op.Action == crm.Share:
		a.Given++
	default:
		a.Taken++
	}
	if res.ConfirmedAt.After(a.confirmed) {
		a.confirmed = res.ConfirmedAt
	}
	if !res.Due.IsZero() && !res.ConfirmedAt.IsZero() {
		a.dated, a.took = true, max(a.took, res.ConfirmedAt.Sub(res.Due))
	}
}

// join adds the rows that another name of the person has.
func (a *accessTimes) join(o accessTimes) {
	a.LastDay, a.open = max(a.LastDay, o.LastDay), a.open || o.open
	if !o.waiting.IsZero() && (a.waiting.IsZero() || o.waiting.Before(a.waiting)) {
		a.waiting = o.waiting
	}
}

// LastConfirmed is when the last row was confirmed; zero as long as one is open.
func (a *accessTimes) LastConfirmed() time.Time {
	if a.open {
		return time.Time{}
	}
	return a.confirmed
}

// Hours is how long the row took that took longest from its date to its confirmation, in
// hours; "" as long as a row is open, and where no row has a date.
func (a *accessTimes) Hours() string {
	if a.open || !a.dated {
		return ""
	}
	return strconv.FormatFloat(a.took.Hours(), 'f', 1, 64)
}

// Late says whether a row took longer than sla from its date to its confirmation, or has
// been open for longer at the given moment.
func (a *accessTimes) Late(sla time.Duration, now time.Time) bool {
	return sla > 0 && (a.dated && a.took > sla || !a.waiting.IsZero() && now.Sub(a.waiting) > sla)
}

// Told says in a line when it was.
func (a *accessTimes) Told() string {
	text := ""
	add := func(format string, args ...any) {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf(format, args...)
	}
	if a.LastDay != "" {
		add("last day %s", a.LastDay)
	}
	if !a.FirstSent.IsZero() {
		add("first sent %s", utc(a.FirstSent, clockFormat))
	}
	if at := a.LastConfirmed(); !at.IsZero() {
		add("last confirmed %s", utc(at, clockFormat))
	}
	if hours := a.Hours(); hours != "" {
		add("%s hours after it was due", hours)
	}
	return text
}

// clockFormat is a moment in a line of text.
const clockFormat = "2006-01-02 15:04 UTC"
