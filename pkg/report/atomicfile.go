package report

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// replaceFile writes a file as a whole or not at all: to a temporary name in its
// folder, synced, then renamed over path. The file gets the mode. Right before the
// rename it asks again whether path may be replaced. A failure leaves what was there,
// and no temporary file.
func replaceFile(ctx context.Context, path string, mode fs.FileMode, write func(io.Writer) error, may func() error) (err error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	name := filepath.Base(path)
	temp := temporary(name)
	file, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = file.Chmod(mode); err != nil { // whatever the umask says
		err = errors.Join(err, file.Close())
	} else {
		err = fill(file, write)
	}
	if err == nil {
		err = may()
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	return syncFolder(root)
}

// fill writes, syncs and closes the file.
func fill(file *os.File, write func(io.Writer) error) error {
	w := bufio.NewWriterSize(file, 1<<16)
	err := write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncFolder makes a rename durable. Windows does so by itself and can not open a
// folder for it.
func syncFolder(root *os.Root) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

const (
	randomName, tempEnding = 10, ".tmp"
	// randomLetters are those of rand.Text.
	randomLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// temporary returns a name beside name that nothing else uses.
func temporary(name string) string {
	return FitName("."+name, "."+rand.Text()[:randomName]+tempEnding)
}

// Sweep removes what a killed process left of a file that it was writing to path: all
// of the rows, under a temporary name. Only names of the form that this package gives
// go, and of these only files that nobody has written to since the given moment. The
// caller sees to it that nobody else writes to path.
func Sweep(path string, since time.Time) error {
	dir := filepath.Dir(path)
	sample := temporary(filepath.Base(path))
	prefix := sample[:len(sample)-randomName-len(tempEnding)]
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // a folder that is only written to holds nothing that can be found
	}
	var errs []error
	for _, e := range entries {
		middle, begins := strings.CutPrefix(e.Name(), prefix)
		middle, ends := strings.CutSuffix(middle, tempEnding)
		if !begins || !ends || len(middle) != randomName || strings.Trim(middle, randomLetters) != "" || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err != nil || !info.ModTime().Before(since) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// maxName is how many bytes a file's name may have on the usual file systems.
const maxName = 255

// FitName returns the name of a file that begins with stem and ends in ending. A stem
// for which a name has no room is cut between two characters, and a hash of the whole
// stem keeps two long ones apart.
func FitName(stem, ending string) string {
	if len(stem)+len(ending) <= maxName {
		return stem + ending
	}
	sum := sha256.Sum256([]byte(stem))
	ending = "~" + hex.EncodeToString(sum[:4]) + ending
	n := max(0, maxName-len(ending))
	for n > 0 && !utf8.RuneStart(stem[n]) {
		n--
	}
	return strings.TrimRight(stem[:n], " .") + ending
}

// IsNameTooLong says whether an error is about a name that its file system can not
// hold.
func IsNameTooLong(err error) bool { return errors.Is(err, syscall.ENAMETOOLONG) }

// Reason returns what the system says is wrong with a file, without its name and
// without what was done: these belong to whoever knows what the file is for.
func Reason(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return link.Err
	}
	return err
}

const (
	// probeBytes is how much is written where nothing is known of a file's length: more
	// than a summary has, and than a page or a result of some hundred rows.
	probeBytes = 128 << 10
	// mostProbed bounds what is written as a trial. A disk that takes so much and not
	// the rest is found when the result is written: the ledger has everything, and
	// `results` writes the file later.
	mostProbed = 64 << 20
)

// tryWriting says whether a file of that many bytes can be written at path, by writing
// one beside it and removing it. A name alone says too little: a full disk takes
// names. The error is a *TargetError.
func tryWriting(path, flag string, size int64) error {
	err := probe(path, size)
	what, hint := "takes no file", fmt.Sprintf("Make the folder writable, or name another file with %s.", flag)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		what, hint = "is not there", fmt.Sprintf("Make the folder, or name another file with %s.", flag)
	case IsNameTooLong(err):
		return unusable(path, flag, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		what = fmt.Sprintf("takes no file of %d KiB", size>>10)
		hint = fmt.Sprintf("Make room there, or name a file on another disk with %s.", flag)
	}
	return &TargetError{Path: path, Hint: hint,
		Reason: fmt.Sprintf("its folder %s %s: %v", filepath.Dir(path), what, Reason(err))}
}

// probe writes, syncs and removes a file of that many bytes in the folder of path. Its
// own name may be shorter than that of path, which is tried by looking for it.
func probe(path string, size int64) error {
	if _, err := os.Lstat(path); IsNameTooLong(err) {
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	temp := temporary(filepath.Base(path))
	file, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = fill(file, func(w io.Writer) error {
			_, err := io.CopyN(w, blanks{}, size)
			return err
		})
		err = errors.Join(err, root.Remove(temp))
	}
	return errors.Join(err, root.Close())
}

// blanks reads as spaces without end. Zeros would do less: some disks take any number
// of them.
type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
