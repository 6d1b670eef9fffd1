package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
)

// SummaryText is what the summary of a run says beside the figures.
type SummaryText struct {
	Sheet  string // as the user named it
	Output string // the result file
	Failed bool   // it could not be written
	Again  string // the command that goes on with this sheet, ready to paste
	// AcceptedIsDone says that nobody will ask about accepted rows.
	AcceptedIsDone bool
}

// WriteSummary writes how a run ended and what to do next.
func WriteSummary(w io.Writer, s batch.Summary, t SummaryText) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", t.Sheet, count(s.Counts.Rows, "row"))
	if took := s.Ended.Sub(s.Started); took > 0 && s.Sent > 0 {
		fmt.Fprintf(&b, ", %d sent in %s", s.Sent, took.Round(100*time.Millisecond))
	}
	b.WriteByte('\n')
	for _, c := range []struct {
		word string
		n    int64
	}{
		{"done", s.Counts.Done}, {"unchanged", s.Counts.Unchanged}, {"accepted", s.Counts.Accepted},
		{"failed", s.Counts.Failed}, {"in_doubt", s.Counts.InDoubt}, {wordInvalid, s.Counts.Invalid},
		{wordNotAttempted, s.Counts.NotAttempted},
	} {
		if c.n > 0 {
			fmt.Fprintf(&b, "  %-14s%d\n", c.word, c.n)
		}
	}
	for _, a := range s.Accounts {
		accountText(&b, a)
	}
	if s.Stopped != nil {
		fmt.Fprintf(&b, "stopped: %s\n", Printable(strings.TrimPrefix(s.Stopped.Error(), "stopped by ")))
	}
	if t.Failed {
		fmt.Fprintf(&b, "results: %s could not be written\n", t.Output)
	} else {
		fmt.Fprintf(&b, "results: %s\n", t.Output)
	}
	for _, line := range next(s, t) {
		fmt.Fprintf(&b, "next: %s\n", line)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// accountText says what one account was asked, and what ended it.
func accountText(b *strings.Builder, a batch.SummaryAccount) {
	fmt.Fprintf(b, "account %s (%s at %s): %s", a.Account, a.CRM, a.Host, count(a.Usage.Calls, "call"))
	if a.Usage.Refused > 0 {
		fmt.Fprintf(b, ", %d refused by the rate limit", a.Usage.Refused)
	}
	if a.Usage.Repeats > 0 {
		fmt.Fprintf(b, ", %d repeated after a failure", a.Usage.Repeats)
	}
	b.WriteByte('\n')
	if a.Ended == nil {
		return
	}
	fmt.Fprintf(b, "account %s ended: %s\n", a.Account, Printable(a.Ended.Error()))
	if a.Ended.Hint != "" {
		fmt.Fprintf(b, "  %s\n", Printable(a.Ended.Hint))
	}
}

// next says what is left for somebody to do, the most pressing first.
func next(s batch.Summary, t SummaryText) []string {
	var lines []string
	add := func(n int64, one, many string) {
		switch {
		case n == 1:
			lines = append(lines, "1 row "+one)
		case n > 1:
			lines = append(lines, fmt.Sprintf("%d rows %s", n, many))
		}
	}
	again := fmt.Sprintf("run `%s`", t.Again)
	c := s.Counts
	hint := "attempted: " + again + " to go on"
	switch {
	case ended(s):
		hint = "attempted: mend what ended the account, then " + again + " to go on"
	case s.Stopped == nil:
		hint = "attempted: an earlier row about the same user and record is in doubt or unconfirmed"
	}
	alarm := fmt.Sprintf("changed a record that somebody lost at the same time who was to keep it: the message in %s names them, give it back by hand", t.Output)
	add(s.Alarms, alarm, alarm)
	add(c.NotAttempted, "was not "+hint, "were not "+hint)
	failed := fmt.Sprintf("failed: see %s (column result = failed), mend what its message says and %s again", t.Output, again)
	add(c.Failed, failed, failed)
	doubt := fmt.Sprintf("in doubt: look at the CRM (%s, column result = in_doubt); `%s --redo-in-doubt` sends them again", t.Output, t.Again)
	if s.Stopped != nil || ended(s) {
		doubt = fmt.Sprintf("in doubt, sent without an answer: the next run finds out what it can; for what stays look at the CRM (%s, column result = in_doubt)", t.Output)
	}
	add(c.InDoubt, "is "+doubt, "are "+doubt)
	invalid := fmt.Sprintf("invalid and never sent: see %s (column result = invalid), mend the sheet and %s again", t.Output, again)
	add(c.Invalid, "is "+invalid, "are "+invalid)
	if !t.AcceptedIsDone {
		accepted := "accepted and not confirmed yet: " + again + " later to ask about them"
		add(c.Accepted, "is "+accepted, "are "+accepted)
	}
	switch {
	case len(lines) > 0:
	case c.Accepted > 0:
		lines = append(lines, "nothing; what is accepted was not asked about, without --confirm off it is")
	case c.Rows == 0:
		lines = append(lines, "nothing, the sheet has no row")
	default:
		lines = append(lines, "nothing, every row is as the sheet asks")
	}
	return lines
}

func ended(s batch.Summary) bool {
	for _, a := range s.Accounts {
		if a.Ended != nil {
			return true
		}
	}
	return false
}
