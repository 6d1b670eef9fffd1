package zoho

import (
	"context"
	"errors"
	"net/http"
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
	// comeBack is when to return to what never left this machine. The transport has
	// tried three times by then and ends an account that stays away.
	comeBack = 5 * time.Second
	// mostLost is how many answers to the writes of a call may be lost, and mostMixed
	// how many may be refusals of single entries, before what is open is given up.
	mostLost  = 3
	mostMixed = 3
	// longRefused is for how long a limit may refuse the writes of a record until that
	// is taken for a quota. The gate finds out by itself if everything is refused; the
	// looks between the writes may be answered all the while.
	longRefused = 2 * time.Minute
	// lookLasts is how old a look may be when the write that is built on it goes out.
	// It doubles each time, so that a long queue at the gate can not keep a write from
	// ever going out.
	lookLasts = 5 * time.Second
)

// errStale keeps a write back whose look has become too old at the gate.
var errStale = errors.New("the look is too old by now")

// row is an operation of a call.
type row struct {
	op      crm.Operation
	prior   crm.Prior
	stay    []crm.Grant // whom an earlier sending was to leave alone
	harm    string      // who of them lost something
	out     crm.Outcome
	settled bool
	sent    int     // how often a write with it was sent
	denied  *result // what the CRM said to its own entry, if it refused it
}

// work is one Do on one record.
type work struct {
	p              *Provider
	j              crm.Journal
	callID         string
	object, record string
	rows           []*row

	looked   time.Time // when the last look was answered
	lost     int       // answers to writes that were lost
	mixed    int       // answers that refused single entries
	waited   int       // waits for a record that is busy with one of those
	stale    int       // looks that had become too old at the gate
	renewed  int       // access tokens that were refused
	limited  time.Time // since when a limit has refused every write; zero: it has not
	accepted bool      // a write was accepted: no other one follows
	note     string    // what befell others, for all rows that were sent
	noteCode string
	atRisk   string // who may have lost access, for as long as no look says otherwise
}

// Do makes the operations of a record true together, with one look and at most one
// write: a POST if the record is only shared with more users, a PUT of the whole
// list without those who are to go, or a DELETE if that list is empty.
//
// What the CRM took is Accepted, because it works on it later, and has the key as
// its ticket; what the look showed to be so is Unchanged, or Done if it was sent
// before and the answer was lost. A record that has a job under way is NotSent with
// a time to come back. What an entry of the answer refuses is the failure of its
// own row; after such an answer, or a lost one, the list is looked at again and
// every row is judged by what it shows, and so are those who were to keep access.
// One write at most is accepted in one Do; rows that need another one are NotSent.
func (p *Provider) Do(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
	out := make([]crm.Outcome, len(call.Items))
	works := map[string]*work{}
	var order []*work
	at := map[*row]int{}
	for n, item := range call.Items {
		op, err := check(item.Op)
		if err != nil || strings.Contains(op.User, "@") {
			out[n] = unsendable(err)
			continue
		}
		w := works[key(op)]
		if w == nil {
			w = &work{p: p, j: j, callID: call.ID, object: op.Object, record: op.Record}
			works[key(op)], order = w, append(order, w)
		}
		r := &row{op: op, prior: item.Prior, stay: item.Stay}
		at[r] = n
		w.rows = append(w.rows, r)
	}
	for _, w := range order {
		w.run(ctx)
		for _, r := range w.rows {
			out[at[r]] = r.out
		}
	}
	return out
}

func unsendable(err error) crm.Outcome {
	message := "user: the address was not resolved"
	if err != nil {
		message = err.Error()
	}
	return crm.Outcome{Verdict: crm.Failed, Code: codeInvalid, Message: message}
}

// run settles every row.
func (w *work) run(ctx context.Context) {
	batches := [][]*row{firstRound(w.rows)}
	for len(batches) > 0 && !w.accepted {
		batches = append(w.batch(ctx, batches[0]), batches[1:]...)
	}
	for _, r := range w.rows {
		w.settle(r, crm.Outcome{Verdict: crm.NotSent, Later: busyFor, Message: "waits until an earlier change of the record is through"})
		w.annotate(r)
	}
}

