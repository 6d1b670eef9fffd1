package batch

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	_ "modernc.org/sqlite"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// scripted is a fake whose calls and looks a test writes itself.
type scripted struct {
	*fake
	do      func(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome
	confirm func(items []crm.Item) []crm.Outcome
}

func (s *scripted) Do(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
	if s.do == nil {
		return s.fake.Do(ctx, call, j)
	}
	return s.do(ctx, call, j)
}

func (s *scripted) Confirm(ctx context.Context, items []crm.Item) []crm.Outcome {
	if s.confirm == nil {
		return s.fake.Confirm(ctx, items)
	}
	return s.confirm(items)
}

// bundler sends up to most revokes of different records in one call, which the CRM
// answers with one ticket.
type bundler struct {
	*scripted
	most int
}

func (p *bundler) Bundle(op crm.Operation) (string, int) {
	if op.Action != crm.Revoke {
		return "", 0
	}
	return "revokes", p.most
}

// benchAt is newBench for any provider, with the path of the ledger.
func benchAt(t testing.TB, p crm.Provider) (*bench, string) {
	t.Helper()
	path := t.TempDir() + "/sheet.ledger.db"
	led, err := ledger.Open(path, ledger.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := led.Close(); err != nil {
			t.Errorf("close the ledger: %v", err)
		}
	})
	b := &bench{t: t, led: led, opts: Options{ConfirmTimeout: time.Minute, Default: "a"}}
	b.opts.Accounts = []Account{{Name: "a", CRM: "fake", Host: "a.example", Provider: p, Workers: 4}}
	return b, path
}

// meddle changes the ledger's tables behind its back, which is how a test makes a
// certain read or write of it fail.
func meddle(t testing.TB, path, script string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(script); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

// try takes a sheet through a run that may end with an error.
func (b *bench) try(ctx context.Context, rows ...string) (Summary, error) {
	b.t.Helper()
	batch, _, err := b.prepare(rows...)
	if err != nil {
		b.t.Fatalf("prepare: %v", err)
	}
	if err := batch.Adopt(b.t.Context()); err != nil {
		b.t.Fatalf("adopt: %v", err)
	}
	return batch.Run(ctx)
}

func wantCounts(t testing.TB, got Counts, results []ledger.Result) {
	t.Helper()
	var want Counts
	for _, r := range results {
		want.Rows++
		switch {
		case r.Invalid:
			want.Invalid++
		case r.State == ledger.Done:
			want.Done++
		case r.State == ledger.Unchanged:
			want.Unchanged++
		case r.State == ledger.Accepted:
			want.Accepted++
		case r.State == ledger.Failed:
			want.Failed++
		case Shown(r.State, r.Op) == ledger.InDoubt:
			want.InDoubt++
		default:
			want.NotAttempted++
		}
	}
	if got != want {
		t.Errorf("the summary counts %+v, the ledger has %+v", got, want)
	}
}

var unreachable = &crm.AccountError{Code: crm.EndUnreachable, Err: errors.New("gone")}

// A record is busy for one user while another user's change on it goes on: the key
// must neither be parked twice nor be worked on twice at a time.
func TestNeverTwoOpenChangesOnAParkedKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var mu sync.Mutex
		busy := 2
		f.answer = func(item crm.Item) crm.Outcome {
			mu.Lock()
			refuse := item.Op.User == "u2" && busy > 0
			if refuse {
				busy--
			}
			mu.Unlock()
			if refuse {
				return crm.Outcome{Verdict: crm.NotSent, Later: 10 * time.Second}
			}
			if item.Op.User == "u2" {
				time.Sleep(30 * time.Second)
			}
			return crm.Outcome{Verdict: crm.Accepted}
		}
		b := newBench(t, f)
		_, results := b.run(t.Context(), "share r1 u1 read", "revoke r1 u1", "revoke r1 u2")
		wantStates(t, results, "done done done")
		wantSent(t, f, "share r1 u1", "revoke r1 u1", "revoke r1 u2")
	})
}

