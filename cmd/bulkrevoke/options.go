package main

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// options are the flags of `run`, and what the other commands share with it. They are
// read once, by readOptions, and never changed.
type options struct {
	output, ledger string
	runOutput      string // the result of runs, where output is a file of another command
	config         string
	database       string
	// databaseIsPlain says that database stands in the configuration or on the command line,
	// where others may read it.
	databaseIsPlain bool
	ledgers         ledgers
	account         string
	worksheet       string // --sheet
	hiddenRows      oneOf
	columns         mapFlag
	headerRow       headerRowFlag
	timezone        zoneFlag
	require         listFlag
	sla             time.Duration // 0 is none
	sandbox         bool
	dryRun          bool
	json            bool   // of `plan`
	open            bool   // of `results`
	byPerson        bool   // of `results`
	ledgerFile      string // of `results`
	move            bool   // of `results`

	summary, report, metricsFile string

	skipInvalid, allowEmpty, allowRoundedIDs, fresh, redoInDoubt, yes bool

	guard          guardFlag
	approve        digestFlag
	maxRows        rowsFlag
	maxDuration    time.Duration
	wait           time.Duration
	confirm        oneOf
	confirmTimeout time.Duration

	limit   limitFlag
	share   shareFlag
	workers workersFlag

	logFormat, logLevel, progress oneOf
	quiet                         bool
}

// newOptions returns the defaults.
func newOptions() *options {
	return &options{
		ledgers:        inFiles{},
		guard:          guardFlag{batch.Guard{Percent: 20}},
		hiddenRows:     oneOf{"refuse", []string{"refuse", "send", "skip"}},
		confirm:        oneOf{"after", []string{"after", "off"}},
		confirmTimeout: 10 * time.Minute,
		logFormat:      oneOf{"text", []string{"text", "json"}},
		logLevel:       oneOf{"info", []string{"debug", "info", "warn", "error"}},
		progress:       oneOf{"auto", []string{"auto", "always", "never"}},
	}
}

// confirmOff says that accepted rows are not asked about.
func (o *options) confirmOff() bool { return o.confirm.value == "off" }

