package main

import (
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// Every flag that several commands have stands under one heading, and every heading has flags.
func TestFlagsHaveOneGroup(t *testing.T) {
	t.Parallel()
	root := newApp(nil, strings.NewReader(""), io.Discard, io.Discard).rootCommand()
	commands := map[string]int{} // how many have the flag
	for _, c := range root.Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) { commands[f.Name]++ })
	}
	seen := map[string]string{}
	for _, g := range flagGroups() {
		for _, name := range g.flags {
			if other := seen[name]; other != "" {
				t.Errorf("--%s stands under %q and %q", name, other, g.heading)
			}
			if seen[name] = g.heading; commands[name] == 0 && name != "help" {
				t.Errorf("%q has --%s, which no command has", g.heading, name)
			}
		}
	}
	run, _, err := root.Find([]string{"run"})
	must(t, err)
	run.Flags().VisitAll(func(f *pflag.Flag) {
		if seen[f.Name] == "" {
			t.Errorf("--%s of run stands under no heading", f.Name)
		}
	})
}

// Help shows every flag once, and fits into the terminal.
func TestUsageFitsTheTerminal(t *testing.T) {
	t.Parallel()
	root := newApp(nil, strings.NewReader(""), io.Discard, io.Discard).rootCommand()
	for _, c := range append(root.Commands(), root) {
		c.InitDefaultHelpFlag()
		for _, width := range []int{0, 60, 80, 120, 200} {
			text := usage(c, width)
			c.LocalFlags().VisitAll(func(f *pflag.Flag) {
				line := regexp.MustCompile(`(?m)^  (    |-\w, )--` + f.Name + `( |$)`)
				if n := len(line.FindAllString(text, -1)); !f.Hidden && n != 1 {
					t.Errorf("%s, %d columns: --%s stands there %d times", c.Name(), width, f.Name, n)
				}
			})
			_, flags, found := strings.Cut(text, "\n\n")
			if c.HasExample() {
				_, flags, found = strings.Cut(flags, "\n\n")
			}
			if !found {
				t.Errorf("%s, %d columns: no flags in\n%s", c.Name(), width, text)
			}
			for line := range strings.Lines(flags) {
				if line = strings.TrimSuffix(line, "\n"); width > 0 && len(line) > width && !isOfCommand(c, line) {
					t.Errorf("%s, %d columns: a line has %d: %q", c.Name(), width, len(line), line)
				}
			}
		}
	}
	run, _, err := root.Find([]string{"run"})
	must(t, err)
	var headings []string
	for line := range strings.Lines(usage(run, 0)) {
		if strings.HasSuffix(line, ":\n") {
			headings = append(headings, strings.TrimSuffix(line, ":\n"))
		}
	}
	if want := []string{"Usage", "Examples", "The sheet", "Before anything is sent", "While it runs", "Files", "What is told"}; !slices.Equal(headings, want) {
		t.Errorf("run's help has the headings %q, want %q", headings, want)
	}
}

// isOfCommand says whether a line of help is about a command, which is not wrapped.
func isOfCommand(c *cobra.Command, line string) bool {
	return slices.ContainsFunc(c.Commands(), func(sub *cobra.Command) bool { return strings.HasPrefix(line, "  "+sub.Name()+" ") })
}

// On a terminal a run tells in words what is logged elsewhere, and the words of results have
// colours unless somebody wants none.
func TestRunOnATerminal(t *testing.T) {
	t.Parallel()
	const words, log, green = "sheet read: rows 1\n", "msg=", "\x1b[32mdone\x1b[0m"
	for name, tt := range map[string]struct {
		terminal bool
		env      map[string]string
		says     string
		never    []string
	}{
		"terminal":   {true, map[string]string{"TERM": "xterm-256color"}, green, []string{log}},
		"no colours": {true, map[string]string{"TERM": "xterm-256color", "NO_COLOR": "1"}, words, []string{log, green}},
		"dumb":       {true, map[string]string{"TERM": "dumb"}, words, []string{log, "\x1b"}},
		"file":       {false, map[string]string{"TERM": "xterm-256color"}, `msg="sheet read" rows=1`, []string{words, "\x1b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			maps.Copy(r.env, tt.env)
			o := &outside{stdin: strings.NewReader(""), env: r.env, terminal: tt.terminal}
			if code := o.execute(t.Context(), "run", "--yes", r.sheet(lead("revoke", 1))); code != exitDone {
				t.Fatalf("it ended with %d:\n%s", code, o.stderr.String())
			}
			said := o.stderr.String()
			if !strings.Contains(said, tt.says) {
				t.Errorf("it does not say %q:\n%s", tt.says, said)
			}
			for _, never := range tt.never {
				if strings.Contains(said, never) {
					t.Errorf("it says %q:\n%s", never, said)
				}
			}
		})
	}
}
