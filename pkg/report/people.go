package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const (
	// mostLoose bounds how many people are told apart whom only invalid rows name, and so
	// the memory that they take: about 5 MB.
	mostLoose = 20_000
	// shownPeople is how many people a page lists: a few sheets of paper.
	shownPeople = 200
	// namedRows is how many of one person's rows a page names where it can not name all.
	namedRows = 20
	// mostKinds bounds how many kinds of rows are counted apart for one person.
	mostKinds = 12
)

// personKey tells people apart. The user is empty for what concerns everybody on a
// record.
type personKey struct{ Account, User string }

// person is a user whom rows touch.
type person struct {
	personKey
	Named  string // what the sheet calls them where that is something else, an address perhaps
	Counts batch.Counts
	Kinds  []rowKind   // of the done rows, by how they are met
	Others int64       // done rows of kinds beyond mostKinds
	Shown  []personRow // the first rows that are done or unchanged
	loose  bool        // known from an invalid row's cell alone
}

// rowKind counts done rows of one action on one object.
type rowKind struct {
	Action crm.Action
	Object string
	Rows   int64
}

// personRow is a row that is as the sheet asks.
type personRow struct {
	Line                            int
	Action, Object, Record, Context string
	Result, RequestID               string
	ConfirmedAt                     time.Time
}

// Open is how many of the person's rows are neither done nor unchanged.
func (p *person) Open() int64 { return stillOpen(p.Counts) }

// Done is how many of them are.
func (p *person) Done() int64 { return p.Counts.Rows - p.Open() }

// What is the results of the open ones.
func (p *person) What() (open []result) {
	for _, r := range results(&p.Counts) {
		if r.Rows() > 0 && r.Word != crm.Done.String() && r.Word != crm.Unchanged.String() {
			open = append(open, r)
		}
	}
	return open
}

// Did says what was taken and given, by object.
func (p *person) Did() string {
	var parts []string
	for _, action := range []crm.Action{crm.Revoke, crm.RevokeAll, crm.Share} {
		var objects []string
		for _, k := range p.Kinds {
			if k.Action == action {
				objects = append(objects, group(k.Rows)+" "+k.Object)
			}
		}
		if len(objects) > 0 {
			parts = append(parts, actionWord(action)+" "+strings.Join(objects, ", "))
		}
	}
	if p.Others > 0 {
		parts = append(parts, grouped(p.Others, "row of another kind", "rows of other kinds"))
	}
	if n := p.Counts.Unchanged; n > 0 {
		parts = append(parts, group(n)+" so already")
	}
	return strings.Join(parts, "; ")
}

// Listed says which of the done rows are listed.
func (p *person) Listed() string {
	n := int64(len(p.Shown))
	switch {
	case n < p.Done():
		return fmt.Sprintf("The first %s of %s", group(n), grouped(p.Done(), "done row", "done rows"))
	case n == 1:
		return "The done row"
	}
	return "The " + grouped(n, "done row", "done rows")
}

// actionWord says what a done row did.
func actionWord(a crm.Action) string {
	switch a {
	case crm.Share:
		return "given:"
	case crm.RevokeAll:
		return "taken from everybody:"
	}
	return "taken:"
}

// add counts a row, and keeps it if it is one of the first that were done.
func (p *person) add(res ledger.Result, most int) {
	countRow(&p.Counts, res)
	if isOpen(res) {
		return
	}
	if res.Status == crm.Done {
		p.count(rowKind{Action: res.Op.Action, Object: Printable(res.Op.Object), Rows: 1})
	}
	if len(p.Shown) < most {
		p.Shown = append(p.Shown, personRow{
			Line: res.Line, Action: res.Op.Action.String(), Object: Printable(res.Op.Object), Record: Printable(res.Op.Record), Context: Printable(res.Op.Context),
			Result: word(res), RequestID: Printable(res.RequestID), ConfirmedAt: res.ConfirmedAt,
		})
	}
}

