package batch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// AheadError refuses a sheet some row of which takes access away and says a day for it
// that has not come, or that can not be read: nothing here waits for a day, and the
// access of somebody who is still there would be gone.
type AheadError struct {
	Line   int
	Column string // as the sheet has it
	Value  string
	Unread bool  // whether Value lies ahead is not known
	Others Lines // the other rows
}

func (e *AheadError) Error() string {
	what := "lies ahead"
	if e.Unread {
		what = "can not be read as a date and may lie ahead"
	}
	text := fmt.Sprintf("line %d takes access away, and its %s %s %s", e.Line, e.Column, crm.Quote(e.Value), what)
	if e.Others.n > 0 {
		text += fmt.Sprintf("; so it is with %d more (%s)", e.Others.n, e.Others.String())
	}
	return text
}

// dates finds rows that take access away on a day that has not come.
type dates struct {
	columns []sheet.DateColumn
	now     time.Time
	ord     int64
	refused *AheadError
}

// see takes in the next row.
func (d *dates) see(rec sheet.Record) {
	d.ord++
	if action, ok := crm.ParseAction(rec.Fields.Action); !ok || action == crm.Share {
		return
	}
	for _, c := range d.columns {
		value := strings.TrimSpace(rec.Cells[c.Pos])
		ahead, read := liesAhead(value, c.Last, d.now)
		if !ahead && read {
			continue
		}
		if d.refused == nil {
			d.refused = &AheadError{Line: rec.Line, Column: c.Name, Value: crm.Shown(value), Unread: !read}
		} else {
			d.refused.Others.add(d.ord, rec.Line)
		}
		return
	}
}

// noDates are the words for no date at all.
func noDates() []string { return []string{"", "-", "--", "–", "—", "n/a", "na", "none"} }

// liesAhead reports whether a date has not come at now, in the time zone of now; last
// says that it is a last day, which has come when it is over. Where a date can be read
// in several ways, one that lies ahead counts. read is false for what is no date.
func liesAhead(value string, last bool, now time.Time) (ahead, read bool) {
	if slices.Contains(noDates(), strings.ToLower(value)) {
		return false, true
	}
	if at, err := time.Parse(time.RFC3339, value); err == nil {
		if !last {
			return at.After(now), true
		}
		value = at.Format(time.DateOnly)
	}
	day, clock := splitClock(value)
	for _, d := range readings(day) {
		read = true
		due := time.Date(d.year, time.Month(d.month), d.day, 0, 0, 0, 0, now.Location())
		if last {
			due = due.AddDate(0, 0, 1)
		} else {
			due = due.Add(clock)
		}
		ahead = ahead || due.After(now)
	}
	return ahead, read
}

// splitClock takes the time of day off a date.
func splitClock(value string) (day string, clock time.Duration) {
	for i, c := range value {
		if c != ' ' && c != 'T' {
			continue
		}
		for _, layout := range []string{"15:04", "15:04:05", "3:04 PM", "3:04:05 PM", "15:04:05.999999999"} {
			if at, err := time.Parse(layout, strings.ToUpper(strings.TrimSpace(value[i+1:]))); err == nil {
				return value[:i], time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second
			}
		}
	}
	return value, 0
}

// date is a day of the calendar.
type date struct{ year, month, day int }

// readings returns every day that a text may stand for: with the year first or last,
// and, where the month is a number, the day before or after it.
func readings(text string) (days []date) {
	var numbers []string
	month := 0
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" ./-,", r) }) {
		if n := monthNamed(word); n > 0 && month == 0 {
			month = n
		} else if strings.Trim(word, "0123456789") == "" {
			numbers = append(numbers, word)
		} else if !weekday(word) {
			return nil
		}
	}
	add := func(year string, month, day int) {
		y, _ := strconv.Atoi(year)
		switch len(year) {
		case 2: // as Excel reads it
			if y += 2000; y >= 2030 {
				y -= 100
			}
		case 4:
		default:
			return
		}
		if at := time.Date(y, time.Month(month), day, 0, 0, 0, 0, time.UTC); at.Month() == time.Month(month) && at.Day() == day {
			days = append(days, date{y, month, day})
		}
	}
	number := func(i int) int {
		n, err := strconv.Atoi(numbers[i])
		if err != nil || len(numbers[i]) > 2 {
			return 0
		}
		return n
	}
	switch {
	case month > 0 && len(numbers) == 2:
		add(numbers[1], month, number(0))
		add(numbers[0], month, number(1))
	case month == 0 && len(numbers) == 3:
		add(numbers[0], number(1), number(2))
		add(numbers[2], number(1), number(0))
		add(numbers[2], number(0), number(1))
	case month == 0 && len(numbers) == 1 && len(numbers[0]) == 8:
		n := numbers[0]
		numbers = []string{n[:4], n[4:6], n[6:]}
		add(numbers[0], number(1), number(2))
	}
	return days
}

// monthNamed returns the number of a month by its English name or the first three
// letters of it, 0 for anything else.
func monthNamed(word string) int {
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(word, m.String()) || strings.EqualFold(word, m.String()[:3]) {
			return int(m)
		}
	}
	return 0
}

func weekday(word string) bool {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(word, d.String()) || strings.EqualFold(word, d.String()[:3]) {
			return true
		}
	}
	return false
}
