package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// longName returns a file's name of so many bytes and characters of three bytes each.
func longName(size int, ending string) string {
	size -= len(ending)
	return strings.Repeat("漢", size/3) + strings.Repeat("x", size%3) + ending
}

// A sheet with a long name is done, and its files set aside and written again, or it is
// refused because of its name before anything is sent.
func TestLongNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		size int
		want int
	}{
		{200, exitDone}, {211, exitDone}, {220, exitDone}, {223, exitDone}, {227, exitDone}, {233, exitDone},
		{238, exitRefused}, {245, exitRefused}, {254, exitRefused}, {255, exitRefused},
	} {
		t.Run(fmt.Sprint(tc.size), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path := r.path(longName(tc.size, ".csv"))
			must(t, os.Rename(r.sheet(leads(2)...), path))
			for _, args := range [][]string{{"plan"}, {"run"}, {"run", "--fresh"}, {"run", "--fresh"}, {"run"}, {"results"}, {"verify"}, {"undo"}} {
				got := r.runs(tc.want, append(args, path)...)
				if tc.want == exitRefused && (!strings.Contains(got.stderr, "the name is too long") || !strings.Contains(got.stderr, "Rename the sheet")) {
					t.Fatalf("%q says:\n%s", args, got.stderr)
				}
			}
			// Two rows, done three times: from the beginning with each --fresh.
			if got, want := r.changes(), map[int]int{exitDone: 6}[tc.want]; got != want {
				t.Errorf("%d changes were sent, want %d", got, want)
			}
			aside, err := filepath.Glob(filepath.Join(r.dir, "*T*Z*.ledger.db"))
			must(t, err)
			if want := map[int]int{exitDone: 2}[tc.want]; len(aside) != want {
				t.Errorf("%d ledgers are set aside, want %d", len(aside), want)
			}
			for _, name := range aside {
				if !utf8.ValidString(name) {
					t.Errorf("%q was cut within a character", name)
				}
			}
		})
	}
}

// Names that flags give are refused in the same way.
func TestLongNamesOfFlags(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		flag, name string
		want       int
	}{
		{"-o", longName(255, ".csv"), exitDone},
		{"-o", longName(256, ".csv"), exitRefused},
		{"--ledger", longName(243, ".ledger.db"), exitDone},
		{"--ledger", longName(250, ".ledger.db"), exitRefused},
		{"--ledger", strings.Repeat(strings.Repeat("d", 200)+"/", 3) + "l.ledger.db", exitRefused},
		{"--report", longName(255, ".html"), exitDone},
		{"--report", longName(256, ".html"), exitRefused},
		{"--summary", longName(255, ".json"), exitDone},
		{"--summary", longName(256, ".json"), exitRefused},
		{"--metrics-file", longName(255, ".prom"), exitDone},
		{"--metrics-file", longName(256, ".prom"), exitRefused},
	} {
		t.Run(fmt.Sprint(tc.flag, " ", len(tc.name)), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path := r.sheet(leads(1)...)
			named := r.path(tc.name)
			must(t, os.MkdirAll(filepath.Dir(named), 0o700))
			got := r.runs(tc.want, "run", path, tc.flag, named)
			if tc.want == exitDone {
				if _, err := os.Stat(named); err != nil {
					t.Error(err)
				}
				return
			}
			if !strings.Contains(got.stderr, "the name is too long") || !strings.Contains(got.stderr, tc.flag) {
				t.Errorf("it says:\n%s", got.stderr)
			}
			if n := r.changes(); n != 0 {
				t.Errorf("%d changes were sent", n)
			}
		})
	}
}

// The search for a free name ends: with what can not be found out, with the last name
// and with the run.
func TestAsideNamesEnd(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	jobIn := func(dir, name string) *job {
		return &job{opts: newOptions(), names: names{
			output: filepath.Join(dir, name+".results.csv"), ledger: filepath.Join(dir, name+".ledger.db"),
		}}
	}
	dir := t.TempDir()
	for n := range mostPerSecond {
		stamp := "20261126T120000Z"
		if n > 0 {
			stamp = fmt.Sprintf("%s-%d", stamp, n+1)
		}
		must(t, os.WriteFile(filepath.Join(dir, "off."+stamp+".ledger.db"), nil, 0o600))
	}
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, tc := range []struct {
		name string
		job  *job
		want string
	}{
		{"all taken", jobIn(dir, "off"), "is taken"},
		{"an ending without room", &job{opts: newOptions(), names: names{output: "off." + strings.Repeat("e", 250), ledger: "l.db"}}, "the name is too long"},
		{"nobody can tell", jobIn(file, "off"), "not a directory"},
	} {
		if _, err := tc.job.asideNames(t.Context(), now); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: the error is %v, want one with %q", tc.name, err, tc.want)
		}
	}
	ended, stop := context.WithCancelCause(t.Context())
	stop(errors.New("told to stop"))
	if _, err := jobIn(dir, "off").asideNames(ended, now); err == nil || err.Error() != "told to stop" {
		t.Errorf("a run that has ended gets %v", err)
	}
}
