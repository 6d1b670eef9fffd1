package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// onDatabase has all commands of a rig work with an empty database.
func onDatabase(t *testing.T, r *rig) *rig {
	t.Helper()
	r.env["BULKREVOKE_DATABASE"] = pgtest.Shared(t).NewDatabase(t)
	return r
}

// newDatabaseRig is newRig with an empty database.
func newDatabaseRig(t *testing.T, world sandbox.Config) *rig {
	t.Helper()
	pgtest.Shared(t) // which skips the test where there is none
	return onDatabase(t, newRig(t, world))
}

// A story is a list of commands that is played with files and with a database. What they say
// and leave is kept, without what can not be equal.
type story struct {
	*rig
	t      *testing.T
	before map[string]string // what the files of the folder held
	told   []string
}

// played plays a story with files and with a database, and compares what was told.
func played(t *testing.T, world sandbox.Config, tell func(s *story)) {
	t.Helper()
	t.Parallel()
	play(t, world, tell)
}

// play is played for a test that is not to wait for its turn.
func play(t *testing.T, world sandbox.Config, tell func(s *story)) {
	t.Helper()
	pgtest.Shared(t)
	var told [2]string
	for i := range told {
		s := &story{rig: newRig(t, world), t: t, before: map[string]string{}}
		if i == 1 {
			onDatabase(t, s.rig)
		}
		s.env["BULKREVOKE_WORKERS"] = "1" // what is done in order is undone in order
		tell(s)
		told[i] = strings.Join(s.told, "\n")
	}
	if diff := cmp.Diff(told[0], told[1]); diff != "" {
		t.Errorf("with files and with a database (-files +database):\n%s", diff)
	}
}

// do runs a command that has to end with the given code.
func (s *story) do(code int, args ...string) ran {
	s.t.Helper()
	return s.given("", code, args...)
}

// given is do for a command that reads standard input.
func (s *story) given(stdin string, code int, args ...string) ran {
	s.t.Helper()
	o := &outside{stdin: strings.NewReader(stdin), env: s.env, now: s.now}
	got := ran{o.execute(s.t.Context(), s.named(args)...), o.stdout.String(), o.stderr.String()}
	s.tell(got, code, args...)
	return got
}

// named returns a command line in which a ledger's file is its name, where it is in a database.
func (s *story) named(args []string) []string {
	args = slices.Clone(args)
	if i := slices.Index(args, "--ledger"); i >= 0 && s.env["BULKREVOKE_DATABASE"] != "" {
		args[i+1] = strings.TrimSuffix(filepath.Base(args[i+1]), ledgerEnding)
	}
	return args
}

func (s *story) tell(got ran, code int, args ...string) {
	s.t.Helper()
	if got.code != code {
		s.t.Fatalf("%q ended with %d, want %d:\n%s", args, got.code, code, got.stderr)
	}
	s.told = append(s.told, fmt.Sprintf("$ %s\n%sexit code %d, %d changes\n%s%s", s.plain(strings.Join(args, " ")), s.plain(got.stdout), got.code, s.changes(), s.plain(got.stderr), s.files()))
}

// files tells of the files that are new, or hold something else than before the last command.
func (s *story) files() string {
	s.t.Helper()
	var b strings.Builder
	entries, err := os.ReadDir(s.dir)
	must(s.t, err)
	for _, e := range entries {
		name := e.Name()
		if strings.Contains(name, ".ledger.db") || e.IsDir() {
			continue
		}
		data, err := os.ReadFile(s.path(name))
		must(s.t, err)
		if s.before[name] == string(data) {
			continue
		}
		s.before[name] = string(data)
		text := "(not shown)"
		if strings.HasSuffix(name, ".csv") {
			text = plainResults(s.t, string(data))
		}
		fmt.Fprintf(&b, "%s:\n%s\n", s.plain(name), s.plain(text))
	}
	return b.String()
}

