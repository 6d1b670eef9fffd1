//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A run that may have few files open at once writes its result and its evidence: the
// connections that it no longer needs make room for them. With fewer than it can do
// with, it says so before anything is sent.
func TestFewOpenFiles(t *testing.T) {
	t.Parallel()
	path, err := program()
	must(t, err)
	for limit, want := range map[int]int{20: exitRefused, 23: exitRefused, 24: exitDone, 40: exitDone} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			sheet := r.sheet(leads(60)...)
			p := r.startCommand(exec.Command("sh", "-c", fmt.Sprintf("ulimit -n %d && exec \"$@\"", limit), "sh",
				path, "run", sheet, "--report", "r.html", "--summary", "s.json"))
			code := p.wait()
			if code != want {
				t.Errorf("it ended with %d, want %d:\n%s", code, want, p.stderr.String())
			}
			if want == exitRefused {
				if !strings.Contains(p.stderr.String(), "needs at least 24") || r.changes() != 0 {
					t.Errorf("%d changes were sent, and it says:\n%s", r.changes(), p.stderr.String())
				}
				return
			}
			for _, name := range []string{"off.results.csv", "r.html", "s.json"} {
				if _, err := os.Stat(r.path(name)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What is no regular file is never waited for, wherever state is kept.
func TestStateThatIsNoRegularFile(t *testing.T) {
	t.Parallel()
	makers := map[string]func(string) error{
		"named pipe": func(name string) error { return syscall.Mkfifo(name, 0o600) },
		"folder":     func(name string) error { return os.Mkdir(name, 0o700) },
	}
	for kind, place := range makers {
		for _, tc := range []struct {
			name string
			want int // -1: whatever, as long as it ends
		}{
			{"stamps", exitRefused}, {"calls", exitRefused}, {"lock", exitRefused}, {"preflight.json", -1},
			{"lock.holder", -1},
		} {
			t.Run(kind+" as "+tc.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, sandbox.Config{})
				r.configure(strings.Replace(rigConfig, "    secret_key: env:RIG_SECRET\n", "    secret_key: env:RIG_SECRET\n    daily_calls: 1000\n", 1))
				sheet := r.sheet(leads(1)...)
				r.runs(exitDone, "run", sheet) // makes the folder
				before := r.changes()
				folders, err := filepath.Glob(r.path("state/*/stamps"))
				must(t, err)
				if len(folders) != 1 {
					t.Fatalf("the folders of state are %q", folders)
				}
				name := filepath.Join(filepath.Dir(folders[0]), tc.name)
				must(t, os.RemoveAll(name))
				must(t, place(name))
				r.sheet(leads(2)...)
				ended := make(chan ran, 1)
				go func() { ended <- r.run("run", sheet) }()
				select {
				case got := <-ended:
					if tc.want >= 0 && (got.code != tc.want || !strings.Contains(got.stderr, "not a regular file") || r.changes() != before) {
						t.Errorf("it ended with %d and %d changes:\n%s", got.code, r.changes()-before, got.stderr)
					}
				case <-time.After(30 * time.Second):
					t.Fatal("it waits for ever")
				}
			})
		}
	}
}
