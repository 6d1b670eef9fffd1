package batch

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// A ledger that can not be read any more ends the run with an error, also while
// calls are open.
func TestLedgerThatCanNotBeReadEndsTheRunWithAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b, faults := benchAt(t, f)
		f.latency = time.Second
		f.answer = func(crm.Item) crm.Outcome {
			faults.arm("o.turn > 0")
			return crm.Outcome{Status: crm.Accepted}
		}
		var rows []string
		for i := range pageSize + 50 {
			rows = append(rows, fmt.Sprintf("revoke r%d u1", i))
		}
		s, err := b.try(t.Context(), rows...)
		if err == nil {
			t.Errorf("no error; stopped by %v, counts %+v", s.Stopped, s.Counts)
		}
	})
}

// Nothing is sent without a durable intent, and what was not sent is not in doubt.
func TestIntentThatCanNotBeWrittenSendsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{fake: newFake(t)}
		p.do = func(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
			if err := j.Intend(ctx, crm.State{}); err != nil {
				return []crm.Outcome{{Status: crm.Pending}}
			}
			t.Error("the intent was taken")
			return []crm.Outcome{{Status: crm.Accepted, Ticket: "t", Attempts: 1}}
		}
		b, faults := benchAt(t, p)
		faults.arm("INSERT INTO event", "intent")
		s, err := b.try(t.Context(), "revoke r1 u1", "share r2 u1 read")
		if err == nil {
			t.Error("the run did not end with an error")
		}
		results := b.results(2)
		wantStates(t, results, "not_attempted not_attempted")
		wantCounts(t, s.Counts, results)
		if err := b.led.VerifyChain(t.Context()); err != nil {
			t.Errorf("the chain of events: %v", err)
		}
	})
}

// An outcome that can not be written leaves the row sent, and the next run tells
// the provider so.
func TestOutcomeThatCanNotBeWrittenIsALostAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b, faults := benchAt(t, f)
		faults.arm("INSERT INTO event", "outcome")
		s, err := b.try(t.Context(), "share r1 u1 read")
		if err == nil {
			t.Error("the run did not end with an error")
		}
		results := b.results(1)
		wantStates(t, results, "in_doubt")
		wantCounts(t, s.Counts, results)
		faults.arm("")
		f.sentWords()
		b.run(t.Context(), "share r1 u1 read")
		if len(f.priors) != 1 || f.priors[0] != crm.PriorUnanswered {
			t.Errorf("priors %v, want PriorUnanswered", f.priors)
		}
		if err := b.led.VerifyChain(t.Context()); err != nil {
			t.Errorf("the chain of events: %v", err)
		}
	})
}
