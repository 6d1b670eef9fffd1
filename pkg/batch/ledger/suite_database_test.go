package ledger_test

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// on returns the options of a database with the tap.
func (t tap) onDatabase() ledger.DatabaseOptions {
	return ledger.DatabaseOptions{Wrap: func(to driver.Connector) driver.Connector { return tapConnector{to, t} }}
}

// ledgers opens n ledgers of a database, each with the rows and a run.
func ledgers(t testing.TB, db *ledger.Database, name string, n int, rows []ledger.ImportRow, o ledger.Options) (all []*ledger.Ledger) {
	t.Helper()
	all = make([]*ledger.Ledger, n)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			l, err := db.Open(t.Context(), fmt.Sprint(name, " ", i), o)
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = l
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, l := range all {
		Commit(t, l, rows)
		Begin(t, l)
	}
	return all
}

// until returns when it is so.
func until(so func() bool) {
	for !so() {
		time.Sleep(time.Millisecond)
	}
}

// manyRows are n rows of different records.
func manyRows(n int) (rows []ledger.ImportRow) {
	for i := range n {
		op := crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: strconv.Itoa(i), User: "a"}
		rows = append(rows, ledger.ImportRow{Line: i + 2, Cells: []string{strconv.Itoa(i)}, Account: "main", Op: op})
	}
	return rows
}

// finish is Finish in a goroutine that is not the test's.
func finish(l *ledger.Ledger, op ledger.Op) error {
	call := fmt.Sprintf("call-%d", op.ID)
	if err := l.Intend(context.Background(), ledger.Intent{CallID: call, Account: op.Account, Ops: []ledger.Op{op}, Attempt: 1, At: At,
		Before: crm.State{Looked: true, Rewrites: true}}); err != nil {
		return err
	}
	return l.Record(context.Background(), []ledger.Outcome{OutcomeOf(op, call, crm.Done)})
}

// work finishes all rows of the ledgers, several of each at one time, and calls each after
// each.
func work(t testing.TB, all []*ledger.Ledger, workers int, each func()) {
	t.Helper()
	var wg sync.WaitGroup
	for _, l := range all {
		ops := Next(t, l)
		for w := range workers {
			wg.Go(func() {
				for i := w; i < len(ops); i += workers {
					if err := finish(l, ops[i]); err != nil {
						t.Error(err)
						return
					}
					each()
				}
			})
		}
	}
	wg.Wait()
}

// finished checks that every row of the ledgers is done, and was so once.
func finished(t testing.TB, all []*ledger.Ledger, rows int) {
	t.Helper()
	for _, l := range all {
		kinds := make(map[string]int)
		for _, e := range Collect(t, l.Events(t.Context(), 0)) {
			kinds[e.Kind]++
		}
		if kinds["intent"] != rows || kinds["outcome"] != rows {
			t.Errorf("%d intents and %d outcomes for %d rows", kinds["intent"], kinds["outcome"], rows)
		}
		for _, r := range Collect(t, l.Results(t.Context())) {
			if r.Status != crm.Done || r.Attempts != 1 || r.Seen == 0 {
				t.Errorf("row %d is %s after %d attempts, seen %d", r.Ord, r.Status, r.Attempts, r.Seen)
			}
		}
		Agrees(t, l)
	}
}

// Many ledgers of a process share a few connections.
func testManyLedgers(t *testing.T, d database) {
	db := d.mustDatabase(t, ledger.DatabaseOptions{})
	const rows = 12
	all := ledgers(t, db, d.name, 60, manyRows(rows), Options())
	most := 0
	var mu sync.Mutex
	work(t, all, 3, func() {
		mu.Lock()
		defer mu.Unlock()
		var n int
		if err := d.db.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE application_name = '" + d.app + "'").Scan(&n); err != nil {
			t.Error(err)
		}
		most = max(most, n)
	})
	finished(t, all, rows)
	if most == 0 || most > 10 {
		t.Errorf("%d connections at one time, want at most 10", most)
	}
	ids := make(map[string]bool)
	for _, l := range all {
		ids[l.ID()] = true
		Must(t, l.Close())
		_, err := l.Next(t.Context(), "main", ledger.Cursor{}, 1)
		WantIs(t, err, ledger.ErrClosed)
		WantIs(t, l.Wrote(t.Context(), "x"), ledger.ErrClosed)
	}
	if len(ids) != len(all) {
		t.Errorf("%d ids for %d ledgers", len(ids), len(all))
	}
	if n := db.Temporary(); n != 0 {
		t.Errorf("%d connections with temporary tables are left", n)
	}
	Must(t, db.Close())
	Must(t, db.Close())
	_, err := db.Open(t.Context(), d.name+" 0", Options())
	WantIs(t, err, ledger.ErrClosed)
	_, err = db.Names(t.Context())
	WantIs(t, err, ledger.ErrClosed)
	WantIs(t, db.Remove(t.Context(), d.name, nil), ledger.ErrClosed)
}

