package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/leadsquared"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
)

// engine is the whole machine without the command around it: a sandbox, a gate, a
// provider and a ledger, under a synctest bubble's clock.
type engine struct {
	t       *testing.T
	server  *sandbox.Server
	gate    *transport.Gate
	led     *ledger.Ledger
	account batch.Account
	opts    batch.Options
	plan    *batch.Plan // of the last run
	// zohoGate, if its limit is set, is the one that addZoho makes.
	zohoGate transport.GateConfig
	// watch, if not nil, is called when a run begins, and what it returns at its end.
	watch func(*batch.Batch) (end func())
}

func newEngine(t *testing.T, world sandbox.Config, gate transport.GateConfig, settings ...func(*leadsquared.Config)) *engine {
	t.Helper()
	cfg := leadsquared.Config{
		Host:      "api.leadsquared.example",
		AccessKey: transport.NewSecret("u$r0123456789"), SecretKey: transport.NewSecret("s0123456789"),
	}
	for _, set := range settings {
		set(&cfg)
	}
	e := &engine{t: t}
	var err error
	if e.server, err = sandbox.New(world); err != nil {
		t.Fatal(err)
	}
	if e.gate, err = transport.NewGate(gate); err != nil {
		t.Fatal(err)
	}
	provider, err := leadsquared.New(cfg, transport.Config{Gate: e.gate, RoundTripper: e.server.RoundTripper()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e.led, err = ledger.Open(t.TempDir()+"/sheet.ledger.db", ledger.Options{Create: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []interface{ Close() error }{e.led, e.gate, e.server} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	e.account = batch.Account{
		Name: "main", CRM: "leadsquared", Host: "api.leadsquared.example", Provider: provider, Meter: e.gate,
		Workers: min(gate.Limit, 64), Limit: gate.Limit, Window: gate.Window,
	}
	e.opts = batch.Options{Accounts: []batch.Account{e.account}, Default: "main"}
	return e
}

// run takes a sheet through a whole run.
func (e *engine) run(ctx context.Context, text string) batch.Summary {
	e.t.Helper()
	in, err := sheet.Open(strings.NewReader(text), "sheet.csv", sheet.Options{})
	if err != nil {
		e.t.Fatal(err)
	}
	b, err := batch.New(e.led, e.opts)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := b.LoadSheet(ctx, in); err != nil {
		e.t.Fatal(err)
	}
	if e.plan, err = b.Prepare(ctx); err != nil {
		e.t.Fatal(err)
	}
	if err := b.Commit(ctx); err != nil {
		e.t.Fatal(err)
	}
	end := func() {}
	if e.watch != nil {
		end = e.watch(b)
	}
	s, err := b.Run(ctx)
	end()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := e.led.VerifyRows(context.WithoutCancel(ctx)); err != nil {
		e.t.Errorf("the rows are not what the events say: %v", err)
	}
	return s
}

const sheetHead = "action,object,record_id,context_id,user,access\n"

func guidOf(kind byte, n int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", kind, n) }

// leadRevokes returns a sheet of n revokes, each of another lead.
func leadRevokes(n int) string {
	var b strings.Builder
	b.WriteString(sheetHead)
	for i := range n {
		fmt.Fprintf(&b, "revoke,lead,%d,%s,%s,read\n", 1000+i, guidOf('c', i), guidOf('u', i%7))
	}
	return b.String()
}

// A run takes all that the limit allows and nothing over it: the least possible for
// a preflight and 95 rows at 25 in 5 s is three windows and what the latency adds.
func TestNinetyFiveRowsTakeThreeWindows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		latency := func() time.Duration { return 80 * time.Millisecond }
		e := newEngine(t, sandbox.Config{Latency: latency}, transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
		e.opts.ConfirmOff = true
		start := time.Now()
		s := e.run(t.Context(), leadRevokes(95))
		took := time.Since(start)
		if s.Counts.Accepted != 95 {
			t.Errorf("counts %+v, want 95 accepted", s.Counts)
		}
		if took > 15900*time.Millisecond {
			t.Errorf("took %v, want at most 15.9 s", took)
		}
		e.checkArrivals(25, 5*time.Second)
		if calls := len(e.server.Arrivals()); calls != 96 {
			t.Errorf("%d calls, want a preflight and 95 rows", calls)
		}
	})
}

// A run that confirms takes as many windows as its calls need, however long the CRM
// takes to process a change: the looks at the first changes fill the time that the
// last ones need.
func TestLooksLeaveNoSlotIdle(t *testing.T) {
	t.Parallel()
	const latency = 50 * time.Millisecond
	for _, c := range []struct {
		rows       int
		processing time.Duration
	}{{95, 0}, {95, 300 * time.Millisecond}, {95, 2 * time.Second}, {95, 7 * time.Second}, {300, 25 * time.Second}} {
		t.Run(fmt.Sprintf("%d rows, %v", c.rows, c.processing), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, sandbox.Config{Latency: func() time.Duration { return latency }, Processing: func() time.Duration { return c.processing }},
					transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
				start := time.Now()
				s := e.run(t.Context(), leadRevokes(c.rows))
				took := time.Since(start)
				if s.Counts.Done != int64(c.rows) {
					t.Errorf("counts %+v, want all done", s.Counts)
				}
				windows := time.Duration((1 + 2*c.rows - 1) / 25)
				if least := windows * (5*time.Second + latency); took > least+300*time.Millisecond {
					t.Errorf("took %v, and the limit lets it take %v", took, least)
				}
				e.checkArrivals(25, 5*time.Second)
				if wasted := len(e.server.Arrivals()) - (1 + 2*c.rows); wasted > 3 {
					t.Errorf("%d looks came too early", wasted)
				}
			})
		})
	}
}

