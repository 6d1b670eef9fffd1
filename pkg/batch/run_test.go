package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestEveryRowOnceAndAgainNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b := newBench(t, f)
		rows := []string{"revoke r1 u1", "share r1 u1 write", "revoke r2 u1", "revoke r2 u1", "revoke r1 u2", "share r3 u9 read"}
		s, results := b.run(t.Context(), rows...)
		wantStates(t, results, "done done done done done done")
		if s.Counts.Done != 6 || s.Counts.Rows != 6 {
			t.Errorf("counts %+v, want 6 of 6 done", s.Counts)
		}
		wantSent(t, f, "revoke r1 u1", "share r1 u1", "revoke r2 u1", "revoke r1 u2", "share r3 u9")
		if results[2].CallID != results[3].CallID || results[2].RequestID != results[3].RequestID {
			t.Errorf("equal rows went as %q and %q, want as one", results[2].CallID, results[3].CallID)
		}
		if op := f.inForce[crm.Target{Object: "thing", Record: "r1", User: "u1"}]; op.Action != crm.Share {
			t.Errorf("in force on r1 for u1: %v, want the share that came last", op)
		}
		_, again := b.run(t.Context(), rows...)
		wantStates(t, again, "done done done done done done")
		wantSent(t, f)
	})
}

func TestOrderOfATargetHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.latency = 100 * time.Millisecond
		b := newBench(t, f)
		b.opts.ConfirmOff = true
		_, results := b.run(t.Context(), "share r1 u1 read", "revoke r1 u1", "share r1 u1 write", "revoke r9 u1")
		// The last of a target is not asked about; what stands before another is.
		wantStates(t, results, "done done accepted accepted")
		var order []string
		for _, op := range f.sent {
			if op.Record == "r1" {
				order = append(order, op.Action.String())
			}
		}
		if got := strings.Join(order, " "); got != "share revoke share" {
			t.Errorf("order on r1: %s, want share revoke share", got)
		}
	})
}

func TestRefusedRowIsARowNotTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		bad := true
		f.answer = func(item crm.Item) crm.Outcome {
			if bad && item.Op.Record == "r2" {
				return crm.Outcome{Status: crm.Failed, Code: "MXTest", Message: "no such thing", HTTPStatus: 500}
			}
			return crm.Outcome{Status: crm.Accepted}
		}
		b := newBench(t, f)
		_, results := b.run(t.Context(), "revoke r1 u1", "revoke r2 u1", "share r2 u1 read")
		wantStates(t, results, "done failed failed")
		if r := results[1]; r.Code != "MXTest" || r.Message != "no such thing" || r.HTTPStatus != 500 || r.Attempts != 1 {
			t.Errorf("refused row is %+v", r)
		}
		f.sentWords()
		bad = false
		_, results = b.run(t.Context(), "revoke r1 u1", "revoke r2 u1", "share r2 u1 read")
		wantStates(t, results, "done done done")
		if results[1].Attempts != 2 {
			t.Errorf("attempts of the row tried on two nights: %d, want 2", results[1].Attempts)
		}
		wantSent(t, f, "revoke r2 u1", "share r2 u1")
	})
}

func TestFailedEarlierGoesLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		fail := true
		f.answer = func(item crm.Item) crm.Outcome {
			if fail {
				return crm.Outcome{Status: crm.Failed, Code: "MXTest"}
			}
			return crm.Outcome{Status: crm.Accepted}
		}
		b := newBench(t, f)
		b.opts.Accounts[0].Workers = 1
		b.run(t.Context(), "revoke r1 u1")
		f.sentWords()
		fail = false
		b.run(t.Context(), "revoke r1 u1", "revoke r2 u1", "revoke r3 u1")
		if got := f.sentWords(); got[len(got)-1] != "revoke r1 u1" {
			t.Errorf("sent %q, want the row that failed earlier last", got)
		}
	})
}

// A kill between the intent and the answer leaves the row sent and unanswered; the
// provider is told so.
func TestLostAnswerIsToldToTheProvider(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		lost := true
		f.answer = func(item crm.Item) crm.Outcome {
			if lost {
				return crm.Outcome{Status: crm.Pending, Uncertain: true, Ended: &crm.AccountError{Code: crm.EndUnreachable, Err: errors.New("gone")}}
			}
			if item.Prior == crm.PriorUnanswered && item.Op.Action == crm.Share {
				return crm.Outcome{Status: crm.Uncertain}
			}
			return crm.Outcome{Status: crm.Accepted}
		}
		b := newBench(t, f)
		b.opts.Accounts[0].Workers = 1
		rows := []string{"share r1 u1 read", "revoke r2 u1"}
		s, results := b.run(t.Context(), rows...)
		wantStates(t, results, "in_doubt not_attempted")
		if s.Accounts[0].Ended == nil || s.Accounts[0].Ended.Code != crm.EndUnreachable {
			t.Errorf("account ended by %v, want unreachable", s.Accounts[0].Ended)
		}
		lost = false
		_, results = b.run(t.Context(), rows...)
		wantStates(t, results, "in_doubt done")
		f.sentWords()
		_, results = b.run(t.Context(), rows...)
		wantStates(t, results, "in_doubt done")
		wantSent(t, f)
		b.opts.RedoInDoubt = true
		_, results = b.run(t.Context(), rows...)
		wantStates(t, results, "done done")
		if f.priors[0] != crm.PriorRedo {
			t.Errorf("prior %v, want PriorRedo", f.priors[0])
		}
	})
}