// What waits while a transaction is under way goes into the next one, of whatever ledgers.
func testGroupCommit(t *testing.T, d database) {
	var commits, statements atomic.Int64
	var hold atomic.Pointer[chan struct{}]
	held := make(chan struct{}, 1)
	db := d.mustDatabase(t, func() ledger.DatabaseOptions {
		o := tap{before: func(query string, _ []any) error {
			statements.Add(1)
			if query == "COMMIT" {
				commits.Add(1)
				if wait := hold.Swap(nil); wait != nil {
					held <- struct{}{}
					<-*wait
				}
			}
			return nil
		}}.onDatabase()
		o.Writers = 1
		return o
	}())
	all := ledgers(t, db, d.name, 30, Rows("r1a"), Options())
	wait := make(chan struct{})
	hold.Store(&wait)
	var first sync.WaitGroup
	first.Go(func() { Must(t, all[0].Wrote(context.Background(), "x")) })
	<-held
	var wg sync.WaitGroup
	ops := make(map[*ledger.Ledger]ledger.Op)
	for _, l := range all[1:] {
		ops[l] = Next(t, l)[0]
	}
	commits.Store(0)
	statements.Store(0)
	for _, l := range all[1:] {
		op := ops[l]
		wg.Go(func() {
			if err := l.Intend(context.Background(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{op}, Attempt: 1, At: At}); err != nil {
				t.Error(err)
			}
		})
	}
	until(func() bool { return all[0].Queued() == len(all)-1 })
	close(wait)
	wg.Wait()
	first.Wait()
	// The lock and the row of each; the events and the ends of their chains, a few of each with a statement;
	// BEGIN and COMMIT.
	if c, s := commits.Load(), statements.Load(); c != 1 || s > int64(2*(len(all)-1)+14) {
		t.Errorf("%d transactions with %d statements for %d ledgers", c, s, len(all)-1)
	}
	for _, l := range all {
		Agrees(t, l)
	}
}

