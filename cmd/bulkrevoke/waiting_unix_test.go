//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// Where a run waits for input that does not come, from a pipe that nobody writes to or
// one that falls silent, the first signal ends it, as it says.
func TestSignalEndsWaitingForInput(t *testing.T) {
	t.Parallel()
	const half = "action,object,record_id,user,context_id\nrevoke,lead,86"
	for name, tc := range map[string]struct {
		args  []string
		pipes []string // named pipes that nobody writes to
		stdin string   // what comes before it falls silent
		sent  syscall.Signal
		code  int
	}{
		"standard input":                 {args: []string{"run", "-", "-o", "r.csv", "--ledger", "l.db"}, sent: syscall.SIGTERM, code: exitTerminated},
		"standard input within a row":    {args: []string{"run", "-", "-o", "r.csv", "--ledger", "l.db"}, stdin: half, sent: syscall.SIGINT, code: exitInterrupt},
		"a named pipe":                   {args: []string{"run", "off.csv"}, pipes: []string{"off.csv"}, sent: syscall.SIGTERM, code: exitTerminated},
		"a named pipe as a workbook":     {args: []string{"plan", "off.xlsx"}, pipes: []string{"off.xlsx"}, sent: syscall.SIGHUP, code: exitHangup},
		"a named pipe called a result":   {args: []string{"run", "off.results.csv"}, pipes: []string{"off.results.csv"}, sent: syscall.SIGTERM, code: exitTerminated},
		"a named pipe for configuration": {args: []string{"run", "--config", "c.yaml", "off.csv"}, pipes: []string{"c.yaml"}, sent: syscall.SIGTERM, code: exitTerminated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "off.csv"), []byte(oneRevoke), 0o600))
			for _, pipe := range tc.pipes {
				must(t, errors.Join(os.RemoveAll(filepath.Join(dir, pipe)), syscall.Mkfifo(filepath.Join(dir, pipe), 0o600)))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel() // kills what still waits
			cmd := exec.CommandContext(ctx, "bulkrevoke", append(tc.args, "--sandbox")...)
			var stderr strings.Builder
			cmd.Dir, cmd.Stderr = dir, &stderr
			cmd.Env = append(os.Environ(), "BULKREVOKE_STATE="+filepath.Join(dir, "state"))
			stdin, err := cmd.StdinPipe()
			must(t, err)
			must(t, cmd.Start())
			_, err = stdin.Write([]byte(tc.stdin))
			must(t, err)
			time.Sleep(time.Second) // it waits by now, or takes the signal before it would
			must(t, cmd.Process.Signal(tc.sent))
			exited, ok := errors.AsType[*exec.ExitError](cmd.Wait())
			if !ok || exited.ExitCode() != tc.code {
				t.Errorf("ended with %v, want exit code %d:\n%s", exited, tc.code, stderr.String())
			}
			for _, file := range []string{"l.db", "r.csv", "off.sandbox.ledger.db"} {
				if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
					t.Errorf("%s was left", file)
				}
			}
		})
	}
}

// A pipe with a sheet in it is read once, and as a whole, whatever it is called.
func TestSheetInAPipe(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"off.csv", "off.undo.csv", "off.tsv"} {
		r := newRig(t, sandbox.Config{})
		must(t, syscall.Mkfifo(r.path(name), 0o600))
		text := rigHead + strings.Join(leads(40), "\n") + "\n"
		go func() { _ = os.WriteFile(r.path(name), []byte(text), 0) }() // it ends when it was read
		r.runs(exitDone, "run", "-o", r.path("r.csv"), "--ledger", r.path("l.db"), r.path(name))
		if n := r.changes(); n != 40 {
			t.Errorf("%s: %d changes, want 40", name, n)
		}
	}
}

// A certificate is not waited for.
func TestCertificateThatIsNoRegularFile(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	must(t, syscall.Mkfifo(r.path("ca.pem"), 0o600))
	r.configure(strings.Replace(rigConfig, "    secret_key: env:RIG_SECRET\n", "    secret_key: env:RIG_SECRET\n    ca_file: "+r.path("ca.pem")+"\n", 1))
	if got := r.runs(exitRefused, "run", r.sheet(leads(1)...)); !strings.Contains(got.stderr, "ca.pem is not a regular file") {
		t.Errorf("it says\n%s", got.stderr)
	}
}

// Commands that read the ledger, and the sheet only for a look at it, wait for no pipe
// that stands in the sheet's place by now.
func TestLooksLeavePipesAlone(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"results", "verify", "undo"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			off := r.sheet(leads(2)...)
			r.runs(exitDone, "run", off)
			must(t, errors.Join(os.Remove(off), syscall.Mkfifo(off, 0o600)))
			ended := make(chan ran, 1)
			go func() { ended <- r.run(command, off) }()
			select {
			case got := <-ended:
				if got.code != exitDone {
					t.Errorf("it ended with %d:\n%s", got.code, got.stderr)
				}
			case <-time.After(30 * time.Second):
				t.Error("it waits for ever")
			}
		})
	}
}