func (p *person) count(k rowKind) {
	i := slices.IndexFunc(p.Kinds, func(have rowKind) bool { return have.Action == k.Action && have.Object == k.Object })
	switch {
	case i >= 0:
		p.Kinds[i].Rows += k.Rows
	case len(p.Kinds) < mostKinds:
		p.Kinds = append(p.Kinds, k)
	default:
		p.Others += k.Rows
	}
}

// people gathers rows by the user whom they touch, from a stream in which the rows of
// one user stand together, those without a user before the others of their account. It
// keeps those people whom a page lists, and counts the rest.
type people struct {
	most     int // rows of one person that are kept
	kept     []*person
	number   int64        // how many people there are: everybody on a record is nobody in particular
	rest     batch.Counts // rows of people who are not kept
	nameless int64        // invalid rows that name nobody
	now      *person      // whose rows are being read
	loose    map[personKey]*person
}

func newPeople(most int) *people {
	return &people{most: most, loose: make(map[personKey]*person)}
}

// add takes up a row. named is what the sheet has in the row's user column.
func (p *people) add(res ledger.Result, named string) {
	if !res.HasOp() { // nobody knows who is meant
		p.addLoose(res, named)
		return
	}
	key := personKey{res.Account, res.Op.User}
	if p.now == nil || p.now.personKey != key {
		p.close()
		p.now = &person{personKey: key}
	}
	if p.now.Named == "" && key.User != "" && !strings.EqualFold(named, key.User) {
		p.now.Named = named
	}
	p.now.add(res, p.most)
}

func (p *people) addLoose(res ledger.Result, named string) {
	if named == "" {
		p.nameless++
		return
	}
	key := personKey{res.Account, strings.ToLower(named)}
	who := p.loose[key]
	if who == nil {
		if len(p.loose) >= mostLoose {
			countRow(&p.rest, res)
			return
		}
		who = &person{personKey: personKey{res.Account, named}, loose: true}
		p.loose[key] = who
	}
	who.add(res, p.most)
}

// close ends the rows of one person. What invalid rows call a person by counts with the
// person where another row tells who that is.
func (p *people) close() {
	who := p.now
	if p.now = nil; who == nil {
		return
	}
	for _, name := range []string{who.User, who.Named} {
		key := personKey{who.Account, strings.ToLower(name)}
		if same := p.loose[key]; same != nil {
			addCounts(&who.Counts, same.Counts)
			delete(p.loose, key)
		}
	}
	p.keep(who)
}

// keep keeps a person if nobody who comes before is left out for it.
func (p *people) keep(who *person) {
	if who.User != "" {
		p.number++
	}
	if p.kept = append(p.kept, who); len(p.kept) >= 2*shownPeople {
		p.cut()
	}
}

// cut leaves those who are listed.
func (p *people) cut() {
	slices.SortFunc(p.kept, func(a, b *person) int {
		return cmp.Or(
			cmp.Compare(min(b.Open(), 1), min(a.Open(), 1)), cmp.Compare(b.Counts.Rows, a.Counts.Rows),
			cmp.Compare(a.Account, b.Account), cmp.Compare(a.User, b.User),
		)
	})
	for _, who := range p.kept[min(len(p.kept), shownPeople):] {
		addCounts(&p.rest, who.Counts)
	}
	p.kept = slices.Clone(p.kept[:min(len(p.kept), shownPeople)])
}

// end ends the stream. What is kept then is those with open rows first, then by their
// number of rows.
func (p *people) end() {
	p.close()
	for _, who := range p.loose {
		p.keep(who)
	}
	p.loose = nil
	p.cut()
}

// beyond says whom a page does not list, "" if it lists everybody.
func (p *people) beyond() string {
	if p.rest.Rows == 0 {
		return ""
	}
	who := "Other people"
	if n := p.number - number(p.kept); n > 0 {
		who = grouped(n, "further person", "further people")
	}
	return fmt.Sprintf("And %s with %s, of which %s.", who,
		grouped(p.rest.Rows, "row", "rows"), grouped(stillOpen(p.rest), "is open", "are open"))
}

// number is how many of them are people.
func number(all []*person) (n int64) {
	for _, who := range all {
		if who.User != "" {
			n++
		}
	}
	return n
}
