package zoho

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// review judges the rows of a write whose answer was lost, or refused some of its
// entries, by looks; sees to those who were to keep access; and leaves those rows
// open for which another write makes sense. What it returns is the last look.
func (w *work) review(ctx context.Context, c change, rows []*row, sent finding) finding {
	again := true
	if sent.class == lost || slices.ContainsFunc(sent.results, result.doubtful) {
		w.lost++
		again = w.lost < mostLost && w.p.client.Backoff(ctx, w.lost)
	}
	if sent.class == partial {
		w.mixed++
		again = again && w.mixed < mostMixed
	}
	refusals := map[int]bool{} // of entries
	for i, r := range sent.results {
		if !r.no() {
			continue
		}
		refusals[i] = true
		if c.owner[i] >= 0 {
			rows[c.owner[i]].denied = &r
		}
	}
	if sent.ended != nil {
		w.unlooked(ctx, rows, sent)
		return finding{}
	}
	// A write of which nothing was taken has no effect to wait for.
	underWay := sent.class == lost || len(refusals) < len(sent.results)
	f := w.watch(ctx, sent.class == lost, func(list []entry) bool { return !underWay || visible(list, c, refusals) })
	took := f.class == shown && visible(f.list, c, refusals)
	if f.class == shown {
		f = w.keep(ctx, f, c, sent, took)
	} else {
		w.risk(c, sent, "and no look could tell whether they still have the record")
	}
	for _, r := range rows {
		said := r.denied
		r.denied = nil
		switch {
		case f.class == shown && judge(f.list, r.op).standing != open:
			w.rule(r, judge(f.list, r.op), f.status)
		case said != nil:
			w.denied(r, *said, f, sent, again)
		case f.class != shown && sent.class == partial && underWay:
			w.awaits(r, sent, f)
			w.p.recent.add(w.key(), c.without(refusals), time.Now())
		case f.class != shown:
			w.unlooked(ctx, []*row{r}, f)
		case !again || !underWay && !anyOwned(c, refusals):
			w.giveUp(ctx, r, c, sent)
		}
	}
	return f
}

// denied settles a row whose own entry was refused, or leaves it open: a user who
// has the record by now, otherwise than asked for, is changed by another write.
func (w *work) denied(r *row, said result, f, sent finding, again bool) {
	o := crm.Outcome{Verdict: crm.Failed, Code: string(said.Code), Message: string(said.Message), HTTPStatus: sent.status, Ended: f.ended}
	switch {
	case busyText.MatchString(o.Message), isThrottle(said.Code):
		o.Verdict, o.Later = crm.NotSent, busyFor
	case again && f.class == shown && perhapsHeld(said) && holds(f.list, r.op.User):
		return
	}
	w.settle(r, o)
}

// awaits settles a row whose write is under way, where no look could be made. If
// somebody's access is at risk by it, the row is a failure: whether they have it is
// for somebody to see now.
func (w *work) awaits(r *row, sent, f finding) {
	w.accepted = true
	o := crm.Outcome{Verdict: crm.Accepted, Ticket: key(r.op), HTTPStatus: sent.status, Later: w.p.verifyAfter, Ended: f.ended}
	if w.atRisk != "" {
		o.Verdict, o.Ticket, o.Later = crm.Failed, "", 0
	}
	w.settle(r, o)
	r.out.Maybe = w.atRisk != ""
}

// giveUp settles a row that stays as it was although it was sent: its answers were
// lost too often, or the CRM refuses the list that is left without the user.
func (w *work) giveUp(ctx context.Context, r *row, c change, sent finding) {
	o := crm.Outcome{
		Verdict: crm.Failed, Code: codeNoAnswer, HTTPStatus: sent.status,
		Message: "no answer says whether it was done, and a look does not show it; the last was: " + sent.text + "; running again tries again",
	}
	if why := firstRefusal(sent); why.no() {
		o.Code, o.Message = string(why.Code), "the CRM refuses the list of those who stay: "+string(why.Message)
		if names := refusedBystanders(c, sent); len(names) > 0 {
			o.Message = refusesList("because of "+recipients(names), string(why.Message))
		}
	}
	if ctx.Err() != nil {
		o.Verdict = crm.NotSent
	}
	w.settle(r, o)
}