func TestInDoubtHoldsUpItsTarget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.answer = func(item crm.Item) crm.Outcome {
			if item.Op.Action == crm.Share {
				return crm.Outcome{Status: crm.Uncertain, Code: "no_answer"}
			}
			return crm.Outcome{Status: crm.Accepted}
		}
		b := newBench(t, f)
		for range 2 { // and in the next run too
			_, results := b.run(t.Context(), "share r1 u1 read", "revoke r1 u1", "revoke r1 u2")
			wantStates(t, results, "in_doubt not_attempted done")
			if r := results[1]; r.Code != crm.CodeHeldUp || !strings.Contains(r.Message, "waits for line 2") {
				t.Errorf("the row that is held up says %q %q", r.Code, r.Message)
			}
		}
	})
}

func TestAcceptedEarlierIsAskedFirstThenSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		pending := true
		f.settle = func(item crm.Item) crm.Outcome {
			if pending {
				return crm.Outcome{Status: crm.Accepted, Code: "status_2", Message: "queued"}
			}
			return crm.Outcome{Status: crm.Done}
		}
		b := newBench(t, f)
		rows := []string{"revoke r1 u1"}
		start := time.Now()
		_, results := b.run(t.Context(), rows...)
		wantStates(t, results, "accepted")
		if took := time.Since(start); took != time.Minute {
			t.Errorf("gave up after %v, want the confirm timeout of a minute", took)
		}
		if r := results[0]; r.Code != "status_2" || r.Message != "queued" || r.RequestID != "q1" {
			t.Errorf("unconfirmed row is %+v, want the CRM's last word", r)
		}
		wantSent(t, f, "revoke r1 u1")
		_, results = b.run(t.Context(), rows...)
		if f.priors[0] != crm.PriorAccepted {
			t.Errorf("prior %v, want PriorAccepted", f.priors[0])
		}
		wantSent(t, f, "revoke r1 u1")
		wantStates(t, results, "accepted")
		pending = false
		_, results = b.run(t.Context(), rows...)
		wantStates(t, results, "done")
		wantSent(t, f)
		if results[0].ConfirmedAt.IsZero() || results[0].Attempts != 2 {
			t.Errorf("confirmed at %v after %d attempts, want a time and 2", results[0].ConfirmedAt, results[0].Attempts)
		}
	})
}

func TestBusyRecordParksItsKeyOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		busy := 3
		f.answer = func(item crm.Item) crm.Outcome {
			switch {
			case item.Op.Record == "r1" && busy > 0:
				busy--
				return crm.Outcome{Status: crm.Pending, Later: 2 * time.Second, Code: "busy"}
			case item.Op.Record == "r2":
				return crm.Outcome{Status: crm.Pending, Later: 2 * time.Second, Code: "busy", Message: "Scheduler is running"}
			}
			return crm.Outcome{Status: crm.Accepted}
		}
		b := newBench(t, f)
		b.opts.Accounts[0].Workers = 1
		start := time.Now()
		_, results := b.run(t.Context(), "revoke r1 u1", "revoke r2 u1", "revoke r3 u1")
		wantStates(t, results, "done failed done")
		if took := time.Since(start); took != 126*time.Second {
			t.Errorf("took %v, want 2+4+...+64 s for the record that stays busy", took)
		}
		if r := results[1]; r.Code != "busy" || !strings.Contains(r.Message, "put off 7 times") {
			t.Errorf("busy row says %q %q", r.Code, r.Message)
		}
	})
}

func TestCancelStopsIntakeAndLaterRunGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.latency = time.Second
		b := newBench(t, f)
		var rows []string
		for i := range 40 {
			rows = append(rows, fmt.Sprintf("revoke r%d u1", i))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		interrupted := errors.New("interrupted")
		time.AfterFunc(2500*time.Millisecond, func() { cancel(interrupted) })
		start := time.Now()
		s, results := b.run(ctx, rows...)
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("stopped after %v, want within the open calls", took)
		}
		if !errors.Is(s.Stopped, interrupted) {
			t.Errorf("stopped by %v, want the cause", s.Stopped)
		}
		sent := len(f.sentWords())
		if done := s.Counts.Done + s.Counts.Accepted; int(done) != sent || sent == 0 || sent == 40 {
			t.Errorf("%d sent, counts %+v", sent, s.Counts)
		}
		if n := strings.Count(states(results), "not_attempted"); n != 40-sent {
			t.Errorf("%d rows not attempted, want %d", n, 40-sent)
		}
		_, results = b.run(t.Context(), rows...)
		if got := states(results); strings.Count(got, "done") != 40 {
			t.Errorf("after the second run: %s", got)
		}
		if again := len(f.sentWords()); again != 40-sent {
			t.Errorf("second run sent %d, want the %d that were missing", again, 40-sent)
		}
	})
}

func TestAccountsEndAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good, bad, never := newFake(t), newFake(t), newFake(t)
		bad.answer = func(crm.Item) crm.Outcome {
			return crm.Outcome{Status: crm.Pending, Ended: &crm.AccountError{Code: crm.EndKeys, Err: errors.New("401")}}
		}
		never.preErr = &crm.AccountError{Code: crm.EndUnreachable, Err: errors.New("no route")}
		b := newBench(t, good, bad, never)
		s, results := b.run(t.Context(), "revoke r1 u1@@a", "revoke r1 u1@@b", "revoke r2 u1@@b", "revoke r1 u1@@c", "revoke r1 a@x.example@@c")
		wantStates(t, results[:4], "done not_attempted not_attempted not_attempted")
		if r := results[4]; r.Code != crm.EndUnreachable {
			t.Errorf("row whose address could not be looked up: %+v", r)
		}
		var ends []string
		for _, a := range s.Accounts {
			end := "-"
			if a.Ended != nil {
				end = a.Ended.Code
			}
			ends = append(ends, a.Account+" "+end)
		}
		if !slices.Equal(ends, []string{"a -", "b keys", "c unreachable"}) {
			t.Errorf("accounts ended %q", ends)
		}
		if len(bad.sent) > 0 || len(never.sent) > 0 {
			t.Error("something was sent to an account that had ended")
		}
	})
}

// A row counts as sent once, when it has an outcome of its own, and not at all if all
// that the CRM said was that the account may not, or that the record was busy.
func TestSentCountsRowsWithAnOutcome(t *testing.T) {
	t.Parallel()
	keys := &crm.AccountError{Code: crm.EndKeys, Err: errors.New("401")}
	for _, tc := range []struct {
		name    string
		answers []crm.Outcome // in turn; done after them
		sent    int64
		state   string
	}{
		{"done", nil, 1, "done"},
		{"refused keys", []crm.Outcome{{Status: crm.Pending, Attempts: 1, Ended: keys}}, 0, "not_attempted"},
		{"busy, then done", []crm.Outcome{{Status: crm.Pending, Attempts: 1, Later: time.Second}, {Status: crm.Pending, Attempts: 1, Later: time.Second}}, 1, "done"},
		{"refused", []crm.Outcome{{Status: crm.Failed, Attempts: 1, Code: "no"}}, 1, "failed"},
		{"lost, then refused keys", []crm.Outcome{{Status: crm.Pending, Attempts: 2, Uncertain: true, Ended: keys}}, 1, "in_doubt"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				asked := 0
				f.answer = func(crm.Item) crm.Outcome {
					asked++
					if asked <= len(tc.answers) {
						return tc.answers[asked-1]
					}
					return crm.Outcome{Status: crm.Done, Attempts: asked}
				}
				s, results := newBench(t, f).run(t.Context(), "revoke r1 u1")
				wantStates(t, results, tc.state)
				if s.Sent != tc.sent {
					t.Errorf("%d rows were sent, want %d", s.Sent, tc.sent)
				}
			})
		})
	}
}

func TestGuardStopsTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.answer = func(item crm.Item) crm.Outcome { return crm.Outcome{Status: crm.Failed, Code: "MXTest"} }
		b := newBench(t, f)
		b.opts.Guard = Guard{Percent: 20}
		var rows []string
		for i := range 200 {
			rows = append(rows, fmt.Sprintf("revoke r%d u1", i))
		}
		s, _ := b.run(t.Context(), rows...)
		tripped, ok := errors.AsType[*GuardError](s.Stopped)
		if !ok {
			t.Fatalf("stopped by %v, want the guard", s.Stopped)
		}
		if s.Counts.Failed < GuardFrom || s.Counts.Failed > GuardFrom+4 {
			t.Errorf("%d rows failed before the guard stopped it (%v), want %d and at most the workers more", s.Counts.Failed, tripped, GuardFrom)
		}
		// What failed in earlier runs does not count again.
		f.answer = nil
		b.opts.Guard = Guard{Failures: 1}
		s, results := b.run(t.Context(), rows...)
		if s.Stopped != nil || strings.Count(states(results), "done") != 200 {
			t.Errorf("second run stopped by %v with %s", s.Stopped, states(results))
		}
	})
}

func TestCRMThatDoesNothingIsNoticedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.latency = time.Second
		f.settle = func(crm.Item) crm.Outcome {
			return crm.Outcome{Status: crm.Failed, Code: "status", Message: "nothing done"}
		}
		b := newBench(t, f)
		b.opts.Guard = Guard{Failures: 10}
		var rows []string
		for i := range 400 {
			rows = append(rows, fmt.Sprintf("revoke r%d u1", i))
		}
		s, _ := b.run(t.Context(), rows...)
		if sent := len(f.sentWords()); sent > 40 || s.Stopped == nil {
			t.Errorf("%d sent before the run was stopped (%v), want the early looks to notice", sent, s.Stopped)
		}
	})
}
