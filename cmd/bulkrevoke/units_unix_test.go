//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// unit is a systemd unit whose command is run as systemd would, in folders of the test's own.
type unit struct {
	t           *testing.T
	settings    map[string][]string
	credentials string
	places      *strings.Replacer // what stands in the unit, and where that is here
}

// serviceUnit makes the folders of bulkrevoke.service, with its credentials and the
// configuration that its comment asks for, about the CRM of a rig.
func serviceUnit(t *testing.T, r *rig) *unit {
	t.Helper()
	u := &unit{t: t, settings: unitFile(t, "bulkrevoke.service"), credentials: r.path("credentials")}
	for _, name := range []string{"credentials", "etc", "lib/bulkrevoke", "log/bulkrevoke", "metrics", "srv"} {
		must(t, os.MkdirAll(r.path(name), 0o700))
	}
	u.places = strings.NewReplacer(
		"/usr/local/bin/", installed(t)+"/", "/etc/bulkrevoke/bulkrevoke.yaml", r.path("etc/bulkrevoke.yaml"),
		"/var/lib/prometheus/node-exporter", r.path("metrics"), "/srv/offboarding", r.path("srv"),
		"/run/credentials/bulkrevoke.service", u.credentials,
		"%S", r.path("lib"), "%L", r.path("log"), "%d", u.credentials,
	)
	for _, credential := range u.settings["Service.LoadCredential"] {
		name, _, ok := strings.Cut(credential, ":/etc/bulkrevoke/credentials/")
		if !ok {
			t.Fatalf("no credential: %s", credential)
		}
		// The unit's user is in an access list, which shows as the group's right.
		must(t, os.WriteFile(filepath.Join(u.credentials, name), []byte(name+"-0123456789\n"), 0o440))
	}
	keys := regexp.MustCompile(`(?m)^#   ([a-z_]+: file:/run/credentials/bulkrevoke\.service/[a-z-]+)$`).
		FindAllStringSubmatch(string(readSample(t, "bulkrevoke.service")), -1)
	if len(keys) != len(u.settings["Service.LoadCredential"]) {
		t.Errorf("the comment speaks of the keys %q, the unit has the credentials %q", keys, u.settings["Service.LoadCredential"])
	}
	text := "limit: 1000/1s\naccounts:\n  lsq:\n    crm: leadsquared\n    host: " + r.base + "\n"
	for _, key := range keys {
		text += "    " + u.places.Replace(key[1]) + "\n"
	}
	must(t, os.WriteFile(r.path("etc/bulkrevoke.yaml"), []byte(text), 0o600))
	return u
}

// run runs a command line of the unit, and returns its exit code and what the journal has.
func (u *unit) run(name string, env ...string) (code int, journal string) {
	u.t.Helper()
	line := strings.TrimPrefix(u.settings[name][0], "-")
	words := strings.Fields(u.places.Replace(line))
	if before, script, ok := strings.Cut(line, " -c '"); ok { // which a shell is to read as a whole
		script = strings.NewReplacer("$$", "$", "%%", "%").Replace(u.places.Replace(strings.TrimSuffix(script, "'")))
		words = append(strings.Fields(before), "-c", script)
	}
	cmd := exec.CommandContext(u.t.Context(), words[0], words[1:]...)
	if dir := u.settings["Service.WorkingDirectory"]; dir != nil {
		cmd.Dir = u.places.Replace(dir[0])
	}
	cmd.Env = append(env, "CREDENTIALS_DIRECTORY="+u.credentials)
	for _, assignments := range u.settings["Service.Environment"] {
		cmd.Env = append(cmd.Env, strings.Fields(u.places.Replace(assignments))...)
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		u.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestServiceUnit runs the nightly unit's commands with its environment and credentials: a good
// night, whose results the group may read, and one without a credential.
func TestServiceUnit(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	u := serviceUnit(t, r)
	isSet(t, u.settings, map[string]string{
		"Unit.OnFailure":                "bulkrevoke-mail@%n.service",
		"Service.Type":                  "oneshot",
		"Service.KillMode":              "control-group", // the script is not the one that is to end
		"Service.SuccessExitStatus":     fmt.Sprint(exitTerminated),
		"Service.User":                  "bulkrevoke",
		"Service.StateDirectory":        "bulkrevoke",
		"Service.LogsDirectory":         "bulkrevoke",
		"Service.NoNewPrivileges":       "yes",
		"Service.ProtectSystem":         "strict",
		"Service.CapabilityBoundingSet": "",
		"Service.ReadWritePaths":        u.settings["Service.WorkingDirectory"][0] + " -/var/lib/prometheus/node-exporter",
	})
	if grace, err := time.ParseDuration(u.settings["Service.TimeoutStopSec"][0] + "s"); err != nil || grace < 40*time.Second {
		t.Errorf("calls under way may need 25 s, and the unit is killed after %v (%v)", grace, err)
	}
	r.write("srv/offboarding.csv", rigHead+strings.Join(leads(2), "\n")+"\n")
	path := "PATH=" + u.places.Replace("/usr/local/bin/") + ":/usr/bin:/bin"
	if code, journal := u.run("Service.ExecStart", path); code != exitDone || journal != "" {
		t.Fatalf("a good night ended with %d and wrote\n%s", code, journal)
	}
	log, err := os.ReadFile(r.path("log/bulkrevoke/nightly.log"))
	must(t, err)
	if strings.Contains(string(log), "level=WARN") {
		t.Errorf("the log warns:\n%s", log)
	}
	results := r.path("srv/offboarding.results.csv")
	if code, out := u.run("Service.ExecStopPost", path); code != 0 {
		t.Errorf("what comes last ended with %d: %s", code, out)
	}
	for name, mode := range map[string]os.FileMode{
		results: 0o640, r.path("srv/offboarding.ledger.db"): 0o600, r.path("metrics/bulkrevoke-offboarding.csv.prom"): 0o644,
	} {
		info, err := os.Stat(name)
		must(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), mode)
		}
	}
	if entries, err := os.ReadDir(r.path("lib/bulkrevoke")); err != nil || len(entries) == 0 {
		t.Errorf("nothing is in the state folder: %v", err)
	}
	// The result is replaced on the night after, whatever its mode.
	r.write("srv/offboarding.csv", rigHead+strings.Join(leads(3), "\n")+"\n")
	if code, journal := u.run("Service.ExecStart", path); code != exitDone || len(readResults(t, results)) != 3 {
		t.Errorf("the second night ended with %d and wrote\n%s", code, journal)
	}
	must(t, os.Remove(filepath.Join(u.credentials, "secret-key")))
	code, journal := u.run("Service.ExecStart", path)
	if code != exitRefused {
		t.Errorf("without a credential it ended with %d", code)
	}
	says(t, journal, "offboarding.csv: exit code 2", "secret_key: the secret file "+u.credentials+"/secret-key: no such file")
}

