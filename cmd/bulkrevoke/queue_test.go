package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// statusOf is what `status --json` says of a sheet.
func (r *rig) statusOf(name string) statusSheet {
	r.t.Helper()
	var s statusJSON
	got := r.run("status", "--json", "--ledger", name)
	must(r.t, json.Unmarshal([]byte(got.stdout), &s))
	if s.Schema != "bulkrevoke/status/1" || len(s.Sheets) != 1 {
		r.t.Fatalf("status ended with %d:\n%s\n%s", got.code, got.stdout, got.stderr)
	}
	return s.Sheets[0]
}

// becomes waits until a sheet is in a state.
func (r *rig) becomes(name, state string) statusSheet {
	r.t.Helper()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		s := r.statusOf(name)
		switch {
		case s.State == state:
			return s
		case time.Since(began) > 30*time.Second:
			r.t.Fatalf("after 30 s %s is not %s: %+v", name, state, s)
		}
	}
}

var sigterm = &signalError{syscall.SIGTERM}

// What is submitted is done by a worker, and comes back as from a run.
func TestSubmitAndWait(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	r.seedQuote(1, 1, 2)
	off := r.sheet(lead("revoke", 1), quote("revoke", 1, 1))
	r.runs(exitDone, "submit", off).says(t, "is queued", "bulkrevoke status off")
	r.only("off.csv")
	r.runs(exitHeld, "submit", off).says(t, "off is queued already", "--wait", "bulkrevoke cancel")
	if s := r.statusOf("off"); s.State != "queued" || s.Sheet != off || s.By == "" || s.Tries != 0 {
		t.Errorf("the status is %+v", s)
	}
	got := r.runs(exitDone, "status")
	if !strings.Contains(got.stdout, "off") || !strings.Contains(got.stdout, "queued") || !strings.Contains(got.stdout, "no host lives") {
		t.Errorf("status says:\n%s", got.stdout)
	}
	w := r.begin("worker", "--quiet")
	s := r.becomes("off", "done")
	want := map[string]int64{"rows": 2, "done": 2}
	for name, n := range s.Counts {
		if n != want[name] {
			t.Errorf("counts are %v, want %v", s.Counts, want)
		}
	}
	if r.changes() != 2 {
		t.Errorf("%d changes", r.changes())
	}
	r.runs(exitDone, "results", off)
	r.wantWords("result", "done", "done")
	r.runs(exitDone, "verify", off)

	// The ledger knows: nothing is sent again.
	r.runs(exitDone, "submit", "--wait", off)
	// Rows that fail.
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: "7002", Kind: sandbox.FaultException, Type: "MXNoSuchThing", Text: "no", Status: 400})
	r.sheet(lead("revoke", 1), lead("revoke", 2))
	r.runs(exitOpen, "submit", "--wait", off)
	r.wantWords("result", "done", "failed")
	r.server.ClearFaults()
	r.runs(exitDone, "submit", "--wait", "--fresh", "-o", r.path("there.csv"), off)
	if n := len(r.results("there.csv")); n != 2 {
		t.Errorf("%d results", n)
	}
	if n := r.changes(); n != 5 {
		t.Errorf("%d changes, want 2, one that failed, and 2", n)
	}
	if got := w.end(sigterm); got.code != exitDone {
		t.Errorf("the worker ended with %d:\n%s", got.code, got.stderr)
	}
	got = r.runs(exitDone, "status")
	if !strings.Contains(got.stdout, "no host lives") {
		t.Errorf("status says:\n%s", got.stdout)
	}
}

// A sheet that is refused leaves nothing behind, and keeps no other from being queued.
func TestSubmitSeveral(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	a := r.write("a.csv", rigHead+lead("revoke", 1)+"\n")
	bad := r.write("bad.csv", rigHead+lead("fire", 2)+"\n")
	b := r.write("b.csv", rigHead+lead("revoke", 3)+"\n")
	r.write("b.results.csv", "somebody's")
	got := r.runs(exitRefused, "submit", a, bad, b)
	got.says(t, "fire", "bad.csv", "a.csv is queued", "b.csv is queued")
	if s := r.statusOf("a"); s.State != "queued" {
		t.Errorf("a is %s", s.State)
	}
	r.runs(exitRefused, "status", bad).says(t, "bad")
	r.runs(exitRefused, "results", bad).says(t, "there is no ledger bad")
	r.runs(exitRefused, "submit", a, "-o", r.path("x.csv"), b)
	r.runs(exitRefused, "submit", "--ledger", "x", a, b)
	r.runs(exitRefused, "submit")
	r.runs(exitHeld, "submit", a, b)
	r.begin("worker", "--quiet")
	r.becomes("a", "done")
	r.becomes("b", "done")
	r.runs(exitRefused, "results", b).says(t, "b.results.csv", "not written by")
	must(t, os.Remove(r.path("b.results.csv")))
	r.runs(exitRefused, "submit", "--wait", a, bad, b)
	// What is refused has set nothing aside.
	r.write("a.csv", rigHead+lead("fire", 1)+"\n")
	r.runs(exitRefused, "submit", "--fresh", a)
	r.write("a.csv", rigHead+lead("revoke", 1)+"\n")
	r.runs(exitDone, "run", a)
	if n := r.changes(); n != 2 {
		t.Errorf("%d changes", n)
	}
	r.only("a.csv", "b.csv", "bad.csv", "a.results.csv", "b.results.csv")
}

