package batch

import (
	"fmt"
	"testing"
)

// A percentage is one of the rows that looks have come to an end with, from the
// 50th row that was sent and the last early look on; a number is one of rows.
func TestGuardCountsWhatLooksShow(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		limits          Guard
		sent, good, bad int64
		over            bool
	}{
		{Guard{Percent: 20}, 3000, 0, 20, true},
		{Guard{Percent: 20}, 3000, 0, 19, false},
		{Guard{Percent: 20}, 49, 0, 20, false},
		{Guard{Percent: 20}, 3000, 80, 20, false},
		{Guard{Percent: 20}, 3000, 79, 21, true},
		{Guard{Percent: 20}, 3000, 3000, 0, false},
		{Guard{Failures: 5}, 5, 100, 5, true},
		{Guard{Failures: 5}, 5, 100, 4, false},
		{Guard{}, 3000, 0, 3000, false},
	} {
		t.Run(fmt.Sprint(tc), func(t *testing.T) {
			t.Parallel()
			g := newGuard(tc.limits)
			if err := g.note(tc.sent, 0); err != nil {
				t.Fatal(err)
			}
			if err := g.looked(tc.good, 0); err != nil {
				t.Fatal(err)
			}
			if err := g.looked(tc.bad, tc.bad); (err != nil) != tc.over {
				t.Errorf("error is %v, want one: %t", err, tc.over)
			}
		})
	}
}
