//go:build unix

package main

import (
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

// TestSignalsStopCleanly sends the real process a signal while it waits for a
// confirmation that never comes: it writes its result and says with its exit code
// what stopped it.
func TestSignalsStopCleanly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		signal syscall.Signal
		code   int
		words  string
	}{
		{syscall.SIGINT, exitInterrupt, "interrupted: no call is open, ending now"},
		{syscall.SIGTERM, exitTerminated, "asked to end (SIGTERM): no call is open, ending now"},
		{syscall.SIGHUP, exitHangup, "the terminal is gone (SIGHUP): no call is open, ending now"},
	} {
		t.Run(tc.signal.String(), func(t *testing.T) {
			t.Parallel()
			server, err := sandbox.New(sandbox.Config{Limit: -1})
			must(t, err)
			server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultNeverProcess})
			base, stop, err := sandbox.Listen("", server)
			must(t, err)
			t.Cleanup(stop)
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "off.csv"), []byte(oneRevoke), 0o600))
			var stderr strings.Builder
			cmd := exec.Command("bulkrevoke", "run", "off.csv")
			cmd.Dir, cmd.Stderr = dir, &stderr
			cmd.Env = append(os.Environ(), "LEADSQUARED_HOST="+base, "LEADSQUARED_ACCESS_KEY=access-key", "LEADSQUARED_SECRET_KEY=secret-key",
				"BULKREVOKE_STATE="+filepath.Join(dir, "state"))
			must(t, cmd.Start())
			for begun := time.Now(); len(server.Requests()) == 0 && time.Since(begun) < 30*time.Second; {
				time.Sleep(5 * time.Millisecond)
			}
			until(t, "the first look is still under way", func() bool { return len(server.Arrivals()) > 2 })
			time.Sleep(100 * time.Millisecond)
			must(t, cmd.Process.Signal(tc.signal))
			exited, ok := errors.AsType[*exec.ExitError](cmd.Wait())
			if !ok || exited.ExitCode() != tc.code {
				t.Errorf("ended with %v, want exit code %d:\n%s", exited, tc.code, stderr.String())
			}
			result, err := os.ReadFile(filepath.Join(dir, "off.results.csv"))
			must(t, err)
			if !strings.Contains(string(result), ",2,accepted,") {
				t.Errorf("the result does not say that the row is accepted:\n%s", result)
			}
			if !strings.Contains(stderr.String(), tc.words+"\n") {
				t.Errorf("the first word is not %q:\n%s", tc.words, stderr.String())
			}
			if !strings.Contains(stderr.String(), "again: bulkrevoke run off.csv") {
				t.Errorf("the summary does not say how to go on:\n%s", stderr.String())
			}
		})
	}
}