func (e *engine) checkArrivals(most int, window time.Duration) {
	e.t.Helper()
	arrivals := e.server.Arrivals()
	if n := sandbox.MostInWindow(arrivals, window); n > most {
		e.t.Errorf("%d calls arrived within %v, want at most %d", n, window, most)
	}
	for _, a := range arrivals {
		if a.Refused {
			e.t.Errorf("%s was refused by the rate limit at %v", a.Op, a.At)
		}
	}
}

// The bound holds whatever the latency, fixed windows or sliding ones.
func TestLimitHoldsUnderAnyLatency(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 5))
				longest := []time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second, 15 * time.Second}[rng.IntN(4)]
				random := func() time.Duration { return time.Duration(rand.Int64N(int64(longest))) + time.Millisecond }
				e := newEngine(t, sandbox.Config{Latency: random, Processing: random, Fixed: seed%2 == 0},
					transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
				s := e.run(t.Context(), leadRevokes(60))
				if s.Counts.Done != 60 {
					t.Errorf("latency up to %v: counts %+v, want 60 done", longest, s.Counts)
				}
				e.checkArrivals(25, 5*time.Second)
			})
		})
	}
}

// What the sheet asks for is in force afterwards, and nothing else has changed.
func TestEndStateIsWhatTheSheetAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, sandbox.Config{Processing: func() time.Duration { return time.Second }},
			transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
		lead := crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "7", Context: guidOf('c', 1), User: guidOf('u', 1), Access: crm.Read}
		other := lead
		other.User = guidOf('u', 2)
		moved := crm.Operation{Action: crm.Revoke, Object: crm.Opportunity, Record: guidOf('o', 1), User: guidOf('u', 1), Access: crm.Read}
		for _, op := range []crm.Operation{lead, other, moved} {
			e.server.Seed(op)
		}
		text := sheetHead +
			fmt.Sprintf("revoke,lead,7,%s,%s,read\n", lead.Context, lead.User) +
			fmt.Sprintf("revoke,opportunity,%s,,%s,read\n", moved.Record, moved.User) +
			fmt.Sprintf("share,opportunity,%s,,%s,write\n", moved.Record, moved.User)
		s := e.run(t.Context(), text)
		if s.Counts.Done != 3 {
			t.Errorf("counts %+v, want 3 done", s.Counts)
		}
		var have []string
		for _, share := range e.server.Shares() {
			have = append(have, fmt.Sprintf("%s %s %s %v", share.Object, share.Record, share.User, share.Access))
		}
		want := []string{
			fmt.Sprintf("lead 7 %s read", other.User),
			fmt.Sprintf("opportunity %s %s write", moved.Record, moved.User),
		}
		if strings.Join(have, "\n") != strings.Join(want, "\n") {
			t.Errorf("shared afterwards:\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
		if n := e.server.OpenOnOneTarget(); n > 0 {
			t.Errorf("%d times two changes of one target were under way", n)
		}
		before := len(e.server.Requests())
		e.run(t.Context(), text)
		if after := len(e.server.Requests()); after != before {
			t.Errorf("the same sheet again sent %d changes", after-before)
		}
	})
}

