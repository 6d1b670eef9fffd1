package ledger

import (
	"database/sql/driver"
	"errors"
	"os"
	"runtime"
	"testing"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	old := mustOpen(t, path)
	adopted(t, old, stagedRows("r1a"))
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	failing := tables{version: 2, steps: []func(*conn) error{func(c *conn) error {
		return errors.Join(c.once("ALTER TABLE row ADD COLUMN extra TEXT"), errors.New("no"))
	}}}
	if _, err := open(path, options(), failing); err == nil {
		t.Fatal("a failing migration went unnoticed")
	}
	next := tables{version: 2, steps: []func(*conn) error{func(c *conn) error {
		return c.once("ALTER TABLE row ADD COLUMN extra TEXT DEFAULT 'new'")
	}}}
	_, err = open(path, Options{ReadOnly: true}, next)
	wantIs(t, err, ErrReadOnly)
	l, err := open(path, options(), next)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.read(t.Context(), func(c *conn) error {
		return c.query("SELECT extra FROM row", func(v []driver.Value) error {
			if text(v[0]) != "new" {
				t.Errorf("got %v in the new column", v[0])
			}
			return nil
		})
	}); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, options())
	wantIs(t, err, ErrNewer)

	// The copies of both attempts are ledgers of the old version, with its rows.
	for _, name := range []string{path + ".v1.bak", path + ".v1.2.bak"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("got mode %v for the copy, want 0600", info.Mode().Perm())
		}
		bak := mustOpen(t, name)
		if got, want := states(t, bak), "r1a:not_attempted"; got != want || bak.ID() != old.ID() {
			t.Errorf("%s: got %q of ledger %s, want %q of %s (the old file had %d bytes)", name, got, bak.ID(), want, old.ID(), len(before))
		}
	}
}
