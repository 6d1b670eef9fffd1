package ledger

import (
	"context"
	"encoding/json"
	"fmt"
)

// BeginRun records that a run starts. What is intended from now on counts as this
// run's.
func (l *Ledger) BeginRun(ctx context.Context, info RunInfo) (run int64, err error) {
	args, err := json.Marshal(info.Args)
	if err != nil {
		return 0, err
	}
	err = l.change(ctx, func(c *conn) error {
		now := l.now()
		e, err := c.theEnd()
		if err != nil {
			return err
		}
		run = e.run + 1
		if _, err := c.exec("INSERT INTO run (id, started, version, operator, args) VALUES (?, ?, ?, ?, ?)",
			run, now.UnixMilli(), info.Version, info.Operator, string(args)); err != nil {
			return fmt.Errorf("begin run: %w", err)
		}
		e.run = run
		return appendEvent(c, now, "run", map[string]any{
			"run": run, "version": info.Version, "operator": info.Operator, "args": info.Args,
		})
	})
	return run, err
}

// EndRun records how a run ended; summary may be nil. A run that is killed has no
// end.
func (l *Ledger) EndRun(ctx context.Context, run int64, summary json.RawMessage) error {
	return l.change(ctx, func(c *conn) error {
		now := l.now()
		n, err := c.exec("UPDATE run SET ended = ?, summary = ? WHERE id = ?", now.UnixMilli(), orNull(string(summary)), run)
		if err != nil {
			return fmt.Errorf("end run: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("end run: there is no run %d", run)
		}
		return appendEvent(c, now, "end", struct {
			Run     int64           `json:"run"`
			Summary json.RawMessage `json:"summary,omitempty"`
		}{run, summary})
	})
}

// Runs returns every run, the oldest first.
func (l *Ledger) Runs(ctx context.Context) (runs []Run, err error) {
	err = l.read(ctx, func(c *conn) error {
		return c.query("SELECT id, started, ended, version, operator, args, summary FROM run ORDER BY id", func(r row) error {
			run := Run{ID: r.int64("id"), Started: r.time("started"), Ended: r.time("ended")}
			run.Version, run.Operator = r.text("version"), r.text("operator")
			if s := r.text("summary"); s != "" {
				run.Summary = json.RawMessage(s)
			}
			err := json.Unmarshal([]byte(r.text("args")), &run.Args)
			runs = append(runs, run)
			return err
		})
	})
	return runs, err
}