// One ledger may be open twice in a process.
func testOpenedTwice(t *testing.T, d database) {
	db := d.mustDatabase(t, ledger.DatabaseOptions{})
	const rows = 30
	l := ledgers(t, db, d.name, 1, manyRows(rows), Options())[0]
	again, err := db.Open(t.Context(), d.name+" 0", Options())
	Must(t, err)
	ops := Next(t, l)
	var wg sync.WaitGroup
	for i, op := range ops {
		wg.Go(func() {
			if err := finish([]*ledger.Ledger{l, again}[i%2], op); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	finished(t, []*ledger.Ledger{again}, rows)
}

func testNames(t *testing.T, d database) {
	db := d.mustDatabase(t, ledger.DatabaseOptions{})
	ctx := t.Context()
	name := func(s string) string { return d.name + s }
	o := Options()
	o.Origin = "host a, folder b"
	l, err := db.Open(ctx, name("x"), o)
	Must(t, err)
	Commit(t, l, Rows("r1a"))
	o.Origin = "somewhere else"
	_, err = db.Open(ctx, name("x"), o)
	Must(t, err)
	if origin, err := db.Origin(ctx, name("x")); origin != "host a, folder b" || err != nil {
		t.Errorf("got the origin %q, %v", origin, err)
	}
	_, err = db.Origin(ctx, name("y"))
	WantIs(t, err, fs.ErrNotExist)
	WantIs(t, db.Rename(ctx, name("y"), name("z"), nil), fs.ErrNotExist)
	other, err := db.Open(ctx, name("y"), o)
	Must(t, err)
	WantIs(t, db.Rename(ctx, name("x"), name("y"), nil), fs.ErrExist)
	Must(t, db.Rename(ctx, name("x"), name("old x"), nil))
	Begin(t, l) // whoever has it open goes on
	names, err := db.Names(ctx)
	Must(t, err)
	names = slices.DeleteFunc(names, func(s string) bool { return !strings.HasPrefix(s, d.name) })
	if want := []string{name("old x"), name("y")}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	fresh, err := db.Open(ctx, name("x"), o)
	Must(t, err)
	if fresh.ID() == l.ID() {
		t.Error("a ledger that was set aside is opened by its old name")
	}
	Must(t, db.Remove(ctx, name("y"), nil))
	WantIs(t, db.Remove(ctx, name("y"), nil), fs.ErrNotExist)
	_, err = db.Open(ctx, name("y"), ledger.Options{})
	WantIs(t, err, fs.ErrNotExist)
	WantIs(t, other.Bind(ctx, ledger.Binding{Account: "main", Host: "h"}), ledger.ErrDamaged)
	if got, want := States(t, l), "r1a:not_attempted"; got != want {
		t.Errorf("another ledger has changed: got %q, want %q", got, want)
	}
	Agrees(t, l)
}

// claims is a table that says whose the ledgers are.
func claims(t testing.TB, d database) {
	t.Helper()
	_, err := d.db.Exec("CREATE TABLE IF NOT EXISTS public.claim (name TEXT PRIMARY KEY, owner BIGINT NOT NULL)")
	Must(t, err)
}

func claim(t testing.TB, d database, name string, owner int) {
	t.Helper()
	_, err := d.db.Exec("INSERT INTO public.claim (name, owner) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET owner = excluded.owner", name, owner)
	Must(t, err)
}

// checked returns options whose ledger is changed only while the owner has the claim.
func checked(name string, owner int) ledger.Options {
	o := Options()
	o.Check = func(_ context.Context, count func(string, ...any) (int64, error), accounts []string) error {
		n, err := count("SELECT count(*) FROM public.claim WHERE name = ANY(?::text[]) AND owner = ?", []string{name}, int64(owner))
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("the claim on %q is somebody else's", accounts)
		}
		return nil
	}
	return o
}

// A ledger goes from owner to owner, each of which goes on to write as long as it can. What
// the new owner finds when it has opened the ledger is all that an older one ever writes.
func testFence(t *testing.T, d database) {
	claims(t, d)
	const rounds = 150
	claim(t, d, d.name, 0)
	dbs := []*ledger.Database{d.mustDatabase(t, ledger.DatabaseOptions{}), d.mustDatabase(t, ledger.DatabaseOptions{})}
	l, err := dbs[0].Open(t.Context(), d.name, checked(d.name, 0))
	Must(t, err)
	Commit(t, l, Rows("r1a r2b r3c r4d"))
	ops := Next(t, l)
	var wg sync.WaitGroup
	stale := 0
	for owner := range rounds {
		Begin(t, l)
		var written atomic.Int64
		for _, op := range ops {
			wg.Go(func() {
				for {
					err := l.Intend(context.Background(), ledger.Intent{CallID: fmt.Sprint(owner), Account: "main", Ops: []ledger.Op{op}, Attempt: 1, At: At})
					if err != nil {
						WantIs(t, err, ledger.ErrFenced)
						return
					}
					written.Add(1)
				}
			})
		}
		n := rand.Int64N(20)
		until(func() bool { return written.Load() >= n })
		claim(t, d, d.name, owner+1)
		next, err := dbs[(owner+1)%2].Open(t.Context(), d.name, checked(d.name, owner+1))
		Must(t, err)
		seen, _, err := next.Head(t.Context())
		Must(t, err)
		wg.Wait() // the old owner has been refused
		for _, e := range Collect(t, next.Events(t.Context(), seen)) {
			stale++
			t.Errorf("event %d of owner %d: %s", e.Seq, owner, e.Body)
		}
		WantIs(t, l.Record(t.Context(), []ledger.Outcome{OutcomeOf(ops[0], "late", crm.Done)}), ledger.ErrFenced)
		_, err = l.BeginRun(t.Context(), ledger.RunInfo{})
		WantIs(t, err, ledger.ErrFenced)
		if check := checked(d.name, owner).Check; owner == 0 { // what it would take back is the new owner's
			WantIs(t, dbs[0].Remove(t.Context(), d.name, check), ledger.ErrFenced)
			WantIs(t, dbs[0].Rename(t.Context(), d.name, d.name+".old", check), ledger.ErrFenced)
		}
		Must(t, l.Close())
		l = next
	}
	_, err = dbs[0].Open(t.Context(), d.name, checked(d.name, rounds-1))
	WantIs(t, err, ledger.ErrFenced)
	last := -1
	for _, e := range Collect(t, l.Events(t.Context(), 0)) {
		if e.Kind != "intent" {
			continue
		}
		var body struct{ Call string }
		Must(t, json.Unmarshal(e.Body, &body))
		owner, err := strconv.Atoi(body.Call)
		Must(t, err)
		if owner < last {
			t.Errorf("event %d is of owner %d, after one of owner %d", e.Seq, owner, last)
		}
		last = owner
	}
	Agrees(t, l)
	Must(t, l.Close())
	t.Logf("%d stale events in %d rounds", stale, rounds)
}

// A ledger that has been taken over does not harm others whose changes go with its own. Check is
// called once for a ledger and transaction, with the accounts.
func testFenceHarmsNoOther(t *testing.T, d database) {
	db := d.mustDatabase(t, ledger.DatabaseOptions{Writers: 1})
	gone := errors.New("taken over")
	var fenced atomic.Bool
	var mu sync.Mutex
	var calls [][]string
	o := Options()
	o.Check = func(_ context.Context, _ func(string, ...any) (int64, error), accounts []string) error {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, accounts)
		if fenced.Load() {
			return gone
		}
		return nil
	}
	one := ledgers(t, db, d.name+" one", 1, Rows("r1a r2b r3c"), o)[0]
	others := ledgers(t, db, d.name+" others", 3, Rows("r1a r2b"), Options())
	mu.Lock()
	calls = nil
	mu.Unlock()
	fenced.Store(true)
	ops := Next(t, one)
	errs := make([]error, len(ops))
	var wg sync.WaitGroup
	release := holdUp(t, d, others[0], d.name+" others 0")
	for i, op := range ops {
		wg.Go(func() {
			errs[i] = one.Intend(context.Background(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{op}, Attempt: 1, At: At})
		})
	}
	until(func() bool { return one.Queued() == len(ops) })
	for _, l := range others[1:] {
		for _, op := range Next(t, l) {
			wg.Go(func() { Must(t, finish(l, op)) })
		}
	}
	release()
	wg.Wait()
	for _, err := range errs {
		WantIs(t, err, ledger.ErrFenced)
		WantIs(t, err, gone)
	}
	mu.Lock()
	for _, accounts := range calls {
		if !slices.Equal(accounts, []string{"main"}) {
			t.Errorf("asked about the accounts %q, want main once", accounts)
		}
	}
	if len(calls) == 0 || len(calls) > 1 {
		t.Errorf("asked %d times for three changes that went together", len(calls))
	}
	mu.Unlock()
	fenced.Store(false)
	if got, want := States(t, one), "r1a:not_attempted r2b:not_attempted r3c:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	Agrees(t, one)
	finished(t, others[1:], 2)
}

// holdUp has a change of the ledger wait for a lock, and with it the writer of its database,
// until release is called.
func holdUp(t *testing.T, d database, l *ledger.Ledger, name string) (release func()) {
	t.Helper()
	other, err := d.db.Begin()
	Must(t, err)
	_, err = other.Exec("SELECT * FROM ledger_head WHERE ledger = (SELECT id FROM ledger WHERE name = $1) FOR UPDATE", name)
	Must(t, err)
	waits := make(chan error)
	go func() { waits <- l.Wrote(context.Background(), "held.csv") }()
	d.untilWaiting(t, other)
	return func() {
		t.Helper()
		Must(t, other.Rollback())
		Must(t, <-waits)
	}
}

// A sheet does not become the ledger's when the ledger has been taken over.
func testFencedImport(t *testing.T, d database) {
	claims(t, d)
	claim(t, d, d.name, 1)
	db := d.mustDatabase(t, ledger.DatabaseOptions{})
	l, err := db.Open(t.Context(), d.name, checked(d.name, 1))
	Must(t, err)
	defer l.Close()
	Commit(t, l, Rows("r1a"))
	before := Dump(t, d)
	im := Matched(t, l, Rows("r2b"))
	claim(t, d, d.name, 2)
	WantIs(t, im.Commit(t.Context(), ledger.Source{}), ledger.ErrFenced)
	if after := Dump(t, d); after != before {
		t.Errorf("the tables have changed:\n%s", after)
	}
	claim(t, d, d.name, 1)
	Must(t, im.Commit(t.Context(), ledger.Source{}))
	if got, want := States(t, l), "r2b:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	Agrees(t, l)
}

// A ledger that somebody else holds is waited for once, and then the others go on without it.
func testLockedHarmsNoOther(t *testing.T, d database) {
	db := d.mustDatabase(t, ledger.DatabaseOptions{Writers: 1})
	const rows = 10
	all := ledgers(t, db, d.name, 4, manyRows(rows), Options())
	release := holdUp(t, d, all[0], d.name+" 0")
	work(t, all[1:], 2, func() {})
	finished(t, all[1:], rows)
	release()
	work(t, all[:1], 2, func() {})
	finished(t, all[:1], rows)
}

// One change that can not be made does not harm those that go with it.
func testRefusedHarmsNoOther(t *testing.T, d database) {
	db := d.mustDatabase(t, ledger.DatabaseOptions{Writers: 1})
	all := ledgers(t, db, d.name, 4, manyRows(3), Options())
	release := holdUp(t, d, all[0], d.name+" 0")
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = all[1].Intend(context.Background(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{{ID: int64(900 + i), Rows: 1}}, Attempt: 1, At: At})
		})
	}
	until(func() bool { return all[1].Queued() == len(errs) })
	for _, l := range all[1:] {
		for _, op := range Next(t, l) {
			wg.Go(func() { Must(t, finish(l, op)) })
		}
	}
	release()
	wg.Wait()
	for _, err := range errs {
		WantIs(t, err, ledger.ErrUnknownOp)
	}
	finished(t, all[1:], 3)
}

