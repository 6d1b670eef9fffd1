package main

import (
	"io"
	"log/slog"

	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// newLog returns the log of a run. What a text from outside could do to a terminal
// or to another line is taken out of every attribute.
func newLog(w io.Writer, o *options) *slog.Logger {
	level := slog.LevelInfo
	// The flag takes the names of slog's levels only.
	_ = level.UnmarshalText([]byte(o.logLevel.value))
	if o.quiet {
		level = max(level, slog.LevelError)
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: safeAttr}
	if o.logFormat.value == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// safeAttr makes the text of an attribute printable.
func safeAttr(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(report.Printable(a.Value.String()))
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(report.Printable(err.Error()))
		}
	}
	return a
}
