//go:build fleet

package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// fleetVerdict is what the judge has counted in a world.
type fleetVerdict struct {
	rows, calls, lost, unlabelled, repeated, inDoubt, heldUp int
	most                                                     int // arrivals of one account within a window
	takeovers                                                int
	owned, called                                            time.Duration // the longest that a sheet and an account waited
	inFlight                                                 int           // calls without an answer
	connections                                              int           // the most of one process
}

func (v fleetVerdict) String() string {
	return fmt.Sprintf("%d rows, %d lost, %d sent twice without a label, %d with one, %d in doubt (and %d held up by them) of %d calls without an answer; %d calls, at most %d of an account in %v; "+
		"%d accounts and ledgers taken over, owned within %.1f s, called for within %.1f s; at most %d connections of a process",
		v.rows, v.lost, v.unlabelled, v.repeated, v.inDoubt, v.heldUp, v.inFlight, v.calls, v.most, fleetWindow, v.takeovers, v.owned.Seconds(), v.called.Seconds(), v.connections)
}

// audited is what the database's notes say.
type audited struct {
	claims []auditClaim
	beats  map[string][]time.Time // by process
	events []auditEvent
}

type auditClaim struct {
	key, subject string // the subject is an account's name, or ledger/NAME
	app          string
	free         bool
	at           time.Time
}

type auditEvent struct {
	ledger, app string
	at          time.Time
}

var accountSaid = regexp.MustCompile(`^account "(.*)"$`)

func (w *fleetWorld) audited() (a audited) {
	w.t.Helper()
	c := w.connect()
	defer c.Close(context.Background())
	ctx := w.t.Context()
	rows, err := c.Query(ctx, "SELECT key, what, app, free, at FROM audit.claim ORDER BY n")
	must(w.t, err)
	var one auditClaim
	var what string
	_, err = pgx.ForEachRow(rows, []any{&one.key, &what, &one.app, &one.free, &one.at}, func() error {
		one.subject = one.key
		if m := accountSaid.FindStringSubmatch(what); m != nil {
			one.subject = m[1]
		}
		a.claims = append(a.claims, one)
		return nil
	})
	must(w.t, err)
	a.beats = map[string][]time.Time{}
	rows, err = c.Query(ctx, "SELECT app, at FROM audit.beat ORDER BY at")
	must(w.t, err)
	var app string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&app, &at}, func() error {
		a.beats[app] = append(a.beats[app], at)
		return nil
	})
	must(w.t, err)
	rows, err = c.Query(ctx, "SELECT 'ledger/' || l.name, e.app, e.at FROM audit.event e JOIN bulkrevoke.ledger l ON l.id = e.ledger")
	must(w.t, err)
	a.events, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e auditEvent, err error) {
		err = row.Scan(&e.ledger, &e.app, &e.at)
		return e, err
	})
	must(w.t, err)
	return a
}

// holder returns who has last taken the subject at that time, and when; "" if nobody has.
func (a audited) holder(subject string, at time.Time) (last auditClaim) {
	for _, c := range a.claims {
		if c.subject == subject && !c.free && !c.at.After(at) {
			last = c
		}
	}
	return last
}

// lastBeat returns the last heartbeat of a process before a time.
func (a audited) lastBeat(app string, at time.Time) (last time.Time) {
	for _, b := range a.beats[app] {
		if b.After(at) {
			break
		}
		last = b
	}
	return last
}

// judge holds all that has happened against what is promised.
func (w *fleetWorld) judge() (v fleetVerdict) {
	w.t.Helper()
	calls, notes := w.crm.seen(), w.audited()
	v.calls = len(calls)
	for _, p := range w.processes {
		_, most := p.db.figures()
		v.connections = max(v.connections, most)
		if most > 20 {
			w.t.Errorf("%s had %d connections to the database at one time, want at most 20", p.name, most)
		}
	}
	w.judgeCalls(&v, calls, notes)
	w.judgeLedgers(notes)
	w.judgeTakeovers(&v, calls, notes)
	for _, s := range w.sheets {
		w.judgeSheet(&v, s, calls)
	}
	return v
}

