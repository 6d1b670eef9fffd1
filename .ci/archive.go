// Command archive writes the files of a folder to standard output as a tar archive,
// compressed with gzip: equal files give equal bytes.
//
//	go run .ci/archive.go FOLDER SECONDS
//
// SECONDS, since 1970, is the time that all of the files get.
package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: archive FOLDER SECONDS")
		os.Exit(2)
	}
	if err := write(os.Stdout, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "archive:", err)
		os.Exit(1)
	}
}

func write(w io.Writer, folder, seconds string) error {
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(folder) // by name
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return errors.New("the folder is empty")
	}
	packed := gzip.NewWriter(w)
	out := tar.NewWriter(packed)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		header := &tar.Header{
			Name: filepath.Base(folder) + "/" + e.Name(), Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(at, 0).UTC(), Format: tar.FormatUSTAR,
		}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		if _, err := out.Write(text); err != nil {
			return err
		}
	}
	return errors.Join(out.Close(), packed.Close())
}
