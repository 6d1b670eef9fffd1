package ledger

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A disk that fills up while a file is made is ErrStorage, and nothing of the file is left.
func TestNewFileOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	err := newFile(filepath.Join(dir, "x.ledger.db"), func(c *conn) error {
		if err := c.once("PRAGMA max_page_count = 60; PRAGMA cache_size = 1;" + schema + c.setVersion(schemaVersion)); err != nil {
			return err
		}
		return c.insert("output", "path", 10_000, func(args []any, i int) []any {
			return append(args, "a path that takes some room in the file "+strconv.Itoa(i))
		})
	})
	if !errors.Is(err, ErrStorage) {
		t.Errorf("got %v, want %v", err, ErrStorage)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("%v are left, %v", entries, err)
	}
}

// A copy has all tables and columns that a ledger has.
func TestCopiesHaveEveryColumn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.ledger.db")
	l, err := Open(path, Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	list := func(query string, args ...any) (names []string) {
		t.Helper()
		rows, err := db.Query(query, args...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		return names
	}
	want := map[string][]string{"meta": {"name", "value"}, "head": {"event", "hash", "id", "opseq"}}
	for _, d := range durables {
		want[d.table] = slices.Sorted(strings.SplitSeq(d.columns, ", "))
	}
	tables := list("SELECT name FROM sqlite_master WHERE type = 'table'")
	for _, table := range tables {
		if got := list("SELECT name FROM pragma_table_info(?) ORDER BY name", table); !slices.Equal(got, want[table]) {
			t.Errorf("%s has the columns %q, a copy %q", table, got, want[table])
		}
	}
	if len(tables) != len(want) {
		t.Errorf("there are the tables %q, a copy has %d", tables, len(want))
	}
}
