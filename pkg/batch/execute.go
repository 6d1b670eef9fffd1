package batch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// mostItems is how many operations a call holds at most: what bounds the memory of
// a sheet whose rows are all of one record.
const mostItems = 1000

// round is what there is to do for a key at one moment.
type round struct {
	key  crm.Target
	ask  []ledger.Op // accepted by an earlier run, or happened in one
	do   []ledger.Op // the first operation of each target that may go
	more bool        // operations wait behind these
	// waits says, for each target, that operations wait behind its first; cut, that the
	// key has more operations than a call holds, and any of them may.
	waits map[crm.Target]bool
	cut   bool
}

// execute works on the keys' next round: it asks about what an earlier run had
// accepted, does what may go now, and records every outcome.
//
// alone are the operations of those keys that are known to have no other. tries is how
// often the keys' record was busy in a row.
func (l *loop) execute(work []crm.Target, alone []ledger.Op, tries int) report {
	r := report{keys: work}
	var rounds []*round
	var ask, do []ledger.Op
	for _, key := range work {
		rd, err := l.round(key, alone)
		if err != nil {
			r.err = l.unlessStopped(err)
			return r
		}
		rounds = append(rounds, rd)
		ask, do = append(ask, rd.ask...), append(do, rd.do...)
	}
	c := &call{loop: l, report: &r, rounds: rounds, tries: tries}
	do = append(do, c.askAll(ask)...)
	if r.err == nil && r.ended == nil && len(do) > 0 && l.ctx.Err() == nil {
		c.doAll(do)
	}
	return r
}

// round reads the key's open operations, unless it has one alone that is known, and picks
// the first of each target.
func (l *loop) round(key crm.Target, alone []ledger.Op) (*round, error) {
	rd := &round{key: key}
	if i := slices.IndexFunc(alone, func(op ledger.Op) bool { return l.keyOf(op) == key }); i >= 0 {
		if op := alone[i : i+1]; op[0].Turn == ledger.TurnAsk {
			rd.ask = op
		} else {
			rd.do = op
		}
		return rd, nil
	}
	rd.waits = make(map[crm.Target]bool)
	seen := make(map[crm.Target]bool)
	var after int64
	for len(rd.ask)+len(rd.do) < mostItems {
		ops, err := l.b.queue.OfKey(l.ctx, l.acc.Name, key, after, pageSize)
		if err != nil {
			return nil, err
		}
		for _, op := range ops {
			after = op.Ord
			target := op.Target()
			switch {
			case seen[target]:
				rd.more, rd.waits[target] = true, true
				continue
			case op.Turn == ledger.TurnAsk:
				rd.ask = append(rd.ask, op)
			case op.Turn != ledger.TurnNone:
				rd.do = append(rd.do, op)
			}
			seen[target] = true
		}
		if len(ops) < pageSize {
			return rd, nil
		}
	}
	rd.more, rd.cut = true, true
	return rd, nil
}

// call is a worker's task on its way.
type call struct {
	loop   *loop
	report *report
	rounds []*round
	tries  int
}

// askAll asks about operations that an earlier run had accepted, or that happened though
// they failed, and returns those that are to be sent: what is still unconfirmed, again
// where that is safe.
func (c *call) askAll(ops []ledger.Op) (open []ledger.Op) {
	for len(ops) > 0 {
		n := 1
		for n < len(ops) && ops[n].Ticket == ops[0].Ticket && (ops[n].Ticket != "" || c.loop.keyOf(ops[n]) == c.loop.keyOf(ops[0])) {
			n++
		}
		left, err := c.loop.askOnce(ops[:n], c.report)
		if err != nil {
			c.report.err = err
			return nil
		}
		c.report.spent.changes++
		c.report.made.answered++
		if c.report.ended != nil || c.loop.ctx.Err() != nil {
			return nil
		}
		open = append(open, left...)
		ops = ops[n:]
	}
	c.report.again = c.report.again || len(c.report.finished) > 0 && c.more()
	return open
}

