package batch

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestRemaining(t *testing.T) {
	t.Parallel()
	const s = time.Second
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		name    string
		backlog backlog
		open    int
		want    time.Duration // at a call a second
	}{
		{"nothing", backlog{}, 0, 0},
		{"changes", backlog{changes: 40}, 0, 40 * s},
		{"changes and looks", backlog{changes: 40, looks: 40}, 0, 80 * s},
		{"open calls have their slots", backlog{changes: 40, looks: 40}, 5, 75 * s},
		{"nothing but what is open", backlog{looks: 2}, 2, 0},
		{"more is open than is to be made", backlog{looks: 2}, 3, 0},
		{"shared calls are whole ones", backlog{changes: 4.1, looks: 0.1}, 0, 5 * s},
		{"what fractions add to", backlog{changes: 3 * (0.1 + 0.2) * 10}, 0, 9 * s},
		{"the looks fill the CRM's time", backlog{changes: 40, looks: 40, settling: 30 * s}, 0, 80 * s},
		{"the CRM's time decides", backlog{changes: 40, looks: 4, settling: 30 * s}, 0, 70 * s},
		{"nobody waits for the CRM", backlog{changes: 40, settling: 30 * s}, 0, 40 * s},
		{"all changes are made", backlog{looks: 4, settling: 30 * s}, 0, 4 * s},
		{"a look is due later", backlog{looks: 4, due: now.Add(25 * s)}, 0, 25 * s},
		{"a look is due before that", backlog{looks: 40, due: now.Add(25 * s)}, 0, 40 * s},
		{"all looks were due", backlog{looks: 4, due: now.Add(-25 * s)}, 0, 4 * s},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.backlog.workers = 7
			got := tc.backlog.remaining(now, tc.open, func(calls, workers int) time.Duration {
				if workers != 7 {
					t.Errorf("%d workers, want 7", workers)
				}
				return time.Duration(calls) * s
			})
			if got != tc.want {
				t.Errorf("%v left, want %v", got, tc.want)
			}
		})
	}
}

// Two names for one organisation make their calls one after the other.
func TestBacklogsWithinOneLimitAddUp(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got := backlog{changes: 4, looks: 3, settling: time.Second, due: at, workers: 2}.add(
		backlog{changes: 1, looks: 2, settling: time.Minute, due: at.Add(time.Second), workers: 5})
	want := backlog{changes: 5, looks: 5, settling: time.Minute, due: at.Add(time.Second), workers: 7}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(backlog{})); diff != "" {
		t.Errorf("backlog (-want +got):\n%s", diff)
	}
}

// The calls that changes have made before they are through are taken off; calls that
// belong to nothing that was planned are not.
func TestCallsOfUnfinishedChanges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		made     callsMade
		answered []int64 // at one moment after the other
		want     float64 // of 100
	}{
		{"nothing", callsMade{}, []int64{0}, 100},
		{"all finished", callsMade{answered: 30}, []int64{30}, 100},
		{"known to be made", callsMade{answered: 30, within: 4}, []int64{30}, 96},
		{"none of those ahead", callsMade{answered: 30, ahead: 5}, []int64{30}, 100},
		{"some of those ahead", callsMade{answered: 30, ahead: 5}, []int64{33}, 97},
		{"all of those ahead", callsMade{answered: 30, ahead: 5}, []int64{35}, 95},
		{"and strays", callsMade{answered: 30, ahead: 5}, []int64{38}, 95},
		{"strays of before", callsMade{answered: 30, ahead: 5}, []int64{38, 36}, 97},
		{"what was taken for strays", callsMade{answered: 30, ahead: 5}, []int64{38, 30, 32}, 98},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var td todo
			got := backlog{}
			for _, n := range tc.answered {
				got = td.less(backlog{changes: 100}, tc.made, n)
			}
			if got.changes != tc.want {
				t.Errorf("%v changes left, want %v", got.changes, tc.want)
			}
		})
	}
}

// bulk costs a look, a call for two operations, and a look for all that have one key.
type bulk struct{ crm.Rules }

func (bulk) Cost(_ crm.Operation, n int64, confirm bool) float64 {
	cost := 1 + float64((n+1)/2)
	if confirm {
		cost++
	}
	return cost
}

func (bulk) Key(op crm.Operation) crm.Target { return op.Target().Whole() }

// What is finished is taken off at what it was planned to cost, whatever it did cost.
func TestSpent(t *testing.T) {
	t.Parallel()
	op := func(key int, turn ledger.Turn) ledger.Op {
		return ledger.Op{Operation: crm.Operation{Record: strconv.Itoa(key)}, Turn: turn}
	}
	normal, late, ask := ledger.TurnNormal, ledger.TurnLate, ledger.TurnAsk
	for _, tc := range []struct {
		name     string
		ops      []ledger.Op
		verdicts []crm.Status
		want     backlog
	}{
		{"one", []ledger.Op{op(1, normal)}, []crm.Status{crm.Accepted}, backlog{changes: 2, looks: 1}},
		{"one that failed before", []ledger.Op{op(1, late)}, []crm.Status{crm.Failed}, backlog{changes: 2, looks: 1}},
		{"one whose record is busy", []ledger.Op{op(1, normal)}, []crm.Status{crm.Pending}, backlog{}},
		{"one that was to be asked about", []ledger.Op{op(1, ask)}, []crm.Status{crm.Done}, backlog{}},
		{"four of a key", []ledger.Op{op(1, normal), op(1, normal), op(1, normal), op(1, normal)},
			[]crm.Status{crm.Done, crm.Unchanged, crm.Accepted, crm.Failed}, backlog{changes: 3, looks: 1}},
		{"two of four", []ledger.Op{op(1, normal), op(1, normal), op(1, normal), op(1, normal)},
			[]crm.Status{crm.Done, crm.Pending, crm.Pending, crm.Accepted}, backlog{changes: 1}},
		{"two keys", []ledger.Op{op(1, normal), op(2, normal), op(1, normal)},
			[]crm.Status{crm.Done, crm.Uncertain, crm.Done}, backlog{changes: 4, looks: 2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := &loop{schedule: newSchedule(bulk{}), b: &Batch{}, acc: &account{Account: Account{Rules: bulk{}}}}
			j := &journal{loop: l, ops: tc.ops, planned: l.worth(tc.ops)}
			outcomes, states := make([]crm.Outcome, len(tc.ops)), make([]crm.Status, len(tc.ops))
			for i, v := range tc.verdicts {
				outcomes[i].Status, states[i] = v, v
				if v == crm.Pending {
					states[i] = crm.Pending
				}
			}
			got := l.spent(j, outcomes, states)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(backlog{}), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Errorf("spent (-want +got):\n%s", diff)
			}
		})
	}
}