// Of every third commit the answer or the commit itself is lost. Every change is made once,
// and nobody hears of it.
func testLostCommits(t *testing.T, d database) {
	var n, before, after atomic.Int64
	var on atomic.Bool
	db := d.mustDatabase(t, tap{
		before: func(query string, _ []any) error {
			if query == "COMMIT" && on.Load() && n.Add(1)%6 == 0 {
				before.Add(1)
				return io.ErrUnexpectedEOF
			}
			return nil
		},
		after: func(query string) error {
			if query == "COMMIT" && on.Load() && n.Load()%6 == 3 {
				after.Add(1)
				return io.ErrUnexpectedEOF
			}
			return nil
		},
	}.onDatabase())
	const rows = 20
	all := ledgers(t, db, d.name, 8, manyRows(rows), Options())
	on.Store(true)
	work(t, all, 2, func() {})
	on.Store(false)
	finished(t, all, rows)
	if before.Load() < 5 || after.Load() < 5 {
		t.Errorf("%d commits and %d answers were lost", before.Load(), after.Load())
	}
}

// A connection that is lost without the server seeing it leaves a transaction that holds its
// ledgers. It is ended.
func testOrphans(t *testing.T, d database) {
	var at atomic.Value
	at.Store("")
	o := tap{before: func(query string, _ []any) error {
		if where := at.Load().(string); where != "" && strings.HasPrefix(query, where) {
			at.Store("")
			return io.ErrUnexpectedEOF
		}
		return nil
	}}.onDatabase()
	wrap := o.Wrap
	var deaf []driver.Conn
	var mu sync.Mutex
	o.Wrap = func(to driver.Connector) driver.Connector {
		return deafConnector{wrap(to), func(c driver.Conn) {
			mu.Lock()
			defer mu.Unlock()
			deaf = append(deaf, c)
		}}
	}
	t.Cleanup(func() {
		for _, c := range deaf {
			c.Close()
		}
	})
	db := d.mustDatabase(t, o)
	l := ledgers(t, db, d.name, 1, Rows("r1a r2b"), Options())[0]
	for i, op := range Next(t, l) {
		at.Store([]string{"COMMIT", "INSERT INTO ledger_event"}[i])
		Must(t, finish(l, op))
		if at.Load() != "" {
			t.Error("nothing was lost")
		}
	}
	finished(t, []*ledger.Ledger{l}, 2)
}

