package batch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/plan"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// ClockTolerance is how far this machine's clock and a CRM's may be apart for dates to
// count.
const ClockTolerance = 5 * time.Minute

// dates is what a go through all rows of the sheet finds out about their dates.
type dates struct {
	zone    *time.Location
	days    []DueDay // the first ones, by day; at most daysShown
	later   int64    // rows that are due after those
	notDue  int64
	overdue int64     // rows whose date has come, and which are not finished and wait for no other
	oldest  time.Time // the earliest date of those
	clock   int64     // rows with a date that can not be relied on, and those behind them
	// sending are the accounts with rows whose date has come that are to be sent.
	sending map[string]bool
}

// daysShown is how many days a plan tells one by one.
const daysShown = 10

// DueDay is how many rows become due on a day.
type DueDay struct {
	Day  string `json:"day"` // 2006-01-02
	Rows int64  `json:"rows"`
}

// add counts a row that becomes due later. What is left are the earliest days, whatever the
// order in which they come.
func (d *dates) add(due time.Time) {
	d.notDue++
	day := due.In(d.zone).Format(time.DateOnly)
	i, known := slices.BinarySearchFunc(d.days, day, func(e DueDay, day string) int {
		return cmp.Or(cmp.Compare(len(e.Day), len(day)), cmp.Compare(e.Day, day)) // years have five digits where 9999-12-31 is a last day
	})
	if known {
		d.days[i].Rows++
		return
	}
	d.days = slices.Insert(d.days, i, DueDay{Day: day, Rows: 1})
	if len(d.days) > daysShown {
		d.later += d.days[daysShown].Rows
		d.days = d.days[:daysShown]
	}
}

// hold leaves those rows of a target as they are whose date has not come, or can not be
// relied on, and those behind them: rows act in sheet order. What is finished stays so. What
// the CRM has accepted stays so too and is asked about where the account is asked anything,
// but it is not sent again before its date.
func (b *Batch) hold(acc *account, past, rows []ledger.Entry, choices []ledger.Choice, d *dates) {
	var first *ledger.Hold // of the first row that is held
	var line int           // of the row that those behind it wait for
	var until time.Time    // it is not due before
	for i := range choices {
		c, at := &choices[i], dueOf(rows[i])
		come := !at.IsZero() && !at.After(b.now)
		if c.Turn == ledger.TurnAsk && (!acc.needed || at.After(b.now)) {
			c.Turn = ledger.TurnNone // in its turn, it would be sent again where it stays unconfirmed
		}
		sends := c.Turn == ledger.TurnNormal || c.Turn == ledger.TurnLate
		waits := sends && first != nil && first.Status == crm.NotDue
		if come && !waits && (sends || c.Take >= 0 && past[c.Take].Status != crm.Done && past[c.Take].Status != crm.Unchanged) {
			d.late(at)
		}
		if !sends {
			continue
		}
		hold := first
		switch {
		case first != nil:
			hold = b.behind(first, line, until, at)
		case at.After(b.now):
			hold = b.notDue(at)
		case come && acc.clock != "":
			hold = &ledger.Hold{Status: crm.Unavailable, Code: crm.CodeClock, Message: acc.clock}
		case come:
			d.sending[acc.Name] = true
		}
		if hold == nil {
			continue
		}
		if first == nil {
			first, line, until = hold, rows[i].Line, at
		}
		c.Turn, c.Head = ledger.TurnNone, i
		switch {
		case c.Take >= 0 && (past[c.Take].Status == crm.Sent || past[c.Take].Status == crm.Uncertain || past[c.Take].Status == crm.Accepted):
			continue // it is in doubt or accepted, whatever its date says now
		case hold.Status == crm.NotDue:
			d.add(plan.Later(until, at))
		default:
			d.clock++
		}
		c.Hold = hold
		if waits && at.After(until) {
			line, until = rows[i].Line, at // those behind it wait for it
		}
	}
}

// late counts a row whose date has come, and which is not finished and waits for no other
// date.
func (d *dates) late(at time.Time) {
	if d.overdue++; d.oldest.IsZero() || at.Before(d.oldest) {
		d.oldest = at
	}
}

// dueOf returns the date of a row, zero where it has none.
func dueOf(e ledger.Entry) time.Time {
	if e.Due == 0 {
		return time.Time{}
	}
	return time.UnixMilli(e.Due)
}

// notDue is what becomes of a row before its date.
func (b *Batch) notDue(at time.Time) *ledger.Hold {
	return &ledger.Hold{Status: crm.NotDue, Code: crm.CodeNotDue, Message: "due from " + b.moment(at)}
}

// behind is what becomes of a row behind one that is held, which is not due until then.
func (b *Batch) behind(first *ledger.Hold, line int, until, at time.Time) *ledger.Hold {
	message := fmt.Sprintf("waits for line %d, ", line)
	switch {
	case first.Status != crm.NotDue:
		message += "whose date can not be relied on"
	case at.After(until):
		message += "and is due from " + b.moment(at)
	default:
		message += "which is due from " + b.moment(until)
	}
	return &ledger.Hold{Status: first.Status, Code: first.Code, Message: message}
}

// moment writes a moment as people read it in the zone of the sheet.
func (b *Batch) moment(at time.Time) string { return at.In(b.zone()).Format(time.RFC3339) }

// zone is where the days of the sheet begin; UTC where nobody has said.
func (b *Batch) zone() *time.Location {
	if b.opts.Zone == nil {
		return time.UTC
	}
	return b.opts.Zone
}

// kept is what becomes of a row that asks for nothing.
func kept() *ledger.Hold {
	return &ledger.Hold{Status: crm.Unchanged, Code: crm.CodeKept, Message: "looked at and decided: nothing is sent"}
}

// checkClocks compares this machine's clock with those of the CRMs that rows with a date are
// to be sent to, and reports whether one of them is so far off that dates do not count. A
// clock that is put forward would take away access too early.
func (b *Batch) checkClocks(ctx context.Context, d *dates) (wrong bool, err error) {
	err = b.sideBySide(func(acc *account) error {
		if !d.sending[acc.Name] {
			return nil
		}
		theirs, err := acc.Provider.Clock(ctx)
		ours := b.opts.Now()
		switch off := ours.Sub(theirs).Abs().Round(time.Second); {
		case err != nil:
			return b.endOrFail(ctx, acc, err)
		case theirs.IsZero():
			b.log.Warn("the CRM does not say what time it is, so this machine's clock alone says which dates have come", "account", acc.Name)
		case off > ClockTolerance:
			acc.clock = fmt.Sprintf("this machine's clock says %s and the CRM's %s, which is %s apart: dates count only where they agree within %s",
				ours.UTC().Format(time.RFC3339), theirs.UTC().Format(time.RFC3339), off, ClockTolerance)
			b.log.Warn("rows with a date are not attempted: the clocks of this machine and of the CRM differ", "account", acc.Name, "by", off)
		}
		return nil
	})
	for _, acc := range b.order {
		wrong = wrong || acc.clock != ""
	}
	return wrong, err
}

// clockError says why rows with a date are not attempted, nil where they are.
func (a *account) clockError() *crm.AccountError {
	if a.clock == "" {
		return nil
	}
	return &crm.AccountError{Code: crm.CodeClock, Err: fmt.Errorf("rows with a date are not attempted: %s", a.clock), Hint: "Set this machine's clock right, and run again."}
}