// A look at one user of a record is under way when the record's pause ends.
func TestNeverTwoOpenChangesAfterALookOnAParkedKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var mu sync.Mutex
		busy := true
		f.answer = func(item crm.Item) crm.Outcome {
			mu.Lock()
			refuse := item.Op.User == "u2" && busy
			busy = busy && !refuse
			mu.Unlock()
			if refuse {
				return crm.Outcome{Verdict: crm.NotSent, Later: 2 * time.Second}
			}
			if item.Op.User == "u2" {
				time.Sleep(time.Minute)
			}
			return crm.Outcome{Verdict: crm.Accepted}
		}
		f.settle = func(item crm.Item) crm.Outcome {
			if item.Op.Action == crm.Share {
				time.Sleep(30 * time.Second)
			}
			return crm.Outcome{Verdict: crm.Done}
		}
		b := newBench(t, f)
		_, results := b.run(t.Context(), "share r1 u1 read", "revoke r1 u1", "revoke r1 u2")
		wantStates(t, results, "done done done")
		wantSent(t, f, "share r1 u1", "revoke r1 u1", "revoke r1 u2")
	})
}

// A parked key keeps its pause, whatever else is learned of its record.
func TestParkedKeyKeepsItsPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		start := time.Now()
		var asked []time.Duration
		f.answer = func(item crm.Item) crm.Outcome {
			if item.Op.User != "u2" {
				return crm.Outcome{Verdict: crm.Accepted}
			}
			if asked = append(asked, time.Since(start)); len(asked) == 1 {
				return crm.Outcome{Verdict: crm.NotSent, Later: 10 * time.Second}
			}
			return crm.Outcome{Verdict: crm.Accepted}
		}
		b := newBench(t, f)
		b.opts.Accounts[0].Workers = 1
		_, results := b.run(t.Context(), "share r1 u1 read", "revoke r1 u1", "revoke r1 u2")
		wantStates(t, results, "done done done")
		if len(asked) < 2 || asked[1]-asked[0] < 10*time.Second {
			t.Errorf("the busy record was asked at %v, want 10 s between", asked)
		}
	})
}

// Revokes of several records go in one call and have one ticket: whichever of them
// has a later row, that row has its turn once the look has come back.
func TestLaterRowsBehindABundleHaveTheirTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &bundler{&scripted{fake: newFake(t)}, 10}
		var mu sync.Mutex
		var sent []string
		p.do = func(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
			out := make([]crm.Outcome, len(call.Items))
			if err := j.Intend(ctx, crm.State{}); err != nil {
				t.Errorf("intend: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for i, item := range call.Items {
				sent = append(sent, fmt.Sprint(item.Op.Action, " ", item.Op.Record))
				out[i] = crm.Outcome{Verdict: crm.Accepted, Ticket: call.ID, RequestID: call.ID, Attempts: 1}
			}
			return out
		}
		p.confirm = func(items []crm.Item) []crm.Outcome {
			out := make([]crm.Outcome, len(items))
			for i := range out {
				out[i].Verdict = crm.Done
			}
			return out
		}
		b, _ := benchAt(t, p)
		_, results := b.run(t.Context(), "revoke r1 u1", "revoke r2 u1", "revoke r3 u1", "share r2 u1 read", "share r3 u1 read")
		wantStates(t, results, "done done done done done")
		if len(sent) != 5 {
			t.Errorf("sent %q", sent)
		}
	})
}