// judgeCalls judges who called, when, and how often.
func (w *fleetWorld) judgeCalls(v *fleetVerdict, calls []fleetCall, notes audited) {
	arrived := map[string][]time.Time{}
	for _, c := range calls {
		arrived[c.account] = append(arrived[c.account], c.at)
		if c.answered.IsZero() {
			v.inFlight++
		}
		if c.refused {
			w.t.Errorf("a call of %s was refused by the limit", c.account)
		}
		if c.process == nil {
			w.t.Errorf("a call of %s came from nobody", c.account)
			continue
		}
		if holder := notes.holder(c.account, c.sent); holder.app != c.process.name {
			w.t.Errorf("%s has called for %s at %s, which %s had taken at %s", c.process.name, c.account, clockOf(c.sent), cmp.Or(holder.app, "nobody"), clockOf(holder.at))
		}
		if beat := notes.lastBeat(c.process.name, c.sent); c.sent.Sub(beat) > fleetLease+fleetSlack {
			w.t.Errorf("%s has called for %s %.2f s after its last heartbeat, want at most %v", c.process.name, c.account, c.sent.Sub(beat).Seconds(), fleetLease)
		}
	}
	for account, times := range arrived {
		slices.SortFunc(times, time.Time.Compare)
		first := 0
		for i, at := range times {
			for at.Sub(times[first]) >= fleetWindow {
				first++
			}
			v.most = max(v.most, i-first+1)
			if i-first+1 == fleetLimit+1 {
				w.t.Errorf("more than %d calls of %s have come within %v before %s", fleetLimit, account, fleetWindow, clockOf(at))
			}
		}
	}
}

func clockOf(at time.Time) string { return at.Local().Format("15:04:05.000") }

// judgeLedgers holds whoever has written into a ledger against who had it. A transaction that
// was under way when the ledger was taken may end after that.
func (w *fleetWorld) judgeLedgers(notes audited) {
	for _, e := range notes.events {
		if c := notes.holder(e.ledger, e.at); c.app != e.app && e.at.Sub(c.at) > 2*fleetSlack {
			w.t.Errorf("%s has written into %s at %s, which %s had taken at %s", e.app, e.ledger, clockOf(e.at), c.app, clockOf(c.at))
			return
		}
	}
}

// judgeTakeovers judges how soon others go on after processes that were killed or frozen, and
// that they wait as long as they must.
func (w *fleetWorld) judgeTakeovers(v *fleetVerdict, calls []fleetCall, notes audited) {
	for _, p := range w.processes {
		for _, end := range p.gone {
			held := map[string]auditClaim{}
			next := map[string]auditClaim{}
			for _, c := range notes.claims {
				switch {
				case c.at.Before(end) && c.app == p.name && c.free:
					delete(held, c.key)
				case c.at.Before(end) && !c.free:
					delete(held, c.key)
					if c.app == p.name {
						held[c.key] = c
					}
				case !c.at.Before(end) && held[c.key].key != "" && next[c.key].key == "" && !c.free:
					next[c.key] = c
				}
			}
			for key, c := range held {
				n := next[key]
				if n.key == "" {
					if strings.HasPrefix(key, ledgerKey) && w.ours(key) {
						w.t.Errorf("%s was never taken over from %s, which ended at %s", key, p.name, clockOf(end))
					}
					continue
				}
				v.takeovers++
				if strings.HasPrefix(key, ledgerKey) {
					took := n.at.Sub(end)
					v.owned = max(v.owned, took)
					if took > fleetOwned {
						w.t.Errorf("%s was taken over %.2f s after %s had ended at %s, want at most %v", key, took.Seconds(), p.name, clockOf(end), fleetOwned)
					}
					continue
				}
				w.judgeFirstCall(v, p, end, c.subject, n, calls, notes)
			}
		}
	}
}

const ledgerKey = "ledger/"

func (w *fleetWorld) ours(key string) bool {
	return slices.ContainsFunc(w.sheets, func(s *fleetSheet) bool { return ledgerKey+s.name == key })
}

// judgeFirstCall judges the first call of an account after a host's end. Where that who took it
// over ended too, or the account had nothing more to do, there is none to be judged.
func (w *fleetWorld) judgeFirstCall(v *fleetVerdict, p *fleetProcess, end time.Time, account string, next auditClaim, calls []fleetCall, notes audited) {
	for _, c := range calls {
		if c.account != account || c.at.Before(next.at) {
			continue
		}
		beat := notes.lastBeat(p.name, end.Add(fleetSlack))
		if quiet := c.sent.Sub(beat); quiet < fleetLease+2*fleetWindow-fleetSlack/10 {
			w.t.Errorf("the first call for %s came %.2f s after the last heartbeat of %s, want at least %v", account, quiet.Seconds(), p.name, fleetLease+2*fleetWindow)
		}
		if c.process == nil || c.process.name != next.app {
			return // who took it over had no time to call
		}
		took := c.at.Sub(end)
		v.called = max(v.called, took)
		if took > fleetCalled {
			w.t.Errorf("the first call for %s came %.2f s after %s had ended at %s, want at most %v", account, took.Seconds(), p.name, clockOf(end), fleetCalled)
		}
		return
	}
}

