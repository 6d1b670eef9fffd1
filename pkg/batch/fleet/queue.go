package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// State is where a sheet stands in the queue.
type State string

const (
	Queued    State = "queued"    // a host takes it as soon as one can
	Running   State = "running"   // a host works on it
	Waiting   State = "waiting"   // it will be tried again at NextTry
	Stopped   State = "stopped"   // somebody must look, then retry it
	Refused   State = "refused"   // it cannot be run as it is; somebody must look
	Done      State = "done"      // its rows are finished
	Cancelled State = "cancelled" // somebody wanted no more of it
)

// Ended reports whether nothing more happens to a sheet by itself.
func (s State) Ended() bool {
	return s == Stopped || s == Refused || s == Done || s == Cancelled
}

// A Submission is a sheet to be queued. It holds no secret: all of it is stored.
type Submission struct {
	Ledger      string // the name of its ledger, one sheet each
	Sheet       string // what people call it
	SubmittedBy string
	File        io.Reader         // read piece by piece, each within a minute; an io.Seeker also again, where the connection was lost
	Flags       map[string]string // flags of run that travel with it
}

// KeptCount is the name of the count that outlives a new submission: by how many rows
// bystanders have lost access, which they do not have again by it.
const KeptCount = "alarms"

// A Sheet is one of the queue. Its times are PostgreSQL's, zero where there is none.
type Sheet struct {
	Ledger, Sheet, SubmittedBy string
	State                      State
	Host                       string // where it is running, or ran last
	NextTry                    time.Time
	Submitted, Started, Ended  time.Time // Started is when the last try began
	ExitCode                   int       // of the last try that ended
	Why                        string    // why it ended in that way
	// Counts are what runs reported last, by names that are the reporter's. A new submission
	// forgets them all but KeptCount.
	Counts map[string]int64
	Tries  int
}

// A HostInfo is a host as the database knows it.
type HostInfo struct {
	ID, Name         string
	PID              int
	Joined, LastSeen time.Time
	Silent           time.Duration // since LastSeen, by PostgreSQL's clock
	Sheets           []string      // the ledgers whose sheets it works on
}

// sheetJob is what River knows of a sheet.
type sheetJob struct {
	Ledger string `json:"ledger"`
	Turn   int64  `json:"turn"`
}

func (sheetJob) Kind() string { return "sheet" }

// pieceSize is how much of a file is in memory, and in a row of the database.
const pieceSize = 1 << 20

// Submit queues a sheet, with its file, all or nothing. It is a *QueuedError if a sheet of
// that ledger is queued, waiting or running, as it is after a Submit whose answer was
// lost; one that has ended is replaced.
func (d *Database) Submit(ctx context.Context, s Submission) error {
	var upload int64 // of the last try, which may have happened with only the answer lost
	try := func() error { return d.submitOnce(ctx, s, &upload) }
	var err error
	if file, ok := s.File.(io.Seeker); ok {
		err = d.again(ctx, func() error {
			if _, err := file.Seek(0, io.SeekStart); err != nil {
				return err
			}
			return try()
		})
	} else {
		err = givenUp(ctx, try())
	}
	if queued, ok := errors.AsType[*QueuedError](err); ok {
		return queued
	}
	if err != nil {
		return fmt.Errorf("submit %s: %w", s.Ledger, err)
	}
	return nil
}

