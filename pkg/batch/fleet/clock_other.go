//go:build !linux && !darwin && !windows

package fleet

func systemClock() clock { return sinceStart() }
