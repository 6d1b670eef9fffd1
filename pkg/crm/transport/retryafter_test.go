package transport

import (
	"net/http"
	"testing"
	"time"
)

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	tests := map[string]struct {
		value string
		want  time.Duration
		ok    bool
	}{
		"seconds":        {"5", 5 * time.Second, true},
		"zero":           {"0", 0, true},
		"spaces":         {" 5 ", 5 * time.Second, true},
		"an hour":        {"3600", time.Hour, true},
		"over an hour":   {"3601", 0, false},
		"absurd":         {"100000000000000000000000", 0, false},
		"overflow":       {"9223372037", 0, false},
		"negative":       {"-5", 0, false},
		"plus":           {"+5", 0, false},
		"fraction":       {"1.5", 0, false},
		"float":          {"1e3", 0, false},
		"empty":          {"", 0, false},
		"words":          {"soon", 0, false},
		"unit":           {"5s", 0, false},
		"other digits":   {"５", 0, false},
		"date":           {date(90 * time.Second), 90 * time.Second, true},
		"now":            {date(0), 0, true},
		"past":           {date(-time.Second), 0, false},
		"far":            {date(2 * time.Hour), 0, false},
		"RFC 850":        {now.Add(time.Minute).Format("Monday, 02-Jan-06 15:04:05 MST"), time.Minute, true},
		"asctime":        {now.Add(time.Minute).Format(time.ANSIC), time.Minute, true},
		"no HTTP date":   {now.Add(time.Minute).Format(time.RFC3339), 0, false},
		"several values": {"5, 10", 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, ok := ParseRetryAfter(tt.value, now); got != tt.want || ok != tt.ok {
				t.Errorf("got %v, %v, want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, v := range []string{
		"5", "0", "-1", "3600", "3601", "1e9", "100000000000000000000000", "", " 7 ",
		"Sun, 01 Mar 2026 12:01:30 GMT", "Sunday, 01-Mar-26 12:01:30 GMT", "Sun Mar  1 12:01:30 2026",
		"Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT",
	} {
		f.Add(v, int64(1772366400))
	}
	f.Fuzz(func(t *testing.T, v string, unix int64) {
		d, ok := ParseRetryAfter(v, time.Unix(unix, 0))
		if d < 0 || d > maxRetryAfter {
			t.Fatalf("%q gives a wait of %v", v, d)
		}
		if !ok && d != 0 {
			t.Fatalf("%q gives %v and says that it is nothing", v, d)
		}
	})
}
