package report

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Sweep removes what a killed process left of a file that it was writing to path: all
// of the rows, under a temporary name. Only names of the form that this package gives
// go, and of these only files that nobody has written to since the given moment. The
// caller sees to it that nobody else writes to path.
func Sweep(path string, since time.Time) error {
	dir, base := filepath.Dir(path), filepath.Base(path)
	const random, last = 10, ".tmp"
	sample := temporary(base)
	prefix := sample[:len(sample)-random-len(last)]
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // a folder that is only written to holds nothing that can be found
	}
	var errs []error
	for _, e := range entries {
		middle, begins := strings.CutPrefix(e.Name(), prefix)
		middle, ends := strings.CutSuffix(middle, last)
		if !begins || !ends || len(middle) != random || strings.Trim(middle, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" || !e.Type().IsRegular() {
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
