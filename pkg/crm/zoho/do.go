package zoho

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	// busyFor is when to come back to a record that has a job under way; the vendor
	// does not say how long jobs take.
	busyFor = 2 * time.Second
	// mostUncertain is how many answers to the writes of a call may be lost, and mostMixed
	// how many may be refusals of single entries, before what is open is given up.
	mostUncertain = 3
	mostMixed     = 3
	// mostRepairs is how often a repair is tried that no answer takes up: the record is
	// busy, a limit or an old token is in the way, or the answer was lost.
	mostRepairs = 5
	// drainFor is how long after a stop what was begun may go on, so that it is through
	// within the 25 s that crm.Provider allows, whatever the CRM does.
	drainFor = 24 * time.Second
)

// row is an operation of a call.
type row struct {
	at      int // its place in the call
	op      crm.Operation
	prior   crm.Prior
	seen    []crm.Grant // bystanders, as they were seen before an earlier sending
	harm    string      // which of them lost something since,
	lost    []crm.Grant // and what that was
	sent    int         // how often a write with it was sent
	out     crm.Outcome
	decided bool // out is its outcome
}

// recordCall is the part of a call that is about one record.
type recordCall struct {
	p              *Provider
	j              crm.Journal
	callID         string
	protected      []string
	object, record string
	rows           []*row

	looked   time.Time // when the last look was answered
	accepted bool      // a write was accepted: no other one follows
	notes    notes     // for all rows that were sent

	// What would go round for ever otherwise.
	uncertain int       // answers to writes that were lost or unclear: mostUncertain
	mixed     int       // answers that refused single entries: mostMixed
	waited    int       // waits for a record that is busy with one of those: as many as waits has
	stale     int       // looks that had become too old at the gate
	renewed   int       // access tokens that were refused: mostRenewals
	limited   time.Time // since when a limit has refused every write: longRefused; zero: it has not
}

// Do makes the operations of a record true together, with one look and at most one
// write: a POST if the record is only shared with more users, a PUT of the whole
// list without those who are to go, or a DELETE if that list is empty.
//
// What the CRM accepted is Accepted, because it works on it later, and has the key as
// its ticket; what the look showed to be so is Unchanged, or Done if it was sent
// before and the answer was lost. A record that has a job under way is Pending with
// a time to come back. What an entry of the answer refuses is the failure of its
// own row; after such an answer, or a lost one, the list is looked at again and
// every row is judged by what it shows, and so are the bystanders.
// One write at most is accepted in one Do; rows that need another one are Pending.
func (p *Provider) Do(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
	out := make([]crm.Outcome, len(call.Items))
	records := map[string]*recordCall{}
	var order []*recordCall
	for n, item := range call.Items {
		op, err := crm.Sendable(p, item.Op)
		if err != nil {
			out[n] = crm.Invalid(err)
			continue
		}
		w := records[key(op)]
		if w == nil {
			w = &recordCall{p: p, j: j, callID: call.ID, protected: call.Protected, object: op.Object, record: op.Record}
			records[key(op)], order = w, append(order, w)
		}
		w.rows = append(w.rows, &row{at: n, op: op, prior: item.Prior, seen: item.Bystanders})
	}
	for _, w := range order {
		w.run(ctx)
		for _, r := range w.rows {
			w.decide(r, final(crm.Outcome{Status: crm.Pending, Later: busyFor, Message: "waits until an earlier change of the record is through"}))
			w.annotate(r)
			out[r.at] = r.out
		}
	}
	return out
}

// run looks, decides, writes and reads the answer until every row is decided or a
// write is accepted. What it decides by is pure: plan from a look, after from the look
// after a write whose answer was not plain.
func (w *recordCall) run(ctx context.Context) {
	parts := [][]*row{firstRound(w.rows)} // the rows of a part go together
	var a *attempt                        // a write that looks have to judge; nil for none
	begun, cancel := draining(ctx)
	defer cancel()
	for len(parts) > 0 && !w.accepted {
		rows := undecided(parts[0])
		if len(rows) == 0 {
			parts = parts[1:]
			continue
		}

		// Look, and judge by it what the write before has come to.
		stopped, within := ctx.Err() != nil, ctx
		if a != nil && a.change.verb == verbPut {
			within = begun // it may have taken the record from bystanders: a stop does not end that
		}
		look := w.look(within, a)
		if a != nil {
			n := after(*a, w.notes, look, w.bounds(), stopped)
			w.notes, w.accepted = n.notes, n.accepted
			if n.hidden.verb != verbNone {
				w.p.pending.add(w.key(), n.hidden, time.Now())
			}
			if n.repair.verb != verbNone {
				a.missing = n.missing
				said := w.send(within, look.list, n.repair, nil) // it serves no row
				if a.repaired(n.repair, said, look); said.Class == busy {
					wait(within, w.p.verifyAfter)
				}
				continue
			}
			for i, r := range a.rows {
				w.decide(r, n.decisions[i])
			}
			if a, rows = nil, undecided(rows); w.accepted || len(rows) == 0 {
				continue
			}
		}

		// Decide what to write.
		if look.Class == shown && w.p.pending.hides(w.key(), look.list, time.Now(), w.fresh()) {
			look.Class, look.Code, look.Text = busy, crm.CodeNotYet, "an earlier change is accepted and not to be seen yet"
		}
		if look.Class != shown {
			w.waitOrLeave(ctx, rows, look)
			continue
		}
		for _, r := range rows {
			if len(r.seen) > 0 {
				r.harm, r.lost = harmed(look.list, r.seen)
				r.seen = nil
			}
		}
		rulings, c := plan(look.list, operations(rows), w.bounds())
		for i, r := range rows {
			if rulings[i].standing != open {
				w.decide(r, ruled(r, rulings[i], look.Status))
			}
		}
		if rows = undecided(rows); len(rows) == 0 {
			continue
		}

		// Write, and read the answer.
		said := w.send(ctx, look.list, c, rows)
		switch said.Class {
		case throttled, token, stale: // nothing was done
		case accepted, nothing: // the confirming look says what has come of it
			if w.accepted = true; c.verb == verbPut {
				w.notes.atRisk = "" // it has every bystander
			}
			w.p.pending.add(w.key(), c, time.Now())
			w.decideAll(rows, final(crm.Outcome{Status: crm.Accepted, HTTPStatus: said.Status, Code: said.Code, Message: said.Text}))
		case uncertain, partial:
			a = w.unclear(ctx, rows, c, said)
		case refused:
			smaller := divide(rows, said)
			if smaller == nil {
				w.decideAll(rows, final(crm.Outcome{Status: crm.Failed, Code: said.Code, Message: c.explain(said), HTTPStatus: said.Status}))
			}
			parts = append(smaller, parts[1:]...)
		default:
			w.waitOrLeave(ctx, rows, said)
		}
	}
}

