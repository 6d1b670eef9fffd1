// Command archive packs the files of a folder, and of the folders in it, into a file:
// equal files give equal bytes.
//
//	go run .ci/archive.go FILE FOLDER SECONDS
//
// FILE ends with .tar.gz or .zip. The names in it begin with that of the folder.
// SECONDS, since 1970, is the time that all of the files get. The program itself, at the
// top of the folder, can be executed, whatever the file system here says.
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: archive FILE FOLDER SECONDS")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "archive:", err)
		os.Exit(1)
	}
}

// file is a file of the folder, under its name in the archive.
type file struct {
	name string
	mode fs.FileMode
	text []byte
}

func write(name, folder, seconds string) error {
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return err
	}
	files, err := read(folder)
	if err != nil {
		return err
	}
	pack := packTar
	if strings.HasSuffix(name, ".zip") {
		pack = packZip
	}
	var out bytes.Buffer
	if err := pack(&out, files, time.Unix(at, 0).UTC()); err != nil {
		return err
	}
	return os.WriteFile(name, out.Bytes(), 0o644)
}

// read returns the files of the folder by name.
func read(folder string) ([]file, error) {
	var files []file
	root := os.DirFS(folder)
	err := fs.WalkDir(root, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if name == "bulkrevoke" || name == "bulkrevoke.exe" {
			mode = 0o755
		}
		files = append(files, file{path.Join(filepath.Base(folder), name), mode, text})
		return nil
	})
	if err == nil && len(files) == 0 {
		err = errors.New("the folder is empty")
	}
	return files, err
}

func packTar(w io.Writer, files []file, at time.Time) error {
	packed := gzip.NewWriter(w)
	out := tar.NewWriter(packed)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: int64(f.mode), Size: int64(len(f.text)), ModTime: at, Format: tar.FormatUSTAR}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		if _, err := out.Write(f.text); err != nil {
			return err
		}
	}
	return errors.Join(out.Close(), packed.Close())
}

func packZip(w io.Writer, files []file, at time.Time) error {
	out := zip.NewWriter(w)
	for _, f := range files {
		header := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: at}
		header.SetMode(f.mode)
		entry, err := out.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := entry.Write(f.text); err != nil {
			return err
		}
	}
	return out.Close()
}