// submitOnce is one try to submit. upload is that of the one before, and then its own.
func (d *Database) submitOnce(ctx context.Context, s Submission, upload *int64) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL idle_in_transaction_session_timeout = '1min'`); err != nil {
			return err
		}
		if *upload != 0 {
			var done bool
			if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM bulkrevoke.fleet_sheet WHERE ledger = $1 AND upload = $2)`, s.Ledger, *upload).Scan(&done); done || err != nil {
				return err
			}
		}
		done, err := tx.Exec(ctx, `INSERT INTO bulkrevoke.fleet_sheet AS s (ledger, sheet, submitted_by, flags, upload, state, turn, job)
			VALUES ($1, $2, $3, coalesce($4::jsonb, '{}'), nextval('bulkrevoke.fleet_upload'), 'queued', 0, 0)
			ON CONFLICT (ledger) DO UPDATE SET sheet = excluded.sheet, submitted_by = excluded.submitted_by, flags = excluded.flags, state = 'queued',
				submitted = clock_timestamp(), started = NULL, ended = NULL, exit_code = 0, why = '', tries = 0, next_try = NULL,
				counts = jsonb_strip_nulls(jsonb_build_object($5::text, s.counts->$5)),
				cancel = false, host = NULL, host_name = '', unreachable_since = NULL, unreachable_times = 0, unconfirmed_since = NULL
			WHERE s.state NOT IN ('queued', 'running', 'waiting')`, s.Ledger, text(s.Sheet), text(s.SubmittedBy), asJSON(s.Flags), KeptCount)
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			queued := &QueuedError{Ledger: s.Ledger}
			if err := tx.QueryRow(ctx, `SELECT state, CASE state WHEN 'running' THEN host_name ELSE '' END FROM bulkrevoke.fleet_sheet WHERE ledger = $1`, s.Ledger).Scan(&queued.State, &queued.Host); err != nil {
				return err
			}
			return queued
		}
		if _, err := tx.Exec(ctx, `DELETE FROM bulkrevoke.fleet_file WHERE upload = (SELECT upload FROM bulkrevoke.fleet_sheet WHERE ledger = $1)`, s.Ledger); err != nil {
			return err
		}
		if *upload, err = storeFile(ctx, tx, s.Ledger, s.File); err != nil {
			return err
		}
		return d.newTurn(ctx, tx, s.Ledger, Queued, 0)
	})
}

