package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// app is one execution of the program: the outside world as it sees it.
type app struct {
	args   []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	shown  *report.Detached // stderr, which may go away
	screen *report.Screen   // on shown: all that goes to stderr
	lookup func(string) (string, bool)
	// environ returns the environment, each variable as NAME=value.
	environ func() []string
	// terminal says whether a stream is one.
	terminal func(stream any) bool

	crms  kinds
	opts  *options
	cfg   config
	log   *slog.Logger
	sheet string // as given, for messages
	code  int    // what the command has come to, if it ended without an error
	// runEnded, of a run, is the last that machines are told, with the exit code.
	runEnded func(code int) report.Event

	// What the answer to a signal needs, which comes in a goroutine of its own.
	working atomic.Pointer[batch.Batch] // once there is one
	serving atomic.Bool                 // a signal is how the command is meant to end
}

func newApp(args []string, stdin io.Reader, stdout, stderr io.Writer) *app {
	shown := report.NewDetached(stderr)
	screen := report.NewScreen(shown)
	shown.Missed = screen.Missed
	return &app{
		args: args, stdin: stdin, stdout: &dataOut{w: stdout}, stderr: stderr, shown: shown, screen: screen,
		lookup: os.LookupEnv, environ: os.Environ, terminal: isTerminal, crms: knownCRMs(), opts: newOptions(), log: slog.New(slog.DiscardHandler),
	}
}

// execute runs the command line and returns the exit code.
func (a *app) execute(ctx context.Context) int {
	if a.wantsJSON() {
		a.screen.UseJSON()
	}
	ctx, stop := a.telling(ctx)
	defer a.shown.Flush()
	defer stop()
	root := a.rootCommand()
	root.SetArgs(a.args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.screen)
	cmd, err := root.ExecuteContextC(ctx)
	code := a.code
	if err != nil {
		if a.runEnded == nil && cmd.Name() == "run" { // it was refused before anything else
			err = a.refused(ctx, err)
		}
		code = printError(a.screen, a.sheet, err)
	}
	if a.runEnded != nil && !a.opts.quiet {
		a.screen.Tell(a.runEnded(code))
	}
	return code
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "bulkrevoke",
		Short: "Take away and give access to CRM records as a spreadsheet asks for",
		Long: `bulkrevoke turns a spreadsheet of who must lose, or gain, access to which CRM record into
calls to the CRM, and gives the same spreadsheet back with what happened to each row.

Stopping it at any instant loses nothing: the same command goes on where it ended.`,
		Example: `  bulkrevoke run --sandbox samples/offboarding.csv   try it out, nothing leaves this machine
  bulkrevoke plan offboarding.csv                    look before
  bulkrevoke run offboarding.csv                     do it`,
		Version:       programVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(a.flagError)
	root.SetVersionTemplate("bulkrevoke {{.Version}}\n")
	root.AddCommand(a.runCommand(), a.planCommand(), a.resultsCommand(), a.verifyCommand(), a.undoCommand(), a.sandboxCommand())
	return root
}

func (a *app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run SHEET",
		Short: "Do what the sheet asks for: check, plan, execute, confirm, write results",
		Long: `Check every row, show what would be done, do it, ask the CRM whether it is really so, and
write SHEET.results.csv beside the sheet. SHEET is a .csv, .tsv, .txt or
.xlsx file, or - for standard input.

Every flag can be given as an environment variable too (--skip-invalid as BULKREVOKE_SKIP_INVALID)
or in the configuration (skip-invalid: true).

Exit codes: 0 every row is done or unchanged; 1 some rows are failed, invalid, in doubt or
unconfirmed; 2 refused, nothing was sent; 3 stopped early, run again to go on; 4 another run or
program is at it; 129, 130 and 143 interrupted by SIGHUP, SIGINT or SIGTERM, run again to go on.`,
		Example: `  bulkrevoke run --sandbox samples/offboarding.csv
  bulkrevoke run offboarding.csv
  bulkrevoke run --account sales-eu --skip-invalid offboarding.csv -o done/offboarding.csv
  query-leavers | bulkrevoke run - -o leavers.csv --ledger leavers.ledger.db`,
		Args: a.oneSheet,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.settle(cmd); err != nil {
				return err
			}
			if a.opts.dryRun {
				return a.planSheet(cmd.Context(), args[0])
			}
			return a.runSheet(cmd.Context(), args[0])
		},
	}
	a.opts.addRunFlags(cmd.Flags())
	return cmd
}

func (a *app) planCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan SHEET",
		Short: "Check the sheet and show what run would do; send no change, leave no file",
		Long: `Check every row, ask the CRM who is who, and show what run would send, what is done already and
how long it will take. No change is sent and no file is left. The flags are those of run.

Exit codes: 0 the plan is shown; 2 refused, as run would be; 3 an account can not be worked with, or
the plan could not be written; 4 another run is at it; 129, 130 and 143 interrupted.`,
		Example: `  bulkrevoke plan offboarding.csv
  bulkrevoke plan --json offboarding.csv | jq .to_send`,
		Args: a.oneSheet,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.settle(cmd); err != nil {
				return err
			}
			return a.planSheet(cmd.Context(), args[0])
		},
	}
	a.opts.addRunFlags(cmd.Flags())
	cmd.Flags().BoolVar(&a.opts.json, "json", false, "write the plan as JSON")
	return cmd
}

