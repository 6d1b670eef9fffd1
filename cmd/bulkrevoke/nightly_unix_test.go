//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// installed makes a folder with bulkrevoke and nightly.sh as they are installed.
func installed(t *testing.T) (dir string) {
	t.Helper()
	path, err := program()
	must(t, err)
	dir = t.TempDir()
	must(t, os.Symlink(path, filepath.Join(dir, "bulkrevoke")))
	must(t, os.WriteFile(filepath.Join(dir, "bulkrevoke-nightly"), readSample(t, "nightly.sh"), 0o755))
	return dir
}

// nightly is nightly.sh under /bin/sh, in the folder of a rig.
func (r *rig) nightly(args ...string) *exec.Cmd {
	r.t.Helper()
	bin := installed(r.t)
	cmd := exec.CommandContext(r.t.Context(), "/bin/sh", append([]string{filepath.Join(bin, "bulkrevoke-nightly")}, args...)...)
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	for name, value := range r.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// night runs nightly.sh, and returns what cron would mail.
func (r *rig) night(code int, args ...string) (mail string) {
	r.t.Helper()
	cmd := r.nightly(args...)
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		r.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		r.t.Fatalf("nightly.sh %q ended with %d, want %d:\n%s", args, got, code, out)
	}
	return string(out)
}

// says makes sure that a mail has these lines, or parts of lines, in this order, and returns
// what stands after them.
func says(t *testing.T, mail string, parts ...string) string {
	t.Helper()
	rest := mail
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Fatalf("%q is not there, or not in its place, in\n%s", part, mail)
		}
		rest = after
	}
	return rest
}

// A night on which nobody has to look prints nothing; its log and metrics are there.
func TestNightlyIsSilentWhenAllIsWell(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	must(t, os.Mkdir(r.path("the logs"), 0o700))
	r.env["NIGHTLY_LOG"], r.env["NIGHTLY_METRICS"] = r.path("the logs/n.log"), r.path("the logs")
	r.sheet(leads(3)...)
	must(t, os.Rename(r.path("off.csv"), r.path("off and out.csv")))
	for range 2 {
		if mail := r.night(exitDone, "off and out.csv"); mail != "" {
			t.Errorf("a good night mails\n%s", mail)
		}
	}
	if r.changes() != 3 {
		t.Errorf("%d changes for 3 rows", r.changes())
	}
	log, err := os.ReadFile(r.path("the logs/n.log"))
	must(t, err)
	if n := strings.Count(string(log), "off and out.csv: exit code 0\n"); n != 2 || !strings.Contains(string(log), `msg="sheet read" rows=3`) {
		t.Errorf("the log has %d of 2 nights, or lacks what they said:\n%s", n, log)
	}
	info, err := os.Stat(r.path("the logs/bulkrevoke-off and out.csv.prom"))
	must(t, err)
	if info.Mode().Perm() != 0o644 { // whatever the script's umask
		t.Errorf("the metrics have mode %v, and the exporter is another user", info.Mode())
	}
}

// A night on which rows fail says how many, which and why, and what to do.
func TestNightlyTellsOfRowsThatFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.server.Fault(sandbox.Fault{
		Op: "EntityAccess.Revoke", Match: "7001", Kind: sandbox.FaultException, Type: "MXRecordNotFoundException", Text: "gone, and away",
	})
	r.sheet(leads(3)...)
	mail := r.night(exitOpen, "off.csv")
	rest := says(t, mail, "off.csv: exit code 1: some rows are not as the sheet asks", "done          2\n", "failed        1\n",
		"next: 1 row failed: see off.results.csv", "again: bulkrevoke run",
		"rows that need somebody:\n", ",line,result,", "7001,", ",3,failed,", `"gone, and away"`, "\nlog: "+r.path("nightly.log"))
	if !strings.HasPrefix(mail, "off.csv: exit code 1") || strings.TrimSpace(rest) != "" || strings.Contains(mail, "7000") || strings.Contains(mail, "level=") {
		t.Errorf("the mail begins with something else, ends with %q, has rows that are done or lines of the log:\n%s", rest, mail)
	}
	r.env["NIGHTLY_ROWS"] = "0"
	if mail := r.night(exitOpen, "off.csv"); strings.Contains(mail, "7001") || strings.Contains(mail, "rows that need somebody") {
		t.Errorf("rows are mailed although none are to be:\n%s", mail)
	}
}

