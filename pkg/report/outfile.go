package report

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
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
	if err := file.Chmod(mode); err != nil { // whatever the umask says
		return errors.Join(err, file.Close(), root.Remove(temp))
	}
	if err := fill(file, write); err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	if err := may(); err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), root.Remove(temp))
	}
	if err := root.Rename(temp, name); err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	return syncFolder(root)
}

// temporary returns a name beside name that nothing else uses.
func temporary(name string) string { return FitName("."+name, "."+rand.Text()[:10]+".tmp") }

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

// probeBytes is how much is written where nothing is known of a file's length: more
// than a summary has, and than a page or a result of some hundred rows.
const probeBytes = 128 << 10

// tryWriting says whether a file of that many bytes can be written at path, by writing
// one beside it and removing it. A name alone says too little: a full disk takes
// names. The error is a *TargetError.
func tryWriting(path, flag string, size int64) error {
	err := probe(path, size)
	if err == nil {
		return nil
	}
	what := "takes no file"
	hint := fmt.Sprintf("Make the folder writable, or name another file with %s.", flag)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		what, hint = "is not there", fmt.Sprintf("Make the folder, or name another file with %s.", flag)
	case IsNameTooLong(err):
		return unusable(path, flag, err)
	case isFull(err):
		what = fmt.Sprintf("takes no file of %d KiB", size>>10)
		hint = fmt.Sprintf("Make room there, or name a file on another disk with %s.", flag)
	}
	return &TargetError{Path: path, Hint: hint,
		Reason: fmt.Sprintf("its folder %s %s: %v", filepath.Dir(path), what, Reason(err))}
}

// isFull says whether a disk, or somebody's part of it, has no more room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

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
