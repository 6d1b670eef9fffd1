package transport

import "golang.org/x/sys/windows"

// systemClock is the time since Windows was started. It has no name for a start: after
// another one stamps seem to be younger than they are, and a gate waits for them once.
func systemClock() bootClock {
	return bootClock{boot: [16]byte{'w', 'i', 'n'}, up: windows.DurationSinceBoot}
}
