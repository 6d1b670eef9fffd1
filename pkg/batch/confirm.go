package batch

import (
	"cmp"
	"context"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// readWaiting queues looks at what the CRM has accepted in this run, oldest first.
// It is called when no change waits.
func (l *loop) readWaiting() error {
	q := &l.looks
	for q.unread > 0 && !q.full() {
		queued, at := len(q.after)+len(q.waiting), q.cursor
		page, err := l.b.led.Waiting(l.ctx, l.acc.Name, q.cursor, pageSize)
		if err != nil {
			return l.unlessStopped(err)
		}
		if len(page) == 0 {
			q.unread, q.tickets = 0, 0
		}
		if q.read(page, time.Now(), l.keys.busy); len(q.after)+len(q.waiting) > queued || q.cursor == at {
			return nil
		}
	}
	return nil
}

// confirm takes a look and records what it shows.
func (l *loop) confirm(k *look) report {
	r := report{keys: k.keys, look: k, made: callsMade{answered: 1}}
	outcomes, err := l.ask(k.ops, &r)
	if err != nil {
		r.err = err
		return r
	}
	var settles []ledger.Settle
	var open []ledger.Op
	for i, out := range outcomes {
		op := &k.ops[i]
		if out.Verdict == crm.Done || out.Verdict == crm.Failed {
			settles = append(settles, confirmed(op, out))
			continue
		}
		open = append(open, *op)
		k.later = out.Later
		if said := out.Code + "\x00" + out.Message; said != k.said[op.ID] && out.Code != "" {
			if k.said == nil {
				k.said = make(map[int64]string)
			}
			k.said[op.ID] = said
			settles = append(settles, ledger.Settle{
				Op: op.ID, Known: op, State: ledger.Accepted, Open: true, Confirm: true, Maybe: op.Maybe,
				Code: out.Code, Message: out.Message, HTTPStatus: out.HTTPStatus,
			})
		}
	}
	r.err = l.record(k.ops, outcomes, settles, &r)
	k.ops = open
	return r
}

// askOnce looks at operations that an earlier run had accepted, records what is
// known now, and returns those that are still open.
func (l *loop) askOnce(ops []ledger.Op, r *report) (open []ledger.Op, err error) {
	outcomes, err := l.ask(ops, r)
	if err != nil {
		return nil, err
	}
	var settles []ledger.Settle
	for i, out := range outcomes {
		if out.Verdict == crm.Done || out.Verdict == crm.Failed {
			settles = append(settles, confirmed(&ops[i], out))
			continue
		}
		open = append(open, ops[i])
	}
	return open, l.record(ops, outcomes, settles, r)
}

// ask takes the look. A provider that can not confirm says nothing about any of
// the operations.
func (l *loop) ask(ops []ledger.Op, r *report) ([]crm.Outcome, error) {
	c, ok := l.acc.Provider.(crm.Confirmer)
	if !ok {
		return make([]crm.Outcome, len(ops)), nil
	}
	items := make([]crm.Item, len(ops))
	for i, op := range ops {
		items[i] = crm.Item{Op: op.Operation, Prior: op.Prior, Ticket: op.Ticket}
	}
	if err := l.tellStayers(ops, items); err != nil {
		return nil, err
	}
	outcomes := c.Confirm(l.ctx, items)
	if len(outcomes) != len(ops) {
		return nil, errCount(l.acc.Name, len(outcomes), len(ops))
	}
	for _, out := range outcomes {
		if out.Ended != nil && r.ended == nil {
			r.ended = out.Ended
		}
	}
	return outcomes, nil
}

// confirmed is what the ledger records of an operation that the CRM has come to.
func confirmed(op *ledger.Op, out crm.Outcome) ledger.Settle {
	return ledger.Settle{
		Op: op.ID, Known: op, State: stateOf(out.Verdict), Confirm: true, Maybe: out.Verdict == crm.Failed && (op.Maybe || out.Maybe),
		Code: out.Code, Message: out.Message, HTTPStatus: out.HTTPStatus, ConfirmedAt: time.Now(),
	}
}

// record makes what looks showed durable and counts it.
func (l *loop) record(ops []ledger.Op, outcomes []crm.Outcome, settles []ledger.Settle, r *report) error {
	if len(settles) == 0 {
		return nil
	}
	if err := l.b.led.Settle(context.WithoutCancel(l.ctx), settles); err != nil {
		return err
	}
	var settled, failed int64 // in this run, of rows that no earlier run sent
	for i, out := range outcomes {
		op := ops[i]
		if out.Verdict != crm.Done && out.Verdict != crm.Failed {
			continue
		}
		r.settled = append(r.settled, op.ID)
		if l.ours(op) {
			settled += int64(op.Rows)
		}
		l.b.counters.move(op, ledger.Accepted, stateOf(out.Verdict))
		if out.Alarm {
			l.b.counters.alarms.Add(int64(op.Rows))
		}
		if out.Verdict == crm.Failed {
			l.logRow(op, ledger.Failed, out)
			if l.ours(op) {
				failed += int64(op.Rows)
			}
		}
	}
	if err := cmp.Or(l.b.guard.note(0, failed), l.b.guard.looked(settled, failed)); err != nil {
		l.b.stop(err)
	}
	return nil
}
