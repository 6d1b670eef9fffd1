package zoho_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
)

const (
	anna  = "3652397000000281001"
	bert  = "3652397000000186017"
	sales = "3652397000000700001"
	boss  = "3652397000000800001"
	first = 5000000000001000001 // of many records
)

func id(n int) string { return fmt.Sprint(first + n) }

// world is a sandbox with a finder of it.
type world struct {
	*sandbox.Server
	finder *zoho.Finder
	gate   *transport.Gate
}

// newWorld makes a world, which ends with the test, and fails it if anything but reads came.
func newWorld(t testing.TB, cfg sandbox.Config, own zoho.Config) *world {
	t.Helper()
	cfg.Zoho.APIDomain = "https://www.zohoapis.eu"
	s, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	gate, err := transport.NewGate(transport.GateConfig{Limit: 1000, Window: time.Second, MaxInFlight: 20})
	if err != nil {
		t.Fatal(err)
	}
	own.DC, own.ClientID = "eu", "1000.CLIENT"
	own.ClientSecret, own.RefreshToken = transport.NewSecret("client-secret-value"), transport.NewSecret("1000.refresh-token-value")
	f, err := zoho.NewFinder(own, transport.Config{Gate: gate, RoundTripper: s.RoundTripper()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Server: s, finder: f, gate: gate}
	t.Cleanup(func() {
		for _, a := range s.Arrivals() {
			switch {
			case a.Method == "GET", a.Op == "Zoho.Token", a.Op == "Zoho.Query", a.Op == "Zoho.Composite":
			default:
				t.Errorf("a finder sent %s %s", a.Method, a.Path)
			}
		}
		_, _ = gate.Close(), s.Close()
	})
	return w
}

// calls counts the arrivals of an operation.
func (w *world) calls(op string) (n int) {
	for _, a := range w.Arrivals() {
		if a.Op == op {
			n++
		}
	}
	return n
}

func (w *world) records(ctx context.Context, object, after string) (ids []string, err error) {
	for id, err := range w.finder.Records(ctx, object, after) {
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (w *world) look(ctx context.Context, ids ...string) []crm.Look {
	var records []crm.RecordID
	for _, id := range ids {
		records = append(records, crm.RecordID{Object: "Leads", Record: id})
	}
	return w.finder.Look(ctx, records)
}

func grant(kind, id string, a crm.Access) crm.Grant {
	return crm.Grant{Kind: kind, ID: id, Access: a, Type: "private"}
}

func TestFinderSeesAWorld(t *testing.T) {
	t.Parallel()
	for _, composite := range []bool{false, true} {
		t.Run(fmt.Sprint("composite ", composite), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox.Config{Closed: true}, zoho.Config{Composite: composite, Version: "v2"})
			w.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: anna, Email: "anna@sandbox.example", Active: true, Role: boss}})
			w.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: bert, Email: "bert@sandbox.example"}, Deleted: true})
			w.SeedZohoRecords("Leads", id(0), 7, anna, bert)
			inherited := grant(crm.KindUser, anna, crm.Read)
			inherited.Through = "Accounts/77"
			everybody := crm.Grant{Kind: crm.KindPublic, Access: crm.Read, Type: "public"}
			w.SeedZoho("Leads", id(1), grant(crm.KindUser, anna, crm.Write), grant(crm.KindGroup, sales, crm.Read), grant(crm.KindRole, boss, crm.Full))
			w.SeedZoho("Leads", id(2), inherited)
			w.SeedZoho("Leads", id(3), everybody)
			w.AddZohoGroup(sandbox.ZohoGroup{ID: sales, Name: "Sales", Users: []string{anna}})
			w.AddZohoGroup(sandbox.ZohoGroup{ID: boss, Name: "Bosses", Roles: []string{boss}})
			w.AddZohoGroup(sandbox.ZohoGroup{ID: "1", Name: "Others", Users: []string{bert}})
			w.VanishZoho("Leads", id(5))
			ctx := t.Context()

			identity, err := w.finder.Identify(ctx)
			if err != nil || identity.User != "5000000000000000001" || identity.Org == "" {
				t.Errorf("identity: got %+v, %v", identity, err)
			}
			roles := map[string]string{}
			for _, part := range []crm.Part{crm.Current, crm.Deleted} {
				for u, err := range w.finder.Users(ctx, part) {
					if err != nil {
						t.Fatal(err)
					}
					roles[u.ID] = u.Role
				}
			}
			want := map[string]string{anna: boss, bert: "5000000000000000501", "5000000000000000001": "5000000000000000500"}
			if diff := cmp.Diff(want, roles); diff != "" {
				t.Errorf("roles (-want +got):\n%s", diff)
			}
			groups, err := w.finder.Memberships(ctx, anna)
			if diff := cmp.Diff([]crm.Membership{{ID: sales, Name: "Sales"}, {ID: boss, Name: "Bosses"}}, groups); err != nil || diff != "" {
				t.Errorf("groups: %v (-want +got):\n%s", err, diff)
			}
			if groups, err := w.finder.Memberships(ctx, "5000000000000000001"); err != nil || len(groups) != 0 {
				t.Errorf("groups of somebody in none: got %v, %v", groups, err)
			}
			ids, err := w.records(ctx, "leads", "")
			if diff := cmp.Diff([]string{id(0), id(1), id(2), id(3), id(4), id(6)}, ids); err != nil || diff != "" {
				t.Errorf("ids: %v (-want +got):\n%s", err, diff)
			}
			if ids, err := w.records(ctx, "Leads", id(3)); err != nil || !cmp.Equal(ids, []string{id(4), id(6)}) {
				t.Errorf("ids behind one: got %v, %v", ids, err)
			}
			if n, err := w.finder.Count(ctx, "Leads"); err != nil || n != 6 {
				t.Errorf("count: got %d, %v, want 6", n, err)
			}
			owned, err := w.finder.Owned(ctx, "Leads")
			if diff := cmp.Diff(map[string]int64{anna: 4, bert: 2}, owned); err != nil || diff != "" {
				t.Errorf("owned: %v (-want +got):\n%s", err, diff)
			}
			got := w.look(ctx, id(0), id(1), id(2), id(3), id(5))
			wantLooks := []crm.Look{
				{State: crm.State{Looked: true, Grants: []crm.Grant{}}},
				{State: crm.State{Looked: true, Grants: w.Grants("Leads", id(1))}},
				{State: crm.State{Looked: true, Grants: []crm.Grant{inherited}}},
				{State: crm.State{Looked: true, Grants: []crm.Grant{everybody}}},
				{Gone: true},
			}
			if diff := cmp.Diff(wantLooks, got); diff != "" {
				t.Errorf("looks (-want +got):\n%s", diff)
			}
			sight := w.finder.Sees()
			if !sight.Groups || sight.GroupObject != "" || !sight.Records || !sight.Lists || sight.IDs != 2000 || sight.Looks != map[bool]int{false: 1, true: 5}[composite] {
				t.Errorf("sight: got %+v", sight)
			}
			for _, a := range w.Arrivals() {
				if strings.HasPrefix(a.Path, "/crm/") && !strings.HasPrefix(a.Path, "/crm/v8/") {
					t.Errorf("%s: a finder reads by v8", a.Path)
				}
			}
		})
	}
}

func TestFinderListsPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Config{}, zoho.Config{})
	w.SeedZohoRecords("Leads", "9999999999999998001", 4000) // from 19 digits to 20
	ids, err := w.records(t.Context(), "Leads", "")
	if err != nil || len(ids) != 4000 || ids[0] != "9999999999999998001" || ids[3999] != "10000000000000002000" {
		t.Errorf("got %d ids, %v", len(ids), err)
	}
	if n := w.calls("Zoho.Query"); n != 3 { // a full page is never the last one
		t.Errorf("%d queries, want 3", n)
	}
	if ids, err := w.records(t.Context(), "Quotes", ""); err != nil || len(ids) != 0 {
		t.Errorf("of an empty module: got %v, %v", ids, err)
	}
	for range w.finder.Records(t.Context(), "Leads", "") {
		break // whoever has enough gets no more
	}
	if n := w.calls("Zoho.Query"); n != 5 {
		t.Errorf("%d queries, want 5", n)
	}
}

func TestFinderModules(t *testing.T) {
	t.Parallel()
	modules := func(w *world) map[string]crm.Module {
		list, err := w.finder.Modules(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]crm.Module{}
		for _, m := range list {
			all[m.Name] = m
		}
		if list[0].Name != "Leads" || list[13].Name != "Invoices" || !slices.IsSortedFunc(list[14:], func(a, b crm.Module) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("order: got %+v", list)
		}
		return all
	}
	seed := func(w *world) {
		w.SetZohoModule(sandbox.ZohoModule{Name: "Deals", ShareType: "public"})
		w.SetZohoModule(sandbox.ZohoModule{Name: "Cases", ShareType: "public_read_write"})
		w.SetZohoModule(sandbox.ZohoModule{Name: "Members", Linking: true})
		w.SetZohoModule(sandbox.ZohoModule{Name: "Boats"})
		w.SetZohoModule(sandbox.ZohoModule{Name: "Vendors", NoAPI: true})
	}
	w := newWorld(t, sandbox.Config{}, zoho.Config{})
	seed(w)
	got := modules(w)
	for name, want := range map[string]struct{ public, skip, absent bool }{
		"Leads": {}, "Boats": {}, "Cases": {}, "Deals": {public: true},
		"Tasks": {skip: true}, "Events": {skip: true}, "Calls": {skip: true}, "Members": {skip: true}, "Vendors": {skip: true}, "Notes": {skip: true},
		"Home": {absent: true},
	} {
		m, there := got[name]
		if there == want.absent || m.Public != want.public || (m.Skip != "") != want.skip {
			t.Errorf("%s: got %+v, there %v, want %+v", name, m, there, want)
		}
	}
	// Where the CRM does not tell what is public, everything is looked at.
	w = newWorld(t, sandbox.Config{Zoho: sandbox.ZohoConfig{Lacks: []string{"ZohoCRM.settings.data_sharing.READ"}}}, zoho.Config{})
	seed(w)
	if m := modules(w)["Deals"]; m.Public || m.Skip != "" {
		t.Errorf("without the scope: got %+v", m)
	}
	w = newWorld(t, sandbox.Config{}, zoho.Config{})
	w.Fault(sandbox.Fault{Op: "Zoho.DataSharing", Kind: sandbox.FaultHTML})
	if m := modules(w)["Deals"]; m.Public || m.Skip != "" {
		t.Errorf("with an answer that is none: got %+v", m)
	}
}