// storeFile stores a sheet's file as a new upload. Its last piece is marked, and may be empty.
func storeFile(ctx context.Context, tx pgx.Tx, ledger string, file io.Reader) (upload int64, err error) {
	if err := tx.QueryRow(ctx, `UPDATE bulkrevoke.fleet_sheet SET upload = nextval('bulkrevoke.fleet_upload') WHERE ledger = $1 RETURNING upload`, ledger).Scan(&upload); err != nil {
		return upload, err
	}
	buf := make([]byte, pieceSize)
	for piece := 0; ; piece++ {
		n, err := io.ReadFull(file, buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return upload, err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO bulkrevoke.fleet_file (upload, piece, last, bytes) VALUES ($1, $2, $3, $4)`, upload, piece, last, buf[:n]); err != nil {
			return upload, err
		}
		if last {
			return upload, nil
		}
	}
}

// newTurn queues a sheet anew, now or (with a pause) later: what any earlier job of it
// does no longer counts. The caller has locked the sheet.
func (d *Database) newTurn(ctx context.Context, tx pgx.Tx, ledger string, state State, pause time.Duration) error {
	var turn int64
	var at time.Time
	if err := tx.QueryRow(ctx, `SELECT turn + 1, clock_timestamp() + $2::interval FROM bulkrevoke.fleet_sheet WHERE ledger = $1`, ledger, pause).Scan(&turn, &at); err != nil {
		return err
	}
	var opts river.InsertOpts
	if pause > 0 {
		opts.ScheduledAt = at // by PostgreSQL's clock, as River compares it
	}
	job, err := d.queue.InsertTx(ctx, tx, sheetJob{Ledger: ledger, Turn: turn}, &opts)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE bulkrevoke.fleet_sheet SET turn = $2, job = $3, state = $4, host = NULL, cancel = false,
		next_try = CASE WHEN $4 = 'waiting' THEN $5::timestamptz END WHERE ledger = $1`, ledger, turn, job.Job.ID, state, at)
	return err
}

// endJob tells River that a job is no longer wanted. That it is gone is as good.
func (d *Database) endJob(ctx context.Context, tx pgx.Tx, job int64) error {
	_, err := d.queue.JobCancelTx(ctx, tx, job)
	if errors.Is(err, river.ErrNotFound) {
		return nil
	}
	return err
}

// handBackAll queues the sheets of a host that died or leaves.
func (d *Database) handBackAll(ctx context.Context, tx pgx.Tx, host string) error {
	rows, err := tx.Query(ctx, `SELECT ledger FROM bulkrevoke.fleet_sheet WHERE host = $1 AND state = 'running' ORDER BY ledger FOR UPDATE`, host)
	if err != nil {
		return err
	}
	ledgers, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, ledger := range ledgers {
		if err := d.handBack(ctx, tx, ledger); err != nil {
			return err
		}
	}
	return nil
}

// handBack takes a running sheet from its host. The caller has locked it.
func (d *Database) handBack(ctx context.Context, tx pgx.Tx, ledger string) error {
	var job int64
	var cancel bool
	if err := tx.QueryRow(ctx, `SELECT job, cancel FROM bulkrevoke.fleet_sheet WHERE ledger = $1`, ledger).Scan(&job, &cancel); err != nil {
		return err
	}
	if err := d.endJob(ctx, tx, job); err != nil {
		return err
	}
	// River asks a job's host to end it, which is not there any more; its page would show the job
	// as running for ever.
	if _, err := tx.Exec(ctx, `UPDATE bulkrevoke.river_job SET state = 'cancelled', finalized_at = clock_timestamp() WHERE id = $1 AND state = 'running'`, job); err != nil {
		return err
	}
	if cancel {
		return d.endSheet(ctx, tx, ledger, Cancelled)
	}
	return d.newTurn(ctx, tx, ledger, Queued, 0)
}

// endSheet ends a sheet whose run nobody waits for any more. Its file goes where it cannot
// be tried again.
func (d *Database) endSheet(ctx context.Context, tx pgx.Tx, ledger string, state State) error {
	var upload int64
	if err := tx.QueryRow(ctx, `UPDATE bulkrevoke.fleet_sheet SET state = $2, turn = turn + 1, host = NULL, cancel = false, next_try = NULL, ended = clock_timestamp()
		WHERE ledger = $1 RETURNING upload`, ledger, state).Scan(&upload); err != nil {
		return err
	}
	if state != Done && state != Cancelled {
		return nil
	}
	_, err := tx.Exec(ctx, `DELETE FROM bulkrevoke.fleet_file WHERE upload = $1`, upload)
	return err
}

// lockSheet locks a sheet and returns where it stands.
func lockSheet(ctx context.Context, tx pgx.Tx, ledger string) (state State, job int64, err error) {
	err = tx.QueryRow(ctx, `SELECT state, job FROM bulkrevoke.fleet_sheet WHERE ledger = $1 FOR UPDATE`, ledger).Scan(&state, &job)
	if err == pgx.ErrNoRows {
		err = ErrNoSheet
	}
	return state, job, err
}

// Retry queues a sheet now that waits or needs somebody. It is ErrNoSheet or a *StateError
// if there is no such sheet.
func (d *Database) Retry(ctx context.Context, ledger string) error {
	again := false // after one whose answer was lost
	err := d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		state, job, err := lockSheet(ctx, tx, ledger)
		if err != nil || again && state == Queued {
			return err
		}
		again = true
		if state != Waiting && state != Stopped && state != Refused {
			return &StateError{Ledger: ledger, State: state, Wanted: "retry"}
		}
		if err := d.endJob(ctx, tx, job); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE bulkrevoke.fleet_sheet SET ended = NULL, unreachable_since = NULL, unreachable_times = 0, unconfirmed_since = NULL WHERE ledger = $1`, ledger); err != nil {
			return err
		}
		return d.newTurn(ctx, tx, ledger, Queued, 0)
	})
	return stateError("retry", ledger, err)
}

// Cancel ends a sheet. One that is running is asked to stop, and is cancelled when its run
// has ended, unless that finished it. ErrNoSheet and *StateError as with Retry.
func (d *Database) Cancel(ctx context.Context, ledger string) error {
	again := false // after one whose answer was lost
	err := d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		state, job, err := lockSheet(ctx, tx, ledger)
		if err != nil || again && state == Cancelled {
			return err
		}
		again = true
		switch {
		case state == Done || state == Cancelled:
			return &StateError{Ledger: ledger, State: state, Wanted: "cancel"}
		case state == Running:
			_, err := tx.Exec(ctx, `UPDATE bulkrevoke.fleet_sheet SET cancel = true WHERE ledger = $1`, ledger)
			return err
		}
		if err := d.endJob(ctx, tx, job); err != nil {
			return err
		}
		return d.endSheet(ctx, tx, ledger, Cancelled)
	})
	return stateError("cancel", ledger, err)
}

func stateError(what, ledger string, err error) error {
	if e, ok := errors.AsType[*StateError](err); ok {
		return e
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, ledger, err)
	}
	return nil
}

// Sheets returns the sheets of the named ledgers, of all without a name, the first
// submitted first.
func (d *Database) Sheets(ctx context.Context, ledgers ...string) ([]Sheet, error) {
	var sheets []Sheet
	err := d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT ledger, sheet, submitted_by, state, host_name, next_try, submitted, started, ended, exit_code, why, counts, tries
			FROM bulkrevoke.fleet_sheet WHERE $1::text[] IS NULL OR ledger = ANY($1) ORDER BY submitted, ledger`, ledgers)
		if err != nil {
			return err
		}
		sheets, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Sheet, err error) {
			var next, started, ended *time.Time
			err = row.Scan(&s.Ledger, &s.Sheet, &s.SubmittedBy, &s.State, &s.Host, &next, &s.Submitted, &started, &ended, &s.ExitCode, &s.Why, &s.Counts, &s.Tries)
			s.NextTry, s.Started, s.Ended = at(next), at(started), at(ended)
			return s, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the queue: %w", err)
	}
	return sheets, nil
}