func (c *call) more() bool {
	for _, rd := range c.rounds {
		if rd.more {
			return true
		}
	}
	return false
}

// journal makes the call's intents durable.
type journal struct {
	loop *loop
	id   string
	ops  []ledger.Op
	sent int
	at   time.Time // of the last sending
	// planned is what the operations were planned to cost, and before how many calls of
	// these come before the first sending. within and ahead are what is noted of them.
	planned               backlog
	before, within, ahead int
	err                   error // why the ledger could not take an intent
}

// Intend implements crm.Journal.
func (j *journal) Intend(ctx context.Context, before crm.State) error {
	now := time.Now()
	err := j.loop.b.queue.Intend(context.WithoutCancel(ctx), ledger.Intent{
		CallID: j.id, Account: j.loop.acc.Name, Ops: j.ops, Attempt: j.sent + 1, Before: toKeep(before, j.ops), At: now,
	})
	if err != nil {
		j.err = err
		return err
	}
	j.sent++
	j.at = now
	j.count()
	return nil
}

// count notes the calls of which a sending tells that they were answered: those before
// the first one, and the one before any other. As many of them as were planned are taken
// off what is left: an answer that was lost makes a call more.
func (j *journal) count() {
	m := callsMade{answered: 1}
	if j.sent == 1 {
		m.answered = int64(j.before)
	}
	if within := min(j.before+j.sent-1, int(j.planned.changes-1)); within > j.within {
		m.within = within - j.within
		j.within = within
	}
	ahead := max(0, min(1, int(j.planned.changes-1)-j.within)) // the answer to this sending
	m.ahead = ahead - j.ahead
	j.ahead = ahead
	if m != (callsMade{}) {
		j.loop.acc.todo.note(m)
	}
}

// finished returns what is known of the calls now that the last one is through.
func (j *journal) finished() callsMade {
	m := callsMade{answered: 1, within: -j.within, ahead: -j.ahead}
	if j.sent == 0 {
		m.answered = int64(j.before)
	}
	return m
}

// doAll sends the operations in one call and records what came of it.
func (c *call) doAll(ops []ledger.Op) {
	l := c.loop
	j := &journal{loop: l, id: l.b.callID(), ops: ops}
	items := make([]crm.Item, len(ops))
	again := false
	for i, op := range ops {
		items[i] = crm.Item{Op: op.Operation, Prior: op.Prior, Ticket: op.Ticket}
		if op.Prior == crm.PriorNone && uncertain(op) {
			items[i].Prior = l.b.again(crm.PriorUnanswered) // in this run
		}
		again = again || items[i].Prior != crm.PriorNone
	}
	if again {
		if c.report.err = l.giveBystanders(ops, items); c.report.err != nil {
			return
		}
	}
	j.planned = l.worth(ops)
	first, _ := l.b.cost(l.acc, ops[0].Operation, 1)
	if j.before = max(0, int(first-1)); j.before > 0 {
		j.ahead = j.before
		l.acc.todo.note(callsMade{ahead: j.ahead})
	}
	outcomes := l.acc.Provider.Do(l.ctx, crm.Call{ID: j.id, Items: items, Protected: l.acc.protected}, j)
	if len(outcomes) != len(ops) {
		c.report.err = errCount(l.acc.Name, len(outcomes), len(ops))
		return
	}
	c.report.made = c.report.made.add(j.finished())
	c.knowUsers(items, outcomes)
	records := make([]ledger.Outcome, 0, len(ops))
	states := make([]crm.Status, len(ops))
	for _, out := range outcomes {
		if out.Ended != nil && c.report.ended == nil {
			c.report.ended = out.Ended
		}
	}
	for i, out := range outcomes {
		s, ok := c.outcome(ops[i], out, j)
		if states[i] = s.Status; ok {
			records = append(records, s)
		}
	}
	if j.err != nil {
		c.report.err = j.err
	}
	if len(records) == 0 {
		return
	}
	c.judge(ops, outcomes, states)
	if err := l.b.queue.Record(context.WithoutCancel(l.ctx), records); err != nil {
		c.report.err = err
		return
	}
	c.count(ops, outcomes, states, j)
}

