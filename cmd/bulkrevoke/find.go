package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/find"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// findOptions are the flags that only `find` has.
type findOptions struct {
	records   []string
	module    string
	modules   []string
	ledgers   string
	everybody bool
	review    bool
	maxCalls  int64
}

// mostFindCalls is how many calls a find makes without --max-calls: a fifth of what a small
// organisation may make in a day.
const mostFindCalls = 10_000

func (a *app) findCommand() *cobra.Command {
	o, fo := newOptions(), &findOptions{}
	cmd := &cobra.Command{
		Use:   "find PEOPLE",
		Short: "Write the sheet of what these people have through sharing; change nothing",
		Long: `Look for what people have through sharing, and write PEOPLE.found.csv, a sheet for plan and run:
a row that takes it away for each access that one can, and after it, where the sheet of people
names a successor, the row that gives them the same. Nothing is changed in any CRM.

PEOPLE has a column user (also user_id, leaver, work_email, email), and may have successor,
last_day and account; its other columns are carried to each row, with person_ before their names.

What is looked at: the groups that people can be taken out of; what earlier ledgers in the folder
of --ledgers gave and never took; records whose ids stand in files (--records); all records of
modules (--modules). Beside the sheet stands PEOPLE.found.coverage.json: what was looked at, and
what was not. --review writes all that was seen, for somebody to decide.

A find that was stopped goes on where it ended with the same command; what it has seen is kept in
PEOPLE.found.work until then.

Exit codes: 0 complete in its scope; 1 something could not be looked at; 2 refused; 3 an account
ended early, run again to go on; 4 another run is at it; 129, 130 and 143 interrupted, run again
to go on.`,
		Example: `  bulkrevoke find leavers.csv
  bulkrevoke find leavers.csv --records Leads_export.csv --ledgers done/
  bulkrevoke find leavers.csv --modules Leads,Deals --dry-run
  bulkrevoke find --everybody --modules all --review -o review.xlsx`,
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&fo.records, "records", nil, "look at the records whose ids stand in `FILE`, an export for one; may be given again")
	fs.StringVar(&fo.module, "module", "", "the module `NAME` of records whose file does not say (default: the first word of the file's name)")
	fs.StringSliceVar(&fo.modules, "modules", nil, "look at all records of these modules, such as Leads,Deals, or of all")
	fs.StringVar(&fo.ledgers, "ledgers", "", "look into the ledgers in `FOLDER` for what was given and never taken")
	fs.BoolVar(&fo.everybody, "everybody", false, "look for what everybody has; no sheet of people is needed")
	fs.BoolVar(&fo.review, "review", false, "write all that was seen, with an empty column decision for somebody to fill in")
	fs.Int64Var(&fo.maxCalls, "max-calls", mostFindCalls, "refuse to make more calls than `N`")
	o.addFlags(fs, "config", "database", "log-format", "log-level", "quiet", "progress", "wait", "max-duration", "limit", "share", "workers", "map", "hidden-rows", "allow-empty",
		"output: write the sheet to `FILE`, a workbook if it ends in .xlsx (default: the sheet's name with .found.csv)",
		"account: the account `NAME` of people who name none (default: every account that knows them), and of --records",
		"sheet: read the sheet `NAME` of an .xlsx (default: the first visible one)",
		"dry-run: say how many calls it takes and how long, and look at nothing")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case fo.everybody && len(args) > 0:
			return refusef("Leave the sheet out, or --everybody.", "find takes no sheet with --everybody")
		case !fo.everybody && len(args) != 1:
			return refusef("See `bulkrevoke find --help`.", "find takes one sheet of people, not %d", len(args))
		case !fo.everybody && args[0] == "":
			return refusef("Name the sheet: a variable in the command may be empty.", "find: the name of the sheet is empty")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if len(args) > 0 {
			a.sheet = args[0]
		}
		if a.job, err = a.readOptions(cmd, o); err != nil {
			return err
		}
		a.job.isFind = true
		if err := a.job.useDatabase(cmd.Context()); err != nil {
			return err
		}
		return errors.Join(a.job.find(cmd.Context(), fo), a.job.close())
	}
	return cmd
}

// findNames are the files of a find.
type findNames struct{ output, coverage, work string }