// addRunFlags declares the flags of `run`, which `plan` shares.
func (o *options) addRunFlags(fs *pflag.FlagSet) {
	fs.StringVarP(&o.output, "output", "o", "", "write the result to `FILE`, a workbook if it ends in .xlsx (default: the sheet's name with .results.csv)")
	fs.StringVar(&o.ledger, "ledger", "", "keep what was done in `FILE` (default: named after the sheet, beside the result)")
	fs.StringVar(&o.database, "database", "", "keep ledgers and claims in PostgreSQL, for several hosts: `URL` without a password, or env:NAME or file:/path that hold all of it")
	fs.BoolVar(&o.sandbox, "sandbox", false, "work against a sandbox inside this process, seeded from the sheet")
	fs.StringVar(&o.config, "config", "", "read the configuration from `FILE` (default: ./bulkrevoke.yaml, then the user's configuration folder)")
	fs.StringVar(&o.account, "account", "", "the account `NAME` of rows that name none (default: the configuration's, or the only one)")
	fs.StringVar(&o.worksheet, "sheet", "", "read the sheet `NAME` of an .xlsx, and name its files after it (default: the visible one that has a header of ours and rows)")
	fs.Var(&o.hiddenRows, "hidden-rows", "what is meant where an .xlsx hides rows or filters them out: they are done too, or they are left alone")
	fs.Var(&o.columns, "map", "what columns of the sheet stand for, as \"Lead No=record_id,Owner mail=user\"; none for nothing of ours")
	fs.Var(&o.headerRow, "header-row", "the row that names the columns; what stands above it is passed over (default: the first that is not blank)")
	fs.Var(&o.timezone, "timezone", "where the days of the sheet begin, as an IANA name such as Europe/Berlin; needed for dates")
	fs.Var(&o.require, "require", "columns that no row may leave empty, such as reviewer,reason; a reviewer may not decide about themselves")
	fs.DurationVar(&o.sla, "sla", 0, "mark the people whose rows took longer than this from their date to their confirmation, such as 24h")
	fs.BoolVar(&o.dryRun, "dry-run", false, "check and show what would be done, as the command plan does")
	fs.BoolVar(&o.skipInvalid, "skip-invalid", false, "do the good rows of a sheet that has invalid ones")
	fs.BoolVar(&o.allowEmpty, "allow-empty", false, "take a sheet with a header and no row as done, for nights on which nobody leaves")
	fs.BoolVar(&o.allowRoundedIDs, "allow-rounded-ids", false, "take ids that end in zeros after 15 digits, as a spreadsheet leaves them where it rounds")
	fs.BoolVar(&o.fresh, "fresh", false, "set the old ledger and result aside (both are kept) and start over")
	fs.BoolVar(&o.redoInDoubt, "redo-in-doubt", false, "send again what was sent without an answer and is not safe to repeat")
	fs.BoolVar(&o.yes, "yes", false, "ask no question on a terminal")
	fs.Var(&o.guard, "stop-after-failures", "stop when so many rows, or so many of a hundred, have failed")
	fs.Var(&o.approve, "approve", "do it only if the plan's digest is this one")
	fs.Var(&o.maxRows, "max-rows", "refuse a sheet with more rows to send (default: no limit)")
	fs.DurationVar(&o.maxDuration, "max-duration", 0, "stop cleanly after so long (default: no limit)")
	fs.DurationVar(&o.wait, "wait", 0, "wait so long for another run on this account or ledger")
	fs.Var(&o.confirm, "confirm", "ask what became of accepted rows, or do not")
	fs.DurationVar(&o.confirmTimeout, "confirm-timeout", o.confirmTimeout, "ask about a row for so long, from the first look at it")
	fs.Var(&o.limit, "limit", "make at most so many calls in so much time, such as 25/5s (default: the account's)")
	fs.Var(&o.share, "share", "take this part of the limit, 1 for all of it (default: the account's, 0.8)")
	fs.Var(&o.workers, "workers", "make at most `N` calls at once (default: as many as the limit lets be under way)")
	fs.Var(&o.logFormat, "log-format", "how log lines are written")
	fs.Var(&o.logLevel, "log-level", "the least important log lines that are written")
	fs.BoolVar(&o.quiet, "quiet", false, "write errors only: no log, progress or summary")
	fs.Var(&o.progress, "progress", "show progress: a bar on a terminal (not with TERM=dumb), a line every 30 s elsewhere")
	fs.StringVar(&o.summary, "summary", "", "write how the run ended to `FILE`, as JSON")
	fs.StringVar(&o.report, "report", "", "write a page of evidence to `FILE`, as HTML")
	fs.StringVar(&o.metricsFile, "metrics-file", "", "write metrics to `FILE`, in the Prometheus textfile format")
}

// addFlags declares some of the flags of `run` for another command, each as its name, or
// as "name: what it means there".
func (o *options) addFlags(fs *pflag.FlagSet, flags ...string) {
	ofRun := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o.addRunFlags(ofRun)
	for _, flag := range flags {
		name, usage, own := strings.Cut(flag, ": ")
		f := ofRun.Lookup(name)
		if own {
			f.Usage = usage
		}
		fs.AddFlag(f)
	}
}

// namedFile is a flag that names a file to write, and the endings that it may have.
type namedFile struct {
	flag    string
	path    *string
	endings []string
}

// files are the flags that name files to write, those of the evidence last.
func (o *options) files() []namedFile {
	return []namedFile{
		{"-o", &o.output, resultEndings}, {"--ledger", &o.ledger, ledgerEndings},
		{"--report", &o.report, reportEndings}, {"--summary", &o.summary, summaryEndings}, {"--metrics-file", &o.metricsFile, metricsEndings},
	}
}

