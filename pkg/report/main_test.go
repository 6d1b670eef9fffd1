package report

import (
	"os"
	"testing"
)

// TestMain keeps the temporary files of one test's ledger out of another's folder.
func TestMain(m *testing.M) {
	if err := os.Setenv("SQLITE_TMPDIR", os.TempDir()); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
