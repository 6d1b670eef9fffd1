//go:build manpages

package main

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// buildCommands are commands of those who build releases; no release has them.
func (a *app) buildCommands() []*cobra.Command { return []*cobra.Command{a.manCommand()} }

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man FOLDER",
		Short:  "Write a man page for each command, of the day in SOURCE_DATE_EPOCH",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
			if err != nil {
				return refusef("Set it to seconds since 1970, such as those of the commit.", "SOURCE_DATE_EPOCH is %q", os.Getenv("SOURCE_DATE_EPOCH"))
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{
				Section: "1", Manual: "bulkrevoke", Source: strings.TrimSpace("bulkrevoke " + version), Date: new(time.Unix(seconds, 0).UTC()),
			}, args[0])
		},
	}
}