// draining returns a context that is done only some time after ctx is, and then ends the
// requests that are open under it too.
func draining(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(drainFor, func() { cancel(transport.ErrCutOff) })
	})
	return longer, func() { stop(); cancel(nil) }
}

// firstRound returns the rows before the first one whose target an earlier one has
// too, so that it has to wait for that one.
func firstRound(rows []*row) []*row {
	seen := map[string]bool{}
	for i, r := range rows {
		everybody := r.op.Action == crm.RevokeAll
		if seen[r.op.User] || seen[""] || everybody && len(seen) > 0 {
			return rows[:i]
		}
		seen[r.op.User] = true
	}
	return rows
}

// divide returns the parts in which to try again what was refused as a whole: the
// revokes without the shares, which can not be at fault then, and after them the
// shares in halves, down to the one that is; nil where there is no use in that.
func divide(rows []*row, f finding) [][]*row {
	if len(rows) < 2 || !divisible(f) {
		return nil
	}
	var revokes, shares []*row
	for _, r := range rows {
		if r.op.Action == crm.Share {
			shares = append(shares, r)
		} else {
			revokes = append(revokes, r)
		}
	}
	m := len(shares) / 2
	switch {
	case len(shares) == 0:
		return nil
	case len(revokes) > 0:
		return [][]*row{revokes, shares}
	}
	return [][]*row{shares[:m], shares[m:]}
}

// divisible says whether a request that was refused could be taken with fewer
// entries. What is about the caller, the module or the record is not.
func divisible(f finding) bool {
	switch strings.ToUpper(f.Code) {
	case "SHARE_LIMIT_EXCEEDED", "LIMIT_EXCEEDED", "DUPLICATE_DATA", "MANDATORY_NOT_FOUND", "AMBIGUITY_DURING_PROCESSING", "BAD_REQUEST", "CANNOT_PROCESS":
		return true
	case "INVALID_DATA":
		said := strings.ToUpper(f.Text)
		return !strings.Contains(said, "ENTITY_ID_INVALID") && !strings.Contains(said, "SHARED RECORD CANNOT")
	}
	return false
}

func undecided(rows []*row) []*row {
	return slices.DeleteFunc(slices.Clone(rows), func(r *row) bool { return r.decided })
}

func operations(rows []*row) []crm.Operation {
	ops := make([]crm.Operation, len(rows))
	for i, r := range rows {
		ops[i] = r.op
	}
	return ops
}

func (w *recordCall) key() string { return w.object + "/" + w.record }

// bounds returns what bounds the writes of the call.
func (w *recordCall) bounds() bounds {
	return bounds{usersOnly: w.p.dialect.userKey, protected: func(id string) bool { return slices.Contains(w.protected, id) }}
}

// waitOrLeave decides rows that a finding keeps from going any further. But where the
// record is busy with a write of this very call, of which the answer was lost or a part
// refused, it waits: whoever came back later would begin anew, meet the same and be put
// off again.
func (w *recordCall) waitOrLeave(ctx context.Context, rows []*row, f finding) {
	if pauses := waits(); f.Class == busy && w.uncertain+w.mixed > 0 && w.waited < len(pauses) {
		w.waited++
		if wait(ctx, pauses[w.waited-1]*w.p.verifyAfter) {
			return
		}
	}
	w.decideAll(rows, stuck(f, w.bounds(), ctx.Err() != nil))
}

// unclear counts a write whose answer was lost, or refuses some of its entries, and
// returns it for looks to judge; nil where the account has ended.
func (w *recordCall) unclear(ctx context.Context, rows []*row, c change, said finding) *attempt {
	again := true
	if said.Class == uncertain || slices.ContainsFunc(said.results, result.doubtful) {
		w.uncertain++
		again = w.uncertain < mostUncertain && w.p.client.Backoff(ctx, w.uncertain)
	}
	if said.Class == partial {
		w.mixed++
		again = again && w.mixed < mostMixed
	}
	if said.Ended != nil {
		w.decideAll(rows, stuck(said, w.bounds(), ctx.Err() != nil))
		return nil
	}
	return newAttempt(c, rows, said, again)
}
