package batch

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

func TestLiesAhead(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("here", 5*3600+1800)
	now := time.Date(2026, 11, 26, 0, 30, 0, 0, zone) // the 25th in UTC
	for _, tc := range []struct {
		value string
		due   string // "past", "ahead" or "unread", as the day from which a row is due
		last  string // as a last day
	}{
		{value: "", due: "past", last: "past"},
		{value: "N/A", due: "past", last: "past"},
		{value: "-", due: "past", last: "past"},
		{value: "2026-11-25", due: "past", last: "past"},
		{value: "2026-11-26", due: "past", last: "ahead"},
		{value: "2026-11-27", due: "ahead", last: "ahead"},
		{value: "20261127", due: "ahead", last: "ahead"},
		{value: "20261125", due: "past", last: "past"},
		{value: "2026-11-26 00:15", due: "past", last: "ahead"},
		{value: "2026-11-26 09:00:00", due: "ahead", last: "ahead"},
		{value: "11/26/26 5:00 pm", due: "ahead", last: "ahead"},
		{value: "2026-11-25T19:00:00Z", due: "past", last: "past"}, // the instant now
		{value: "2026-11-25T19:00:01Z", due: "ahead", last: "past"},
		{value: "2026-11-26T00:00:00+05:30", due: "past", last: "ahead"},
		{value: "31.12.2026", due: "ahead", last: "ahead"},
		{value: "31/12/2026", due: "ahead", last: "ahead"},
		{value: "12/31/2026", due: "ahead", last: "ahead"},
		{value: "12/31/25", due: "past", last: "past"},
		{value: "01/12/2026", due: "ahead", last: "ahead"}, // the first of December, or the twelfth of January
		{value: "10/11/2026", due: "past", last: "past"},   // in October or November, over both ways
		{value: "27-11-26", due: "ahead", last: "ahead"},
		{value: "30. Jun. 2026", due: "past", last: "past"},
		{value: "Monday, November 30, 2026", due: "ahead", last: "ahead"},
		{value: "30-Nov-26", due: "ahead", last: "ahead"},
		{value: "30 Nov 98", due: "past", last: "past"},
		{value: "tbd", due: "unread", last: "unread"},
		{value: "end of month", due: "unread", last: "unread"},
		{value: "46357", due: "unread", last: "unread"},
		{value: "31.02.2026", due: "unread", last: "unread"},
		{value: "2026", due: "unread", last: "unread"},
		{value: "30. Dezember 2026", due: "unread", last: "unread"},
	} {
		for _, side := range []struct {
			last bool
			want string
		}{{false, tc.due}, {true, tc.last}} {
			ahead, read := liesAhead(tc.value, side.last, now)
			got := map[[2]bool]string{{false, true}: "past", {true, true}: "ahead", {false, false}: "unread"}[[2]bool{ahead, read}]
			if got != side.want {
				t.Errorf("%q (last day: %v) is %s, want %s", tc.value, side.last, got, side.want)
			}
		}
	}
}

func TestSheetsWithDatesAhead(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, header string
		rows         []string // action and date
		want         string   // of the error; "" for none
	}{
		{"a leaver of next month", "Last Working Day", []string{"revoke 2026-06-30", "revoke 2026-12-31", "revoke_all 2026-12-31", "revoke 2026-12-30"},
			`line 3 takes access away, and its Last Working Day "2026-12-31" lies ahead; so it is with 2 more (lines 4-5)`},
		{"what can not be read", "due-date", []string{"revoke soon"}, `line 2 takes access away, and its due-date "soon" can not be read as a date and may lie ahead`},
		{"a share gives, and early is no harm", "not_before", []string{"share 2026-12-31"}, ""},
		{"days that are over", "EXIT DATE", []string{"revoke 2026-11-25", "revoke -"}, ""},
		{"another column", "left on", []string{"revoke 2026-12-31"}, ""},
		{"a row that is wrong anyway", "last_day", []string{"revoke_all 2026-12-31"}, `line 2 takes access away, and its last_day "2026-12-31" lies ahead`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, newFake(t))
			b.opts.Now = func() time.Time { return now }
			text := "action,object,record_id,user,access," + tc.header + "\n"
			for i, row := range tc.rows {
				action, date, _ := strings.Cut(row, " ")
				user := "u1"
				if action == "revoke_all" {
					user = ""
				}
				text += fmt.Sprintf("%s,thing,r%d,%s,read,%s\n", action, i, user, date)
			}
			in, err := sheet.Open(strings.NewReader(text), "sheet.csv", sheet.Options{})
			if err != nil {
				t.Fatal(err)
			}
			batch, err := New(b.led, b.opts)
			if err != nil {
				t.Fatal(err)
			}
			err = batch.LoadSheet(t.Context(), in)
			ahead, refused := errors.AsType[*AheadError](err)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("got %v, want it taken", err)
			case tc.want != "" && (!refused || ahead.Error() != tc.want):
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
