package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// parsed returns the options that a command line, an environment and a
// configuration come to.
func parsed(t *testing.T, args []string, env map[string]string, yaml string) (*options, error) {
	t.Helper()
	o := newOptions()
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o.addRunFlags(fs)
	must(t, fs.Parse(args))
	if err := fillFromEnvironment(fs, environment(env)); err != nil {
		return nil, err
	}
	cfg, err := parseConfig([]byte(yaml), knownCRMs())
	must(t, err)
	cfg.Path = "c.yaml"
	if err := fillFromConfig(fs, cfg); err != nil {
		return nil, err
	}
	return o, o.check()
}

func TestFlagOverEnvironmentOverConfigurationOverDefault(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		args []string
		env  map[string]string
		yaml string
		want func(o *options)
	}{
		{"defaults", nil, nil, "", func(*options) {}},
		{
			"every flag",
			[]string{
				"--map", "Lead No=record_id", "--header-row", "3", "--allow-empty", "--allow-rounded-ids", "-o", "o.csv", "--ledger", "l.db", "--config", "c.yaml", "--account", "main", "--sheet", "June", "--sandbox", "--dry-run", "--skip-invalid", "--fresh",
				"--redo-in-doubt", "--yes", "--approve", strings.Repeat("0A", 32), "--max-rows", "9", "--max-duration", "3h",
				"--stop-after-failures", "12", "--wait", "5m", "--confirm", "off", "--confirm-timeout", "30s", "--limit", "10/2s",
				"--share", "1", "--workers", "7", "--log-format", "json", "--log-level", "debug", "--quiet", "--progress", "never",
			},
			nil, "",
			func(o *options) {
				o.output, o.ledger, o.config, o.account, o.worksheet = "o.csv", "l.db", "c.yaml", "main", "June"
				o.columns, o.headerRow, o.allowEmpty = mapFlag{{Header: "Lead No", Column: "record_id", Must: true}}, 3, true
				o.allowRoundedIDs = true
				o.sandbox, o.dryRun, o.skipInvalid, o.fresh, o.redoInDoubt, o.yes, o.quiet = true, true, true, true, true, true, true
				o.guard.Guard = batch.Guard{Failures: 12}
				o.approve, o.maxRows, o.maxDuration = digestFlag(strings.Repeat("0a", 32)), rowsFlag{9, true}, 3*time.Hour
				o.wait, o.confirm.value, o.confirmTimeout = 5*time.Minute, "off", 30*time.Second
				o.limit.limit, o.share, o.workers = limit{10, 2 * time.Second}, 1, 7
				o.logFormat.value, o.logLevel.value, o.progress.value = "json", "debug", "never"
			},
		},
		{
			"environment",
			nil, map[string]string{"BULKREVOKE_SKIP_INVALID": "true", "BULKREVOKE_SHARE": "0.5", "BULKREVOKE_WAIT": "", "BULKREVOKE_OUTPUT": "e.csv"}, "",
			func(o *options) { o.skipInvalid, o.share, o.output = true, 0.5, "e.csv" },
		},
		{
			"configuration",
			nil, nil, "skip-invalid: true\nlimit: 20/5s\nworkers: 3\nstop-after-failures: 5%\n",
			func(o *options) {
				o.skipInvalid, o.limit.limit, o.workers, o.guard.Guard = true, limit{20, 5 * time.Second}, 3, batch.Guard{Percent: 5}
			},
		},
		{
			"the stronger one wins",
			[]string{"--workers", "1", "--yes=false"}, map[string]string{"BULKREVOKE_WORKERS": "2", "BULKREVOKE_SHARE": "0.2", "BULKREVOKE_YES": "true"},
			"workers: 3\nshare: 0.3\nlimit: 3/1s\nyes: true\n",
			func(o *options) { o.workers, o.share, o.limit.limit = 1, 0.2, limit{3, time.Second} },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want := newOptions()
			tc.want(want)
			got, err := parsed(t, tc.args, tc.env, tc.yaml)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{}, oneOf{}, guardFlag{}, limitFlag{}, rowsFlag{})); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		env  map[string]string
		yaml string
		want string
	}{
		{"environment", map[string]string{"BULKREVOKE_SHARE": "2"}, "", `BULKREVOKE_SHARE: "2": must be more than 0 and at most 1`},
		{"a word that is none of them", map[string]string{"BULKREVOKE_CONFIRM": "maybe"}, "", "must be one of after, off"},
		{"a key that is no flag, with keys of its own", nil, "share: 1\nacounts:\n\n  main:\n    crm: zoho\n", `c.yaml: line 2: "acounts" is neither a setting`},
		{"a key that is no flag", nil, "skip-invalids: true\n", `c.yaml: line 1: "skip-invalids" is neither a setting nor a flag`},
		{"the configuration naming one", nil, "config: other.yaml\n", `"config" is neither`},
		{"a list", nil, "wait: [1, 2]\n", "wait: must be a single value"},
		{"a value of the wrong kind", nil, "\nwait: soon\n", `line 2: wait: "soon"`},
		{"a limit", nil, "limit: fast\n", "such as 25/5s"},
		{"a guard", nil, "stop-after-failures: 200%\n", "at most 100%"},
		{"a beginning of a digest", map[string]string{"BULKREVOKE_APPROVE": "0123456789ab"}, "", "must be the whole digest"},
		{"a negative number of rows", nil, "max-rows: -1\n", "must be a number of rows, 0 or more"},
		{"a negative duration", nil, "max-duration: -1s\n", "--max-duration: can not be negative"},
		{"no workers", nil, "workers: 0\n", `workers: "0": must be between 1 and 1024`},
		{"no workers in the environment", map[string]string{"BULKREVOKE_WORKERS": "0"}, "", `BULKREVOKE_WORKERS: "0": must be between 1 and 1024`},
		{"a word that is no truth", map[string]string{"BULKREVOKE_SKIP_INVALID": "ja"}, "", `BULKREVOKE_SKIP_INVALID: "ja" is neither true nor false`},
		{"a time without a unit", nil, "max-duration: 30\n", `max-duration: "30" has no unit; write 30s, 30m or 30h`},
		{"a time that is none", nil, "max-duration: soon\n", `max-duration: "soon" is not a time span; write 90s, 30m or 8h`},
		{"a key that is nearly a flag", nil, "skip_invalid: true\n", `did you mean skip-invalid?`},
		{"a key that is nearly a setting", nil, "protct: true\n", `did you mean protect?`},
		{"a negative wait", nil, "wait: -1s\n", "--wait: can not be negative"},
		{"no time to confirm", nil, "confirm-timeout: 0s\n", "--confirm-timeout: must be more than 0"},
		{"too many workers", nil, "workers: 5000\n", `workers: "5000": must be between 1 and 1024`},
		{"a header row of 0", nil, "header-row: 0\n", "must be the number of a row, 1 or more"},
		{"a negative header row", map[string]string{"BULKREVOKE_HEADER_ROW": "-2"}, "", `BULKREVOKE_HEADER_ROW: "-2": must be the number of a row, 1 or more`},
		{"a mapping", map[string]string{"BULKREVOKE_MAP": "Lead No"}, "", "is not a column of the sheet, =, and one of ours"},
		{"a mapping for all sheets", nil, "map: Lead No=record_id\n", "c.yaml: line 1: map is for one sheet; what columns stand for in all sheets is said under `columns:`"},
		{"a wrong value that the command line overrides", map[string]string{"BULKREVOKE_WORKERS": "2"}, "workers: many\n", `workers: "many"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := parsed(t, nil, tc.env, tc.yaml)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error is %v, want one with %q", err, tc.want)
			}
			if code, _, _ := exit(err); code != exitRefused {
				t.Errorf("exit code is %d, want %d", code, exitRefused)
			}
		})
	}
}

func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing := filepath.Join(dir, "none.csv")
	broken := filepath.Join(dir, "broken.yaml")
	must(t, os.WriteFile(broken, []byte("acounts: {}\n"), 0o600))
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"no such command", []string{"revoke"}, "unknown command"},
		{"a command misspelt", []string{"rum", "x.csv"}, `unknown command "rum"; did you mean run?; the commands are `},
		{"a sheet without a command", []string{"x.csv"}, "x.csv is a sheet, not a command\nbulkrevoke: hint: Look at what it asks for with `bulkrevoke plan x.csv`"},
		{"a flag without a command", []string{"--sandbox", "x.csv"}, "The command comes first: bulkrevoke run --sandbox ..."},
		{"a flag before its command", []string{"--sandbox", "verify", "x.csv"}, "The command comes first: bulkrevoke verify --sandbox ..."},
		{"a flag of one command only", []string{"--json", "x.csv"}, "The command comes first: bulkrevoke plan --json ..."},
		{"a command misspelt, and flags", []string{"rum", "x.csv", "--sandbox"}, `unknown command "rum"; did you mean run?`},
		{"a sheet without a command, and flags", []string{"x.csv", "--sandbox", "--yes"}, "x.csv is a sheet, not a command"},
		{"a flag misspelt", []string{"run", "--skip_invalid", "x.csv"}, "unknown flag: --skip_invalid; did you mean --skip-invalid?"},
		{"a time without a unit", []string{"run", "--max-duration", "30", "x.csv"}, `--max-duration: "30" has no unit; write 30s, 30m or 30h`},
		{"a number that is none", []string{"run", "--workers", "x", "x.csv"}, `--workers: "x": must be between 1 and 1024`},
		{"no workers", []string{"run", "--workers", "0", "x.csv"}, `--workers: "0": must be between 1 and 1024`},
		{"a word that is no choice", []string{"run", "--confirm", "maybe", "x.csv"}, `--confirm: "maybe": must be one of after, off`},
		{"a flag for a file's name", []string{"run", "-o", "--sandbox", "x.csv"}, "-o: the name of a file is missing before --sandbox"},
		{"a folder as configuration", []string{"run", "--config", dir, "x.csv"}, "read configuration " + dir},
		{"no such flag", []string{"run", "--force", "x.csv"}, "unknown flag: --force"},
		{"no sheet", []string{"run"}, "run takes one sheet, not 0"},
		{"two sheets", []string{"plan", "a.csv", "b.csv"}, "plan takes one sheet, not 2"},
		{"an empty name", []string{"run", ""}, "run: the name of the sheet is empty"},
		{"a value told once", []string{"run", "--limit", "25", "x.csv"}, `--limit: "25" is not a number of calls and a time, such as 25/5s`},
		{"wrong limit", []string{"run", "--limit", "25", "x.csv"}, "such as 25/5s"},
		{"sheet that is not there", []string{"run", "--sandbox", missing}, "open the sheet"},
		{"configuration that is not there", []string{"run", "--config", missing, "x.csv"}, "read configuration"},
		{"unknown key", []string{"run", "--config", broken, "x.csv"}, `"acounts" is neither a setting`},
		{"standard input without names", []string{"run", "--sandbox", "-"}, "needs -o and --ledger"},
		{"results without a ledger", []string{"results", missing}, "there is no ledger"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			stdin := strings.NewReader("action,object,record_id,user\nrevoke,lead,1,u\n")
			if code := run(t.Context(), tc.args, stdin, &stdout, &stderr); code != exitRefused {
				t.Errorf("exit code is %d, want %d", code, exitRefused)
			}
			if !strings.Contains(stderr.String(), "bulkrevoke: error: ") || !strings.Contains(stderr.String(), tc.want) {
				t.Errorf("standard error is %q, want an error with %q", stderr.String(), tc.want)
			}
			if stdout.Len() > 0 {
				t.Errorf("standard output has %q", stdout.String())
			}
		})
	}
}

// A variable that nothing reads is warned about: what was meant by it is not done.
func TestUnknownSettingsAreSaid(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(leads(1)...)
	r.env["BULKREVOKE_SKIPINVALID"] = "true"
	r.env["BULKREVOKE_MAX_ROW"] = "50"
	r.env["BULKREVOKE_COLOUR"] = "red"
	r.env["BULKREVOKE_EMPTY"] = ""
	r.env["BULKREVOKE_KEY"] = r.env["RIG_ACCESS"] // which the configuration names
	r.env["BULKREVOKE_OPEN"] = "false"            // a flag of another command
	r.configure(strings.Replace(rigConfig, "env:RIG_ACCESS", "env:BULKREVOKE_KEY", 1))
	for _, command := range []string{"plan", "run", "results", "verify", "undo"} {
		got := r.runs(exitDone, command, path)
		for _, want := range []string{
			"BULKREVOKE_SKIPINVALID is no setting and changes nothing; did you mean BULKREVOKE_SKIP_INVALID?",
			"BULKREVOKE_MAX_ROW is no setting and changes nothing; did you mean BULKREVOKE_MAX_ROWS?",
			`BULKREVOKE_COLOUR is no setting and changes nothing"`,
		} {
			if !strings.Contains(got.stderr, want) {
				t.Errorf("%s does not say %q:\n%s", command, want, got.stderr)
			}
		}
		if n := strings.Count(got.stderr, "is no setting"); n != 3 {
			t.Errorf("%s warns of %d variables, want 3:\n%s", command, n, got.stderr)
		}
	}
}

func TestAgainCommand(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "off.csv"}, "bulkrevoke run off.csv"},
		{[]string{"run", "--fresh", "--redo-in-doubt", "--account", "main", "it's a sheet.csv"}, `bulkrevoke run --account main 'it'\''s a sheet.csv'`},
		{[]string{"run", "$x;y", ""}, `bulkrevoke run '$x;y' ''`},
	} {
		if got := againCommand(tc.args); got != tc.want {
			t.Errorf("againCommand(%q) is %q, want %q", tc.args, got, tc.want)
		}
	}
}

// What environment and configuration say of the flags of run means nothing to a flag that is only
// called alike.
func TestFlagsThatAreOnlyCalledAlike(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.env["BULKREVOKE_WAIT"] = "10m"
	off := r.sheet(lead("revoke", 1))
	if got := r.runs(exitRefused, "submit", off); !strings.Contains(got.stderr, "needs a database") {
		t.Errorf("it says\n%s", got.stderr)
	}
	r.runs(exitDone, "run", off)
}
