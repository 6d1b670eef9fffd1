package fleet

import (
	"time"

	"golang.org/x/sys/unix"
)

// systemClock is macOS's CLOCK_MONOTONIC, which counts sleep too.
func systemClock() clock {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return sinceStart()
	}
	return func() time.Duration {
		var t unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
			return 1 << 62 // every lease is over
		}
		return time.Duration(t.Nano())
	}
}
