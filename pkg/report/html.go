package report

import (
	"context"
	_ "embed" // the page's template
	"errors"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

//go:embed page.gohtml
var pageText string

// shownRuns is how many of a ledger's runs a page lists, the latest ones.
const shownRuns = 10

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
	tmpl, err := pageTemplate()
	if err != nil {
		return err
	}
	p, err := newPage(ctx, led, s, facts)
	if err != nil {
		return err
	}
	return reportFile(led.ID()).replace(ctx, path, func(w io.Writer) error { return tmpl.Execute(w, p) })
}

func pageTemplate() (*template.Template, error) {
	tmpl, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("read the page's template: %w", err)
	}
	return tmpl, nil
}

// page is what the template shows. Its texts are printable; the template escapes
// them.
type page struct {
	LedgerID         string
	Sheet, Hash      string
	Sandbox          bool
	Refused          bool     // no run began, and all that is known of rows is an earlier one's
	Invalid          []string // what is wrong with the rows that it was refused for
	Tone             string   // "good", "open", "stopped"
	Headline         string
	Remarks          []string
	Tiles            []tile
	Results          []resultLine
	Reasons          []*reason
	MoreReasons      int64 // rows of reasons that are not listed
	Run, Evidence    []fact
	Accounts         []accountLine
	Runs             []runLine
	RunsBefore       int
	People           []personLine
	RestPeople       string // what is not listed
	Nameless         string
	Open             []openGroup
	ManyAccounts     bool
	OpenRows         int64
	Next             []string
	Again            string // the command that goes on, "" if there is nothing to do
	SheetName, Ended string
}

// tile is a figure in large type.
type tile struct{ Value, Label string }

// fact is a line of a block of facts.
type fact struct {
	Name, Value string
	Code        bool // a hash, an id, a command: shown as it would be typed
	Note        string
}

// resultLine is how many rows have a result. Width is its part of the bar, X where
// that begins, in thousandths.
type resultLine struct {
	Word, Rows, Part, Meaning string
	X, Width                  float64
}

// accountLine is one account of the run.
type accountLine struct {
	Name, CRM, Host, Org, Calls, Refused, Repeats, Limit, Planned string
	Ended, Hint                                                   string
	Plot                                                          *plot
}

// runLine is one run of the ledger.
type runLine struct {
	ID                                int64
	Started, Ended, Operator, Version string
	This                              bool
}

// personLine is one person.
type personLine struct {
	Account, User, Named, Rows, Done, Open string
	What                                   []resultRows // the open rows by result
}

// openGroup is a list of rows.
type openGroup struct {
	Word, Rows, Meaning string // Word is empty for what is not the list of a result
	Title               string
	List                []openRow
	Missing             string // how many rows are not listed, if so
}

// gathered is what the rows of a ledger come to.
type gathered struct {
	counts  batch.Counts
	people  *people
	open    *openRows
	longest ledger.Result // the row that took longest from sent to confirmed
}

func gather(ctx context.Context, led *ledger.Ledger) (g gathered, err error) {
	layout, err := layoutOf(ctx, led)
	if err != nil {
		return g, err
	}
	columns := cellsOf(layout)
	g.people, g.open = newPeople(), newOpenRows()
	for res, err := range led.Results(ctx) {
		if err != nil {
			return g, err
		}
		countRow(&g.counts, res)
		g.people.add(res, columns.user(res))
		g.open.add(res, columns)
		if lasted(res) > lasted(g.longest) {
			g.longest = res
			g.longest.Cells = nil
		}
	}
	return g, nil
}

// lasted returns how long a row took from being sent to being confirmed, 0 if it
// was not.
func lasted(res ledger.Result) time.Duration {
	if res.State != ledger.Done || res.SentAt.IsZero() || res.ConfirmedAt.IsZero() {
		return 0
	}
	return res.ConfirmedAt.Sub(res.SentAt)
}

