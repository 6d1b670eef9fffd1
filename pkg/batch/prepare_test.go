package batch

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestAddressesAreBoundToTheirUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.users = []crm.User{{ID: "u1", Email: "Bob@x.example"}, {ID: "u2", Email: "eve@x.example", Active: true}}
		b := newBench(t, f)
		_, results := b.run(t.Context(), "revoke r1 bob@x.example", "revoke r2 BOB@X.example", "revoke r3 eve@x.example")
		wantStates(t, results, "done done done")
		wantSent(t, f, "revoke r1 u1", "revoke r2 u1", "revoke r3 u2")
		if f.lists != 1 {
			t.Errorf("%d listings for three addresses, want 1", f.lists)
		}
		// The address is freed and given to somebody else.
		f.users = []crm.User{{ID: "u7", Email: "bob@x.example", Active: true}, {ID: "u2", Email: "eve@x.example"}}
		_, results = b.run(t.Context(), "revoke r1 bob@x.example", "revoke r2 BOB@X.example", "revoke r3 eve@x.example")
		wantStates(t, results, "done done done")
		wantSent(t, f)
		_, _, err := b.prepare("revoke r1 bob@x.example", "revoke r9 bob@x.example")
		wantInvalid(t, err, 3, crm.CodeReassignedAddress)
		b.opts.SkipInvalid = true
		_, results = b.run(t.Context(), "revoke r1 bob@x.example", "revoke r9 bob@x.example", "revoke r9 eve@x.example")
		wantStates(t, results, "done invalid done")
		wantSent(t, f, "revoke r9 u2")
		// An address that nobody has any more is still that of its old user.
		f.users = nil
		_, results = b.run(t.Context(), "revoke r9 bob@x.example")
		wantStates(t, results, "done")
		wantSent(t, f, "revoke r9 u1")
	})
}

func TestAddressesThatLeadNowhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.users = []crm.User{{ID: "u1", Email: "two@x.example"}, {ID: "u2", Email: "Two@x.example"}, {ID: "u3", Email: "one@x.example"}}
		b := newBench(t, f)
		_, _, err := b.prepare("revoke r1 nobody@x.example", "revoke r1 u1")
		wantInvalid(t, err, 2, crm.CodeUnknownUser)
		_, _, err = b.prepare("revoke r1 two@x.example")
		wantInvalid(t, err, 2, crm.CodeAmbiguousAddress)
		if len(f.sentWords()) > 0 {
			t.Error("something was sent for a sheet that was refused")
		}
	})
}

func TestIDCountsAndAddressMustAgree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.users = []crm.User{{ID: "u3", Email: "one@x.example"}}
		b := newBench(t, f)
		b.opts.SkipInvalid = true
		const text = "action,object,record_id,user,email\nrevoke,thing,r1,u3,one@x.example\nrevoke,thing,r2,u4,one@x.example\n"
		batch, err := New(b.led, b.opts)
		if err != nil {
			t.Fatal(err)
		}
		in, err := sheet.Open(strings.NewReader(text), "s.csv", sheet.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.LoadSheet(t.Context(), in); err != nil {
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
		results := b.results(2)
		wantStates(t, results, "done invalid")
		if results[1].Code != crm.CodeUserMismatch {
			t.Errorf("code %q, want %q", results[1].Code, crm.CodeUserMismatch)
		}
		wantSent(t, f, "revoke r1 u3")
	})
}

func TestProtectedUsersRefuseTheSheet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.users = []crm.User{{ID: "boss", Email: "boss@x.example"}}
		b := newBench(t, f)
		b.opts.Protect = []string{"u5", "Boss@x.example"}
		for _, tc := range []struct {
			row   string
			user  string
			owner bool
		}{
			{"revoke r1 owner", "owner", true},
			{"share r1 u5 read", "u5", false},
			{"revoke r1 boss", "boss", false},
			{"revoke r1 boss@x.example", "boss", false},
		} {
			_, _, err := b.prepare("revoke r0 u1", tc.row)
			refused, ok := errors.AsType[*ProtectedError](err)
			if !ok || refused.User != tc.user || refused.Owner != tc.owner || refused.Line != 3 {
				t.Errorf("%s: %v, want line 3 refused for %s", tc.row, err, tc.user)
			}
		}
		_, _, err := b.prepare("revoke r0 u1")
		if err != nil {
			t.Errorf("a sheet that touches nobody protected: %v", err)
		}
	})
}

func TestLedgerBelongsToOnePlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b := newBench(t, f)
		b.run(t.Context(), "revoke r1 u1")
		b.opts.Accounts[0].Host = "elsewhere.example"
		_, _, err := b.prepare("revoke r1 u1")
		if bind, ok := errors.AsType[*ledger.BindingError](err); !ok || bind.Recorded.Host != "a.example" {
			t.Errorf("another host: %v, want a *ledger.BindingError", err)
		}
		b.opts.Accounts[0].Host = "a.example"
		f.owner.Org = "other"
		if _, _, err := b.prepare("revoke r1 u1"); err == nil {
			t.Error("another organisation is taken")
		}
	})
}

func TestPlanSaysWhatARunWouldDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b := newBench(t, f)
		b.opts.Describe = true
		rows := []string{"revoke r1 u1", "revoke r1 u1", "share r1 u1 read", "share r2 u2 write"}
		_, p, err := b.prepare(rows...)
		if err != nil {
			t.Fatal(err)
		}
		if p.Rows != 4 || p.ToSend != 4 || p.Joined != 1 || p.Pairs != 1 || p.Done != 0 || p.Unstated != 2 || p.People != 2 || p.Records != 2 {
			t.Errorf("plan %+v", p)
		}
		if p.Accounts[0].Calls != 6 {
			t.Errorf("%d calls, want a change and a look for each of 3 operations", p.Accounts[0].Calls)
		}
		first := p.Digest
		b.run(t.Context(), rows...)
		_, p, err = b.prepare(rows...)
		if err != nil {
			t.Fatal(err)
		}
		if p.ToSend != 0 || p.Done != 4 || p.Digest != first {
			t.Errorf("plan of a finished sheet: %+v, want all done and the digest %s", p, first)
		}
		_, p, err = b.prepare(append(rows, "revoke r3 u1")...)
		if err != nil {
			t.Fatal(err)
		}
		if p.ToSend != 1 || p.Digest == first {
			t.Errorf("plan of a grown sheet: %+v", p)
		}
	})
}

func wantInvalid(t *testing.T, err error, line int, code string) {
	t.Helper()
	invalid, ok := errors.AsType[*InvalidError](err)
	if !ok || len(invalid.First) != 1 || invalid.First[0].Line != line || invalid.First[0].Code != code {
		t.Errorf("%v (%+v), want line %d refused as %s", err, invalid, line, code)
	}
}
