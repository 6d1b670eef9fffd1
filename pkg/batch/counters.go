package batch

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// counters are the rows by state while the run goes on.
type counters struct {
	phase   atomic.Value // string
	states  [crm.NotDue + 1]atomic.Int64
	invalid int64
	stopped atomic.Pointer[time.Time] // when the run was asked to end; nil before
	sent    atomic.Int64              // rows sent in this run
	alarms  int64                     // rows by which bystanders have lost access, when the run has ended
}

// start takes the counts of the committed sheet.
func (c *counters) start(counts []ledger.Count) {
	for _, t := range counts {
		switch {
		case t.Invalid:
			c.invalid += t.Rows
		default:
			c.states[t.Status].Add(t.Rows)
		}
	}
}

// recount takes the counts anew, of how the run has ended.
func (c *counters) recount(ctx context.Context, led reader) error {
	counts, err := led.Counts(ctx)
	if err != nil {
		return err
	}
	var fresh counters
	fresh.start(counts)
	if c.alarms, err = led.CountLost(ctx); err != nil {
		return err
	}
	for i := range fresh.states {
		c.states[i].Store(fresh.states[i].Load())
	}
	return nil
}

// move counts an operation's rows that went from one state to another. Rows that
// go together may have come from different states, so that these are figures to
// watch a run by; how it ended is counted in the ledger.
func (c *counters) move(op ledger.Op, from, to crm.Status) {
	c.states[from].Add(-int64(op.Rows))
	c.states[to].Add(int64(op.Rows))
}

func (c *counters) counts() Counts {
	get := func(s crm.Status) int64 { return max(0, c.states[s].Load()) }
	n := Counts{
		Done: get(crm.Done), Unchanged: get(crm.Unchanged), Accepted: get(crm.Accepted), Failed: get(crm.Failed),
		InDoubt: get(crm.Uncertain) + get(crm.Sent), Invalid: c.invalid, NotAttempted: get(crm.Pending) + get(crm.Unavailable), NotDue: get(crm.NotDue),
	}
	n.Rows = n.Done + n.Unchanged + n.Accepted + n.Failed + n.InDoubt + n.Invalid + n.NotAttempted + n.NotDue
	return n
}
