package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// dataOut is standard output, for the data that a command was asked for. Where nobody
// reads it any more (head has had its line, the terminal is closed), the rest is thrown
// away and the command comes to its end; data that can not be written otherwise, to a
// full disk for one, is an error.
type dataOut struct {
	w    io.Writer
	gone bool
}

func (o *dataOut) Write(p []byte) (int, error) {
	if o.gone {
		return len(p), nil
	}
	n, err := o.w.Write(p)
	switch {
	case err == nil:
		return n, nil
	case readerGone(o.w, err):
		o.gone = true
		return len(p), nil
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	return n, &startedError{fmt.Errorf("standard output: the %w: %w", errNotShown, err)}
}

// errNotShown says that data that was asked for has not arrived.
var errNotShown = errors.New("data could not be written")

// readerGone reports whether a write failed because nobody is there to read.
func readerGone(w io.Writer, err error) bool {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return true
	}
	if runtime.GOOS == "windows" { // ERROR_BROKEN_PIPE and ERROR_NO_DATA
		return errors.Is(err, syscall.Errno(109)) || errors.Is(err, syscall.Errno(232))
	}
	file, ok := w.(*os.File)
	if !ok || !errors.Is(err, syscall.EIO) {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0 // a terminal that has been closed
}
