package ledger_test

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger/ledgertest"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	old := ledgertest.Open(t, file(path))
	ledgertest.Commit(t, old, ledgertest.Rows("r1a"))
	ledgertest.Must(t, old.Close())
	before, err := os.ReadFile(path)
	ledgertest.Must(t, err)

	const script = "ALTER TABLE sheet_row ADD COLUMN extra TEXT DEFAULT 'new'"
	no := errors.New("no")
	_, err = ledger.OpenNext(path, ledgertest.Options(), script, no)
	ledgertest.WantIs(t, err, no)
	_, err = ledger.OpenNext(path, ledger.Options{ReadOnly: true}, script, nil)
	ledgertest.WantIs(t, err, ledger.ErrReadOnly)
	l, err := ledger.OpenNext(path, ledgertest.Options(), script, nil)
	ledgertest.Must(t, err)
	if got, want := ledgertest.States(t, l), "r1a:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	ledgertest.Must(t, l.Close())
	_, err = ledger.Open(path, ledgertest.Options())
	ledgertest.WantIs(t, err, ledger.ErrNewer)
	if extra := file(path).text(t, "SELECT extra FROM sheet_row"); extra != "new" {
		t.Errorf("got %q in the new column", extra)
	}

	// The copies of both attempts are ledgers of the old version, with its rows.
	for _, name := range []string{path + ".v2.bak", path + ".v2.2.bak"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("got mode %v for the copy, want 0600", info.Mode().Perm())
		}
		bak := ledgertest.Open(t, file(name))
		if got, want := ledgertest.States(t, bak), "r1a:not_attempted"; got != want || bak.ID() != old.ID() {
			t.Errorf("%s: got %q of ledger %s, want %q of %s (the old file had %d bytes)", name, got, bak.ID(), want, old.ID(), len(before))
		}
	}
}
