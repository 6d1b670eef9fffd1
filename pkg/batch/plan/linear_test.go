package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Ten times as many equal rows take about ten times as long to decide about, whatever
// became of them in the night before.
func TestEqualRowsTakeLinearTime(t *testing.T) {
	const refused = Finished + 1 // for: happened, with a row behind that is refused every night
	for _, standing := range []Standing{Refused, Uncertain, Accepted, Happened, Finished, refused} {
		t.Run(fmt.Sprint(standing), func(t *testing.T) {
			took := func(n int) time.Duration {
				past := slices.Repeat([]Past{{Op: op('r'), Standing: min(standing, Finished)}}, n)
				sheet := slices.Repeat([]Op{op('r')}, n+n/10)
				if standing == refused {
					past[n/2].Standing = Happened
					past = append(past, parsePast("w! s")...)
					sheet = append(sheet, parseOps("ws")...)
				}
				start := time.Now()
				Again(past, sheet, Decide(past, sheet))
				return time.Since(start)
			}
			// The best of many: a machine that does something else meanwhile says nothing.
			few, many := time.Hour, time.Hour
			for range 50 {
				few, many = min(few, took(4_000)), min(many, took(40_000))
				if many <= 45*few {
					return
				}
			}
			t.Errorf("4,000 rows take %v and 40,000 rows take %v, more than 45 times as long", few, many)
		})
	}
}
