package batch

import (
	"context"
	"sync/atomic"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// counters are the rows by state while the run goes on.
type counters struct {
	phase   atomic.Value // string
	states  [ledger.InDoubt + 1]atomic.Int64
	invalid int64
	before  int64        // settled when the run began
	sent    atomic.Int64 // rows sent in this run
}

// start takes the counts of the adopted sheet.
func (c *counters) start(ctx context.Context, led *ledger.Ledger) error {
	tallies, err := led.Counts(ctx)
	if err != nil {
		return err
	}
	for _, t := range tallies {
		switch {
		case t.Invalid:
			c.invalid += t.Rows
		default:
			c.states[t.State].Add(t.Rows)
			if t.Turn == ledger.TurnNone {
				c.before += t.Rows
			}
		}
	}
	c.before += c.invalid
	return nil
}

// move counts rows that went from one state to another.
func (c *counters) move(from, to ledger.State, rows int) {
	c.states[from].Add(-int64(rows))
	c.states[to].Add(int64(rows))
}

func (c *counters) counts() Counts {
	get := func(s ledger.State) int64 { return c.states[s].Load() }
	n := Counts{
		Done: get(ledger.Done), Unchanged: get(ledger.Unchanged), Accepted: get(ledger.Accepted), Failed: get(ledger.Failed),
		InDoubt: get(ledger.InDoubt), Invalid: c.invalid, NotAttempted: get(ledger.Pending) + get(ledger.Sent),
	}
	n.Rows = n.Done + n.Unchanged + n.Accepted + n.Failed + n.InDoubt + n.Invalid + n.NotAttempted
	return n
}