// TestFinderNeverMixesRecordsUp: whatever the order of the answers in a composite request,
// each record gets its own list; and where they come in order, that is learnt, and most
// bundles cost one request.
func TestFinderNeverMixesRecordsUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg         sandbox.ZohoConfig
		least, most int // single looks at 500 records
	}{
		"in order":   {sandbox.ZohoConfig{}, 1, 40},
		"backwards":  {sandbox.ZohoConfig{Backwards: true}, 100, 500},
		"by name":    {sandbox.ZohoConfig{Backwards: true, SubRequestIDs: true}, 0, 0},
		"not at all": {sandbox.ZohoConfig{Lacks: []string{"ZohoCRM.composite_requests.CUSTOM"}}, 500, 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox.Config{Zoho: c.cfg}, zoho.Config{Composite: true})
			dice := rand.New(rand.NewPCG(7, 11))
			w.SeedZohoRecords("Leads", id(0), 500)
			gone := map[int]bool{}
			for n := range 500 {
				if dice.IntN(3) == 0 {
					w.SeedZoho("Leads", id(n), grant(crm.KindUser, fmt.Sprint(1000+n), crm.Read), grant(crm.KindUser, anna, crm.Write))
				}
				if dice.IntN(20) == 0 {
					w.VanishZoho("Leads", id(n))
					gone[n] = true
				}
			}
			all := w.Records()
			for n := 0; n < 500; n += 5 {
				for i, got := range w.look(t.Context(), id(n), id(n+1), id(n+2), id(n+3), id(n+4)) {
					want := crm.Look{State: crm.State{Looked: true, Grants: append([]crm.Grant{}, all["Leads/"+id(n+i)]...)}}
					if gone[n+i] {
						want = crm.Look{Gone: true}
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatalf("record %d (-want +got):\n%s", n+i, diff)
					}
				}
			}
			n := w.calls("Zoho.Share.Get")
			t.Logf("%d composite, %d single", w.calls("Zoho.Composite"), n)
			if n < c.least || n > c.most {
				t.Errorf("%d single looks, want %d to %d", n, c.least, c.most)
			}
		})
	}
}

