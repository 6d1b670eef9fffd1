package main

import (
	"fmt"
	"log/slog"

	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// newLog returns the log of a command, on its screen, which takes the form that the log is
// to have.
func newLog(screen *report.Screen, o *options) *slog.Logger {
	level := slog.LevelInfo
	// The flag takes the names of slog's levels only.
	_ = level.UnmarshalText([]byte(o.logLevel.value))
	if o.quiet {
		level = max(level, slog.LevelError)
	}
	if o.logFormat.value == "json" {
		screen.UseJSON()
	}
	return screen.Log(level)
}

// say tells what came of a command: people a line, machines an event that has the same
// name each time, and the line's figures beside it.
func (a *app) say(name string, figures []slog.Attr, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	a.screen.Tell(report.Event{Text: text + "\n", Name: name, Attrs: append(figures, slog.String("text", text))})
}
