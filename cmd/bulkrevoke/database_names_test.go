package main

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// says fails the test unless the command said all of that.
func (got ran) says(t *testing.T, want ...string) {
	t.Helper()
	for _, text := range want {
		if !strings.Contains(got.stderr, text) {
			t.Errorf("it says nothing of %q:\n%s", text, got.stderr)
		}
	}
}

// A ledger has the sheet's name or the one that --ledger gives; the sheet of the same name
// from another folder, or another host, is another one until somebody says that it is not.
func TestLedgerNamesInADatabase(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	off := r.sheet(lead("revoke", 1))
	r.runs(exitDone, "run", off)
	must(t, os.Mkdir(r.path("other"), 0o700))
	other := r.write("other/off.csv", rigHead+lead("revoke", 1)+"\n")
	for _, command := range []string{"run", "plan", "results", "verify", "undo", "submit"} {
		r.runs(exitRefused, command, other).says(t, "off", r.path("other"), r.dir, "--ledger off")
	}
	if n := r.changes(); n != 1 {
		t.Errorf("%d changes, want one", n)
	}
	if _, err := os.Stat(r.path("other/off.results.csv")); err == nil {
		t.Error("a refused command wrote a result")
	}
	r.runs(exitDone, "run", "--ledger", "off", other) // it is the same
	r.runs(exitDone, "run", "--ledger", "off 2", other, "-o", r.path("other/2.csv"))
	if n := r.changes(); n != 2 {
		t.Errorf("%d changes, want two: of each ledger one", n)
	}
	r.runs(exitDone, "verify", "--ledger", "off 2", other)
	r.runs(exitDone, "results", "--ledger", "off 2", other, "-o", r.path("other/2.csv"))
	r.runs(exitDone, "undo", "--ledger", "off 2", other)
	r.runs(exitDone, "results", off)

	for _, name := range []string{"", " x", "a\x07b", strings.Repeat("n", 201)} {
		if name == "" {
			continue
		}
		r.runs(exitRefused, "run", "--ledger", name, off).says(t, "--ledger")
	}
	// One that is queued is not taken for the other either.
	queued := r.write("queued.csv", rigHead+lead("revoke", 2)+"\n")
	r.runs(exitDone, "submit", queued)
	r.runs(exitRefused, "submit", "--wait", r.write("other/queued.csv", rigHead+lead("revoke", 3)+"\n")).says(t, "--ledger queued")
	must(t, filepath.WalkDir(r.dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, ".ledger.db") {
			t.Errorf("%s was made", path)
		}
		return err
	}))
}

// A name of a ledger that a file would have is told from one that is meant.
func TestLedgerFilesAndDatabase(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	off := r.sheet(lead("revoke", 1))
	r.runs(exitRefused, "run", "--sandbox", off).says(t, "--sandbox", "--database")
	r.only("off.csv")
}

