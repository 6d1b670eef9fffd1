//go:build !windows

package main

import "syscall"

// brokenPipes are what a write to a pipe fails with that nobody reads.
var brokenPipes = []error{syscall.EPIPE}
