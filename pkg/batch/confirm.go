package batch

import (
	"cmp"
	"context"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// confirmTask makes a confirmation and records what it shows.
func (l *loop) confirmTask(k *look) report {
	r := report{keys: k.keys, look: k, made: callsMade{answered: 1}}
	outcomes, _, err := l.ask(k.ops, &r)
	if err != nil {
		r.err = err
		return r
	}
	var records []ledger.Outcome
	var open []ledger.Op
	for i, out := range outcomes {
		op := &k.ops[i]
		if out.Status == crm.Done || out.Status == crm.Failed {
			records = append(records, confirmed(op, out))
			continue
		}
		open = append(open, *op)
		k.later = out.Later
		if said := out.Code + "\x00" + out.Message; said != k.said[op.ID] && out.Code != "" {
			if k.said == nil {
				k.said = make(map[int64]string)
			}
			k.said[op.ID] = said
			records = append(records, ledger.Outcome{
				Op: *op, Status: crm.Accepted, Open: true, Confirm: true, Uncertain: op.Uncertain,
				Code: out.Code, Message: out.Message, HTTPStatus: out.HTTPStatus,
			})
		}
	}
	r.err = l.record(k.ops, outcomes, records, &r)
	k.ops = open
	return r
}

// askOnce looks at operations that an earlier run had accepted, or that happened in one
// though they failed, records what is known now, and returns those that are still open.
func (l *loop) askOnce(ops []ledger.Op, r *report) (open []ledger.Op, err error) {
	outcomes, looked, err := l.ask(ops, r)
	if err != nil {
		return nil, err
	}
	var records []ledger.Outcome
	for i, out := range outcomes {
		if ops[i].Status == crm.Failed && out.Status == crm.Accepted {
			if ops[i].Prior = crm.PriorNone; looked && ops[i].Attempts == 0 {
				open = append(open, ops[i]) // there is something to take now
				continue
			}
			if r.ended != nil || l.ctx.Err() != nil {
				continue
			}
			if out.Status, out.Happened = crm.Failed, true; looked {
				out.Code, out.Message = "", "it was carried out before, and access has been given again since; a row of its own takes it away"
			}
			outcomes[i] = out
		}
		if out.Status == crm.Done || out.Status == crm.Failed {
			records = append(records, confirmed(&ops[i], out))
			continue
		}
		open = append(open, ops[i])
	}
	return open, l.record(ops, outcomes, records, r)
}

// ask takes the look, and says whether it showed who has what.
func (l *loop) ask(ops []ledger.Op, r *report) (outcomes []crm.Outcome, looked bool, err error) {
	items := make([]crm.Item, len(ops))
	for i, op := range ops {
		items[i] = crm.Item{Op: op.Operation, Prior: op.Prior, Ticket: op.Ticket}
	}
	if err := l.giveBystanders(ops, items); err != nil {
		return nil, false, err
	}
	outcomes, seen := l.acc.Provider.Confirm(l.ctx, items)
	if len(outcomes) != len(ops) {
		return nil, false, errCount(l.acc.Name, len(outcomes), len(ops))
	}
	for _, out := range outcomes {
		if out.Ended != nil && r.ended == nil {
			r.ended = out.Ended
		}
	}
	return outcomes, seen.Looked, nil
}

// confirmed is what the ledger records of an operation that the CRM has come to.
func confirmed(op *ledger.Op, out crm.Outcome) ledger.Outcome {
	s := ledger.Outcome{
		Op: *op, Status: out.Status, Confirm: true, Lost: out.Lost,
		Happened:  out.Happened || op.Status == crm.Failed && out.Status == crm.Done,
		Uncertain: out.Status == crm.Failed && !out.Happened && (op.Uncertain || out.Uncertain),
		Code:      out.Code, Message: out.Message, HTTPStatus: out.HTTPStatus, ConfirmedAt: time.Now(),
	}
	if s.Status == crm.Done && op.Status == crm.Failed && op.Attempts == 0 {
		s.Status = crm.Unchanged
	}
	return s
}

// record makes what looks showed durable and counts it.
func (l *loop) record(ops []ledger.Op, outcomes []crm.Outcome, records []ledger.Outcome, r *report) error {
	if len(records) == 0 {
		return nil
	}
	if err := l.b.queue.Record(context.WithoutCancel(l.ctx), records); err != nil {
		return err
	}
	var finished, failed int64 // in this run, of rows that no earlier run sent
	for i, out := range outcomes {
		op := ops[i]
		if out.Status != crm.Done && out.Status != crm.Failed {
			continue
		}
		r.finished = append(r.finished, op.ID)
		ours := l.ours(op) && op.Status == crm.Accepted
		if ours {
			finished += int64(op.Rows)
		}
		l.b.counters.move(op, op.Status, out.Status)
		if out.Status == crm.Failed {
			l.logRow(op, crm.Failed, out)
			if ours {
				failed += int64(op.Rows)
			}
		}
	}
	if err := cmp.Or(l.b.guard.note(0, failed), l.b.guard.looked(finished, failed)); err != nil {
		l.b.stop(err)
	}
	return nil
}