// check refuses values that a flag's type lets through.
func (o *options) check() error {
	for _, f := range o.files() {
		if f.flag == "--ledger" && o.database != "" {
			continue // which is no file
		}
		if strings.HasPrefix(*f.path, "--") {
			return refusef("Write the name of the file behind it.", "%s: the name of a file is missing before %s", f.flag, *f.path)
		}
		if err := checkFormat(f.flag, *f.path, f.endings); err != nil {
			return err
		}
	}
	switch {
	case o.wait < 0:
		return refusef("", "--wait: can not be negative")
	case o.output == standardInput:
		return refusef("Name one.", "-o -: the result is a file, which is replaced as a whole")
	case o.sla < 0:
		return refusef("", "--sla: can not be negative")
	case o.maxDuration < 0:
		return refusef("", "--max-duration: can not be negative")
	case o.confirmTimeout <= 0:
		return refusef("", "--confirm-timeout: must be more than 0")
	}
	return nil
}

// readOptions reads, once, what a command works with: what the command line says, and what it
// leaves to environment and configuration.
func (a *app) readOptions(cmd *cobra.Command, o *options) (*job, error) {
	flags := cmd.Flags()
	outputGiven, worksheetGiven, accountGiven := flags.Changed("output"), flags.Changed("sheet"), flags.Changed("account")
	databaseGiven := flags.Changed("database")
	if err := fillFromEnvironment(flags, a.lookup); err != nil {
		return nil, err
	}
	o.databaseIsPlain = databaseGiven || !flags.Changed("database")
	cfg, err := readConfig(cmd.Context(), o.config, a.crms, a.lookup)
	if err != nil {
		return nil, err
	}
	if err := fillFromConfig(flags, cfg); err != nil {
		return nil, err
	}
	if !outputGiven && (o.open || o.byPerson || cmd.Name() == "verify" || cmd.Name() == "undo" || cmd.Name() == "find") {
		// What environment and configuration name is the result of runs. It only says where
		// the ledger may be.
		o.output, o.runOutput = "", o.output
	}
	j := &job{app: a, opts: o, cfg: cfg, log: newLog(a.screen, o)}
	if o.worksheet != "" && !report.IsWorkbook(a.sheet) {
		if worksheetGiven {
			return nil, refusef("Leave --sheet out, or name the workbook.", "--sheet %s: %s is text, which has no sheets", o.worksheet, title(a.sheet))
		}
		j.log.Warn("--sheet has no say: a text has no sheets", "sheet", o.worksheet, "file", a.sheet)
		o.worksheet = ""
	}
	if names := a.crms.inSandbox().names(); o.sandbox && accountGiven && !slices.Contains(names, strings.ToLower(o.account)) {
		j.log.Warn("--account names none of the sandbox's accounts, "+and(names)+": a row without an account goes by its object", "account", o.account)
	}
	for _, warning := range unknownSettings(cmd.Root(), a.environ(), cfg) {
		j.log.Warn(warning)
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return j, nil
}

// environmentName returns the variable that stands for a flag.
func environmentName(flag string) string {
	return "BULKREVOKE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// stateVariable names the folder of locks, stamps and tokens.
const stateVariable = "BULKREVOKE_STATE"

// unknownSettings returns a warning for every variable whose name says that it is one
// of bulkrevoke's and that nothing reads: a slip in it would be silent, and a guard
// rail that was meant would be missing. The program's own tests have variables too.
func unknownSettings(root *cobra.Command, environ []string, cfg config) (warnings []string) {
	known := []string{stateVariable}
	for _, cmd := range root.Commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, environmentName(f.Name)) })
	}
	for _, account := range cfg.Accounts {
		for _, secret := range account.Keys.secrets() {
			known = append(known, strings.TrimPrefix(secret, "env:"))
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if value == "" || !strings.HasPrefix(name, "BULKREVOKE_") || strings.HasPrefix(name, "BULKREVOKE_TEST_") || slices.Contains(known, name) {
			continue
		}
		warnings = append(warnings, name+" is no setting and changes nothing"+didYouMean(name, known))
	}
	slices.Sort(warnings)
	return warnings
}