// Where the database is said, and what is refused before it is asked.
func TestDatabaseSettings(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	withPassword := strings.Replace(url, "postgres:///", "postgres://postgres:s3cr3t-of-db@/", 1)
	for _, tc := range []struct {
		name string
		set  func(r *rig) (args []string)
		code int
		says []string
	}{
		{"flag", func(r *rig) []string { return []string{"--database", url} }, exitDone, nil},
		{"environment", func(r *rig) []string { r.env["BULKREVOKE_DATABASE"] = url; return nil }, exitDone, nil},
		{"configuration", func(r *rig) []string { r.configure("database: " + url + "\n" + rigConfig); return nil }, exitDone, nil},
		{"flag over environment", func(r *rig) []string { r.env["BULKREVOKE_DATABASE"] = "nonsense"; return []string{"--database", url} }, exitDone, nil},
		{"env:", func(r *rig) []string { r.env["WHERE"] = withPassword; return []string{"--database", "env:WHERE"} }, exitDone, nil},
		{"env: that is empty", func(r *rig) []string { return []string{"--database", "env:WHERE"} }, exitRefused, []string{"WHERE", "not set"}},
		{"file:", func(r *rig) []string { return []string{"--database", "file:" + r.write("url", withPassword+"\n")} }, exitDone, nil},
		{"file: that is not there", func(r *rig) []string { return []string{"--database", "file:" + r.path("url")} }, exitRefused, []string{"no such file"}},
		{"password in the environment", func(r *rig) []string { r.env["BULKREVOKE_DATABASE"] = withPassword; return nil }, exitDone, nil},
		{"password in the flag", func(r *rig) []string { return []string{"--database", withPassword} }, exitRefused, []string{"password must not stand", "env:NAME"}},
		{"password in the configuration", func(r *rig) []string { r.configure("database: " + withPassword + "\n" + rigConfig); return nil }, exitRefused, []string{"password must not stand"}},
		{"password beside the flag", func(r *rig) []string { return []string{"--database", url + "&password=s3cr3t-of-db"} }, exitRefused, []string{"password must not stand"}},
		{"database_password", func(r *rig) []string {
			r.env["DBPW"] = "s3cr3t-of-db"
			r.configure("database: " + url + "\ndatabase_password: env:DBPW\n" + rigConfig)
			return nil
		}, exitDone, nil},
		{"database_password that is one", func(r *rig) []string {
			r.configure("database: " + url + "\ndatabase_password: s3cr3t-of-db\n" + rigConfig)
			return nil
		}, exitRefused, []string{"database_password", "env:NAME"}},
		{"no verified TLS", func(r *rig) []string { return []string{"--database", "postgres://db.invalid/x?sslmode=require"} }, exitRefused, []string{"sslmode=verify-full"}},
		{"no TLS", func(r *rig) []string { return []string{"--database", "postgres://db.invalid/x?sslmode=disable"} }, exitRefused, []string{"sslmode=verify-full"}},
		{"another database", func(r *rig) []string { return []string{"--database", "mysql://db.invalid/x"} }, exitRefused, []string{"postgres://"}},
		{"a file", func(r *rig) []string { return []string{"--database", "ledger.db"} }, exitRefused, []string{"postgres://"}},
		{"a bad port", func(r *rig) []string { return []string{"--database", "postgres://localhost:70000/x"} }, exitRefused, []string{"port"}},
		{"nobody there", func(r *rig) []string { return []string{"--database", "postgres://me@127.0.0.1:1/x"} }, exitRefused, []string{"127.0.0.1", "refused", "Nothing was sent"}},
		{"nobody who answers", func(r *rig) []string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			t.Cleanup(func() { l.Close() })
			return []string{"--database", "postgres://me@" + l.Addr().String() + "/x?connect_timeout=1"}
		}, exitRefused, []string{"does not answer", "Nothing was sent"}},
		{"no such host", func(r *rig) []string { return []string{"--database", "postgres://me@db.invalid/x"} }, exitRefused, []string{"db.invalid", "Nothing was sent"}},
		{"no such database", func(r *rig) []string { return []string{"--database", strings.Replace(url, "/test", "/none", 1)} }, exitRefused, []string{`has no database "none`, "Nothing was sent"}},
		{"no such user", func(r *rig) []string {
			return []string{"--database", strings.Replace(url, "user=postgres", "user=nobody_here", 1)}
		}, exitRefused, []string{"nobody_here", "Nothing was sent"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			args := tc.set(r)
			off := r.sheet(lead("revoke", 1))
			ledger := strings.ReplaceAll(t.Name(), "/", " ")
			got := r.runs(tc.code, append([]string{"run", "--ledger", ledger, off}, args...)...)
			got.says(t, tc.says...)
			if strings.Contains(got.stderr, "s3cr3t") {
				t.Errorf("it tells the password:\n%s", got.stderr)
			}
			if goWords.MatchString(got.stderr) {
				t.Errorf("it speaks of the program's inside:\n%s", got.stderr)
			}
			if n := r.changes(); tc.code == exitRefused && n != 0 {
				t.Errorf("%d changes of a refused run", n)
			}
		})
	}
}

