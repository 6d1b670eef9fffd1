package report

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
)

// ErrorEvent tells of what a command ended with, or of one thing that went wrong in it,
// and what somebody can do about it.
func ErrorEvent(message, hint string, code int) Event {
	text := fmt.Sprintf("bulkrevoke: error: %s\n", Printable(message))
	attrs := []slog.Attr{slog.String("error", message), slog.Int("exit_code", code)}
	if hint != "" {
		text += fmt.Sprintf("bulkrevoke: hint: %s\n", Printable(hint))
		attrs = append(attrs, slog.String("hint", hint))
	}
	return Event{Text: text, Name: "error", Level: slog.LevelError, Attrs: attrs}
}

// InvalidEvents tell of the invalid rows that a sheet was refused for: people of some of
// each kind, machines of each row, up to batch.InvalidShown.
func InvalidEvents(sheetName string, err error) (events []Event) {
	invalid, ok := errors.AsType[*batch.InvalidError](err)
	if !ok {
		return nil
	}
	events = append(events, Event{Text: strings.Join(invalidLines(sheetName, invalid), "\n") + "\n"})
	for _, row := range invalid.First {
		events = append(events, Event{Name: "invalid row", Level: slog.LevelError, Attrs: []slog.Attr{
			slog.String("sheet", sheetName), slog.Int("line", row.Line), slog.String("column", row.Column), slog.String("value", row.Value),
			slog.String("error", row.Reason), slog.String("code", row.Code),
		}})
	}
	if more := invalid.Total - int64(len(invalid.First)); more > 0 {
		events = append(events, Event{Name: "more invalid rows", Level: slog.LevelError, Attrs: []slog.Attr{slog.String("sheet", sheetName), slog.Int64("rows", more)}})
	}
	return events
}

// invalidLines tell people of invalid rows, of some of each kind, a line each.
func invalidLines(sheetName string, invalid *batch.InvalidError) (lines []string) {
	for _, group := range invalid.Groups {
		for _, row := range group.First {
			lines = append(lines, fmt.Sprintf("%s:%d: %s", sheetName, row.Line, Printable(row.Reason)))
		}
		if more := group.More(); more > 0 {
			lines = append(lines, fmt.Sprintf("%s: and %d more like it (%s)", sheetName, more, group.Others.String()))
		}
	}
	if more := invalid.Ungrouped(); more > 0 {
		lines = append(lines, fmt.Sprintf("%s: and %d more rows that are wrong in other ways (%s)", sheetName, more, invalid.Others.String()))
	}
	return lines
}

// PlanEvent shows a plan before somebody is asked about it.
func PlanEvent(sheetName string, p batch.Plan) Event {
	var b strings.Builder
	_ = WritePlan(&b, sheetName, p) // a strings.Builder takes everything
	return Event{Text: b.String(), Name: "plan", Attrs: []slog.Attr{slog.Any("plan", planJSONOf(sheetName, p))}}
}

// RunEnded is the last that machines are told of a run, also of one that was refused: s
// is then the zero value.
func RunEnded(s batch.Summary, f Facts, code int) Event {
	calls, todo := int64(0), []string{}
	for _, a := range s.Accounts {
		calls += a.Usage.Calls
	}
	if began(s) {
		lines, _ := next(s, f)
		for _, line := range lines {
			todo = append(todo, Printable(line))
		}
	}
	level := slog.LevelInfo
	if code != 0 {
		level = slog.LevelWarn
	}
	return Event{Name: "run ended", Level: level, Attrs: []slog.Attr{
		slog.Int("exit_code", code), slog.Any("counts", s.Counts), slog.Int64("sent", s.Sent), slog.Int64("calls", calls), slog.Any("next", todo),
	}}
}
