package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// Killed between sending and the answer: a LeadSquared revoke is sent again and
// says so; a Zoho or group change is looked up first; a share is in doubt, and
// repeated only when that is asked for. No more rows are in doubt than calls were in
// flight.
func TestKilledBetweenSendingAndTheAnswer(t *testing.T) {
	t.Parallel()
	for _, processed := range []bool{true, false} {
		t.Run(fmt.Sprintf("processed %t", processed), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			r.seedGroup(1, 1, 2)
			r.seedQuote(1, 1, 2)
			r.seedQuote(2, 1)
			rows := []string{
				lead("revoke", 1), lead("share", 2), fmt.Sprintf("lsq,share,opportunity,%s,,%s,write", guidOf('a', 3), guidOf('b', 3)),
				member("revoke", 1, 1), quote("revoke", 1, 1), quote("share", 2, 9),
			}
			path := r.sheet(rows...)
			for _, op := range []string{"EntityAccess.Revoke", "EntityAccess.Share", "UserGroup.RemoveUsers", "Zoho.Share.Put", "Zoho.Share.Post"} {
				r.server.Fault(sandbox.Fault{Op: op, Kind: sandbox.FaultHang, Processed: processed})
			}
			p := r.start("run", path)
			until(t, "not every call is in flight", func() bool { return r.changes() == len(rows) })
			must(t, p.cmd.Process.Kill())
			p.wait()
			r.server.ClearFaults()
			r.runs(exitDone, "results", path)
			if words, sent := strings.Join(r.words("result"), " "), strings.Join(r.words("attempts"), " "); words != strings.TrimSpace(strings.Repeat("in_doubt ", 6)) || sent != "1 1 1 1 1 1" {
				t.Errorf("after the kill the rows are %s, sent %s times; each was sent once, and no answer is known", words, sent)
			}
			before := len(r.server.Arrivals())
			r.runs(exitOpen, "run", path)

			sent := map[string]int{}
			for _, a := range r.server.Arrivals()[before:] {
				sent[a.Op]++
			}
			again := map[bool]int{true: 0, false: 1}[processed]
			for op, want := range map[string]int{
				"EntityAccess.Revoke": 1, "EntityAccess.Share": 0,
				"UserGroup.RemoveUsers": again, "Zoho.Share.Put": again, "Zoho.Share.Post": again,
			} {
				if sent[op] != want {
					t.Errorf("%s was sent %d times by the second run, want %d", op, sent[op], want)
				}
			}
			if sent["UserGroup.RetrieveUsers"] == 0 || sent["Zoho.Share.Get"] < 2 {
				t.Errorf("the second run looked at too little: %v", sent)
			}
			if got := strings.Join(r.words("result"), " "); got != "done in_doubt in_doubt done done done" {
				t.Errorf("results %s", got)
			}
			if got, want := strings.Join(r.words("attempts"), " "), fmt.Sprintf("2 1 1 %d %[1]d %[1]d", 1+again); got != want {
				t.Errorf("attempts %s, want %s", got, want)
			}
			if message := r.words("message")[0]; !strings.Contains(message, "sent again after a lost answer") {
				t.Errorf("the repeated revoke says %q", message)
			}
			r.afterDoubt(path)
		})
	}
}

// afterDoubt runs a sheet with two shares in doubt on to its end.
func (r *rig) afterDoubt(path string) {
	r.t.Helper()
	sent := r.changes()
	r.runs(exitOpen, "run", path)
	if n := r.changes(); n != sent {
		r.t.Errorf("%d changes in doubt were sent without --redo-in-doubt", n-sent)
	}
	r.runs(exitDone, "run", "--redo-in-doubt", path)
	if n := r.changes() - sent; n != 2 {
		r.t.Errorf("%d changes were sent with --redo-in-doubt, want 2", n)
	}
	for _, at := range []int{1, 2} {
		if message := r.words("message")[at]; !strings.Contains(message, "sent again after a lost answer") {
			r.t.Errorf("the repeated share says %q", message)
		}
	}
}

// step is a sheet of an edited one, and how many changes it makes.
type step struct {
	rows []string
	sent int
	code int
}

