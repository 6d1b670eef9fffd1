package report

import (
	"bufio"
	"bytes"
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
func replaceFile(ctx context.Context, path string, mode fs.FileMode, write func(io.Writer) error, may func() error) error {
	return writeBeside(path, mode, write, func(root *os.Root, temp string) error {
		if err := may(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := root.Rename(temp, filepath.Base(path)); err != nil || runtime.GOOS == "windows" {
			return err // Windows makes a rename durable by itself, and can not open a folder for it
		}
		dir, err := root.Open(".")
		if err != nil {
			return err
		}
		return errors.Join(dir.Sync(), dir.Close())
	})
}

// writeBeside writes and syncs a file with a temporary name in the folder of path, and
// hands it to use. A failure leaves nothing of it.
func writeBeside(path string, mode fs.FileMode, write func(io.Writer) error, use func(root *os.Root, temp string) error) (err error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	temp := temporary(filepath.Base(path))
	file, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, private)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(file, 1<<16)
	for _, step := range []func() error{
		func() error { return file.Chmod(mode) }, // whatever the umask says
		func() error { return write(w) }, w.Flush, file.Sync,
	} {
		if err == nil {
			err = step()
		}
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = use(root, temp)
	}
	if err == nil {
		return nil
	}
	if left := root.Remove(temp); !errors.Is(left, fs.ErrNotExist) {
		err = errors.Join(err, left)
	}
	return err
}

// The ending of a temporary name, and how many letters of rand.Text stand before it.
const tempEnding, tempLetters = ".tmp", 10

// temporary returns a name beside name that nothing else uses.
func temporary(name string) string {
	return FitName("."+name, "."+rand.Text()[:tempLetters]+tempEnding)
}

// Sweep removes what a killed process left of a file that it was writing to path: all
// of the rows, under a temporary name. Only names of the form that this package gives
// go, and of these only files that nobody has written to since the given moment. The
// caller sees to it that nobody else writes to path.
func Sweep(path string, since time.Time) error {
	dir := filepath.Dir(path)
	sample := temporary(filepath.Base(path))
	prefix := sample[:len(sample)-tempLetters-len(tempEnding)]
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // a folder that is only written to holds nothing that can be found
	}
	var errs []error
	for _, e := range entries {
		middle, begins := strings.CutPrefix(e.Name(), prefix)
		middle, ends := strings.CutSuffix(middle, tempEnding)
		if !begins || !ends || len(middle) != tempLetters || strings.Trim(middle, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" || !e.Type().IsRegular() {
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
	_, err := os.Lstat(path) // the temporary name may be shorter than that of path
	if !IsNameTooLong(err) {
		spaces := bytes.Repeat([]byte{' '}, 1<<10) // zeros would do less: some disks take any number of them
		err = writeBeside(path, private, func(w io.Writer) error {
			for n := int64(0); n < size; n += int64(len(spaces)) {
				if _, err := w.Write(spaces); err != nil {
					return err
				}
			}
			return nil
		}, (*os.Root).Remove)
	}
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
