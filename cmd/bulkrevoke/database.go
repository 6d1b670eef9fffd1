package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/fleet"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// ledgers is where ledgers are kept: in files, by their paths, or in a database, by names.
type ledgers interface {
	exists(ctx context.Context, name string) (bool, error)
	// beside returns the names of the ledgers that stand where the named one does.
	beside(ctx context.Context, name string) ([]string, error)
	open(ctx context.Context, name string, o ledger.Options) (*ledger.Ledger, error)
}

// inFiles is where ledgers are without a database.
type inFiles struct{}

func (inFiles) exists(_ context.Context, name string) (bool, error) { return exists(name) }

func (inFiles) beside(_ context.Context, name string) ([]string, error) {
	return ledgersIn(filepath.Dir(name)), nil
}

func (inFiles) open(_ context.Context, name string, o ledger.Options) (*ledger.Ledger, error) {
	return ledger.Open(name, o)
}

// database is the PostgreSQL database that several hosts work with. Its methods may be called
// from any goroutine.
type database struct {
	fleet   *fleet.Database
	ledgers *ledger.Database
	name    string // what this host is called

	mu   sync.Mutex
	host *fleet.Host // this process, from when it first claims something
}

// openDatabase opens the database that the settings name; nil if they name none.
func (j *job) openDatabase(ctx context.Context) (db *database, err error) {
	o := j.opts
	if o.database == "" {
		return nil, nil
	}
	if o.sandbox {
		return nil, refusef("Leave --sandbox out, or give --database= to do without the database that environment or configuration name.",
			"--sandbox and --database exclude each other: what a sandbox does is kept in files")
	}
	c := fleet.Config{URL: o.database, Plain: o.databaseIsPlain, Log: j.log}
	secrets := j.secrets()
	if strings.HasPrefix(o.database, "env:") || strings.HasPrefix(o.database, "file:") {
		url, err := secrets.read("database", o.database)
		if err != nil {
			return nil, err
		}
		c.URL, c.Plain = url.Reveal(), false
	}
	if j.cfg.DatabasePassword != "" {
		password, err := secrets.read("database_password", j.cfg.DatabasePassword)
		if err != nil {
			return nil, err
		}
		c.Password = password.Reveal()
	}
	if _, err := fleet.ParseURL(c); err != nil {
		hint := "" // what to do is in what is wrong
		if !strings.HasPrefix(c.URL, "postgres") {
			hint = "Write postgres://USER@HOST/DATABASE, or env:NAME or file:/path for what holds it."
		}
		return nil, refusef(hint, "--database: %w", err)
	}
	name, err := os.Hostname()
	if err != nil {
		name = "unknown host"
	}
	db = &database{name: name}
	for began, told := time.Now(), false; ; told = true {
		err := db.connect(ctx, c)
		if err == nil {
			return db, nil
		}
		if !fleet.Passing(err) || ctx.Err() != nil || time.Since(began) >= j.restart {
			return nil, databaseError(ctx, err)
		}
		if !told {
			j.log.Warn("the database does not answer; it is asked again for a while", "for", j.restart, "error", fleet.Message(err))
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// connect opens the database.
func (db *database) connect(ctx context.Context, c fleet.Config) (err error) {
	if db.fleet, err = fleet.Open(ctx, c); err != nil {
		return err
	}
	if db.ledgers, err = ledger.OpenDatabaseConfig(ctx, db.fleet.ConnConfig(), ledger.DatabaseOptions{}); err != nil {
		return errors.Join(err, db.fleet.Close())
	}
	return nil
}

// useDatabase has the job work with the database that the settings name, if they name one.
func (j *job) useDatabase(ctx context.Context) error {
	db, err := j.openDatabase(ctx)
	if err == nil && db != nil {
		j.db, j.opts.ledgers = db, db
		j.last(db.close)
	}
	return err
}

// databaseError says that the database could not be worked with before anything was done.
func databaseError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	hint := "See whether the server runs, whether this host reaches it, and whether user, password and database are right. Nothing was sent."
	if errors.Is(err, fleet.ErrNewer) || errors.Is(err, ledger.ErrNewer) || errors.Is(err, fleet.ErrOldServer) {
		hint = "Nothing was sent."
	}
	said := errors.New(fleet.Message(err)) // what comes of a time limit is a refusal too
	if errors.Is(err, fleet.ErrAway) {
		said = awayError{said}
	}
	return refusef(hint, "%w", said)
}

// databaseLost says that a job has ended because the database went away, or its connection to
// it, and that the same may succeed when it is there again.
func databaseLost(err error) bool {
	return errors.Is(err, ledger.ErrInterrupted) || errors.Is(err, fleet.ErrAway) || errors.Is(err, ledger.ErrStorage) && fleet.Passing(err)
}

// awayError is what is said of a database that does not answer: a worker tries again.
type awayError struct{ error }

func (awayError) Is(target error) bool { return target == fleet.ErrAway }

// join makes this process a host among others, once.
func (db *database) join(ctx context.Context) (*fleet.Host, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.host != nil {
		return db.host, nil
	}
	host, err := db.fleet.Join(ctx, db.name)
	if err == nil {
		db.host = host
	}
	return host, err
}

// current is this process as a host, nil before it is one.
func (db *database) current() *fleet.Host {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.host
}

// forget has the next join be one of a new host.
func (db *database) forget(host *fleet.Host) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.host == host {
		db.host = nil
	}
}

// leaveTime is how long saying goodbye may take. Others find out by themselves.
const leaveTime = 5 * time.Second

// close says goodbye, and closes the connections.
func (db *database) close() error {
	if host := db.current(); host != nil {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
		defer cancel()
		// What it held was given back before. A database that can not be told any more is no
		// reason to say that something went wrong.
		_ = host.Leave(ctx)
	}
	return errors.Join(db.ledgers.Close(), db.fleet.Close())
}

func (db *database) exists(ctx context.Context, name string) (bool, error) {
	_, err := db.ledgers.Origin(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (db *database) beside(ctx context.Context, _ string) ([]string, error) {
	return db.ledgers.Names(ctx)
}

func (db *database) open(ctx context.Context, name string, o ledger.Options) (*ledger.Ledger, error) {
	return db.ledgers.Open(ctx, name, o)
}

// origin says where a sheet comes from: which folder of which host.
func (db *database) origin(sheetName string) (string, error) {
	if sheetName == standardInput {
		return db.name + ":" + standardInput, nil
	}
	folder, err := filepath.Abs(filepath.Dir(sheetName))
	return db.name + ":" + filepath.ToSlash(folder), err
}

// checkOrigin refuses a ledger that is named after a sheet of the same name from elsewhere.
func (j *job) checkOrigin(ctx context.Context) error {
	if j.db == nil || j.opts.ledger != "" {
		return nil
	}
	mine, err := j.db.origin(j.sheet)
	if err != nil {
		return err
	}
	theirs, err := j.db.ledgers.Origin(ctx, j.names.ledger)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case theirs != mine:
		return refusef(fmt.Sprintf("If it is the same sheet, say so with --ledger %s; else name another ledger.", shellQuote(j.names.ledger)),
			"the ledger %s in the database is that of a sheet in %s, and this one is in %s", j.names.ledger, theirs, mine)
	}
	return nil
}

// ledgerClaim is a ledger that is this host's.
type ledgerClaim struct {
	claims *fleet.Claims
	key    string
}

// release says goodbye.
func (l *ledgerClaim) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	return unlessLost(l.claims.Release(ctx, map[string][]byte{l.key: nil}))
}

// unlessLost drops the error of whoever has nothing to give back any more: others have taken
// it, or will find that out.
func unlessLost(err error) error {
	if errors.Is(err, fleet.ErrLost) || errors.Is(err, fleet.ErrLeft) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// claimLedger takes the right to change the job's ledger.
func (j *job) claimLedger(ctx context.Context, wait time.Duration) error {
	host, err := j.db.join(ctx)
	if err != nil {
		return databaseError(ctx, err)
	}
	key := fleet.LedgerPrefix + j.names.ledger
	claims, err := host.Claim(ctx, []string{key}, fleet.ClaimOptions{
		Wait: wait, For: title(j.sheet), What: map[string]string{key: "ledger " + j.names.ledger},
	})
	if err != nil {
		return claimError(ctx, err)
	}
	j.lock, j.claim = &ledgerClaim{claims, key}, claims
	return nil
}

// claimError tells who has what was to be claimed.
func claimError(ctx context.Context, err error) error {
	if held, ok := errors.AsType[*fleet.HeldError](err); ok {
		return &heldError{what: held.What, holder: holder{PID: held.PID, Host: held.Host, Started: held.Since, Sheet: held.For}}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// ledgerOptions are how the job opens its ledger.
func (j *job) ledgerOptions(o ledger.Options) (ledger.Options, error) {
	if j.db == nil {
		return o, nil
	}
	var err error
	if o.Origin, err = j.db.origin(j.sheet); err != nil {
		return o, err
	}
	if !o.ReadOnly {
		o.Check, o.Patience = j.mayWrite, databasePatience
	}
	return o, nil
}

// databasePatience is how long a run waits for a database that is away. Nothing is sent
// meanwhile; whoever wants it to end stops it.
const databasePatience = 24 * time.Hour

// mayWrite says, inside a transaction of the ledger, whether the ledger, and the accounts whose
// changes it announces, are still this host's.
func (j *job) mayWrite(ctx context.Context, count func(query string, args ...any) (int64, error), accounts []string) error {
	if err := j.claim.Check(ctx, count, nil); err != nil {
		return err
	}
	return j.conns.mayWrite(ctx, count, accounts)
}

// whileHost returns a context that ends when this host is declared dead: what it worked at is
// others' then.
func (j *job) whileHost(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := func() { cancel(nil) }
	if j.db == nil {
		return ctx, stop
	}
	host := j.db.current() // lockLedger has joined
	go func() {
		select {
		case <-host.Lost():
			cancel(errHostLost)
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}

// errHostLost says that this host was taken for dead.
var errHostLost = errors.New("this host did not reach the database for so long that it was taken for dead: another one may have taken over, and nothing more is sent from here")

// tryLedger takes the right to change the ledger if nobody has it.
func (j *job) tryLedger(ctx context.Context) error {
	if j.db == nil {
		return j.lockLedger(ctx, 0)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, leaveTime, &heldError{what: "ledger " + j.names.ledger})
	defer cancel()
	return j.claimLedger(ctx, 0)
}

// sweepLedger removes what a killed run left when it made the ledger's file.
func (j *job) sweepLedger(began time.Time) error {
	if j.db != nil {
		return nil
	}
	return ledger.Sweep(j.names.ledger, began)
}

// runBatch runs the batch. Whoever stops it does not wait for a database that is away: when open
// calls have had their time, what waits to be written down is given up, and is in doubt.
func (j *job) runBatch(ctx context.Context) (batch.Summary, error) {
	if j.db == nil {
		return j.batch.Run(ctx)
	}
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-ctx.Done():
		case <-over:
			return
		}
		timer := time.NewTimer(batch.DrainLimit + leaveTime)
		defer timer.Stop()
		select {
		case <-timer.C:
			_ = j.led.Close() // it is closed again, with the same error, at the end
		case <-over:
		}
	})
	defer watching.Wait()
	defer close(over)
	return j.batch.Run(ctx)
}
