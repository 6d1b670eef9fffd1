package batch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

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
				return crm.Outcome{Status: crm.Pending, Later: 10 * time.Second}
			}
			if item.Op.User == "u2" {
				time.Sleep(30 * time.Second)
			}
			return crm.Outcome{Status: crm.Accepted}
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
				return crm.Outcome{Status: crm.Pending, Later: 2 * time.Second}
			}
			if item.Op.User == "u2" {
				time.Sleep(time.Minute)
			}
			return crm.Outcome{Status: crm.Accepted}
		}
		f.settle = func(item crm.Item) crm.Outcome {
			if item.Op.Action == crm.Share {
				time.Sleep(30 * time.Second)
			}
			return crm.Outcome{Status: crm.Done}
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
				return crm.Outcome{Status: crm.Accepted}
			}
			if asked = append(asked, time.Since(start)); len(asked) == 1 {
				return crm.Outcome{Status: crm.Pending, Later: 10 * time.Second}
			}
			return crm.Outcome{Status: crm.Accepted}
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
				out[i] = crm.Outcome{Status: crm.Accepted, Ticket: call.ID, RequestID: call.ID, Attempts: 1}
			}
			return out
		}
		p.confirm = func(items []crm.Item) []crm.Outcome {
			out := make([]crm.Outcome, len(items))
			for i := range out {
				out[i].Status = crm.Done
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
					if r.Status != crm.Done && (!off || r.Status != crm.Accepted) {
						t.Errorf("line %d, %v of %s: %s, code %q", r.Line, r.Op.Action, r.Op.User, r.Status, r.Code)
					}
				}
			})
		})
	}
}

// The account ends on one row of a call: the rows beside it that were not sent are
// still to be done.
func TestAccountEndOnOneRowFailsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.answer = func(item crm.Item) crm.Outcome {
			out := crm.Outcome{Status: crm.Pending}
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
					out[i] = crm.Outcome{Status: crm.Pending, Later: time.Second}
					continue
				}
				sent[item.Op.Record]++
				out[i] = crm.Outcome{Status: crm.Done, Attempts: 1}
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

// Rows that failed together go one by one in the next run: only one of them may have
// been at fault.
func TestRowsThatFailedTogetherGoAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &bundler{&scripted{fake: newFake(t)}, 5}
		var sizes []int
		p.do = func(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
			sizes = append(sizes, len(call.Items))
			out := make([]crm.Outcome, len(call.Items))
			if err := j.Intend(ctx, crm.State{}); err != nil {
				t.Errorf("intend: %v", err)
			}
			for i, item := range call.Items {
				out[i] = crm.Outcome{Status: crm.Done, Attempts: 1}
				if len(out) > 1 || item.Op.Record == "r1" {
					out[i] = crm.Outcome{Status: crm.Failed, Attempts: 1}
				}
			}
			return out
		}
		b, _ := benchAt(t, p)
		b.opts.Accounts[0].Workers = 1
		rows := []string{"revoke r0 u1", "revoke r1 u1", "revoke r2 u1"}
		_, results := b.run(t.Context(), rows...)
		wantStates(t, results, "failed failed failed")
		_, results = b.run(t.Context(), rows...)
		wantStates(t, results, "done failed done")
		if want := []int{3, 1, 1, 1}; !slices.Equal(sizes, want) {
			t.Errorf("calls of %v rows, want %v", sizes, want)
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