// asJSON is what PostgreSQL takes as JSON, NULL for what is empty.
func asJSON[V any](m map[string]V) any {
	if len(m) == 0 {
		return nil
	}
	plain := make(map[string]any, len(m))
	for key, value := range m {
		if s, ok := any(value).(string); ok {
			plain[text(key)] = text(s)
		} else {
			plain[text(key)] = value
		}
	}
	return plain
}

func at(t *time.Time) time.Time { return *cmp.Or(t, new(time.Time)) }

// Hosts returns the hosts that nobody has declared dead, the first joined first.
func (d *Database) Hosts(ctx context.Context) ([]HostInfo, error) {
	var hosts []HostInfo
	err := d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT id, name, pid, joined, seen, `+ago("seen")+`,
			ARRAY(SELECT ledger FROM bulkrevoke.fleet_sheet s WHERE s.host = h.id AND s.state = 'running' ORDER BY ledger)
			FROM bulkrevoke.fleet_host h WHERE dead IS NULL ORDER BY joined, id`)
		if err != nil {
			return err
		}
		hosts, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h HostInfo, err error) {
			var silent int64
			err = row.Scan(&h.ID, &h.Name, &h.PID, &h.Joined, &h.LastSeen, &silent, &h.Sheets)
			h.Silent = time.Duration(silent) * time.Microsecond
			return h, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the hosts: %w", err)
	}
	return hosts, nil
}

// Wait returns a ledger's sheet as soon as it is done, needs somebody or is cancelled,
// also where the database is away in between. ErrNoSheet as with Retry.
func (d *Database) Wait(ctx context.Context, ledger string) (Sheet, error) {
	for pause := 100 * time.Millisecond; ; pause = min(pause*3/2, time.Second) {
		sheets, err := d.Sheets(ctx, ledger)
		switch {
		case err != nil && (ctx.Err() != nil || !passing(err)):
			return Sheet{}, err
		case err == nil && len(sheets) == 0:
			return Sheet{}, fmt.Errorf("wait for %s: %w", ledger, ErrNoSheet)
		case err == nil && sheets[0].State.Ended():
			return sheets[0], nil
		}
		if !sleep(ctx, pause) {
			return Sheet{}, context.Cause(ctx)
		}
	}
}