// Sheets edited between runs: what is done already is decided by the rule of the
// ledger, whatever was done to the lines.
func TestSheetsEditedBetweenRuns(t *testing.T) {
	t.Parallel()
	revoke := func(n int) string { return lead("revoke", n) }
	share := func(n int) string { return lead("share", n) }
	read := func(n int) string { return strings.TrimSuffix(share(n), "write") + "read" }
	named := func(address string) string { return strings.Replace(revoke(1), guidOf('u', 1), address, 1) }
	for name, steps := range map[string][]step{
		"the same":               {{leads(3), 3, 0}, {leads(3), 0, 0}},
		"rows inserted":          {{[]string{revoke(1), revoke(2)}, 2, 0}, {[]string{revoke(1), revoke(3), revoke(2)}, 1, 0}},
		"rows deleted":           {{leads(3), 3, 0}, {[]string{revoke(0), revoke(2)}, 0, 0}},
		"deleted and back":       {{leads(3), 3, 0}, {leads(1), 0, 0}, {leads(3), 0, 0}},
		"sorted":                 {{leads(3), 3, 0}, {[]string{revoke(2), revoke(0), revoke(1)}, 0, 0}},
		"rows appended":          {{leads(2), 2, 0}, {leads(4), 2, 0}},
		"an equal row appended":  {{leads(1), 1, 0}, {append(leads(1), leads(1)...), 1, 0}, {append(leads(1), leads(1)...), 0, 0}},
		"other permission":       {{[]string{share(1)}, 1, 0}, {[]string{read(1)}, 1, 0}, {[]string{read(1)}, 0, 0}},
		"other e-mail":           {{[]string{named("u1@rig.example")}, 1, 0}, {[]string{named("u2@rig.example")}, 1, 0}},
		"an id for its e-mail":   {{[]string{named("u1@rig.example")}, 1, 0}, {[]string{revoke(1)}, 0, 0}},
		"three nights":           {{[]string{revoke(1)}, 1, 0}, {[]string{revoke(1), share(1)}, 1, 0}, {[]string{revoke(1), share(1), revoke(1)}, 1, 0}},
		"replaced by the other":  {{[]string{revoke(1)}, 1, 0}, {[]string{share(1)}, 1, 0}, {[]string{revoke(1)}, 1, 0}},
		"failed, then a share":   {{[]string{revoke(13)}, 1, 1}, {[]string{revoke(13), share(13)}, 2, 0}},
		"swapped on one target":  {{[]string{revoke(1), share(1)}, 2, 0}, {[]string{share(1), revoke(1)}, 1, 0}},
		"failed, then taken out": {{[]string{revoke(13), revoke(2)}, 2, 1}, {[]string{revoke(2)}, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			r.seedGroup(1, 1, 2)
			r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: `"7013"`, Kind: sandbox.FaultException, Type: "MXNoException", Text: "no", Times: 1})
			for n, s := range steps {
				before := r.changes()
				r.runs(s.code, "run", r.sheet(s.rows...))
				if sent := r.changes() - before; sent != s.sent {
					t.Errorf("night %d sent %d changes, want %d", n+1, sent, s.sent)
				}
				results := r.results("off.results.csv")
				if len(results) != len(s.rows) {
					t.Fatalf("night %d has %d results for %d rows", n+1, len(results), len(s.rows))
				}
				for i, row := range results {
					if row["line"] != fmt.Sprint(i+2) || !strings.Contains(s.rows[i], row["record_id"]) || s.code == 0 && row["result"] != "done" {
						t.Errorf("night %d, line %s: record %s is %s", n+1, row["line"], row["record_id"], row["result"])
					}
				}
			}
		})
	}
}

// The limit holds over a kill and a restart, over two sheets one after the other, and
// over a new name for the account.
func TestLimitOverRestartsSheetsAndNames(t *testing.T) {
	t.Parallel()
	const limit, window = 10, 500 * time.Millisecond
	r := newRig(t, sandbox.Config{Limit: limit, Window: window})
	config := strings.ReplaceAll(rigConfig, "limit: 1000/1s", fmt.Sprintf("limit: %d/%v", limit, window))
	r.configure(config)
	rows := func(from int) string {
		var b strings.Builder
		b.WriteString(rigHead)
		for i := range 12 {
			b.WriteString(lead("revoke", from+i) + "\n")
		}
		return b.String()
	}
	first, second := r.write("first.csv", rows(0)), r.write("second.csv", rows(100))
	p := r.start("run", first)
	until(t, "nothing was sent", func() bool { return r.changes() >= 5 })
	must(t, p.cmd.Process.Kill())
	p.wait()
	r.runs(exitDone, "run", first)
	r.runs(exitDone, "run", second)
	r.configure(strings.ReplaceAll(config, "lsq", "renamed"))
	third := r.write("third.csv", strings.ReplaceAll(rows(200), "lsq", "renamed"))
	r.runs(exitDone, "run", third)
	if n := sandbox.MostInWindow(r.server.Arrivals(), window); n > limit {
		t.Errorf("%d calls arrived within %v, want at most %d", n, window, limit)
	}
	for _, a := range r.server.Arrivals() {
		if a.Refused {
			t.Errorf("%s was refused by the rate limit", a.Op)
		}
	}
}

