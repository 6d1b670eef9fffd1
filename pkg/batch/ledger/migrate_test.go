package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	old := Open(t, file(path))
	Commit(t, old, Rows("r1a"))
	Must(t, old.Close())
	before, err := os.ReadFile(path)
	Must(t, err)

	const script = "ALTER TABLE sheet_row ADD COLUMN extra TEXT DEFAULT 'new'"
	no := errors.New("no")
	_, err = ledger.OpenNext(path, Options(), script, no)
	WantIs(t, err, no)
	_, err = ledger.OpenNext(path, ledger.Options{ReadOnly: true}, script, nil)
	WantIs(t, err, ledger.ErrReadOnly)
	l, err := ledger.OpenNext(path, Options(), script, nil)
	Must(t, err)
	if got, want := States(t, l), "r1a:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	Must(t, l.Close())
	_, err = ledger.Open(path, Options())
	WantIs(t, err, ledger.ErrNewer)
	if extra := file(path).text(t, "SELECT extra FROM sheet_row"); extra != "new" {
		t.Errorf("got %q in the new column", extra)
	}

	// The copies of both attempts are ledgers of the old version, with its rows.
	copied := fmt.Sprintf("%s.v%d", path, ledger.SchemaVersion)
	for _, name := range []string{copied + ".bak", copied + ".2.bak"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("got mode %v for the copy, want 0600", info.Mode().Perm())
		}
		bak := Open(t, file(name))
		if got, want := States(t, bak), "r1a:not_attempted"; got != want || bak.ID() != old.ID() {
			t.Errorf("%s: got %q of ledger %s, want %q of %s (the old file had %d bytes)", name, got, bak.ID(), want, old.ID(), len(before))
		}
	}
}
