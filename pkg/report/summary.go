package report

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// SummaryText is what the summary of a run says beside the figures.
type SummaryText struct {
	Sheet  string // as the user named it
	Output string // the result file
	Failed bool   // it could not be written
	Again  string // the command that goes on with this sheet, ready to paste
	// Failure is the error that the command ends with, which is told after the summary;
	// nil if none.
	Failure error
	// AcceptedIsDone says that nobody will ask about accepted rows.
	AcceptedIsDone bool
	// Reasons says why rows are open; nil if nobody has counted them.
	Reasons *Reasons
}

// WriteSummary writes how a run ended and what to do next.
func WriteSummary(w io.Writer, s batch.Summary, t SummaryText) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", Printable(s.Worksheet.Of(t.Sheet)), count(s.Counts.Rows, "row"))
	b.WriteString(hiddenText(s.Worksheet))
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
			reasonsText(&b, c.word, t.Reasons)
		}
	}
	for _, a := range s.Accounts {
		accountText(&b, a)
	}
	if s.Stopped != nil && !errors.Is(t.Failure, s.Stopped) {
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
	if command := again(s, t); command != "" {
		fmt.Fprintf(&b, "again: %s\n", command)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// hiddenText says how many rows a workbook hides.
func hiddenText(w *sheet.Worksheet) string {
	switch {
	case w == nil:
		return ""
	case w.HiddenRows > 0:
		return fmt.Sprintf(" (%d of them hidden in the workbook)", w.HiddenRows)
	case w.SkippedRows > 0:
		return fmt.Sprintf(" (and %d hidden in the workbook, left alone)", w.SkippedRows)
	}
	return ""
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

// reasonsText says why the rows of one result are open, the most frequent code first.
func reasonsText(b *strings.Builder, word string, reasons *Reasons) {
	most, others := reasons.of(word)
	for _, r := range most {
		if r.Code != "" {
			fmt.Fprintf(b, "    %6d  %s\n", r.Rows, r.Code)
		}
	}
	if others > 0 {
		fmt.Fprintf(b, "    %6d  other codes\n", others)
	}
}

// next says what is left for somebody to do, the most pressing first. What command
// does it is again's to say, once.
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
	c := s.Counts
	if t.Failed {
		lines = append(lines, "the result file is missing: mend what is in its way and write it with bulkrevoke results")
	}
	hint := "attempted: run again to go on"
	switch {
	case ended(s):
		hint = "attempted: mend what ended the account, then run again to go on"
	case s.Stopped == nil:
		hint = "attempted: an earlier row about the same user and record is in doubt or unconfirmed"
	}
	alarm := fmt.Sprintf("took access from a bystander, whom no row is about: the message in %s names them, give it back by hand", t.Output)
	add(s.Alarms, alarm, alarm)
	add(c.NotAttempted, "was not "+hint, "were not "+hint)
	failed := fmt.Sprintf("failed: see %s (column result = failed), mend what its message says and run again", t.Output)
	add(c.Failed, failed, failed)
	doubt := fmt.Sprintf("in doubt: look at the CRM (%s, column result = in_doubt); run again with --redo-in-doubt to send them again", t.Output)
	if s.Stopped != nil || ended(s) {
		doubt = fmt.Sprintf("in doubt, sent without an answer: the next run finds out what it can; for what stays look at the CRM (%s, column result = in_doubt)", t.Output)
	}
	add(c.InDoubt, "is "+doubt, "are "+doubt)
	invalid := fmt.Sprintf("invalid and never sent: see %s (column result = invalid), mend the sheet and run again", t.Output)
	add(c.Invalid, "is "+invalid, "are "+invalid)
	if !t.AcceptedIsDone {
		accepted := "accepted and not confirmed yet: run again later to ask about them"
		add(c.Accepted, "is "+accepted, "are "+accepted)
	}
	switch {
	case len(lines) > 0:
	case ended(s):
		lines = append(lines, "every row is as the sheet asks, and an account ended early: see above")
	case c.Accepted > 0:
		lines = append(lines, "nothing; what is accepted was not asked about, without --confirm off it is")
	case c.Rows == 0:
		lines = append(lines, "nothing, the sheet has no row")
	default:
		lines = append(lines, "nothing, every row is as the sheet asks")
	}
	return lines
}

// again returns the command that goes on, "" where no row needs one.
func again(s batch.Summary, t SummaryText) string {
	c := s.Counts
	open := c.NotAttempted + c.Failed + c.InDoubt + c.Invalid
	if !t.AcceptedIsDone {
		open += c.Accepted
	}
	if open == 0 {
		return ""
	}
	return t.Again
}

func ended(s batch.Summary) bool {
	for _, a := range s.Accounts {
		if a.Ended != nil {
			return true
		}
	}
	return false
}
