package transport

import "time"

// bootClock is a clock that nobody sets: it counts from the machine's start, also
// while the machine sleeps. The zero value is no such clock.
type bootClock struct {
	// boot is which start of which machine it counts from. What is zero, or the same for
	// every start, is told from others by a count that has become smaller.
	boot [16]byte
	up   func() time.Duration // nil if there is none
}

// now returns the clock's reading, and false if there is no clock.
func (c bootClock) now() (time.Duration, bool) {
	if c.up == nil {
		return 0, false
	}
	up := c.up()
	return up, up > 0
}