// deafConnector makes connections that stay open when they are closed.
type deafConnector struct {
	driver.Connector
	closed func(c driver.Conn)
}

func (c deafConnector) Connect(ctx context.Context) (driver.Conn, error) {
	to, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return deafConn{to.(tapConn), c.closed}, nil
}

type deafConn struct {
	tapConn
	closed func(c driver.Conn)
}

func (c deafConn) Close() error {
	c.closed(c.tapConn)
	return nil
}

// A sheet whose COMMIT has no answer is the ledger's if the transaction has happened.
func testLostImportCommit(t *testing.T, d database) {
	var lose atomic.Value
	lose.Store("")
	at := func(when, query string) error {
		if when+query == lose.Load() {
			lose.Store("")
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	l, err := d.Open(tap{
		before: func(query string, _ []any) error { return at("before ", query) },
		after:  func(query string) error { return at("after ", query) },
	}.on(Options()))
	Must(t, err)
	defer l.Close()
	im := Matched(t, l, Rows("r1a r2b"))
	lose.Store("after COMMIT")
	Must(t, im.Commit(t.Context(), ledger.Source{}))
	if got, want := States(t, l), "r1a:not_attempted r2b:not_attempted"; got != want || lose.Load() != "" {
		t.Errorf("got %q, want %q", got, want)
	}
	im = Matched(t, l, Rows("r3c"))
	lose.Store("before COMMIT")
	WantIs(t, im.Commit(t.Context(), ledger.Source{}), ledger.ErrStorage)
	if got, want := States(t, l), "r1a:not_attempted r2b:not_attempted"; got != want || lose.Load() != "" {
		t.Errorf("got %q, want %q", got, want)
	}
	Agrees(t, l)
}

// All connections are ended again and again while ledgers are changed and read.
func testHangUpsUnderLoad(t *testing.T, d database) {
	db := d.mustDatabase(t, ledger.DatabaseOptions{})
	const rows = 40
	all := ledgers(t, db, d.name, 6, manyRows(rows), Options())
	var ended int64
	workDisturbed(t, all, 5, 15, func() {
		var n int64
		if err := d.db.QueryRow("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '" + d.app + "'").Scan(&n); err != nil {
			t.Error(err)
		}
		ended += n
	})
	finished(t, all, rows)
	t.Logf("%d connections were ended", ended)
}

// workDisturbed works on the ledgers, and reads one of them, while something is done to them: when
// so much work is done first, and again whenever so much more is.
func workDisturbed(t *testing.T, all []*ledger.Ledger, first, every int64, disturb func()) {
	t.Helper()
	var done atomic.Int64
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for at := first; ; at += every {
			for done.Load() < at {
				select {
				case <-over:
					return
				case <-time.After(time.Millisecond):
				}
			}
			disturb()
		}
	})
	work(t, all, 2, func() {
		done.Add(1)
		if _, err := all[0].Next(context.Background(), "main", ledger.Cursor{}, 3); err != nil {
			t.Error(err)
		}
	})
	close(over)
	wg.Wait()
}

