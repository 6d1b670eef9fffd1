package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const (
	// mostReasons bounds how many reasons are told apart, shownReasons how many of
	// them a page lists, summaryReasons how many of each result the summary.
	mostReasons    = 500
	shownReasons   = 25
	summaryReasons = 5
)

// reason is a code, with how many rows have it.
type reason struct {
	Result, Code string
	Message      string // of the first such row
	Rows         int64
}

// Reasons counts why rows are open, by result and code. The zero value is ready for
// use. What it holds is bounded, whatever the rows say.
type Reasons struct {
	byCode map[[2]string]*reason
	other  int64 // rows of reasons beyond mostReasons
}

// add takes up an open row.
func (r *Reasons) add(res ledger.Result) {
	if r.byCode == nil {
		r.byCode = make(map[[2]string]*reason)
	}
	key := [2]string{word(res), res.Code}
	switch found := r.byCode[key]; {
	case found != nil:
		found.Rows++
	case len(r.byCode) < mostReasons:
		r.byCode[key] = &reason{Result: key[0], Code: Printable(res.Code), Message: Printable(message(res)), Rows: 1}
	default:
		r.other++
	}
}

// sorted returns the reasons, the most frequent first.
func (r *Reasons) sorted() []*reason {
	return slices.SortedFunc(maps.Values(r.byCode), func(a, b *reason) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Result, b.Result), cmp.Compare(a.Code, b.Code))
	})
}

// of returns the most frequent reasons of one result, as many as the summary shows,
// and how many rows have others.
func (r *Reasons) of(word string) (most []*reason, others int64) {
	if r == nil {
		return nil, 0
	}
	for _, found := range r.sorted() {
		switch {
		case found.Result != word:
		case len(most) < summaryReasons:
			most = append(most, found)
		default:
			others += found.Rows
		}
	}
	return most, others
}

// openReason is why the rows of one result are open, and what to do about them.
type openReason struct {
	Word        string
	Rows        int64
	Codes, Todo string
}

// openReasons says why rows are open, by result and code.
func openReasons(s batch.Summary, f Facts, reasons *Reasons) (all []openReason) {
	todo := map[string]string{
		crm.Accepted.String():  "The next run asks about them.",
		crm.Failed.String():    "Mend what the messages below say, and run again.",
		crm.Uncertain.String(): "Look at the CRM, or run again with --redo-in-doubt to send them again.",
		wordInvalid:            "Mend them in the sheet, and run again.",
		crm.Pending.String():   "They wait for an earlier row about the same user and record, which is in doubt or unconfirmed.",
	}
	switch {
	case ended(s):
		todo[crm.Pending.String()] = "Mend what ended the account, and run again."
	case s.Stopped != nil:
		todo[crm.Pending.String()] = "The run was stopped before them. Run again to go on."
	}
	if f.AcceptedIsDone {
		todo[crm.Accepted.String()] = "Without --confirm off, the next run asks about them."
	}
	if s.Stopped != nil || ended(s) {
		todo[crm.Uncertain.String()] = "They were sent, without an answer. The next run finds out what it can; for what stays, look at the CRM."
	}
	for _, r := range results(&s.Counts) {
		what, ok := todo[r.Word]
		if !ok || r.Rows() == 0 {
			continue
		}
		line, codes := openReason{Word: r.Word, Rows: r.Rows(), Todo: what}, []string{}
		most, others := reasons.of(r.Word)
		for _, why := range most {
			if why.Code == "" {
				others += why.Rows
				continue
			}
			codes = append(codes, group(why.Rows)+" "+why.Code)
		}
		if len(most) == 1 && others == 0 {
			codes = []string{most[0].Code} // of them all
		}
		if others > 0 && len(codes) > 0 {
			codes = append(codes, group(others)+" for other reasons")
		}
		if line.Codes = strings.Join(codes, ", "); line.Codes == r.Word {
			line.Codes = ""
		}
		all = append(all, line)
	}
	return all
}
