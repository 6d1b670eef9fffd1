package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
	"github.com/google/go-cmp/cmp"
)

// Seven leavers and three bystanders on each of 50 records, their rows spread over the
// sheet, cost one look, one write and one confirming look a record.
func TestThreeCallsARecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, sandbox.Config{Processing: func() time.Duration { return time.Second }},
			transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
		e.addZoho()
		text := mixedHead
		bystanders := make(map[string][]crm.Grant)
		for u := range 10 {
			e.server.AddUser(crm.User{ID: zohoUser(u), Email: addressOf(zohoUser(u)), Active: true}, "Standard")
			for n := range 50 {
				key := "Quotes/" + zohoRecord(n)
				bystanders[key] = append(bystanders[key], crm.Grant{Kind: "user", ID: zohoUser(u), Access: crm.Read + crm.Access((u+n)%3), Related: u%2 == 0, Type: "private"})
				if u < 7 {
					user := zohoUser(u)
					if n%3 == 0 {
						user = addressOf(user)
					}
					text += fmt.Sprintf("revoke,Quotes,%s,,%s,,,\n", zohoRecord(n), user)
				}
			}
		}
		for key, grants := range bystanders {
			_, record, _ := strings.Cut(key, "/")
			e.server.SeedZoho("Quotes", record, grants...)
		}
		s := e.run(t.Context(), text)
		if s.Counts.Done != 350 {
			t.Errorf("counts %+v, want 350 done", s.Counts)
		}
		calls := make(map[string]int)
		for _, a := range e.server.Arrivals() {
			calls[a.Path]++
			if a.Refused {
				t.Errorf("%s was refused", a.Path)
			}
		}
		for n := range 50 {
			key := "Quotes/" + zohoRecord(n)
			if diff := cmp.Diff(bystanders[key][7:], e.server.Grants("Quotes", zohoRecord(n))); diff != "" {
				t.Errorf("%s in force (-want +got):\n%s", key, diff)
			}
			path := "/crm/v8/" + key + "/actions/share"
			if calls[path] > 3 {
				t.Errorf("%d calls for %s, want at most 3", calls[path], key)
				for _, a := range e.server.Arrivals() {
					if a.Path == path {
						t.Logf("%v %s %d", a.At, a.Op, a.Status)
					}
				}
			}
			delete(calls, path)
		}
		if other := slices.Collect(maps.Keys(calls)); len(other) > 4 {
			t.Errorf("other calls: %v, want token, owner, organisation and user list", other)
		}
		if n := e.server.Mails(); n > 0 {
			t.Errorf("%d mails were sent", n)
		}
		e.checkPlan(s)
	})
}

// checkPlan holds the calls that the plan stated against those that the run used.
func (e *engine) checkPlan(s batch.Summary) {
	e.t.Helper()
	for i, planned := range e.plan.Accounts {
		used := s.Accounts[i].Usage.Calls
		if off := math.Abs(float64(planned.Calls-used)) / float64(used); off > 0.05 {
			e.t.Errorf("account %s: %d calls planned and %d used, want them within 5 %%", planned.Account, planned.Calls, used)
		}
	}
}

// What the plan states is what a run without faults uses.
func TestPlanStatesTheCalls(t *testing.T) {
	t.Parallel()
	for _, processing := range []time.Duration{0, 300 * time.Millisecond, 7 * time.Second} {
		t.Run(processing.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, sandbox.Config{Processing: func() time.Duration { return processing }, Latency: func() time.Duration { return 50 * time.Millisecond }},
					transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
				start := time.Now()
				s := e.run(t.Context(), leadRevokes(300))
				if s.Counts.Done != 300 {
					t.Errorf("counts %+v, want 300 done", s.Counts)
				}
				e.checkPlan(s)
				planned, took := e.plan.Accounts[0].Duration, time.Since(start)
				if took < planned || took > planned*11/10+2*processing {
					t.Errorf("took %v, and the plan said %v", took, planned)
				}
			})
		})
	}
}

// Accounts work side by side, each at its own limit: both take no longer than the
// slower one alone.
func TestAccountsRunSideBySide(t *testing.T) {
	t.Parallel()
	lead, quote := leadRevokes(80), ""
	for n := range 60 {
		quote += fmt.Sprintf("revoke,Quotes,%s,,%s,\n", zohoRecord(n), zohoUser(1))
	}
	took := func(text string) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			e := newEngine(t, sandbox.Config{Latency: func() time.Duration { return 50 * time.Millisecond }},
				transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
			e.addZoho()
			for n := range 60 {
				e.server.SeedZoho("Quotes", zohoRecord(n), crm.Grant{Kind: "user", ID: zohoUser(1), Access: crm.Read, Type: "private"})
			}
			start := time.Now()
			if s := e.run(t.Context(), text); s.Counts.Done != s.Counts.Rows {
				t.Errorf("counts %+v, want all done", s.Counts)
			}
			d = time.Since(start)
		})
		return d
	}
	both, slower := took(lead+quote), max(took(lead), took(sheetHead+quote))
	if both > slower+slower/50 {
		t.Errorf("both accounts took %v, the slower one alone %v", both, slower)
	}
}

// Confirming looks go five to a call where that is set. What they say lands on the
// right rows, of which some have no effect, whatever order the answers come in.
func TestConfirmingLooksGoTogether(t *testing.T) {
	t.Parallel()
	const records = 40
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, sandbox.Config{Zoho: sandbox.ZohoConfig{Backwards: true}, Latency: func() time.Duration { return 50 * time.Millisecond }},
			transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
		e.addZoho(func(c *zoho.Config) { c.Composite = true })
		e.opts.ConfirmTimeout = 20 * time.Second
		text := sheetHead
		for n := range records {
			grants := []crm.Grant{{Kind: "user", ID: zohoUser(1), Access: crm.Read, Type: "private"}, {Kind: "user", ID: zohoUser(2), Access: crm.Write, Type: "private"}}
			e.server.SeedZoho("Quotes", zohoRecord(n), grants[:1+n%2]...)
			text += fmt.Sprintf("revoke,Quotes,%s,,%s,\n", zohoRecord(n), zohoUser(1))
			if n%8 == 3 {
				e.server.Fault(sandbox.Fault{Op: "Zoho.Share.Put", Match: zohoRecord(n), Kind: sandbox.FaultNeverProcess})
			}
		}
		e.run(t.Context(), text)
		for r, err := range e.led.Results(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n := r.Line - 2
			if want := map[bool]crm.Status{true: crm.Accepted, false: crm.Done}[n%8 == 3]; r.Status != want {
				t.Errorf("record %d is %v (%s %s), want %v", n, r.Status, r.Code, r.Message, want)
			}
		}
		together := 0
		for _, a := range e.server.Arrivals() {
			if a.Op == "Zoho.Composite" {
				together++
			}
			if a.Refused {
				t.Errorf("%s was refused", a.Op)
			}
		}
		if together < records/10 {
			t.Errorf("%d looks went together", together)
		}
	})
}
