package batch

import (
	"context"
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// codeHeld is the code of rows that wait for an earlier row of their target.
const codeHeld = "held_up"

// explainHeld says of every row that is left what it waits for. When an account
// has come to its end by itself, all that is left is held up by an earlier row of
// its target that is in doubt, or that the CRM has accepted and not confirmed.
func (l *loop) explainHeld() error {
	var after ledger.Cursor
	var key int64
	var firsts map[int64]ledger.Op // of the key's targets
	for {
		page, err := l.b.led.Todo(l.ctx, l.acc.Name, after, pageSize)
		if err != nil || len(page) == 0 {
			return l.unlessStopped(err)
		}
		after = page[len(page)-1].Cursor()
		var settles []ledger.Settle
		for _, op := range page {
			if op.Alone {
				continue // nothing is before it
			}
			if firsts == nil || op.Key != key {
				if firsts, err = l.firsts(op.Key); err != nil {
					return l.unlessStopped(err)
				}
				key = op.Key
			}
			first, ok := firsts[op.Target]
			if !ok || first.ID == op.ID {
				continue
			}
			settles = append(settles, ledger.Settle{
				Op: op.ID, State: op.State, Turn: op.Turn, Open: true, Maybe: op.Maybe, Confirm: op.State != ledger.Pending,
				Code:    codeHeld,
				Message: fmt.Sprintf("waits for line %d, an earlier row about the same user and record, which is %s", first.Line, first.State),
			})
		}
		if err := l.b.led.Settle(context.WithoutCancel(l.ctx), settles); err != nil {
			return err
		}
	}
}

// firsts returns the first open operation of each of the key's targets.
func (l *loop) firsts(key int64) (map[int64]ledger.Op, error) {
	firsts := make(map[int64]ledger.Op)
	var after int64
	for {
		ops, err := l.b.led.Round(l.ctx, l.acc.Name, key, after, pageSize)
		if err != nil {
			return nil, err
		}
		for _, op := range ops {
			if _, ok := firsts[op.Target]; !ok {
				firsts[op.Target] = op
			}
			after = op.Ord
		}
		if len(ops) < pageSize {
			return firsts, nil
		}
	}
}
