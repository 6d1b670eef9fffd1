package main

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
)

// TestMain makes the test binary serve as the command too, for scripts and for
// tests that need a process.
func TestMain(m *testing.M) {
	// A test's folder is not to hold the temporary files of another's ledger.
	if err := os.Setenv("SQLITE_TMPDIR", os.TempDir()); err != nil {
		panic(err)
	}
	testscript.Main(tidy{m}, map[string]func(){"bulkrevoke": main, standInCommand: serveStandIn})
}

// tidy are the tests, and taking away afterwards what all of them share.
type tidy struct{ *testing.M }

func (t tidy) Run() int {
	// Where the tests are started under nohup, the programs that they start would heed it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	code := pgtest.Main(t.M)
	if err := os.RemoveAll(programFolder()); err != nil && code == 0 {
		code = 1
	}
	return code
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// environment returns a lookup in the given variables.
func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}