// firstRound returns the rows before the first one whose target an earlier one has
// too, so that it has to wait for that one.
func firstRound(rows []*row) []*row {
	seen := map[string]bool{}
	for i, r := range rows {
		whole := r.op.Action == crm.RevokeAll
		if seen[r.op.User] || seen[""] || whole && len(seen) > 0 {
			return rows[:i]
		}
		seen[r.op.User] = true
	}
	return rows
}

// batch takes rows to the end together, with one write after the other as long as
// none is accepted. What it returns is to be taken on in parts.
func (w *work) batch(ctx context.Context, rows []*row) [][]*row {
	var f finding // the last look, if it was made by review
	for !w.accepted {
		rows = unsettled(rows)
		if len(rows) == 0 {
			return nil
		}
		if f.class != shown {
			f = w.look(ctx)
		}
		if f.class == shown && w.p.recent.pending(w.key(), f.list, time.Now()) {
			f = finding{class: busy, code: codeNotYet, text: "an earlier change is accepted and not to be seen yet", status: f.status}
		}
		if f.class != shown {
			if w.outwait(ctx, f) {
				continue
			}
			w.unlooked(ctx, rows, f)
			return nil
		}
		w.findHarmed(f.list, rows)
		rulings, c := plan(f.list, operations(rows), w.p.rules())
		for i, r := range rows {
			if rulings[i].standing != open {
				w.rule(r, rulings[i], f.status)
			}
		}
		if c.verb == verbNone {
			return nil
		}
		list, served := f.list, pick(rows, c.ops)
		c.renumber()
		f = finding{}
		sent := w.send(ctx, list, c, served)
		switch sent.class {
		case throttled, token, stale:
		case took, nothing:
			w.accept(served, c, sent)
		case lost, partial:
			f = w.review(ctx, c, served, sent)
		case refused:
			return w.refused(served, c, sent)
		default:
			if !w.outwait(ctx, sent) {
				w.unlooked(ctx, served, sent)
			}
		}
	}
	return nil
}

// outwait waits where the record is busy with a write of this very work, of which the
// answer was lost or a part refused. Whoever came back later would begin anew, meet the
// same and be put off again.
func (w *work) outwait(ctx context.Context, f finding) bool {
	pauses := waits()
	if f.class != busy || w.lost+w.mixed == 0 || w.waited == len(pauses) {
		return false
	}
	w.waited++
	return wait(ctx, pauses[w.waited-1]*w.p.verifyAfter)
}

func (w *work) key() string { return w.object + "/" + w.record }

func unsettled(rows []*row) []*row {
	var out []*row
	for _, r := range rows {
		if !r.settled {
			out = append(out, r)
		}
	}
	return out
}

func pick(rows []*row, which []int) []*row {
	out := make([]*row, len(which))
	for i, n := range which {
		out[i] = rows[n]
	}
	return out
}

func operations(rows []*row) []crm.Operation {
	ops := make([]crm.Operation, len(rows))
	for i, r := range rows {
		ops[i] = r.op
	}
	return ops
}

// renumber makes the owners of the entries count among the operations that the
// write serves.
func (c *change) renumber() {
	place := map[int]int{}
	for i, n := range c.ops {
		place[n] = i
		c.ops[i] = i
	}
	for i, n := range c.owner {
		if n >= 0 {
			c.owner[i] = place[n]
		}
	}
}

// look asks who has the record.
func (w *work) look(ctx context.Context) finding {
	f := w.p.look(ctx, w.callID, w.object, w.record)
	w.looked = time.Now()
	return f
}

// look asks who has a record. Under the older versions it asks by a newer one,
// which shows groups and roles too. A module that is closed to the token is asked
// once.
func (p *Provider) look(ctx context.Context, callID, object, record string) finding {
	if f, ok := p.modules.refused(verbLook, object); ok {
		return f
	}
	f := p.read(ctx, verbLook, record, transport.Request{
		Op: "Share.Get", CallID: callID, Path: sharePath(p.dialect.looks(), object, record),
	})
	f = p.explainShare(f, verbLook, object)
	p.modules.note(verbLook, object, f)
	return f
}

