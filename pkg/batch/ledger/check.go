package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// checkWhole bounds the size of the files that are checked page by page when they
// are opened, which reads all of the file at some 300 MB a second (measured
// 2026-11; a million rows make 290 MB). Larger ones show their damage where it is
// read.
const checkWhole = 256 << 20

// header is what the first bytes of a SQLite file say.
type header struct {
	version  int   // user_version
	pageSize int64 // bytes
	pages    int64 // that the file should have; 0 if unknown
}

// checkFile refuses what is not a ledger of a version that t knows, without
// letting SQLite near it: SQLite would try to repair what is not ours.
func checkFile(path string, t tables) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: not a regular file", ErrForeign)
	}
	h, err := readHeader(path)
	if err != nil {
		return err
	}
	if err := t.knows(h.version); err != nil {
		return err
	}
	if !hasLog(path) && info.Size() < h.pages*h.pageSize {
		return fmt.Errorf("%w: %d bytes of %d are left", ErrDamaged, info.Size(), h.pages*h.pageSize)
	}
	if info.Size() > checkWhole {
		return nil
	}
	return checkPages(path)
}

func readHeader(path string) (header, error) {
	f, err := os.Open(path)
	if err != nil {
		return header{}, err
	}
	defer f.Close() // it was only read
	b := make([]byte, 100)
	if _, err := io.ReadFull(f, b); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return header{}, fmt.Errorf("%w: not a SQLite file", ErrForeign)
		}
		return header{}, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	if string(b[:16]) != "SQLite format 3\x00" {
		return header{}, fmt.Errorf("%w: not a SQLite file", ErrForeign)
	}
	if binary.BigEndian.Uint32(b[68:]) != applicationID {
		return header{}, fmt.Errorf("%w: a SQLite file of something else", ErrForeign)
	}
	h := header{
		version:  int(binary.BigEndian.Uint32(b[60:])),
		pageSize: int64(binary.BigEndian.Uint16(b[16:])),
		pages:    int64(binary.BigEndian.Uint32(b[28:])),
	}
	if h.pageSize == 1 {
		h.pageSize = 65536
	}
	return h, nil
}

// hasLog says whether changes stand beside the file that it does not contain yet.
func hasLog(path string) bool {
	info, err := os.Stat(path + "-wal")
	return err == nil && info.Size() > 0
}

// checkPages has SQLite look through the file, in a way that can not change it.
func checkPages(path string) error {
	logged := hasLog(path)
	err := quickCheck(fileURI(path, readMode(logged)))
	if errors.Is(err, ErrDamaged) && !logged && hasLog(path) {
		// Another process has begun to change the file under the check.
		err = quickCheck(fileURI(path, readMode(true)))
	}
	return err
}

// readMode opens without the right to change anything. A file without a log is
// read as if it could not change, so that SQLite puts nothing beside it.
func readMode(logged bool) string {
	if logged {
		return "mode=ro"
	}
	return "mode=ro&immutable=1"
}

func quickCheck(uri string) error {
	c, err := dial(nil, uri, "busy_timeout=1000", "cache_size=-8000")
	if err != nil {
		return err
	}
	err = c.query("PRAGMA quick_check(1)", func(r row) error {
		if s := r.text("quick_check"); s != "ok" {
			return fmt.Errorf("%w: %s", ErrDamaged, s)
		}
		return nil
	})
	return errors.Join(err, c.close())
}

// writable says whether the file may be changed by us at all.
func writable(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case err == nil:
		return true, f.Close()
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return false, nil
	}
	return false, err
}
