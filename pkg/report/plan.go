package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// WritePlan writes a plan as text to read.
func WritePlan(w io.Writer, sheetName string, p batch.Plan) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %d to send\n", Printable(p.Worksheet.Of(sheetName)), Count(p.Rows, "row"), p.ToSend)
	if p.Records > 0 {
		fmt.Fprintf(&b, "  it names %d %s and %s\n", p.People, plural(p.People, "person", "people"), Count(p.Records, "record"))
	}
	facts := []struct {
		n    int64
		what string
	}{
		{p.Done, "finished already, nothing to do"},
		{p.Asked, "left open by an earlier run, asked about first"},
		{p.Waiting, "in doubt, not repeated without --redo-in-doubt"},
		{p.Retried, "of those to send: refused in an earlier run, tried again at the end"},
		{p.TakenAgain, "of those to send: take away again what an undo or another sheet of this ledger gave back"},
		{p.GivenAgain, "of those to send: give again what an undo or another sheet of this ledger took away"},
		{p.Invalid, "invalid, never sent"},
		{p.ClockHeld, "not attempted: they have dates, and this machine's clock and the CRM's differ"},
		{p.Kept, "to be kept, nothing is sent"},
		{p.Overdue, "overdue: their date has come, and they are not finished" + since(p.OldestDue)},
		{p.Unavailable, "not attempted: nobody can be asked who has their address"},
		{p.Joined, "go together with an equal row"},
		{p.Unstated, "revokes without access: the account's default is sent"},
		{p.Contexts, "lead revokes: the user may keep the lead through another activity"},
	}
	for _, f := range facts {
		if f.n > 0 {
			fmt.Fprintf(&b, "  %d  %s\n", f.n, f.what)
		}
	}
	writeDueDays(&b, p)
	if p.Pairs > 0 {
		fmt.Fprintf(&b, "  note: %s both a revoke and a share; they act in sheet order\n", Count(p.Pairs, "target")+plural(p.Pairs, " has", " have"))
	}
	for _, note := range p.Notes {
		fmt.Fprintf(&b, "  note: %s\n", Printable(note))
	}
	if len(p.Groups) > 0 {
		b.WriteByte('\n')
		tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "account\taction\tobject\trows\tto send")
		for _, g := range p.Groups {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%d\n", Printable(g.Account), g.Action, Printable(g.Object), g.Rows, g.ToSend)
		}
		_ = tw.Flush() // a strings.Builder takes everything
	}
	for _, a := range p.Accounts {
		fmt.Fprintf(&b, "\naccount %s (%s at %s): about %s, %s\n", a.Account, a.CRM, a.Host, Count(a.Calls, "call"), estimate(a.Duration))
		if a.Ended != nil {
			fmt.Fprintf(&b, "  can not be worked with: %s\n", Printable(a.Ended.Error()))
		}
		if a.Clock != nil {
			fmt.Fprintf(&b, "  %s\n", Printable(a.Clock.Err.Error()))
		}
		if e := cmp.Or(a.Ended, a.Clock); e != nil && e.Hint != "" {
			fmt.Fprintf(&b, "  %s\n", Printable(e.Hint))
		}
	}
	if p.Digest != "" {
		fmt.Fprintf(&b, "\ndigest %s\n", p.Digest)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// since tells how far back the oldest date lies.
func since(oldest *time.Time) string {
	if oldest == nil {
		return ""
	}
	return "; the oldest since " + oldest.Format("2006-01-02 15:04 UTC")
}

// writeDueDays tells what becomes due when.
func writeDueDays(b *strings.Builder, p batch.Plan) {
	if p.NotDue == 0 {
		return
	}
	fmt.Fprintf(b, "  %d  not due yet, nothing is sent:\n", p.NotDue)
	for _, d := range p.DueDays {
		fmt.Fprintf(b, "      %s  %s\n", d.Day, Count(d.Rows, "row"))
	}
	if p.DueLater > 0 {
		fmt.Fprintf(b, "      later       %s\n", Count(p.DueLater, "row"))
	}
}

// planJSON is a plan as `plan --json` writes it.
type planJSON struct {
	Sheet string `json:"sheet"`
	batch.Plan
	Accounts []planAccountJSON `json:"accounts"`
}

type planAccountJSON struct {
	batch.PlanAccount
	Ended *endedJSON `json:"ended,omitempty"`
	Clock *endedJSON `json:"clock,omitempty"`
}

// endedJSON is why an account can not be worked with.
type endedJSON struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func endedOf(e *crm.AccountError) *endedJSON {
	if e == nil {
		return nil
	}
	message := ""
	if e.Err != nil {
		message = Printable(e.Err.Error())
	}
	return &endedJSON{Code: e.Code, Message: message, Hint: Printable(e.Hint)}
}

// WritePlanJSON writes a plan as one JSON object.
func WritePlanJSON(w io.Writer, sheetName string, p batch.Plan) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(planJSONOf(sheetName, p))
}

func planJSONOf(sheetName string, p batch.Plan) planJSON {
	out := planJSON{Sheet: sheetName, Plan: p, Accounts: []planAccountJSON{}}
	if out.Notes == nil {
		out.Notes = []string{}
	}
	if out.Groups == nil {
		out.Groups = []batch.PlanGroup{}
	}
	for _, a := range p.Accounts {
		out.Accounts = append(out.Accounts, planAccountJSON{PlanAccount: a, Ended: endedOf(a.Ended), Clock: endedOf(a.Clock)})
	}
	return out
}
