package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
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
	l, err := Open(path, options())
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
	again := mustOpen(t, path)
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
	for _, o := range []Options{{}, {Create: true, ReadOnly: true}} {
		path := newFile(t)
		_, err := Open(path, o)
		wantIs(t, err, fs.ErrNotExist)
		if got := names(t, filepath.Dir(path)); got != "" {
			t.Errorf("Open(%+v) left %q", o, got)
		}
	}
	_, err := Open(filepath.Join(t.TempDir(), "no", "such.db"), options())
	wantIs(t, err, fs.ErrNotExist)
}

// ledgerBytes returns the file of a ledger with some rows.
func ledgerBytes(t testing.TB) []byte {
	t.Helper()
	path := newFile(t)
	l, err := Open(path, options())
	if err != nil {
		t.Fatal(err)
	}
	adopted(t, l, stagedRows(strings.Repeat("r1a s2b r3c ", 60)))
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
	path := newFile(t)
	c, err := dial(fileURI(path, "mode=rwc"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.once("CREATE TABLE t (x)"), c.close()); err != nil {
		t.Fatal(err)
	}
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
		{"empty", nil, ErrForeign},
		{"a few bytes", []byte("SQLite format 3"), ErrForeign},
		{"a sheet", bytes.Repeat([]byte("action,object\n"), 100), ErrForeign},
		{"another database", otherDatabase(t), ErrForeign},
		{"garbage from the first byte", edit(func(b []byte) []byte { clear(b[:4096]); return b }), ErrForeign},
		{"newer", edit(func(b []byte) []byte { binary.BigEndian.PutUint32(b[60:], schemaVersion+1); return b }), ErrNewer},
		{"version zero", edit(func(b []byte) []byte { binary.BigEndian.PutUint32(b[60:], 0); return b }), ErrDamaged},
		{"cut in the middle", edit(func(b []byte) []byte { return b[:len(b)/2] }), ErrDamaged},
		{"cut in a page", edit(func(b []byte) []byte { return b[:len(b)-100] }), ErrDamaged},
		{"garbage in a page", edit(func(b []byte) []byte {
			for i := range b[4096:8192] {
				b[4096+i] = 0xa5
			}
			return b
		}), ErrDamaged},
		{"garbage everywhere behind the header", edit(func(b []byte) []byte {
			for i := range b[4096:] {
				b[4096+i] = byte(i * 7)
			}
			return b
		}), ErrDamaged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := newFile(t)
			if err := os.WriteFile(path, tt.file, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, o := range []Options{options(), {}, {ReadOnly: true}} {
				l, err := Open(path, o)
				if err == nil {
					l.Close()
				}
				wantIs(t, err, tt.want)
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
	_, err := Open(dir, options())
	wantIs(t, err, ErrForeign)

	target := filepath.Join(dir, "real.db")
	mustOpen(t, target)
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(target, link); err != nil {
		t.Logf("no links here: %v", err)
		return
	}
	_, err = Open(link, options())
	wantIs(t, err, ErrForeign)
	dangling := filepath.Join(dir, "dangling.db")
	if err := os.Symlink(filepath.Join(dir, "none"), dangling); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dangling, options())
	wantIs(t, err, ErrForeign)
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	w := mustOpen(t, path)
	adopted(t, w, stagedRows("r1a s2b"))
	r, err := Open(path, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, want := states(t, r), "r1a:not_attempted s2b:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s := matched(t, r, stagedRows("r1a s2b r3c"))
	if got, err := s.Counts(t.Context()); err != nil || len(got) != 2 {
		t.Errorf("a plan over an open ledger: got %+v, %v", got, err)
	}
	wantIs(t, s.Adopt(t.Context(), Source{}), ErrReadOnly)
	wantIs(t, r.Bind(t.Context(), Binding{Account: "main", Host: "h"}), ErrReadOnly)
	_, err = r.BeginRun(t.Context(), RunInfo{})
	wantIs(t, err, ErrReadOnly)

	finish(t, w, todo(t, w)[0], Done)
	if got, want := states(t, r), "r1a:done s2b:not_attempted"; got != want {
		t.Errorf("during a run: got %q, want %q", got, want)
	}
}

// TestPlanLeavesNoTrace opens a ledger as a plan does.
func TestPlanLeavesNoTrace(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	before := ledgerBytes(t)
	if err := os.WriteFile(path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(path, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := matched(t, l, stagedRows("r1a s2b r1a r9z")).Counts(t.Context()); err != nil {
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
	l, err := Scratch(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := matched(t, l, stagedRows("r1a s2b r1a"))
	if got := names(t, dir); got != "" {
		t.Errorf("the folder has %q while it is open", got)
	}
	if err := s.Adopt(t.Context(), Source{Name: "n"}); err != nil {
		t.Fatal(err)
	}
	if got, want := words(todo(t, l)), "r1a/2 s2b/2"; got != want {
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

func TestClosed(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := l.Stage(t.Context())
	wantIs(t, err, ErrClosed)
	_, err = l.Bindings(t.Context())
	wantIs(t, err, ErrClosed)
	wantIs(t, l.Wrote(t.Context(), "x"), ErrClosed)
}

// TestUncleanClose opens what a killed process leaves: the file and its log as
// they are while the ledger is open.
func TestUncleanClose(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	l := mustOpen(t, path)
	adopted(t, l, stagedRows("r1a s2b r3c"))
	begun(t, l)
	ops := todo(t, l)
	finish(t, l, ops[0], Done)
	if err := l.Intend(t.Context(), Intent{CallID: "c", Account: "main", Ops: []int64{ops[1].ID}, Attempt: 1, At: at}); err != nil {
		t.Fatal(err)
	}

	killed := newFile(t)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(killed+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := mustOpen(t, killed)
	if got, want := states(t, again), "r1a:done s2b:in_doubt r3c:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := again.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
	adopted(t, again, stagedRows("r1a s2b r3c"))
	ops = todo(t, again)
	if got, want := words(ops), "s2b/2 r3c/2"; got != want {
		t.Errorf("to do: got %q, want %q", got, want)
	}
	if ops[0].State != Sent {
		t.Errorf("got state %v for an intent without an outcome, want Sent", ops[0].State)
	}
}

// TestFull has the file refuse to grow, as a full disk does.
func TestFull(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	adopted(t, l, stagedRows("r1a"))
	if err := l.alone(t.Context(), func(c *conn) error { return c.once("PRAGMA max_page_count = 1") }); err != nil {
		t.Fatal(err)
	}
	s := matched(t, l, stagedRows(strings.Repeat("r2b s3c ", 500)))
	err := s.Adopt(t.Context(), Source{Name: "n"})
	wantIs(t, err, ErrStorage)
	if got, want := states(t, l), "r1a:not_attempted"; got != want {
		t.Errorf("after the failure: got %q, want %q", got, want)
	}
	if err := l.alone(t.Context(), func(c *conn) error { return c.once("PRAGMA max_page_count = 100000") }); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(t.Context(), Source{Name: "n"}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
