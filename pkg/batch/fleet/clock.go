package fleet

import "time"

// A clock counts from some moment on, and nobody sets it. Only differences of its readings
// mean something, and only in this process.
type clock func() time.Duration

// sinceStart is the clock where there is none that counts while the machine sleeps.
func sinceStart() clock {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}
