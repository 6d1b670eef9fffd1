package main

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// nightPlan is how a night goes.
type nightPlan struct {
	name     string
	flags    []string
	faults   []sandbox.Fault
	stop     time.Duration // after which the run is stopped; 0 for never
	down     bool          // nothing answers for a while
	second   bool          // somebody starts the same at the same time
	asResult bool          // the result of the night before is the sheet
	quiet    bool
}

// disturb draws what is in the way of a night.
func (w *nightWorld) disturb() nightPlan {
	d := w.dice
	bound := []string{"--max-duration", pick(d, "2s", "3s", "4s")}
	stop := time.Duration(1+d.IntN(1200)) * time.Millisecond
	kind := pick(d, "calm", "faults", "faults", "faults", "stop", "stop", "both", "both", "entries", "entries",
		"meddling", "outage", "short", "guard", "second", "free", "result", "fresh", "void", "void")
	if w.processes && d.one(2) {
		kind = pick(d, "stop", "both")
	}
	switch kind {
	case "faults":
		return nightPlan{name: "faults", faults: w.faults(), flags: bound}
	case "stop":
		return nightPlan{name: "a stop", stop: stop}
	case "both":
		return nightPlan{name: "faults and a stop", faults: w.faults(), stop: stop, flags: bound}
	case "entries":
		p := nightPlan{name: "entries that fail", faults: w.entryFaults()}
		switch d.IntN(4) {
		case 0:
			p.stop = stop
		case 1:
			p.flags = bound
		}
		return p
	case "void":
		return nightPlan{name: "accepted, and no more", flags: bound, faults: []sandbox.Fault{
			{Op: pick(d, "Zoho.Share.Put", "Zoho.Share.Post", "Zoho.Share.Delete"), Kind: sandbox.FaultProcessFailed, Times: 3},
			{Op: pick(d, "EntityAccess.Revoke", "EntityAccess.Share", "UserGroup.AddUsers", "UserGroup.RemoveUsers"), Kind: sandbox.FaultProcessFailed, Times: 2},
		}}
	case "meddling":
		p := nightPlan{name: "somebody between look and change"}
		for range 2 {
			record, body, at := w.meddling()
			p.faults = append(p.faults, sandbox.Fault{Op: "Zoho.Share.Get", Match: record, Kind: sandbox.FaultMeddle, Body: body, Times: 1, After: d.IntN(2)})
			w.touch(at, time.Now().Add(time.Minute)) // at any time of the night
		}
		return p
	case "outage":
		return nightPlan{name: "an outage", down: true, stop: stop, flags: bound}
	case "short":
		return nightPlan{name: "a short night", flags: []string{"--max-duration", pick(d, "100ms", "300ms", "700ms")}}
	case "guard":
		return nightPlan{name: "the guard", flags: append(bound, "--stop-after-failures", "1"), faults: []sandbox.Fault{
			{Op: pick(d, "EntityAccess.Revoke", "UserGroup.RemoveUsers", "EntityAccess.Share"), Kind: sandbox.FaultException, Type: "MXNoException", Text: "no", Times: 2},
		}}
	case "second":
		return nightPlan{name: "two at once", second: true}
	case "free":
		// Left out: another sheet while what this one had accepted is not in force yet. It
		// changes the record from a list that is not true any more:
		// `revoke a` with --confirm off; at once another sheet about the record; a has it.
		return nightPlan{name: "--confirm off", flags: []string{"--confirm", "off"}}
	case "result":
		return nightPlan{name: "the result as the sheet", asResult: true}
	case "fresh":
		return nightPlan{name: "--fresh", flags: []string{"--fresh"}}
	}
	return nightPlan{name: "nothing in the way", quiet: true}
}

// nightOps are the calls that may meet a fault.
var nightOps = []string{
	"EntityAccess.Share", "EntityAccess.Revoke", "EntityAccess.Status", "Users.Get", "Authentication", "UserGroup.RetrieveUsers",
	"UserGroup.AddUsers", "UserGroup.RemoveUsers", "Zoho.Token", "Zoho.Share.Get", "Zoho.Share.Post", "Zoho.Share.Put",
	"Zoho.Share.Delete", "Zoho.Users", "Zoho.Org", "*",
}

