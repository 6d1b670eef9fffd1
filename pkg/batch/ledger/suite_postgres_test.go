package ledger_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// TestPostgres runs the suite on a PostgreSQL of its own, where the programs of one are on
// the machine. With BULKREVOKE_TEST_POSTGRES=require it fails where they are not.
func TestPostgres(t *testing.T) {
	t.Parallel()
	server := startPostgres(t)
	var ledgers atomic.Int64
	empty := func(t testing.TB) database {
		return newDatabase(t, server.URL, t.Name(), ledgers.Add(1))
	}
	fresh := func(t testing.TB) database { // in a database of its own
		n := ledgers.Add(1)
		return newDatabase(t, server.NewDatabase(t), t.Name(), n)
	}
	Run(t, func(t testing.TB) Store { return empty(t) })
	for _, tt := range []struct {
		name string
		test func(*testing.T, database)
	}{
		{"ConnectionLost", testConnectionLost},
		{"ConnectionLostInAChange", testConnectionLostInAChange},
		{"Locked", testLocked},
		{"TwoWriters", testTwoWriters},
		{"ManyLedgers", testManyLedgers},
		{"GroupCommit", testGroupCommit},
		{"Names", testNames},
		{"OpenedTwice", testOpenedTwice},
		{"Fence", testFence},
		{"FenceHarmsNoOther", testFenceHarmsNoOther},
		{"FencedImport", testFencedImport},
		{"LockedHarmsNoOther", testLockedHarmsNoOther},
		{"RefusedHarmsNoOther", testRefusedHarmsNoOther},
		{"LostCommits", testLostCommits},
		{"Orphans", testOrphans},
		{"LostImportCommit", testLostImportCommit},
		{"HangUpsUnderLoad", testHangUpsUnderLoad},
		{"TemporaryTablesAreBounded", testTemporaryTablesAreBounded},
		{"GivenUpWhileAway", testGivenUpWhileAway},
		{"ImportLosesItsConnection", testImportLosesItsConnection},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, empty(t))
		})
	}
	for _, tt := range []struct {
		name string
		test func(*testing.T, database)
	}{
		{"OpenRefuses", testPostgresRefuses},
		{"OpenedByMany", testOpenedByMany},
		{"MigrateDatabase", testMigrateDatabase},
		{"Plans", testPlans},
		{"NewLedgerIsNotTakenForEmpty", testNewLedgerIsNotTakenForEmpty},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, fresh(t))
		})
	}
}

func testPostgresRefuses(t *testing.T, d database) {
	for _, o := range []ledger.Options{{}, {Create: true, ReadOnly: true}} {
		_, err := d.Open(o)
		WantIs(t, err, fs.ErrNotExist)
	}
	id := Open(t, d).ID()
	if again := Open(t, d).ID(); again != id || len(id) != 36 {
		t.Errorf("opened again it is %q, was %q", again, id)
	}
	for _, tt := range []struct {
		script string
		want   error
	}{
		{"UPDATE head SET hash = '\\x00'", ledger.ErrDamaged},
		{"DELETE FROM head", ledger.ErrDamaged},
		{"UPDATE ledger_schema SET version = 99", ledger.ErrNewer},
		{"DELETE FROM ledger_schema", ledger.ErrDamaged},
		{"DROP TABLE ledger_event CASCADE", ledger.ErrForeign},
	} {
		Exec(t, d, tt.script)
		_, err := d.Open(Options())
		WantIs(t, err, tt.want)
	}
	_, err := d.db.Exec("DROP SCHEMA bulkrevoke CASCADE; CREATE SCHEMA bulkrevoke; CREATE TABLE bulkrevoke.fleet_x (); CREATE TABLE bulkrevoke.riverbed ()")
	Must(t, err)
	_, err = d.Open(Options())
	WantIs(t, err, ledger.ErrForeign)
	_, err = d.db.Exec("DROP TABLE bulkrevoke.riverbed; CREATE TABLE bulkrevoke.river_job ()")
	Must(t, err)
	Open(t, d)
	_, err = ledger.OpenDatabase(t.Context(), "postgres:///postgres?host=/nowhere", ledger.DatabaseOptions{})
	WantIs(t, err, ledger.ErrStorage)
}

