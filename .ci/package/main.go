// Command package makes a .deb and an .rpm of a released binary for Linux, beside the
// binary and under its name. Equal input gives equal packages.
//
//	package BINARY FOLDER SECONDS [VERSION]
//
// FOLDER holds what goes with the binary, as in the release's archives: README.md,
// LICENSE if there is one, samples, completions, man/man1. SECONDS, since 1970, is the
// time that all of the files get. VERSION is the program's version where the linker was
// told one.
//
// It is a module of its own, so that the program's module does not depend on what only
// packaging needs.
package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

const summary = "Take away and give access to CRM records as a spreadsheet asks for"

const description = `bulkrevoke turns a spreadsheet of who must lose, or gain, access to which CRM
record into calls to the CRM (LeadSquared, Zoho CRM), and gives the same
spreadsheet back with what happened to each row. Stopping it at any instant
loses nothing: the same command goes on where it ended. A sandbox is built in,
so that it can be tried without a CRM.`

// docs is where README.md, the samples and the copyright go. The unit for systemd is
// among the samples: it needs a database and keys before it can be started.
const docs = "/usr/share/doc/bulkrevoke"

// noLicence is what the file copyright says as long as the repository has no licence.
const noLicence = `The repository that this package was built from has no licence file. Ask the
authors at %s before you pass the package on.
`

func main() {
	if len(os.Args) != 4 && len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: package BINARY FOLDER SECONDS [VERSION]")
		os.Exit(2)
	}
	version := ""
	if len(os.Args) == 5 {
		version = os.Args[4]
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3], version); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

func write(binary, folder, seconds, version string) error {
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return err
	}
	made, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read build information: %w", err)
	}
	arch := ""
	for _, s := range made.Settings {
		if s.Key == "GOARCH" {
			arch = s.Value // each format has its own name for it, which nfpm knows
		}
	}
	scratch, err := os.MkdirTemp("", "package")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	home := "https://" + made.Main.Path
	for _, format := range []string{"deb", "rpm"} {
		l := layout{at: time.Unix(at, 0).UTC(), folder: folder, scratch: scratch}
		contents, err := l.contents(binary, format, home)
		if err != nil {
			return err
		}
		info := nfpm.WithDefaults(&nfpm.Info{
			Name: "bulkrevoke", Arch: arch, Platform: "linux",
			Version: packageVersion(cmp.Or(version, made.Main.Version)), VersionSchema: "none",
			Section: "admin", Priority: "optional", Description: description, Homepage: home,
			// Nobody's address: questions go to the home page.
			Maintainer: "The bulkrevoke authors <bulkrevoke@example.invalid>",
			License:    "see " + docs + "/copyright",
			MTime:      l.at, DisableGlobbing: true,
			Overridables: nfpm.Overridables{
				Contents: contents,
				// The binary is static and knows the time zones.
				Recommends: []string{"ca-certificates"},
				RPM:        nfpm.RPM{BuildHost: "localhost", Summary: summary},
			},
		})
		if format == "deb" {
			info.Description = summary + "\n" + description
		}
		packager, err := nfpm.Get(format)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := packager.Package(info, &out); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
		if err := os.WriteFile(binary+"."+format, out.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A layout says where in the system each file goes.
type layout struct {
	at      time.Time
	folder  string // what goes with the binary
	scratch string // for what is made here
	list    files.Contents
	err     error
}

func (l *layout) contents(binary, format, home string) (files.Contents, error) {
	zsh := "/usr/share/zsh/site-functions"
	if format == "deb" {
		zsh = "/usr/share/zsh/vendor-completions"
	}
	l.add(binary, "/usr/bin/bulkrevoke", 0o755)
	for completion, to := range map[string]string{
		"bulkrevoke.bash": "/usr/share/bash-completion/completions/bulkrevoke",
		"_bulkrevoke":     zsh + "/_bulkrevoke",
		"bulkrevoke.fish": "/usr/share/fish/vendor_completions.d/bulkrevoke.fish",
	} {
		l.add(filepath.Join(l.folder, "completions", completion), to, 0o644)
		// Who has no such shell has no such folders either.
		l.dir(path.Dir(to))
		l.dir(path.Dir(path.Dir(to)))
	}
	l.each("man/man1", func(name, file string) {
		text, err := os.ReadFile(file)
		l.err = errors.Join(l.err, err)
		l.make("/usr/share/man/man1/"+name+".gz", packed(text))
	})
	l.dir(docs)
	l.add(filepath.Join(l.folder, "README.md"), docs+"/README.md", 0o644)
	l.dir(docs + "/samples")
	l.each("samples", func(name, file string) { l.add(file, docs+"/samples/"+name, 0o644) })
	licence, err := os.ReadFile(filepath.Join(l.folder, "LICENSE"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		licence = fmt.Appendf(nil, noLicence, home)
	case err != nil:
		return nil, err
	}
	l.make(docs+"/copyright", licence)
	return l.list, l.err
}

// add puts a file into the package.
func (l *layout) add(file, to string, mode fs.FileMode) {
	l.list = append(l.list, &files.Content{
		Source: file, Destination: to, Type: files.TypeFile,
		FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: l.at},
	})
}

// make puts a file with the text into the package.
func (l *layout) make(to string, text []byte) {
	file := filepath.Join(l.scratch, path.Base(to))
	l.err = errors.Join(l.err, os.WriteFile(file, text, 0o644))
	l.add(file, to, 0o644)
}

// dir makes a folder the package's own, which others may share, so that an empty one goes
// with the package.
func (l *layout) dir(to string) {
	l.list = append(l.list, &files.Content{
		Destination: to, Type: files.TypeDir,
		FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: 0o755, MTime: l.at},
	})
}

// each calls do with each file of a folder, of which there must be some.
func (l *layout) each(folder string, do func(name, file string)) {
	from := filepath.Join(l.folder, filepath.FromSlash(folder))
	entries, err := os.ReadDir(from)
	if err == nil && len(entries) == 0 {
		err = fmt.Errorf("%s is empty", from)
	}
	l.err = errors.Join(l.err, err)
	for _, e := range entries {
		do(e.Name(), filepath.Join(from, e.Name()))
	}
}

// packed returns the text compressed with gzip, without a name and a time.
func packed(text []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // only a level that does not exist is an error
	}
	// Writing to memory does not fail.
	w.Write(text)
	w.Close()
	return out.Bytes()
}

var number = regexp.MustCompile(`^v?([0-9][0-9A-Za-z.]*)`)

// packageVersion returns the version as both Debian and RPM compare it. What comes before
// a release (v1.2.0-rc.1, or a commit that Go gives a version) gets a ~, which sorts
// before nothing at all; a version must begin with a digit and have no hyphen.
func packageVersion(version string) string {
	version, build, _ := strings.Cut(version, "+")
	release, before, _ := strings.Cut(version, "-")
	if m := number.FindStringSubmatch(release); m != nil {
		release = m[1]
	} else {
		release, before = "0", version // a name, such as nightly
	}
	out := release
	if strings.HasPrefix(before, "0.") {
		out += "~" // Go's name for a commit before any rc.1; rpm would put a digit after letters
	}
	if before != "" {
		out += "~" + strings.ReplaceAll(before, "-", ".")
	}
	if build != "" {
		out += "+" + strings.NewReplacer("-", ".", "+", ".").Replace(build)
	}
	return out
}
