package ledger_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// file is a ledger in a file.
type file string

func newPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "sheet.ledger.db")
}

func newFile(t testing.TB) Store {
	t.Helper()
	return file(newPath(t))
}

func (f file) Open(o ledger.Options) (*ledger.Ledger, error) { return ledger.Open(string(f), o) }

func (f file) DB(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", string(f))
	Must(t, err)
	db.SetMaxIdleConns(0) // nobody else has the file open afterwards
	t.Cleanup(func() { db.Close() })
	return db
}

// text is the answer of a query.
func (f file) text(t testing.TB, query string) (s string) {
	t.Helper()
	Must(t, f.DB(t).QueryRow(query).Scan(&s))
	return s
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	Run(t, newFile)
}