// plainResults is a result without times and ids.
func plainResults(t *testing.T, text string) string {
	t.Helper()
	in := csv.NewReader(strings.NewReader(text))
	in.FieldsPerRecord = -1
	lines, err := in.ReadAll()
	must(t, err)
	var b strings.Builder
	for i, line := range lines {
		for at, cell := range line {
			if i > 0 && at < len(lines[0]) && cell != "" {
				switch lines[0][at] {
				case "request_id", "call_id", "sent_at", "confirmed_at", "first_sent_at", "last_confirmed_at", "hours", "undoes", "undo_of":
					line[at] = "SET"
				}
			}
		}
		b.WriteString(strings.Join(line, "|") + "\n")
	}
	return b.String()
}

var (
	someTime   = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?|\d{8}T\d{6}Z(-\d+)?`)
	someHash   = regexp.MustCompile(`[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16}\b`)
	someSpan   = regexp.MustCompile(`\b(\d+(\.\d+)?(ms|µs|h|m|s))+\b|\b\d+(\.\d+)? (seconds?|s)\b`)
	someCall   = regexp.MustCompile(`\b[0-9a-f]{8}-\d+-\d+\b`)
	somePort   = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	someFigure = regexp.MustCompile(`"(seconds|seconds_at_most|calls_per_second|estimate_seconds)": ?[0-9.]+`)
	aLedger    = regexp.MustCompile(`([\w.-]+)\.ledger\.db`)
)

// plain is a text without what two equal runs do not have in common.
func (s *story) plain(text string) string {
	text = strings.ReplaceAll(text, s.dir+string(filepath.Separator), "")
	text = strings.ReplaceAll(text, strings.TrimPrefix(s.base, "http://"), "CRM")
	text = someTime.ReplaceAllString(text, "TIME")
	text = someCall.ReplaceAllString(text, "CALL")
	text = somePort.ReplaceAllString(text, "PORT")
	text = someHash.ReplaceAllString(text, "HASH")
	text = someSpan.ReplaceAllString(text, "SPAN")
	text = someFigure.ReplaceAllString(text, `"$1": N`)
	text = aLedger.ReplaceAllString(text, "$1")
	return regexp.MustCompile(`(there is no ledger \S+) in the database`).ReplaceAllString(text, "$1")
}

// begun is a command that runs in this process, beside others.
type begun struct {
	t              *testing.T
	stdout, stderr heard
	stop           context.CancelCauseFunc
	done           chan int
}

// heard is what a command has said so far. It can be read while the command runs.
type heard struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(b)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// begin runs a command in this process, until it is asked to end or the test ends.
func (r *rig) begin(args ...string) *begun {
	r.t.Helper()
	return r.beginWith(r.env, args...)
}

// beginWith is begin with another environment.
func (r *rig) beginWith(env map[string]string, args ...string) *begun {
	r.t.Helper()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.t.Context()))
	b := &begun{t: r.t, stop: cancel, done: make(chan int, 1)}
	env = maps.Clone(env)
	a := newApp(args, strings.NewReader(""), &b.stdout, &b.stderr)
	a.lookup, a.terminal = environment(env), func(any) bool { return false }
	a.environ = func() []string { return nil }
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.done <- a.execute(ctx)
	}()
	r.t.Cleanup(func() {
		cancel(nil)
		<-ended
	})
	return b
}

// end asks it to end as a signal does, and returns how it has ended.
func (b *begun) end(cause error) ran {
	b.stop(cause)
	return b.wait()
}

// wait returns how it has ended.
func (b *begun) wait() ran {
	code := <-b.done
	return ran{code, b.stdout.String(), b.stderr.String()}
}

// flagsOf are the flags of run on options.
func flagsOf(o *options) *pflag.FlagSet {
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o.addRunFlags(flags)
	return flags
}

// clearState has this host forget whose keys it has, and what tokens it was given.
func clearState(r *rig) error { return os.RemoveAll(r.env["BULKREVOKE_STATE"]) }
