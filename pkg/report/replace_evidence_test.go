package report

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestOwnFilesReplaceOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	led := pageLedger(t, []pageRow{{account: "main", op: revoke(1), settle: ledger.Outcome{Status: crm.Done}}})
	other := pageLedger(t, []pageRow{{account: "main", op: revoke(1)}})
	s := batch.Summary{Started: at, Ended: at}
	kinds := map[string]struct {
		flag  string
		check func(path string) error
		write func(path string) error
	}{
		"report":       {"--report", func(path string) error { return CheckReport(path, led.ID()) }, func(path string) error { return WriteHTML(ctx, led, s, Facts{}, path) }},
		"other report": {"--report", func(path string) error { return CheckReport(path, other.ID()) }, func(path string) error { return WriteHTML(ctx, other, s, Facts{}, path) }},
		"summary":      {"--summary", CheckSummaryFile, func(path string) error { return WriteSummaryJSON(ctx, led, s, Facts{}, path) }},
		"metrics":      {"--metrics-file", CheckMetrics, func(path string) error { return WriteMetrics(ctx, led, s, Facts{}, path) }},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			refused := func(path, why string) {
				t.Helper()
				before, _ := os.ReadFile(path)
				for _, err := range []error{kind.check(path), kind.write(path)} {
					target, ok := errors.AsType[*TargetError](err)
					if !ok || !strings.Contains(err.Error(), why) || !strings.Contains(target.Hint, kind.flag) {
						t.Errorf("%s: got %v, want a *TargetError that says %q and hints at %s", filepath.Base(path), err, why, kind.flag)
					}
				}
				if after, _ := os.ReadFile(path); string(after) != string(before) {
					t.Errorf("%s was changed", filepath.Base(path))
				}
			}
			own := filepath.Join(dir, "own")
			for range 2 { // new, then over what it wrote
				must(t, kind.check(own))
				must(t, kind.write(own))
			}
			for wrote, another := range kinds {
				if wrote != name {
					path := filepath.Join(dir, "by "+wrote)
					must(t, another.write(path))
					refused(path, "is not a")
				}
			}
			for text, file := range map[string]string{"": "empty", "id,note\n": "sheet"} {
				path := filepath.Join(dir, file)
				must(t, os.WriteFile(path, []byte(text), 0o600))
				refused(path, "is not a")
			}
			refused(dir, "not a regular file")
			if runtime.GOOS != "windows" {
				link := filepath.Join(dir, "link")
				must(t, os.Symlink(own, link))
				refused(link, "symbolic link")
			}
			if err := kind.check(filepath.Join(dir, "no", "such", "folder")); err == nil {
				t.Error("a folder that does not exist is no reason to refuse")
			}
			left, err := filepath.Glob(filepath.Join(dir, ".*"))
			if err != nil || len(left) > 0 {
				t.Errorf("temporary files are left: %v, %v", left, err)
			}
		})
	}
}
