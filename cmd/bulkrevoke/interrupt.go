package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// telling returns a context that is done when parent is, after the user has been told
// what that means if a signal is the cause. stop ends it.
func (a *app) telling(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	told := make(chan struct{})
	unhook := context.AfterFunc(parent, func() {
		defer close(told)
		cause := context.Cause(parent)
		if s, ok := errors.AsType[*signalError](cause); ok && !a.serving.Load() {
			a.tellInterrupted(s.signal)
		}
		cancel(cause)
	})
	return ctx, func() {
		if !unhook() {
			<-told
		}
		cancel(nil)
	}
}

// tellInterrupted answers a signal: what is still under way, how long it may take, and
// what a second one does. It is an answer, so that --quiet does not silence it.
func (a *app) tellInterrupted(s os.Signal) {
	open := 0
	if b := a.working.Load(); b != nil {
		open = b.OpenCalls()
	}
	what, again := "interrupted", "Ctrl-C again"
	switch s {
	case syscall.SIGTERM:
		what, again = "asked to end (SIGTERM)", "a second signal"
	case syscall.SIGHUP:
		what, again = "the terminal is gone (SIGHUP)", "another signal"
	}
	most := batch.DrainLimit.Round(time.Second)
	text := what + ": no call is open, ending now"
	switch {
	case open == 1:
		text = fmt.Sprintf("%s: 1 call is still open, waiting at most %s for it; %s ends now (its rows are then looked up or in doubt)", what, most, again)
	case open > 1:
		text = fmt.Sprintf("%s: %d calls are still open, waiting at most %s for them; %s ends now (their rows are then looked up or in doubt)", what, open, most, again)
	}
	a.screen.Tell(report.Event{Text: text + "\n", Name: "interrupted", Level: slog.LevelWarn, Attrs: []slog.Attr{
		slog.String("text", text), slog.String("signal", s.String()), slog.Int("open_calls", open), slog.Float64("seconds_at_most", most.Seconds()),
	}})
}

// endedAtOnce is the last that is said when a second signal ends the process.
func (a *app) endedAtOnce() {
	const text = "ended at once; run the same command to go on"
	a.screen.Status("")
	a.screen.Tell(report.Event{Text: text + "\n", Name: "ended at once", Level: slog.LevelWarn, Attrs: []slog.Attr{slog.String("text", text)}})
	a.shown.Flush()
}
