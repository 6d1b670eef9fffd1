package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// digest returns the digest that plan shows.
func (r *rig) digest(args ...string) string {
	r.t.Helper()
	got := r.runs(exitDone, append([]string{"plan"}, args...)...)
	_, digest, ok := strings.Cut(got.stdout, "\ndigest ")
	if !ok {
		r.t.Fatalf("the plan shows no digest:\n%s", got.stdout)
	}
	return strings.TrimSpace(digest)
}

// --max-rows counts the rows that are to be sent, not those that are done.
func TestMaxRows(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(leads(3)...)
	got := r.runs(exitRefused, "run", "--max-rows", "2", path)
	if !strings.Contains(got.stderr, "3 rows to send, and --max-rows allows 2") {
		t.Errorf("the refusal says:\n%s", got.stderr)
	}
	r.only("off.csv")
	if n := r.changes(); n != 0 {
		t.Errorf("%d changes were sent", n)
	}
	if got := r.runs(exitRefused, "plan", "--max-rows", "2", path); !strings.Contains(got.stdout, "3 rows, 3 to send") {
		t.Errorf("the plan is not shown:\n%s", got.stdout)
	}
	r.runs(exitDone, "run", "--max-rows", "3", path)
	r.sheet(leads(5)...)
	r.runs(exitDone, "run", "--max-rows", "2", path)
	if n := r.changes(); n != 5 {
		t.Errorf("%d changes were sent, want 5", n)
	}
}

// --approve covers every row, done or not, so that an approved run can be resumed;
// any other row, order, account, host or user has another digest.
func TestApprove(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedQuote(1, 1, 2)
	rows := append(leads(3), quote("revoke", 1, 1))
	path := r.sheet(rows...)
	digest := r.digest(path)
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: "7001", Kind: sandbox.FaultException, Type: "MXBusyException", Text: "no", Times: 1})
	r.runs(exitOpen, "run", "--approve", digest, path)
	if r.count("done") != 3 || r.count("failed") != 1 {
		t.Fatalf("results %v, want one failed", r.words("result"))
	}
	if now := r.digest(path); now != digest {
		t.Errorf("the digest has become %s after a run, want %s", now, digest)
	}
	r.runs(exitDone, "run", "--approve", strings.ToUpper(digest), path)
	sent := r.changes()

	shareInstead := slices.Clone(rows)
	shareInstead[0] = lead("share", 0)
	sorted := slices.Clone(rows)
	slices.Reverse(sorted)
	for name, other := range map[string][]string{
		"a row more": append(slices.Clone(rows), lead("revoke", 9)), "a row less": rows[:3], "another action": shareInstead, "another order": sorted,
	} {
		r.sheet(other...)
		if got := r.runs(exitRefused, "run", "--approve", digest, path); !strings.Contains(got.stderr, "not the one that --approve names") {
			t.Errorf("%s: the refusal says:\n%s", name, got.stderr)
		}
	}
	r.sheet(rows...)
	for name, config := range map[string]string{
		"another account": strings.ReplaceAll(rigConfig, "lsq", "other"), "another host": strings.ReplaceAll(rigConfig, "BASE", strings.Replace(r.base, "127.0.0.1", "localhost", 1)),
	} {
		r.configure(config)
		r.write("off.csv", strings.ReplaceAll(rigHead+strings.Join(rows, "\n")+"\n", "lsq", map[bool]string{true: "other", false: "lsq"}[name == "another account"]))
		r.runs(exitRefused, "run", "--approve", digest, "-o", r.path("o.csv"), "--ledger", r.path("o.ledger.db"), path)
	}
	if n := r.changes(); n != sent {
		t.Errorf("%d changes were sent without approval", n-sent)
	}
	r.only("off.csv", "off.results.csv", "off.ledger.db")
}

// A beginning of a digest approves nothing, and neither does an account that could
// not be asked: that one is for another run.
func TestApproveNeedsTheWholePlan(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.server.AddUser(crm.User{ID: guidOf('u', 0), Email: "leaver@rig.example", Active: true}, "Sales_User")
	path := r.sheet(strings.Replace(lead("revoke", 0), guidOf('u', 0), "leaver@rig.example", 1))
	digest := r.digest(path)
	r.runs(exitRefused, "run", "--approve", digest[:12], path)
	r.server.Fault(sandbox.Fault{Op: "Users.Get", Kind: sandbox.FaultVerbatim, Status: http.StatusUnauthorized, Body: "{}"})
	if got := r.runs(exitStopped, "run", "--approve", digest, path); !strings.Contains(got.stderr, "can not be held against --approve") {
		t.Errorf("the refusal says:\n%s", got.stderr)
	}
	r.only("off.csv")
	r.server.ClearFaults()
	r.runs(exitDone, "run", "--approve", digest, path)
}

