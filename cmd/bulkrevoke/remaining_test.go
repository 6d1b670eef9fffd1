package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/leadsquared"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
)

// ticks records what Progress says of a run each second.
type ticks struct {
	from    time.Time
	at      []time.Duration
	told    []batch.Progress
	stopped chan struct{}
}

func (r *ticks) watch(b *batch.Batch) (end func()) {
	*r = ticks{from: time.Now(), stopped: make(chan struct{})}
	stop := make(chan struct{})
	go func() {
		defer close(r.stopped)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				synctest.Wait() // for all else that happens at this instant
				if p := b.Progress(); p.Phase == batch.PhaseRunning {
					r.at, r.told = append(r.at, time.Since(r.from)), append(r.told, p)
				}
			case <-stop:
				return
			}
		}
	}()
	return func() { close(stop); <-r.stopped }
}

// check holds the time left that was told at each tick against the time that the run
// then took, from the moment on when everything has gone wrong that does: so many calls
// have been refused or made again, and so many rows have failed. What is still to come of
// that nobody can tell.
func (r *ticks) check(t *testing.T, trouble, failed int64) {
	t.Helper()
	took := time.Since(r.from)
	judged, wrong, worst := 0, 0, time.Duration(0)
	for i, p := range r.told {
		seen := int64(0)
		for _, a := range p.Accounts {
			seen += a.Usage.Refused + a.Usage.Repeats
		}
		if seen < trouble || p.Counts.Failed < failed {
			continue
		}
		judged++
		left := took - r.at[i]
		off := p.TimeLeft - left
		if worst.Abs() < off.Abs() {
			worst = off
		}
		if off.Abs() <= max(5*time.Second, left*15/100) {
			continue
		}
		if wrong++; wrong <= 5 {
			t.Errorf("after %v: %v left, and it took %v; %d calls made and %d left, counts %+v", r.at[i], p.TimeLeft, left, p.CallsMade, p.CallsLeft, p.Counts)
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d ticks were wrong", wrong, judged)
	}
	if took > 10*time.Second && judged < 5 {
		t.Errorf("only %d ticks in %v", judged, took)
	}
	t.Logf("%d ticks in %v, at most %v off", judged, took, worst)
}

// timedRun is a run whose time left is watched.
type timedRun struct {
	text  func(e *engine) string // the sheet; what it needs is in the sandbox then
	off   bool                   // --confirm off
	world sandbox.Config
	// refusals is how many calls are refused by the rate limit, each with a pause.
	refusals int
	// resumed is when an earlier run of the sheet is stopped; 0 for none.
	resumed time.Duration
	failed  int64         // rows that end as failed
	entries int           // revokes of leads that go in one call; 0 is 1
	lost    int           // answers that are lost
	slow    bool          // Zoho's limit is 6 in 3 s
	settles time.Duration // what Zoho is told to need before a look is worth while; 0 is 2 s
	twin    bool          // opportunities are another account's, within the same limit
}

// What is told of the time left is right within 5 s or 15 %, at any moment of a run,
// from its first one on.
func TestTimeLeftIsRight(t *testing.T) {
	t.Parallel()
	leads := func(n int) func(*engine) string { return func(*engine) string { return leadRevokes(n) } }
	for name, run := range map[string]timedRun{
		"95 leads":                               {text: leads(95)},
		"95 leads, unconfirmed":                  {text: leads(95), off: true},
		"95 leads, resumed":                      {text: leads(95), resumed: 12 * time.Second},
		"95 leads, resumed at the looks":         {text: leads(95), resumed: 32 * time.Second},
		"95 leads, paused":                       {text: leads(95), refusals: 1},
		"95 leads, resumed and paused twice":     {text: leads(95), refusals: 2, resumed: 8 * time.Second},
		"500 leads":                              {text: leads(500)},
		"500 leads, unconfirmed, resumed":        {text: leads(500), off: true, resumed: 45 * time.Second},
		"500 leads, resumed, paused thrice":      {text: leads(500), refusals: 3, resumed: 45 * time.Second},
		"500 leads, a slow CRM":                  {text: leads(500), world: sandbox.Config{Latency: always(900 * time.Millisecond), Processing: always(20 * time.Second)}},
		"95 leads, the limit is lower":           {text: leads(95), refusals: 1, world: sandbox.Config{Limit: 10}},
		"95 records":                             {text: records(95, 1)},
		"95 records, unconfirmed":                {text: records(95, 1), off: true},
		"95 records, resumed and paused":         {text: records(95, 1), refusals: 1, resumed: 6 * time.Second},
		"500 records":                            {text: records(500, 1)},
		"500 records, resumed and paused twice":  {text: records(500, 1), refusals: 2, resumed: 40 * time.Second},
		"500 rows of few records, resumed":       {text: records(250, 2), resumed: 50 * time.Second},
		"500 rows, one a record and then ten":    {text: both(records(250, 1), records(25, 10))},
		"500 rows, ten a record, resumed":        {text: both(records(25, 10), records(250, 1)), resumed: 20 * time.Second},
		"leads and records, unconfirmed, paused": {text: both(leads(200), records(95, 1)), off: true, refusals: 1},
		"95 leads, a third of them refused":      {text: leads(95), failed: 30},
		"95 leads, lost answers":                 {text: leads(95), lost: 9},
		"500 leads, ten in a call":               {text: leads(500), entries: 10},
		"records within a slow limit, resumed":   {text: records(40, 2), slow: true, resumed: 20 * time.Second},
		"two accounts within one limit":          {text: both(leads(60), opportunities(60)), twin: true},
		"a group of 1500":                        {text: groups(1, 1500)},
		"40 groups":                              {text: groups(40, 40)},
		"records that take their time":           {text: records(20, 1), settles: 15 * time.Second},
		"groups and leads, resumed":              {text: both(leads(60), groups(12, 40)), resumed: 10 * time.Second},
		"moves":                                  {text: moves(60, 3)},
		"moves, resumed":                         {text: moves(60, 3), resumed: 25 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, run.test)
		})
	}
}

