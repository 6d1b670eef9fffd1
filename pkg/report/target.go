package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// TargetError says why a file may not be written.
type TargetError struct {
	Path   string
	Reason string
	Hint   string // what to do about it, a sentence
}

func (e *TargetError) Error() string { return fmt.Sprintf("%s: %s", e.Path, e.Reason) }

// CheckTarget says whether a result may be written to path: its folder takes files,
// and path is free, or is a result file that the ledger wrote (ours). Links, folders
// and other people's files are never written over; neither is a file that the ledger
// wrote and that has become something else since. The error is a *TargetError.
func CheckTarget(path string, ours bool) error {
	if err := mayReplace(path, ours); err != nil {
		return err
	}
	return tryWriting(path, "-o", probeBytes)
}

// mayReplace is CheckTarget without the folder.
func mayReplace(path string, ours bool) error {
	const elsewhere = "Move it away, or name another file with -o."
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unusable(path, "-o", err)
	case info.Mode()&fs.ModeSymlink != 0:
		return &TargetError{Path: path, Reason: "is a symbolic link, which is never written through or over", Hint: elsewhere}
	case info.IsDir():
		return &TargetError{Path: path, Reason: "is a folder", Hint: "Name a file with -o."}
	case !info.Mode().IsRegular():
		return &TargetError{Path: path, Reason: "is not a regular file", Hint: elsewhere}
	case !ours:
		return &TargetError{Path: path, Reason: "exists and was not written by this sheet's ledger", Hint: elsewhere}
	case !isResult(path):
		return &TargetError{Path: path, Reason: "was a result file and is something else now", Hint: elsewhere}
	}
	return nil
}

// unusable is the error of a name that can not even be looked at.
func unusable(path, flag string, err error) *TargetError {
	if IsNameTooLong(err) {
		return &TargetError{Path: path, Reason: "the name is too long", Hint: fmt.Sprintf("Name a shorter file with %s.", flag)}
	}
	return &TargetError{Path: path, Reason: Reason(err).Error(), Hint: fmt.Sprintf("Name another file with %s.", flag)}
}

// isResult says whether the header of a file ends in the block of result columns.
func isResult(path string) bool {
	if IsWorkbook(path) {
		return isWorkbookResult(path)
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	r, err := sheet.Open(file, filepath.Base(path), sheet.Options{Path: path, AnyHeader: true})
	if err != nil {
		return false
	}
	defer r.Close()
	return r.Layout().IsResult
}