// giveBystanders gives the items of operations that were sent those whom they were to
// leave alone, as far as the CRM has shown them.
func (l *loop) giveBystanders(ops []ledger.Op, items []crm.Item) error {
	var ids []int64
	for _, op := range ops {
		if l.acc.Rules.Shows(op.Operation) {
			ids = append(ids, op.ID)
		}
	}
	if ids == nil {
		return nil
	}
	stay, err := l.b.queue.Bystanders(context.WithoutCancel(l.ctx), ids, l.acc.Rules.Key)
	for i, op := range ops {
		items[i].Bystanders = stay[op.ID]
	}
	return err
}

// judge stops what the outcomes say must not go on, before anything else is sent.
func (c *call) judge(ops []ledger.Op, outcomes []crm.Outcome, states []crm.Status) {
	l := c.loop
	if c.report.ended != nil {
		l.endAccount(c.report.ended)
	}
	var sent, failed int64
	for i, op := range ops {
		if !l.ours(op) || op.Status == crm.Accepted || outcomes[i].Status == crm.Pending && states[i] != crm.Failed {
			continue
		}
		sent += int64(op.Rows)
		if states[i] == crm.Failed {
			failed += int64(op.Rows)
		}
	}
	if err := l.b.guard.note(sent, failed); err != nil {
		l.b.stop(err)
	}
}

// outcome turns what a provider says into what the ledger records. It reports false where
// nothing has changed: nothing was announced and nothing is known that was not
// known before.
func (c *call) outcome(op ledger.Op, out crm.Outcome, j *journal) (ledger.Outcome, bool) {
	s := ledger.Outcome{
		CallID: j.id, Op: op, RequestID: out.RequestID, Ticket: out.Ticket, Code: out.Code, Message: out.Message,
		HTTPStatus: out.HTTPStatus, Attempts: out.Attempts, SentAt: j.at,
		Happened:  out.Happened,
		Lost:      out.Lost,
		Uncertain: !out.Happened && (out.Uncertain || uncertain(op) && out.Status != crm.Done && out.Status != crm.Unchanged),
	}
	switch out.Status {
	case crm.Done, crm.Unchanged, crm.Failed:
		s.Status, s.ConfirmedAt = out.Status, time.Now()
		if out.Status == crm.Failed {
			s.ConfirmedAt = time.Time{}
		}
	case crm.Accepted:
		s.Status, s.Open = crm.Accepted, true
		if s.Confirm = j.sent == 0; !s.Confirm { // else it stands where it stood
			// What is said of an acceptance (that it was sent again, say) is still to be
			// said when a look has confirmed it.
			s.Note, s.Message = out.Message, ""
		}
	case crm.Pending:
		return c.notSent(op, out, s, j)
	default:
		if j.sent == 0 && !uncertain(op) {
			return c.notSent(op, out, s, j) // nothing was ever announced
		}
		s.Status, s.Open, s.Uncertain = crm.Uncertain, true, true
		s.Confirm = j.sent == 0
	}
	return s, true
}

// uncertain reports whether the operation may have taken effect by an earlier sending
// whose answer was lost. A later refusal does not take that back.
func uncertain(op ledger.Op) bool {
	return op.Uncertain || op.Prior != crm.PriorNone || op.Status == crm.Sent
}