// findNames says what the files are called.
func (j *job) findNames() (n findNames, err error) {
	switch n.output = j.opts.output; {
	case n.output != "":
	case j.sheet == standardInput:
		return n, refusef("For instance: bulkrevoke find - -o leavers.csv", "people from standard input need -o")
	case j.sheet == "":
		n.output = "everybody.found.csv"
	default:
		n.output = strings.TrimSuffix(j.sheet, filepath.Ext(j.sheet)) + ".found.csv"
	}
	stem := strings.TrimSuffix(n.output, filepath.Ext(n.output))
	n.coverage, n.work = stem+".coverage.json", stem+".work"
	if j.sheet != "" && filepath.Clean(j.sheet) == filepath.Clean(n.output) {
		return n, refusef("Name another file.", "-o %s: is the sheet of people itself", n.output)
	}
	return n, nil
}

// find looks for what people have, and writes it down. It sends no change.
func (j *job) find(ctx context.Context, fo *findOptions) error {
	ctx, cancel := j.opts.bound(ctx)
	defer cancel()
	if fo.maxCalls <= 0 {
		return refusef("", "--max-calls: must be more than 0")
	}

	// Read who the people are, and see that all files can be written.
	people, layout, err := j.readPeople(ctx, fo)
	if err != nil {
		return err
	}
	names, err := j.findNames()
	if err != nil {
		return err
	}
	ledgers, err := ledgersToRead(fo.ledgers)
	if err != nil {
		return err
	}
	var written []string
	if !j.opts.dryRun {
		if written, err = j.claimOutput(ctx, names); err != nil {
			return err
		}
	}

	// Connect the accounts, with finders, and read the files of records.
	o := find.Options{
		Only: j.opts.account, People: people, Ledgers: ledgers, Protect: j.cfg.Protect, Review: fo.review, Now: j.now, Log: j.log,
		AllModules: slices.ContainsFunc(fo.modules, func(m string) bool { return strings.EqualFold(m, "all") }),
	}
	if !o.AllModules {
		o.Modules = fo.modules
	}
	if o.Accounts, err = j.connectToFind(ctx, people); err != nil {
		return err
	}
	if o.Records, err = j.openRecords(fo, o.Accounts); err != nil {
		return err
	}

	// Find out who is who, and say what it takes.
	f := find.New(o)
	if err := f.Learn(ctx); err != nil {
		return err
	}
	if ended := f.NoneLeft(); ended != nil {
		return ended
	}
	work := find.NoWork()
	if !j.opts.dryRun {
		digest, err := f.Digest(ctx)
		if err != nil {
			return err
		}
		anew := false
		if work, anew, err = find.OpenWork(names.work, digest, j.now()); err != nil {
			return err
		}
		if anew {
			j.log.Warn("what was seen for another question, or with other files, does not count; it begins anew", "file", names.work)
		} else if work.Goes() {
			j.log.Info("going on where an earlier find ended", "file", names.work)
		}
	}
	finished := false
	defer func() {
		if err := work.Close(finished); err != nil {
			j.log.Warn("the work file could not be removed", "error", err)
		}
	}()
	plan, err := f.Plan(ctx, work)
	if err != nil {
		return &unfinishedError{err}
	}
	if all := plan.All(); all > fo.maxCalls {
		finished = !work.Goes() // it holds nothing that was looked at
		return refusef(fmt.Sprintf("Give --max-calls %d, or ask about less.", all), "it takes about %s, more than --max-calls %d", report.Count(all, "call"), fo.maxCalls)
	}
	if j.opts.dryRun {
		return j.showFindPlan(f, plan)
	}
	if !j.opts.quiet {
		j.screen.Tell(report.FindPlanned(plan))
	}

	// Look, and write down what was seen in any case.
	stop := j.showFindProgress(f)
	runErr := f.Run(ctx)
	stop()
	j.conns.rest()
	counts, err := j.writeFound(context.WithoutCancel(ctx), f, names, layout, append(written, find.Written(names.work)...), work)
	if err != nil {
		return &unfinishedError{errors.Join(runErr, err)}
	}
	if !j.opts.quiet {
		j.screen.Tell(report.FindSummary(j.coverage, j.found))
		if counts.Revoke+counts.Share > 0 && !fo.review {
			j.say("next", nil, "look at it with: bulkrevoke plan %s", shellQuote(names.output))
		}
	}
	ended := f.Ended()
	switch {
	case runErr != nil:
		return &unfinishedError{runErr}
	case ended != nil:
		return ended
	}
	finished = true
	if !j.coverage.Complete {
		j.code = exitOpen
	}
	return nil
}

