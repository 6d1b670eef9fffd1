package plan

import (
	"errors"
	"time"
)

// The faults of dates, as they follow the quoted value.
var (
	ErrDate = errors.New("is not a date that can be read in one way only; it takes 2026-11-30, or a true date cell of a workbook")
	// ErrMoment is ErrDate where a time of day is possible.
	ErrMoment = errors.New("is not a date that can be read in one way only; it takes 2026-11-30, 2026-11-30T18:00:00+01:00, or a true date cell of a workbook")
	// ErrLongAgo says that a date is one that programs write where there is none.
	ErrLongAgo = errors.New("lies before 1970, as programs write a date that is missing; leave the cell empty where there is none")
	// ErrNoZone says that a date begins nowhere in particular.
	ErrNoZone = errors.New("begins at another moment in every time zone; say whose day is meant with --timezone, or timezone in the configuration, such as Europe/Berlin")
)

// cellMoment is how a date cell of a workbook that has a time of day is written.
const cellMoment = "2006-01-02 15:04:05"

// NotBefore returns the moment from which a row is due that names it: a date, which begins
// at 00:00 in the zone, or a moment by RFC 3339. Empty is the zero time. The zone may be nil
// where nobody has said one.
func NotBefore(text string, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, longAgo(at)
	}
	if at, err := time.Parse(cellMoment, text); err == nil {
		if zone == nil {
			return time.Time{}, ErrNoZone
		}
		return onWall(at, zone), longAgo(at)
	}
	return startOf(text, 0, zone, ErrMoment)
}

// AfterDay returns the moment from which a row is due that names a last day: 00:00 of the
// day after it, in the zone. Empty is the zero time.
func AfterDay(text string, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return startOf(text, 1, zone, ErrDate)
}

// startOf returns when the day begins that comes so many days after a date.
func startOf(text string, days int, zone *time.Location, wrong error) (time.Time, error) {
	day, err := time.Parse(time.DateOnly, text)
	switch {
	case err != nil:
		return time.Time{}, wrong
	case zone == nil:
		return time.Time{}, ErrNoZone
	}
	return onWall(day.AddDate(0, 0, days), zone), longAgo(day)
}

func longAgo(at time.Time) error {
	if at.Year() < 1970 {
		return ErrLongAgo
	}
	return nil
}

// onWall returns when clocks in the zone show what wall shows in UTC: for the first time
// where they go back over it, and the moment at which they go forward where that skips it.
func onWall(wall time.Time, zone *time.Location) time.Time {
	var first time.Time
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} { // the offsets before and after a change
		_, offset := wall.Add(near).In(zone).Zone()
		at := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if _, is := at.Zone(); is == offset && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if first.IsZero() {
		_, first = wall.Add(-24 * time.Hour).In(zone).ZoneBounds()
	}
	return first
}

// Later returns the later of two moments at which a row is due; the zero time is always.
func Later(a, b time.Time) time.Time {
	if a.IsZero() || b.After(a) {
		return b
	}
	return a
}
