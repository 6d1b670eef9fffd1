package report

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckTarget(t *testing.T) {
	t.Parallel()
	const result = "action,object,record_id,user," + blockHeader + "\n"
	for _, tc := range []struct {
		name string
		make func(t *testing.T, path string)
		ours bool
		want string // part of the refusal, "" for none
	}{
		{"nothing there", func(*testing.T, string) {}, false, ""},
		{"our result", func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(result), 0o600)) }, true, ""},
		{"our result, saved with semicolons", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, []byte(strings.ReplaceAll(result, ",", ";")), 0o600))
		}, true, ""},
		{"somebody else's result", func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(result), 0o600)) }, false, "was not written by this sheet's ledger"},
		{"ours once, now notes", func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte("notes\n"), 0o600)) }, true, "is something else now"},
		{"ours once, now empty", func(t *testing.T, path string) { must(t, os.WriteFile(path, nil, 0o600)) }, true, "is something else now"},
		{"a folder", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, true, "is a folder"},
		{"a link to our result", func(t *testing.T, path string) {
			must(t, os.WriteFile(path+".real", []byte(result), 0o600))
			must(t, os.Symlink(path+".real", path))
		}, true, "is a symbolic link"},
		{"a link to nothing", func(t *testing.T, path string) { must(t, os.Symlink(path+".none", path)) }, true, "is a symbolic link"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "r.csv")
			tc.make(t, path)
			checkTarget(t, path, tc.ours, tc.want)
		})
	}
}

// checkTarget holds what CheckTarget says of a file to what is wanted: a part of the
// refusal, "" for none.
func checkTarget(t *testing.T, path string, ours bool, want string) {
	t.Helper()
	err := CheckTarget(path, ours)
	if want == "" {
		must(t, err)
		return
	}
	refused, ok := errors.AsType[*TargetError](err)
	if !ok || !strings.Contains(refused.Reason, want) || refused.Hint == "" {
		t.Errorf("error is %v, want a TargetError with %q and a hint", err, want)
	}
}

func TestCheckTargetNeedsItsFolder(t *testing.T) {
	t.Parallel()
	err := CheckTarget(filepath.Join(t.TempDir(), "none", "r.csv"), false)
	if _, ok := errors.AsType[*TargetError](err); !ok {
		t.Errorf("error is %v, want a TargetError", err)
	}
}

func TestCheckTargetLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, CheckTarget(filepath.Join(dir, "r.csv"), false))
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the folder holds %v (%v), want nothing", entries, err)
	}
}