// A mail does not grow with the sheet.
func TestNightlyTellsOfTheFirstRowsAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.env["BULKREVOKE_STOP_AFTER_FAILURES"] = "100%"
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultException, Type: "MXRecordNotFoundException", Text: "gone"})
	r.sheet(leads(90)...)
	mail := r.night(exitOpen, "off.csv")
	says(t, mail, "failed        90\n", "rows that need somebody:\n", "7000,", "7019,", "\n(and more)\n\nlog: ")
	if strings.Contains(mail, "7020,") {
		t.Errorf("more than 20 rows are mailed:\n%s", mail)
	}
	r.sheet(append(leads(1), slices.Repeat([]string{"burn,lead,7000,,,,"}, 3)...)...)
	says(t, r.night(exitRefused, "off.csv"), "off.csv: exit code 2: refused, nothing was sent\n\noff.csv:",
		"bulkrevoke: error: 3 rows are invalid", "bulkrevoke: hint: ", "\nlog: ")
}

// A sheet that is not there, or a program that is not, is no good night.
func TestNightlyTellsOfWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.sheet(leads(1)...)
	mail := r.night(exitRefused, "no such sheet.csv", "off.csv")
	says(t, mail, "no such sheet.csv: exit code 2: refused, nothing was sent\n\n",
		"bulkrevoke: error: ", "there is no file no such sheet.csv", "bulkrevoke: hint: The folder has off.csv.")
	if strings.Contains(mail, "off.csv: exit code") || r.changes() != 1 {
		t.Errorf("the other sheet was not done well:\n%s", mail)
	}
	cmd := r.nightly("off.csv")
	must(t, os.Remove(filepath.Join(filepath.Dir(cmd.Args[1]), "bulkrevoke")))
	cmd.Env = append(cmd.Env, "PATH=/usr/bin:/bin")
	out, _ := cmd.CombinedOutput()
	says(t, string(out), "off.csv: exit code 127: it could not be started, or was killed", "bulkrevoke", "not found")
	if got := r.night(exitRefused); !strings.HasPrefix(got, "usage: ") {
		t.Errorf("without a sheet it says %q", got)
	}
	r.env["NIGHTLY_METRICS"] = r.path("no such folder")
	says(t, r.night(exitRefused, "off.csv"), "off.csv: exit code 2", "no such folder", "Make the folder, or name another file with --metrics-file")
}

// A night that finds another run at work says so.
func TestNightlyTellsOfARunThatIsAtWork(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultNeverProcess})
	off := r.sheet(leads(1)...)
	p := r.start("run", off)
	until(t, "nothing is sent", func() bool { return r.changes() == 1 })
	mail := r.night(exitHeld, "off.csv")
	says(t, mail, "off.csv: exit code 4: another run or program was at it, so nothing was done\n\n",
		"is held by another run (process ", "hint: Wait until it is through", "\nlog: ")
	if strings.Contains(mail, "rows that need somebody") { // how they stand is the other run's to tell
		t.Errorf("rows of a run that is at work are mailed:\n%s", mail)
	}
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	if code := p.wait(); code != exitTerminated {
		t.Errorf("the first run ended with %d", code)
	}
}

// A signal to the job lets bulkrevoke end gently, says how the sheet stands and begins no other.
func TestNightlyIsInterrupted(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultNeverProcess})
	r.sheet(leads(1)...)
	must(t, os.Rename(r.path("off.csv"), r.path("a.csv")))
	r.sheet(leads(2)...)
	cmd := r.nightly("a.csv", "off.csv")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var mail strings.Builder
	cmd.Stdout, cmd.Stderr = &mail, &mail
	must(t, cmd.Start())
	until(t, "nothing is sent", func() bool { return r.changes() == 1 })
	must(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM))
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitTerminated || r.changes() != 1 {
		t.Errorf("it ended with %d after %d changes", code, r.changes())
	}
	says(t, mail.String(), "a.csv: exit code 143: interrupted by a signal",
		"accepted      1\n", "next: 1 row is accepted", "rows that need somebody:\n", "7000,", ",accepted,")
	if strings.Contains(mail.String(), "off.csv: exit code") {
		t.Errorf("another sheet was begun:\n%s", mail.String())
	}
}

// In the place of a sheet, a folder stands for its sheets, and for nothing that bulkrevoke
// itself has written beside them: an undo sheet would give back what was taken.
func TestNightlyRunsAFolder(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	must(t, os.Mkdir(r.path("the sheets"), 0o700))
	says(t, r.night(exitRefused, "the sheets"), "the sheets: there is no sheet in this folder\n")
	r.sheet(leads(2)...)
	must(t, os.Rename(r.path("off.csv"), r.path("the sheets/a b.csv")))
	r.sheet(lead("revoke", 5))
	must(t, os.Rename(r.path("off.csv"), r.path("the sheets/c.txt")))
	if mail := r.night(exitDone, "the sheets"); mail != "" {
		t.Errorf("a good night mails\n%s", mail)
	}
	r.runs(exitDone, "undo", r.path("the sheets/a b.csv"))
	r.runs(exitDone, "results", "--by-person", r.path("the sheets/a b.csv"))
	r.runs(exitDone, "results", r.path("the sheets/a b.csv"), "-o", r.path("the sheets/a b.results.xlsx"))
	for _, name := range []string{"a b.results.csv", "a b.results.xlsx", "a b.undo.csv", "a b.people.csv", "c.results.csv"} {
		if _, err := os.Stat(r.path("the sheets/" + name)); err != nil {
			t.Error(err)
		}
	}
	must(t, os.Remove(r.path("nightly.log")))
	if mail := r.night(exitDone, "the sheets"); mail != "" {
		t.Errorf("a good night mails\n%s", mail)
	}
	log, err := os.ReadFile(r.path("nightly.log"))
	must(t, err)
	if n := strings.Count(string(log), ": exit code "); n != 2 || r.changes() != 3 {
		t.Errorf("%d runs instead of 2, and %d changes instead of 3:\n%s", n, r.changes(), log)
	}
}

