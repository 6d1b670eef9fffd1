package zoho_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
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

// asks are the methods of a finder, each with what it says if it works.
func asks(w *world) map[string]func(ctx context.Context) (string, error) {
	return map[string]func(ctx context.Context) (string, error){
		"Zoho.Groups": func(ctx context.Context) (string, error) {
			got, err := w.finder.Memberships(ctx, anna)
			return fmt.Sprint(got), err
		},
		"Zoho.Modules": func(ctx context.Context) (string, error) {
			got, err := w.finder.Modules(ctx)
			return fmt.Sprint(len(got)), err
		},
		"Zoho.Query": func(ctx context.Context) (string, error) {
			got, err := w.records(ctx, "Leads", "")
			return fmt.Sprint(got), err
		},
		"Zoho.Query count": func(ctx context.Context) (string, error) {
			got, err := w.finder.Count(ctx, "Leads")
			return fmt.Sprint(got), err
		},
		"Zoho.Query owned": func(ctx context.Context) (string, error) {
			got, err := w.finder.Owned(ctx, "Leads")
			return fmt.Sprint(got), err
		},
		"Zoho.Share.Get": func(ctx context.Context) (string, error) {
			return lookError(w.look(ctx, id(0)))
		},
		"Zoho.Composite": func(ctx context.Context) (string, error) {
			return lookError(w.look(ctx, id(0), id(1)))
		},
		"Zoho.Users": func(ctx context.Context) (string, error) {
			n := 0
			for _, err := range w.finder.Users(ctx, crm.Current) {
				if err != nil {
					return "", &crm.Unseen{Message: err.Error()} // whose errors are a provider's
				}
				n++
			}
			return fmt.Sprint(n), nil
		},
	}
}

// lookError is the first thing that went wrong with looks.
func lookError(looks []crm.Look) (string, error) {
	for _, l := range looks {
		switch {
		case l.Ended != nil:
			return "", l.Ended
		case l.Refused != nil:
			return "", l.Refused
		case l.Gone || !l.State.Looked:
			return "", errors.New("not looked at, and no word why")
		}
	}
	return fmt.Sprint(looks), nil
}

func seedAsks(w *world) {
	w.SeedZohoRecords("Leads", id(0), 3, anna)
	w.SeedZoho("Leads", id(0), grant(crm.KindUser, anna, crm.Read))
	w.SeedZoho("Leads", id(1), grant(crm.KindUser, bert, crm.Read))
	w.AddZohoGroup(sandbox.ZohoGroup{ID: sales, Name: "Sales", Users: []string{anna}})
}