// A record with more users than a call holds: later rows of a user still have
// their turn, whatever is or is not asked about.
func TestLaterRowsOnARecordOfManyUsersHaveTheirTurn(t *testing.T) {
	t.Parallel()
	for _, off := range []bool{false, true} {
		t.Run(fmt.Sprintf("confirm off %v", off), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.latency = time.Second
				b := newBench(t, f)
				b.opts.ConfirmOff = off
				var rows []string
				for i := range mostItems + 100 {
					rows = append(rows, fmt.Sprintf("share r1 u%d read", i))
				}
				rows = append(rows, "revoke r1 u0", "revoke r1 u500")
				_, results := b.run(t.Context(), rows...)
				for _, r := range results {
					if r.State != ledger.Done && (!off || r.State != ledger.Accepted) {
						t.Errorf("line %d, %v of %s: %s, code %q", r.Line, r.Op.Action, r.Op.User, r.State, r.Code)
					}
				}
			})
		})
	}
}

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
					if r.State != ledger.Done {
						t.Errorf("line %d is %s, want done", r.Line, r.State)
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
			return []crm.Outcome{{Verdict: crm.Accepted, Ticket: item.Ticket, RequestID: item.Ticket}}
		}
		return p.fake.Do(ctx, call, j)
	}
	p.settle = func(item crm.Item) crm.Outcome {
		if item.Op.Action == crm.Share {
			return crm.Outcome{Verdict: crm.Accepted, Code: "status_2"}
		}
		return crm.Outcome{Verdict: crm.Done}
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
		return p.fake.Confirm(t.Context(), items)
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
			return crm.Outcome{Verdict: crm.Accepted}
		}
		b.run(t.Context(), rows...)
		if first > 65*time.Second {
			t.Errorf("the first change was sent after %v; 60 looks of a second each came before it", first)
		}
	})
}

// A ledger that can not be read any more ends the run with an error, also while
// calls are open.
func TestLedgerThatCanNotBeReadEndsTheRunWithAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b, path := benchAt(t, f)
		f.latency = time.Second
		var once sync.Once
		f.answer = func(crm.Item) crm.Outcome {
			once.Do(func() { meddle(t, path, "DROP INDEX op_todo") })
			return crm.Outcome{Verdict: crm.Accepted}
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
				return []crm.Outcome{{Verdict: crm.NotSent}}
			}
			t.Error("the intent was taken")
			return []crm.Outcome{{Verdict: crm.Accepted, Ticket: "t", Attempts: 1}}
		}
		b, path := benchAt(t, p)
		meddle(t, path, "CREATE TRIGGER full BEFORE INSERT ON event WHEN NEW.kind = 'intent' BEGIN SELECT RAISE(ABORT, 'disk full'); END")
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
		b, path := benchAt(t, f)
		meddle(t, path, "CREATE TRIGGER full BEFORE INSERT ON event WHEN NEW.kind = 'outcome' BEGIN SELECT RAISE(ABORT, 'disk full'); END")
		s, err := b.try(t.Context(), "share r1 u1 read")
		if err == nil {
			t.Error("the run did not end with an error")
		}
		results := b.results(1)
		wantStates(t, results, "in_doubt")
		wantCounts(t, s.Counts, results)
		meddle(t, path, "DROP TRIGGER full")
		f.sentWords()
		b.run(t.Context(), "share r1 u1 read")
		if len(f.priors) != 1 || f.priors[0] != crm.PriorLost {
			t.Errorf("priors %v, want PriorLost", f.priors)
		}
		if err := b.led.VerifyChain(t.Context()); err != nil {
			t.Errorf("the chain of events: %v", err)
		}
	})
}