func TestFinderOfAClosedModule(t *testing.T) {
	t.Parallel()
	for _, composite := range []bool{false, true} {
		w := newWorld(t, sandbox.Config{}, zoho.Config{Composite: composite, Account: "main"})
		w.SetZohoModule(sandbox.ZohoModule{Name: "Leads", NoShares: true})
		for range 3 {
			for _, l := range w.look(t.Context(), "1", "2", "3", "4", "5") {
				if l.Refused == nil || l.Refused.Code != "OAUTH_SCOPE_MISMATCH" || !strings.Contains(l.Refused.Message, "ZohoCRM.share.leads.READ") || l.Gone || l.State.Looked {
					t.Fatalf("got %+v, want a refusal that names the scope", l)
				}
				if n := strings.Count(l.Refused.Message, "lacks the scope"); n != 1 {
					t.Errorf("%q says it %d times", l.Refused.Message, n)
				}
			}
		}
		if n := w.calls("Zoho.Share.Get") + w.calls("Zoho.Composite"); n != 1 {
			t.Errorf("composite %v: asked %d times, want once", composite, n)
		}
	}
}

func TestFinderNamesTheScope(t *testing.T) {
	t.Parallel()
	for scope, ask := range map[string]func(*zoho.Finder) error{
		"ZohoCRM.coql.READ":                 func(f *zoho.Finder) error { _, err := f.Count(t.Context(), "Leads"); return err },
		"ZohoCRM.settings.modules.READ":     func(f *zoho.Finder) error { _, err := f.Modules(t.Context()); return err },
		"ZohoCRM.settings.user_groups.READ": func(f *zoho.Finder) error { _, err := f.Memberships(t.Context(), anna); return err },
	} {
		w := newWorld(t, sandbox.Config{Zoho: sandbox.ZohoConfig{Lacks: []string{scope}}}, zoho.Config{})
		w.AddUser(crm.User{ID: anna, Active: true}, "")
		err := ask(w.finder)
		if hidden, ok := errors.AsType[*crm.Unseen](err); !ok || hidden.Code != "OAUTH_SCOPE_MISMATCH" || !strings.Contains(err.Error(), scope) {
			t.Errorf("without %s: got %v", scope, err)
		}
	}
}

func TestFinderWaitsForABusyRecord(t *testing.T) {
	t.Parallel()
	for _, lasts := range []time.Duration{10 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			s, err := sandbox.New(sandbox.Config{Processing: func() time.Duration { return lasts }, Zoho: sandbox.ZohoConfig{BusyReads: true, APIDomain: "https://www.zohoapis.eu"}})
			if err != nil {
				t.Fatal(err)
			}
			gate, err := transport.NewGate(transport.GateConfig{Limit: 1000, Window: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer gate.Close()
			cfg := zoho.Config{DC: "eu", ClientID: "c", ClientSecret: transport.NewSecret("secret"), RefreshToken: transport.NewSecret("refresh"), Composite: true}
			p, err := zoho.New(cfg, transport.Config{Gate: gate, RoundTripper: s.RoundTripper()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			p.Do(t.Context(), crm.Call{Items: []crm.Item{{Op: crm.Operation{Action: crm.Share, Object: "Leads", Record: "1", User: anna, Access: crm.Read}}}}, journal{})
			f, err := zoho.NewFinder(cfg, transport.Config{Gate: gate, RoundTripper: s.RoundTripper()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := f.Look(t.Context(), []crm.RecordID{{Object: "Leads", Record: "1"}, {Object: "Leads", Record: "2"}})
			if lasts < time.Minute && (len(got[0].State.Grants) != 1 || got[0].Refused != nil) {
				t.Errorf("after a wait: got %+v", got[0])
			}
			if lasts > time.Minute && (got[0].Refused == nil || got[0].State.Looked || got[0].Gone) {
				t.Errorf("busy for good: got %+v", got[0])
			}
			if !got[1].State.Looked {
				t.Errorf("the other record: got %+v", got[1])
			}
		})
	}
}

// journal lets everything be sent.
type journal struct{}

func (journal) Intend(context.Context, crm.State) error { return nil }
