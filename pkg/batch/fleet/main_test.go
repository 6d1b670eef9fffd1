package fleet

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// quickTimes are the real ones, a fifth as long. The heartbeats' limit is not: a busy
// machine answers no quicker for a test.
func quickTimes() times {
	t := realTimes()
	for _, d := range []*time.Duration{&t.beat, &t.lease, &t.dead, &t.steady, &t.watch, &t.alive, &t.poll, &t.report, &t.busy, &t.idle} {
		*d /= 5
	}
	t.beatLimit, t.quick = t.lease, true
	return t
}

// opened is a Database for a test, on a server of many.
func opened(t testing.TB, url string) *Database {
	t.Helper()
	d, err := open(t.Context(), Config{URL: url, Log: testLog(t)}, quickTimes(), systemClock())
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func newDatabase(t testing.TB) *Database {
	t.Helper()
	return opened(t, pgtest.Shared(t).NewDatabase(t))
}

func joined(t testing.TB, d *Database, name string) *Host {
	t.Helper()
	h, err := d.Join(t.Context(), name)
	must(t, err)
	t.Cleanup(func() { h.Leave(context.Background()) })
	return h
}

// kill ends a host as kill -9 does: no heartbeat comes any more and nothing is given back.
func (h *Host) kill() {
	h.lease.end(ErrLeft)
	h.stop()
	h.loops.Wait()
}

// freeze stops a host's heartbeats, until it goes on.
func (h *Host) freeze() { h.stop(); h.loops.Wait() }

func (h *Host) thaw() {
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.loops.Go(func() { h.beat(ctx) })
	h.loops.Go(func() { h.watch(ctx) })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until waits for something that must come.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("%s: never", what)
		}
	}
}

// number asks the database for one number.
func number(t testing.TB, d *Database, query string, args ...any) (n int64) {
	t.Helper()
	must(t, d.pool.QueryRow(t.Context(), query, args...).Scan(&n))
	return n
}

func execute(t testing.TB, d *Database, query string, args ...any) {
	t.Helper()
	_, err := d.pool.Exec(t.Context(), query, args...)
	must(t, err)
}

// testLog shows what is logged where the test fails.
func testLog(t testing.TB) *slog.Logger {
	var log buffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", log.String())
		}
	})
	return testLogTo(&log)
}

func testLogTo(log *buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