// explain is what a row says of a write that was refused as a whole: because of whom,
// where that is somebody who is to keep the record. Of a list of nobody else, they all
// may be it.
func (c change) explain(f finding) string {
	if c.verb != verbPut || !divisible(f) {
		return f.text
	}
	at, named := result{Details: f.details, said: no}.place(-1)
	switch {
	case named && at < len(c.entries) && c.owner[at] < 0:
		return refusesList("because of "+c.entries[at].name(), f.text)
	case !named && !slices.ContainsFunc(c.owner, func(op int) bool { return op >= 0 }):
		return refusesList("and does not say because of whom ("+recipients(c.entries)+")", f.text)
	}
	return f.text
}

// refusesList says that a list was refused because of those who stay, and what would
// do it. They are not left out of it: what the CRM then does is not known.
func refusesList(because, said string) string {
	return "the CRM refuses the list of those who stay " + because + ": " + said +
		"; if they were deactivated or deleted, activate them for this run, or take the record from them with a row of their own, then run again"
}

// refusedBystanders are those whom no operation is about and whose entries the CRM
// refused.
func refusedBystanders(c change, sent finding) []entry {
	var names []entry
	for i, r := range sent.results {
		if c.owner[i] < 0 && r.no() {
			names = append(names, c.entries[i])
		}
	}
	return names
}

// firstRefusal is what the CRM said to the first entry that it refused, else to the
// first one of which it did not clearly say that it took it.
func firstRefusal(sent finding) result {
	at := slices.IndexFunc(sent.results, result.no)
	if at < 0 {
		at = slices.IndexFunc(sent.results, result.doubtful)
	}
	if at < 0 {
		return result{}
	}
	return sent.results[at]
}

// anyOwned says whether one of the entries is what an operation asked for.
func anyOwned(c change, entries map[int]bool) bool {
	for i := range entries {
		if c.owner[i] >= 0 {
			return true
		}
	}
	return false
}

// waits are the pauses between the looks that find out what has become of a write
// whose answer was not plain, as multiples of Config.VerifyAfter: a minute in all
// with its default. Such writes are rare, so that a worker may wait for them.
func waits() []time.Duration { return []time.Duration{1, 2, 4, 8, 15} }

// lostWaits is how many of the waits an answer that was lost is worth: the write
// may never have arrived.
const lostWaits = 3

// watch looks at the record until a look shows what is wanted, or the waits are
// over. A busy record is waited for, and so is a look that did not go well. It
// returns the last look.
func (w *work) watch(ctx context.Context, short bool, want func([]entry) bool) finding {
	pauses := waits()
	if short {
		pauses = pauses[:lostWaits]
	}
	for {
		f := w.look(ctx)
		if f.class == shown && want(f.list) || f.class == refused || f.class == ended {
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

// risk tells of those who stay and whose entries were refused.
func (w *work) risk(c change, sent finding, what string) {
	var names []entry
	for i, r := range sent.results {
		if c.owner[i] < 0 && !r.ok() {
			names = append(names, c.entries[i])
		}
	}
	if len(names) > 0 {
		w.atRisk = "the CRM refused to write back " + recipients(names) + " (" + string(firstRefusal(sent).Message) + "), " + what
	}
}

// tell notes what befell others, for every row that was sent.
func (w *work) tell(code, note string) {
	w.note = crm.Join(w.note, note)
	if w.noteCode == "" {
		w.noteCode = code
	}
}

func recipients(entries []entry) string {
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.name()
	}
	return strings.Join(names, ", ")
}
