package report

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// replaceFile writes a file as a whole or not at all: to a temporary name in its
// folder, synced, then renamed over path. The file gets mode 0600. Right before
// the rename it asks again whether path may be replaced. A failure leaves what was
// there, and no temporary file.
func replaceFile(ctx context.Context, path string, write func(io.Writer) error, may func() error) (err error) {
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
func temporary(name string) string { return "." + name + "." + rand.Text()[:10] + ".tmp" }

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

// probe says whether a file can be made in the folder of path, by making one and
// removing it.
func probe(path string) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("folder of %s: %w", path, err)
	}
	temp := temporary(filepath.Base(path))
	file, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return errors.Join(fmt.Errorf("folder of %s: %w", path, err), root.Close())
	}
	return errors.Join(file.Close(), root.Remove(temp), root.Close())
}
