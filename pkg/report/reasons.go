package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
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