// TestFinderUnderFaults: what passes is waited for or repeated, and what does not is told;
// no fault makes anything be seen that is not so, or be missed in silence.
func TestFinderUnderFaults(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		fault  sandbox.Fault
		passes bool // with Times 1, the method works
	}{
		"throttled":      {sandbox.Fault{Kind: sandbox.FaultThrottle}, true},
		"5xx":            {sandbox.Fault{Kind: sandbox.FaultEmpty500}, true},
		"internal error": {sandbox.Fault{Kind: sandbox.FaultException}, true},
		"lost":           {sandbox.Fault{Kind: sandbox.FaultResetAfter}, true},
		"never came":     {sandbox.Fault{Kind: sandbox.FaultResetBefore}, true},
		"cut":            {sandbox.Fault{Kind: sandbox.FaultTruncate}, true},
		"old token":      {sandbox.Fault{Kind: sandbox.FaultException, Status: 401, Type: "INVALID_TOKEN"}, true},
		"a page":         {sandbox.Fault{Kind: sandbox.FaultHTML}, false},
		"an object":      {sandbox.Fault{Kind: sandbox.FaultEmptyObject}, false},
		"huge":           {sandbox.Fault{Kind: sandbox.FaultHuge, Bytes: 40 << 20}, false},
		"a list":         {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `[]`}, false},
		"nulls":          {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":null,"share":null,"modules":null,"user_groups":null,"users":null,"info":null}`}, false},
		"texts":          {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":"x","share":"x","modules":"x","user_groups":"x","users":"x"}`}, false},
		"odd entries":    {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":[{}],"share":[{}],"modules":[{"api_supported":true}],"user_groups":[{}],"users":5}`}, false},
		"fewer than said": {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":[{"id":"1","count(id)":1,"Owner":{"id":"1"}}],"modules":[{"api_name":"Leads","api_supported":true}],
			"user_groups":[{"id":"1"}],"users":[{"id":"1"}],"share":[{"shared_with":{"id":"1","type":"users"},"permission":"read_only"}],"info":{"count":2,"more_records":false}}`}, false},
		"empty, and more": {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":[],"modules":[],"user_groups":[],"users":[],"share":[],"info":{"count":0,"more_records":true}}`}, false},
		"a number twice":  {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":[{"id":"1","id":"2","count(id)":1,"count(id)":2,"Owner":{"id":"1","id":"2"}}],"share":[],"share":[],"modules":[],"modules":[],"user_groups":[],"user_groups":[],"users":[],"users":[]}`}, false},
		"refused":         {sandbox.Fault{Kind: sandbox.FaultException, Status: 403, Type: "NO_PERMISSION", Text: "permission denied"}, false},
	}
	for name, c := range cases {
		for op := range asks(nil) {
			t.Run(name+"/"+op, func(t *testing.T) {
				t.Parallel()
				c := c
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, sandbox.Config{}, zoho.Config{Composite: op == "Zoho.Composite"})
					seedAsks(w)
					ask := asks(w)[op]
					want, err := ask(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					c.fault.Op, _, _ = strings.Cut(op, " ")
					c.fault.Times = 1
					w.Fault(c.fault)
					got, err := ask(t.Context())
					if (c.passes || op == "Zoho.Composite") && (err != nil || got != want) {
						t.Errorf("once: got %s, %v, want %s", got, err, want)
					}
					w.ClearFaults()
					c.fault.Times = 0
					w.Fault(c.fault)
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					if op == "Zoho.Composite" { // each record by itself then
						if name == "throttled" || name == "old token" {
							return // which concern everything, and end the account
						}
						if got, err = ask(ctx); err != nil || got != want {
							t.Errorf("always: got %s, %v, want %s", got, err, want)
						}
						return
					}
					got, err = ask(ctx)
					_, hidden := errors.AsType[*crm.Unseen](err)
					_, ended := errors.AsType[*crm.AccountError](err)
					if !hidden && !ended {
						t.Errorf("always: got %s, %v, want an error of a finder", got, err)
					}
				})
			})
		}
	}
}