// Imports take a connection each, so many at one time; more wait until one is free or they
// are given up.
func testTemporaryTablesAreBounded(t *testing.T, d database) {
	db := d.mustDatabase(t, ledger.DatabaseOptions{Temporary: 2})
	all := ledgers(t, db, d.name, 3, Rows("r1a"), Options())
	first, second := Import(t, all[0], Rows("r2b")), Import(t, all[1], Rows("r2b"))
	_, err := all[0].Review(t.Context()) // has a connection
	Must(t, err)
	gone, cancel := context.WithCancel(t.Context())
	waits := make(chan error)
	go func() { _, err := all[2].Import(gone); waits <- err }()
	cancel()
	WantIs(t, <-waits, context.Canceled)
	go func() {
		im, err := all[2].Import(context.Background())
		waits <- errors.Join(err, im.Close())
	}()
	Must(t, second.Close())
	Must(t, second.Close())
	Must(t, <-waits)
	Must(t, first.Close())
	if n := db.Temporary(); n != 1 {
		t.Errorf("%d connections with temporary tables, want that of the review", n)
	}
	review, err := all[0].Review(t.Context())
	Must(t, err)
	review.Close()
	review.Close()
	if n := db.Temporary(); n != 0 {
		t.Errorf("%d connections with temporary tables are left", n)
	}
}

// What an import holds is gone with its connection, which is said whenever something of it is
// wanted, until it is closed; another one can begin at once.
func testImportLosesItsConnection(t *testing.T, d database) {
	var away atomic.Bool
	fail := func(string, []any) error {
		if away.CompareAndSwap(true, false) {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	db := d.mustDatabase(t, tap{before: fail}.onDatabase())
	l, err := db.Open(t.Context(), d.name, Options())
	Must(t, err)
	im := Matched(t, l, Rows("r1a r2b"))
	away.Store(true)
	for range 2 {
		WantIs(t, im.Match(t.Context(), EachTarget(Overlap)), ledger.ErrInterrupted)
	}
	WantIs(t, im.Commit(t.Context(), ledger.Source{Name: "off.csv"}), ledger.ErrInterrupted)
	Must(t, im.Close())
	if n := db.Temporary(); n != 0 {
		t.Errorf("%d connections with temporary tables are left", n)
	}
	Commit(t, l, Rows("r1a r2b"))
	if got, want := States(t, l), "r1a:not_attempted r2b:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	Agrees(t, l)
}

// While the database does not answer, a change waits until somebody gives it up.
func testGivenUpWhileAway(t *testing.T, d database) {
	var away atomic.Bool
	tried := make(chan struct{}, 100)
	fail := func(string, []any) error {
		if !away.Load() {
			return nil
		}
		select {
		case tried <- struct{}{}:
		default:
		}
		return io.ErrUnexpectedEOF
	}
	db := d.mustDatabase(t, tap{before: fail}.onDatabase())
	l := ledgers(t, db, d.name, 1, Rows("r1a r2b"), Options())[0]
	ops := Next(t, l)
	away.Store(true)
	gone, cancel := context.WithCancel(t.Context())
	intend := func(ctx context.Context, op ledger.Op) error {
		return l.Intend(ctx, ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{op}, Attempt: 1, At: At})
	}
	errs := make(chan error)
	go func() { errs <- intend(gone, ops[0]) }()
	<-tried
	cancel()
	WantIs(t, <-errs, context.Canceled)
	gone, cancel = context.WithCancel(t.Context())
	go func() { _, err := l.Next(gone, "main", ledger.Cursor{}, 1); errs <- err }()
	<-tried
	cancel()
	WantIs(t, <-errs, context.Canceled)
	go func() { errs <- intend(context.Background(), ops[1]) }()
	for range 3 {
		<-tried
	}
	away.Store(false)
	Must(t, <-errs)
	if got, want := States(t, l), "r1a:not_attempted r2b:in_doubt"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	Agrees(t, l)

	impatient := Options()
	impatient.Patience = 1 // a nanosecond
	l, err := db.Open(t.Context(), d.name+" impatient", impatient)
	Must(t, err)
	away.Store(true)
	WantIs(t, l.Wrote(t.Context(), "x"), ledger.ErrStorage)
	_, err = l.Runs(t.Context())
	WantIs(t, err, ledger.ErrStorage)
	away.Store(false)
	Must(t, l.Wrote(t.Context(), "x"))
}

// Several processes may be the first to use a database.
func testOpenedByMany(t *testing.T, d database) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			db, err := d.database(ledger.DatabaseOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			for _, name := range []string{"one", fmt.Sprint(i)} {
				l, err := db.Open(context.Background(), name, Options())
				if err != nil {
					t.Error(err)
					continue
				}
				if err := l.Wrote(context.Background(), fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	names, err := d.mustDatabase(t, ledger.DatabaseOptions{}).Names(t.Context())
	if len(names) != 9 || err != nil {
		t.Errorf("the ledgers are %q, %v", names, err)
	}
}

func testMigrateDatabase(t *testing.T, d database) {
	l := Open(t, d)
	Commit(t, l, Rows("r1a"))
	const script = "ALTER TABLE ledger_sheet_row ADD COLUMN extra TEXT DEFAULT 'new'"
	no := errors.New("no")
	_, err := ledger.OpenNextDatabase(t.Context(), d.url, script, no)
	WantIs(t, err, no)
	if got, want := States(t, l), "r1a:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			next, err := ledger.OpenNextDatabase(context.Background(), d.url, script, nil)
			if err != nil {
				t.Error(err)
				return
			}
			Must(t, next.Close())
		})
	}
	wg.Wait()
	_, err = d.database(ledger.DatabaseOptions{})
	WantIs(t, err, ledger.ErrNewer)
}

