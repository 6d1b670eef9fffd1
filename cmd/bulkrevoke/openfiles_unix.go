//go:build unix

package main

import "syscall"

// mostOpenFiles returns how many files this process may have open at once, connections
// among them; 0 if that is not known.
func mostOpenFiles() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur)
}
