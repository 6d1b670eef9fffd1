package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

const (
	// mostPeople bounds how many people are told apart, and so the memory that they
	// take: about 5 MB. Organisations with more users than that exist; sheets that
	// touch them all do not.
	mostPeople = 20_000
	// shownPeople is how many of them a page lists: a few sheets of paper.
	shownPeople = 200
)

// personKey tells people apart. The user is empty for what concerns everybody on a
// record.
type personKey struct{ account, user string }

// person is a user whom rows touch.
type person struct {
	personKey
	named  string // what the sheet calls them where that is something else, an address perhaps
	loose  bool   // known from an invalid row's cell alone
	counts batch.Counts
}

// open is how many of the person's rows are neither done nor unchanged.
func (p *person) open() int64 { return p.counts.Rows - p.done() }

func (p *person) done() int64 { return p.counts.Done + p.counts.Unchanged }

// people counts rows by the user whom they touch.
type people struct {
	known    map[personKey]*person
	nameless int64        // invalid rows that name nobody
	rest     batch.Counts // rows of people beyond mostPeople
}

func newPeople() *people { return &people{known: make(map[personKey]*person)} }

// add counts a row. named is what the sheet has in the row's user column.
func (p *people) add(res ledger.Result, named string) {
	key := personKey{res.Account, res.Op.User}
	if !res.HasOp() { // nobody knows who is meant
		if key.user = named; named == "" {
			p.nameless++
			return
		}
	}
	who := p.known[key]
	if who == nil {
		if len(p.known) >= mostPeople {
			countRow(&p.rest, res)
			return
		}
		who = &person{personKey: key, loose: true}
		p.known[key] = who
	}
	if res.HasOp() {
		who.loose = false
	}
	if who.named == "" && key.user != "" && !strings.EqualFold(named, key.user) {
		who.named = named
	}
	countRow(&who.counts, res)
}

// sorted returns the people, those with open rows first, then by their number of
// rows. What an invalid row calls a person by counts with the person where another
// row tells who that is.
func (p *people) sorted() []*person {
	type alias struct{ account, text string }
	whose := make(map[alias]*person)
	for _, who := range p.known {
		if !who.loose {
			whose[alias{who.account, strings.ToLower(who.user)}] = who
			whose[alias{who.account, strings.ToLower(who.named)}] = who
		}
	}
	var all []*person
	for _, who := range p.known {
		if same := whose[alias{who.account, strings.ToLower(who.user)}]; who.loose && same != nil {
			same.counts = sum(same.counts, who.counts)
			continue
		}
		all = append(all, who)
	}
	slices.SortFunc(all, func(a, b *person) int {
		return cmp.Or(
			cmp.Compare(min(b.open(), 1), min(a.open(), 1)), cmp.Compare(b.counts.Rows, a.counts.Rows),
			cmp.Compare(a.account, b.account), cmp.Compare(a.user, b.user),
		)
	})
	return all
}

// number is how many of them are people: everybody on a record is nobody in
// particular.
func number(all []*person) (n int) {
	for _, who := range all {
		if who.user != "" {
			n++
		}
	}
	return n
}

// sum adds two counts.
func sum(a, b batch.Counts) batch.Counts {
	return batch.Counts{
		Rows: a.Rows + b.Rows, Done: a.Done + b.Done, Unchanged: a.Unchanged + b.Unchanged, Accepted: a.Accepted + b.Accepted,
		Failed: a.Failed + b.Failed, InDoubt: a.InDoubt + b.InDoubt, Invalid: a.Invalid + b.Invalid,
		NotAttempted: a.NotAttempted + b.NotAttempted,
	}
}
