package report

import (
	"context"
	_ "embed" // the page's template
	"errors"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

//go:embed page.gohtml
var pageText string

// shownRuns is how many of a ledger's runs a page lists, the latest ones.
const shownRuns = 10

// The exit codes that the evidence has words of its own for. Above interrupted it is a
// signal that ended the command: 128 and its number.
const (
	exitRefused = 2
	exitHeld    = 4
	interrupted = 128
)

// WriteHTML writes the report of a run as one page that needs no other file, no
// network and no script, for a screen and for paper. What it says of rows is what
// the ledger has, of the run what s and facts have.
//
// Memory does not grow with the sheet: long lists are cut, and say so. Whatever
// comes from outside is escaped and made printable.
//
// The file is replaced as a whole, under the rules of CheckReport, and gets mode
// 0600. Safe to repeat.
func WriteHTML(ctx context.Context, led *ledger.Ledger, s batch.Summary, facts Facts, path string) error {
	p, err := newPage(ctx, led, s, facts)
	if err != nil {
		return err
	}
	return p.write(ctx, path)
}

// WriteRefusal writes, in the place of the report of an earlier run, that this command
// was refused or ended before a run began: whoever opens the page in the morning must
// not take last week's success for last night's. The ledger's id is that of the
// sheet's ledger, "" if it has none yet.
//
// The file is replaced as a whole, under the rules of CheckReport, and gets mode 0600.
func WriteRefusal(ctx context.Context, ledgerID string, facts Facts, path string) error {
	return newRefusal(ledgerID, facts, time.Now()).write(ctx, path)
}

// page is what the template shows. Its texts are printable, but for what the template
// itself has made so; the template escapes them all.
type page struct {
	Facts      Facts
	Summary    batch.Summary
	LedgerID   string
	Sheet      string // as the user named it
	SheetName  string // without its folders
	Hash       string // of the sheet
	Ended      time.Time
	Refused    bool     // no run began, and all that is known of rows is an earlier one's
	Invalid    []string // what is wrong with the rows that it was refused for
	Tone       string   // "good", "open", "stopped"
	Headline   string
	Remarks    []string
	Why        []openReason // why rows are open
	Again      string       // the command that goes on, "" if there is nothing to do
	Tiles      []tile
	Results    []resultLine
	Reasons    []*reason
	Rarer      int64 // rows of reasons that are not listed
	Run        []fact
	Evidence   []fact
	Accounts   []accountLine
	Runs       []ledger.Run
	RunsBefore int
	People     []*person
	RestPeople string // what is not listed
	Nameless   string
	Open       []openList
	Whole      bool // every row is named
	NotCovered string
}

// Late says whether somebody's access was taken or given later than was asked for.
func (p *page) Late(who *person) bool { return who.Access.Late(p.Facts.SLA, p.Ended) }

// tile is a figure in large type.
type tile struct{ Value, Label string }

// fact is a line of a block of facts. One without a value is not known, and not shown.
type fact struct {
	Name, Value, Note string
	Code              bool // a hash, an id, a command: shown as it would be typed
}

// resultLine is how many rows have a result. Width is its part of the bar, X where
// that begins, in thousandths.
type resultLine struct {
	result
	Part     string
	X, Width float64
}

// accountLine is one account of the run.
type accountLine struct {
	batch.SummaryAccount
	Org, Limit, Planned string
	Plot                *plot
}

func (p *page) write(ctx context.Context, path string) error {
	tmpl, err := template.New("page").Funcs(template.FuncMap{"show": Printable, "group": group, "moment": moment, "time": clock, "list": listOf}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("read the page's template: %w", err)
	}
	return reportFile(p.LedgerID).replace(ctx, path, func(w io.Writer) error { return tmpl.Execute(w, p) })
}

// rowList is what the template needs to show a list of rows.
type rowList struct {
	Title string
	Rows  []openRow
	Many  bool // the rows are of several accounts
}

func listOf(title string, rows []openRow, many bool) rowList { return rowList{title, rows, many} }

func newPage(ctx context.Context, led *ledger.Ledger, s batch.Summary, facts Facts) (*page, error) {
	g, err := gather(ctx, led)
	if err != nil {
		return nil, err
	}
	src, _, err := led.Source(ctx)
	if err != nil {
		return nil, err
	}
	if s.Head == "" {
		if s.HeadSeq, s.Head, err = led.Head(ctx); err != nil {
			return nil, err
		}
	}
	s.Counts = g.counts
	p := &page{
		Facts: facts, Summary: s, LedgerID: led.ID(), Hash: Printable(src.SHA256), Ended: s.Ended,
		Sheet: Printable(s.Worksheet.Of(facts.Sheet)) + hiddenText(s.Worksheet), SheetName: Printable(s.Worksheet.Of(sheetTitle(facts.Sheet))),
	}
	p.Whole = g.counts.Rows <= wholeRows
	p.say(g.lists[listAlarms].rows, &g.reasons)
	x := 0.0
	for _, r := range results(&g.counts) {
		line := resultLine{result: r, Part: part(r.Rows(), g.counts.Rows), X: x}
		if g.counts.Rows > 0 {
			line.Width = tenth(1000 * float64(r.Rows()) / float64(g.counts.Rows))
		}
		x = tenth(x + line.Width)
		p.Results = append(p.Results, line)
	}
	// What has neither code nor message is in the table of results, with what it means.
	reasons := slices.DeleteFunc(g.reasons.sorted(), func(r *reason) bool { return r.Code == "" && r.Message == "" })
	p.Reasons, p.Rarer = reasons[:min(len(reasons), shownReasons)], g.reasons.other
	for _, r := range reasons[len(p.Reasons):] {
		p.Rarer += r.Rows
	}
	p.listRows(g)
	p.listFacts(g, p.listPeople(g.people))
	bindings, err := led.Bindings(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range s.Accounts {
		line := accountLine{SummaryAccount: a, Plot: newPlot(a, s.Ended)}
		for _, b := range bindings {
			if b.Account == a.Account {
				line.Org = b.Org
			}
		}
		if a.Usage.Limit > 0 && a.Usage.Window > 0 {
			line.Limit = fmt.Sprintf("%s in %s", group(int64(a.Usage.Limit)), a.Usage.Window)
		}
		if plan := facts.planned(a.Account); plan != nil {
			line.Planned = fmt.Sprintf("%s, %s", grouped(plan.Calls, "call", "calls"), estimate(plan.Duration))
		}
		p.Accounts = append(p.Accounts, line)
	}
	if p.Runs, err = led.Runs(ctx); err != nil {
		return nil, err
	}
	p.RunsBefore = max(0, len(p.Runs)-shownRuns)
	p.Runs = p.Runs[p.RunsBefore:]
	for i, r := range p.Runs {
		if r.ID == s.Run && r.Ended.IsZero() {
			p.Runs[i].Ended = s.Ended
		}
	}
	return p, nil
}

func newRefusal(ledgerID string, facts Facts, now time.Time) *page {
	p := &page{
		Facts: facts, LedgerID: ledgerID, Refused: true, Ended: now, Tone: "stopped",
		Sheet: Printable(facts.Sheet), SheetName: Printable(sheetTitle(facts.Sheet)), Again: Printable(facts.Again),
	}
	switch {
	case facts.ExitCode == exitRefused:
		p.Headline = "Refused: nothing was sent."
	case facts.ExitCode == exitHeld:
		p.Headline = "Not started: another run or program was at it. Nothing was sent."
	case facts.ExitCode > interrupted:
		p.Headline = "Interrupted before anything was sent."
	default:
		p.Headline = "Ended before anything was sent."
	}
	if facts.Failure != nil {
		p.Remarks = append(p.Remarks, sentence(problem(facts.Failure)))
	}
	if facts.Hint != "" {
		p.Remarks = append(p.Remarks, Printable(facts.Hint))
	}
	if invalid, ok := errors.AsType[*batch.InvalidError](facts.Failure); ok {
		p.Invalid = invalidLines(p.SheetName, invalid)
	}
	p.Run = known(append(p.command(),
		fact{Name: "Ended", Value: moment(now)},
		fact{Name: "Exit code", Value: strconv.Itoa(facts.ExitCode), Note: exitMeaning(facts.ExitCode)},
		fact{Name: "Result file", Value: Printable(facts.Files.Results), Note: "if it is there, it is that of an earlier run"},
	))
	return p
}

// sheetTitle is how a page calls a sheet: without its folders.
func sheetTitle(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

// say puts the outcome into words.
func (p *page) say(alarms int64, reasons *Reasons) {
	s, facts, c := p.Summary, p.Facts, p.Summary.Counts
	open := stillOpen(c)
	p.Tone = "open"
	switch {
	case c.Rows == 0:
		p.Tone, p.Headline = "good", "The sheet has no row: there was nothing to do."
	case open == 0 && c.NotDue > 0:
		p.Tone, p.Headline = "good", undueHeadline(c)
	case open == 0 && c.Rows == 1:
		p.Tone, p.Headline = "good", "The one row is as the sheet asks."
	case open == 0:
		p.Tone, p.Headline = "good", fmt.Sprintf("All %s are as the sheet asks.", grouped(c.Rows, "row", "rows"))
	case open == c.Accepted && facts.AcceptedIsDone:
		p.Headline = grouped(open, "row is", "rows are") + " accepted by the CRM and not confirmed; nothing else is open."
		p.Remarks = append(p.Remarks, "This run was told not to ask what became of accepted rows (--confirm off).")
	default:
		p.Headline = fmt.Sprintf("%s of %s %s open.", grouped(open, "row", "rows"), group(c.Rows), plural(open, "is", "are"))
	}
	if alarms > 0 {
		p.Remarks = append(p.Remarks, "By "+grouped(alarms, "row", "rows")+" a bystander, whom no row is about, lost a record and was not given it back. Give it back by hand; the people are named below.")
	}
	if s.Stopped != nil && !errors.Is(facts.Failure, s.Stopped) { // which is told below
		p.Remarks = append(p.Remarks, sentence("The run was stopped before everything was tried: "+Printable(s.Stopped.Error())))
	}
	if facts.Failure != nil {
		p.Remarks = append(p.Remarks, sentence("The command ended with an error: "+problem(facts.Failure)))
	}
	if alarms > 0 || s.Stopped != nil || facts.Failure != nil || ended(s) {
		p.Tone = "stopped"
	}
	if facts.noOutput() {
		p.Remarks = append(p.Remarks, "The result file is missing: mend what is in its way and write it with bulkrevoke results.")
	}
	p.Why = openReasons(s, facts, reasons)
	if open > 0 {
		_, again := next(s, facts)
		p.Again = Printable(again)
	}
}

// listRows fills in the rows that somebody may have to look at, the most serious first.
func (p *page) listRows(g gathered) {
	for _, name := range []string{
		listAlarms, crm.Failed.String(), crm.Uncertain.String(), wordInvalid, crm.Accepted.String(), crm.Pending.String(), listRemarks,
	} {
		l := g.lists[name]
		switch {
		case l.rows == 0:
			continue
		case name == listAlarms:
			l.Title, l.Meaning = "Access lost by somebody else", "Somebody whom the row does not name lost access and could not be given it back. The message says who."
		case name == listRemarks:
			l.Title, l.Meaning = "Done, with a remark", "These rows are as the sheet asks. What is said beside them should be known."
		default:
			i := slices.IndexFunc(p.Results, func(r resultLine) bool { return r.Word == name })
			l.Word, l.Title, l.Meaning = name, name, p.Results[i].Meaning
		}
		l.Title += ": " + grouped(l.rows, "row", "rows")
		if more := l.rows - int64(len(l.Shown)); more > 0 {
			l.Meaning += fmt.Sprintf(" The first %s are listed; %s in the result file.", group(int64(len(l.Shown))), grouped(more, "more is", "more are"))
		}
		if !p.Whole && len(l.Shown) > firstRows {
			l.Shown, l.Folded = l.Shown[:firstRows], l.Shown[firstRows:]
		}
		p.Open = append(p.Open, l)
	}
}

// listPeople fills in whom rows touch, and returns how many they are.
func (p *page) listPeople(all *people) tile {
	p.People, p.RestPeople, p.NotCovered = all.kept, all.beyond(), notCovered
	named := 0
	for _, who := range p.People {
		who.Shown = who.Shown[:min(len(who.Shown), wholeRows-named)]
		named += len(who.Shown)
	}
	if n := all.nameless; n > 0 {
		p.Nameless = fmt.Sprintf("%s nobody and %s not counted here.", grouped(n, "invalid row names", "invalid rows name"), plural(n, "is", "are"))
	}
	return tile{group(all.number), plural(all.number, "person", "people")}
}

// listFacts fills in what there is to know about the run, what ties the page to the sheet,
// the plan and the ledger, and the figures above.
func (p *page) listFacts(g gathered, people tile) {
	s, facts, c := p.Summary, p.Facts, g.counts
	p.Tiles = []tile{{group(c.Rows), "rows in the sheet"}, {group(c.Done + c.Unchanged), "done or unchanged"}, {group(stillOpen(c)), "open"}, people}
	if c.NotDue > 0 {
		p.Tiles = slices.Insert(p.Tiles, 3, tile{group(c.NotDue), "not due yet"})
	}
	planned, longest := fact{Name: "Planned"}, fact{Name: "Longest from sent to confirmed"}
	if plan := facts.Plan; plan != nil {
		planned.Value = fmt.Sprintf("%s to send, %s finished by earlier runs", grouped(plan.ToSend, "row", "rows"), group(plan.Done))
	}
	if d := lasted(g.longest); d > 0 {
		const exactly = "2006-01-02 15:04:05.000 UTC"
		longest.Value = took(d)
		longest.Note = fmt.Sprintf("line %d: sent %s, confirmed %s", g.longest.Line, utc(g.longest.SentAt, exactly), utc(g.longest.ConfirmedAt, exactly))
	}
	p.Run = known(append(p.command(),
		fact{Name: "Started", Value: moment(s.Started)},
		fact{Name: "Ended", Value: moment(s.Ended), Note: "after " + took(s.Ended.Sub(s.Started))},
		planned,
		fact{Name: "Sent", Value: grouped(s.Sent, "row", "rows") + " in this run"},
		longest,
		fact{Name: "Exit code", Value: strconv.Itoa(facts.ExitCode), Note: exitMeaning(facts.ExitCode)},
		fact{Name: "Result file", Value: Printable(facts.Files.Results), Note: "every row of the sheet with what became of it"},
		fact{Name: "Ledger", Value: Printable(facts.Files.Ledger)},
	))
	p.Evidence = known([]fact{
		{Name: "Sheet SHA-256", Value: p.Hash, Code: true},
		{Name: "Plan digest", Value: Printable(facts.digest()), Code: true},
		{Name: "Last event of the chain", Value: group(s.HeadSeq)},
		{Name: "Hash of that event", Value: Printable(s.Head), Code: true},
		{Name: "Ledger id", Value: p.LedgerID, Code: true},
		{Name: "Run", Value: strconv.FormatInt(s.Run, 10)},
		{Name: "Operator", Value: Printable(facts.Operator)},
		{Name: "Version", Value: Printable(facts.Version)},
	})
}

// command is what is known of every command.
func (p *page) command() []fact {
	facts, line := p.Facts, ""
	if len(facts.Args) > 0 {
		line = "bulkrevoke"
	}
	for _, arg := range facts.Args {
		arg = Printable(arg)
		if arg == "" || strings.ContainsAny(arg, " \t'\"$`\\") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		line += " " + arg
	}
	return []fact{
		{Name: "Sheet", Value: p.Sheet},
		{Name: "SHA-256 of the sheet", Value: p.Hash, Code: true},
		{Name: "Operator", Value: Printable(facts.Operator)},
		{Name: "Machine", Value: Printable(facts.Host)},
		{Name: "Program", Value: "bulkrevoke " + Printable(facts.Version)},
		{Name: "Command", Value: line, Code: true},
	}
}

func known(facts []fact) []fact {
	return slices.DeleteFunc(facts, func(f fact) bool { return f.Value == "" })
}

// exitMeaning says in words what the command told whoever started it.
func exitMeaning(code int) string {
	switch {
	case code == 0:
		return "nothing is left to do"
	case code == 1:
		return "finished, and some rows are open"
	case code == exitRefused:
		return "refused"
	case code == 3:
		return "stopped early, or an account could not be worked with"
	case code == exitHeld:
		return "another run or program was at it"
	case code > interrupted:
		return "interrupted"
	}
	return ""
}

// part writes a share of a whole; what is not nothing and not everything never
// looks like it.
func part(n, of int64) string {
	if of == 0 || n == 0 {
		return ""
	}
	percent := 100 * float64(n) / float64(of)
	switch {
	case n == of:
		return "100 %"
	case percent < 0.1:
		return "< 0.1 %"
	case percent > 99.9:
		return "> 99.9 %"
	}
	return fmt.Sprintf("%.1f %%", percent)
}
