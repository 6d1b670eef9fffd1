package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// outside is what a test has for the outside world of an app.
type outside struct {
	stdin          io.Reader
	stdout, stderr bytes.Buffer
	env            map[string]string
	terminal       bool
	now            func() time.Time // nil for time.Now
	restart        time.Duration    // how long a database that is away is waited for
}

// execute runs a command line there and returns the exit code.
func (o *outside) execute(ctx context.Context, args ...string) int {
	a := newApp(args, o.stdin, &o.stdout, &o.stderr)
	a.lookup = environment(o.env)
	a.environ = func() (all []string) {
		for name, value := range o.env {
			all = append(all, name+"="+value)
		}
		return all
	}
	a.terminal = func(any) bool { return o.terminal }
	a.restart = o.restart
	if o.now != nil {
		a.now = o.now
	}
	return a.execute(ctx)
}

// oneRevoke is a sheet of one row.
const oneRevoke = "action,object,record_id,user,context_id\n" +
	"revoke,lead,869196,e6b8a9b2-51d0-4f1e-9a55-0f4f8f1f2d01,cf6f8a10-1d5e-4d3c-8a4b-2b60f7a1c001\n"

// TestSandboxCommandServesRuns starts the sandbox command with a seeded, dated row and
// does it with what the command printed.
func TestSandboxCommandServesRuns(t *testing.T) {
	t.Parallel()
	sheetPath := filepath.Join(t.TempDir(), "off.csv")
	dated := "action,object,record_id,user,last_day\nrevoke,Quotes," + zohoRecord(1) + "," + zohoUser(1) + ",2026-01-31\n"
	must(t, os.WriteFile(sheetPath, []byte(dated), 0o600))

	ctx, cancel := context.WithCancel(t.Context())
	printed, stdout := io.Pipe()
	var stderr bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"sandbox", "--seed", sheetPath, "--quiet"}, strings.NewReader(""), stdout, &stderr)
	}()
	buf := make([]byte, 4096)
	n, err := printed.Read(buf)
	must(t, err)
	env := map[string]string{"BULKREVOKE_STATE": t.TempDir()}
	for line := range strings.Lines(string(buf[:n])) {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if !ok {
			t.Fatalf("printed %q", line)
		}
		env[name] = value
	}
	o := &outside{stdin: strings.NewReader(""), env: env}
	if code := o.execute(t.Context(), "run", "--timezone", "UTC", sheetPath); code != exitDone {
		t.Errorf("exit code is %d, want %d:\n%s", code, exitDone, o.stderr.String())
	}
	cancel()
	if code := <-done; code != exitDone {
		t.Errorf("the sandbox ended with %d, want %d:\n%s", code, exitDone, stderr.String())
	}
}

func TestQuestionOnATerminal(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		answer   string
		terminal bool
		args     []string
		code     int
		sent     int
		asked    bool
	}{
		{"yes", "y\n", true, nil, exitDone, 1, true},
		{"the whole word", "YES\n", true, nil, exitDone, 1, true},
		{"no", "n\n", true, nil, exitRefused, 0, true},
		{"nothing", "\n", true, nil, exitRefused, 0, true},
		{"end of input", "", true, nil, exitRefused, 0, true},
		{"--yes", "", true, []string{"--yes"}, exitDone, 1, false},
		{"no terminal", "", false, nil, exitDone, 1, false},
		{"plan", "", true, []string{"--dry-run"}, exitDone, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server, err := sandbox.New(sandbox.Config{Limit: -1})
			must(t, err)
			base, stop, err := sandbox.Listen("", server)
			must(t, err)
			t.Cleanup(stop)
			dir := t.TempDir()
			sheetPath := filepath.Join(dir, "off.csv")
			must(t, os.WriteFile(sheetPath, []byte(oneRevoke), 0o600))
			o := &outside{stdin: strings.NewReader(tc.answer), terminal: tc.terminal, env: map[string]string{
				"LEADSQUARED_HOST": base, "LEADSQUARED_ACCESS_KEY": "access-key", "LEADSQUARED_SECRET_KEY": "secret-key",
				"BULKREVOKE_STATE": t.TempDir(),
			}}
			code := o.execute(t.Context(), append([]string{"run", "--progress", "never", sheetPath}, tc.args...)...)
			if code != tc.code || len(server.Requests()) != tc.sent {
				t.Errorf("exit code %d with %d changes sent, want %d with %d:\n%s", code, len(server.Requests()), tc.code, tc.sent, o.stderr.String())
			}
			if asked := strings.Contains(o.stderr.String(), "Send 1 change to leadsquared (127.0.0.1:"); asked != tc.asked {
				t.Errorf("asked: %t, want %t:\n%s", asked, tc.asked, o.stderr.String())
			}
			if tc.code == exitRefused {
				entries, err := os.ReadDir(dir)
				must(t, err)
				if len(entries) != 1 {
					t.Errorf("left behind: %v", entries)
				}
			}
		})
	}
}

func TestLogsAreSafe(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		o := newOptions()
		must(t, o.logFormat.Set(format))
		log := newLog(report.NewScreen(&out), o)
		log.Info("row", "text", "a\x1b[2J\u202e\nb", "error", &batch.ProtectedError{User: "u\x1b\u202e"}, slog.Group("g", "inner", "\u2066"))
		if bad := strings.ContainsAny(strings.TrimSuffix(out.String(), "\n"), "\x1b\u202e\u2066\n"); bad {
			t.Errorf("%s: %q", format, out.String())
		}
		log.Debug("hidden")
		if strings.Contains(out.String(), "hidden") {
			t.Errorf("%s: debug is written at level info", format)
		}
	}
}

// Trying a sheet out again and again does not use up the tokens that Zoho gives out.
func TestSandboxRunsDoNotRunOutOfTokens(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.write("off.csv", "action,object,record_id,user\nrevoke,Quotes,"+zohoRecord(1)+","+zohoUser(1)+"\n")
	for range 12 {
		r.runs(exitDone, "run", "--sandbox", "--max-duration", "30s", path)
	}
}

// An account on the command line that the sandbox does not have is warned about; what
// configuration and environment name is meant for runs.
func TestAccountInASandbox(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.write("off.csv", "action,object,record_id,user\nrevoke,Leads,4150868000002515003,4150868000001248015\n")
	const words = "--account names none of the sandbox's accounts"
	if got := r.runs(exitDone, "plan", "--sandbox", path, "--account", "lsq"); !strings.Contains(got.stderr, words) {
		t.Errorf("it says:\n%s", got.stderr)
	}
	if got := r.runs(exitDone, "plan", "--sandbox", path, "--account", "Zoho"); strings.Contains(got.stderr, words) {
		t.Errorf("it says:\n%s", got.stderr)
	}
	r.env["BULKREVOKE_ACCOUNT"] = "lsq"
	if got := r.runs(exitDone, "plan", "--sandbox", path); strings.Contains(got.stderr, words) {
		t.Errorf("it says:\n%s", got.stderr)
	}
}
