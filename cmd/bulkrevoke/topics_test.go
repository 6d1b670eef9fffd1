package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

var update = flag.Bool("update", false, "write the topics of help anew, from the README")

// The topics that the program tells are the README's sections, word for word.
func TestTopicsAreTheReadmes(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	must(t, err)
	for _, topic := range topics() {
		heading := "## " + topic.section + "\n"
		_, section, found := strings.Cut(string(readme), "\n"+heading)
		if !found {
			t.Errorf("the README has no section %q", topic.section)
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		want := heading + section
		path := filepath.Join("help", topic.name+".md")
		if *update {
			must(t, os.WriteFile(path, []byte(want), 0o644))
		}
		got, err := os.ReadFile(path)
		must(t, err)
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not the README's section; go test ./cmd/bulkrevoke -run TestTopics -update makes it so (-README +file):\n%s", path, diff)
		}
	}
}

// A topic is told as text for 80 columns, without Markdown.
func TestHelpTopics(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	list := r.runs(exitDone, "help").stdout
	noise := regexp.MustCompile("`|\\*\\*|\\|-|^#|\\\\\\||\x00")
	for _, topic := range topics() {
		if !strings.Contains(list, "  "+topic.name+" ") {
			t.Errorf("help does not list %s:\n%s", topic.name, list)
		}
		text := r.runs(exitDone, "help", strings.ToUpper(topic.name)).stdout
		if !strings.HasPrefix(text, strings.ToUpper(topic.section)+"\n\n") || len(text) < 1000 {
			t.Errorf("%s begins with %q and has %d bytes", topic.name, text[:min(len(text), 40)], len(text))
		}
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if len([]rune(line)) > helpWidth && len(strings.Fields(line)) > 1 {
				t.Errorf("%s: a line has %d characters: %q", topic.name, len([]rune(line)), line)
			}
			if noise.MatchString(line) || strings.HasSuffix(line, " ") {
				t.Errorf("%s: %q", topic.name, line)
			}
		}
	}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"help", "results"}, exitDone, "\nAbout the command: bulkrevoke results --help\n"},
		{[]string{"help", "plan"}, exitDone, "bulkrevoke plan SHEET"},
		{[]string{"help", "exit-code"}, exitRefused, `no topic "exit-code"; did you mean exit-codes?; the topics are sheet, results,`},
		{[]string{"help", "verfy"}, exitRefused, "did you mean verify?"},
		{[]string{"--help"}, exitDone, "bulkrevoke help"},
	} {
		if got := r.runs(tc.code, tc.args...); !strings.Contains(got.stdout+got.stderr, tc.want) {
			t.Errorf("%q does not say %q:\n%s", tc.args, tc.want, got.stdout+got.stderr)
		}
	}
}

func TestPlainText(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ markdown, want string }{
		"paragraphs": {"One `code` and **bold**\nthat go on for long.\n\nTwo [link](a.md).", "One code and bold that go on\nfor long.\n\nTwo link (a.md).\n"},
		"list":       {"Before:\n* one that is longer than the\n  line\n* two", "Before:\n\n* one that is longer than\n  the line\n* two\n"},
		"numbers":    {"1. one that is longer than the\n   line\n2. two", "1. one that is longer than\n   the line\n2. two\n"},
		"code":       {"```sh run\nls  -l\n```\nAfter", "    ls  -l\n\nAfter\n"},
		"narrow":     {"| A | B |\n|---|---|\n| `a` | one that is longer than it |\n| bcd | `x\\|y` |", "  a    one that is longer\n       than it\n  bcd  x|y\n"},
		"wide": {"| Key | Default | |\n|---|---|---|\n| `a` | 1 | one |\n| b | | two that is longer |",
			"Key:\n\n  a\n      Default: 1\n      one\n\n  b\n      two that is longer\n"},
		"folded":  {"<details><summary>The `a`</summary>\n\n| A | B |\n|---|---|\n| a | b |\n\n</details>\n\nAfter", "The a:\n\n  a  b\n\nAfter\n"},
		"heading": {"## The *sheet*\n\ntext", "THE *SHEET*\n\ntext\n"},
		"nothing": {"", ""},
	} {
		if diff := cmp.Diff(tt.want, plainText(tt.markdown, 28)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