// Guard rails hold where the sheet is done too, and what they stop waits for somebody.
func TestGuardRailsAtAWorker(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	off := r.sheet(leads(5)...)
	r.runs(exitRefused, "submit", "--max-rows", "3", off).says(t, "5 rows")
	r.runs(exitRefused, "submit", "--approve", "0123456789ab", off)
	r.runs(exitRefused, "results", off).says(t, "there is no ledger")
	digest := planDigest(t, r.runs(exitDone, "plan", "--json", off).stdout)
	r.runs(exitDone, "submit", "--approve", digest, "--max-rows", "5", "--stop-after-failures", "2", "--workers", "1", off)
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultException, Type: "MXNoSuchThing", Text: "no", Status: 400})
	w := r.begin("worker", "--quiet")
	s := r.becomes("off", "stopped")
	if s.ExitCode != exitStopped || s.Why == "" || s.Counts["failed"] != 2 || s.Counts["not_attempted"] != 3 {
		t.Errorf("the status is %+v", s)
	}
	got := r.runs(exitOpen, "status", "--open")
	if !strings.Contains(got.stdout, "off") || !strings.Contains(got.stdout, s.Why) {
		t.Errorf("status says:\n%s", got.stdout)
	}
	r.server.ClearFaults()
	r.runs(exitDone, "retry", off)
	s = r.becomes("off", "done")
	if s.Counts["done"] != 5 || s.ExitCode != exitDone {
		t.Errorf("the status is %+v", s)
	}
	r.runs(exitDone, "status", "--open")
	r.runs(exitRefused, "retry", off).says(t, "off cannot be tried again: it is done", "submitted again")
	r.runs(exitRefused, "cancel", off).says(t, "off cannot be cancelled: it is done")
	r.runs(exitRefused, "retry", "nobody.csv").says(t, "nobody.csv", "bulkrevoke status")
	r.runs(exitRefused, "cancel", "--ledger", "nobody").says(t, "nobody", "bulkrevoke status")
	r.runs(exitRefused, "retry")
	r.runs(exitRefused, "status", "a", "b")

	// With --wait it is the exit code.
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultException, Type: "MXNoSuchThing", Text: "no", Status: 400})
	r.runs(exitStopped, "submit", "--wait", "--fresh", "--stop-after-failures", "2", "--workers", "1", off).says(t, "bulkrevoke retry off")
	if got := w.end(sigterm); got.code != exitDone {
		t.Errorf("the worker ended with %d:\n%s", got.code, got.stderr)
	}
}

func planDigest(t *testing.T, text string) string {
	t.Helper()
	var plan struct{ Digest string }
	must(t, json.Unmarshal([]byte(text), &plan))
	return plan.Digest
}

// What can be said to a run says the same where the sheet is done.
func TestTravellingFlagsAreTheSameAgain(t *testing.T) {
	t.Parallel()
	values := map[string][]string{
		"account": {"lsq", "a b"}, "sheet": {"Leavers December"}, "hidden-rows": {"send", "skip", "refuse"},
		"map":        {"Lead No=record_id", "Lead No=record_id,Owner mail=user", `"a,b=user",x=none`, `"the ""old"" id=record_id"`, "x=none"},
		"header-row": {"3"}, "timezone": {"Europe/Berlin", "UTC"}, "require": {"reviewer", "reviewer,reason"},
		"skip-invalid": {"true", "false"}, "allow-empty": {"true"}, "allow-rounded-ids": {"true"}, "redo-in-doubt": {"true"},
		"stop-after-failures": {"3", "20%", "0.5%"}, "approve": {strings.Repeat("0123456789abcdef", 4)}, "max-rows": {"100", "0"}, "max-duration": {"90s", "1h30m0.5s"},
		"confirm": {"off", "after"}, "confirm-timeout": {"1m30s"}, "limit": {"25/5s", "1000/1m"}, "share": {"1", "0.8", "0.333"}, "workers": {"7"},
	}
	for _, name := range travelling {
		if len(values[name]) == 0 {
			t.Errorf("no value of --%s is tried", name)
		}
		for _, value := range values[name] {
			said, again := newOptions(), newOptions()
			from, to := flagsOf(said), flagsOf(again)
			if err := from.Set(name, value); err != nil {
				t.Fatalf("--%s=%s: %v", name, value, err)
			}
			text := from.Lookup(name).Value.String()
			if err := to.Set(name, text); err != nil {
				t.Errorf("--%s=%s goes as %q: %v", name, value, text, err)
				continue
			}
			if again.timezone.Location != nil { // equal ones may be two
				if a, b := said.timezone.Location.String(), again.timezone.Location.String(); a != b {
					t.Errorf("--%s=%s goes as %q, which is %s", name, value, a, b)
				}
				again.timezone = said.timezone
			}
			if a, b := fmt.Sprintf("%+v", said), fmt.Sprintf("%+v", again); a != b {
				t.Errorf("--%s=%s goes as %q (-said +again):\n%s", name, value, text, cmp.Diff(a, b))
			}
		}
	}
}

// What a killed process has left of a sheet is removed, and nothing that is in use or
// somebody else's.
func TestSpooledSheetsAreSwept(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Now()
	for name, age := range map[string]time.Duration{spoolName + "1.csv": 25 * time.Hour, spoolName + "2.xlsx": time.Hour, "bulkrevoke.csv": 48 * time.Hour} {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, os.Chtimes(path, now, now.Add(-age)))
	}
	sweepSpooled(dir, now)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if diff := cmp.Diff([]string{spoolName + "2.xlsx", "bulkrevoke.csv"}, left); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}
