package leadsquared_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/leadsquared"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	anna  = "0203f172-8642-11e7-9bed-069b743e848f"
	bert  = "96105aa0-61f2-11ea-8109-022edb41208c"
	north = "ed3ea545-b1fa-11e9-9371-0666b2d6ef5e"
	south = "f85f3b60-bec7-47c8-8fcd-ae5d9df2d0e5"
)

// world is a sandbox with a finder of it.
type world struct {
	*sandbox.Server
	finder *leadsquared.Finder
	gate   *transport.Gate
}

var keys = leadsquared.Config{
	Host: "api-in21.leadsquared.com", AccessKey: transport.NewSecret("u$r0123456789"), SecretKey: transport.NewSecret("s3cret0123456789"),
}

// newWorld makes a world, which ends with the test, and fails it if anything but reads came.
func newWorld(t testing.TB, cfg sandbox.Config) *world {
	t.Helper()
	if cfg.Limit == 0 {
		cfg.Limit = -1
	}
	s, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	gate, err := transport.NewGate(transport.GateConfig{Limit: 1000, Window: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	f, err := leadsquared.NewFinder(keys, transport.Config{Gate: gate, RoundTripper: s.RoundTripper()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, a := range s.Arrivals() {
			if a.Method != "GET" || a.Op == "" {
				t.Errorf("a finder sent %s %s", a.Method, a.Path)
			}
		}
		_, _ = gate.Close(), s.Close()
	})
	return &world{s, f, gate}
}

// join makes somebody a member of a group.
func (w *world) join(group, user string, p crm.Permissions) {
	w.Seed(crm.Operation{Action: crm.Revoke, Object: crm.SalesGroup, Record: group, User: user, Permissions: p})
}

func (w *world) calls(op string) (n int) {
	for _, a := range w.Arrivals() {
		if a.Op == op {
			n++
		}
	}
	return n
}

func name(group string) string { return "Group " + group[:8] }

func TestFinderSeesGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Config{Closed: true})
	const some = crm.ViewAllLeadsOfGroup | crm.AddUsersToGroup
	w.join(north, anna, some)
	w.join(south, anna, 0)
	w.join(south, bert, crm.CreateGroupAutomation)
	for user, want := range map[string][]crm.Membership{
		anna:                                   {{ID: north, Name: name(north), Permissions: some, PermissionsKnown: true}, {ID: south, Name: name(south), PermissionsKnown: true}},
		strings.ToUpper(bert):                  {{ID: south, Name: name(south), Permissions: crm.CreateGroupAutomation, PermissionsKnown: true}},
		"5a0d0b0c-0000-4000-8000-000000000001": nil,
	} {
		got, err := w.finder.Memberships(t.Context(), user)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", user, err, diff)
		}
	}
	if looks, groups := w.calls("UserGroup.RetrieveUsers"), w.calls("UserGroup.Retrieve"); looks != 2 || groups != 3 {
		t.Errorf("%d lists of members and %d of groups, want one a group and one a person", looks, groups)
	}
	sight := w.finder.Sees()
	if !sight.Groups || sight.GroupObject != crm.SalesGroup || sight.GroupCalls != 1 || sight.Records || sight.Lists || len(sight.Never) != 2 {
		t.Errorf("sight: got %+v", sight)
	}
	if identity, err := w.finder.Identify(t.Context()); err != nil || identity.Org == "" {
		t.Errorf("identity: got %+v, %v", identity, err)
	}
	people := 0
	for _, err := range w.finder.Users(t.Context(), crm.Current) {
		if err != nil {
			t.Fatal(err)
		}
		people++
	}
	if people != 3 {
		t.Errorf("%d people, want 3", people)
	}
}

