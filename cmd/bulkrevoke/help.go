package main

import (
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// helpTexts are the topics: sections of the README, word for word. A test holds that, and
// with -update writes them anew from the README.
//
//go:embed help
var helpTexts embed.FS

// topic is something that help tells of.
type topic struct {
	name    string
	section string // of the README
	short   string
}

func topics() []topic {
	return []topic{
		{"sheet", "The sheet", "the columns of a sheet, and what its rows may say"},
		{"results", "The result", "the columns of a result, and what its words mean"},
		{"exit-codes", "Exit codes", "what a command ends with"},
		{"configuration", "Configuration", "the keys of the configuration, and the environment"},
		{"hosts", "Several hosts", "several hosts on one database, and what becomes of a sheet when one dies"},
		{"faults", "What the CRM may do, and what becomes of the rows", "what becomes of a row when something goes wrong"},
	}
}

// topicNames returns the names of the topics.
func topicNames() (names []string) {
	for _, t := range topics() {
		names = append(names, t.name)
	}
	return names
}

// text returns the topic as a terminal shows it.
func (t topic) text() (string, error) {
	markdown, err := helpTexts.ReadFile("help/" + t.name + ".md")
	return plainText(string(markdown), helpWidth), err
}

// helpWidth is how wide a terminal is that the topics are written for.
const helpWidth = 80

func (a *app) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "help [TOPIC|COMMAND]",
		ValidArgs: topicNames(),
		Short:     "Tell about a topic or a command",
		Long: `Tell about a topic, such as the columns of a sheet, or about a command. Without a word: which topics
there are.

Exit codes: 0 it is told; 2 there is no such topic or command.`,
		Example: `  bulkrevoke help sheet
  bulkrevoke help run`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listTopics(a.stdout, cmd.Root())
			}
			return a.tellTopic(cmd.Root(), args[0])
		},
	}
}

// tellTopic tells of a topic, else of a command.
func (a *app) tellTopic(root *cobra.Command, word string) error {
	commands := commandNames(root)
	i := slices.IndexFunc(topics(), func(t topic) bool { return strings.EqualFold(t.name, word) })
	if i < 0 {
		if c, _, err := root.Find([]string{word}); err == nil && c != root {
			return c.Help()
		}
		names := topicNames()
		return refusef("See `bulkrevoke help`.", "there is no topic %q%s; the topics are %s; the commands are %s",
			word, didYouMean(word, append(slices.Clone(names), commands...)), strings.Join(names, ", "), strings.Join(commands, ", "))
	}
	t := topics()[i]
	text, err := t.text()
	if err != nil {
		return err
	}
	if slices.Contains(commands, t.name) {
		text += fmt.Sprintf("\nAbout the command: bulkrevoke %s --help\n", t.name)
	}
	_, err = io.WriteString(a.stdout, text)
	return err
}

// listTopics lists the topics and the commands.
func listTopics(w io.Writer, root *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Topics, for bulkrevoke help TOPIC:\n")
	for _, t := range topics() {
		fmt.Fprintf(&b, "  %-14s %s\n", t.name, t.short)
	}
	b.WriteString("\nCommands, for bulkrevoke COMMAND --help:\n")
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			fmt.Fprintf(&b, "  %-14s %s\n", c.Name(), c.Short)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// commandNames returns the names of the commands.
func commandNames(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}