func newPage(ctx context.Context, led *ledger.Ledger, s batch.Summary, facts Facts) (*page, error) {
	g, err := gather(ctx, led)
	if err != nil {
		return nil, err
	}
	s.Counts = g.counts
	hash, err := sheetHash(ctx, led)
	if err != nil {
		return nil, err
	}
	p := &page{
		LedgerID: led.ID(), Sheet: Printable(s.Worksheet.Of(facts.Sheet)) + hiddenText(s.Worksheet), Hash: Printable(hash), Sandbox: facts.Sandbox,
		SheetName: Printable(s.Worksheet.Of(sheetTitle(facts.Sheet))), Ended: moment(s.Ended), ManyAccounts: len(s.Accounts) > 1,
	}
	p.say(s, facts, g.open.rows[listAlarms])
	p.results(g.counts)
	p.reasons(g.open)
	p.list(g.open)
	p.listPeople(g.people)
	p.runFacts(s, facts, g)
	if err := p.accounts(ctx, led, s, facts); err != nil {
		return nil, err
	}
	if err := p.runs(ctx, led, s); err != nil {
		return nil, err
	}
	return p, p.evidence(ctx, led, s, facts)
}

// sheetTitle is how a page calls a sheet: without its folders.
func sheetTitle(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

// say puts the outcome into words.
func (p *page) say(s batch.Summary, facts Facts, alarms int64) {
	c := s.Counts
	open := c.Rows - c.Done - c.Unchanged
	p.OpenRows = open
	p.Tone = "good"
	switch {
	case c.Rows == 0:
		p.Headline = "The sheet has no row: there was nothing to do."
	case open == 0:
		p.Headline = fmt.Sprintf("All %s are as the sheet asks.", grouped(c.Rows, "row"))
		if c.Rows == 1 {
			p.Headline = "The one row is as the sheet asks."
		}
	case open == c.Accepted && facts.AcceptedIsDone:
		p.Headline = fmt.Sprintf("%s accepted by the CRM and not confirmed; nothing else is open.", verb(open, "row is", "rows are"))
		p.Remarks = append(p.Remarks, "This run was told not to ask what became of accepted rows (--confirm off).")
		p.Tone = "open"
	default:
		p.Headline = fmt.Sprintf("%s of %s %s open.", verb(open, "row", "rows"), group(c.Rows), isAre(open))
		p.Tone = "open"
	}
	if alarms > 0 {
		p.Tone = "stopped"
		p.Remarks = append(p.Remarks, "By "+verb(alarms, "row", "rows")+" a bystander, whom no row is about, lost a record and was not given it back. Give it back by hand; the people are named below.")
	}
	if s.Stopped != nil {
		p.Tone = "stopped"
	}
	if s.Stopped != nil && !errors.Is(facts.Failure, s.Stopped) { // which is told below
		p.Remarks = append(p.Remarks, sentence("The run was stopped before everything was tried: "+Printable(s.Stopped.Error())))
	}
	if ended(s) {
		p.Tone = "stopped"
	}
	if facts.Failure != nil {
		p.Tone = "stopped"
		p.Remarks = append(p.Remarks, sentence("The command ended with an error: "+problem(facts.Failure)))
	}
	if open > 0 && facts.Again != "" {
		s.Alarms = 0 // told above, with those of earlier runs
		text := facts.text()
		for _, line := range next(s, text) {
			p.Next = append(p.Next, sentence(Printable(line)))
		}
		p.Again = Printable(again(s, text))
	}
}

// sentence ends a text with one full stop.
func sentence(text string) string { return strings.TrimRight(text, ". ") + "." }

// meaning says what a result means, for somebody who has not read the manual.
func meaning(word string) string {
	switch word {
	case ledger.Done.String():
		return "The CRM has confirmed it."
	case ledger.Unchanged.String():
		return "It was so already; no change was sent."
	case ledger.Accepted.String():
		return "The CRM took it and has not yet confirmed that it took effect."
	case ledger.Failed.String():
		return "The CRM refused it, or shows that it did not take effect."
	case ledger.Uncertain.String():
		return "It was sent, and no answer says whether it was done."
	case wordInvalid:
		return "The row can not be carried out as it stands in the sheet; it was never sent."
	}
	return "The run ended before it, or it waits for an earlier row on the same user and record."
}

// results fills in the counts, and the bar that shows them.
func (p *page) results(c batch.Counts) {
	x := 0.0
	for _, r := range results(c) {
		line := resultLine{Word: r.Word, Rows: group(r.Rows), Part: part(r.Rows, c.Rows), Meaning: meaning(r.Word), X: x}
		if c.Rows > 0 {
			line.Width = tenth(1000 * float64(r.Rows) / float64(c.Rows))
		}
		x = tenth(x + line.Width)
		p.Results = append(p.Results, line)
	}
}

func (p *page) reasons(open *openRows) {
	// What has neither code nor message is in the table of results, with what it means.
	all := slices.DeleteFunc(open.reasons.sorted(), func(r *reason) bool { return r.Code == "" && r.Message == "" })
	p.Reasons = all[:min(len(all), shownReasons)]
	p.MoreReasons = open.reasons.other
	for _, r := range all[len(p.Reasons):] {
		p.MoreReasons += r.Rows
	}
}

// list fills in the rows that somebody may have to look at, the most serious first.
func (p *page) list(open *openRows) {
	for _, name := range []string{
		listAlarms, ledger.Failed.String(), ledger.Uncertain.String(), wordInvalid, ledger.Accepted.String(), wordNotAttempted, listRemarks,
	} {
		rows := open.rows[name]
		if rows == 0 {
			continue
		}
		g := openGroup{Word: name, Title: name, Rows: grouped(rows, "row"), Meaning: meaning(name), List: open.shown[name]}
		switch name {
		case listAlarms:
			g.Word, g.Title, g.Meaning = "", "Access lost by somebody else", "Somebody whom the row does not name lost access and could not be given it back. The message says who."
		case listRemarks:
			g.Word, g.Title, g.Meaning = "", "Done, with a remark", "These rows are as the sheet asks. What is said beside them should be known."
		}
		if more := rows - int64(len(g.List)); more > 0 {
			g.Missing = fmt.Sprintf("The first %s are listed; %s in the result file.", group(int64(len(g.List))), verb(more, "more is", "more are"))
		}
		p.Open = append(p.Open, g)
	}
}

func (p *page) listPeople(all *people) {
	sorted := all.sorted()
	shown := sorted[:min(len(sorted), shownPeople)]
	for _, who := range shown {
		line := personLine{
			Account: Printable(who.account), User: Printable(who.user), Named: Printable(who.named),
			Rows: group(who.counts.Rows), Done: group(who.done()), Open: group(who.open()),
		}
		if who.user == "" {
			line.User, line.Named = "everybody on the record", ""
		}
		for _, r := range results(who.counts) {
			if r.Rows > 0 && r.Word != ledger.Done.String() && r.Word != ledger.Unchanged.String() {
				line.What = append(line.What, r)
			}
		}
		p.People = append(p.People, line)
	}
	rest := all.rest
	for _, who := range sorted[len(shown):] {
		rest = sum(rest, who.counts)
	}
	if n := int64(len(sorted) - len(shown)); n > 0 {
		more := ""
		if all.rest.Rows > 0 {
			more = "at least "
		}
		p.RestPeople = fmt.Sprintf("And %s%s with %s, of which %s.", more, verb(n, "further person", "further people"),
			grouped(rest.Rows, "row"), verb(rest.Rows-rest.Done-rest.Unchanged, "is open", "are open"))
	}
	if all.nameless > 0 {
		p.Nameless = fmt.Sprintf("%s nobody and %s not counted here.", verb(all.nameless, "invalid row names", "invalid rows name"), isAre(all.nameless))
	}
	n, people := number(sorted), "people"
	if n == 1 {
		people = "person"
	}
	p.Tiles = append(p.Tiles, tile{group(int64(n)), people})
	if all.rest.Rows > 0 {
		p.Tiles[0].Value = "over " + p.Tiles[0].Value
	}
}
