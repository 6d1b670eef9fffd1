package main

import "syscall"

// brokenPipes are what a write to a pipe fails with that nobody reads:
// ERROR_BROKEN_PIPE and ERROR_NO_DATA.
var brokenPipes = []error{syscall.ERROR_BROKEN_PIPE, syscall.Errno(232)}