// An answer was lost on the way to a busy record: the next try in the same run is
// a repeat and is told so.
func TestLostAnswerBeforeABusyRecordIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var priors []crm.Prior
		f.answer = func(item crm.Item) crm.Outcome {
			if priors = append(priors, item.Prior); len(priors) == 1 {
				return crm.Outcome{Verdict: crm.NotSent, Maybe: true, Later: time.Second, Code: "no_answer"}
			}
			return crm.Outcome{Verdict: crm.Accepted}
		}
		b := newBench(t, f)
		b.run(t.Context(), "revoke r1 u1")
		if len(priors) != 2 || priors[1] != crm.PriorLost {
			t.Errorf("priors %v, want the second try to be PriorLost", priors)
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
			return crm.Outcome{Verdict: crm.NotSent, Maybe: n == 1, Later: time.Second, Code: "busy"}
		}
		b := newBench(t, f)
		_, results := b.run(t.Context(), "share r1 u1 read")
		wantStates(t, results, "failed")
		if !results[0].Maybe {
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
		f.answer = func(crm.Item) crm.Outcome { return crm.Outcome{Verdict: crm.Failed, Maybe: true} }
		b.run(t.Context(), "share r1 u1 read")
		f.answer = func(crm.Item) crm.Outcome {
			return crm.Outcome{Verdict: crm.NotSent, Ended: &crm.AccountError{Code: crm.EndQuota, Err: errors.New("used up")}}
		}
		b.run(t.Context(), "share r1 u1 read")
		f.sentWords()
		f.answer = nil
		b.run(t.Context(), "share r1 u1 read")
		if len(f.priors) != 1 || f.priors[0] != crm.PriorLost {
			t.Errorf("priors %v, want PriorLost", f.priors)
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
		p.settle = func(crm.Item) crm.Outcome { return crm.Outcome{Verdict: crm.Failed, Code: "status_9"} }
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
				return crm.Outcome{Verdict: crm.Accepted, Code: "status_2"}
			}
			return crm.Outcome{Verdict: crm.Done}
		}
		b.run(t.Context(), "revoke r1 u1")
		f.answer = func(crm.Item) crm.Outcome { return crm.Outcome{Verdict: crm.NotSent, Ended: unreachable} }
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
				return crm.Outcome{Verdict: crm.NotSent, Later: time.Second, Code: "busy"}
			}
			return crm.Outcome{Verdict: crm.Failed, Code: "MXTest"}
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

// The account ends on one row of a call: the rows beside it that were not sent are
// still to be done.
func TestAccountEndOnOneRowFailsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.answer = func(item crm.Item) crm.Outcome {
			out := crm.Outcome{Verdict: crm.NotSent}
			if item.Op.User == "u2" {
				out.Ended = unreachable
			}
			return out
		}
		b := newBench(t, f)
		_, results := b.run(t.Context(), "revoke r1 u1", "revoke r1 u2", "revoke r1 u3")
		wantStates(t, results, "not_attempted not_attempted not_attempted")
	})
}

// A provider says that an acceptance is worth no look before a while.
func TestFirstLookWaitsAsLongAsTheProviderSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		start := time.Now()
		f.answer = func(crm.Item) crm.Outcome { return crm.Outcome{Verdict: crm.Accepted, Later: 5 * time.Second} }
		var first time.Duration
		f.settle = func(crm.Item) crm.Outcome {
			first = time.Since(start)
			return crm.Outcome{Verdict: crm.Done}
		}
		b := newBench(t, f)
		b.run(t.Context(), "revoke r1 u1")
		if first < 5*time.Second {
			t.Errorf("looked after %v, want 5 s", first)
		}
	})
}

// The summary and the ledger say the same of a share whose answer was lost.
func TestCountsAgreeOnAShareWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.answer = func(crm.Item) crm.Outcome { return crm.Outcome{Verdict: crm.NotSent, Maybe: true, Ended: unreachable} }
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
		f.answer = func(crm.Item) crm.Outcome { return crm.Outcome{Verdict: crm.Failed} }
		b := newBench(t, f)
		b.run(t.Context(), "revoke r1 u1")
		f.answer = nil
		s, results := b.run(t.Context(), "revoke r1 u1", "revoke r1 u1")
		wantStates(t, results, "done done")
		wantCounts(t, s.Counts, results)
	})
}

