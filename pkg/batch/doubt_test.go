package batch

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// An answer was lost on the way to a busy record: the next try in the same run is
// a repeat and is told so.
func TestLostAnswerBeforeABusyRecordIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var priors []crm.Prior
		f.answer = func(item crm.Item) crm.Outcome {
			if priors = append(priors, item.Prior); len(priors) == 1 {
				return crm.Outcome{Status: crm.Pending, Uncertain: true, Later: time.Second, Code: "no_answer"}
			}
			return crm.Outcome{Status: crm.Accepted}
		}
		b := newBench(t, f)
		b.run(t.Context(), "revoke r1 u1")
		if len(priors) != 2 || priors[1] != crm.PriorUnanswered {
			t.Errorf("priors %v, want the second try to be PriorUnanswered", priors)
		}
	})
}

// An answer was lost, and then the record stayed busy until the run gave up: the
// change may still have taken effect.
func TestLostAnswerIsNotForgottenWhenTheRecordStaysBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		n := 0
		f.answer = func(item crm.Item) crm.Outcome {
			n++
			return crm.Outcome{Status: crm.Pending, Uncertain: n == 1, Later: time.Second, Code: "busy"}
		}
		b := newBench(t, f)
		_, results := b.run(t.Context(), "share r1 u1 read")
		wantStates(t, results, "failed")
		if !results[0].Uncertain {
			t.Error("the row that may have taken effect counts as if it had not")
		}
	})
}

// A row whose lost answer is on record was stopped by a quota before anything was
// sent again: it is still a row whose answer was lost.
func TestLostAnswerIsNotForgottenWhenARetryIsNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b := newBench(t, f)
		f.answer = func(crm.Item) crm.Outcome { return crm.Outcome{Status: crm.Failed, Uncertain: true} }
		b.run(t.Context(), "share r1 u1 read")
		f.answer = func(crm.Item) crm.Outcome {
			return crm.Outcome{Status: crm.Pending, Ended: &crm.AccountError{Code: crm.EndQuota, Err: errors.New("used up")}}
		}
		b.run(t.Context(), "share r1 u1 read")
		f.sentWords()
		f.answer = nil
		b.run(t.Context(), "share r1 u1 read")
		if len(f.priors) != 1 || f.priors[0] != crm.PriorUnanswered {
			t.Errorf("priors %v, want PriorUnanswered", f.priors)
		}
	})
}

// A revoke was cut off by a kill, sent again, accepted, and then failed. The first
// sending may have taken effect, so that the share before it is not done any more.
func TestShareIsSentAgainBehindARevokeThatMayHaveTakenEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{fake: newFake(t)}
		b, _ := benchAt(t, p)
		b.run(t.Context(), "share r1 u1 read")
		p.do = func(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
			if err := j.Intend(ctx, crm.State{}); err != nil {
				t.Errorf("intend: %v", err)
			}
			return nil // as good as a kill: no outcome reaches the ledger
		}
		if _, err := b.try(t.Context(), "share r1 u1 read", "revoke r1 u1"); err == nil {
			t.Error("a call without outcomes is no error")
		}
		p.do = nil
		p.settle = func(crm.Item) crm.Outcome { return crm.Outcome{Status: crm.Failed, Code: "status_9"} }
		_, results := b.run(t.Context(), "share r1 u1 read", "revoke r1 u1")
		wantStates(t, results, "done failed")
		p.sentWords()
		p.settle = nil
		b.run(t.Context(), "share r1 u1 read")
		wantSent(t, p.fake, "share r1 u1")
	})
}

// An accepted revoke is not sent again because the account ends before: the
// request Id and the ticket of the acceptance stay.
func TestAcceptanceKeepsItsTicketWhenARepeatIsNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b := newBench(t, f)
		pending := true
		f.settle = func(crm.Item) crm.Outcome {
			if pending {
				return crm.Outcome{Status: crm.Accepted, Code: "status_2"}
			}
			return crm.Outcome{Status: crm.Done}
		}
		b.run(t.Context(), "revoke r1 u1")
		f.answer = func(crm.Item) crm.Outcome { return crm.Outcome{Status: crm.Pending, Ended: unreachable} }
		_, results := b.run(t.Context(), "revoke r1 u1")
		wantStates(t, results, "accepted")
		if r := results[0]; r.RequestID != "q1" || r.Ticket != "t1" {
			t.Errorf("request id %q and ticket %q, want those of the acceptance", r.RequestID, r.Ticket)
		}
		pending, f.answer = false, nil
		f.sentWords()
		_, results = b.run(t.Context(), "revoke r1 u1")
		wantStates(t, results, "done")
		wantSent(t, f)
	})
}

// Where no answer was lost, nothing says that one was: what the CRM accepted and never
// confirmed may have taken effect all the same, when it is refused later, or when
// something else of its target comes before it.
func TestAcceptancesAreNoLostAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		nights [][]string
		priors []crm.Prior // of the last night
	}{
		{"unconfirmed, sent again and refused", [][]string{{"revoke r1 u1"}, {"revoke r1 u1"}, {"revoke r1 u1"}}, []crm.Prior{crm.PriorUncertain}},
		{"unconfirmed, and another row before it", [][]string{{"revoke r1 u1"}, {"share r1 u1 read", "revoke r1 u1"}}, []crm.Prior{crm.PriorNone, crm.PriorUncertain}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				b := newBench(t, f)
				f.settle = func(crm.Item) crm.Outcome { return crm.Outcome{Status: crm.Accepted, Code: "status_2"} }
				b.run(t.Context(), tc.nights[0]...)
				f.answer = func(item crm.Item) crm.Outcome {
					return crm.Outcome{Status: crm.Failed, Code: "no", Uncertain: item.Prior != crm.PriorNone}
				}
				for _, rows := range tc.nights[1 : len(tc.nights)-1] {
					b.run(t.Context(), rows...)
				}
				f.sentWords()
				f.priors, f.answer = nil, nil
				f.settle = func(crm.Item) crm.Outcome { return crm.Outcome{Status: crm.Done} }
				b.run(t.Context(), tc.nights[len(tc.nights)-1]...)
				if !slices.Equal(f.priors, tc.priors) {
					t.Errorf("priors %v, want %v", f.priors, tc.priors)
				}
			})
		})
	}
}

// The operator says to send again what may have taken effect: that goes for a row
// that the CRM refused after a lost answer too.
func TestRedoInDoubtReachesAFailedRowThatMayHaveTakenEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.answer = func(crm.Item) crm.Outcome { return crm.Outcome{Status: crm.Failed, Uncertain: true} }
		b := newBench(t, f)
		b.run(t.Context(), "share r1 u1 read")
		f.sentWords()
		f.answer, b.opts.RedoInDoubt = nil, true
		b.run(t.Context(), "share r1 u1 read")
		if len(f.priors) != 1 || f.priors[0] != crm.PriorRedo {
			t.Errorf("priors %v, want PriorRedo", f.priors)
		}
	})
}
