package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// twoKeys is a configuration of two accounts of one organisation, which have keys of their
// own, and %s in the second one.
const twoKeys = `
share: 1
progress: never
accounts:
  one:
    crm: leadsquared
    host: BASE
    limit: LIMIT
    access_key: env:RIG_ACCESS
    secret_key: env:RIG_SECRET
  two:
    crm: leadsquared
    host: BASE
    limit: LIMIT
    access_key: env:RIG_ACCESS_2
    secret_key: env:RIG_SECRET
`

// newTwoKeys is a rig of two such accounts that may make so many calls in a window. The CRM
// itself takes two more: a key that nobody knows comes once, whoever is at work.
func newTwoKeys(t *testing.T, limit int, window time.Duration) *rig {
	t.Helper()
	r := newRig(t, sandbox.Config{Limit: limit + 2, Window: window})
	r.env["RIG_ACCESS_2"] = "u$r-another-key"
	r.configure(strings.ReplaceAll(twoKeys, "LIMIT", fmt.Sprintf("%d/%s", limit, window)))
	return r
}

// rowsOf are n rows of an account about leads of its own.
func rowsOf(account string, from, n int) (rows []string) {
	for i := range n {
		rows = append(rows, strings.Replace(lead("revoke", from+i), "lsq,", account+",", 1))
	}
	return rows
}

// The CRM counts the calls of an organisation together, whatever keys make them. Two keys
// in one run share its limit, from their first calls on, and from run to run.
func TestTwoKeysOfOneOrganisation(t *testing.T) {
	t.Parallel()
	const limit, window = 8, 500 * time.Millisecond
	r := newTwoKeys(t, limit, window)
	for night, from := range []int{0, 100} {
		sheet := r.sheet(append(rowsOf("one", from, 20), rowsOf("two", from+50, 20)...)...)
		if night == 1 { // the second key alone, right after both, and then both
			other := r.write("other.csv", rigHead+strings.Join(rowsOf("two", 300, 10), "\n")+"\n")
			r.runs(exitDone, "run", other)
		}
		r.runs(exitDone, "run", sheet, "--summary", r.path("s.json"), "--fresh")
	}
	arrivals := r.server.Arrivals()
	if most := sandbox.MostInWindow(arrivals, window); most > limit {
		t.Errorf("%d calls came within %v, and the organisation's limit is %d", most, window, limit)
	}
	asked := 0
	for _, a := range arrivals {
		if a.Refused {
			t.Errorf("%s was refused", a.Op)
		}
		if strings.HasSuffix(a.Path, "UserByAccessKey.Get") {
			asked++
		}
	}
	if asked != 2 {
		t.Errorf("whose keys they are was asked %d times, want once for each key", asked)
	}
	folders, err := filepath.Glob(r.path("state/*/stamps"))
	must(t, err)
	if len(folders) != 1 {
		t.Errorf("the calls of one organisation are kept in %q", folders)
	}
}

// What a killed run has sent counts for another key of the organisation too.
func TestCallsOfAnotherKeyCountAfterAKill(t *testing.T) {
	t.Parallel()
	const limit, window = 4, 500 * time.Millisecond
	r := newTwoKeys(t, limit, window)
	held := r.startHeld("one")
	sheet := r.sheet(rowsOf("two", 0, 12)...)
	r.runs(exitHeld, "run", sheet) // its first call tells that it is the same organisation
	must(t, held.cmd.Process.Kill())
	<-held.ended
	r.runs(exitDone, "run", sheet)
	for _, a := range r.server.Arrivals() {
		if a.Refused {
			t.Errorf("%s was refused", a.Op)
		}
	}
}

// startHeld starts a run of an account in a process, and returns when it is at work.
func (r *rig) startHeld(account string) *process {
	r.t.Helper()
	sheet := r.write("held.csv", rigHead+strings.Join(rowsOf(account, 500, 60), "\n")+"\n")
	before := r.changes()
	p := r.start("run", sheet)
	until(r.t, "no change has arrived", func() bool { return r.changes() > before })
	return p
}