// readPeople reads the sheet of people; nil is everybody. layout is how a text is to be
// written.
func (j *job) readPeople(ctx context.Context, fo *findOptions) (people *find.People, layout sheet.Layout, err error) {
	layout = sheet.Layout{Delimiter: ",", Newline: "\n"}
	if fo.everybody {
		return nil, layout, nil
	}
	in, path := j.stdin, ""
	if j.sheet != standardInput {
		file, regular, err := openFile(ctx, j.sheet)
		if err != nil {
			return nil, layout, err
		}
		defer file.Close() // it is only read
		if in = file; regular {
			path = j.sheet
		}
	}
	if path == "" {
		var stop func() error
		in, stop = untilDone(ctx, in)
		j.later(stop)
	}
	o := j.sheetOptions(path)
	own := o.Map
	o.AnyHeader = true
	r, err := sheet.Open(in, j.sheet, o)
	if err != nil {
		return nil, layout, err
	}
	defer r.Close()
	layout.Delimiter, layout.Newline, layout.BOM = r.Layout().Delimiter, r.Layout().Newline, r.Layout().BOM
	people, err = find.ReadPeople(r, title(j.sheet), own)
	return people, layout, err
}

// ledgersToRead returns the ledgers of a folder, by name.
func ledgersToRead(folder string) (paths []string, err error) {
	if folder == "" {
		return nil, nil
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil, refusef("Name the folder that the ledgers stand in.", "--ledgers %s: there is no such folder", folder)
	}
	for _, name := range ledgersIn(folder) {
		paths = append(paths, filepath.Join(folder, name))
	}
	if len(paths) == 0 {
		return nil, refusef("Name the folder that the ledgers stand in.", "--ledgers %s: there is no ledger (*%s) in it", folder, ledgerEnding)
	}
	return paths, nil
}

// claimOutput keeps other finds off the files, and sees that they can be written: nothing
// that somebody has changed is written over. It returns the hash of what was written last.
func (j *job) claimOutput(ctx context.Context, n findNames) (written []string, err error) {
	if err := takesFiles(filepath.Dir(n.output)); err != nil {
		return nil, refusef("Name a file in another folder with -o.", "the folder of the sheet, %s, takes no files: %w", filepath.Dir(n.output), report.Reason(err))
	}
	l, err := acquireLock(ctx, lockOptions{
		what: "find " + n.output, path: n.work + ".lock", remove: true, wait: j.opts.wait, holder: me(cmp.Or(j.sheet, "everybody")), hint: "Make room there.",
	})
	if err != nil {
		return nil, err
	}
	j.later(l.release)
	j.sweep(time.Now(), n.output, n.coverage)
	if hash := report.CoverageHash(n.coverage); hash != "" {
		written = append(written, hash)
	}
	written = append(written, find.Written(n.work)...)
	return written, cmp.Or(report.CheckFound(n.output, written), report.CheckCoverage(n.coverage))
}

// connectToFind connects the accounts on which people are looked for.
func (j *job) connectToFind(ctx context.Context, people *find.People) (accounts []find.Account, err error) {
	secrets := secretSource{lookup: j.lookup, warn: func(m string) { j.log.Warn(m) }}
	if j.accounts, err = newAccounts(j.crms, j.cfg, j.opts, secrets); err != nil {
		return nil, err
	}
	if j.opts.account != "" {
		if j.opts.account, err = defaultAccount(j.cfg, j.opts.account); err != nil {
			return nil, err
		}
	}
	named := make(map[string]bool)
	every := people == nil && j.opts.account == ""
	if people == nil && !every {
		named[j.opts.account] = true
	}
	for i := range peopleOf(people) {
		p := &people.All[i]
		switch name := cmp.Or(p.Account, j.opts.account); name {
		case "":
			every = true
		default:
			found, reason := j.cfg.accountNamed(name)
			if reason != "" {
				return nil, refusef("Mend the line, or take it out.", "%s:%d: account: %s", people.Sheet, p.Line, reason)
			}
			named[found] = true
		}
	}
	var used []*account
	for _, a := range j.accounts {
		if !every && !named[a.name] {
			continue
		}
		if err := a.refusal(); err != nil {
			return nil, err
		}
		used = append(used, a)
	}
	atOnce, err := callsAtOnce(len(used), mostOpenFiles())
	if err != nil {
		return nil, err
	}
	o := connectOptions{
		find: true, wait: j.opts.wait, holder: me(cmp.Or(j.sheet, "everybody")), log: j.log, userAgent: "bulkrevoke/" + programVersion(), atOnce: atOnce, db: j.db,
	}
	if o.state, err = stateFolder(j.lookup); err != nil {
		return nil, err
	}
	j.conns, err = connectAccounts(ctx, used, o)
	j.later(j.conns.close)
	if err != nil {
		return nil, err
	}
	for _, c := range j.conns.accounts {
		a := c.account
		accounts = append(accounts, find.Account{
			Name: a.name, CRM: a.conf.CRM, Host: a.host, Rules: a.rules, Finder: c.finder, Meter: c.org.gate, Workers: a.workers,
			Words: a.kind.objects.words, PlainID: plainID,
		})
	}
	return accounts, nil
}