// goWords are words that no message has: of Go, of libraries, and of how they chain errors.
var goWords = regexp.MustCompile(`(?i)context deadline|dial tcp|dial error|pgx|pgconn|\*[a-z]+\.[A-Z]|strconv|nil pointer|failed to |SQLSTATE|EOF|hostname resolving|lookup `)

// A run that begins while the database restarts waits for it, says so, and goes on by itself.
func TestRunWaitsForADatabaseThatRestarts(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	r := newRig(t, sandbox.Config{})
	r.env["BULKREVOKE_DATABASE"] = server.NewDatabase(t)
	off := r.sheet(lead("revoke", 1))
	server.Stop(t, "fast")
	path, err := program()
	must(t, err)
	log, err := os.Create(r.path("log"))
	must(t, err)
	defer log.Close()
	cmd := exec.Command(path, "run", off)
	cmd.Stderr = log
	p := r.startCommand(cmd)
	said := func() string { text, _ := os.ReadFile(r.path("log")); return string(text) }
	until(t, "it does not say that it waits", func() bool { return strings.Contains(said(), "the database does not answer; it is asked again") })
	if n := r.changes(); n != 0 {
		t.Errorf("%d changes without the database", n)
	}
	server.Continue(t)
	if code := p.wait(); code != exitDone {
		t.Errorf("it ended with %d, want %d:\n%s", code, exitDone, said())
	}
	if goWords.MatchString(said()) {
		t.Errorf("it speaks of the program's inside:\n%s", said())
	}
	r.wantWords("result", "done")
}

// What was imported is gone with its connection to the database. As nothing was sent, the
// command begins again by itself.
func TestImportThatLosesItsConnectionBeginsAgain(t *testing.T) {
	t.Parallel()
	for _, command := range [][]string{{"run"}, {"submit"}} {
		t.Run(command[0], func(t *testing.T) {
			t.Parallel()
			r := newDatabaseRig(t, sandbox.Config{})
			r.server.AddUser(crm.User{ID: guidOf('a', 7), Email: "ann@example.com", Active: true}, "")
			r.server.Fault(sandbox.Fault{Op: "Users.Get", Kind: sandbox.FaultSlow, Delay: time.Second})
			off := r.write("off.csv", "action,object,record_id,user_email,context_id\nrevoke,lead,7001,ann@example.com,"+guidOf('c', 1)+"\n")
			ended := make(chan ran)
			go func() { ended <- r.run(append(command, off)...) }()
			until(t, "nothing is looked up", func() bool { return len(r.server.Arrivals()) > 0 })
			pgtest.Shared(t).Terminate(t, r.env["BULKREVOKE_DATABASE"])
			got := <-ended
			if got.code != exitDone {
				t.Errorf("it ended with %d:\n%s", got.code, got.stderr)
			}
			got.says(t, "lost before anything was sent; beginning again")
			want := map[string]int{"run": 1}[command[0]]
			if n := r.changes(); n != want {
				t.Errorf("%d changes, want %d", n, want)
			}
		})
	}
}

// A database that a later version has changed is left alone.
func TestNewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	for _, change := range []string{
		"UPDATE bulkrevoke.fleet_schema SET version = version + 1",
		"UPDATE bulkrevoke.ledger_schema SET version = version + 1",
	} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			r := newDatabaseRig(t, sandbox.Config{})
			off := r.sheet(lead("revoke", 1))
			r.runs(exitDone, "plan", off)
			c, err := pgx.Connect(t.Context(), r.env["BULKREVOKE_DATABASE"])
			must(t, err)
			_, err = c.Exec(t.Context(), change)
			must(t, err)
			must(t, c.Close(t.Context()))
			got := r.runs(exitRefused, "run", off)
			got.says(t, "newer")
			if goWords.MatchString(got.stderr) || r.changes() > 0 {
				t.Errorf("after %d changes it says:\n%s", r.changes(), got.stderr)
			}
		})
	}
}