// --max-duration stops cleanly: what is open is finished, the rest not attempted. How
// long a run takes to its first change is the machine's business: the bound is doubled
// until the run gets there before it.
func TestMaxDuration(t *testing.T) {
	t.Parallel()
	for limit := time.Second; ; limit *= 2 {
		r := newRig(t, sandbox.Config{})
		r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultSlow, Delay: limit * 3 / 2})
		path := r.sheet(leads(6)...)
		got := r.runs(exitStopped, "run", "--workers", "2", "--max-duration", limit.String(), path)
		if r.changes() == 0 && limit < time.Minute {
			continue
		}
		if want := "stopped: the run took the " + limit.String() + " of --max-duration"; !strings.Contains(got.stderr, want) {
			t.Errorf("the summary does not say %q:\n%s", want, got.stderr)
		}
		if r.count("accepted")+r.count("done") != 2 || r.count("not_attempted") != 4 || r.changes() != 2 {
			t.Errorf("results %v after %d changes, want the two open calls finished", r.words("result"), r.changes())
		}
		r.server.ClearFaults()
		r.runs(exitDone, "run", "--max-duration", "1h", path)
		if r.changes() != 6 {
			t.Errorf("%d changes were sent, want 6", r.changes())
		}
		return
	}
}

// --max-duration ends a wait for a lock too, and nothing is left behind.
func TestMaxDurationEndsAWait(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(leads(1)...)
	held, err := acquireLock(t.Context(), lockOptions{what: "ledger", path: r.path("off.ledger.db.lock"), remove: true, holder: me("x")})
	must(t, err)
	r.runs(exitStopped, "run", "--wait", "1h", "--max-duration", "300ms", path)
	must(t, held.release())
	r.only("off.csv")
}

// daily_calls stops the account over runs: exit 3, the rest not attempted, and
// other accounts go on.
func TestDailyCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.configure(strings.Replace(rigConfig, "    crm: leadsquared\n", "    crm: leadsquared\n    daily_calls: 8\n", 1))
	r.seedQuote(1, 1, 2)
	path := r.sheet(append(leads(12), quote("revoke", 1, 1))...)
	for n := range 2 {
		got := r.runs(exitStopped, "run", path)
		if !strings.Contains(got.stderr, "account lsq ended: quota: ") {
			t.Errorf("run %d: the summary says:\n%s", n+1, got.stderr)
		}
	}
	calls := 0
	for _, a := range r.server.Arrivals() {
		if !strings.HasPrefix(a.Op, "Zoho.") {
			calls++
		}
	}
	words := r.words("result")
	if calls != 8 || words[12] != "done" || r.count("not_attempted")+r.count("accepted")+r.count("done") != 13 || r.count("not_attempted") < 5 {
		t.Errorf("%d calls, results %v; want 8 calls, the rest not attempted, and the other account done", calls, words)
	}
}

// A run stops after so many failures; those of earlier runs go last and do not
// count.
func TestStopAfterFailures(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	refuse := func(n int) {
		r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: fmt.Sprintf(`"%d"`, 7000+n), Kind: sandbox.FaultException, Type: "MXNoException", Text: "no"})
	}
	for n := range 4 {
		refuse(n)
	}
	path := r.sheet(leads(10)...)
	got := r.runs(exitStopped, "run", "--workers", "1", "--stop-after-failures", "2", path)
	if r.count("failed") != 2 || r.count("not_attempted") != 8 || r.changes() != 2 {
		t.Errorf("results %v after %d changes, want two failed and the rest not attempted", r.words("result"), r.changes())
	}
	if !strings.Contains(got.stderr, "stopped: 2 of the 2 rows that were sent have failed, and the limit is 2") {
		t.Errorf("the summary says:\n%s", got.stderr)
	}
	// Two more fail now, which stops it again; the two of before come last.
	r.runs(exitStopped, "run", "--workers", "1", "--stop-after-failures", "2", path)
	if words := r.words("result"); strings.Join(words[:5], " ") != "failed failed failed failed not_attempted" {
		t.Errorf("results %v, want four failed", words)
	}
	// Of the rows that are new to this run none fails; the four that failed before do
	// so again, at its end, and stop nothing.
	before := r.changes()
	r.runs(exitOpen, "run", "--workers", "1", "--stop-after-failures", "1", path)
	if r.count("done") != 6 || r.count("failed") != 4 || r.changes() != before+10 {
		t.Errorf("results %v after %d more changes, want all tried", r.words("result"), r.changes()-before)
	}
}

// A guard that fires on the very last row stops nothing: the run has finished.
func TestGuardAtTheVeryEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultException, Type: "MXNoException", Text: "no"})
	r.runs(exitOpen, "run", "--workers", "1", "--stop-after-failures", "3", r.sheet(leads(3)...))
	if r.count("failed") != 3 {
		t.Errorf("results %v, want all failed", r.words("result"))
	}
}

// --max-rows 0 allows no row to be sent; without it there is no limit.
func TestNoRowAllowed(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(lead("revoke", 1))
	r.runs(exitRefused, "run", "--max-rows", "0", path)
	r.runs(exitDone, "run", "--max-rows", "1", path)
	r.runs(exitDone, "run", "--max-rows", "0", path) // nothing is left to send
	if r.changes() != 1 {
		t.Errorf("%d changes, want 1", r.changes())
	}
}

