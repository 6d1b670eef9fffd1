package ledger_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger/ledgertest"
)

// What the files are at any statement is what a killed process leaves: opened, they are
// the ledger as it was before the step that was under way, or as it was after it.
func TestKilledAtEveryStatement(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	type files struct{ db, log []byte }
	var seen []files
	var failed error
	o := ledgertest.Options()
	o.Fault = func(string, []any) error {
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
	}
	l, err := ledger.Open(path, o)
	ledgertest.Must(t, err)
	defer l.Close()
	ledgertest.Must(t, l.Script("PRAGMA cache_size = 1")) // so that pages are written before their commit
	kills := 0
	before := ledgertest.Dump(t, file(path))
	for _, step := range ledgertest.Steps() {
		if !step.Changes {
			continue
		}
		seen = nil
		ledgertest.Must(t, step.Do(t.Context(), l))
		kept := seen
		after := ledgertest.Dump(t, file(path))
		for _, f := range kept {
			killed := newPath(t)
			ledgertest.Must(t, errors.Join(os.WriteFile(killed, f.db, 0o600), os.WriteFile(killed+"-wal", f.log, 0o600)))
			again, err := ledger.Open(killed, ledgertest.Options())
			if err != nil {
				t.Fatalf("%s: %v", step.Name, err)
			}
			ledgertest.Agrees(t, again)
			if told := ledgertest.Dump(t, file(killed)); told != before && told != after {
				t.Errorf("%s: a killed process leaves what is neither as before nor as after:\n%s", step.Name, cmp.Diff(before, told))
			}
			ledgertest.Must(t, again.Close())
			kills++
		}
		before = after
	}
	ledgertest.Must(t, failed)
	t.Logf("%d kills", kills)
}
