package fleet

import (
	"context"
	"log/slog"
)

// riverLog is the log for River: a level lower than River means, since whatever fails in
// it is tried again and only delays a sheet.
func riverLog(log *slog.Logger) *slog.Logger {
	return slog.New(lower{log.Handler()}).With("part", "river")
}

type lower struct{ to slog.Handler }

func lowered(l slog.Level) slog.Level { return l - 4 }

func (h lower) Enabled(ctx context.Context, l slog.Level) bool { return h.to.Enabled(ctx, lowered(l)) }

func (h lower) Handle(ctx context.Context, r slog.Record) error {
	r.Level = lowered(r.Level)
	return h.to.Handle(ctx, r)
}

func (h lower) WithAttrs(attrs []slog.Attr) slog.Handler { return lower{h.to.WithAttrs(attrs)} }
func (h lower) WithGroup(name string) slog.Handler       { return lower{h.to.WithGroup(name)} }
