package report

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// runFacts fills in what there is to know about the run, and the figures above.
func (p *page) runFacts(s batch.Summary, facts Facts, g gathered) {
	c := s.Counts
	p.Tiles = append([]tile{
		{group(c.Rows), "rows in the sheet"}, {group(c.Done + c.Unchanged), "done or unchanged"}, {group(p.OpenRows), "open"},
	}, p.Tiles...)
	p.commandFacts(facts)
	p.run("Started", moment(s.Started), false, "")
	p.run("Ended", moment(s.Ended), false, "after "+took(s.Ended.Sub(s.Started)))
	if plan := facts.Plan; plan != nil {
		p.run("Planned", fmt.Sprintf("%s to send, %s settled by earlier runs", grouped(plan.ToSend, "row"), group(plan.Done)), false, "")
	}
	p.run("Sent", grouped(s.Sent, "row")+" in this run", false, "")
	if d := lasted(g.longest); d > 0 {
		p.run("Longest from sent to confirmed", took(d), false, fmt.Sprintf("line %d: sent %s, confirmed %s",
			g.longest.Line, exactly(g.longest.SentAt), exactly(g.longest.ConfirmedAt)))
	}
	p.run("Exit code", strconv.Itoa(facts.ExitCode), false, exitMeaning(facts.ExitCode))
	p.run("Result file", Printable(facts.Files.Results), false, "every row of the sheet with what became of it")
	p.run("Ledger", Printable(facts.Files.Ledger), false, "")
}

// commandFacts fills in what is known of every command.
func (p *page) commandFacts(facts Facts) {
	p.run("Sheet", p.Sheet, false, "")
	if p.Hash != "" {
		p.run("SHA-256 of the sheet", p.Hash, true, "")
	}
	p.run("Operator", Printable(facts.Operator), false, "")
	p.run("Machine", Printable(facts.Host), false, "")
	p.run("Program", "bulkrevoke "+Printable(facts.Version), false, "")
	p.run("Command", commandLine(facts.Args), true, "")
}

// run adds a fact about the run, if it is known.
func (p *page) run(name, value string, code bool, note string) {
	if value != "" {
		p.Run = append(p.Run, fact{name, value, code, note})
	}
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
	case interrupted(code):
		return "interrupted"
	}
	return ""
}

// The exit codes that the evidence has words of its own for.
const (
	exitRefused = 2
	exitHeld    = 4
)

// interrupted says whether a signal ended the command: 128 and the signal's number.
func interrupted(code int) bool { return code > 128 }

// commandLine shows the command as it was given.
func commandLine(args []string) string {
	if len(args) == 0 {
		return ""
	}
	words := []string{"bulkrevoke"}
	for _, arg := range args {
		arg = Printable(arg)
		if arg == "" || strings.ContainsAny(arg, " \t'\"$`\\") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// accounts fills in what the accounts were asked.
func (p *page) accounts(ctx context.Context, led *ledger.Ledger, s batch.Summary, facts Facts) error {
	bindings, err := led.Bindings(ctx)
	if err != nil {
		return err
	}
	orgs := make(map[string]string)
	for _, b := range bindings {
		orgs[b.Account] = b.Org
	}
	for _, a := range s.Accounts {
		line := accountLine{
			Name: Printable(a.Account), CRM: Printable(a.CRM), Host: Printable(a.Host), Org: Printable(orgs[a.Account]),
			Calls: group(a.Usage.Calls), Refused: group(a.Usage.Refused), Repeats: group(a.Usage.Repeats),
			Plot: newPlot(a),
		}
		if a.Usage.Limit > 0 && a.Usage.Window > 0 {
			line.Limit = fmt.Sprintf("%s in %s", group(int64(a.Usage.Limit)), a.Usage.Window)
		}
		if plan, ok := facts.planned(a.Account); ok {
			line.Planned = fmt.Sprintf("%s, %s", grouped(plan.Calls, "call"), estimate(plan.Duration))
		}
		if e := a.Ended; e != nil {
			line.Ended, line.Hint = Printable(e.Error()), Printable(e.Hint)
		}
		p.Accounts = append(p.Accounts, line)
	}
	return nil
}

// runs fills in the latest runs of the ledger.
func (p *page) runs(ctx context.Context, led *ledger.Ledger, s batch.Summary) error {
	runs, err := led.Runs(ctx)
	if err != nil {
		return err
	}
	p.RunsBefore = max(0, len(runs)-shownRuns)
	for _, r := range runs[p.RunsBefore:] {
		line := runLine{
			ID: r.ID, Started: moment(r.Started), Ended: moment(r.Ended), This: r.ID == s.Run,
			Operator: Printable(r.Operator), Version: Printable(r.Version),
		}
		switch {
		case r.Ended.IsZero() && line.This:
			line.Ended = moment(s.Ended)
		case r.Ended.IsZero():
			line.Ended = "cut off"
		}
		p.Runs = append(p.Runs, line)
	}
	return nil
}

// evidence fills in what ties the page to the sheet, the plan and the ledger.
func (p *page) evidence(ctx context.Context, led *ledger.Ledger, s batch.Summary, facts Facts) error {
	seq, head := s.HeadSeq, s.Head
	if head == "" {
		var err error
		if seq, head, err = led.Head(ctx); err != nil {
			return err
		}
	}
	for _, f := range []fact{
		{"Sheet SHA-256", p.Hash, true, ""},
		{"Plan digest", Printable(facts.digest()), true, ""},
		{"Last event of the chain", group(seq), false, ""},
		{"Hash of that event", Printable(head), true, ""},
		{"Ledger id", p.LedgerID, true, ""},
		{"Run", strconv.FormatInt(s.Run, 10), false, ""},
		{"Operator", Printable(facts.Operator), false, ""},
		{"Version", Printable(facts.Version), false, ""},
	} {
		if f.Value != "" {
			p.Evidence = append(p.Evidence, f)
		}
	}
	return nil
}

// group writes a number with commas between its thousands.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// grouped is count with commas.
func grouped(n int64, noun string) string { return verb(n, noun, noun+"s") }

// verb writes a number with what follows it for one and for several.
func verb(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return group(n) + " " + many
}

func isAre(n int64) string {
	if n == 1 {
		return "is"
	}
	return "are"
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
