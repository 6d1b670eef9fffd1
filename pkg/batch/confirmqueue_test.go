package batch

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Acceptances come back at the same moment, some of which order needs looks at:
// none is forgotten, and none counted twice.
func TestEveryAcceptanceIsConfirmed(t *testing.T) {
	t.Parallel()
	for seed := range 6 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.latency = time.Second
				b := newBench(t, f)
				var rows []string
				for i := range 23 {
					rows = append(rows, fmt.Sprintf("revoke r%d u1", i))
				}
				rows = append(rows, "share r98 u1 read", "revoke r98 u1")
				s, results := b.run(t.Context(), rows...)
				for _, r := range results {
					if r.Status != crm.Done {
						t.Errorf("line %d is %s, want done", r.Line, r.Status)
					}
				}
				wantCounts(t, s.Counts, results)
				if f.looks != len(rows) {
					t.Errorf("%d looks at %d acceptances", f.looks, len(rows))
				}
			})
		})
	}
}

// manyOld leaves n shares accepted and unconfirmed, as a first run.
func manyOld(t *testing.T, n int) (b *bench, p *scripted, rows []string) {
	p = &scripted{fake: newFake(t)}
	p.do = func(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
		if item := call.Items[0]; item.Prior == crm.PriorAccepted && item.Op.Action == crm.Share {
			return []crm.Outcome{{Status: crm.Accepted, Ticket: item.Ticket, RequestID: item.Ticket}}
		}
		return p.fake.Do(ctx, call, j)
	}
	p.settle = func(item crm.Item) crm.Outcome {
		if item.Op.Action == crm.Share {
			return crm.Outcome{Status: crm.Accepted, Code: "status_2"}
		}
		return crm.Outcome{Status: crm.Done}
	}
	b, _ = benchAt(t, p)
	b.opts.Accounts[0].Workers = 1
	for i := range n {
		rows = append(rows, fmt.Sprintf("share r%d u1 read", i))
	}
	b.run(t.Context(), rows...)
	p.sentWords()
	p.confirm = func(items []crm.Item) []crm.Outcome {
		time.Sleep(time.Second)
		out, _ := p.fake.Confirm(t.Context(), items)
		return out
	}
	return b, p, rows
}

// Shares of an earlier run that the CRM never comes to do not keep this run's
// revokes from being confirmed.
func TestNewAcceptancesAreConfirmedBehindManyOldOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, p, rows := manyOld(t, pageSize+1)
		b.opts.ConfirmTimeout = time.Millisecond
		n := len(rows)
		for i := range 3 {
			rows = append(rows, fmt.Sprintf("revoke r%d u1", 1000+i))
		}
		p.latency = time.Second
		_, results := b.run(t.Context(), rows...)
		wantStates(t, results[n:], "done done done")
	})
}

// Shares of an earlier run are asked about first, once; what is asked again of
// them does not keep changes waiting.
func TestChangesComeBeforeRepeatedLooksAtOldShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, p, rows := manyOld(t, 60)
		rows = append(rows, "revoke r1000 u1")
		start := time.Now()
		var first time.Duration
		p.answer = func(crm.Item) crm.Outcome {
			first = time.Since(start)
			return crm.Outcome{Status: crm.Accepted}
		}
		b.run(t.Context(), rows...)
		if first > 65*time.Second {
			t.Errorf("the first change was sent after %v; 60 looks of a second each came before it", first)
		}
	})
}

// A provider says that an acceptance is worth no look before a while.
func TestFirstLookWaitsAsLongAsTheProviderSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		start := time.Now()
		f.answer = func(crm.Item) crm.Outcome { return crm.Outcome{Status: crm.Accepted, Later: 5 * time.Second} }
		var first time.Duration
		f.settle = func(crm.Item) crm.Outcome {
			first = time.Since(start)
			return crm.Outcome{Status: crm.Done}
		}
		b := newBench(t, f)
		b.run(t.Context(), "revoke r1 u1")
		if first < 5*time.Second {
			t.Errorf("looked after %v, want 5 s", first)
		}
	})
}

// With confirmations off, an acceptance of an earlier run is asked about as soon as
// a later row of its target is to be sent, and not before.
func TestConfirmOffAsksWhereALaterRunNeedsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b := newBench(t, f)
		b.opts.ConfirmOff = true
		b.run(t.Context(), "share r1 u1 read", "share r2 u1 read")
		_, results := b.run(t.Context(), "share r1 u1 read", "share r2 u1 read")
		wantStates(t, results, "accepted accepted")
		wantSent(t, f, "share r1 u1", "share r2 u1")
		if f.looks != 0 {
			t.Errorf("%d looks with confirmations off", f.looks)
		}
		_, results = b.run(t.Context(), "share r1 u1 read", "share r2 u1 read", "revoke r1 u1")
		wantStates(t, results, "done accepted accepted")
		wantSent(t, f, "revoke r1 u1")
		b.opts.ConfirmOff = false
		s, results := b.run(t.Context(), "share r1 u1 read", "share r2 u1 read", "revoke r1 u1")
		wantStates(t, results, "done done done")
		wantSent(t, f)
		wantCounts(t, s.Counts, results)
	})
}

// Every row of a look that shows nothing yet tells the CRM's code and text.
func TestEveryRowOfALookTellsWhatTheCRMSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{fake: newFake(t)}
		p.do = func(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
			out := make([]crm.Outcome, len(call.Items))
			if err := j.Intend(ctx, crm.State{}); err != nil {
				t.Errorf("intend: %v", err)
			}
			for i := range out {
				out[i] = crm.Outcome{Status: crm.Accepted, Ticket: "t", Attempts: 1}
			}
			return out
		}
		p.confirm = func(items []crm.Item) []crm.Outcome {
			out := make([]crm.Outcome, len(items))
			for i := range out {
				out[i] = crm.Outcome{Status: crm.Accepted, Ticket: "t", Code: "status_2", Message: "queued"}
			}
			return out
		}
		b, _ := benchAt(t, p)
		_, results := b.run(t.Context(), "revoke r1 u1", "revoke r1 u2", "revoke r1 u3")
		wantStates(t, results, "accepted accepted accepted")
		for _, r := range results {
			if r.Code != "status_2" {
				t.Errorf("line %d says %q, want the CRM's last word", r.Line, r.Code)
			}
		}
	})
}

// What a loop remembers of looks does not grow with the rows that are done.
func TestLoopForgetsWhatIsDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newFake(t))
		var rows []string
		for i := range 150 {
			rows = append(rows, fmt.Sprintf("share r%d u1 read", i), fmt.Sprintf("revoke r%d u1", i))
		}
		batch, _, err := b.prepare(rows...)
		if err == nil {
			err = batch.Commit(t.Context())
		}
		if err == nil {
			batch.run, err = b.led.BeginRun(t.Context(), ledger.RunInfo{})
		}
		batch.counters.start(batch.counted)
		if err != nil {
			t.Fatal(err)
		}
		batch.stop = func(err error) { t.Errorf("stopped: %v", err) }
		l := newLoop(t.Context(), batch, batch.order[0])
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
		if n := len(l.confirms.queued); n > 50 {
			t.Errorf("%d operations are remembered of %d that are all done", n, len(rows))
		}
		if n := len(l.keys.states) + len(l.keys.queue) + len(l.keys.parked) + len(l.confirms.held); n > 0 {
			t.Errorf("%d keys are remembered at the end", n)
		}
	})
}