// The operator says to send again what may have taken effect: that goes for a row
// that the CRM refused after a lost answer too.
func TestRedoInDoubtReachesAFailedRowThatMayHaveTakenEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.answer = func(crm.Item) crm.Outcome { return crm.Outcome{Verdict: crm.Failed, Maybe: true} }
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

// A call of several records is refused as busy, cut off, or goes through in part:
// each row of it still comes to its end, once.
func TestBundledRowsEachComeToTheirEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &bundler{&scripted{fake: newFake(t)}, 5}
		var mu sync.Mutex
		tries := make(map[string]int)
		sent := make(map[string]int)
		p.do = func(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
			out := make([]crm.Outcome, len(call.Items))
			if err := j.Intend(ctx, crm.State{}); err != nil {
				t.Errorf("intend: %v", err)
			}
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			for i, item := range call.Items {
				tries[item.Op.Record]++
				if len(item.Op.Record) == 3 && tries[item.Op.Record] < 3 {
					out[i] = crm.Outcome{Verdict: crm.NotSent, Later: time.Second}
					continue
				}
				sent[item.Op.Record]++
				out[i] = crm.Outcome{Verdict: crm.Done, Attempts: 1}
			}
			return out
		}
		b, _ := benchAt(t, p)
		var rows []string
		for i := range 40 {
			rows = append(rows, fmt.Sprintf("revoke r%d u1", i))
		}
		s, results := b.run(t.Context(), rows...)
		wantCounts(t, s.Counts, results)
		if s.Counts.Done != 40 {
			t.Errorf("results %s, want all done", states(results))
		}
		for record, n := range sent {
			if n != 1 {
				t.Errorf("%s was sent %d times", record, n)
			}
		}
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
				out[i] = crm.Outcome{Verdict: crm.Accepted, Ticket: "t", Attempts: 1}
			}
			return out
		}
		p.confirm = func(items []crm.Item) []crm.Outcome {
			out := make([]crm.Outcome, len(items))
			for i := range out {
				out[i] = crm.Outcome{Verdict: crm.Accepted, Ticket: "t", Code: "status_2", Message: "queued"}
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
			err = batch.Adopt(t.Context())
		}
		if err == nil {
			batch.run, err = b.led.BeginRun(t.Context(), ledger.RunInfo{})
		}
		if err == nil {
			err = batch.counters.start(t.Context(), b.led)
		}
		if err != nil {
			t.Fatal(err)
		}
		batch.stop = func(err error) { t.Errorf("stopped: %v", err) }
		l := newLoop(t.Context(), batch, batch.order[0])
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
		if n := len(l.looks.queued); n > 50 {
			t.Errorf("%d operations are remembered of %d that are all done", n, len(rows))
		}
		if n := len(l.keys.states) + len(l.keys.queue) + len(l.keys.parked) + len(l.looks.held); n > 0 {
			t.Errorf("%d keys are remembered at the end", n)
		}
	})
}

// On a record with a revoke_all, all rows act one after the other.
func TestRevokeAllKeepsTheRecordsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.latency = time.Second
		b := newBench(t, f)
		b.opts.ConfirmOff = true
		rows := []string{"share r1 u1 read", "share r1 u2 read", "revoke_all r1", "share r1 u3 write", "revoke r2 u1"}
		_, results := b.run(t.Context(), rows...)
		wantStates(t, results, "done done done accepted accepted")
		var order []string
		for _, w := range f.sentWords() {
			if strings.Contains(w, "r1") {
				order = append(order, w)
			}
		}
		if want := []string{"share r1 u1", "share r1 u2", "revoke_all r1 ", "share r1 u3"}; !slices.Equal(order, want) {
			t.Errorf("order %q, want %q", order, want)
		}
		b.run(t.Context(), rows...)
		wantSent(t, f)
	})
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

// moody is a CRM that answers as it likes until it is calm.
type moody struct {
	*fake
	mood sync.Mutex // guards rng
	rng  *rand.Rand
	calm bool
}