func peopleOf(people *find.People) []find.Person {
	if people == nil {
		return nil
	}
	return people.All
}

// openRecords checks the files of records, which belong to the one account that can look at
// them.
func (j *job) openRecords(fo *findOptions, accounts []find.Account) (files []*find.RecordsFile, err error) {
	if len(fo.records) == 0 {
		return nil, nil
	}
	var names []string
	var of *find.Account
	for i, a := range accounts {
		if a.Finder.Sees().Records && (j.opts.account == "" || a.Name == j.opts.account) {
			names, of = append(names, a.Name), &accounts[i]
		}
	}
	switch len(names) {
	case 0:
		return nil, refusef("Leave --records out.", "--records: no account that is asked shows who has a record")
	case 1:
	default:
		return nil, refusef("Say which with --account.", "--records: the records may be those of account %s", strings.Join(names, " or "))
	}
	for _, path := range fo.records {
		file, regular, err := openFile(context.Background(), path)
		if err != nil {
			return nil, err
		}
		if err := file.Close(); err != nil || !regular {
			return nil, refusef("Save it as a file: it is read twice.", "--records %s: is no regular file", path)
		}
		o := j.sheetOptions(path)
		f, err := find.OpenRecords(path, fo.module, sheet.Options{HiddenRows: o.HiddenRows, AllowEmpty: true}, of.Record)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// showFindPlan says what a find would do.
func (j *job) showFindPlan(f *find.Find, plan *find.Plan) error {
	e := report.FindPlanned(plan)
	if j.screen.JSON() {
		j.screen.Tell(e)
	} else if _, err := fmt.Fprint(j.stdout, e.Text); err != nil {
		return err
	}
	if f.Ended() != nil {
		j.code = exitStopped
	}
	return nil
}

// showFindProgress shows how the find stands until the returned function is called.
func (j *job) showFindProgress(f *find.Find) (stop func()) {
	mode := j.opts.progress.value
	if j.opts.quiet || mode == "never" {
		return func() {}
	}
	term, _ := j.lookup("TERM")
	return report.StartProgress(report.ProgressOptions{
		Screen: j.screen, Bar: !j.screen.JSON() && term != "dumb" && (mode == "always" || j.terminal(j.stderr)), Width: j.terminalWidth, Noun: "record",
		Get: func() batch.Progress {
			s := f.State()
			p := batch.Progress{
				Phase: batch.PhaseRunning, Counts: batch.Counts{Rows: max(s.Records, s.Looked), Done: s.Looked}, CallsMade: s.CallsMade, CallsLeft: s.CallsLeft,
			}
			for _, a := range s.Accounts {
				p.Accounts = append(p.Accounts, batch.SummaryAccount{Account: a.Name, Usage: a.Usage})
				p.TimeLeft = max(p.TimeLeft, a.Left)
			}
			return p
		},
	}).Stop
}

// writeFound writes the sheet, and then what was looked at.
func (j *job) writeFound(ctx context.Context, f *find.Find, n findNames, layout sheet.Layout, written []string, work *find.Work) (counts find.Counts, err error) {
	columns := f.Columns()
	own := len(f.Cells(&find.Row{}))
	var rows iter.Seq2[[]string, error] = func(yield func([]string, error) bool) {
		for row, err := range f.Rows(ctx, &counts) {
			cells := append(f.Cells(&row), row.Carried...)
			for len(cells) < len(columns) {
				cells = append(cells, "")
			}
			if j.found++; !yield(cells, err) || err != nil {
				return
			}
		}
	}
	hash, err := report.WriteFound(ctx, report.Found{
		Path: n.output, Layout: layout, Columns: columns, Rows: rows, Ours: own, Written: written, Writing: work.Writing,
	})
	if err != nil {
		return counts, err
	}
	j.coverage = f.Coverage(counts)
	j.coverage.Output, j.coverage.SHA256 = filepath.Base(n.output), hash
	if err := report.WriteCoverage(ctx, n.coverage, j.coverage); err != nil {
		return counts, err
	}
	j.log.Info("the sheet is written", slog.String("file", n.output), slog.Int64("rows", j.found))
	return counts, nil
}