// Files that are named twice are found out before anything is sent.
func TestFilesNamedTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(lead("revoke", 1))
	for _, flags := range [][]string{
		{"--report", r.path("x"), "--summary", r.path("x")},
		{"--summary", r.path("off.results.csv")},
		{"--metrics-file", r.path("off.ledger.db")},
		{"--report", path},
		{"-o", "-"},
		{"-o", r.path("off.xls")},
	} {
		got := r.runs(exitRefused, append([]string{"run", path}, flags...)...)
		if strings.Count(got.stderr, "error:") != 1 || !strings.Contains(got.stderr, "hint:") {
			t.Errorf("%q: the refusal says:\n%s", flags, got.stderr)
		}
	}
	r.write("note.txt", "mine")
	got := r.runs(exitRefused, "run", path, "--summary", r.path("note.txt"))
	if strings.Count(got.stderr, "note.txt") != 1 {
		t.Errorf("the refusal says it more than once:\n%s", got.stderr)
	}
	if r.changes() != 0 {
		t.Errorf("%d changes were sent", r.changes())
	}
	r.only("off.csv", "note.txt")
}

// P% counts from the 50th row on.
func TestStopAfterFailuresOfAHundred(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultException, Type: "MXNoException", Text: "no"})
	path := r.sheet(leads(90)...)
	r.runs(exitStopped, "run", "--workers", "1", path)
	if r.count("failed") != 50 || r.count("not_attempted") != 40 {
		t.Errorf("%d failed, %d not attempted; want the run to stop at the 50th", r.count("failed"), r.count("not_attempted"))
	}
}

// Nobody on the protect list is touched, by id, by address or by a revoke_all; the
// user whose keys run the job is on it always.
func TestProtect(t *testing.T) {
	t.Parallel()
	const zohoOwner = "admin@sandbox.example"
	for _, tc := range []struct {
		name, protect string
		row           string
		code          int
	}{
		{"by id", guidOf('u', 1), lead("revoke", 1), exitRefused},
		{"by id in capitals", strings.ToUpper(guidOf('u', 1)), lead("share", 1), exitRefused},
		{"by address, named by id", "u1@rig.example", member("revoke", 1, 1), exitRefused},
		{"by address, in other letters", "U1@RIG.example", strings.Replace(member("revoke", 1, 1), guidOf('u', 1), "u1@rig.example", 1), exitRefused},
		{"on Zoho", addressOf(zohoUser(1)), quote("revoke", 1, 1), exitRefused},
		{"on Zoho by an id as exports have it", "zcrm_" + zohoUser(1), quote("revoke", 1, 1), exitRefused},
		{"on Zoho, the row as exports have it", zohoUser(1), strings.Replace(quote("revoke", 1, 1), zohoUser(1), "zcrm_"+zohoUser(1), 1), exitRefused},
		{"the owner of Zoho's keys", "nobody@rig.example", strings.Replace(quote("share", 1, 1), zohoUser(1), zohoOwner, 1), exitRefused},
		{"revoke_all", addressOf(zohoUser(1)), "crm,revoke_all,Quotes," + zohoRecord(1) + ",,,", exitOpen},
		{"revoke_all by id", zohoUser(2), "crm,revoke_all,Quotes," + zohoRecord(1) + ",,,", exitOpen},
		{"somebody else", guidOf('u', 2), lead("revoke", 1), exitDone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			r.seedGroup(1, 1, 2)
			r.seedQuote(1, 1, 2)
			r.configure("protect: ['" + tc.protect + "']\n" + rigConfig)
			path := r.sheet(tc.row)
			r.runs(tc.code, "run", path)
			if tc.code == exitDone {
				return
			}
			if n := r.changes(); n != 0 {
				t.Errorf("%d changes were sent", n)
			}
			if tc.code == exitOpen {
				if row := r.results("off.results.csv")[0]; row["result"] != "failed" || row["code"] != "protected" {
					t.Errorf("the row is %s (%s %s), want it failed as protected", row["result"], row["code"], row["message"])
				}
				return
			}
			r.only("off.csv")
		})
	}
}

// An id has one spelling: a zero before a number, which would be a record or a user of its
// own for us and the same one for the CRM, is refused.
func TestZerosBeforeIdsAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedQuote(1, 1)
	for _, row := range []string{
		strings.Replace(lead("revoke", 1), ",7001,", ",07001,", 1),
		strings.Replace(quote("revoke", 1, 1), zohoRecord(1), "0"+zohoRecord(1), 1),
		strings.Replace(quote("revoke", 1, 1), zohoUser(1), "0"+zohoUser(1), 1),
	} {
		if got := r.runs(exitRefused, "run", r.sheet(lead("share", 1), row)); !strings.Contains(got.stderr, "begins with a zero") || !strings.Contains(got.stderr, "off.csv:3: ") {
			t.Errorf("%s: it says\n%s", row, got.stderr)
		}
	}
	if n := r.changes(); n != 0 {
		t.Errorf("%d changes were sent", n)
	}
}
