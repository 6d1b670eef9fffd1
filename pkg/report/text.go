package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// plural returns the word that goes with a number.
func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Count writes a number with its noun.
func Count(n int64, noun string) string { return fmt.Sprintf("%d %s", n, plural(n, noun, noun+"s")) }

// group writes a number with commas between its thousands.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// grouped writes a number as group does, with what follows it for one and for several.
func grouped(n int64, one, many string) string { return group(n) + " " + plural(n, one, many) }

// roughly writes a duration as people say it.
func roughly(d time.Duration) string {
	switch {
	case d < time.Second:
		return "1s"
	case d < 10*time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Round(time.Minute).Minutes()))
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// estimate writes how long an account will take.
func estimate(d time.Duration) string {
	if d < time.Second {
		return "less than a second"
	}
	return roughly(d)
}

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

// seconds returns a duration in seconds, to the millisecond.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// stampFormat is how a moment is written for a program, in UTC.
const stampFormat = "2006-01-02T15:04:05.000Z"

// stamp writes a moment for a program to read, in UTC; "" for the zero time.
func stamp(t time.Time) string { return utc(t, stampFormat) }

// moment writes a moment for people, in UTC; "" for the zero time.
func moment(t time.Time) string { return utc(t, "2006-01-02 15:04:05 UTC") }

// clock writes a moment as moment does, where the zone is told elsewhere.
func clock(t time.Time) string { return utc(t, time.DateTime) }

func utc(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}

// sentence ends a text with one full stop.
func sentence(text string) string { return strings.TrimRight(text, ". ") + "." }