// faults draws faults that break calls and answers, but no single entries.
func (w *nightWorld) faults() (list []sandbox.Fault) {
	d := w.dice
	for range 1 + d.IntN(6) {
		f := sandbox.Fault{Op: pick(d, nightOps...), Times: 1 + d.IntN(3), After: d.IntN(8), Processed: d.one(2)}
		f.Kind = pick(d, sandbox.FaultThrottle, sandbox.FaultThrottle, sandbox.FaultEmpty500, sandbox.FaultVerbatim, sandbox.FaultException,
			sandbox.FaultResetBefore, sandbox.FaultResetAfter, sandbox.FaultSlow, sandbox.FaultTruncate, sandbox.FaultHTML,
			sandbox.FaultEmptyObject, sandbox.FaultNoID, sandbox.FaultTrickle, sandbox.FaultNeverProcess, sandbox.FaultProcessFailed, sandbox.FaultUnlisted)
		switch f.Kind {
		case sandbox.FaultThrottle:
			f.Processed = false
			if after := pick(d, "", "", "0", "1", "soon"); after != "" {
				f.Header = map[string]string{"Retry-After": after}
			}
		case sandbox.FaultVerbatim:
			f.Status, f.Body = pick(d, 502, 503, 504), "<html>bad gateway</html>"
		case sandbox.FaultSlow, sandbox.FaultTrickle:
			f.Delay = time.Duration(1+d.IntN(300)) * time.Millisecond
			if f.Kind == sandbox.FaultTrickle {
				f.Delay /= 100
			}
		case sandbox.FaultException:
			f.Processed = false // who refuses in so many words has not done it
		case sandbox.FaultProcessFailed:
			f.Op = pick(d, "EntityAccess.Share", "EntityAccess.Revoke", "UserGroup.AddUsers", "Zoho.Share.Put", "Zoho.Share.Post")
		case sandbox.FaultNeverProcess:
			// A Zoho record would be busy for ever.
			f.Op, f.Times = pick(d, "EntityAccess.Share", "EntityAccess.Revoke", "UserGroup.AddUsers", "UserGroup.RemoveUsers"), 1
		}
		list = append(list, f)
	}
	return list
}

// entryFaults draws faults of single entries of a change.
func (w *nightWorld) entryFaults() (list []sandbox.Fault) {
	d := w.dice
	for range 1 + d.IntN(3) {
		f := sandbox.Fault{Op: "Zoho.Share.Put", Kind: pick(d, sandbox.FaultRefuseEntry, sandbox.FaultDropEntry), Match: nightUser(d.IntN(nightUsers)), Times: 1, After: d.IntN(3)}
		if f.Kind == sandbox.FaultDropEntry && w.main.gives(f.Match) {
			// Left out: dropping somebody whose own row had nothing to change. A look before
			// the change is all that the row goes by, and nobody counts them as a bystander:
			// b has write; `revoke a; share b write`; the PUT that takes a drops b.
			continue
		}
		if f.Kind == sandbox.FaultDropEntry && slices.Contains(slices.Collect(maps.Values(w.flavour)), "gone") {
			// Left out: dropping one while another is refused. The row then names only whom the
			// answer named: b is not active any more; `revoke a`; the PUT refuses b, drops c.
			continue
		}
		if f.Kind == sandbox.FaultRefuseEntry && d.one(3) {
			f.Op = "Zoho.Share.Post"
		}
		list = append(list, f)
	}
	return list
}

// begin remembers how things are before a run.
func (w *nightWorld) begin() {
	w.count.nights++
	w.state = w.standing()
	w.asked = len(w.server.Requests())
	jobs, lists := w.readJournal()
	w.jobs, w.lists = len(jobs), len(lists)
}

// attribute notes that what has arrived since the last time was sent by the sheet of
// a ledger.
func (w *nightWorld) attribute(ledger string) {
	for range w.server.Requests()[len(w.senders):] {
		w.senders = append(w.senders, ledger)
	}
}

// night runs a sheet once and checks what it has left.
func (w *nightWorld) night(s *nightSheet, p nightPlan) *night {
	t := w.t
	t.Helper()
	w.begin()
	path := s.path
	if _, err := os.Stat(s.result); p.asResult && err == nil {
		path = s.result
	}
	text, err := os.ReadFile(path)
	must(t, err)
	_, asked := readTable(t, text)
	w.count.rows += len(asked)
	if slices.Contains(p.flags, "--fresh") {
		s.since, s.known = w.asked, nil
	}
	s.imported = append(s.imported, text)
	s.known = append(s.known, asked)
	n := &night{w: w, sheet: s, asked: asked, begun: time.Now(), quiet: p.quiet, free: slices.Contains(p.flags, "off")}
	for _, f := range p.faults {
		w.server.Fault(f)
	}
	args := slices.Concat([]string{"run", path, "--confirm-timeout", "1s"}, s.flags, p.flags)
	got, also := w.carryOut(p, args)
	w.server.ClearFaults()
	w.wire.down.Store(false)
	w.calm()
	w.tell("night %d, %s: %d rows, %v, exit %d", w.count.nights, p.name, len(asked), args[1:], got.code)
	for _, f := range p.faults {
		w.tell("  fault %s %s %s, %d times after %d, processed %t", f.Op, f.Kind, f.Match, f.Times, f.After, f.Processed)
	}
	for p := range w.touched {
		for i, touch := range w.touched[p] {
			if touch.at.After(time.Now()) {
				w.touched[p][i].at = time.Now()
			}
		}
	}
	n.code, n.now = got.code, w.standing()
	n.alarm = strings.Contains(got.stderr, "took access from a bystander")
	w.attribute(s.ledger)
	n.checkEnd(p, got, also)
	n.check()
	w.leaks(got)
	n.touchAll()
	s.whole = n.finished
	s.alarmed = slices.ContainsFunc(n.results, func(r readRow) bool { return r.cell["code"] == "stayer_lost" })
	if w.t.Failed() {
		for _, r := range n.results {
			w.tell("  %q", r.fields)
		}
	}
	return n
}

