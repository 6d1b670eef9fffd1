package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// schema holds the tables of this package, of River and of the ledgers.
const schema = "bulkrevoke"

// setupLock is the advisory lock of who makes or changes the tables.
const setupLock = 0x62756c6b72766b01

// migrations bring the tables from each version to the next; they are never changed.
var migrations = []string{`
CREATE TABLE bulkrevoke.fleet_host (
	id      text PRIMARY KEY,
	name    text NOT NULL,
	pid     bigint NOT NULL,
	joined  timestamptz NOT NULL DEFAULT clock_timestamp(),
	seen    timestamptz NOT NULL DEFAULT clock_timestamp(), -- the last heartbeat
	dead    timestamptz, -- never NULL again
	gone    boolean NOT NULL DEFAULT false -- dead because it has left
);
CREATE SEQUENCE bulkrevoke.fleet_generation;
CREATE TABLE bulkrevoke.fleet_claim (
	key        text COLLATE "C" PRIMARY KEY,
	what       text NOT NULL DEFAULT '',
	generation bigint NOT NULL DEFAULT 0, -- of the last taking
	host       text, -- NULL while nobody has it
	sheet      text NOT NULL DEFAULT '',
	since      timestamptz,
	past       bytea,
	past_at    timestamptz,
	ended      timestamptz -- when the last unclean holder can have sent at the latest; NULL after a goodbye
);
CREATE INDEX fleet_claim_host ON bulkrevoke.fleet_claim (host) WHERE host IS NOT NULL;
CREATE TABLE bulkrevoke.fleet_place (
	key   text COLLATE "C" PRIMARY KEY,
	place text NOT NULL
);
CREATE TABLE bulkrevoke.fleet_sheet (
	ledger       text COLLATE "C" PRIMARY KEY,
	sheet        text NOT NULL,
	submitted_by text NOT NULL,
	flags        jsonb NOT NULL,
	upload       bigint NOT NULL, -- the pieces of its file
	state        text NOT NULL CHECK (state IN ('queued', 'running', 'waiting', 'stopped', 'refused', 'done', 'cancelled')),
	turn         bigint NOT NULL, -- only the job of this turn counts
	job          bigint NOT NULL, -- River's
	old_job      bigint, -- the job of a turn that found an account in use, to be deleted
	host         text, -- while running
	host_name    text NOT NULL DEFAULT '', -- where it ran last
	cancel       boolean NOT NULL DEFAULT false, -- while running: it is asked to stop
	next_try     timestamptz, -- while waiting
	submitted    timestamptz NOT NULL DEFAULT clock_timestamp(),
	started      timestamptz,
	ended        timestamptz,
	exit_code    integer NOT NULL DEFAULT 0,
	why          text NOT NULL DEFAULT '',
	counts       jsonb NOT NULL DEFAULT '{}',
	tries        integer NOT NULL DEFAULT 0,
	unreachable_since timestamptz,
	unreachable_times integer NOT NULL DEFAULT 0,
	unconfirmed_since timestamptz
);
CREATE INDEX fleet_sheet_open ON bulkrevoke.fleet_sheet (state) WHERE state IN ('queued', 'running', 'waiting');
CREATE SEQUENCE bulkrevoke.fleet_upload;
CREATE TABLE bulkrevoke.fleet_file (
	upload bigint,
	piece  integer,
	last   boolean NOT NULL,
	bytes  bytea NOT NULL,
	PRIMARY KEY (upload, piece)
);
`}

// setup makes the tables or brings them up to date, and refuses newer ones.
func setup(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	river, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: schema, Logger: log})
	if err != nil {
		return err
	}
	version, err := readVersion(ctx, pool)
	if err != nil {
		return err
	}
	// What is up to date needs no right to create anything.
	if version == len(migrations) {
		if missing, err := riverMissing(ctx, pool, river); err != nil || !missing {
			return err
		}
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(setupLock)); err != nil {
		return err
	}
	// A connection that still holds the lock must not go back into the pool.
	defer conn.Conn().Close(context.WithoutCancel(ctx))
	// Where an administrator has made the schema, to ask for it takes a right that we may not have.
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regnamespace($1) IS NOT NULL", schema).Scan(&exists); err != nil {
		return err
	}
	// Others who create the schema hold other locks: one of two can fail here.
	for n := 0; n < 2 && !exists; n++ {
		_, err = conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+schema)
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "23505" && e.Code != "42P06" {
			break
		}
	}
	if err != nil {
		return err
	}
	if version, err = readVersion(ctx, conn); err != nil {
		return err
	}
	if version < len(migrations) {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			for _, script := range migrations[version:] {
				if _, err := tx.Exec(ctx, script); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS bulkrevoke.fleet_schema (version integer NOT NULL)")
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "DELETE FROM bulkrevoke.fleet_schema"); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "INSERT INTO bulkrevoke.fleet_schema VALUES ($1)", len(migrations))
			return err
		})
		if err != nil {
			return err
		}
	}
	missing, err := riverMissing(ctx, conn, river)
	if err == nil && missing {
		_, err = river.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	return err
}

type rower interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// readVersion returns 0 if there are no tables yet.
func readVersion(ctx context.Context, db rower) (version int, err error) {
	var exists bool
	if err := db.QueryRow(ctx, "SELECT to_regclass('bulkrevoke.fleet_schema') IS NOT NULL").Scan(&exists); err != nil || !exists {
		return 0, err
	}
	if err := db.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM bulkrevoke.fleet_schema").Scan(&version); err != nil {
		return 0, err
	}
	if version > len(migrations) {
		return 0, fmt.Errorf("%w (its tables are version %d, this program knows %d)", ErrNewer, version, len(migrations))
	}
	return version, nil
}

// riverMissing reports whether River's tables must be brought up to date.
func riverMissing(ctx context.Context, db rower, river *rivermigrate.Migrator[pgx.Tx]) (bool, error) {
	versions := river.AllVersions()
	last := versions[len(versions)-1].Version
	var exists bool
	if err := db.QueryRow(ctx, "SELECT to_regclass('bulkrevoke.river_migration') IS NOT NULL").Scan(&exists); err != nil || !exists {
		return true, err
	}
	var has int
	if err := db.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM bulkrevoke.river_migration").Scan(&has); err != nil {
		return false, err
	}
	if has > last {
		return false, fmt.Errorf("%w (River's tables are version %d, this program knows %d)", ErrNewer, has, last)
	}
	return has < last, nil
}
