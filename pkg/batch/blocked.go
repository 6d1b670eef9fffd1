package batch

import (
	"context"
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// explainBlocked says of every row that is left what it waits for. When an account
// has come to its end by itself, all that is left is held up by an earlier row of
// its target that is in doubt, or that the CRM has accepted and not confirmed.
func (l *loop) explainBlocked() error {
	if !l.crowded {
		return nil
	}
	var after ledger.Cursor
	var key crm.Target
	var firsts map[crm.Target]ledger.Op // of the key's targets
	for {
		page, err := l.b.queue.Next(l.ctx, l.acc.Name, after, pageSize)
		if err != nil || len(page) == 0 {
			return l.unlessStopped(err)
		}
		after = page[len(page)-1].Cursor()
		var records []ledger.Outcome
		for _, op := range page {
			if this := l.keyOf(op); firsts == nil || this != key {
				if firsts, err = l.firsts(this); err != nil {
					return l.unlessStopped(err)
				}
				key = this
			}
			first, ok := firsts[op.Target()]
			if !ok || first.ID == op.ID {
				continue
			}
			records = append(records, ledger.Outcome{
				Op: op, Status: op.Status, Turn: op.Turn, Open: true, Uncertain: op.Uncertain, Confirm: op.Status != crm.Pending,
				Code:    crm.CodeHeldUp,
				Message: fmt.Sprintf("waits for line %d, an earlier row about the same user and record, which is %s", first.Line, first.Status),
			})
		}
		if err := l.b.queue.Record(context.WithoutCancel(l.ctx), records); err != nil {
			return err
		}
	}
}

// firsts returns the first open operation of each of the key's targets.
func (l *loop) firsts(key crm.Target) (map[crm.Target]ledger.Op, error) {
	firsts := make(map[crm.Target]ledger.Op)
	var after int64
	for {
		ops, err := l.b.queue.OfKey(l.ctx, l.acc.Name, key, after, pageSize)
		if err != nil {
			return nil, err
		}
		for _, op := range ops {
			if _, ok := firsts[op.Target()]; !ok {
				firsts[op.Target()] = op
			}
			after = op.Ord
		}
		if len(ops) < pageSize {
			return firsts, nil
		}
	}
}
