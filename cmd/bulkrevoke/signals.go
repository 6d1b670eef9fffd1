package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// signalError says which signal asked the program to stop.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string { return "stopped by a signal: " + e.signal.String() }

// Is lets whoever asks for context.Canceled see a cancellation.
func (e *signalError) Is(target error) bool { return target == context.Canceled }

// notifySignals returns a context that the first SIGINT or SIGTERM cancels, with
// a *signalError as its cause. From then on signals do what they do by default, so
// that a second one ends the process at once. stop gives the signals back.
func notifySignals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(&signalError{s})
		case <-ctx.Done():
			signal.Stop(signals)
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		<-done
	}
}