// TestFinderOfLyingPages: a list that lies about itself is an error, and what came before it
// is not all.
func TestFinderOfLyingPages(t *testing.T) {
	t.Parallel()
	row := func(ids ...string) string { return `{"id":"` + strings.Join(ids, `"},{"id":"`) + `"}` }
	for name, body := range map[string]string{
		"out of order":      `{"data":[` + row("5", "4") + `],"info":{"count":2,"more_records":false}}`,
		"as texts in order": `{"data":[` + row("10", "9") + `],"info":{"count":2,"more_records":false}}`,
		"repeated":          `{"data":[` + row("5", "5") + `],"info":{"count":2,"more_records":false}}`,
		"before the last":   `{"data":[` + row("3") + `],"info":{"count":1,"more_records":false}}`,
		"the last again":    `{"data":[` + row("4") + `],"info":{"count":1,"more_records":false}}`,
		"two spellings":     `{"data":[` + row("5", "06") + `],"info":{"count":2,"more_records":false}}`,
		"no number":         `{"data":[` + row("x") + `],"info":{"count":1,"more_records":false}}`,
		"a long number":     `{"data":[` + row("123456789012345678901") + `],"info":{"count":1,"more_records":false}}`,
		"more than it says": `{"data":[` + row("5", "6") + `],"info":{"count":1,"more_records":false}}`,
		"no count":          `{"data":[],"info":{"more_records":false}}`,
		"too many":          `{"data":[` + row(manyIDs(2001)...) + `],"info":{"count":2001,"more_records":false}}`,
		"a status":          `{"data":[` + row("5") + `],"info":{"count":1,"more_records":false},"status":"error","code":"INVALID_QUERY","message":"no"}`,
	} {
		w := newWorld(t, sandbox.Config{}, zoho.Config{})
		w.Fault(sandbox.Fault{Op: "Zoho.Query", Kind: sandbox.FaultVerbatim, Body: body})
		_, err := w.records(t.Context(), "Leads", "4")
		if _, ok := errors.AsType[*crm.Unseen](err); !ok {
			t.Errorf("%s: got %v, want it to be told", name, err)
		}
	}
	// A page without a word about more is followed until one is empty.
	w := newWorld(t, sandbox.Config{}, zoho.Config{})
	w.Fault(sandbox.Fault{Op: "Zoho.Query", Kind: sandbox.FaultVerbatim, Body: `{"data":[` + row("5", "6") + `]}`, Times: 1})
	w.SeedZohoRecords("Leads", "7", 1)
	if ids, err := w.records(t.Context(), "Leads", "4"); err != nil || !cmp.Equal(ids, []string{"5", "6", "7"}) {
		t.Errorf("without a word: got %v, %v", ids, err)
	}
	for name, body := range map[string]string{
		"two rows":   `{"data":[{"count(id)":1},{"count(id)":2}],"info":{"count":2,"more_records":false}}`,
		"negative":   `{"data":[{"count(id)":-1}],"info":{"count":1,"more_records":false}}`,
		"a fraction": `{"data":[{"count(id)":1.5}],"info":{"count":1,"more_records":false}}`,
		"no column":  `{"data":[{"total":1}],"info":{"count":1,"more_records":false}}`,
		"no owner":   `{"data":[{"count(id)":1,"Owner":null}],"info":{"count":1,"more_records":true}}`,
	} {
		w := newWorld(t, sandbox.Config{}, zoho.Config{})
		w.Fault(sandbox.Fault{Op: "Zoho.Query", Kind: sandbox.FaultVerbatim, Body: body})
		if n, err := w.finder.Count(t.Context(), "Leads"); err == nil {
			t.Errorf("%s: got a count of %d", name, n)
		}
		if owned, err := w.finder.Owned(t.Context(), "Leads"); err == nil {
			t.Errorf("%s: got %v owned", name, owned)
		}
	}
}

func manyIDs(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint(5+i))
	}
	return ids
}

func TestFinderOfCreditsUsedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Config{Zoho: sandbox.ZohoConfig{Credits: 3}}, zoho.Config{})
		seedAsks(w)
		if _, err := w.records(t.Context(), "Leads", ""); err != nil {
			t.Fatal(err)
		}
		for op, ask := range asks(w) {
			_, err := ask(t.Context())
			if end, ok := errors.AsType[*crm.AccountError](err); op != "Zoho.Users" && (!ok || end.Code != crm.EndQuota) {
				t.Errorf("%s: got %v, want the account's end", op, err)
			}
		}
	})
}

func TestFinderOfDeadKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Config{}, zoho.Config{Composite: true})
	seedAsks(w)
	w.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: "5000000000000000001", Email: "admin@sandbox.example"}, Profile: "Administrator"})
	for op, ask := range asks(w) {
		_, err := ask(t.Context())
		if end, ok := errors.AsType[*crm.AccountError](err); op != "Zoho.Users" && (!ok || end.Code != crm.EndKeys) {
			t.Errorf("%s: got %v, want the account's end", op, err)
		}
	}
	if _, err := w.finder.Identify(t.Context()); err == nil {
		t.Error("identity: got none, and no error")
	}
}

func TestFinderStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Config{}, zoho.Config{})
	seedAsks(w)
	why := errors.New("the operator has had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for op, ask := range asks(w) {
		if _, err := ask(ctx); err == nil || !strings.Contains(err.Error(), why.Error()) {
			t.Errorf("%s: got %v, want %v", op, err, why)
		}
	}
	if n := len(w.Arrivals()); n != 0 {
		t.Errorf("%d requests went out", n)
	}
}

func TestFinderRefusesOddNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Config{}, zoho.Config{})
	for name, ask := range map[string]func() error{
		"module of a count": func() error { _, err := w.finder.Count(t.Context(), "Leads where id > 1"); return err },
		"module of owners":  func() error { _, err := w.finder.Owned(t.Context(), ""); return err },
		"module of a list":  func() error { _, err := w.records(t.Context(), "Leads;x", ""); return err },
		"module of a look": func() error {
			return w.finder.Look(t.Context(), []crm.RecordID{{Object: "../x", Record: "1"}})[0].Refused
		},
		"id of a look": func() error { return w.look(t.Context(), "1/../2")[0].Refused },
		"id of a list": func() error { _, err := w.records(t.Context(), "Leads", "1 or 1"); return err },
		"id of a user": func() error { _, err := w.finder.Memberships(t.Context(), "1/2"); return err },
		"activities": func() error {
			return w.finder.Look(t.Context(), []crm.RecordID{{Object: "Tasks", Record: "1"}})[0].Refused
		},
	} {
		if hidden, ok := errors.AsType[*crm.Unseen](ask()); !ok || hidden == nil || hidden.Code != crm.CodeInvalid {
			t.Errorf("%s: got %v", name, hidden)
		}
	}
	if n := len(w.Arrivals()); n != 0 {
		t.Errorf("%d requests went out", n)
	}
}

// TestFinderHoldsNothingThatWrites walks through all that a finder holds: a client that can
// send a change is reached through a transport.Reader only.
func TestFinderHoldsNothingThatWrites(t *testing.T) {
	t.Parallel()
	f := newWorld(t, sandbox.Config{}, zoho.Config{Composite: true}).finder
	if where := writers(reflect.ValueOf(f), "finder", map[uintptr]bool{}); len(where) > 0 {
		t.Errorf("can write: %v", where)
	}
	// The walk finds what it is to find.
	p, err := zoho.New(zoho.Config{DC: "eu", ClientID: "c", ClientSecret: transport.NewSecret("s"), RefreshToken: transport.NewSecret("r")},
		transport.Config{Gate: newWorld(t, sandbox.Config{}, zoho.Config{}).gate, RoundTripper: http.DefaultTransport}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if where := writers(reflect.ValueOf(p), "provider", map[uintptr]bool{}); len(where) == 0 {
		t.Error("a provider can write, and the walk does not see it")
	}
}

// writers names the clients that are reached from a value.
func writers(v reflect.Value, name string, seen map[uintptr]bool) (where []string) {
	switch v.Type() {
	case reflect.TypeFor[transport.Client]():
		return []string{name}
	case reflect.TypeFor[transport.Reader](), reflect.TypeFor[transport.Store](), reflect.TypeFor[transport.Redactor]():
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || seen[v.Pointer()] {
			return nil
		}
		seen[v.Pointer()] = true
		return writers(v.Elem(), name, seen)
	case reflect.Interface:
		if !v.IsNil() {
			return writers(v.Elem(), name, seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			where = append(where, writers(v.Field(i), name+"."+v.Type().Field(i).Name, seen)...)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			where = append(where, writers(v.Index(i), name+"[]", seen)...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			where = append(where, writers(v.MapIndex(key), name+"[]", seen)...)
		}
	}
	return where
}