// notSent leaves an operation to be done: later in this run, if its record is
// busy, or in another run.
func (c *call) notSent(op ledger.Op, out crm.Outcome, s ledger.Outcome, j *journal) (ledger.Outcome, bool) {
	s.Open, s.Turn = true, op.Turn
	s.Confirm = op.Status == crm.Accepted // its ticket still stands
	if s.Status = op.Status; op.Status == crm.Pending && out.Uncertain {
		s.Status = crm.Sent
	}
	if out.Later > 0 && c.report.ended == nil {
		if c.tries < busyTries {
			c.report.later = max(c.report.later, min(out.Later, maxBusyPause), busyPause<<c.tries)
			return s, j.sent > 0
		}
		s.Status, s.Turn, s.Open = crm.Failed, ledger.TurnNone, false
		s.Message = fmt.Sprintf("put off %d times, run again to try once more: %s", c.tries+1, out.Message)
		return s, true
	}
	if c.report.ended == nil && c.loop.ctx.Err() == nil && j.err == nil {
		// A provider that neither sends nor says when to come back would be asked
		// for ever.
		s.Status, s.Turn, s.Open = crm.Failed, ledger.TurnNone, false
		return s, true
	}
	return s, j.sent > 0
}

// errCount says that a provider has broken its contract: rows would get lost.
func errCount(account string, got, want int) error {
	return fmt.Errorf("account %q: %d outcomes for %d operations", account, got, want)
}

// count counts what was recorded, and finds out whether the keys can go on.
func (c *call) count(ops []ledger.Op, outcomes []crm.Outcome, states []crm.Status, j *journal) {
	l := c.loop
	c.report.spent = c.report.spent.add(l.spent(j, outcomes, states))
	var groups map[string]int // of several operations, by ticket
	if len(ops) > 1 {
		groups = make(map[string]int)
	}
	for i, op := range ops {
		out, to, rows := outcomes[i], states[i], int64(op.Rows)
		l.b.counters.move(op, op.Status, to)
		// What was refused as a whole, for the keys or for a busy record, is not attempted
		// yet: it counts when it has an outcome of its own.
		if out.Attempts > 0 && (out.Status != crm.Pending || out.Uncertain || to == crm.Failed) {
			l.b.counters.sent.Add(rows)
		}
		l.logRow(op, to, out)
		waits := c.waits(op)
		switch {
		case out.Status == crm.Accepted:
			at, ok := groups[out.Ticket]
			if !ok {
				at = len(c.report.accepted)
				if len(ops) > 1 {
					groups[out.Ticket] = at
				}
				c.report.accepted = append(c.report.accepted, acceptance{ticket: out.Ticket, earlier: j.sent == 0})
			}
			op.Uncertain = out.Uncertain || uncertain(op)
			op.Ticket, op.Status = out.Ticket, crm.Accepted
			if op.FirstRun == 0 {
				op.FirstRun = l.b.run
			}
			a := &c.report.accepted[at]
			a.ops, a.later = append(a.ops, op), max(a.later, min(out.Later, maxBusyPause))
			if key := l.keyOf(op); waits && !slices.Contains(a.waits, key) {
				a.waits = append(a.waits, key)
			}
		case to.Finished() && waits:
			c.report.again = true
		}
	}
	// A key with more targets than a call holds goes on whatever became of these.
	c.report.again = c.report.again || len(ops) >= mostItems && c.report.later == 0
}

// ours reports whether no earlier run has sent the operation.
func (l *loop) ours(op ledger.Op) bool { return op.FirstRun == 0 || op.FirstRun == l.b.run }

// waits reports whether operations wait behind this one.
func (c *call) waits(op ledger.Op) bool {
	for _, rd := range c.rounds {
		if rd.key == c.loop.keyOf(op) {
			return rd.cut || rd.waits[op.Target()]
		}
	}
	return false
}

// logRow writes one line for a row that failed or is in doubt.
func (l *loop) logRow(op ledger.Op, to crm.Status, out crm.Outcome) {
	if to == crm.Failed || to == crm.Uncertain {
		l.b.log.Warn("row not done", "account", l.acc.Name, "line", op.Line, "result", to.String(), "record", op.Operation.Record,
			"code", out.Code, "message", out.Message)
	}
}
