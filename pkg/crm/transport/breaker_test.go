package transport

import (
	"strings"
	"testing"
	"time"
)

func TestBreakerNext(t *testing.T) {
	t.Parallel()
	// Each letter is an attempt: g good, f failing, a misdirected; a digit is a wait of so
	// many ten seconds before the next. The want has one word per attempt.
	tests := map[string]struct {
		attempts string
		want     string
	}{
		"good":                         {"gggg", "- - - -"},
		"a few failures":               {"ffff", "- - - -"},
		"a good one forgets":           {"ffffgffff", "- - - - - - - - -"},
		"pauses grow":                  {"fffffffffff", "- - - - 1s 2s 4s 8s 16s 30s 30s"},
		"twelve end it":                {"ffffffffffff", "- - - - 1s 2s 4s 8s 16s 30s 30s end"},
		"pauses begin anew":            {"fffffffgfffff", "- - - - 1s 2s 4s - - - - - 1s"},
		"two minutes end it":           {"ffffff994f", "- - - - 1s 2s end"},
		"slow failures do not":         {"f9f9f9f9f", "- - - - 1s"},
		"misdirected ends fast":        {"aaa", "1s 2s end"},
		"misdirected once":             {"agaga", "1s - 1s - 1s"},
		"misdirected after failures":   {"ffaaa", "- - 1s 2s end"},
		"misdirected between failures": {"afafff", "1s - 1s - 1s 2s"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b breaker
			var got []string
			now := time.Unix(1e9, 0)
			for _, c := range tt.attempts {
				var trip tripped
				switch c {
				case 'g':
					b, trip = b.next(healthy, now, 0)
				case 'f':
					b, trip = b.next(failing, now, 0)
				case 'a':
					b, trip = b.next(misdirected, now, 0)
				default:
					now = now.Add(10 * time.Second * time.Duration(c-'0'))
					continue
				}
				switch {
				case trip.end:
					got = append(got, "end")
				case trip.pause > 0:
					got = append(got, trip.pause.String())
				default:
					got = append(got, "-")
				}
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestBreakerJitter(t *testing.T) {
	t.Parallel()
	for _, jitter := range []float64{0, 0.5, 0.999} {
		b := breaker{row: 8, down: time.Unix(0, 0)}
		_, trip := b.next(failing, time.Unix(1, 0), jitter)
		if low, high := 16*time.Second, 20*time.Second; trip.pause < low || trip.pause > high {
			t.Errorf("got a pause of %v with jitter %v, want %v to %v", trip.pause, jitter, low, high)
		}
	}
}