// checkEnd looks at how the runs have ended, and whether the result is of tonight.
func (n *night) checkEnd(p nightPlan, got ran, also []ran) {
	n.w.t.Helper()
	stopped := p.stop > 0
	bounded := slices.Contains(p.flags, "--max-duration")
	switch got.code {
	case 0, 1:
		n.finished = n.readResult(false)
	case 3:
		if !bounded && len(p.faults) == 0 && !p.down {
			n.problem("exit 3, and nothing has stopped it:\n%s", got.stderr)
		}
		n.finished = n.readResult(true)
	case 130, 143:
		if !stopped {
			n.problem("exit %d, and nobody has stopped it", got.code)
		}
		n.readResult(true)
	case 4:
		if !p.second {
			n.problem("exit 4, and nobody else is there:\n%s", got.stderr)
		}
	case -1:
		if !stopped {
			n.problem("the process was killed by nobody of ours:\n%s", got.stderr)
		}
		n.w.count.kills++
		n.afterKill()
	default:
		n.problem("exit %d:\n%s", got.code, got.stderr)
	}
	for _, other := range also {
		if other.code != 4 {
			n.finished = false // two have run, one after the other; the result is of the later one
		}
	}
	if slices.Contains([]int{130, 143, 3}, got.code) {
		n.w.count.stops++
	}
}

// afterKill writes the result of what a killed run has left, if it has come so far
// as to leave something.
func (n *night) afterKill() {
	n.w.t.Helper()
	got := n.w.run(append([]string{"results", n.sheet.path}, n.sheet.flags...)...)
	if got.code == 0 || got.code == 1 {
		n.readResult(true)
	}
}

// carryOut runs the command, in the way that the plan says.
func (w *nightWorld) carryOut(p nightPlan, args []string) (got ran, also []ran) {
	w.t.Helper()
	if p.down {
		after := time.Duration(w.dice.IntN(400)) * time.Millisecond
		timer := time.AfterFunc(after, func() { w.wire.down.Store(true) })
		defer timer.Stop()
		up := time.AfterFunc(after+time.Duration(w.dice.IntN(1500))*time.Millisecond, func() { w.wire.down.Store(false) })
		defer up.Stop()
	}
	hand := pick[os.Signal](w.dice, os.Kill, os.Kill, syscall.SIGTERM, os.Interrupt)
	var wg sync.WaitGroup
	if p.second {
		also = make([]ran, 1)
		after := time.Duration(w.dice.IntN(300)) * time.Millisecond
		wg.Go(func() {
			time.Sleep(after)
			also[0] = w.launch(0, nil, args)
		})
	}
	got = w.launch(p.stop, hand, args)
	wg.Wait()
	return got, also
}

// launch runs the command once, and stops it after a time if that is not 0.
func (w *nightWorld) launch(stop time.Duration, hand os.Signal, args []string) ran {
	w.t.Helper()
	if w.processes {
		p := w.start(args...)
		if stop > 0 {
			timer := time.AfterFunc(stop, func() { _ = p.cmd.Process.Signal(hand) })
			defer timer.Stop()
		}
		return ran{code: p.wait(), stderr: p.stderr.String()}
	}
	ctx, cancel := context.WithCancelCause(w.t.Context())
	defer cancel(nil)
	if stop > 0 {
		if hand == os.Kill {
			hand = syscall.SIGTERM
		}
		timer := time.AfterFunc(stop, func() { cancel(&signalError{hand}) })
		defer timer.Stop()
	}
	return w.runUnder(ctx, args...)
}

// touchAll notes what the sheet has changed, for the sheets of other ledgers.
func (n *night) touchAll() {
	places := maps.Clone(n.w.state)
	maps.Copy(places, n.now)
	for p := range places {
		if n.w.state[p] != n.now[p] {
			n.w.touched[p] = append(n.w.touched[p], touch{time.Now(), n.sheet.ledger})
		}
	}
}

// leaks looks for secrets in all that a run has said and left.
func (w *nightWorld) leaks(got ran) {
	w.t.Helper()
	texts := map[string]string{"standard output": got.stdout, "standard error": got.stderr}
	for _, s := range []*nightSheet{w.main, w.other} {
		for _, path := range []string{s.result, s.ledger, s.ledger + "-wal"} {
			if data, err := os.ReadFile(path); err == nil {
				texts[path] = string(data)
			}
		}
	}
	for where, text := range texts {
		for _, secret := range []string{"RIG_ACCESS", "RIG_SECRET", "RIG_CLIENT_SECRET", "RIG_REFRESH"} {
			if strings.Contains(text, w.env[secret]) {
				w.t.Errorf("night %d: %s holds %s", w.count.nights, where, secret)
			}
		}
	}
}

// stuck says that the CRM has accepted what a row asks for and does not say that it
// is done.
func (w *nightWorld) stuck(r readRow) bool {
	for _, req := range w.server.Requests() {
		if req.ID == r.cell["request_id"] {
			return req.Status != 6
		}
	}
	return r.cell["object"] == crm.SalesGroup
}