// A connection that is lost between transactions is opened again by itself. What was in
// temporary tables is gone, and missed.
func testConnectionLost(t *testing.T, d database) {
	l := Open(t, d)
	Commit(t, l, Rows("r1a r2b"))
	Begin(t, l)
	for _, op := range Next(t, l) {
		d.hangUp(t)
		Finish(t, l, op, crm.Done)
		d.hangUp(t)
		_, err := l.Counts(t.Context())
		Must(t, err)
	}
	im := Import(t, l, Rows("r1a r3c"))
	_, _, err := im.Reach(t.Context())
	Must(t, err)
	d.hangUp(t)
	if err := im.Match(t.Context(), EachTarget(Overlap)); err == nil {
		t.Error("a sheet was matched whose rows are lost")
	}
	d.hangUp(t)
	Commit(t, l, Rows("r1a r3c"))
	if got, want := States(t, l), "r1a:done r3c:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	Agrees(t, l)
}

// A change whose connection is lost is made on the next one, once, wherever it was lost.
func testConnectionLostInAChange(t *testing.T, d database) {
	var at atomic.Value // "before " or "after ", and how the statement begins at which it is lost
	at.Store("")
	lose := func(when, query string) error {
		if where := at.Load().(string); where == "" || !strings.HasPrefix(when+query, where) {
			return nil
		}
		at.Store("")
		d.hangUp(t)
		if when == "after " {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	l, err := d.Open(tap{
		before: func(query string, _ []any) error { return lose("before ", query) },
		after:  func(query string) error { return lose("after ", query) },
	}.on(Options()))
	Must(t, err)
	defer l.Close()
	Commit(t, l, Rows("r1a r2b"))
	Begin(t, l)
	ops := Next(t, l)
	for _, where := range []string{
		"before BEGIN", "before SELECT event", "after SELECT event", "before UPDATE op", "after UPDATE op", "before INSERT INTO ledger_event", "before UPDATE ledger_head", "before COMMIT", "after COMMIT",
	} {
		before, _, err := l.Head(t.Context())
		Must(t, err)
		at.Store(where)
		Must(t, l.Intend(t.Context(), ledger.Intent{CallID: "c", Account: "main", Ops: ops[:1], Attempt: 1, At: At}))
		if at.Load() != "" {
			t.Errorf("%s: nothing was lost", where)
		}
		if after, _, err := l.Head(t.Context()); err != nil || after != before+1 {
			t.Errorf("%s: %d events, %v, want 1", where, after-before, err)
		}
		Agrees(t, l)
	}
	for _, op := range ops {
		Finish(t, l, op, crm.Done)
	}
	if got, want := States(t, l), "r1a:done r2b:done"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	Agrees(t, l)
}

// A change waits for whoever holds the ledger, and is ErrBusy where it can wait no longer.
func testLocked(t *testing.T, d database) {
	l, err := d.Open(Options())
	Must(t, err)
	Must(t, l.Wrote(t.Context(), "a.csv"))
	other, err := d.db.Begin()
	Must(t, err)
	_, err = other.Exec("SELECT * FROM ledger_head WHERE ledger = (SELECT id FROM ledger WHERE name = $1) FOR UPDATE", d.name)
	Must(t, err)
	waits := make(chan error)
	go func() { waits <- l.Wrote(context.Background(), "b.csv") }()
	d.untilWaiting(t, other)
	Must(t, other.Rollback())
	Must(t, <-waits)

	other, err = d.db.Begin()
	Must(t, err)
	_, err = other.Exec("SELECT * FROM ledger_head WHERE ledger = (SELECT id FROM ledger WHERE name = $1) FOR UPDATE", d.name)
	Must(t, err)
	busy := make(chan struct{})
	go func() {
		err := l.Wrote(context.Background(), "c.csv")
		WantIs(t, err, ledger.ErrBusy)
		close(busy)
	}()
	d.untilWaiting(t, other)
	Must(t, l.Close())
	<-busy
	Must(t, other.Rollback())
}

// Two who write by turns do not break the chain: each sees what the other has written.
func testTwoWriters(t *testing.T, d database) {
	a, b := Open(t, d), Open(t, d)
	Commit(t, a, Rows("r1a r2b r3c r4d"))
	Begin(t, b)
	for i, op := range Next(t, a) {
		Finish(t, []*ledger.Ledger{a, b}[i%2], op, crm.Done)
	}
	Agrees(t, a)
	Agrees(t, b)
}

// database is a ledger in PostgreSQL, and the way to others beside it.
type database struct {
	url, name, app string // app is what the server knows the ledgers' connections as
	db             *sql.DB
	opened         *opened
}

// opened are databases that are open.
type opened struct {
	mu  sync.Mutex
	all []*ledger.Database
}

func newDatabase(t testing.TB, url, name string, n int64) database {
	t.Helper()
	name, app := fmt.Sprintf("%s %d", name, n), fmt.Sprintf("ledger-%d", n)
	config, err := pgx.ParseConfig(url)
	Must(t, err)
	config.RuntimeParams["search_path"] = "bulkrevoke"
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(1)
	d := database{url + "&application_name=" + app, name, app, db, new(opened)}
	t.Cleanup(func() {
		d.closeIdle(t, true)
		db.Close()
	})
	return d
}

// database opens the database.
func (d database) database(o ledger.DatabaseOptions) (*ledger.Database, error) {
	open, err := ledger.OpenDatabase(context.Background(), d.url, o)
	if err == nil {
		d.opened.mu.Lock()
		d.opened.all = append(d.opened.all, open)
		d.opened.mu.Unlock()
	}
	return open, err
}

// mustDatabase is database until the test ends.
func (d database) mustDatabase(t testing.TB, o ledger.DatabaseOptions) *ledger.Database {
	t.Helper()
	open, err := d.database(o)
	Must(t, err)
	return open
}

// closeIdle closes the databases that have no open ledger, or all.
func (d database) closeIdle(t testing.TB, all bool) {
	d.opened.mu.Lock()
	defer d.opened.mu.Unlock()
	d.opened.all = slices.DeleteFunc(d.opened.all, func(open *ledger.Database) bool {
		if !all && !open.Idle() {
			return false
		}
		if err := open.Close(); err != nil && t != nil {
			t.Errorf("close: %v", err)
		}
		return true
	})
}

// Open opens the ledger in a database that is opened for it, as a process of its own does.
func (d database) Open(o ledger.Options) (*ledger.Ledger, error) {
	d.closeIdle(nil, false)
	open, err := d.database(ledger.DatabaseOptions{Wrap: o.Wrap})
	if err != nil {
		return nil, err
	}
	return open.Open(context.Background(), d.name, o)
}

// hangUp ends the ledger's connections, as a server that starts anew does.
func (d database) hangUp(t testing.TB) {
	t.Helper()
	for left := 1; left > 0; {
		Must(t, d.db.QueryRow("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '"+d.app+"'").Scan(&left))
	}
}

// untilWaiting returns when a change of the ledger waits for what the transaction holds.
func (d database) untilWaiting(t testing.TB, holds *sql.Tx) {
	t.Helper()
	for waiting := 0; waiting == 0; {
		// Within a transaction the server looks only once unless it is told to look again.
		Must(t, holds.QueryRow("SELECT pg_stat_clear_snapshot()").Scan(new(any)))
		Must(t, holds.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE application_name = '"+d.app+"' AND wait_event_type = 'Lock'").Scan(&waiting))
	}
}

// DB shows the rows of the ledger.
func (d database) DB(t testing.TB) *sql.DB {
	t.Helper()
	_, err := d.db.Exec("SELECT set_config('bulkrevoke.ledger', (SELECT id::text FROM ledger WHERE name = $1), false)", d.name)
	Must(t, err)
	return d.db
}

// startPostgres runs a server until the test ends.
func startPostgres(t testing.TB) *pgtest.Server {
	t.Helper()
	server := pgtest.Start(t)
	quickTemporary(t, server)
	return server
}

// quickTemporary puts temporary tables into memory where that is a folder. A few hundred
// imports make and drop thousands of files.
func quickTemporary(t testing.TB, server *pgtest.Server) {
	t.Helper()
	if _, err := os.Stat("/dev/shm"); err != nil {
		return
	}
	c, err := pgx.Connect(t.Context(), server.URL)
	Must(t, err)
	defer c.Close(t.Context())
	_, err = c.Exec(t.Context(), "CREATE TABLESPACE quick LOCATION '"+server.Folder(t, "/dev/shm")+"'")
	Must(t, err)
	_, err = c.Exec(t.Context(), "ALTER DATABASE postgres SET temp_tablespaces = 'quick'")
	Must(t, err)
}
