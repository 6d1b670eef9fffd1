//go:build !manpages

package main

import "github.com/spf13/cobra"

// buildCommands are commands of those who build releases; no release has them.
func (a *app) buildCommands() []*cobra.Command { return nil }