func (a *app) resultsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "results SHEET",
		Short: "Write the result file from the ledger, also during a run",
		Long: `Write SHEET.results.csv again from the ledger, with what is known by now. It may be called while
run is at work, and sends nothing.

Exit codes: 0 written, whatever became of the rows; 2 refused, or the file could not be written; 3
standard output could not be written to; 4 another program holds the ledger; 129, 130 and 143
interrupted.`,
		Example: `  bulkrevoke results offboarding.csv
  bulkrevoke results --open offboarding.csv
  bulkrevoke results --sandbox samples/offboarding.csv -o so-far.csv`,
		Args: a.oneSheet,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.settle(cmd); err != nil {
				return err
			}
			if a.opts.open {
				return a.writeOpen(cmd.Context(), args[0])
			}
			return a.writeResults(cmd.Context(), args[0])
		},
	}
	a.opts.addFileFlags(cmd.Flags())
	a.opts.addSheetFlag(cmd.Flags())
	cmd.Flags().Lookup("sheet").Usage = "the sheet `NAME` of an .xlsx that was run (default: the one that has a ledger)"
	cmd.Flags().BoolVar(&a.opts.open, "open", false, "write only the rows that need somebody, to standard output or the FILE of -o")
	cmd.Flags().Lookup("ledger").Usage = "the ledger `FILE` (default: named after the sheet, beside the result)"
	cmd.Flags().Lookup("sandbox").Usage = "of what was done in a sandbox"
	cmd.Flags().DurationVar(&a.opts.wait, "wait", 0, "wait so long for another program that holds the ledger; a run is not waited for")
	a.opts.addConfigFlag(cmd.Flags())
	a.opts.addLogFlags(cmd.Flags())
	return cmd
}

// oneSheet takes exactly one argument, the sheet.
func (a *app) oneSheet(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return refusef(fmt.Sprintf("See `%s --help`.", cmd.CommandPath()), "%s takes one sheet, not %d", cmd.Name(), len(args))
	}
	if args[0] == "" {
		return refusef("Name the sheet: a variable in the command may be empty.", "%s: the name of the sheet is empty", cmd.Name())
	}
	a.sheet = args[0]
	return nil
}

// noSuchCommand refuses words of a command line that begins with no command, and says
// which was probably meant.
func noSuchCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if looksLikeSheet(args[0]) {
		word := shellQuote(args[0])
		return refusef(fmt.Sprintf("Look at what it asks for with `bulkrevoke plan %s`, then do it with `bulkrevoke run %s`.", word, word),
			"%s is a sheet, not a command", args[0])
	}
	return refusef("See `bulkrevoke --help`.", "unknown command %q%s; the commands are %s",
		args[0], didYouMean(args[0], names), strings.Join(names, ", "))
}

// looksLikeSheet says whether a word on the command line names a sheet.
func looksLikeSheet(word string) bool {
	switch strings.ToLower(filepath.Ext(word)) {
	case ".csv", ".tsv", ".txt", ".xlsx":
		return true
	}
	info, err := os.Stat(word)
	return err == nil && info.Mode().IsRegular()
}

// flagError says what is wrong with the flags of a command line.
func (a *app) flagError(cmd *cobra.Command, err error) error {
	if !cmd.HasParent() && len(a.args) > 0 && !strings.HasPrefix(a.args[0], "-") {
		return noSuchCommand(cmd, a.args) // whose flags these are meant to be
	}
	hint := fmt.Sprintf("See `%s --help`.", cmd.CommandPath())
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := unknown.GetSpecifiedName()
		if meant := a.commandWith(cmd, name); meant != "" {
			hint = fmt.Sprintf("The command comes first: bulkrevoke %s --%s ...", meant, name)
		}
		var flags []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, "--"+f.Name) })
		return refusef(hint, "%w%s", err, didYouMean(name, flags))
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return refusef(hint, "--%s: %w", invalid.GetFlag().Name, plainFlagError(err))
	}
	return &usageError{err: err, hint: hint}
}

// commandWith returns the command that a flag which stands before all commands is meant
// for: the one on the command line, else run, else the first that has such a flag; "" if
// none has.
func (a *app) commandWith(root *cobra.Command, flag string) (name string) {
	for _, c := range root.Commands() {
		switch {
		case c.Flags().Lookup(flag) == nil:
		case slices.Contains(a.args, c.Name()):
			return c.Name()
		case name == "" || c.Name() == "run":
			name = c.Name()
		}
	}
	return name
}

// settle fills in what the command line leaves to environment and configuration,
// and starts the log.
func (a *app) settle(cmd *cobra.Command) (err error) {
	given, sheetGiven, accountGiven := cmd.Flags().Changed("output"), cmd.Flags().Changed("sheet"), cmd.Flags().Changed("account")
	if err := fillFromEnvironment(cmd.Flags(), a.lookup); err != nil {
		return err
	}
	if a.cfg, err = readConfig(cmd.Context(), a.opts.config, a.crms, a.lookup); err != nil {
		return err
	}
	if err := fillFromConfig(cmd.Flags(), a.cfg); err != nil {
		return err
	}
	if !given && (a.opts.open || cmd.Name() == "verify" || cmd.Name() == "undo") {
		// That of runs, where it is set once and for all, is the result's, and says where
		// the ledger may be.
		a.opts.output, a.opts.runOutput = "", a.opts.output
	}
	a.log = newLog(a.screen, a.opts)
	if err := a.checkSheetFlag(sheetGiven); err != nil {
		return err
	}
	if names := a.crms.inSandbox().names(); a.opts.sandbox && accountGiven && !slices.Contains(names, strings.ToLower(a.opts.account)) {
		a.log.Warn("--account names none of the sandbox's accounts, "+and(names)+": a row without an account goes by its object", "account", a.opts.account)
	}
	for _, warning := range unknownSettings(cmd.Root(), a.environ(), a.cfg) {
		a.log.Warn(warning)
	}
	return a.opts.check()
}

// isTerminal says whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// terminalWidth returns the width of the terminal on standard error.
func (a *app) terminalWidth() int {
	if file, ok := a.stderr.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}
