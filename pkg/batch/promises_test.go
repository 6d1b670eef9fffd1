package batch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Rows that fail after their record was busy count for the guard like any other.
func TestGuardCountsRowsThatWereParked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		tried := make(map[string]bool)
		var mu sync.Mutex
		f.answer = func(item crm.Item) crm.Outcome {
			mu.Lock()
			defer mu.Unlock()
			if !tried[item.Op.Record] {
				tried[item.Op.Record] = true
				return crm.Outcome{Status: crm.Pending, Later: time.Second, Code: "busy"}
			}
			return crm.Outcome{Status: crm.Failed, Code: "MXTest"}
		}
		b := newBench(t, f)
		b.opts.Guard = Guard{Failures: 5}
		var rows []string
		for i := range 100 {
			rows = append(rows, fmt.Sprintf("revoke r%d u1", i))
		}
		s, results := b.run(t.Context(), rows...)
		if _, ok := errors.AsType[*GuardError](s.Stopped); !ok {
			t.Errorf("stopped by %v with %d rows failed, want the guard", s.Stopped, strings.Count(states(results), "failed"))
		}
	})
}

// The summary and the ledger say the same of a share whose answer was lost.
func TestCountsAgreeOnAShareWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.answer = func(crm.Item) crm.Outcome {
			return crm.Outcome{Status: crm.Pending, Uncertain: true, Ended: unreachable}
		}
		b := newBench(t, f)
		s, results := b.run(t.Context(), "share r1 u1 read")
		wantCounts(t, s.Counts, results)
	})
}

// A row that failed is retried together with an equal one that is new beside it: the
// summary counts each of them once.
func TestCountsAgreeOnEqualRowsOfDifferentPast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.answer = func(crm.Item) crm.Outcome { return crm.Outcome{Status: crm.Failed} }
		b := newBench(t, f)
		b.run(t.Context(), "revoke r1 u1")
		f.answer = nil
		s, results := b.run(t.Context(), "revoke r1 u1", "revoke r1 u1")
		wantStates(t, results, "done done")
		wantCounts(t, s.Counts, results)
	})
}

// Two people share an address that is protected: neither may be touched.
func TestProtectedAddressOfSeveralPeopleProtectsThemAll(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.users = []crm.User{{ID: "u1", Email: "boss@x.example", Active: true}, {ID: "u2", Email: "Boss@x.example"}}
	b := newBench(t, f)
	b.opts.Protect = []string{"boss@x.example"}
	_, _, err := b.prepare("revoke r1 u1")
	if _, ok := errors.AsType[*ProtectedError](err); !ok {
		t.Errorf("prepare: %v, want the sheet to be refused", err)
	}
}

// A run that is cancelled before it begins is one that was stopped.
func TestRunCancelledBeforeItBeginsIsStopped(t *testing.T) {
	t.Parallel()
	b := newBench(t, newFake(t))
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	cancel(interrupted)
	s, err := b.try(ctx, "revoke r1 u1")
	if !errors.Is(err, interrupted) && !errors.Is(s.Stopped, interrupted) {
		t.Errorf("error %v, stopped by %v, want the cause", err, s.Stopped)
	}
	if s.Counts.Rows != 1 || s.Counts.NotAttempted != 1 {
		t.Errorf("the summary of a run that did not begin counts %+v", s.Counts)
	}
}

// TestAnyOutcomeAnyCancel runs sheets that are edited in between against a provider
// that answers anything that its contract allows, and cancels at any moment: every
// row has a state, the summary agrees with the ledger, nothing hangs, and once the
// CRM behaves the sheet comes to its end with the last row of each target in force.
func TestAnyOutcomeAnyCancel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newMoody(t, seed).test() })
		})
	}
}