func newMoody(t *testing.T, seed uint64) *moody {
	m := &moody{fake: newFake(t), rng: rand.New(rand.NewPCG(seed, 11))}
	m.answer, m.settle = m.change, m.look
	return m
}

func (m *moody) dice(n int) int {
	m.mood.Lock()
	defer m.mood.Unlock()
	return m.rng.IntN(n)
}

// perhaps has the change take effect, or not.
func (m *moody) perhaps(op crm.Operation) {
	if m.dice(2) == 0 {
		m.mu.Lock()
		m.inForce[op.Target()] = op
		m.mu.Unlock()
	}
}

func (m *moody) change(item crm.Item) crm.Outcome {
	time.Sleep(time.Duration(m.dice(300)) * time.Millisecond)
	if m.calm || m.dice(3) > 0 {
		return crm.Outcome{Verdict: crm.Accepted, Later: time.Duration(m.dice(3)) * time.Second}
	}
	maybe := item.Prior != crm.PriorNone
	switch m.dice(6) {
	case 0:
		return crm.Outcome{Verdict: crm.Failed, Code: "MXTest", Maybe: maybe}
	case 1:
		return crm.Outcome{Verdict: crm.Done}
	case 2:
		m.perhaps(item.Op)
		return crm.Outcome{Verdict: crm.Unknown}
	case 3:
		return crm.Outcome{Verdict: crm.NotSent, Later: time.Duration(1+m.dice(5)) * time.Second, Maybe: maybe}
	case 4:
		m.perhaps(item.Op)
		return crm.Outcome{Verdict: crm.NotSent, Later: time.Second, Maybe: true}
	}
	m.perhaps(item.Op)
	return crm.Outcome{Verdict: crm.Failed, Maybe: true}
}

func (m *moody) look(crm.Item) crm.Outcome {
	time.Sleep(time.Duration(m.dice(300)) * time.Millisecond)
	if m.calm || m.dice(2) > 0 {
		return crm.Outcome{Verdict: crm.Done}
	}
	verdicts := []crm.Verdict{crm.Accepted, crm.Accepted, crm.Failed}
	return crm.Outcome{Verdict: verdicts[m.dice(len(verdicts))], Code: fmt.Sprint("status_", m.dice(3))}
}

func (m *moody) row() string {
	verb := []string{"revoke r%d u%d", "share r%d u%d read", "share r%d u%d write"}[m.dice(3)]
	return fmt.Sprintf(verb, m.dice(8), m.dice(3))
}

func (m *moody) test() {
	t := m.t
	b := newBench(t, m.fake)
	b.opts.ConfirmTimeout = 20 * time.Second
	var rows []string
	for range 6 {
		for range 8 {
			rows = slices.Insert(rows, m.dice(len(rows)+1), m.row())
		}
		ctx, cancel := context.WithCancel(context.Background())
		stop := time.AfterFunc(time.Duration(m.dice(40000))*time.Millisecond, cancel)
		s, results := b.run(ctx, rows...)
		stop.Stop()
		cancel()
		wantCounts(t, s.Counts, results)
	}
	m.calm, b.opts.RedoInDoubt = true, true
	for range 3 {
		s, results := b.run(context.Background(), rows...)
		wantCounts(t, s.Counts, results)
	}
	m.sentWords()
	_, results := b.run(context.Background(), rows...)
	last := make(map[crm.Target]crm.Operation)
	for _, r := range results {
		last[r.Op.Target()] = r.Op
		if r.State != ledger.Done {
			t.Errorf("line %d is %s (%s %s), want done", r.Line, r.State, r.Code, r.Message)
		}
	}
	for target, op := range last {
		if m.inForce[target] != op {
			t.Errorf("in force on %v is %v, want %v", target, m.inForce[target], op)
		}
	}
	wantSent(t, m.fake)
	if err := b.led.VerifyChain(context.Background()); err != nil {
		t.Errorf("the chain of events: %v", err)
	}
}