// send sends a write that is built on the list of a look that has just been made.
// It announces it with that list, and keeps it back if the wait at the gate has
// made the look too old.
func (w *work) send(ctx context.Context, before []entry, c change, rows []*row) finding {
	if ctx.Err() != nil {
		return finding{class: unsent, text: context.Cause(ctx).Error()}
	}
	if f, ok := w.p.modules.refused(c.verb, w.object); ok {
		return f
	}
	used, err := w.p.tokens.ready(ctx)
	if err != nil {
		return w.p.clean(classifyToken(ctx, err))
	}
	fresh := w.looked.Add(lookLasts << min(w.stale, 8))
	state := stateOf(before)
	state.Rewrites, state.Fresh = c.verb == verbPut, w.fresh()
	req := transport.Request{
		Op: "Share." + method(c.verb), CallID: w.callID, Method: strings.ToUpper(method(c.verb)),
		Path: sharePath(w.p.dialect.version, w.object, w.record),
		Before: func(ctx context.Context) error {
			if time.Now().After(fresh) {
				return errStale
			}
			return w.j.Intend(ctx, state)
		},
	}
	if c.verb != verbDelete {
		req.Body = w.p.dialect.body(c.verb, c.entries)
	}
	r, err := w.p.client.Send(ctx, req)
	f := single(w.p.clean(classify(c.verb, w.record, len(c.entries), r, err)), c)
	f = w.p.explainShare(f, c.verb, w.object)
	w.p.modules.note(c.verb, w.object, f)
	if f.attempted {
		for _, r := range rows {
			r.sent++
		}
	}
	f = w.outlast(f)
	switch f.class {
	case stale:
		w.stale++
	case token:
		f, _ = w.p.renew(used, f, &w.renewed)
	case took, partial, nothing:
		w.p.tokens.worked(used)
	}
	return f
}

// fresh says that nothing of what was sent for these rows may have had an effect.
func (w *work) fresh() bool {
	return w.lost+w.mixed == 0 && !slices.ContainsFunc(w.rows, func(r *row) bool { return r.prior != crm.PriorNone })
}

// outlast ends the account where a limit has refused every write for too long, so
// that looks that are answered and writes that are not do not alternate for ever.
func (w *work) outlast(f finding) finding {
	switch now := time.Now(); {
	case f.class == stale || f.class == unsent || f.class == token:
	case f.class != throttled:
		w.limited = time.Time{}
	case w.limited.IsZero():
		w.limited = now
	case now.Sub(w.limited) >= longRefused:
		return f.end(crm.EndQuota, crm.Join("a limit has refused every change of a record for "+longRefused.String(), f.text),
			"Run again when the account's calls have been renewed; what is done is not done again.")
	}
	return f
}

// stateOf is a list as the journal keeps it.
func stateOf(list []entry) crm.State {
	s := crm.State{Looked: true, Grants: make([]crm.Grant, len(list))}
	for i, e := range list {
		s.Grants[i] = e.grant()
	}
	return s
}

// method is a write's name in logs, and in upper case its HTTP method.
func method(v verb) string {
	switch v {
	case verbPost:
		return "Post"
	case verbPut:
		return "Put"
	case verbDelete:
		return "Delete"
	}
	return http.MethodGet
}

// accept settles the rows of a write that the CRM took, or of a DELETE that found
// nothing any more: the confirming look says what has come of it.
func (w *work) accept(rows []*row, c change, f finding) {
	w.accepted = true
	if c.verb == verbPut {
		w.atRisk = "" // it has everybody who stays
	}
	w.p.recent.add(w.key(), c, time.Now())
	for _, r := range rows {
		w.settle(r, crm.Outcome{
			Verdict: crm.Accepted, Ticket: key(r.op), HTTPStatus: f.status,
			Code: f.code, Message: f.text, Later: w.p.verifyAfter,
		})
	}
}
