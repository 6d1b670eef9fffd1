// Package pgtest runs PostgreSQL for tests: a cluster of its own in a temporary folder,
// reached by a socket there, that ends with the test or with the test binary.
//
// Tests that need it are skipped where PostgreSQL's programs are not found, and fail there
// if BULKREVOKE_TEST_POSTGRES is "require".
package pgtest

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Server is a running cluster.
type Server struct {
	URL string // of its database "postgres", by a user who may do everything

	dir, data, initdb string
	as                []string // what a command begins with that runs as the cluster's owner
	command           *exec.Cmd
	ends              io.Closer // closing it, or the end of this process, ends the server
	names             atomic.Int64
}

// Start makes a cluster and runs a server on it until the test ends. Its default collation
// is one in which letters are not in the order of their bytes.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := start(programs(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	return s
}

// programs returns where PostgreSQL's initdb is, beside its other programs. It skips the test
// where there is none: the tests of the repository need only Go, and those of a machine that
// has to have PostgreSQL are told so.
func programs(t testing.TB) (initdb string) {
	t.Helper()
	initdb, err := find()
	if err != nil && os.Getenv("BULKREVOKE_TEST_POSTGRES") == "require" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return initdb
}

var shared struct {
	sync.Mutex
	server *Server
}

// Shared is the one server of a test binary whose TestMain calls Main. Who stops or
// restarts a server starts one of their own.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		return shared.server
	}
	var err error
	if shared.server, err = start(programs(t)); err != nil {
		t.Fatal(err)
	}
	return shared.server
}

// Main runs the tests, ends the shared server and returns the tests' exit code.
func Main(m *testing.M) int {
	defer func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.server != nil {
			shared.server.remove()
		}
	}()
	return m.Run()
}

func find() (initdb string, err error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // where Debian has them
	if err == nil && len(found) > 0 {
		return found[len(found)-1], nil
	}
	return exec.LookPath("initdb")
}

func start(initdb string) (*Server, error) {
	dir, err := os.MkdirTemp("", "pg") // a short path: a socket goes there
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, data: filepath.Join(dir, "data"), initdb: initdb}
	if err := s.begin(); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *Server) begin() error {
	var err error
	if s.as, err = owner(s.dir); err != nil {
		return err
	}
	args := []string{"-D", s.data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"}
	if _, err := s.program("initdb", append(args, "--locale-provider=icu", "--icu-locale=en")...).CombinedOutput(); err != nil {
		os.RemoveAll(s.data) // without ICU
		if out, err := s.program("initdb", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("initdb: %w\n%s", err, out)
		}
	}
	s.URL = "postgres:///postgres?user=postgres&host=" + url.QueryEscape(s.dir)
	return s.run()
}

// run starts the server and returns when it answers. It ends when the other end of a pipe
// is closed, so that it does not outlive the tests however they end.
func (s *Server) run() error {
	const untilClosed = `"$@" & server=$!; (cat >/dev/null; kill -INT $server) <&3 3<&- >/dev/null 2>&1 & exec 3<&-; wait $server`
	settings := []string{"-D", s.data, "-k", s.dir}
	for _, c := range []string{"listen_addresses=", "fsync=off", "max_connections=600", "shared_buffers=16MB", "jit=off", "full_page_writes=off", "autovacuum=off", "wal_level=minimal", "max_wal_senders=0"} {
		settings = append(settings, "-c", c)
	}
	program := s.program("postgres", settings...)
	s.command = exec.Command("sh", append([]string{"-c", untilClosed, "sh"}, program.Args...)...)
	s.command.Dir = s.dir
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	s.command.Stdout, s.command.Stderr, s.command.ExtraFiles, s.ends = log, log, []*os.File{r}, w
	if err := s.command.Start(); err != nil {
		return err
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := pgx.Connect(context.Background(), s.URL)
		if err == nil {
			return c.Close(context.Background())
		}
		if time.Since(began) > time.Minute {
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("the server does not answer: %w\n%s", err, said)
		}
	}
}

func (s *Server) program(name string, args ...string) *exec.Cmd {
	all := append(slices.Clone(s.as), append([]string{filepath.Join(filepath.Dir(s.initdb), name)}, args...)...)
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Dir = s.dir
	return cmd
}

// remove ends the server and removes its files.
func (s *Server) remove() {
	if s.command != nil {
		s.ends.Close()
		s.command.Wait()
		s.command = nil
	}
	os.RemoveAll(s.dir)
}

// Stop stops the server in one of pg_ctl's modes: smart, fast, or immediate, which is like
// a crash.
func (s *Server) Stop(t testing.TB, mode string) {
	t.Helper()
	if out, err := s.program("pg_ctl", "-D", s.data, "-m", mode, "-w", "stop").CombinedOutput(); err != nil {
		t.Fatalf("stop the server: %v\n%s", err, out)
	}
	s.ends.Close()
	s.command.Wait()
	s.command = nil
}

// Continue starts a server again that was stopped.
func (s *Server) Continue(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
}

// Restart stops the server in that mode and starts it again.
func (s *Server) Restart(t testing.TB, mode string) {
	t.Helper()
	s.Stop(t, mode)
	s.Continue(t)
}

// Terminate ends all connections to a database but its own.
func (s *Server) Terminate(t testing.TB, databaseURL string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), databaseURL)
	if err == nil {
		_, err = c.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		c.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// NewDatabase makes an empty database and returns its URL.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	name := "test" + strconv.FormatInt(s.names.Add(1), 10)
	c, err := pgx.Connect(t.Context(), s.URL)
	if err == nil {
		_, err = c.Exec(t.Context(), "CREATE DATABASE "+name)
		c.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return "postgres:///" + name + "?user=postgres&host=" + url.QueryEscape(s.dir)
}

// Folder makes a folder that the server may use, in another one, "" for that of the system, and
// removes it with the test.
func (s *Server) Folder(t testing.TB, in string) string {
	t.Helper()
	dir, err := os.MkdirTemp(in, "pg")
	if err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		_, err = owner(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Dump returns everything that a database holds, as SQL.
func (s *Server) Dump(t testing.TB, databaseURL string) string {
	t.Helper()
	out, err := s.program("pg_dump", databaseURL).CombinedOutput()
	if err != nil {
		t.Fatalf("pg_dump: %v\n%s", err, out)
	}
	return string(out)
}

// owner gives the folder to a user who may run PostgreSQL, which root may not, and returns
// what a command of theirs begins with.
func owner(dir string) ([]string, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return []string{"setpriv", "--reuid", u.Uid, "--regid", u.Gid, "--clear-groups"}, os.Chown(dir, uid, gid)
}
