package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
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
type personKey struct{ Account, User string }

// person is a user whom rows touch.
type person struct {
	personKey
	Named  string // what the sheet calls them where that is something else, an address perhaps
	Counts batch.Counts
	loose  bool // known from an invalid row's cell alone
}

// Open is how many of the person's rows are open, as isOpen has it.
func (p *person) Open() int64 { return stillOpen(p.Counts) }

// Done is how many of them are done or unchanged.
func (p *person) Done() int64 { return p.Counts.Done + p.Counts.Unchanged }

// What is the results of all others.
func (p *person) What() (others []result) {
	for _, r := range results(&p.Counts) {
		if r.Rows() > 0 && r.Word != crm.Done.String() && r.Word != crm.Unchanged.String() {
			others = append(others, r)
		}
	}
	return others
}

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
	if !res.HasOp() || key.User == "" && res.Email != "" { // nobody knows who is meant, or has asked
		if key.User = named; named == "" {
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
	if who.Named == "" && key.User != "" && !strings.EqualFold(named, key.User) {
		who.Named = named
	}
	countRow(&who.Counts, res)
}

// sorted returns the people, those with open rows first, then by their number of
// rows. What an invalid row calls a person by counts with the person where another
// row tells who that is. It is called once, when all rows are counted.
func (p *people) sorted() []*person {
	whose := make(map[personKey]*person) // by what they are called, in lower case
	for _, who := range p.known {
		if !who.loose {
			whose[personKey{who.Account, strings.ToLower(who.User)}] = who
			whose[personKey{who.Account, strings.ToLower(who.Named)}] = who
		}
	}
	var all []*person
	for _, who := range p.known {
		if same := whose[personKey{who.Account, strings.ToLower(who.User)}]; who.loose && same != nil {
			addCounts(&same.Counts, who.Counts)
			continue
		}
		all = append(all, who)
	}
	slices.SortFunc(all, func(a, b *person) int {
		return cmp.Or(
			cmp.Compare(min(b.Open(), 1), min(a.Open(), 1)), cmp.Compare(b.Counts.Rows, a.Counts.Rows),
			cmp.Compare(a.Account, b.Account), cmp.Compare(a.User, b.User),
		)
	})
	return all
}

// number is how many of them are people: everybody on a record is nobody in
// particular.
func number(all []*person) (n int64) {
	for _, who := range all {
		if who.User != "" {
			n++
		}
	}
	return n
}