// A second run on the same ledger or account ends within a second, names the
// holder and sends nothing; --wait waits for it.
func TestSecondRunIsHeldOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: `"7001"`, Kind: sandbox.FaultHang, Processed: true})
	begun := time.Now()
	r.runs(exitDone, "run", r.write("first.csv", rigHead+lead("revoke", 3)+"\n"))
	whole := time.Since(begun)
	held := r.write("held.csv", rigHead+lead("revoke", 1)+"\n")
	p := r.start("run", held)
	until(t, "the run sends nothing", func() bool { return r.changes() == 2 })
	for what, args := range map[string][]string{
		"ledger " + r.path("held.ledger.db"): {"run", held},
		`account "lsq"`:                      {"run", r.sheet(lead("revoke", 2))},
	} {
		var got ran
		took := time.Hour
		for range 3 {
			begun := time.Now()
			got = r.runs(exitHeld, args...)
			took = min(took, time.Since(begun))
		}
		if took > 2*whole { // which is far less than a second where nothing else is done
			t.Errorf("took %v to see that %s is held, and a whole run %v", took, what, whole)
		}
		want := fmt.Sprintf("error: %s is held by another run (process %d on ", what, p.cmd.Process.Pid)
		if !strings.Contains(got.stderr, want) || !strings.Contains(got.stderr, "held.csv") {
			t.Errorf("the refusal says:\n%s", got.stderr)
		}
	}
	if r.changes() != 2 {
		t.Errorf("%d changes were sent, want those of the first two runs", r.changes())
	}
	waiting := make(chan ran)
	go func() { waiting <- r.run("run", "--wait", "1m", r.path("off.csv")) }()
	select {
	case got := <-waiting:
		t.Fatalf("--wait did not wait:\n%s", got.stderr)
	case <-time.After(500 * time.Millisecond):
	}
	must(t, p.cmd.Process.Kill()) // a killed holder blocks nobody
	p.wait()
	if got := <-waiting; got.code != exitDone {
		t.Errorf("the run that waited ended with %d:\n%s", got.code, got.stderr)
	}
}

// A damaged or foreign ledger is refused before anything is sent, and stays as it
// is.
func TestDamagedOrForeignLedgerIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedQuote(1, 1, 2)
	path := r.sheet(append(leads(200), quote("revoke", 1, 1))...)
	r.runs(exitDone, "run", path)
	good, err := os.ReadFile(r.path("off.ledger.db"))
	must(t, err)
	sent := r.changes()
	cut := good[:len(good)/2]
	noise := slices.Clone(good)
	for i := len(noise) / 3; i < len(noise)/3+8192; i++ {
		noise[i] ^= 0xa5
	}
	head := slices.Clone(good)
	copy(head[20:], "damaged")
	for name, data := range map[string][]byte{"cut in half": cut, "noise inside": noise, "noise in its head": head, "text": []byte("my notes\n"), "empty": {}} {
		must(t, os.WriteFile(r.path("off.ledger.db"), data, 0o600))
		got := r.run("run", path)
		if got.code != exitRefused {
			t.Errorf("%s: ended with %d, want %d:\n%s", name, got.code, exitRefused, got.stderr)
		}
		if now, err := os.ReadFile(r.path("off.ledger.db")); err != nil || string(now) != string(data) {
			t.Errorf("%s: the file was changed (%v)", name, err)
		}
	}
	must(t, os.WriteFile(r.path("off.ledger.db"), good, 0o600))
	// The same names at another place.
	r.configure(strings.ReplaceAll(rigConfig, "BASE", strings.Replace(r.base, "127.0.0.1", "localhost", 1)))
	if got := r.runs(exitRefused, "run", path); !strings.Contains(got.stderr, "--fresh") {
		t.Errorf("another host: the refusal says:\n%s", got.stderr)
	}
	if n := r.changes() - sent; n != 0 {
		t.Errorf("%d changes were sent", n)
	}
	r.configure(rigConfig)
	r.runs(exitDone, "run", path)
}

// checkLedger holds a ledger to being whole: it opens, and its chain of events is
// unbroken. It returns how many changes it announces.
func (r *rig) checkLedger(name string) (intents int) {
	r.t.Helper()
	led, err := ledger.Open(r.path(name), ledger.Options{ReadOnly: true})
	must(r.t, err)
	must(r.t, led.VerifyChain(r.t.Context()))
	for event, err := range led.Events(r.t.Context(), 0) {
		must(r.t, err)
		if event.Kind == "intent" {
			intents++
		}
	}
	must(r.t, led.Close())
	return intents
}

// Other keys at the same host may be those of another organisation: the CRM says
// so, and the ledger is refused.
func TestLedgerOfAnotherOrganisationIsRefused(t *testing.T) {
	t.Parallel()
	other, err := sandbox.New(sandbox.Config{Limit: -1, Org: "222"})
	must(t, err)
	var moved atomic.Bool
	r := newRig(t, sandbox.Config{}, func(first http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if moved.Load() {
				other.ServeHTTP(w, req)
				return
			}
			first.ServeHTTP(w, req)
		})
	})
	path := r.sheet(leads(1)...)
	r.runs(exitDone, "run", path)
	r.sheet(leads(2)...)
	moved.Store(true)
	r.env["RIG_ACCESS"] = "u$r-another-key"
	if got := r.runs(exitRefused, "run", path); !strings.Contains(got.stderr, "222") {
		t.Errorf("the refusal does not name the organisation:\n%s", got.stderr)
	}
	for _, a := range other.Arrivals() {
		if changes(a) {
			t.Errorf("%s was sent", a.Op)
		}
	}
}
