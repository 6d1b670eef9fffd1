package main

import (
	"strings"
	"testing"
	"time"
)

// Accounts do not wait for each other: a sheet over many of them takes hardly longer than
// one over a single account, whose limit is what both take their time from.
func TestManyAccountsTakeNoLongerThanOne(t *testing.T) {
	t.Parallel()
	const accounts, rows, limit, window = 50, 8, 10, 3 * time.Second
	m := newManyAccounts(t, accounts, limit, window, 250*time.Millisecond) // 50 of them, one after the other, are 12.5 s
	m.sheet("one.csv", 1, rows)
	m.sheet("many.csv", accounts, rows)
	one, _, _ := m.run("run", "one.csv")
	time.Sleep(window) // its calls are none of the other run's
	many, _, _ := m.run("run", "many.csv", "--fresh")
	if ratio := many.Seconds() / one.Seconds(); ratio > 2.5 {
		t.Errorf("%d accounts took %v and one of them %v: %.1f times as long, want at most 2.5 times", accounts, many, one, ratio)
	}
	if c := m.counts(); c.Refused != 0 || c.Changes != (accounts+1)*rows {
		t.Errorf("the CRM has seen %+v, want %d changes and nothing refused", c, (accounts+1)*rows)
	}
}

// What many accounts need of open files is said before anything is sent, with the number.
func TestFilesForManyAccounts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		accounts int
		most     uint64
		refused  string
		atOnce   int // at most
	}{
		{1, 24, "", 1},
		{1, 23, "it needs at least 24", 0},
		{300, 1024, "", 400},
		{2000, 1024, "it needs at least 6021 for 2000 accounts", 0},
		{2000, 6021, "", 2000},
		{2000, 0, "", 1 << 20},
		{2000, 1<<64 - 1, "", 1 << 20}, // no bound
	} {
		got, err := callsAtOnce(tc.accounts, tc.most)
		if tc.refused == "" {
			if err != nil || got < 1 || got > tc.atOnce {
				t.Errorf("%d accounts and %d files: %d calls at once, %v; want at most %d", tc.accounts, tc.most, got, err, tc.atOnce)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.refused) || !strings.Contains(hintFor(err), "ulimit -n") {
			t.Errorf("%d accounts and %d files: %v", tc.accounts, tc.most, err)
		}
	}
}
