package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// flagGroup is flags that have to do with one thing, under a heading.
type flagGroup struct {
	heading string
	flags   []string
}

// flagGroups are the groups in the order in which help shows them. A flag that is in none, of
// one command alone, comes before them.
func flagGroups() []flagGroup {
	return []flagGroup{
		{"The sheet", []string{"account", "sheet", "hidden-rows", "header-row", "map", "timezone", "require", "skip-invalid", "allow-empty", "allow-rounded-ids"}},
		{"Before anything is sent", []string{"sandbox", "dry-run", "yes", "approve", "max-rows"}},
		{"While it runs", []string{"limit", "share", "workers", "stop-after-failures", "max-duration", "wait", "confirm", "confirm-timeout", "redo-in-doubt"}},
		{"Files", []string{"config", "output", "ledger", "ledger-file", "fresh", "database", "report", "summary", "metrics-file", "sla"}},
		{"What is told", []string{"progress", "quiet", "log-format", "log-level", "help"}},
	}
}

// fewFlags is up to how many flags a command shows in one list.
const fewFlags = 10

// usage returns how a command is called, for a terminal of that width, 0 for any.
func usage(c *cobra.Command, width int) string {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if c.Runnable() && c.HasParent() {
		fmt.Fprintf(&b, "  %s\n", c.UseLine())
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s COMMAND\n", c.CommandPath())
	}
	if c.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", c.Example)
	}
	if c.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				fmt.Fprintf(&b, "  %-*s %s\n", c.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	flags := c.LocalFlags()
	var own, named []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			own = append(own, f.Name)
		}
	})
	groups := []flagGroup{{"Flags", own}}
	if len(own) > fewFlags {
		groups = flagGroups()
		for _, g := range groups {
			named = append(named, g.flags...)
		}
		groups = append([]flagGroup{{"Of this command", slices.DeleteFunc(own, func(name string) bool { return slices.Contains(named, name) })}}, groups...)
	}
	for _, g := range groups {
		some := pflag.NewFlagSet(g.heading, pflag.ContinueOnError)
		some.SortFlags = false
		for _, name := range g.flags {
			if f := flags.Lookup(name); f != nil && !f.Hidden {
				some.AddFlag(f)
			}
		}
		if some.HasFlags() {
			fmt.Fprintf(&b, "\n%s:\n%s", g.heading, some.FlagUsagesWrapped(width))
		}
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nAbout a command: %s COMMAND --help\n", c.CommandPath())
	}
	return b.String()
}

// leastUsageWidth is how narrow a terminal may be for help to be wrapped: beside the names of
// the flags there is no room for words in a narrower one.
const leastUsageWidth = 60

// usageWidth is the width for help on standard output, 0 where that is no terminal.
func (a *app) usageWidth() int {
	out, ok := a.stdout.(*dataOut)
	if !ok || !a.terminal(out.w) {
		return 0
	}
	file, ok := out.w.(*os.File)
	if !ok {
		return helpWidth
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 {
		return helpWidth
	}
	return max(width, leastUsageWidth)
}