// TestFinderAsksOnceAtATime: people of one group who are asked about at the same time cost
// one list of its members.
func TestFinderAsksOnceAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Config{Latency: func() time.Duration { return time.Second }})
		w.join(north, anna, 0)
		w.join(north, bert, 0)
		var wg sync.WaitGroup
		for _, user := range []string{anna, bert, anna} {
			wg.Go(func() {
				if got, err := w.finder.Memberships(t.Context(), user); err != nil || len(got) != 1 || !got[0].PermissionsKnown {
					t.Errorf("got %v, %v", got, err)
				}
			})
		}
		wg.Wait()
		if n := w.calls("UserGroup.RetrieveUsers"); n != 1 {
			t.Errorf("%d lists of members, want 1", n)
		}
		// Who waits for somebody else's list can stop.
		w.join(south, anna, 0)
		w.join(south, bert, 0)
		wg.Go(func() { _, _ = w.finder.Memberships(t.Context(), anna) })
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if _, err := w.finder.Memberships(ctx, bert); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the time", err)
		}
		wg.Wait()
	})
}

// TestFinderWithoutPermissions: a group that was seen is there, whatever its members' list
// says or does not say.
func TestFinderWithoutPermissions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault sandbox.Fault
		again int // lists of members after two people
	}{
		"refused":      {sandbox.Fault{Kind: sandbox.FaultException, Type: "MXInvalidInputException"}, 1},
		"a page":       {sandbox.Fault{Kind: sandbox.FaultHTML}, 2},
		"without them": {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"RecordCount":0,"GroupUsers":[]}`}, 1},
		"of another":   {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"RecordCount":1,"GroupUsers":[{"GroupId":"` + south + `","UserId":"` + anna + `"}]}`}, 2},
		"silent":       {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"RecordCount":1,"GroupUsers":[{"GroupId":"` + north + `","UserId":"` + anna + `"}]}`}, 1},
	} {
		w := newWorld(t, sandbox.Config{})
		w.join(north, anna, crm.ViewAllLeadsOfGroup)
		c.fault.Op = "UserGroup.RetrieveUsers"
		w.Fault(c.fault)
		for range 2 {
			got, err := w.finder.Memberships(t.Context(), anna)
			if err != nil || len(got) != 1 || got[0].ID != north || got[0].PermissionsKnown || got[0].Permissions != 0 {
				t.Errorf("%s: got %+v, %v, want the group without permissions", name, got, err)
			}
		}
		if n := w.calls("UserGroup.RetrieveUsers"); n != c.again {
			t.Errorf("%s: asked %d times, want %d", name, n, c.again)
		}
	}
}

// TestFinderUnderFaults: what passes is waited for or repeated, and what does not is told.
func TestFinderUnderFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault        sandbox.Fault
		passes, keys bool
	}{
		"throttled":       {fault: sandbox.Fault{Kind: sandbox.FaultThrottle}, passes: true},
		"5xx":             {fault: sandbox.Fault{Kind: sandbox.FaultEmpty500}, passes: true},
		"lost":            {fault: sandbox.Fault{Kind: sandbox.FaultResetAfter}, passes: true},
		"never came":      {fault: sandbox.Fault{Kind: sandbox.FaultResetBefore}, passes: true},
		"cut":             {fault: sandbox.Fault{Kind: sandbox.FaultTruncate}, passes: true},
		"a page":          {fault: sandbox.Fault{Kind: sandbox.FaultHTML}},
		"an object":       {fault: sandbox.Fault{Kind: sandbox.FaultEmptyObject}},
		"huge":            {fault: sandbox.Fault{Kind: sandbox.FaultHuge, Bytes: 40 << 20}},
		"an exception":    {fault: sandbox.Fault{Kind: sandbox.FaultException}},
		"a success":       {fault: sandbox.Fault{Kind: sandbox.FaultNoID}},
		"nulls":           {fault: sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"RecordCount":null,"UserGroups":null}`}},
		"fewer than said": {fault: sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"RecordCount":2,"UserGroups":[{"GroupId":"` + south + `"}]}`}},
		"twice":           {fault: sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"RecordCount":2,"UserGroups":[{"GroupId":"` + south + `"},{"GroupId":"` + south + `"}]}`}},
		"no id":           {fault: sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"RecordCount":1,"UserGroups":[{"Name":"x"}]}`}},
		"beside an error": {fault: sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"RecordCount":0,"UserGroups":[],"ErrorMessage":"no"}`}},
		"empty, no count": {fault: sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"UserGroups":[]}`}},
		"dead keys":       {fault: sandbox.Fault{Kind: sandbox.FaultException, Status: 401, Type: "MXAuthenticationFailedException"}, keys: true},
		"the wrong host":  {fault: sandbox.Fault{Kind: sandbox.FaultWrongHost}, keys: true},
		"somewhere else":  {fault: sandbox.Fault{Kind: sandbox.FaultRedirect, URL: "https://elsewhere.example/"}, keys: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := c
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, sandbox.Config{})
				w.join(north, anna, 0)
				c.fault.Op, c.fault.Times = "UserGroup.Retrieve", 1
				w.Fault(c.fault)
				got, err := w.finder.Memberships(t.Context(), anna)
				if c.passes && (err != nil || len(got) != 1 || got[0].ID != north) {
					t.Errorf("once: got %v, %v", got, err)
				}
				w.ClearFaults()
				c.fault.Times = 0
				w.Fault(c.fault)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				got, err = w.finder.Memberships(ctx, anna)
				_, hidden := errors.AsType[*crm.Unseen](err)
				_, ended := errors.AsType[*crm.AccountError](err)
				if !hidden && !ended || c.keys != ended && name != "throttled" || got != nil {
					t.Errorf("always: got %v, %v", got, err)
				}
				if strings.Contains(fmt.Sprint(err), keys.SecretKey.Reveal()) {
					t.Error("a key is printed")
				}
			})
		})
	}
}

// TestFinderShowsNoRecords: what no API lists is said, and costs nothing.
func TestFinderShowsNoRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Config{})
	hidden := func(err error) {
		t.Helper()
		if _, ok := errors.AsType[*crm.Unseen](err); !ok {
			t.Errorf("got %v, want it to be said that no API tells", err)
		}
	}
	_, err := w.finder.Modules(t.Context())
	hidden(err)
	_, err = w.finder.Count(t.Context(), crm.Lead)
	hidden(err)
	_, err = w.finder.Owned(t.Context(), crm.Lead)
	hidden(err)
	for id, err := range w.finder.Records(t.Context(), crm.Lead, "") {
		if hidden(err); id != "" {
			t.Errorf("a record: %s", id)
		}
	}
	looks := w.finder.Look(t.Context(), []crm.RecordID{{Object: crm.Lead, Record: "1"}, {Object: crm.Opportunity, Record: south}})
	for _, l := range looks {
		if l.Refused == nil || l.State.Looked || l.Gone || l.Ended != nil {
			t.Errorf("a look: got %+v", l)
		}
	}
	_, err = w.finder.Memberships(t.Context(), "anna&UserId="+bert)
	hidden(err)
	if n := len(w.Arrivals()); n != 0 || len(looks) != 2 {
		t.Errorf("%d requests and %d looks, want none and 2", n, len(looks))
	}
}

// TestFinderHoldsNothingThatWrites: the only client that it holds reads.
func TestFinderHoldsNothingThatWrites(t *testing.T) {
	t.Parallel()
	v := reflect.ValueOf(newWorld(t, sandbox.Config{}).finder).Elem()
	client := v.FieldByName("client").Elem()
	if client.Type() != reflect.TypeFor[*transport.Reader]() {
		t.Errorf("the client is a %s", client.Type())
	}
	for i := range v.NumField() {
		if v.Field(i).Type() == reflect.TypeFor[*transport.Client]() {
			t.Errorf("%s can write", v.Type().Field(i).Name)
		}
	}
}
