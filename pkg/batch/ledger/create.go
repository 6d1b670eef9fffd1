package ledger

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// create makes an empty ledger.
func create(path string, o Options) error {
	return newFile(path, func(c *conn) error { return lay(c, o.clock()()) })
}

// newFile makes a ledger's file, which fill fills in one transaction. It is complete and
// durable before it has its name, so that a kill in between leaves no half of one, and it
// takes no name that is in use: fs.ErrExist.
func newFile(path string, fill func(c *conn) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), temporaryName(path)) // mode 0600
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer func() { // the name is gone already if all went well
		for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
			os.Remove(tmp + suffix)
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	c, err := dialWriter(nil, fileURI(tmp, "mode=rw"), filepath.Dir(path))
	if err != nil {
		return err
	}
	err = c.found(func() error { return fill(c) })
	if err == nil {
		err = c.once("PRAGMA journal_mode=WAL")
	}
	if err := errors.Join(err, c.close()); err != nil {
		return err
	}
	if err := name(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// LongestPath is how many bytes the absolute path of a ledger may have: SQLite opens
// none longer than 512, and adds to it.
const LongestPath = 480

// temporaryName is the pattern of the files that become the ledger at path or a copy
// of it. It leaves room in a name of any length for what SQLite adds.
func temporaryName(path string) string {
	sum := sha256.Sum256([]byte(filepath.Base(path)))
	return ".ledger-" + hex.EncodeToString(sum[:6]) + ".*.tmp"
}

// Sweep removes what a process left that was killed while it made the ledger at path or
// a copy of it: files of that pattern to which nobody has written since the given
// moment. The caller sees to it that nobody else makes them.
func Sweep(path string, since time.Time) error {
	begin, end, _ := strings.Cut(temporaryName(path), "*")
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil // a folder that is only written to holds nothing that can be found
	}
	var errs []error
	for _, e := range entries {
		name := strings.TrimSuffix(strings.TrimSuffix(e.Name(), "-journal"), "-wal")
		if !strings.HasPrefix(name, begin) || !strings.HasSuffix(name, end) || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err != nil || !info.ModTime().Before(since) {
			continue
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lay makes the tables and the first event.
func lay(c *conn, now time.Time) error {
	for _, script := range []string{schema + indexes, c.setVersion(schemaVersion)} {
		if err := c.once(script); err != nil {
			return err
		}
	}
	id, err := newID()
	if err != nil {
		return err
	}
	return layRows(c, id, schemaVersion, now)
}

// layRows writes what an empty ledger has.
func layRows(c *conn, id string, version int, now time.Time) error {
	if _, err := c.exec("INSERT INTO meta (name, value) VALUES ('id', ?)", id); err != nil {
		return err
	}
	if _, err := c.exec("INSERT INTO head (id, event, hash, opseq) VALUES (1, 0, ?, 0)", make([]byte, hashSize)); err != nil {
		return err
	}
	return appendEvent(c, now, "ledger", map[string]any{"id": id, "schema": version})
}

// newID returns a random UUID (version 4).
func newID() (string, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

// name gives a finished file its name, which must be free. File systems without
// hard links get a rename: the ledger's lock keeps others away meanwhile.
func name(tmp, path string) error {
	err := os.Link(tmp, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fs.ErrExist
	}
	return os.Rename(tmp, path)
}

// syncDir makes a new name durable. Windows has nothing to call for it.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// keepCopy puts a copy of the ledger beside it, whole and durable, before its
// tables are changed. An older copy of that name stays.
func keepCopy(c *conn, path string, version int) error {
	f, err := os.CreateTemp(filepath.Dir(path), temporaryName(path)) // mode 0600
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer os.Remove(tmp) // the name is gone already if all went well
	defer f.Close()      // synced below
	if _, err := c.exec("VACUUM INTO ?", tmp); err != nil {
		return fmt.Errorf("copy the ledger before changing it: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	copied := path + ".v" + strconv.Itoa(version)
	err = name(tmp, copied+".bak")
	for i := 2; errors.Is(err, fs.ErrExist); i++ {
		err = name(tmp, copied+"."+strconv.Itoa(i)+".bak")
	}
	if err != nil {
		return fmt.Errorf("copy the ledger before changing it: %w", err)
	}
	return syncDir(filepath.Dir(path))
}
