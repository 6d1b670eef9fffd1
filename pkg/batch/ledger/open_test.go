package ledger_test

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestOpenCreates(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a?b 100%#.ledger.db")
	l, err := ledger.Open(path, Options())
	if err != nil {
		t.Fatal(err)
	}
	id := l.ID()
	if err := l.Wrote(t.Context(), "x.csv"); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if got, want := names(t, filepath.Dir(path)), filepath.Base(path); got != want {
		t.Errorf("the folder has %q, want only %q", got, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, want 0600", info.Mode().Perm())
	}
	again := Open(t, file(path))
	if again.ID() != id || len(id) != 36 {
		t.Errorf("got id %q after reopening, want %q", again.ID(), id)
	}
	if ok, err := again.HasWritten(t.Context(), "x.csv"); !ok || err != nil {
		t.Errorf("the output is forgotten: %v, %v", ok, err)
	}
	if ok, err := again.HasWritten(t.Context(), "y.csv"); ok || err != nil {
		t.Errorf("an output that was never written is known: %v, %v", ok, err)
	}
}

func TestOpenMissing(t *testing.T) {
	t.Parallel()
	for _, o := range []ledger.Options{{}, {Create: true, ReadOnly: true}} {
		path := newPath(t)
		_, err := ledger.Open(path, o)
		WantIs(t, err, fs.ErrNotExist)
		if got := names(t, filepath.Dir(path)); got != "" {
			t.Errorf("ledger.Open(%+v) left %q", o, got)
		}
	}
	_, err := ledger.Open(filepath.Join(t.TempDir(), "no", "such.db"), Options())
	WantIs(t, err, fs.ErrNotExist)
}

// ledgerBytes returns the file of a ledger with some rows.
func ledgerBytes(t testing.TB) []byte {
	t.Helper()
	path := newPath(t)
	l, err := ledger.Open(path, Options())
	if err != nil {
		t.Fatal(err)
	}
	Commit(t, l, Rows(strings.Repeat("r1a s2b r3c ", 60)))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func otherDatabase(t testing.TB) []byte {
	t.Helper()
	path := newPath(t)
	Exec(t, file(path), "CREATE TABLE t (x)")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	good := ledgerBytes(t)
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for _, tt := range []struct {
		name string
		file []byte
		want error
	}{
		{"empty", nil, ledger.ErrForeign},
		{"a few bytes", []byte("SQLite format 3"), ledger.ErrForeign},
		{"a sheet", bytes.Repeat([]byte("action,object\n"), 100), ledger.ErrForeign},
		{"another database", otherDatabase(t), ledger.ErrForeign},
		{"garbage from the first byte", edit(func(b []byte) []byte { clear(b[:4096]); return b }), ledger.ErrForeign},
		{"newer", edit(func(b []byte) []byte { binary.BigEndian.PutUint32(b[60:], ledger.SchemaVersion+1); return b }), ledger.ErrNewer},
		{"version zero", edit(func(b []byte) []byte { binary.BigEndian.PutUint32(b[60:], 0); return b }), ledger.ErrDamaged},
		{"cut in the middle", edit(func(b []byte) []byte { return b[:len(b)/2] }), ledger.ErrDamaged},
		{"cut in a page", edit(func(b []byte) []byte { return b[:len(b)-100] }), ledger.ErrDamaged},
		{"garbage in a page", edit(func(b []byte) []byte {
			for i := range b[4096:8192] {
				b[4096+i] = 0xa5
			}
			return b
		}), ledger.ErrDamaged},
		{"garbage everywhere behind the header", edit(func(b []byte) []byte {
			for i := range b[4096:] {
				b[4096+i] = byte(i * 7)
			}
			return b
		}), ledger.ErrDamaged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			if err := os.WriteFile(path, tt.file, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, o := range []ledger.Options{Options(), {}, {ReadOnly: true}} {
				l, err := ledger.Open(path, o)
				if err == nil {
					l.Close()
				}
				WantIs(t, err, tt.want)
			}
			after, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(after, tt.file) {
				t.Error("the file was changed")
			}
			if got, want := names(t, filepath.Dir(path)), filepath.Base(path); got != want {
				t.Errorf("the folder has %q, want only %q", got, want)
			}
		})
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := ledger.Open(dir, Options())
	WantIs(t, err, ledger.ErrForeign)

	target := filepath.Join(dir, "real.db")
	Open(t, file(target))
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(target, link); err != nil {
		t.Logf("no links here: %v", err)
		return
	}
	_, err = ledger.Open(link, Options())
	WantIs(t, err, ledger.ErrForeign)
	dangling := filepath.Join(dir, "dangling.db")
	if err := os.Symlink(filepath.Join(dir, "none"), dangling); err != nil {
		t.Fatal(err)
	}
	_, err = ledger.Open(dangling, Options())
	WantIs(t, err, ledger.ErrForeign)
}

// TestPlanLeavesNoTrace opens a ledger as a plan does.
func TestPlanLeavesNoTrace(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	before := ledgerBytes(t)
	if err := os.WriteFile(path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(path, ledger.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Matched(t, l, Rows("r1a s2b r1a r9z")).Counts(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the ledger was changed")
	}
	if got, want := names(t, filepath.Dir(path)), filepath.Base(path); got != want {
		t.Errorf("the folder has %q, want only %q", got, want)
	}
}

func TestScratchLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := ledger.Scratch(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := Matched(t, l, Rows("r1a s2b r1a"))
	if got := names(t, dir); got != "" {
		t.Errorf("the folder has %q while it is open", got)
	}
	if err := s.Commit(t.Context(), ledger.Source{Name: "n"}); err != nil {
		t.Fatal(err)
	}
	if got, want := Words(Next(t, l)), "r1a/2 s2b/2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := l.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("the folder has %q afterwards", got)
	}
}

// TestUncleanClose opens what a killed process leaves: the file and its log as
// they are while the ledger is open.
func TestUncleanClose(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	l := Open(t, file(path))
	Commit(t, l, Rows("r1a s2b r3c"))
	Begin(t, l)
	ops := Next(t, l)
	Finish(t, l, ops[0], crm.Done)
	if err := l.Intend(t.Context(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{ops[1]}, Attempt: 1, At: At}); err != nil {
		t.Fatal(err)
	}

	killed := newPath(t)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(killed+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := Open(t, file(killed))
	if got, want := States(t, again), "r1a:done s2b:in_doubt r3c:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := again.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
	Commit(t, again, Rows("r1a s2b r3c"))
	ops = Next(t, again)
	if got, want := Words(ops), "s2b/2 r3c/2"; got != want {
		t.Errorf("to do: got %q, want %q", got, want)
	}
	if ops[0].Status != crm.Sent {
		t.Errorf("got state %v for an intent without an outcome, want Sent", ops[0].Status)
	}
}

// TestFull has the file refuse to grow, as a full disk does.
func TestFull(t *testing.T) {
	t.Parallel()
	l := Open(t, newFile(t))
	Commit(t, l, Rows("r1a"))
	if err := l.Script("PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err)
	}
	s := Matched(t, l, Rows(strings.Repeat("r2b s3c ", 500)))
	err := s.Commit(t.Context(), ledger.Source{Name: "n"})
	WantIs(t, err, ledger.ErrStorage)
	if got, want := States(t, l), "r1a:not_attempted"; got != want {
		t.Errorf("after the failure: got %q, want %q", got, want)
	}
	if err := l.Script("PRAGMA max_page_count = 100000"); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), ledger.Source{Name: "n"}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
