package zoho

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

func TestDoAnnouncesWhatItSaw(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.lists[quotes] = []share{user("5", "read_only"), group("9"), inherited(user("7", "full_access"))}
		j := &journal{}
		p := provider(t, f, Config{}, nil)
		p.Do(t.Context(), callOf(revoke("5")), j)
		want := []crm.State{{Looked: true, Rewrites: true, Fresh: true, Grants: []crm.Grant{
			{Kind: "user", ID: "5", Access: crm.Read, Type: "private"},
			{Kind: "group", ID: "9", Access: crm.Read, Related: true, Type: "private"},
			{Kind: "user", ID: "7", Access: crm.Full, Type: "private", Through: "Contacts/649013"},
		}}}
		if diff := cmp.Diff(want, j.states); diff != "" {
			t.Errorf("announced (-want +got):\n%s", diff)
		}
	})
}

func TestDoWithoutAnIntentSendsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.lists[quotes] = []share{user("5", "read_only")}
		p := provider(t, f, Config{}, nil)
		out := p.Do(t.Context(), callOf(revoke("5")), &journal{err: errors.New("disk full")})
		if out[0].Status != crm.Pending || out[0].Attempts != 0 || f.methods() != "GET" {
			t.Errorf("got %s after %s, want not_attempted after GET", brief(out[0]), f.methods())
		}
	})
}

func TestDoLooksAgainAfterALongWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.lists[quotes] = []share{user("5", "read_only"), user("6", "read_only")}
		p, gate := providerAndGate(t, f, Config{}, nil)
		f.steps = []step{{"GET", func(f *fake, carryOut func() answer) answer {
			a := carryOut()
			// The refusal of another worker's call holds this one's write up.
			gate.Throttled(transport.Throttle{After: 30 * time.Second})
			f.lists[quotes] = append(f.lists[quotes], user("7", "read_only"))
			return a
		}}}
		out := p.Do(t.Context(), callOf(revoke("5")), &journal{})
		if got := brief(out[0]); got != "accepted x1" {
			t.Errorf("got %s, want accepted x1", got)
		}
		if got, want := f.methods(), "GET GET PUT"; got != want {
			t.Errorf("requests %s, want %s", got, want)
		}
		if diff := cmp.Diff([]string{"6 read_only", "7 read_only"}, f.who(quotes)); diff != "" {
			t.Errorf("list afterwards (-want +got):\n%s", diff)
		}
	})
}

func TestDoCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.lists[quotes] = []share{user("5", "read_only"), user("6", "read_only")}
		ctx, cancel := context.WithCancel(t.Context())
		f.steps = []step{{"PUT", func(f *fake, _ func() answer) answer {
			cancel()
			return answer{err: errors.New("connection reset by peer")}
		}}}
		p := provider(t, f, Config{}, nil)
		begin := time.Now()
		out := p.Do(ctx, callOf(revoke("5")), &journal{})
		if got := brief(out[0]); got != "not_attempted no_answer maybe x1" {
			t.Errorf("got %s, want not_attempted no_answer maybe x1 (%+v)", got, out[0])
		}
		if took := time.Since(begin); took > 25*time.Second {
			t.Errorf("came back after %v", took)
		}
		out = p.Do(ctx, callOf(revoke("5")), &journal{})
		if got := brief(out[0]); got != "not_attempted x0" {
			t.Errorf("got %s after the end, want not_attempted x0", got)
		}
	})
}

func TestDoWaitsForAnEarlierWriteToBeSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		before := []share{user("5", "read_only"), user("6", "read_only")}
		f.lists[quotes] = before
		p := provider(t, f, Config{}, nil)
		p.Do(t.Context(), callOf(revoke("5")), &journal{})
		after := f.lists[quotes]
		f.lists[quotes] = before // the CRM has not come to it yet
		out := p.Do(t.Context(), callOf(give("6", crm.Full)), &journal{})
		if got := brief(out[0]); got != "not_attempted not_yet x0" || out[0].Later == 0 {
			t.Errorf("got %s, want not_attempted not_yet x0 with a time", got)
		}
		f.lists[quotes] = after
		out = p.Do(t.Context(), callOf(give("6", crm.Full)), &journal{})
		if got := brief(out[0]); got != "accepted x1" {
			t.Errorf("got %s, want accepted x1", got)
		}
		if diff := cmp.Diff([]string{"6 full_access"}, f.who(quotes)); diff != "" {
			t.Errorf("list afterwards (-want +got):\n%s", diff)
		}
	})
}

func TestDoRefusesWhatCheckDoes(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := provider(t, f, Config{}, nil)
	bad, address := revoke("5"), revoke("a@b.example")
	bad.Object = "../users"
	for _, o := range p.Do(t.Context(), callOf(bad, address), &journal{}) {
		if o.Status != crm.Failed || o.Code != "invalid" {
			t.Errorf("got %s, want failed invalid", brief(o))
		}
	}
	if got := f.methods(); got != "" {
		t.Errorf("requests %s, want none", got)
	}
}

// A module that the token may not use is asked about once, and the others go on.
func TestDoAsksAClosedModuleOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.lists[quotes] = []share{user("5", "read_only")}
		f.steps = []step{refuses("GET", 401, envelope("OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL"))}
		p := provider(t, f, Config{}, nil)
		closed, other := revoke("5"), revoke("5")
		closed.Object, other.Object, other.Record = "Invoices", "Invoices", "4150868000002515002"
		for n, op := range []crm.Operation{closed, other, revoke("5")} {
			want := []string{"failed OAUTH_SCOPE_MISMATCH x0", "failed OAUTH_SCOPE_MISMATCH x0", "accepted x1"}[n]
			if got := brief(p.Do(t.Context(), callOf(op), &journal{})[0]); got != want {
				t.Errorf("operation %d: %s, want %s", n, got, want)
			}
		}
		if got, want := f.methods(), "GET GET DELETE"; got != want {
			t.Errorf("requests %s, want %s", got, want)
		}
	})
}
