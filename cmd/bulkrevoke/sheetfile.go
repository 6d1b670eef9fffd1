package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// openFile opens a sheet, and says what is there instead where that can not be. regular
// says that it can be opened and read as often as one likes.
func openFile(ctx context.Context, name string) (file *os.File, regular bool, err error) {
	file, err = within(ctx, func() (*os.File, error) { return os.Open(name) })
	switch {
	case ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, noSuchFile(name)
	case errors.Is(err, fs.ErrPermission):
		return nil, false, refusef("Have its owner let you read it.", "%s: you may not read it", name)
	case err != nil:
		return nil, false, refusef("", "open the sheet: %w", err)
	}
	info, err := file.Stat()
	switch {
	case err != nil || !info.IsDir():
	case strings.EqualFold(filepath.Ext(name), ".numbers"):
		err = refusef("Export it as Excel (.xlsx) or as CSV UTF-8 (File, Export To).", "%s is a spreadsheet of Apple Numbers", name)
	default:
		err = refusef(listSheets(sheetsIn(name)), "%s is a folder, not a sheet", name)
	}
	if err != nil {
		return nil, false, errors.Join(err, file.Close())
	}
	return file, info.Mode().IsRegular(), nil
}

// peek opens a sheet for a look at it before it is read. A pipe is not opened: what is
// read of it would be missing afterwards.
func peek(name string) (*os.File, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.ErrUnsupported}
	}
	return os.Open(name)
}

// lookInto opens a sheet for a look at it before it is read, and says whether there is a
// file to open. see is not called if it is no sheet.
func lookInto(name, worksheet string, see func(*sheet.Reader)) (opened bool) {
	if name == standardInput {
		return false
	}
	file, err := peek(name)
	if err != nil {
		return false
	}
	defer file.Close() // it is only read
	if r, err := sheet.Open(file, name, sheet.Options{Path: name, Sheet: worksheet, AnyHeader: true}); err == nil {
		defer r.Close()
		see(r)
	}
	return true
}

// looksLikeResult says whether a sheet is a result file: by its header, or by its
// name if the sheet itself is gone.
func looksLikeResult(name string) (is bool) {
	if !lookInto(name, "", func(r *sheet.Reader) { is = r.Layout().IsResult }) {
		return strings.Contains(strings.ToLower(name), ".results.")
	}
	return is
}

// within does what may have to wait for somebody else, such as opening a named pipe, or
// reading one. If ctx is done first, that is left to itself and ends with the program:
// it can not be called off.
func within[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// untilDone passes on what is read from in, until ctx is done: a pipe or a terminal may
// say nothing for ever, and a read of it can not be called off. stop gives up what has
// not been read.
func untilDone(ctx context.Context, in io.Reader) (out io.Reader, stop func() error) {
	from, to := io.Pipe()
	go func() {
		_, err := io.Copy(to, in)
		to.CloseWithError(err) // nil is the end
	}()
	given := context.AfterFunc(ctx, func() { to.CloseWithError(context.Cause(ctx)) })
	return from, func() error {
		given()
		return from.Close()
	}
}

// noSuchFile refuses a sheet that is not there and names one that may be meant: with
// another ending, or a slip away.
func noSuchFile(name string) error {
	dir, base := filepath.Split(name)
	if info, err := os.Stat(filepath.Clean(dir)); dir != "" && (err != nil || !info.IsDir()) {
		return refusef("Check the path; it counts from the current folder.", "open the sheet: there is no folder %s, and no %s in it", filepath.Clean(dir), base)
	}
	stem := func(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) }
	sheets := sheetsIn(filepath.Clean(dir))
	near := slices.IndexFunc(sheets, func(s string) bool { return strings.EqualFold(stem(s), stem(base)) || strings.EqualFold(stem(s), base) })
	if near < 0 {
		near = slices.IndexFunc(sheets, func(s string) bool { return sheet.Near(stem(base), stem(s)) != "" })
	}
	hint := listSheets(sheets)
	if near >= 0 {
		hint = fmt.Sprintf("Did you mean %s?", filepath.Join(dir, sheets[near]))
	}
	return refusef(hint, "open the sheet: there is no file %s", name)
}

// listSheets names some of the sheets that are there.
func listSheets(sheets []string) string {
	const most = 5
	if len(sheets) == 0 {
		return "There is no sheet in that folder."
	}
	more := ""
	if n := len(sheets) - most; n > 0 {
		sheets, more = sheets[:most], fmt.Sprintf(" and %d more", n)
	}
	return "The folder has " + strings.Join(sheets, ", ") + more + "."
}

// sheetsIn returns the names of a folder's sheets, without the results of runs.
func sheetsIn(dir string) (names []string) {
	entries, _ := os.ReadDir(dir) // what can not be listed has nothing to offer
	for _, e := range entries {
		isSheet := slices.Contains(sheetEndings, strings.ToLower(filepath.Ext(e.Name())))
		if isSheet && !e.IsDir() && !strings.Contains(e.Name(), ".results.") {
			names = append(names, e.Name())
		}
	}
	return names
}
