package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every command tells its exit codes in its help, and the README has a line of the same
// for each.
func TestHelpAndReadmeTellTheExitCodes(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	must(t, err)
	_, section, _ := strings.Cut(string(readme), "\n## Exit codes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for command, codes := range map[string][]int{
		"run": {0, 1, 2, 3, 4, 129, 130, 143}, "plan": {0, 2, 3, 4, 129, 130, 143}, "results": {0, 2, 3, 4, 129, 130, 143},
		"verify": {0, 1, 2, 3, 4, 129, 130, 143}, "undo": {0, 1, 2, 4, 129, 130, 143}, "sandbox": {0, 2}, "find": {0, 1, 2, 3, 4, 129, 130, 143},
		"check": {0, 2, 3, 4, 129, 130, 143}, "login": {0, 2, 3, 4, 129, 130, 143}, "init": {0, 2}, "help": {0, 2},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{command, "--help"}, strings.NewReader(""), &stdout, &stderr); code != exitDone {
			t.Fatalf("%s --help ended with %d", command, code)
		}
		_, told, ok := strings.Cut(stdout.String(), "\nExit codes: ")
		told, _, _ = strings.Cut(told, "\n\n")
		told = " " + strings.Join(strings.Fields(told), " ")
		for _, code := range codes {
			if !ok || !strings.Contains(told, fmt.Sprintf(" %d ", code)) && !strings.Contains(told, fmt.Sprintf(" %d,", code)) {
				t.Errorf("%s --help does not tell code %d", command, code)
			}
		}
		if command != "run" && !strings.Contains(section, "`"+command+"`") {
			t.Errorf("the README's exit codes do not tell of %s", command)
		}
	}
	for code := range map[int]bool{exitDone: true, exitOpen: true, exitRefused: true, exitStopped: true, exitHeld: true, exitHangup: true} {
		if !strings.Contains(section, fmt.Sprintf("\n| %d", code)) {
			t.Errorf("the README's exit codes lack %d", code)
		}
	}
}

// code finds the codes that rows are given.
var code = regexp.MustCompile(`\b[cC]ode(?:[A-Z]\w*)?(?: *=|:) *"([a-z0-9_]*[a-z0-9])(_?)"`)

// The README tells every code that a row can have and that is not the CRM's own.
func TestReadmeTellsTheCodes(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	must(t, err)
	found := 0
	must(t, filepath.WalkDir(filepath.Join("..", "..", "pkg"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "sandbox") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range code.FindAllStringSubmatch(string(text), -1) {
			word := m[1]
			if m[2] != "" {
				word += "_N"
			}
			if found++; !strings.Contains(string(readme), "`"+word+"`") {
				t.Errorf("the README does not tell the code %s of %s", word, path)
			}
		}
		return err
	}))
	if found < 30 {
		t.Errorf("%d codes were found, want at least 30", found)
	}
}

// No line of the README is wider than an editor.
func TestReadmeLinesFit(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	must(t, err)
	for n, line := range strings.Split(string(readme), "\n") {
		if len([]rune(line)) > 160 {
			t.Errorf("line %d has %d characters, want at most 160", n+1, len([]rune(line)))
		}
	}
}
