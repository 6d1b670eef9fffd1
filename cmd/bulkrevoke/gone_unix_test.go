//go:build unix

package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A reader that has gone, or reads no more, ends nothing but what is shown.
func TestAReaderThatGoesEndsNothing(t *testing.T) {
	t.Parallel()
	const rows = 30
	for name, script := range map[string]string{
		"stderr to a program that ends at once": `{ "$0" run off.csv --log-level debug --progress always; echo $? >code; } 2>&1 | true`,
		"both to one that wants a line":         `{ "$0" run off.csv --log-level debug; echo $? >code; } 2>&1 | head -n 1`,
		"stdout alone":                          `{ "$0" run off.csv; echo $? >code; } | true`,
		"as JSON":                               `{ "$0" run off.csv --log-format json --log-level debug; echo $? >code; } 2>&1 | head -n 1`,
		"stderr closed":                         `"$0" run off.csv --log-level debug 2>&-; echo $? >code`,
		"stderr to a full disk":                 `"$0" run off.csv --log-level debug 2>/dev/full; echo $? >code`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			r.sheet(leads(rows)...)
			path, err := program()
			must(t, err)
			r.startCommand(shell(script, path)).wait()
			until(t, "the run has not ended", func() bool { _, err := os.Stat(r.path("code")); return err == nil })
			r.ended(rows)
		})
	}
}

// ended fails the test unless the run that wrote its exit code into the file code has
// done all rows.
func (r *rig) ended(rows int) {
	r.t.Helper()
	code, err := os.ReadFile(r.path("code"))
	must(r.t, err)
	if strings.TrimSpace(string(code)) != "0" || r.count("done") != rows {
		r.t.Errorf("ended with %swith %d rows done, want 0 and %d", code, r.count("done"), rows)
	}
}

// A pipe that nobody reads holds nobody up.
func TestAReaderThatSleepsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	const rows = 400
	r := newRig(t, sandbox.Config{})
	path, err := program()
	must(t, err)
	unread, full, err := os.Pipe()
	must(t, err)
	defer unread.Close()
	defer full.Close()
	cmd := exec.Command(path, "run", r.sheet(leads(rows)...), "--log-level", "debug")
	cmd.Stderr = full
	p := r.startCommand(cmd)
	if code := p.wait(); code != exitDone || r.count("done") != rows {
		t.Errorf("ended with %d, with %d rows done", code, r.count("done"))
	}
}

// Data that was asked for: a reader that has had enough is no fault, a disk that is full
// is one.
func TestDataThatNobodyTakes(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(append(leads(3), "lsq,revoke,lead,1,x,"+guidOf('u', 1)+",read")...)
	r.runs(exitOpen, "run", "--skip-invalid", path)
	binary, err := program()
	must(t, err)
	for _, tc := range []struct{ args, code string }{
		{"results --open off.csv", "0"}, {"verify off.csv", "1"}, {"plan --skip-invalid --json off.csv", "0"}, {"plan --skip-invalid off.csv", "0"},
	} {
		for to, want := range map[string]string{" | true": tc.code, " >/dev/full": "3"} {
			t.Run(tc.args+to, func(t *testing.T) {
				script := `{ sleep 0.1; "$0" ` + tc.args + `; echo $? >code; }` + to
				p := r.startCommand(shell(script, binary))
				p.wait()
				code, err := os.ReadFile(r.path("code"))
				must(t, err)
				said := p.stderr.String()
				if strings.TrimSpace(string(code)) != want || strings.Contains(said, "standard output: the data could not be written: no space") != (want == "3") {
					t.Errorf("ended with %swant %s; it says:\n%s", code, want, said)
				}
			})
		}
	}
}

// nohup has SIGHUP ignored, and it stays so.
func TestNohupIsHeeded(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultSlow, Delay: time.Second, Times: 1})
	r.sheet(leads(2)...)
	path, err := program()
	must(t, err)
	p := r.startCommand(shell(`trap '' HUP; exec "$0" run off.csv`, path))
	until(t, "nothing was sent", func() bool { return r.changes() > 0 })
	must(t, p.cmd.Process.Signal(syscall.SIGHUP))
	if code := p.wait(); code != exitDone {
		t.Errorf("ended with %d, want %d:\n%s", code, exitDone, p.stderr.String())
	}
}

// The signals of a session that is taken down are one wish to end, and no second one;
// SIGQUIT ends at once and not with 2.
func TestSignalsThatComeTogether(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		signals []syscall.Signal
		pause   time.Duration
		code    int
	}{
		{"SIGTERM twice, as timeout sends it", []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, 20 * time.Millisecond, exitTerminated},
		{"SIGHUP from the kernel and from the shell", []syscall.Signal{syscall.SIGHUP, syscall.SIGHUP}, 400 * time.Millisecond, exitHangup},
		{"SIGTERM and SIGHUP", []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP}, 400 * time.Millisecond, exitTerminated},
		{"SIGQUIT", []syscall.Signal{syscall.SIGQUIT}, 0, 131},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultSlow, Delay: 2 * time.Second, Times: 1})
			p := r.start("run", r.sheet(leads(1)...))
			until(t, "nothing was sent", func() bool { return r.changes() > 0 })
			for _, s := range tc.signals {
				must(t, p.cmd.Process.Signal(s))
				time.Sleep(tc.pause)
			}
			if code := p.wait(); code != tc.code {
				t.Errorf("ended with %d, want %d:\n%s", code, tc.code, p.stderr.String())
			}
			if strings.Contains(p.stderr.String(), "goroutine ") {
				t.Errorf("a dump:\n%s", p.stderr.String())
			}
		})
	}
}
