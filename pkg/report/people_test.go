package report

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// touched is a row about a user as people counts it.
func touched(account, user string, state crm.Status) ledger.Result {
	return ledger.Result{Account: account, Op: crm.Operation{Action: crm.Revoke, User: user}, Status: state}
}

// What is not due is not done, and a row that keeps something and whose address nobody has
// asked about is not about everybody.
func TestPeopleWhoseRowsAreNotDue(t *testing.T) {
	t.Parallel()
	p := newPeople()
	p.add(touched("main", "id-a", crm.NotDue), "id-a")
	p.add(touched("main", "id-a", crm.Done), "id-a")
	p.add(ledger.Result{Account: "main", Op: crm.Operation{Action: crm.Keep}, Email: "b@example.com", Status: crm.Unchanged}, "b@example.com")
	var got []string
	for _, who := range p.sorted() {
		got = append(got, fmt.Sprintf("%s: %d done, %d open, %d else", who.User, who.Done(), who.Open(), len(who.What())))
	}
	if diff := cmp.Diff([]string{"id-a: 1 done, 0 open, 1 else", "b@example.com: 1 done, 0 open, 0 else"}, got); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
}

func TestPeopleAreCountedOnce(t *testing.T) {
	t.Parallel()
	p := newPeople()
	wrong := ledger.Result{Account: "main", Invalid: true, Code: "invalid"}
	p.add(wrong, "A@example.com") // before anybody knows who that is
	p.add(touched("main", "id-a", crm.Done), "ID-A")
	p.add(touched("main", "id-a", crm.Failed), "a@example.com")
	p.add(touched("main", "id-b", crm.Done), "id-b")
	p.add(touched("main", "id-b", crm.Unchanged), "id-b")
	p.add(touched("main", "id-b", crm.Done), "id-b")
	p.add(touched("other", "id-a", crm.Done), "a@example.com")
	p.add(touched("main", "", crm.Accepted), "")
	p.add(wrong, "nobody@example.com")
	p.add(wrong, "")
	var got []string
	for _, who := range p.sorted() {
		got = append(got, fmt.Sprintf("%s/%s (%s): %d of %d open", who.Account, who.User, who.Named, who.Open(), who.Counts.Rows))
	}
	want := []string{
		"main/id-a (a@example.com): 2 of 3 open",
		"main/ (): 1 of 1 open",
		"main/nobody@example.com (): 1 of 1 open",
		"main/id-b (): 0 of 3 open",
		"other/id-a (a@example.com): 0 of 1 open",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
	if n := number(p.sorted()); n != 4 {
		t.Errorf("%d people, want 4: everybody on a record is nobody in particular", n)
	}
	if p.nameless != 1 {
		t.Errorf("%d rows name nobody, want 1", p.nameless)
	}
}

func TestPeopleAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeople()
	for range 2 {
		for i := range mostPeople + 5 {
			p.add(touched("main", fmt.Sprint(i), crm.Failed), "")
		}
	}
	if len(p.known) != mostPeople || p.rest.Rows != 10 || p.rest.Failed != 10 {
		t.Errorf("%d people are known and the rest is %+v, want %d and ten failed rows", len(p.known), p.rest, mostPeople)
	}
}
