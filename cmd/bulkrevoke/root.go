package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

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
	crms     kinds
	now      func() time.Time // says which dates have come
	// restart is how long a database that does not answer is asked again before anything is
	// done: at night nobody is there to start the command a second time.
	restart time.Duration

	sheet string // as given, "" before that is known
	job   *job   // what the command works at, nil before its options are known

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
		lookup: os.LookupEnv, environ: os.Environ, terminal: isTerminal, crms: knownCRMs(), now: time.Now, restart: time.Minute,
	}
}

// execute runs the command line and returns the exit code.
func (a *app) execute(ctx context.Context) int {
	if o, _ := a.looseOptions(); o.logFormat.value == "json" {
		a.screen.UseJSON() // a refusal of the command line or of a setting comes in this form too
	}
	if a.terminal(a.stderr) {
		a.screen.UseTerminal(a.hasColours())
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
	if err != nil && a.job == nil && cmd.Name() == "run" {
		err = a.refused(ctx, err)
	}
	j, code := a.job, exitDone
	if err != nil {
		code = printError(a.screen, a.sheet, err)
	} else if j != nil {
		code = j.code
	}
	switch {
	case j == nil || j.opts.quiet:
	case j.isRun:
		a.screen.Tell(report.RunEnded(j.ended, j.text, code))
	case j.isFind:
		a.screen.Tell(report.FindEnded(j.coverage, j.found, code))
	}
	return code
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "bulkrevoke",
		Short: "Take away and give access to CRM records as a spreadsheet asks for",
		Long: `bulkrevoke turns a spreadsheet of who must lose, or gain, access to which CRM record into
calls to the CRM, and gives the same spreadsheet back with what happened to each row.

Stopping it at any instant loses nothing: the same command goes on where it ended. ` + "`bulkrevoke help`" + `
lists what it tells about sheets, results, exit codes, the configuration and faults.`,
		Example: `  bulkrevoke run --sandbox samples/offboarding.csv   try it out, nothing leaves this machine
  bulkrevoke init                                    write a configuration and an empty sheet
  bulkrevoke check                                   test the keys
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
	root.SetUsageFunc(func(c *cobra.Command) error {
		_, err := io.WriteString(a.stdout, usage(c, a.usageWidth()))
		return err
	})
	root.SetVersionTemplate("bulkrevoke {{.Version}}\n")
	root.SetHelpCommand(a.helpCommand())
	root.AddCommand(a.runCommand(), a.planCommand(), a.resultsCommand(), a.verifyCommand(), a.undoCommand(), a.findCommand(), a.initCommand(), a.loginCommand(), a.checkCommand(), a.sandboxCommand())
	root.AddCommand(a.submitCommand(), a.workerCommand(), a.statusCommand(), a.retryCommand(), a.cancelCommand())
	root.AddCommand(a.buildCommands()...)
	return root
}

// sheetCommand makes cmd a command that works on one sheet. The caller declares its flags
// on o, which is filled in before do is called.
func (a *app) sheetCommand(o *options, cmd *cobra.Command, do func(context.Context, *job) error) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return refusef(fmt.Sprintf("See `%s --help`.", cmd.CommandPath()), "%s takes one sheet, not %d", cmd.Name(), len(args))
		}
		if args[0] == "" {
			return refusef("Name the sheet: a variable in the command may be empty.", "%s: the name of the sheet is empty", cmd.Name())
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		a.sheet = args[0]
		if a.job, err = a.readOptions(cmd, o); err != nil {
			return err
		}
		read := *a.job
		_, err = undisturbed(cmd.Context(), a.sheet, func() (*job, error) {
			j := read
			a.job = &j
			return a.job, a.job.useDatabase(cmd.Context())
		}, do)
		return err
	}
	return cmd
}

// mostBeginnings is how often a job is begun.
const mostBeginnings = 20

// undisturbed makes a job, does it and closes it. One that loses its connection to the database
// before anything is sent is begun again: at night nobody is there to do that. How long it is
// waited for until it answers, begin says.
func undisturbed(ctx context.Context, sheetName string, begin func() (*job, error), do func(context.Context, *job) error) (*job, error) {
	for tries := 1; ; tries++ {
		j, err := begin()
		if err != nil {
			return j, errors.Join(err, j.close())
		}
		err = do(ctx, j)
		err = errors.Join(err, j.started(j.close()))
		if !databaseLost(err) || j.committed || sheetName == standardInput || tries == mostBeginnings || ctx.Err() != nil {
			return j, err
		}
		j.log.Warn("the connection to the database was lost before anything was sent; beginning again", "sheet", sheetName)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return j, err
		}
	}
}

// noSuchCommand refuses words of a command line that begins with no command, and says
// which was probably meant.
func noSuchCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	names := commandNames(root)
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
	info, err := os.Stat(word)
	return slices.Contains(sheetEndings, strings.ToLower(filepath.Ext(word))) || err == nil && info.Mode().IsRegular()
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

// isTerminal says whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// hasColours says whether the terminal shows colours, and nobody wants none.
func (a *app) hasColours() bool {
	kind, _ := a.lookup("TERM")
	never, _ := a.lookup("NO_COLOR")
	return kind != "" && kind != "dumb" && never == ""
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