// TestTimerUnit holds the timer to being one of every night.
func TestTimerUnit(t *testing.T) {
	t.Parallel()
	isSet(t, unitFile(t, "bulkrevoke.timer"), map[string]string{
		"Timer.OnCalendar":         "*-*-* 01:30:00",
		"Timer.Persistent":         "yes",
		"Timer.RandomizedDelaySec": "10min",
		"Install.WantedBy":         "timers.target",
	})
}

// TestMailUnit runs the command of the unit that mails, as systemd runs it after a failure,
// with a journal and a mailer that write down what they are asked for.
func TestMailUnit(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	must(t, os.WriteFile(filepath.Join(bin, "journalctl"), []byte("#!/bin/sh\nprintf '<%s>' \"$@\"\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(bin, "mail"), []byte("#!/bin/sh\nprintf '[%s]' \"$@\"\ncat\n"), 0o755))
	u := &unit{t: t, settings: unitFile(t, "bulkrevoke-mail@.service"), places: strings.NewReplacer("%i", "bulkrevoke.service", "%H", "crm-1")}
	code, out := u.run("Service.ExecStart", "PATH="+bin+":/usr/bin:/bin",
		"MONITOR_INVOCATION_ID=4ae1", "MONITOR_SERVICE_RESULT=exit-code", "MONITOR_EXIT_STATUS=2")
	want := "[-s][bulkrevoke.service on crm-1 has failed: exit-code 2][crm-admins@example.com]" +
		"<--quiet><--output=cat><_SYSTEMD_INVOCATION_ID=4ae1><+><INVOCATION_ID=4ae1>"
	if code != 0 || out != want {
		t.Errorf("it ended with %d and mails\n%s\nwant\n%s", code, out, want)
	}
}

// TestLogrotate holds the sample to the logs that the other samples write, and to leaving alone
// what must stay.
func TestLogrotate(t *testing.T) {
	t.Parallel()
	text := string(readSample(t, "logrotate"))
	var logs []string
	for _, m := range regexp.MustCompile(`(?m)^(/\S+) \{$`).FindAllStringSubmatch(text, -1) {
		logs = append(logs, m[1])
	}
	_, _, command := crontab(t)
	unitLog := regexp.MustCompile(`NIGHTLY_LOG=%L(\S+)`).FindStringSubmatch(strings.Join(unitFile(t, "bulkrevoke.service")["Service.Environment"], " "))
	if len(logs) != 2 || unitLog == nil || logs[1] != "/var/log"+unitLog[1] ||
		!strings.HasPrefix(command, `cd "$HOME/offboarding" && `) || !strings.HasSuffix(logs[0], "/offboarding/nightly.log") {
		t.Errorf("rotated are %q; the unit writes %q, and the crontab runs %s", logs, unitLog, command)
	}
}