// runFlags returns the flags of `run`, with their defaults.
func runFlags() *pflag.FlagSet {
	known := pflag.NewFlagSet("run", pflag.ContinueOnError)
	newOptions().addRunFlags(known)
	return known
}

// meansAnother says that a flag is only called like one of `run`: environment and configuration
// speak of that one.
func meansAnother(f *pflag.Flag, known *pflag.FlagSet) bool {
	ofRun := known.Lookup(f.Name)
	return ofRun != nil && ofRun.Value.Type() != f.Value.Type()
}

// fillFromEnvironment sets every flag that was not given and that the environment
// has a value for. An empty variable counts as none.
func fillFromEnvironment(fs *pflag.FlagSet, lookup func(string) (string, bool)) error {
	known := runFlags()
	var errs []error
	fs.VisitAll(func(f *pflag.Flag) {
		value, _ := lookup(environmentName(f.Name))
		if f.Changed || value == "" || f.Name == "help" || meansAnother(f, known) {
			return
		}
		if err := fs.Set(f.Name, value); err != nil {
			errs = append(errs, refusef("", "%s: %w", environmentName(f.Name), plainFlagError(err)))
		}
	})
	return errors.Join(errs...)
}

// fillFromConfig sets every flag that neither the command line nor the environment
// gave and that the configuration has. A key that is no flag of `run` is refused.
func fillFromConfig(fs *pflag.FlagSet, cfg config) error {
	known := runFlags()
	for _, name := range slices.Sorted(maps.Keys(cfg.Flags)) {
		node := cfg.Flags[name]
		if known.Lookup(name) == nil || name == "config" {
			settings := slices.Sorted(maps.Keys(yamlFields(reflect.TypeFor[config]())))
			known.VisitAll(func(f *pflag.Flag) { settings = append(settings, f.Name) })
			return refusef("", "%s: line %d: %q is neither a setting nor a flag of `run`%s", cfg.Path, node.Line, name, didYouMean(name, settings))
		}
		if name == "map" {
			return refusef("", "%s: line %d: map is for one sheet; what columns stand for in all sheets is said under `columns:`, one a line, such as `Lead No: record_id`", cfg.Path, node.Line)
		}
		if node.Kind != yaml.ScalarNode || node.Tag == "!!null" {
			return refusef("", "%s: line %d: %s: must be a single value", cfg.Path, node.Line, name)
		}
		into := fs
		if flag := fs.Lookup(name); flag == nil || flag.Changed || meansAnother(flag, known) {
			into = known // the value is only checked
		}
		if err := into.Set(name, node.Value); err != nil {
			return refusef("", "%s: line %d: %s: %w", cfg.Path, node.Line, name, plainFlagError(err))
		}
	}
	return nil
}

// plainFlagError says what is wrong with a flag's value, in words for whoever wrote
// it: pflag speaks of a command line, which there may not have been, and the standard
// library of its functions.
func plainFlagError(err error) error {
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	value := invalid.GetValue()
	switch invalid.GetFlag().Value.Type() {
	case "bool":
		return fmt.Errorf("%q is neither true nor false", value)
	case "duration":
		if _, err := strconv.ParseFloat(value, 64); err == nil {
			return fmt.Errorf("%q has no unit; write %ss, %sm or %sh", value, value, value, value)
		}
		return fmt.Errorf("%q is not a time span; write 90s, 30m or 8h", value)
	}
	why := invalid.Unwrap()
	if strings.HasPrefix(why.Error(), strconv.Quote(value)) {
		return why // which says the value itself
	}
	return fmt.Errorf("%q: %w", value, why)
}
