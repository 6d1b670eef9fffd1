//go:build unix

package main

import "syscall"

// leaveNoCore keeps a crash from leaving the process's memory in a file. Where that is
// not to be had, the system's own setting stands.
func leaveNoCore() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
