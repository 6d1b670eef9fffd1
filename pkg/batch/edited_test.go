package batch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// TestEditedSheets is the rule of section 4 through the whole engine: whatever is
// edited and whatever fails between runs, once a run settles every row the last
// row of each target is in force.
func TestEditedSheets(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { editedSheets(t, rand.New(rand.NewPCG(seed, 3))) })
		})
	}
}

func editedSheets(t *testing.T, rng *rand.Rand) {
	f := newFake(t)
	trouble := 30
	f.answer = func(item crm.Item) crm.Outcome {
		if rng.IntN(100) >= trouble {
			return crm.Outcome{Status: crm.Accepted}
		}
		switch rng.IntN(3) {
		case 0:
			return crm.Outcome{Status: crm.Failed, Code: "MXTest"}
		case 1:
			f.mu.Lock()
			f.inForce[item.Op.Target()] = item.Op
			f.mu.Unlock()
		}
		return crm.Outcome{Status: crm.Pending, Uncertain: true, Ended: &crm.AccountError{Code: crm.EndUnreachable, Err: errors.New("gone")}}
	}
	b := newBench(t, f)
	b.opts.Accounts[0].Workers = 1 // rng is not for several goroutines
	row := func() string {
		verb := []string{"revoke r%d u%d", "share r%d u%d read", "share r%d u%d write"}[rng.IntN(3)]
		return fmt.Sprintf(verb, rng.IntN(3), rng.IntN(2))
	}
	rows := []string{row()}
	for range 12 {
		for range 1 + rng.IntN(3) {
			at := rng.IntN(len(rows) + 1)
			switch {
			case rng.IntN(3) > 0 || len(rows) < 3:
				rows = slices.Insert(rows, at, row())
			case at < len(rows):
				rows = slices.Delete(rows, at, at+1)
			}
		}
		trouble = 30
		_, results := b.run(t.Context(), rows...)
		for tries := 0; !allDone(results); tries++ {
			if tries > 50 {
				t.Fatalf("sheet %q never settles: %s", rows, states(results))
			}
			trouble = 0
			b.opts.RedoInDoubt = true
			_, results = b.run(t.Context(), rows...)
			b.opts.RedoInDoubt = false
		}
		last := make(map[crm.Target]crm.Operation)
		for _, r := range results {
			last[r.Op.Target()] = r.Op
		}
		for target, op := range last {
			if f.inForce[target] != op {
				t.Fatalf("sheet %q: in force on %v is %v, want %v", rows, target, f.inForce[target], op)
			}
		}
		f.sentWords()
		b.run(t.Context(), rows...)
		wantSent(t, f)
	}
	if err := b.led.VerifyChain(t.Context()); err != nil {
		t.Errorf("the chain of events: %v", err)
	}
}

func allDone(results []ledger.Result) bool {
	for _, r := range results {
		if r.Status != crm.Done {
			return false
		}
	}
	return true
}
