package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// poolSize is how many connections a process has at most, beside that of the heartbeats
// and River's listener.
const poolSize = 5

// A Database is where hosts meet. Its methods can be called by many at once.
type Database struct {
	config *pgx.ConnConfig
	pool   *pgxpool.Pool
	queue  *river.Client[pgx.Tx] // to put jobs in, works none
	log    *slog.Logger
	times  times
	clock  clock
}

// Open connects, and makes the tables or brings them up to date. Errors are those of
// ParseURL, ErrOldServer, ErrNewer and those of the connection.
func Open(ctx context.Context, c Config) (*Database, error) {
	return open(ctx, c, realTimes(), systemClock())
}

func open(ctx context.Context, c Config, t times, now clock) (*Database, error) {
	config, err := ParseURL(c)
	if err != nil {
		return nil, err
	}
	d := &Database{config: config, log: c.Log, times: t, clock: now}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	pools, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	pools.ConnConfig = d.own()
	pools.MaxConns, pools.MinConns, pools.MaxConnIdleTime = poolSize, 0, time.Minute
	if d.pool, err = pgxpool.NewWithConfig(ctx, pools); err != nil {
		return nil, err
	}
	if err := d.prepare(ctx); err != nil {
		d.pool.Close()
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return d, nil
}

func (d *Database) prepare(ctx context.Context) error {
	var text string
	if err := d.pool.QueryRow(ctx, "SHOW server_version_num").Scan(&text); err != nil {
		return err
	}
	if err := checkServer(text); err != nil {
		return err
	}
	if err := setup(ctx, d.pool, riverLog(d.log)); err != nil {
		return err
	}
	var err error
	d.queue, err = river.NewClient(riverpgxv5.New(d.pool), &river.Config{Schema: schema, Logger: riverLog(d.log)})
	return err
}

// checkServer checks a server_version_num.
func checkServer(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("the database's server does not say which version it is: %q", text)
	}
	if n < 130000 {
		return fmt.Errorf("%w, this one is %d", ErrOldServer, n/10000)
	}
	return nil
}

// own is a configuration for this package's connections. What commits is on the disk, and
// a host that is stopped within a transaction does not keep its locks.
func (d *Database) own() *pgx.ConnConfig {
	c := d.config.Copy()
	c.RuntimeParams["synchronous_commit"] = "on"
	c.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(d.times.idle.Milliseconds(), 10)
	c.RuntimeParams["default_transaction_isolation"] = "read committed"
	return c
}

// ConnConfig returns a copy of how to connect.
func (d *Database) ConnConfig() *pgx.ConnConfig { return d.config.Copy() }

// Close ends the connections. Hosts have left before.
func (d *Database) Close() error {
	d.pool.Close()
	return nil
}

// change runs a transaction, and runs it again when its connection is lost or others were
// in its way; ErrAway if that does not end. It must do no harm to do it twice: that the
// first one had committed may be what got lost.
func (d *Database) change(ctx context.Context, do func(ctx context.Context, tx pgx.Tx) error) error {
	return d.again(ctx, func() error { return d.changeOnce(ctx, do) })
}

// again tries something until it fails otherwise than for a while, or patience is over.
func (d *Database) again(ctx context.Context, try func() error) error {
	began := d.clock()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := try()
		if err == nil || !passing(err) || ctx.Err() != nil {
			return givenUp(ctx, err)
		}
		if d.clock()-began > d.times.patience {
			return fmt.Errorf("%w: %w", ErrAway, err)
		}
		if !sleep(ctx, pause) {
			return givenUp(ctx, err)
		}
	}
}

func (d *Database) changeOnce(ctx context.Context, do func(ctx context.Context, tx pgx.Tx) error) error {
	limited, cancel := context.WithTimeout(ctx, d.times.limit)
	defer cancel()
	err := pgx.BeginFunc(limited, d.pool, func(tx pgx.Tx) error { return do(limited, tx) })
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == isACopy {
		d.pool.Reset() // new connections find the one that is written to now
	}
	return err
}

// givenUp says why ctx is done, where that is the reason.
func givenUp(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		if cause := context.Cause(ctx); !errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", cause, err)
		}
	}
	return err
}