// A refusal by the rate limit, in whatever form, costs no row and no attempt.
func TestRefusalsByTheRateLimitCostNoRow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, sandbox.Config{Limit: 10, Refusal: sandbox.Refuse429 | sandbox.Refuse200 | sandbox.Refuse403},
			transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
		s := e.run(t.Context(), leadRevokes(80))
		if s.Counts.Done != 80 {
			t.Errorf("counts %+v, want 80 done", s.Counts)
		}
		usage := s.Accounts[0].Usage
		if usage.Limit != 10 || usage.Refused == 0 {
			t.Errorf("usage %+v, want refusals and the limit of 10 that they name", usage)
		}
		refused := 0
		for _, a := range e.server.Arrivals() {
			if a.Refused {
				refused++
			}
		}
		if refused > 20 {
			t.Errorf("%d calls were refused, want no more than the first burst", refused)
		}
		for r, err := range e.led.Results(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Attempts != 1 {
				t.Errorf("line %d has %d attempts, want 1: a refusal is none", r.Line, r.Attempts)
			}
		}
	})
}

// Several revokes may go in one call. A row that the CRM refuses is found by
// splitting its call, and the others get their access taken all the same.
func TestSeveralRevokesInOneCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, sandbox.Config{Closed: true}, transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1},
			func(c *leadsquared.Config) { c.MaxEntries = 10 })
		text := leadRevokes(60)
		for i := range 60 {
			if i != 33 {
				e.server.Seed(crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: fmt.Sprint(1000 + i), Context: guidOf('c', i), User: guidOf('u', i%7), Access: crm.Read})
			}
		}
		s := e.run(t.Context(), text)
		if s.Counts.Done != 59 || s.Counts.Failed != 1 {
			t.Errorf("counts %+v, want 59 done and the one unknown lead failed", s.Counts)
		}
		changes := 0
		for _, a := range e.server.Arrivals() {
			if a.Op == "EntityAccess.Revoke" {
				changes++
			}
		}
		if changes > 6+8 {
			t.Errorf("%d calls for 60 revokes, want 6 and those that find the refused row", changes)
		}
		for r, err := range e.led.Results(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if (r.Status == crm.Failed) != (r.Op.Record == "1033") {
				t.Errorf("lead %s is %v", r.Op.Record, r.Status)
			}
		}
		if left := e.server.Shares(); len(left) > 0 {
			t.Errorf("%d shares are left", len(left))
		}
	})
}

// addZoho gives the engine an account of the sandbox's other half, and lets rows
// find theirs by their object.
func (e *engine) addZoho(settings ...func(*zoho.Config)) {
	e.t.Helper()
	cfg := transport.GateConfig{Limit: 10, Window: time.Second, Share: 1, MaxInFlight: 5}
	if e.zohoGate.Limit > 0 {
		cfg = e.zohoGate
	}
	gate, err := transport.NewGate(cfg)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		if err := gate.Close(); err != nil {
			e.t.Error(err)
		}
	})
	const base = "http://127.0.0.1:1"
	conf := zoho.Config{
		APIURL: base, AccountsURL: base, ClientID: "client", VerifyAfter: 2 * time.Second,
		ClientSecret: transport.NewSecret("client-secret"), RefreshToken: transport.NewSecret("refresh-token"),
	}
	for _, set := range settings {
		set(&conf)
	}
	provider, err := zoho.New(conf, transport.Config{Gate: gate, RoundTripper: e.server.RoundTripper()}, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	e.opts.Accounts = append(e.opts.Accounts, batch.Account{
		Name: "zoho", CRM: "zoho", Host: "zoho", Provider: provider, Meter: gate, Workers: 5, Limit: cfg.Limit, Window: cfg.Window,
	})
	e.opts.Default = ""
	e.opts.Words.Route = func(object string) string {
		if routeByObject(object) == crmZoho {
			return "zoho"
		}
		return "main"
	}
}