// judgeSheet judges a sheet's result.
func (w *fleetWorld) judgeSheet(v *fleetVerdict, s *fleetSheet, calls []fleetCall) {
	w.t.Helper()
	out := w.file(s.name + ".judged.csv")
	if p := w.run("results", "--quiet", "--ledger", s.name, "-o", out, s.path); p.code != 0 {
		w.t.Errorf("results: exit %d\n%s", p.code, p.said())
		return
	}
	results := readResults(w.t, out)
	if len(results) != len(s.rows) {
		w.t.Errorf("%s has %d results for %d rows", s.name, len(results), len(s.rows))
		return
	}
	v.rows += len(results)
	sent := map[string][]fleetCall{}
	for _, c := range calls {
		if c.target != "" && !c.refused {
			sent[c.target+" "+c.change()] = append(sent[c.target+" "+c.change()], c)
		}
	}
	last, doubted := map[string]string{}, map[string]bool{}
	for i, r := range results {
		row := s.rows[i]
		times := sent[row.target()+" "+row.action]
		last[row.target()] = row.action
		labelled := strings.Contains(r["message"], "sent again")
		where := fmt.Sprintf("%s line %s (%s of %s)", s.name, r["line"], row.action, row.account)
		switch r["result"] {
		case "done":
			if len(times) == 0 {
				v.lost++
				w.t.Errorf("%s is done and was never sent", where)
			}
		case "in_doubt":
			v.inDoubt++
			doubted[row.target()] = true
			if why := w.wrongDoubt(times); why != "" {
				w.t.Errorf("%s is in doubt, and %s: %s", where, why, r["message"])
			}
		case "not_attempted":
			if r["code"] == "held_up" && doubted[row.target()] {
				v.heldUp++
				break
			}
			fallthrough
		default:
			v.lost++
			w.t.Errorf("%s is %s (%s %s)", where, r["result"], r["code"], r["message"])
		}
		switch {
		case len(times) > 1 && !labelled:
			v.unlabelled++
			w.t.Errorf("%s was sent %d times and does not say so: %q", where, len(times), r["message"])
		case len(times) > 1:
			v.repeated++
		}
	}
	for target, action := range last {
		if is := w.crm.shared[target]; !doubted[target] && is != (action == "share") {
			w.t.Errorf("%s: %s was to be a %s at the end", s.name, target, action)
		}
	}
	w.judgeChain(s)
}

// wrongDoubt says why a row may not be in doubt whose calls these are, "" if it may.
func (w *fleetWorld) wrongDoubt(times []fleetCall) string {
	if len(times) == 0 {
		for _, p := range w.processes {
			if len(p.hurt) > 0 {
				return "" // announced and not sent
			}
		}
		return "it was never sent, and nobody was hurt"
	}
	c := times[len(times)-1]
	if c.answered.IsZero() {
		return ""
	}
	c.process.mu.Lock()
	defer c.process.mu.Unlock()
	for _, at := range c.process.hurt {
		if c.answered.After(at.Add(-answerSettled)) && c.at.Before(at.Add(fleetLease+fleetSlack)) {
			return ""
		}
	}
	return fmt.Sprintf("%s had its answer at %s", c.process.name, clockOf(c.answered))
}

// answerSettled is how soon an answer is in the ledger on a busy machine.
const answerSettled = 2 * time.Second

// judgeChain verifies that nothing is missing among the events of a sheet's ledger.
func (w *fleetWorld) judgeChain(s *fleetSheet) {
	w.t.Helper()
	ctx := w.t.Context()
	db, err := ledger.OpenDatabase(ctx, w.url, ledger.DatabaseOptions{})
	must(w.t, err)
	defer db.Close()
	led, err := db.Open(ctx, s.name, ledger.Options{ReadOnly: true})
	must(w.t, err)
	defer led.Close()
	if err := led.VerifyChain(ctx); err != nil {
		w.t.Errorf("%s: %v", s.name, err)
	}
}
