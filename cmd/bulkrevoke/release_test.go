package main

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// repository returns the path of a file of the repository.
func repository(name string) string { return filepath.Join("..", "..", name) }

// instructions returns the Dockerfile's instructions, a line each.
func instructions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(repository("Dockerfile"))
	must(t, err)
	var lines []string
	open := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		part, more := strings.CutSuffix(line, `\`)
		part = strings.TrimSpace(part)
		if open {
			lines[len(lines)-1] += " " + part
		} else {
			lines = append(lines, part)
		}
		open = more
	}
	return lines
}

// TestDockerfile holds the image to what is promised of it, as far as reading it
// can.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	lines := instructions(t)
	last := slices.Index(lines, "FROM scratch")
	stages := slices.IndexFunc(lines[1:], func(l string) bool { return strings.HasPrefix(l, "FROM ") }) + 1
	if last < 0 || stages != last {
		t.Fatalf("the image is not one build stage and then FROM scratch:\n%s", strings.Join(lines, "\n"))
	}
	build, image := strings.Join(lines[:last], "\n"), strings.Join(lines[last:], "\n")
	for _, want := range []string{
		"FROM golang:" + goLine(t) + " AS build",
		"CGO_ENABLED=0 go build -trimpath -buildvcs=true", "-X main.version=${VERSION}", "-o /image/bulkrevoke ./cmd/bulkrevoke",
		"chmod 1777 /image/state /image/tmp", "cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/",
	} {
		if !strings.Contains(build, want) {
			t.Errorf("the build stage has no %q", want)
		}
	}
	want := `FROM scratch
COPY --from=build /image/ /
ENV BULKREVOKE_STATE=/state TMPDIR=/tmp
VOLUME ["/state", "/tmp"]
WORKDIR /data
USER 65532:65532
ENTRYPOINT ["/bulkrevoke"]`
	if diff := cmp.Diff(want, image); diff != "" {
		t.Errorf("the image (-want +got):\n%s", diff)
	}
}

// goLine returns the line of Go releases that go.mod asks for, such as 1.26.
func goLine(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(repository("go.mod"))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if version, ok := strings.CutPrefix(line, "go "); ok {
			return strings.Join(strings.Split(strings.TrimSpace(version), ".")[:2], ".")
		}
	}
	t.Fatal("go.mod names no version of Go")
	return ""
}

// TestDockerignore makes sure that people's sheets stay out of the build, and
// that everything under version control gets into it: what lacks there would make
// the version in the image say that the repository was changed.
func TestDockerignore(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(repository(".dockerignore"))
	must(t, err)
	var taken, left []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, ok := strings.CutPrefix(line, "!")
		switch {
		case line == "" || line[0] == '#':
		case ok:
			taken = append(taken, name)
		default:
			left = append(left, line)
		}
	}
	if len(left) == 0 || left[0] != "*" {
		t.Fatalf("not everything is left out to begin with: %q", left)
	}
	// Commit and date of --version come from .git.
	for _, name := range []string{".git", ".ci", "cmd", "pkg", "samples", "go.mod", "go.sum", "Dockerfile", "README.md"} {
		if !slices.Contains(taken, name) {
			t.Errorf("%s is left out", name)
		}
	}
	cmd := exec.Command("git", "ls-files")
	cmd.Dir = repository("")
	out, err := cmd.Output()
	if err != nil {
		t.Logf("not in a repository, its files are not compared: %v", err)
	}
	for file := range strings.Lines(string(out)) {
		file = strings.TrimSpace(file)
		top, _, _ := strings.Cut(file, "/")
		if !slices.Contains(taken, top) {
			t.Errorf("%s is left out", file)
		}
		for _, pattern := range left[1:] {
			if match, err := filepath.Match(pattern, file); err != nil || match {
				t.Errorf("%s is left out by %s (%v)", file, pattern, err)
			}
		}
	}
}

// TestRelease runs the release script on a repository whose program is small, from
// two places under two environments: the bytes must be the same, the checksums
// theirs, the archives whole, and the program must know its version. A stand-in makes the
// packages for Linux: nfpm needs modules that the program does not, and .ci/run builds,
// compares and installs the real ones.
func TestRelease(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	first, second := filepath.Join(work, "first"), filepath.Join(work, "a second", "place")
	smallRepository(t, first)
	inShell(t, work, nil, "git", "clone", "--quiet", first, second)
	must(t, os.WriteFile(filepath.Join(second, "cmd", "bulkrevoke", "stray.go"), []byte("not Go"), 0o600))

	platforms := slices.Compact([]string{runtime.GOOS + "/" + runtime.GOARCH, "windows/amd64"})
	inShell(t, first, nil, "bash", append([]string{".ci/release", filepath.Join(work, "out1")}, platforms...)...)
	inShell(t, work, []string{"GOFLAGS=-buildvcs=false", "GOOS=plan9", "CGO_ENABLED=1", "LC_ALL=C.UTF-8"},
		"bash", append([]string{filepath.Join(second, ".ci", "release"), "out2"}, platforms...)...)
	if diff := cmp.Diff(folder(t, filepath.Join(work, "out1")), folder(t, filepath.Join(work, "out2"))); diff != "" {
		t.Errorf("two releases of one commit differ (-first +second):\n%s", diff)
	}

	name := "bulkrevoke-" + runtime.GOOS + "-" + runtime.GOARCH
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	files := folder(t, filepath.Join(work, "out1"))
	listed := 0
	for line := range strings.Lines(files["SHA256SUMS"]) {
		sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		listed++
		if got := sha256.Sum256([]byte(files[file])); hex.EncodeToString(got[:]) != sum {
			t.Errorf("SHA256SUMS has %s for %q, which is %x", sum, file, got)
		}
	}
	if listed != len(files)-1 || listed < 3*len(platforms) {
		t.Errorf("SHA256SUMS lists %d of %d files", listed, len(files)-1)
	}
	for _, platform := range platforms {
		checkArchive(t, files, strings.ReplaceAll("bulkrevoke-"+platform, "/", "-"))
	}
	if runtime.GOOS == "linux" {
		if want := "README.md completions man samples at 1"; !strings.HasPrefix(files[name+".deb"], want) || !strings.HasSuffix(files[name+".deb"], " v1.2.3") {
			t.Errorf("the package is made of %q, want %q and the version", files[name+".deb"], want)
		}
	}
	listing := inShell(t, work, nil, "tar", "-xOzf", filepath.Join(work, "out1", "bulkrevoke-man.tar.gz"), "man1/small.1")
	if !strings.HasPrefix(listing, "small v1.2.3 of 1") {
		t.Errorf("the man page is %q", listing)
	}
	if out := inShell(t, work, nil, filepath.Join(work, "out1", name)); out != "v1.2.3" {
		t.Errorf("the program says it is %q, want v1.2.3, the commit's tag", out)
	}
	info, err := buildinfo.ReadFile(filepath.Join(work, "out1", name))
	must(t, err)
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	head := strings.TrimSpace(inShell(t, first, nil, "git", "rev-parse", "HEAD"))
	for key, want := range map[string]string{"-trimpath": "true", "CGO_ENABLED": "0", "vcs.revision": head, "vcs.modified": "false"} {
		if settings[key] != want {
			t.Errorf("the binary was built with %s %q, want %q", key, settings[key], want)
		}
	}
	var b sbom
	must(t, json.Unmarshal([]byte(files[name+".cdx.json"]), &b))
	if b.Metadata.Component.Version != "v1.2.3" || b.Metadata.Timestamp != settings["vcs.time"] {
		t.Errorf("the SBOM is of version %q of %q", b.Metadata.Component.Version, b.Metadata.Timestamp)
	}
}

// checkArchive holds a platform's archive to what belongs into it.
func checkArchive(t *testing.T, released map[string]string, name string) {
	t.Helper()
	type entry struct {
		mode fs.FileMode
		text string
	}
	got := map[string]entry{}
	program, binary := "bulkrevoke", name
	if packed := released[name+".zip"]; packed != "" {
		program, binary = "bulkrevoke.exe", name+".exe"
		archive, err := zip.NewReader(strings.NewReader(packed), int64(len(packed)))
		must(t, err)
		for _, f := range archive.File {
			in, err := f.Open()
			must(t, err)
			text, err := io.ReadAll(in)
			must(t, err)
			got[f.Name] = entry{f.Mode(), string(text)}
		}
	} else {
		unpacked, err := gzip.NewReader(strings.NewReader(released[name+".tar.gz"]))
		must(t, err)
		archive := tar.NewReader(unpacked)
		for {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			text, err := io.ReadAll(archive)
			must(t, err)
			got[header.Name] = entry{header.FileInfo().Mode(), string(text)}
		}
	}
	if released[binary] == "" {
		t.Fatalf("%s was not released", binary)
	}
	want := map[string]entry{
		name + "/" + program:                  {0o755, released[binary]},
		name + "/README.md":                   {0o644, "small"},
		name + "/samples/one.csv":             {0o644, "a,b\r\n"},
		name + "/man/man1/small.1":            {0o644, got[name+"/man/man1/small.1"].text},
		name + "/completions/bulkrevoke.bash": {0o644, "for bash"},
		name + "/completions/_bulkrevoke":     {0o644, "for zsh"},
		name + "/completions/bulkrevoke.fish": {0o644, "for fish"},
		name + "/completions/bulkrevoke.ps1":  {0o644, "for powershell"},
	}
	for file := range got {
		if _, ok := want[file]; !ok {
			t.Errorf("the archive %s has a file %s", name, file)
		}
	}
	for file, w := range want {
		if g, ok := got[file]; !ok || g != w {
			t.Errorf("in the archive %s, %s has mode %v and %d bytes, want %v and %d", name, file, g.mode, len(g.text), w.mode, len(w.text))
		}
	}
}

// TestReleaseRefuses holds the script to leaving alone what it can not build.
func TestReleaseRefuses(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	must(t, os.WriteFile(filepath.Join(full, "bulkrevoke-linux-amd64"), nil, 0o600))
	for _, tc := range []struct {
		args []string
		env  string
		want string
	}{
		{nil, "", "usage"},
		{[]string{full}, "", "is not empty"},
		{[]string{filepath.Join(t.TempDir(), "out")}, "VERSION=1.0 -extldflags=-evil", "is not a version"},
	} {
		cmd := exec.Command("bash", append([]string{".ci/release"}, tc.args...)...)
		dir := t.TempDir()
		smallRepository(t, dir)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), tc.env)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), tc.want) {
			t.Errorf("release %q with %q: %v, %q, want something with %q", tc.args, tc.env, err, out, tc.want)
		}
	}
}

// smallProgram says its version, writes a man page into the folder that it is given, and
// completions to standard output.
const smallProgram = `package main

import "os"

var version string

func main() {
	if len(os.Args) == 3 && os.Args[1] == "man" {
		page := "small " + version + " of " + os.Getenv("SOURCE_DATE_EPOCH")
		if os.WriteFile(os.Args[2]+"/small.1", []byte(page), 0o600) != nil {
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "completion" {
		os.Stdout.WriteString("for " + os.Args[2])
		return
	}
	print(version)
}
`

// smallPackage writes what it was given in place of the packages.
const smallPackage = `package main

import "os"

func main() {
	binary, folder, seconds, version := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	text := ""
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		text += e.Name() + " "
	}
	text += "at " + seconds + " " + version
	for _, format := range []string{"deb", "rpm"} {
		if err == nil {
			err = os.WriteFile(binary+"."+format, []byte(text), 0o600)
		}
	}
	if err != nil {
		panic(err)
	}
}
`

// smallRepository makes a tagged repository of a program that prints its version,
// with the release script of this one.
func smallRepository(t *testing.T, dir string) {
	t.Helper()
	for name, text := range map[string]string{
		"go.mod":                 "module example.com/small\n\ngo " + goLine(t) + ".0\n",
		"cmd/bulkrevoke/main.go": smallProgram,
		".ci/package/go.mod":     "module example.com/small/package\n\ngo " + goLine(t) + ".0\n",
		".ci/package/main.go":    smallPackage,
		"README.md":              "small",
		"samples/.gitattributes": "* -text\n",
		"samples/one.csv":        "a,b\r\n",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	for _, name := range []string{"release", "sbom.go", "archive.go"} {
		text, err := os.ReadFile(repository(filepath.Join(".ci", name)))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, ".ci", name), text, 0o700))
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "."}, {"commit", "--quiet", "-m", "small"}, {"tag", "v1.2.3"}} {
		inShell(t, dir, nil, "git", args...)
	}
}

// inShell runs a program in a folder, with the environment and what is added to
// it, and returns what it wrote.
func inShell(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "VERSION=",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// folder returns the files of a folder by name.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	files := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		files[e.Name()] = string(data)
	}
	return files
}

// sbom is what a test looks at in a CycloneDX bill of materials.
type sbom struct {
	BOMFormat, SpecVersion string
	Metadata               struct {
		Timestamp string
		Component struct {
			Name, Version string
			Hashes        []struct{ Alg, Content string }
		}
	}
	Components []struct{ Name, Version, PURL string }
}

// TestSBOM holds the bill of the program to the modules that its binary names.
func TestSBOM(t *testing.T) {
	t.Parallel()
	path, err := program()
	must(t, err)
	cmd := exec.Command("go", "run", repository(filepath.Join(".ci", "sbom.go")), path, "1.2.3")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	must(t, err)
	var b sbom
	must(t, json.Unmarshal(out, &b))
	data, err := os.ReadFile(path)
	must(t, err)
	sum := sha256.Sum256(data)
	c := b.Metadata.Component
	if b.BOMFormat != "CycloneDX" || c.Name != "bulkrevoke" || c.Version != "1.2.3" || c.Hashes[0].Content != hex.EncodeToString(sum[:]) {
		t.Errorf("the bill is %s %s of %+v, want it of bulkrevoke 1.2.3 with SHA-256 %x", b.BOMFormat, b.SpecVersion, c, sum)
	}
	var want, got []string
	listing, err := exec.Command("go", "version", "-m", path).Output()
	must(t, err)
	for in := bufio.NewScanner(bytes.NewReader(listing)); in.Scan(); {
		if words := strings.Fields(in.Text()); words[0] == "dep" {
			want = append(want, words[1]+" "+words[2])
		}
	}
	for _, c := range b.Components {
		got = append(got, c.Name+" "+c.Version)
		if c.PURL != "pkg:golang/"+strings.ToLower(c.Name)+"@"+strings.ReplaceAll(c.Version, "+", "%2B") {
			t.Errorf("%s %s has the package URL %s", c.Name, c.Version, c.PURL)
		}
	}
	want = append(want, "std "+strings.TrimPrefix(runtime.Version(), "go"))
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 10 {
		t.Errorf("components (-named in the binary +in the bill):\n%s", diff)
	}
}
