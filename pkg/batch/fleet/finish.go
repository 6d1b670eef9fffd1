package fleet

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// finish stores what became of a sheet, unless its turn has passed or the host is dead. It
// tries until that is so or known.
func (w *worker) finish(t *Task, r Result) {
	cancelled := errors.Is(context.Cause(t.ctx), ErrCancelled)
	for {
		err := w.h.d.change(w.ctx, func(ctx context.Context, tx pgx.Tx) error { return w.store(ctx, tx, t, r, cancelled) })
		if err == nil || w.h.lease.over.Load() != nil {
			return
		}
		w.log.Warn("a sheet's end is not stored yet", "ledger", t.Sheet.Ledger, "error", err)
		if !sleep(w.ctx, w.h.d.times.watch) {
			return
		}
	}
}

func (w *worker) store(ctx context.Context, tx pgx.Tx, t *Task, r Result, cancelled bool) error {
	d, ledger := w.h.d, t.Sheet.Ledger
	var cancel bool
	var oldJob *int64
	var unreachable, unconfirmed *int64
	var h history
	// Locked first, and read when nobody else can change it.
	if _, _, err := lockSheet(ctx, tx, ledger); err != nil {
		return err
	}
	err := tx.QueryRow(ctx, `SELECT cancel, old_job, CASE WHEN unreachable_since IS NOT NULL THEN `+ago("unreachable_since")+` END, unreachable_times,
			CASE WHEN unconfirmed_since IS NOT NULL THEN `+ago("unconfirmed_since")+` END
		FROM bulkrevoke.fleet_sheet WHERE ledger = $1 AND turn = $2 AND state = 'running' AND host = $3
		AND EXISTS (SELECT FROM bulkrevoke.fleet_host h WHERE h.id = $3 AND h.dead IS NULL)`, ledger, t.turn, w.h.id).
		Scan(&cancel, &oldJob, &unreachable, &h.unreachableTimes, &unconfirmed)
	if err == pgx.ErrNoRows {
		w.log.Info("a sheet's turn has passed: how its run ended here changes nothing", "ledger", ledger)
		return nil
	}
	if err != nil {
		return err
	}
	h.unreachable, h.unconfirmed = since(unreachable), since(unconfirmed)
	v := decide(r.Next, h, d.times.busy)
	if (cancel || cancelled) && v.state != Done {
		v = verdict{state: Cancelled}
	}
	if v.givenUp {
		r.Why = strings.TrimPrefix(r.Why+"; it was tried for a day", "; ")
	}
	counts := r.Counts
	if counts == nil {
		counts = t.reported()
	}
	var job *int64
	uncounted, failed := 0, 0
	switch r.Next.Kind {
	case Busy:
		uncounted, job = 1, &t.job
	case HandBack:
		uncounted = 1
	case Unreachable:
		failed = 1
	}
	if _, err := tx.Exec(ctx, `UPDATE bulkrevoke.fleet_sheet SET exit_code = $2, why = $3, counts = coalesce($4::jsonb, counts),
			tries = tries - $5, old_job = $6,
			unreachable_since = CASE WHEN $7 THEN coalesce(unreachable_since, clock_timestamp()) END,
			unreachable_times = CASE WHEN $7 THEN unreachable_times + $8 ELSE 0 END,
			unconfirmed_since = CASE WHEN $9 THEN coalesce(unconfirmed_since, clock_timestamp()) END
		WHERE ledger = $1`, ledger, r.ExitCode, text(r.Why), asJSON(counts), uncounted,
		job, v.unreachable, failed, v.unconfirmed); err != nil {
		return err
	}
	// Jobs that found an account in use come every two seconds: the one before goes.
	if oldJob != nil {
		if _, err := d.queue.JobDeleteTx(ctx, tx, *oldJob); err != nil && !errors.Is(err, river.ErrNotFound) && !errors.Is(err, rivertype.ErrJobRunning) {
			return err
		}
	}
	if v.state == Queued || v.state == Waiting {
		return d.newTurn(ctx, tx, ledger, v.state, v.pause)
	}
	return d.endSheet(ctx, tx, ledger, v.state)
}

// since is how long ago something was, negative if it was not.
func since(microseconds *int64) time.Duration {
	if microseconds == nil {
		return -1
	}
	return time.Duration(*microseconds) * time.Microsecond
}

// text is what PostgreSQL takes: UTF-8 without zero bytes.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}