func (run timedRun) test(t *testing.T) {
	world := run.world
	if world.Latency == nil {
		world.Latency, world.Processing = always(80*time.Millisecond), always(700*time.Millisecond)
	}
	e := newEngine(t, world, transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 0.8}, func(c *leadsquared.Config) { c.MaxEntries = run.entries })
	if run.slow {
		e.zohoGate = transport.GateConfig{Limit: 6, Window: 3 * time.Second, MaxInFlight: 5}
	}
	e.addZoho(func(c *zoho.Config) { c.VerifyAfter = cmp.Or(run.settles, c.VerifyAfter) })
	if run.twin {
		twin := e.opts.Accounts[0]
		twin.Name = "twin"
		e.opts.Accounts = append(e.opts.Accounts, twin)
		e.opts.Words.Route = func(object string) string {
			return map[string]string{crm.Lead: "main", crm.Opportunity: "twin"}[object]
		}
	}
	e.opts.ConfirmOff = run.off
	text := run.text(e)
	if run.resumed > 0 {
		ctx, stop := context.WithTimeout(t.Context(), run.resumed)
		if s := e.run(ctx, text); s.Stopped == nil {
			t.Errorf("it was through before it was stopped: %+v", s.Counts)
		}
		stop()
	}
	if run.failed > 0 {
		e.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultException, Type: "MXInvalidInputException", Times: int(run.failed), After: 10})
	}
	if run.lost > 0 {
		e.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultResetAfter, Times: run.lost, After: 10})
	}
	for i := range run.refusals {
		if world.Limit == 0 {
			e.server.Fault(sandbox.Fault{Kind: sandbox.FaultThrottle, Times: 1, After: 15 + 25*i, Header: map[string]string{"Retry-After": "12"}})
		}
	}
	var r ticks
	e.watch = r.watch
	s := e.run(t.Context(), text)
	r.check(t, int64(run.refusals+run.lost), run.failed)
	if s.Counts.Failed != run.failed || s.Counts.Done+s.Counts.Accepted+run.failed != s.Counts.Rows {
		t.Errorf("counts %+v, want all but %d done", s.Counts, run.failed)
	}
}

func always(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// both puts sheets under one header.
func both(sheets ...func(*engine) string) func(*engine) string {
	return func(e *engine) string {
		text := sheetHead
		for _, sheet := range sheets {
			text += strings.TrimPrefix(sheet(e), sheetHead)
		}
		return text
	}
}

func opportunities(n int) func(*engine) string {
	return func(*engine) string {
		text := sheetHead
		for i := range n {
			text += fmt.Sprintf("revoke,opportunity,%s,,%s,read\n", guidOf('d', i), guidOf('b', 1))
		}
		return text
	}
}

// records are revokes of n records, of so many users each. Sheets of different such
// numbers are about different records.
func records(n, users int) func(*engine) string {
	return func(e *engine) string {
		text := sheetHead
		for i := range n {
			record := zohoRecord(1000*users + i)
			var grants []crm.Grant
			for u := range users {
				grants = append(grants, crm.Grant{Kind: "user", ID: zohoUser(1 + u), Access: crm.Read, Type: "private"})
				text += fmt.Sprintf("revoke,Quotes,%s,,%s,\n", record, zohoUser(1+u))
			}
			e.server.SeedZoho("Quotes", record, append(grants, crm.Grant{Kind: "user", ID: zohoUser(99), Access: crm.Read, Type: "private"})...)
		}
		return text
	}
}

// groups are revokes of so many users from each of n sales groups.
func groups(n, users int) func(*engine) string {
	return func(e *engine) string {
		text := sheetHead
		for i := range n {
			for u := range users {
				op := crm.Operation{Action: crm.Revoke, Object: crm.SalesGroup, Record: guidOf('9', i), User: guidOf('b', u)}
				e.server.Seed(op)
				text += fmt.Sprintf("revoke,sales_group,%s,,%s,\n", op.Record, op.User)
			}
		}
		return text
	}
}

// moves take n records from so many users each and give them to them again for reading
// only, which is one after the other.
func moves(n, users int) func(*engine) string {
	return func(e *engine) string {
		first := records(n, users)(e)
		text := first
		for row := range strings.Lines(strings.TrimPrefix(first, sheetHead)) {
			text += strings.Replace(strings.TrimSuffix(row, "\n"), "revoke", "share", 1) + "read\n"
		}
		return text
	}
}
