package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// touched is a row about a user as people counts it.
func touched(account, user string, state crm.Status) ledger.Result {
	res := ledger.Result{Account: account, Op: crm.Operation{Action: crm.Revoke, Object: crm.Lead, User: user}, Status: state}
	if user != "" {
		res.Person = account + "/" + user
	}
	return res
}

// addressed is a row about a user whose address is known.
func addressed(account, user, address string, state crm.Status) ledger.Result {
	res := touched(account, user, state)
	res.Person, res.Email = address, address
	return res
}

// gatherPeople takes up rows as they come by person.
func gatherPeople(most int, rows ...namedRow) *people {
	p := newPeople(most)
	for _, r := range rows {
		p.add(r.res, r.named)
	}
	p.end()
	return p
}

type namedRow struct {
	res   ledger.Result
	named string
}

// What is not due is not done, and a row that keeps something and whose address nobody has
// asked about is not about everybody.
func TestPeopleWhoseRowsAreNotDue(t *testing.T) {
	t.Parallel()
	kept := ledger.Result{Account: "main", Op: crm.Operation{Action: crm.Keep}, Email: "b@example.com", Person: "b@example.com", Status: crm.Unchanged}
	p := gatherPeople(10,
		namedRow{kept, "b@example.com"},
		namedRow{touched("main", "id-a", crm.NotDue), "id-a"},
		namedRow{touched("main", "id-a", crm.Done), "id-a"},
	)
	var got []string
	for _, who := range p.kept {
		got = append(got, fmt.Sprintf("%s: %d done, %d open, %d else, named %d", who.Name(), who.Done(), who.Open(), len(who.What()), len(who.Shown)))
	}
	if diff := cmp.Diff([]string{"id-a: 1 done, 1 open, 1 else, named 1", "b@example.com: 1 done, 0 open, 0 else, named 1"}, got); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
}

func TestPeopleAreCountedOnce(t *testing.T) {
	t.Parallel()
	wrong := ledger.Result{Account: "main", Invalid: true, Code: "invalid"}
	p := gatherPeople(10,
		namedRow{wrong, "A@example.com"}, // before anybody knows who that is
		namedRow{touched("main", "", crm.Accepted), ""},
		namedRow{touched("other", "", crm.Done), ""},
		namedRow{wrong, "nobody@example.com"},
		namedRow{wrong, "Nobody@example.com"},
		namedRow{wrong, ""},
		namedRow{addressed("main", "id-a", "a@example.com", crm.Done), "ID-A"},
		namedRow{addressed("main", "id-a", "a@example.com", crm.Failed), "a@example.com"},
		namedRow{addressed("other", "id-z", "a@example.com", crm.Done), "a@example.com"},
		namedRow{touched("main", "id-b", crm.Done), "id-b"},
		namedRow{touched("main", "id-b", crm.Unchanged), "id-b"},
		namedRow{touched("main", "id-b", crm.NotDue), "id-b"},
		namedRow{touched("other", "id-b", crm.Done), "Bo"},
	)
	var got []string
	for _, who := range p.kept {
		got = append(got, fmt.Sprintf("%s/%s (%s): %d of %d open, %q", who.Accounts(), who.User(), who.Name(), who.Open(), who.Counts.Rows, who.Did()))
	}
	want := []string{
		`main; other/id-a; id-z (a@example.com): 2 of 4 open, "taken: 2 lead"`,
		`main/id-b (id-b): 1 of 3 open, "taken: 1 lead; 1 so already"`,
		`main/ (nobody@example.com): 2 of 2 open, ""`,
		`main/ (): 1 of 1 open, ""`,
		`other/ (): 0 of 1 open, "taken: 1 lead"`,
		`other/id-b (Bo): 0 of 1 open, "taken: 1 lead"`,
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
	if p.number != 4 || p.beyond() != "" {
		t.Errorf("%d people and %q, want 4: everybody on a record is nobody in particular", p.number, p.beyond())
	}
	if p.nameless != 1 {
		t.Errorf("%d rows name nobody, want 1", p.nameless)
	}
}

// However many people and rows there are, few are kept: those who come first on the page.
func TestPeopleAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeople(3)
	const many = 5 * shownPeople
	for i := range many {
		for range 2 + i%7 {
			p.add(touched("main", fmt.Sprintf("%04d", i), crm.Done), "")
		}
		if i == many-1 {
			p.add(touched("main", fmt.Sprintf("%04d", i), crm.Failed), "")
		}
		if len(p.kept) >= 2*shownPeople {
			t.Fatalf("%d people are kept, want fewer than %d", len(p.kept), 2*shownPeople)
		}
	}
	p.end()
	if len(p.kept) != shownPeople || p.kept[0].User() != "0999" || p.kept[1].Counts.Rows != 8 || p.number != many {
		t.Errorf("%d people are kept, first %+v, want %d and those first who have an open row, then those with the most", len(p.kept), p.kept[0], shownPeople)
	}
	all := p.rest.Rows
	for _, who := range p.kept {
		all += who.Counts.Rows
		if len(who.Shown) > 3 {
			t.Errorf("%d rows of one person are kept, want 3", len(who.Shown))
		}
	}
	want := int64(1)
	for i := range many {
		want += int64(2 + i%7)
	}
	if all != want {
		t.Errorf("%d rows are counted, want %d", all, want)
	}
	if got := p.beyond(); got != "And 800 further people with 3,455 rows, of which 0 are open." {
		t.Errorf("the others are %q", got)
	}
}

func TestLooseNamesAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeople(3)
	for range 2 {
		for i := range mostLoose + 5 {
			p.add(ledger.Result{Account: "main", Invalid: true}, fmt.Sprint(i))
		}
	}
	if len(p.loose) != mostLoose || p.rest.Rows != 10 || p.rest.Invalid != 10 {
		t.Errorf("%d people are known and the rest is %+v, want %d and ten invalid rows", len(p.loose), p.rest, mostLoose)
	}
}

func TestPersonSaysWhatWasDone(t *testing.T) {
	t.Parallel()
	var who person
	row := func(a crm.Action, object string, status crm.Status) {
		who.add(ledger.Result{Op: crm.Operation{Action: a, Object: object, User: "u"}, Status: status}, 2)
	}
	for range 3 {
		row(crm.Revoke, "Leads", crm.Done)
	}
	row(crm.Share, "Deals", crm.Done)
	row(crm.Revoke, "Quotes", crm.Done)
	row(crm.Revoke, "Quotes", crm.Unchanged)
	row(crm.Revoke, "Quotes", crm.Failed)
	if got, want := who.Did(), "taken: 3 Leads, 1 Quotes; given: 1 Deals; 1 so already"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := who.Listed(), "The first 2 of 6 done rows"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for i := range mostKinds {
		row(crm.Revoke, fmt.Sprint("Module", i), crm.Done)
	}
	if got := who.Did(); len(who.Kinds) != mostKinds || !strings.Contains(got, "; 3 rows of other kinds; 1 so already") {
		t.Errorf("%d kinds, %q", len(who.Kinds), got)
	}
}
