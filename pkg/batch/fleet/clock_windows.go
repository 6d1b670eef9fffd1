package fleet

import "golang.org/x/sys/windows"

// systemClock is the time since Windows was started, sleep included.
func systemClock() clock { return windows.DurationSinceBoot }
