package fleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// stuck are the sheets that no host and no job of River will move on:
//   - running on a host that is dead: it began the very moment it was declared so;
//   - queued or waiting, with a job that is gone, has ended, or that a host took which died
//     before it began;
//   - due, with a job that River's leader should have made available.
const stuck = `
	FROM bulkrevoke.fleet_sheet s
	LEFT JOIN bulkrevoke.river_job j ON j.id = s.job
	LEFT JOIN bulkrevoke.fleet_host works ON works.id = s.host AND works.dead IS NULL
	LEFT JOIN bulkrevoke.fleet_host took ON took.id = j.attempted_by[array_upper(j.attempted_by, 1)] AND took.dead IS NULL
	WHERE (s.state = 'running' AND works.id IS NULL
		OR s.state IN ('queued', 'waiting') AND (j.id IS NULL OR j.state IN ('completed', 'cancelled', 'discarded') OR j.state = 'running' AND took.id IS NULL)
		OR s.state = 'waiting' AND s.next_try <= clock_timestamp() AND j.state = 'scheduled')`

// mend moves stuck sheets on. All hosts do it, so that it never depends on one of them.
func (d *Database) mend(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, d.times.limit)
	defer cancel()
	rows, err := d.pool.Query(limited, `SELECT s.ledger`+stuck+` ORDER BY s.ledger LIMIT 200`)
	if err != nil {
		return err
	}
	ledgers, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	var errs []error // one that cannot be mended is in no other's way
	for _, ledger := range ledgers {
		err := d.changeOnce(ctx, func(ctx context.Context, tx pgx.Tx) error { return d.mendSheet(ctx, tx, ledger) })
		if err != nil && passing(err) {
			return err
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", ledger, err))
		}
	}
	return errors.Join(errs...)
}

func (d *Database) mendSheet(ctx context.Context, tx pgx.Tx, ledger string) error {
	state, job, err := lockSheet(ctx, tx, ledger)
	if err != nil {
		return err
	}
	var jobState string
	err = tx.QueryRow(ctx, `SELECT coalesce(j.state::text, '')`+stuck+` AND s.ledger = $1`, ledger).Scan(&jobState)
	switch {
	case err == pgx.ErrNoRows:
		return nil // another host was faster
	case err != nil:
		return err
	case state == Running:
		return d.handBack(ctx, tx, ledger)
	case jobState == "cancelled":
		if _, err := tx.Exec(ctx, `UPDATE bulkrevoke.fleet_sheet SET why = 'its job was cancelled in River' WHERE ledger = $1`, ledger); err != nil {
			return err
		}
		return d.endSheet(ctx, tx, ledger, Cancelled)
	case jobState == "scheduled":
		_, err := d.queue.JobRetryTx(ctx, tx, job)
		return err
	}
	d.log.Warn("a sheet had no job that would move it on: it is queued again", "ledger", ledger, "job", job, "job_state", jobState)
	if err := d.endJob(ctx, tx, job); err != nil && !errors.Is(err, river.ErrNotFound) {
		return err
	}
	return d.newTurn(ctx, tx, ledger, Queued, 0)
}