// With some hundred ledgers in the tables, and no statistics, whatever is done to one row goes
// by an index.
func testPlans(t *testing.T, d database) {
	var mu sync.Mutex
	type asked struct {
		query string
		args  []any
	}
	var all []asked
	var on atomic.Bool
	db := d.mustDatabase(t, tap{before: func(query string, args []any) error {
		if on.Load() {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, asked{query, args})
		}
		return nil
	}}.onDatabase())
	l := ledgers(t, db, "plans", 1, manyRows(300), Options())[0]
	for _, table := range []string{"event", "op", "sheet_row"} {
		var columns string
		Must(t, d.db.QueryRow(`SELECT string_agg(column_name, ', ') FROM information_schema.columns
			WHERE table_name = $1 AND column_name <> 'ledger' AND is_generated = 'NEVER'`, "ledger_"+table).Scan(&columns))
		Exec(t, d, "INSERT INTO ledger_"+table+" (ledger, "+columns+") SELECT 1000 + n, "+columns+" FROM ledger_"+table+", generate_series(1, 200) n")
	}
	on.Store(true)
	op := Next(t, l)[0]
	op.Rows = 2 // so that members are looked for
	Must(t, finish(l, op))
	_, err := l.OfKey(t.Context(), "main", op.Target(), 0, 9)
	Must(t, err)
	_, err = l.Unconfirmed(t.Context(), "main", 0, 9)
	Must(t, err)
	on.Store(false)
	conn, err := pgx.Connect(t.Context(), d.url)
	Must(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "SET search_path = bulkrevoke; SET enable_seqscan = off; SELECT set_config('bulkrevoke.ledger', (SELECT id::text FROM ledger), false)")
	Must(t, err)
	indexes := make(map[string]bool)
	for _, a := range all {
		if !slices.ContainsFunc([]string{"SELECT", "UPDATE", "INSERT"}, func(s string) bool { return strings.HasPrefix(a.query, s) }) || strings.Contains(a.query, "set_config('bulkrevoke.ledger', $1") {
			continue
		}
		var plan string
		Must(t, conn.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) "+a.query, a.args...).Scan(&plan))
		if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, `"Sort"`) {
			t.Errorf("%s: %s", a.query, plan)
		}
		for _, index := range []string{"op_next", "op_open", "op_member", "op_unconfirmed"} {
			if strings.Contains(plan, `"`+index+`"`) {
				indexes[index] = true
			}
		}
	}
	if len(indexes) != 4 {
		t.Errorf("only the indexes %v were used", indexes)
	}
	// An intent changes nothing that an index has.
	tx, err := conn.Begin(t.Context())
	Must(t, err)
	_, err = tx.Exec(t.Context(), "UPDATE op SET state = 'sent', seq = 99, call_id = 'c', sent_at = 1, attempts = 1, first_run = 1, seen = 1 WHERE id = $1", Next(t, l)[0].ID)
	Must(t, err)
	var hot int64
	Must(t, tx.QueryRow(t.Context(), "SELECT pg_stat_get_xact_tuples_hot_updated('ledger_op'::regclass)").Scan(&hot))
	if hot != 1 {
		t.Error("an intent writes to the indexes")
	}
	Must(t, tx.Rollback(t.Context()))
	// With statistics and all ways open to it, the planner looks at one ledger's rows alone.
	on.Store(true)
	all = nil
	Must(t, takeIn(t.Context(), l, "", Rows("r1a r2b")))
	on.Store(false)
	_, err = conn.Exec(t.Context(), "ANALYZE ledger_op; ANALYZE ledger_sheet_row; ANALYZE ledger_event; SET enable_seqscan = on")
	Must(t, err)
	explained := 0
	for _, a := range all {
		if strings.Contains(a.query, "import_") || !strings.Contains(a.query, " op ") && !strings.Contains(a.query, "sheet_row") {
			continue
		}
		explained++
		var plan string
		Must(t, conn.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) "+a.query, a.args...).Scan(&plan))
		for _, table := range []string{"ledger_op", "ledger_sheet_row", "ledger_event"} {
			if strings.Contains(strings.Join(strings.Fields(plan), ""), `"NodeType":"SeqScan","ParallelAware":false,"AsyncCapable":false,"RelationName":"`+table+`"`) {
				t.Errorf("%s: %s", a.query, plan)
			}
		}
	}
	if explained < 4 {
		t.Errorf("%d statements were looked at", explained)
	}
}

