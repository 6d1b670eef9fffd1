package transport

import (
	"crypto/sha256"
	"time"

	"golang.org/x/sys/unix"
)

// systemClock is macOS's CLOCK_MONOTONIC, which counts sleep too.
func systemClock() bootClock {
	session, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return bootClock{}
	}
	sum := sha256.Sum256([]byte(session))
	return bootClock{boot: [16]byte(sum[:16]), up: func() time.Duration {
		var t unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
			return 0
		}
		return time.Duration(t.Nano())
	}}
}
