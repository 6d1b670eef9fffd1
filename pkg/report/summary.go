package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// WriteSummary writes how a run ended and what to do next. The failure of the facts is
// told after it. reasons says why rows are open; nil if nobody has counted them.
func WriteSummary(w io.Writer, s batch.Summary, f Facts, reasons *Reasons) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", Printable(s.Worksheet.Of(f.Sheet)), Count(s.Counts.Rows, "row"))
	b.WriteString(hiddenText(s.Worksheet))
	if took := s.Ended.Sub(s.Started); took > 0 && s.Sent > 0 {
		fmt.Fprintf(&b, ", %d sent in %s", s.Sent, took.Round(100*time.Millisecond))
	}
	b.WriteByte('\n')
	for _, r := range results(&s.Counts) {
		if r.Rows() == 0 {
			continue
		}
		fmt.Fprintf(&b, "  %-14s%d\n", r.Word, r.Rows())
		most, others := reasons.of(r.Word)
		for _, why := range most {
			if why.Code != "" {
				fmt.Fprintf(&b, "    %6d  %s\n", why.Rows, why.Code)
			}
		}
		if others > 0 {
			fmt.Fprintf(&b, "    %6d  other codes\n", others)
		}
	}
	for _, a := range s.Accounts {
		fmt.Fprintf(&b, "account %s (%s at %s): %s", a.Account, a.CRM, a.Host, Count(a.Usage.Calls, "call"))
		if a.Usage.Refused > 0 {
			fmt.Fprintf(&b, ", %d refused by the rate limit", a.Usage.Refused)
		}
		if a.Usage.Repeats > 0 {
			fmt.Fprintf(&b, ", %d repeated after a failure", a.Usage.Repeats)
		}
		b.WriteByte('\n')
		if a.Ended != nil {
			fmt.Fprintf(&b, "account %s ended: %s\n", a.Account, Printable(a.Ended.Error()))
		}
		if a.Clock != nil {
			fmt.Fprintf(&b, "account %s: %s\n", a.Account, Printable(a.Clock.Err.Error()))
		}
		if e := cmp.Or(a.Ended, a.Clock); e != nil && e.Hint != "" {
			fmt.Fprintf(&b, "  %s\n", Printable(e.Hint))
		}
	}
	if s.Stopped != nil && !errors.Is(f.Failure, s.Stopped) {
		fmt.Fprintf(&b, "stopped: %s\n", Printable(strings.TrimPrefix(s.Stopped.Error(), "stopped by ")))
	}
	missing := ""
	if f.noOutput() {
		missing = " could not be written"
	}
	fmt.Fprintf(&b, "results: %s%s\n", f.Files.Results, missing)
	todo, again := next(s, f)
	for _, line := range todo {
		fmt.Fprintf(&b, "next: %s\n", line)
	}
	if again != "" {
		fmt.Fprintf(&b, "again: %s\n", again)
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

// next says what is left for somebody to do, the most pressing first, and what command
// goes on, "" where no row needs one.
func next(s batch.Summary, f Facts) (lines []string, again string) {
	add := func(n int64, one, many, what string) {
		if n > 0 {
			lines = append(lines, Count(n, "row")+plural(n, one, many)+" "+what)
		}
	}
	c, results := s.Counts, f.Files.Results
	if f.noOutput() {
		lines = append(lines, "the result file is missing: mend what is in its way and write it with bulkrevoke results")
	}
	hint := "attempted: run again to go on"
	switch {
	case ended(s):
		hint = "attempted: mend what ended the account, then run again to go on"
	case s.Stopped == nil:
		hint = "attempted: an earlier row about the same user and record is in doubt or unconfirmed"
	}
	add(s.Alarms, "", "", fmt.Sprintf("took access from a bystander, whom no row is about: the message in %s names them, give it back by hand", results))
	add(c.NotAttempted, " was not", " were not", hint)
	add(c.Failed, "", "", fmt.Sprintf("failed: see %s (column result = failed), mend what its message says and run again", results))
	doubt := fmt.Sprintf("in doubt: look at the CRM (%s, column result = in_doubt); run again with --redo-in-doubt to send them again", results)
	if s.Stopped != nil || ended(s) {
		doubt = fmt.Sprintf("in doubt, sent without an answer: the next run finds out what it can; for what stays look at the CRM (%s, column result = in_doubt)", results)
	}
	add(c.InDoubt, " is", " are", doubt)
	add(c.Invalid, " is", " are", fmt.Sprintf("invalid and never sent: see %s (column result = invalid), mend the sheet and run again", results))
	open := stillOpen(c)
	if f.AcceptedIsDone {
		open -= c.Accepted
	} else {
		add(c.Accepted, " is", " are", "accepted and not confirmed yet: run again later to ask about them")
	}
	switch {
	case len(lines) > 0:
	case ended(s):
		lines = append(lines, "every row is as the sheet asks, and an account ended early: see above")
	case c.Accepted > 0:
		lines = append(lines, "nothing; what is accepted was not asked about, without --confirm off it is")
	case c.Rows == 0:
		lines = append(lines, "nothing, the sheet has no row")
	case c.NotDue == c.Rows:
		lines = append(lines, "nothing is due yet")
	case c.NotDue > 0:
		lines = append(lines, "nothing, every row that is due is as the sheet asks")
	default:
		lines = append(lines, "nothing, every row is as the sheet asks")
	}
	if open > 0 {
		again = f.Again
	}
	return lines, again
}
