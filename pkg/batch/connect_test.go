package batch

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// loadText loads a sheet as it stands.
func (b *bench) loadText(text string) (*Batch, error) {
	b.t.Helper()
	in, err := sheet.Open(strings.NewReader(text), "sheet.csv", sheet.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	batch, err := New(b.led, b.opts)
	if err != nil {
		b.t.Fatal(err)
	}
	return batch, batch.LoadSheet(b.t.Context(), in)
}

// rulesOnly are the rules of a fake, which can do nothing else.
type rulesOnly struct{ crm.Rules }

// Rows are checked by the accounts' rules. Only those that have good rows are connected,
// and a sheet is not prepared without.
func TestAccountsAreConnectedWhenTheirRowsAreKnown(t *testing.T) {
	t.Parallel()
	fakes := []*fake{newFake(t), newFake(t), newFake(t)}
	b := newBench(t, fakes...)
	for i := range b.opts.Accounts {
		b.opts.Accounts[i].Rules, b.opts.Accounts[i].Provider = rulesOnly{fakes[i]}, nil
	}
	b.opts.SkipInvalid = true
	batch, err := b.loadText("action,object,record_id,user,account\nrevoke,thing,r1,u1,c\nrevoke,thing,x1,u1,b\nrevoke,thing,r2,u1,a\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := batch.Used(); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("used are %q, want a and c: no row of b is good", got)
	}
	if err := batch.Connect("a", fakes[0], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := batch.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), `account "c" is not connected`) {
		t.Errorf("prepared with %v, want that c is not connected", err)
	}
	if err := batch.Connect("d", fakes[0], nil); err == nil {
		t.Error("an account that is not there was connected")
	}
	if err := batch.Connect("c", fakes[2], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := batch.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := batch.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := batch.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantStates(t, b.results(3), "done invalid done")
	wantSent(t, fakes[0], "revoke r2 u1")
	wantSent(t, fakes[2], "revoke r1 u1")
}

// An account that can not be worked with refuses a sheet that names it, and no other.
func TestAccountWithAnErrorRefusesItsSheets(t *testing.T) {
	t.Parallel()
	b := newBench(t, newFake(t))
	poor := errors.New("no secret")
	b.opts.Accounts = append(b.opts.Accounts, Account{Name: "poor", CRM: "fake", Workers: 1, Err: poor})
	b.opts.SkipInvalid = true
	const head = "action,object,record_id,user,account\n"
	if _, err := b.loadText(head + "revoke,thing,r1,u1,a\nrevoke,thing,r1,u1,poor\n"); !errors.Is(err, poor) {
		t.Errorf("got %v, want what is wrong with the account", err)
	}
	if _, err := b.loadText(head + "revoke,thing,r1,u1,a\n"); err != nil {
		t.Errorf("a sheet that does not name it: %v", err)
	}
}

// Every call says whom it may take nothing from: those whose keys do the work, and those
// whom the options protect, by id or by address.
func TestCallsSayWhoIsProtected(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.users = []crm.User{{ID: "u8", Email: "Boss@x.example"}}
	b := newBench(t, f)
	b.opts.Protect = []string{"u9", "boss@x.example"}
	b.run(t.Context(), "revoke_all r1", "revoke r2 u1")
	if len(f.guarded) != 2 {
		t.Fatalf("%d calls, want 2", len(f.guarded))
	}
	for _, ids := range f.guarded {
		if !slices.Equal(ids, []string{"owner", "u9", "u8"}) {
			t.Errorf("protected are %q, want the owner, u9 and u8", ids)
		}
	}
}