// Two runs with different keys of one organisation keep each other out.
func TestTwoKeysExcludeEachOther(t *testing.T) {
	t.Parallel()
	r := newTwoKeys(t, 20, time.Second)
	held := r.startHeld("one")
	sheet := r.sheet(rowsOf("two", 0, 3)...)
	for _, known := range []string{"a key that is not known yet", "a key whose organisation is known"} {
		got := r.runs(exitHeld, "run", sheet)
		if !strings.Contains(got.stderr, `account "two" is held by another run (process `) {
			t.Errorf("%s: it says:\n%s", known, got.stderr)
		}
		for _, change := range r.server.Requests() {
			if strings.HasPrefix(change.Entries[0].Record, "700") {
				t.Errorf("%s: a change of %s was sent", known, change.Entries[0].Record)
			}
		}
	}
	if code := held.wait(); code != exitDone {
		t.Fatalf("the first run ended with %d:\n%s", code, held.stderr.String())
	}
	r.runs(exitDone, "run", sheet)
}

// Limits that differ can not both hold for what is counted together.
func TestDifferentLimitsInOneOrganisation(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"limit: 9/1s", "share: 0.5", "daily_calls: 1000"} {
		r := newTwoKeys(t, 20, time.Second)
		text := strings.ReplaceAll(twoKeys, "LIMIT", "20/1s")
		if strings.HasPrefix(setting, "limit") {
			text = strings.TrimSuffix(text, "\n")
			at := strings.LastIndex(text, "    limit: 20/1s\n")
			text = text[:at] + text[at+len("    limit: 20/1s\n"):] + "\n"
		}
		r.configure(strings.TrimPrefix(text, "\nshare: 1") + "    " + setting + "\n")
		sheet := r.sheet(append(rowsOf("one", 0, 2), rowsOf("two", 10, 2)...)...)
		got := r.runs(exitRefused, "run", sheet)
		if !strings.Contains(got.stderr, `accounts "one" and "two" work in one organisation at`) || r.changes() != 0 {
			t.Errorf("%s: %d changes were sent, and it says:\n%s", setting, r.changes(), got.stderr)
		}
		// One of them by itself is nobody's business.
		sheet = r.sheet(rowsOf("two", 10, 2)...)
		r.runs(exitDone, "run", sheet)
	}
}

// State of before organisations had folders is taken over: the calls in it count.
func TestStateOfAKeyIsTakenOver(t *testing.T) {
	t.Parallel()
	const limit, window = 4, time.Second
	r := newTwoKeys(t, limit, window)
	sheet := r.sheet(rowsOf("one", 0, limit-1)...)
	r.runs(exitDone, "run", "--confirm", "off", sheet)
	stamps, err := filepath.Glob(r.path("state/*/stamps"))
	must(t, err)
	keys, err := filepath.Glob(r.path("state/*/preflight.json"))
	must(t, err)
	if len(stamps) != 1 || len(keys) != 1 {
		t.Fatalf("the state has %q and %q", stamps, keys)
	}
	must(t, os.Rename(stamps[0], filepath.Join(filepath.Dir(keys[0]), "stamps")))
	sheet = r.sheet(rowsOf("one", 0, 2*limit)...)
	r.runs(exitDone, "run", "--confirm", "off", sheet)
	if most := sandbox.MostInWindow(r.server.Arrivals(), window); most > limit {
		t.Errorf("%d calls came within %v, and the limit is %d", most, window, limit)
	}
	if left, err := filepath.Glob(r.path("state/*/stamps")); err != nil || len(left) != 1 || filepath.Dir(left[0]) == filepath.Dir(keys[0]) {
		t.Errorf("the calls are kept in %q, %v", left, err)
	}
}
