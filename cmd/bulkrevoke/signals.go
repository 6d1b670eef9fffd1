package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

// signalsTogether is the time within which signals count as one: whoever stops a
// process often sends its signal to the process and to the group that it is in.
const signalsTogether = 200 * time.Millisecond

// signalError says which signal asked the program to stop.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string { return "stopped by a signal: " + e.signal.String() }

// Is lets whoever asks for context.Canceled see a cancellation.
func (e *signalError) Is(target error) bool { return target == context.Canceled }

// notifySignals returns a context that the first SIGINT, SIGTERM or SIGHUP cancels, with
// a *signalError as its cause. A second one ends the process at once, after last has been
// called; so does SIGQUIT, which Go would answer with a dump and an exit code that says
// something else here. A SIGHUP after another signal is that of a session which is taken
// down, and nobody's wish to have it end sooner; one that was ignored from the start, as
// nohup has it, stays ignored. stop gives the signals back.
//
// A broken pipe is no signal from here on, but an error of whoever writes to it.
func notifySignals(parent context.Context, last func()) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Ignore(syscall.SIGPIPE)
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer signal.Stop(signals)
		var first time.Time
		for {
			select {
			case <-over:
				return
			case s := <-signals:
				switch {
				case s == syscall.SIGQUIT:
					last()
					endBy(s)
				case first.IsZero():
					first = time.Now()
					cancel(&signalError{s})
				case s != syscall.SIGHUP && time.Since(first) > signalsTogether:
					last()
					endBy(s)
				}
			}
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		close(over)
		<-done
	}
}

// endBy ends the process as the signal does by default, so that whoever started it sees
// what ended it.
func endBy(s os.Signal) {
	if s != syscall.SIGQUIT { // that one Go would still answer itself
		signal.Reset(s)
		if self, err := os.FindProcess(os.Getpid()); err == nil && self.Signal(s) == nil {
			time.Sleep(time.Second) // it comes in a moment
		}
	}
	os.Exit(signalCode(s))
}

// crashAsSignal has a crash of the runtime end the process by a signal where there are
// signals, and not with code 2, which promises that nothing was sent. What was in memory
// then goes to no file: keys and rows are in it.
func crashAsSignal() {
	leaveNoCore()
	debug.SetTraceback("crash")
}
