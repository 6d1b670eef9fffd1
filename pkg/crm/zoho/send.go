package zoho

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	// longRefused is for how long a limit may refuse the writes of a record until that
	// is taken for a quota. The gate finds out by itself if everything is refused; the
	// looks between the writes may be answered all the while.
	longRefused = 2 * time.Minute
	// lookLasts is how old a look may be when the write that is built on it goes out.
	// It doubles each time, so that a long queue at the gate can not keep a write from
	// ever going out.
	lookLasts = 5 * time.Second
)

// waits are the pauses between the looks that find out what has become of a write
// whose answer was not plain, as multiples of Config.VerifyAfter: a minute in all
// with its default. Such writes are rare, so that a worker may wait for them.
func waits() []time.Duration { return []time.Duration{1, 2, 4, 8, 15} }

// uncertainWaits is how many of the waits an answer that was lost is worth: the write
// may never have arrived.
const uncertainWaits = 3

// errStale keeps a write back whose look has become too old at the gate.
var errStale = errors.New("the look is too old by now")

// look asks who has the record. After a write that looks have to judge it asks until
// the list shows what that was to do, or the waits are over: it waits for a busy
// record, and after a look that did not go well. It returns the last look.
func (w *recordCall) look(ctx context.Context, a *attempt) finding {
	if a != nil && a.look != nil {
		return *a.look
	}
	pauses := waits()
	if a != nil && a.last.Class == uncertain {
		pauses = pauses[:uncertainWaits]
	}
	for {
		f := w.p.look(ctx, w.callID, w.object, w.record)
		w.looked = time.Now()
		if a == nil || f.Class == shown && visible(f.list, a.hope) || f.Class == refused || f.Class == ended {
			return f
		}
		if len(pauses) == 0 || !wait(ctx, pauses[0]*w.p.verifyAfter) {
			return f
		}
		pauses = pauses[1:]
	}
}

// wait returns false if ctx is done before the time is over.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// send sends a write that is built on the list of a look that has just been made.
// It announces it with that list, and keeps it back if the wait at the gate has
// made the look too old.
func (w *recordCall) send(ctx context.Context, before []entry, c change, rows []*row) finding {
	if ctx.Err() != nil {
		return finding{Finding: transport.Stopped(ctx)}
	}
	if f, ok := w.p.closed.Load(request{c.verb, w.object}); ok {
		return f.(finding)
	}
	used, err := w.p.tokens.ready(ctx)
	if err != nil {
		return w.p.tokenless(ctx, err)
	}
	fresh := w.looked.Add(lookLasts << min(w.stale, 8))
	state := crm.State{Looked: true, Grants: grants(before), Rewrites: c.verb == verbPut, Fresh: w.fresh()}
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
	if f.Attempted {
		for _, r := range rows {
			r.sent++
		}
	}
	switch f.Class {
	case unsent:
	case stale:
		w.stale++
	case token:
		w.p.renew(used, &f, &w.renewed)
	case throttled:
		// Looks that are answered and writes that are not must not alternate for ever.
		if w.limited.IsZero() {
			w.limited = time.Now()
		}
		if time.Since(w.limited) >= longRefused {
			f.End(crm.EndQuota, crm.Join("a limit has refused every change of a record for "+longRefused.String(), f.Text), "",
				"Run again when the account's calls have been renewed; what is done is not done again.")
		}
	case accepted, partial, nothing:
		w.p.tokens.worked(used)
		fallthrough
	default:
		w.limited = time.Time{}
	}
	return f
}

// fresh says that nothing of what was sent for these rows may have had an effect.
func (w *recordCall) fresh() bool {
	return w.uncertain+w.mixed == 0 && !slices.ContainsFunc(w.rows, func(r *row) bool { return r.prior != crm.PriorNone })
}

// method is a write's name in logs, and in upper case its HTTP method.
func method(v verb) string {
	return map[verb]string{verbPost: "Post", verbPut: "Put", verbDelete: "Delete"}[v]
}
