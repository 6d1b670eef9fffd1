package batch

import (
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// TwoAccountsError says that rows of two accounts are about one record of one
// organisation. Each account works by itself, so that the rows would act in any
// order, and one account's change could take back the other's.
type TwoAccountsError struct {
	Lines    [2]int // a row of each
	Accounts [2]string
}

func (e *TwoAccountsError) Error() string {
	return fmt.Sprintf("lines %d and %d are about one record of one organisation, by the accounts %q and %q: rows about a record keep their order within one account only",
		e.Lines[0], e.Lines[1], e.Accounts[0], e.Accounts[1])
}

// sharedRecords finds records that two accounts are to change. It remembers nothing
// unless two accounts of the sheet work in one organisation, which is rare: then it
// takes memory for every record.
type sharedRecords struct {
	b      *Batch
	places map[string]string // the organisation of an account that is not alone in it
	first  map[string]seenRecord
}

type seenRecord struct {
	account string
	line    int
}

func newSharedRecords(b *Batch) *sharedRecords {
	s := &sharedRecords{b: b, places: make(map[string]string), first: make(map[string]seenRecord)}
	here := make(map[string][]string)
	for _, acc := range b.order {
		if acc.rows > 0 && acc.identity.Org != "" {
			place := acc.CRM + " " + acc.Host + " " + acc.identity.Org
			here[place] = append(here[place], acc.Name)
		}
	}
	for place, names := range here {
		for _, name := range names {
			if len(names) > 1 {
				s.places[name] = place
			}
		}
	}
	return s
}

// see takes in a valid row, and returns the error if another account has its record.
func (s *sharedRecords) see(row ledger.ImportRow) *TwoAccountsError {
	place, ok := s.places[row.Account]
	if !ok {
		return nil
	}
	record := place + " " + s.b.accounts[row.Account].Rules.Key(row.Op).String()
	first, ok := s.first[record]
	if !ok {
		s.first[record] = seenRecord{row.Account, row.Line}
		return nil
	}
	if first.account == row.Account {
		return nil
	}
	return &TwoAccountsError{Lines: [2]int{first.line, row.Line}, Accounts: [2]string{first.account, row.Account}}
}
