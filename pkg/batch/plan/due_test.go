package plan

import (
	"errors"
	"testing"
	"time"
	_ "time/tzdata"
)

func TestDates(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ notBefore, lastDay, zone, want string }{
		{"", "", "", ""},
		{"2026-11-30", "", "UTC", "2026-11-30T00:00:00Z"},
		{"2026-11-30", "", "Asia/Kolkata", "2026-11-29T18:30:00Z"},
		{"", "2026-11-30", "Asia/Kolkata", "2026-11-30T18:30:00Z"},
		{"", "2026-11-30", "America/New_York", "2026-12-01T05:00:00Z"},
		{"2026-11-30T18:00:00+01:00", "", "", "2026-11-30T17:00:00Z"},
		{"2026-11-30 18:00:00", "", "Europe/Berlin", "2026-11-30T17:00:00Z"},
		// The nights on which clocks change: the day begins before the change.
		{"", "2026-03-28", "Europe/Berlin", "2026-03-28T23:00:00Z"},
		{"", "2026-03-29", "Europe/Berlin", "2026-03-29T22:00:00Z"},
		{"", "2026-10-24", "Europe/Berlin", "2026-10-24T22:00:00Z"},
		{"", "2026-10-25", "Europe/Berlin", "2026-10-25T23:00:00Z"},
		{"2026-03-29 02:30:00", "", "Europe/Berlin", "2026-03-29T01:00:00Z"}, // no clock shows it
		{"2026-10-25 02:30:00", "", "Europe/Berlin", "2026-10-25T00:30:00Z"}, // clocks show it twice
		// Days that begin at 01:00, and one on which 00:00 comes twice.
		{"2026-04-24", "", "Africa/Cairo", "2026-04-23T22:00:00Z"},
		{"", "2026-03-28", "Asia/Beirut", "2026-03-28T22:00:00Z"},
		{"2026-11-01", "", "America/Havana", "2026-11-01T04:00:00Z"},
		{"", "2011-12-29", "Pacific/Apia", "2011-12-30T10:00:00Z"}, // a day that was left out
		// A Saturday is a day like others, and so is the end of a year.
		{"", "2026-11-28", "Europe/Berlin", "2026-11-28T23:00:00Z"},
		{"", "2026-12-31", "UTC", "2027-01-01T00:00:00Z"},
		{"", "2028-02-28", "UTC", "2028-02-29T00:00:00Z"},
	} {
		var zone *time.Location
		if tc.zone != "" {
			var err error
			if zone, err = time.LoadLocation(tc.zone); err != nil {
				t.Fatal(err)
			}
		}
		a, err := NotBefore(tc.notBefore, zone)
		b, err2 := AfterDay(tc.lastDay, zone)
		if err := errors.Join(err, err2); err != nil {
			t.Errorf("%+v: %v", tc, err)
			continue
		}
		got := ""
		if at := Later(a, b); !at.IsZero() {
			got = at.UTC().Format(time.RFC3339)
		}
		if got != tc.want {
			t.Errorf("%+v: got %s", tc, got)
		}
	}
}

func TestDatesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"30.11.2026", "11/30/2026", "2026-11-31", "2026-02-29", "26-11-30", "46356", "next Friday", "n/a", "-", "#N/A", "20261130", "2026-11-30T18:00", "30 Nov 2026", "2026-1-2"} {
		if at, err := NotBefore(text, time.UTC); !errors.Is(err, ErrMoment) {
			t.Errorf("not before %q: %v, %v", text, at, err)
		}
		if at, err := AfterDay(text, time.UTC); !errors.Is(err, ErrDate) {
			t.Errorf("last day %q: %v, %v", text, at, err)
		}
	}
	if at, err := AfterDay("2026-11-30T18:00:00Z", time.UTC); !errors.Is(err, ErrDate) {
		t.Errorf("a last day with a time: %v, %v", at, err)
	}
	for _, text := range []string{"0000-01-01", "0001-01-01", "1899-12-30", "1969-12-31", "1900-01-01T00:00:00Z", "1900-01-01 00:00:00"} {
		if at, err := NotBefore(text, time.UTC); !errors.Is(err, ErrLongAgo) {
			t.Errorf("%q: %v, %v", text, at, err)
		}
	}
	if at, err := AfterDay("0001-01-01", time.UTC); !errors.Is(err, ErrLongAgo) {
		t.Errorf("a last day long ago: %v, %v", at, err)
	}
	for _, text := range []string{"2026-11-30", "2026-11-30 18:00:00"} {
		if at, err := NotBefore(text, nil); !errors.Is(err, ErrNoZone) {
			t.Errorf("%q without a zone: %v, %v", text, at, err)
		}
	}
	if _, err := AfterDay("2026-11-30", nil); !errors.Is(err, ErrNoZone) {
		t.Errorf("a last day without a zone: %v", err)
	}
}

func TestLater(t *testing.T) {
	t.Parallel()
	a, b := time.Unix(1, 0), time.Unix(2, 0)
	for _, tc := range [][3]time.Time{{a, b, b}, {b, a, b}, {{}, a, a}, {a, {}, a}, {}} {
		if got := Later(tc[0], tc[1]); !got.Equal(tc[2]) {
			t.Errorf("Later(%v, %v) = %v", tc[0], tc[1], got)
		}
	}
}