// A ledger that the planner has not seen yet, because others were there when it looked last, is
// read row by row all the same, and not each of its rows compared with all.
func testNewLedgerIsNotTakenForEmpty(t *testing.T, d database) {
	var mu sync.Mutex
	var queries []string
	var args [][]any
	db := d.mustDatabase(t, tap{before: func(query string, values []any) error {
		if strings.Contains(query, "JOIN op o") {
			mu.Lock()
			defer mu.Unlock()
			queries, args = append(queries, query), append(args, values)
		}
		return nil
	}}.onDatabase())
	ledgers(t, db, "seen", 2, manyRows(300), Options())
	Exec(t, d, "ANALYZE ledger_op; ANALYZE ledger_sheet_row; ANALYZE ledger_account")
	l := ledgers(t, db, "unseen", 1, manyRows(900), Options())[0]
	mu.Lock()
	queries, args = nil, nil
	mu.Unlock()
	_, err := l.Counts(t.Context())
	Must(t, err)
	for _, err := range l.Results(t.Context()) {
		Must(t, err)
	}
	conn, err := pgx.Connect(t.Context(), d.url)
	Must(t, err)
	defer conn.Close(t.Context())
	for name, value := range ledger.ByIndexes() {
		_, err = conn.Exec(t.Context(), "SELECT set_config($1, $2, false)", name, value)
		Must(t, err)
	}
	_, err = conn.Exec(t.Context(), "SET search_path = bulkrevoke; SELECT set_config('bulkrevoke.ledger', (SELECT max(id)::text FROM ledger), false)")
	Must(t, err)
	for i, query := range queries {
		var plan string
		Must(t, conn.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) "+query, args[i]...).Scan(&plan))
		if strings.Contains(plan, `"Join Filter": "(ledger_op.id = `) {
			t.Errorf("%s: %s", query, plan)
		}
	}
	if len(queries) < 2 {
		t.Errorf("%d statements were looked at", len(queries))
	}
}

// A server that crashes and starts anew while ledgers are changed holds them up, and loses and
// doubles nothing.
func TestPostgresCrashes(t *testing.T) {
	t.Parallel()
	server := startPostgres(t)
	d := newDatabase(t, server.URL, t.Name(), 1)
	db := d.mustDatabase(t, ledger.DatabaseOptions{})
	const rows = 60
	all := ledgers(t, db, d.name, 6, manyRows(rows), Options())
	crashes := 0
	workDisturbed(t, all, 30, 80, func() {
		server.Restart(t, "immediate")
		crashes++
	})
	finished(t, all, rows)
	if crashes < 3 {
		t.Errorf("the server has crashed %d times only", crashes)
	}
}

// The tables of a database have the columns that those of a file have, in their order.
func TestSchemasAgree(t *testing.T) {
	t.Parallel()
	columns := func(script, prefix string) map[string]string {
		all := make(map[string]string)
		for table := range strings.SplitSeq(script, "CREATE TABLE ") {
			name, list, ok := strings.Cut(table, " (")
			if !ok || !strings.HasPrefix(name, prefix) || name == "ledger_schema" {
				continue
			}
			list, _, _ = strings.Cut(list, ";")
			var names []string
			for column := range strings.SplitSeq(list, ",") {
				word, rest, _ := strings.Cut(strings.TrimSpace(column), " ")
				if word == strings.ToLower(word) && rest != "" && word != "ledger" && !strings.HasSuffix(word, ")") && word != "unconfirmed" && !strings.Contains(word, "=") && !strings.HasPrefix(word, "autovacuum") {
					names = append(names, word)
				}
			}
			all[strings.TrimPrefix(name, prefix)] = strings.Join(names, " ")
		}
		return all
	}
	file, base := columns(ledger.FileSchema(), ""), columns(ledger.DatabaseSchema(), "ledger_")
	if len(file) == 0 || len(file) != len(base) {
		t.Errorf("%d tables in a file, %d in a database", len(file), len(base))
	}
	for name, want := range file {
		if base[name] != want {
			t.Errorf("table %s: got %q, want %q", name, base[name], want)
		}
	}
}
