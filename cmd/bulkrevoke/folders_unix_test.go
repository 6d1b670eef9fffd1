//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A folder that takes no files is named, with what would name another.
func TestFoldersThatTakeNoFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(leads(1)...)
	nowhere := "/proc" // which takes no file from anybody
	for _, tc := range []struct {
		name string
		env  string
		args []string
		want []string
	}{
		{"state", "BULKREVOKE_STATE=" + nowhere + "/state", []string{"run", path}, []string{nowhere + "/state", "Set BULKREVOKE_STATE to a folder"}},
		{"state without a variable", "BULKREVOKE_STATE= XDG_STATE_HOME= HOME=" + nowhere, []string{"run", path}, []string{nowhere + "/.local/state", "Set BULKREVOKE_STATE to a folder"}},
		{"temporary files", "TMPDIR=/nonexistent", []string{"plan", path}, []string{"/nonexistent", "TMPDIR"}},
		{"result and ledger", "", []string{"run", path, "-o", nowhere + "/r.csv"}, []string{nowhere, "-o FOLDER/r.csv"}},
		{"ledger", "", []string{"run", path, "--ledger", nowhere + "/l.db"}, []string{nowhere, "--ledger"}},
		{"result", "", []string{"run", path, "-o", nowhere + "/r.csv", "--ledger", r.path("l.db")}, []string{"its folder " + nowhere + " ", "-o"}},
		{"no such folder for the result", "", []string{"run", path, "-o", r.path("none/r.csv"), "--ledger", r.path("l.db")}, []string{"is not there", "Make the folder"}},
		{"report", "", []string{"run", path, "--report", nowhere + "/r.html"}, []string{"its folder " + nowhere + " ", "--report"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			program, err := program()
			must(t, err)
			p := r.startCommand(exec.Command("env", append(append(strings.Fields(tc.env), program), tc.args...)...))
			if code := p.wait(); code != exitRefused || r.changes() > 0 {
				t.Errorf("it ended with %d after %d changes, want %d and none", code, r.changes(), exitRefused)
			}
			said := p.stderr.String()
			for _, want := range tc.want {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			for _, word := range []string{"open ", "mkdir ", "openat ", ".tmp"} {
				if strings.Contains(said, word) {
					t.Errorf("it speaks of %q:\n%s", word, said)
				}
			}
		})
	}
	if _, err := os.Stat(filepath.Join(r.dir, "off.ledger.db")); err == nil {
		t.Error("a refused run has left a ledger")
	}
}
