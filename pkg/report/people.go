package report

import (
	"cmp"
	"fmt"
	"maps"
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

// personKey tells people apart: by what the ledger knows them by, or, of what concerns
// everybody on a record, by the account.
type personKey struct{ Account, Person string }

// userID is a user of an account.
type userID struct{ Account, User string }

// person is somebody whom rows touch.
type person struct {
	key    personKey
	Users  []userID // who they are to the CRMs, by how they are met; at most mostUsers
	More   int64    // rows of users beyond those
	Email  string   // as far as it is known
	Named  string   // what the sheet calls them where that is something else
	Counts batch.Counts
	Kinds  []rowKind   // of the done rows, by how they are met
	Others int64       // done rows of kinds beyond mostKinds
	Shown  []personRow // the first rows that are done or unchanged
	Access accessTimes
	loose  bool // known from an invalid row's cell alone
}

// mostUsers is how many users of accounts one person may be, of whom a page tells.
const mostUsers = 20

// Accounts names the accounts that rows touch the person on.
func (p *person) Accounts() string {
	if p.loose || p.key.Person == "" {
		return p.key.Account
	}
	var names []string
	for _, u := range p.Users {
		if !slices.Contains(names, u.Account) {
			names = append(names, u.Account)
		}
	}
	return listed(names, p.More > 0)
}

// User is the person's ids, "" for everybody on a record.
func (p *person) User() string {
	var ids []string
	for _, u := range p.Users {
		if u.User != "" && !slices.Contains(ids, u.User) {
			ids = append(ids, u.User)
		}
	}
	return listed(ids, p.More > 0)
}

// Name is what a page calls the person.
func (p *person) Name() string { return cmp.Or(p.Email, p.Named, p.User()) }

// listed puts words into a list.
func listed(words []string, more bool) string {
	list := strings.Join(words, "; ")
	if more {
		list += "; and others"
	}
	return list
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

// Open is how many of the person's rows are neither done nor unchanged, those that are not
// due among them: the person has the access still.
func (p *person) Open() int64 { return p.Counts.Rows - p.Done() }

// Done is how many of them are.
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
	if n := p.Access.Kept; n > 0 {
		parts = append(parts, group(n)+" kept")
	}
	if n := p.Counts.Unchanged - p.Access.Kept; n > 0 {
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
	p.Access.add(res)
	if isOpen(res) || res.Status == crm.NotDue {
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

// people gathers rows by the person whom they touch, from a stream in which the rows of
// one stand together, those that name nobody before all others. It keeps those people whom a
// page lists, and counts the rest.
type people struct {
	most     int               // rows of one person that are kept
	each     func(who *person) // is given everybody, one after the other; nil for nobody
	kept     []*person
	number   int64                 // how many people there are: everybody on a record is nobody in particular
	rest     batch.Counts          // rows of people who are not kept
	nameless int64                 // invalid rows that name nobody
	now      *person               // whose rows are being read
	loose    map[personKey]*person // by account and name, in lower case
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
	key := personKey{Person: res.Person}
	if res.Person == "" {
		key.Account = res.Account
	}
	if p.now == nil || p.now.key != key {
		p.close()
		p.now = &person{key: key}
	}
	who := p.now
	if who.Email == "" {
		who.Email = res.Email
	}
	if named != "" && who.Named == "" && !strings.EqualFold(named, res.Op.User) && !strings.EqualFold(named, who.Email) {
		who.Named = named
	}
	if u := (userID{res.Account, res.Op.User}); !slices.Contains(who.Users, u) {
		if len(who.Users) < mostUsers {
			who.Users = append(who.Users, u)
		} else {
			who.More++
		}
	}
	who.add(res, p.most)
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
		who = &person{key: personKey{res.Account, named}, Email: res.Email, Named: named, loose: true}
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
	for _, u := range who.Users {
		for _, name := range []string{u.User, who.Email, who.Named} {
			key := personKey{u.Account, strings.ToLower(name)}
			if same := p.loose[key]; same != nil {
				addCounts(&who.Counts, same.Counts)
				who.Access.join(same.Access)
				delete(p.loose, key)
			}
		}
	}
	p.keep(who)
}

// keep keeps a person if nobody who comes before is left out for it.
func (p *people) keep(who *person) {
	if who.somebody() {
		p.number++
	}
	if p.each != nil {
		p.each(who)
		return
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
			cmp.Compare(a.key.Person, b.key.Person), cmp.Compare(a.key.Account, b.key.Account),
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
	for _, who := range slices.SortedFunc(maps.Values(p.loose), func(a, b *person) int {
		return cmp.Or(cmp.Compare(a.key.Account, b.key.Account), cmp.Compare(a.key.Person, b.key.Person))
	}) {
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
		if who.somebody() {
			n++
		}
	}
	return n
}

// somebody says that it is a person, and not everybody on a record.
func (p *person) somebody() bool { return p.key.Person != "" }