// The script knows every exit code.
func TestNightlyKnowsTheExitCodes(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t([0-9][0-9 |]*)\) echo `).FindAllStringSubmatch(string(readSample(t, "nightly.sh")), -1) {
		for code := range strings.SplitSeq(m[1], " | ") {
			known[code] = true
		}
	}
	for _, code := range []int{exitOpen, exitRefused, exitStopped, exitHeld, exitHangup, exitInterrupt, exitTerminated} {
		if !known[fmt.Sprint(code)] {
			t.Errorf("the script does not say what %d means: it knows %v", code, known)
		}
	}
	info, err := os.Stat(samplePath("nightly.sh"))
	must(t, err)
	if info.Mode().Perm()&0o111 == 0 {
		t.Errorf("nobody may run the script: %v", info.Mode())
	}
}

// crontab returns the sample crontab: its variables and its only job.
func crontab(t *testing.T) (vars map[string]string, schedule []string, command string) {
	t.Helper()
	vars = map[string]string{}
	for line := range strings.Lines(string(readSample(t, "crontab"))) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, value, ok := strings.Cut(line, "="); ok && !strings.ContainsAny(name, " *") {
			vars[name] = value
			continue
		}
		if command != "" {
			t.Fatalf("a second job: %s", line)
		}
		words := strings.SplitN(strings.Join(strings.Fields(line), " "), " ", 6)
		if len(words) != 6 {
			t.Fatalf("no job: %s", line)
		}
		schedule, command = words[:5], words[5]
	}
	return vars, schedule, command
}

// TestCrontab runs the job as cron does, against a sandbox: a good night writes
// nothing that would be mailed, a bad one says why.
func TestCrontab(t *testing.T) {
	t.Parallel()
	vars, schedule, command := crontab(t)
	if diff := cmp.Diff([]string{"30", "1", "*", "*", "*"}, schedule); diff != "" {
		t.Errorf("the job does not run nightly (-want +got):\n%s", diff)
	}
	if strings.Contains(command, "%") {
		t.Error("a % in the job, which cron takes for a line end")
	}
	if vars["MAILTO"] == "" || vars["BULKREVOKE_CONFIG"] == "" {
		t.Errorf("the variables are %v; somebody must get the mail, and no secret come from the crontab", vars)
	}
	home, bin := t.TempDir(), installed(t)
	for _, dir := range []string{"offboarding", "metrics"} {
		must(t, os.Mkdir(filepath.Join(home, dir), 0o700))
	}
	sheetPath := filepath.Join(home, "offboarding", "offboarding.csv")
	must(t, os.WriteFile(sheetPath, readSample(t, "offboarding.csv"), 0o600))
	night := func() string {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Dir = home
		cmd.Env = []string{
			"HOME=" + home, "PATH=" + bin + ":" + vars["PATH"], "NIGHTLY_METRICS=" + filepath.Join(home, "metrics"),
			"BULKREVOKE_WAIT=" + vars["BULKREVOKE_WAIT"], "BULKREVOKE_MAX_DURATION=" + vars["BULKREVOKE_MAX_DURATION"],
			"BULKREVOKE_SANDBOX=true", "BULKREVOKE_SHARE=1",
		}
		out, err := cmd.CombinedOutput()
		if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
			t.Fatal(err)
		}
		return string(out)
	}
	if mail := night(); mail != "" {
		t.Fatalf("a good night mails\n%s", mail)
	}
	for _, file := range []string{"offboarding/offboarding.sandbox.results.csv", "offboarding/nightly.log", "metrics/bulkrevoke-offboarding.csv.prom"} {
		if info, err := os.Stat(filepath.Join(home, filepath.FromSlash(file))); err != nil || info.Size() == 0 {
			t.Errorf("the night left no %s: %v", file, err)
		}
	}
	must(t, os.Remove(sheetPath))
	mail := night()
	says(t, mail, "offboarding.csv: exit code 2", "there is no file offboarding.csv", "log: "+filepath.Join(home, "offboarding", "nightly.log"))
	if strings.Contains(mail, "sheet read") {
		t.Errorf("a night without a sheet mails %q, want nothing of the night before", mail)
	}
}
