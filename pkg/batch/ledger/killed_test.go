package ledger_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// What the files are at any statement is what a killed process leaves: opened, they are
// the ledger as it was before the step that was under way, or as it was after it.
func TestKilledAtEveryStatement(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	type files struct{ db, log []byte }
	var seen []files
	var failed error
	o := tap{before: func(string, []any) error {
		db, err := os.ReadFile(path)
		log, logErr := os.ReadFile(path + "-wal")
		if errors.Is(logErr, fs.ErrNotExist) {
			logErr = nil
		}
		failed = errors.Join(failed, err, logErr)
		if n := len(seen); n == 0 || !bytes.Equal(seen[n-1].db, db) || !bytes.Equal(seen[n-1].log, log) {
			seen = append(seen, files{db, log})
		}
		return nil
	}}.on(Options())
	l, err := ledger.Open(path, o)
	Must(t, err)
	defer l.Close()
	Must(t, l.Script("PRAGMA cache_size = 1")) // so that pages are written before their commit
	kills := 0
	before := Dump(t, file(path))
	for _, step := range Steps() {
		if !step.Changes {
			continue
		}
		seen = nil
		Must(t, step.Do(t.Context(), l))
		kept := seen
		after := Dump(t, file(path))
		for _, f := range kept {
			killed := newPath(t)
			Must(t, errors.Join(os.WriteFile(killed, f.db, 0o600), os.WriteFile(killed+"-wal", f.log, 0o600)))
			again, err := ledger.Open(killed, Options())
			if err != nil {
				t.Fatalf("%s: %v", step.Name, err)
			}
			Agrees(t, again)
			if told := Dump(t, file(killed)); told != before && told != after {
				t.Errorf("%s: a killed process leaves what is neither as before nor as after:\n%s", step.Name, cmp.Diff(before, told))
			}
			Must(t, again.Close())
			kills++
		}
		before = after
	}
	Must(t, failed)
	t.Logf("%d kills", kills)
}
