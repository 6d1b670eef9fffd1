package main

import (
	"database/sql"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite" // to change a ledger behind its back

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// verified reads the answers that a verification has printed, by line.
func verified(t *testing.T, text string) map[string][]string {
	t.Helper()
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	must(t, err)
	if diff := cmp.Diff([]string{"line", "result", "holds", "code", "message"}, records[0]); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	rows := map[string][]string{}
	for _, r := range records[1:] {
		rows[r[0]] = r[1:]
	}
	return rows
}

// holds returns the answers by line, each as "holds code".
func holds(t *testing.T, text string) map[string]string {
	t.Helper()
	words := map[string]string{}
	for line, r := range verified(t, text) {
		words[line] = strings.TrimSpace(r[1] + " " + r[2])
	}
	return words
}

func wantHolds(t *testing.T, text string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, holds(t, text)); diff != "" {
		t.Errorf("answers by line (-want +got):\n%s\n%s", diff, text)
	}
}

const verifyHead = "account,action,object,record_id,context_id,user,access,share_related,group_permissions\n"

// verifyRows are rows of every kind that a verification asks about.
func verifyRows() string {
	return verifyHead + strings.Join([]string{
		"crm,revoke,Quotes," + zohoRecord(1) + ",," + zohoUser(1) + ",,,",                            // 2
		"crm,share,Quotes," + zohoRecord(1) + ",," + zohoUser(2) + ",write,true,",                    // 3
		"crm,revoke_all,Quotes," + zohoRecord(2) + ",,,,,",                                           // 4
		"crm,share,Quotes," + zohoRecord(2) + ",," + zohoUser(3) + ",read,,",                         // 5
		"lsq,revoke,sales_group," + guidOf('g', 1) + ",," + guidOf('u', 1) + ",,,",                   // 6
		"lsq,share,sales_group," + guidOf('g', 1) + ",," + guidOf('u', 2) + ",,,ViewAllLeadsOfGroup", // 7
		"lsq,revoke,lead,7001," + guidOf('c', 1) + "," + guidOf('u', 1) + ",read,,",                  // 8
		"lsq,share,lead,7001," + guidOf('c', 1) + "," + guidOf('u', 1) + ",write,,",                  // 9
		"lsq,revoke,opportunity," + guidOf('o', 1) + ",," + guidOf('u', 1) + ",read,,",               // 10
		"crm,revoke,Quotes," + zohoRecord(3) + ",," + zohoUser(7) + ",,,", "",                        // 11, unchanged
	}, "\n")
}

func verifyWorld(r *rig) {
	r.server.AddUser(crm.User{ID: zohoUser(7), Email: "u7@rig.example", Active: true}, "Standard") // known, and has nothing
	grant := func(n int, access crm.Access) crm.Grant {
		return crm.Grant{Kind: "user", ID: zohoUser(n), Access: access}
	}
	r.server.SeedZoho("Quotes", zohoRecord(1), grant(1, crm.Read), grant(9, crm.Full))
	r.server.SeedZoho("Quotes", zohoRecord(2), grant(1, crm.Read), grant(2, crm.Full))
	r.server.SeedZoho("Quotes", zohoRecord(3), grant(9, crm.Full))
	r.server.Seed(crm.Operation{Action: crm.Revoke, Object: crm.SalesGroup, Record: guidOf('g', 1), User: guidOf('u', 1)})
	r.server.Seed(crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "7001", Context: guidOf('c', 1), User: guidOf('u', 1), Access: crm.Read})
	r.server.Seed(crm.Operation{Action: crm.Revoke, Object: crm.Opportunity, Record: guidOf('o', 1), User: guidOf('u', 1), Access: crm.Read})
}

// A verification says of each row whether it still holds, sends no change, and
// finds what others have changed since.
func TestVerifySaysWhatNoLongerHolds(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{ShowAllPermissions: true})
	verifyWorld(r)
	off := r.write("off.csv", verifyRows())
	r.runs(exitDone, "run", off)
	sent, files := r.changes(), r.snapshot()

	good := map[string]string{
		"2": "yes", "3": "yes", "4": "yes", "5": "yes", "6": "yes", "7": "yes",
		"8": "yes superseded", "9": "yes status_6", "10": "yes status_6", "11": "yes",
	}
	before := len(r.server.Arrivals())
	got := r.runs(exitDone, "verify", off)
	wantHolds(t, got.stdout, good)
	if n := r.changes(); n != sent {
		t.Errorf("verifying has sent %d changes", n-sent)
	}
	if diff := cmp.Diff(files, r.snapshot()); diff != "" {
		t.Errorf("verifying has changed files (-before +after):\n%s", diff)
	}
	looks := map[string]int{}
	for _, a := range r.server.Arrivals()[before:] {
		if strings.HasSuffix(a.Op, "Share.Get") || a.Op == "UserGroup.RetrieveUsers" || a.Op == "EntityAccess.Status" {
			looks[a.Op]++
		}
	}
	if diff := cmp.Diff(map[string]int{"Zoho.Share.Get": 3, "UserGroup.RetrieveUsers": 1, "EntityAccess.Status": 2}, looks); diff != "" {
		t.Errorf("looks (-want one a record, group and request +got):\n%s", diff)
	}
	if !strings.Contains(got.stderr, "10 rows, 10 hold") || !strings.Contains(got.stderr, "is whole, its head is ") {
		t.Errorf("the summary is\n%s", got.stderr)
	}

	// Somebody gives access back, takes it away, and changes a level.
	r.server.SeedZoho("Quotes", zohoRecord(1), crm.Grant{Kind: "user", ID: zohoUser(1), Access: crm.Full}, crm.Grant{Kind: "user", ID: zohoUser(2), Access: crm.Read})
	r.server.SeedZoho("Quotes", zohoRecord(2), crm.Grant{Kind: "group", ID: zohoUser(900), Access: crm.Write}, crm.Grant{Kind: "user", ID: zohoUser(3), Access: crm.Read})
	r.runs(exitDone, "run", r.write("third.csv", verifyHead+"lsq,share,sales_group,"+guidOf('g', 1)+",,"+guidOf('u', 1)+",,,AddUsersToGroup\n"))
	sent, files = r.changes(), r.snapshot()
	bad := map[string]string{
		"2": "no given_back", "3": "no differs", "4": "no given_back", "5": "yes", "6": "no given_back", "7": "yes",
		"8": "yes superseded", "9": "yes status_6", "10": "yes status_6", "11": "yes",
	}
	got = r.runs(exitOpen, "verify", off)
	wantHolds(t, got.stdout, bad)
	rows := verified(t, got.stdout)
	for line, part := range map[string]string{"2": "full", "3": "otherwise: read", "4": "group " + zohoUser(900), "6": "AddUsersToGroup", "8": "line 9"} {
		if message := rows[line][3]; !strings.Contains(message, part) {
			t.Errorf("line %s: %q, want it to say %q", line, message, part)
		}
	}
	if n := r.changes(); n != sent {
		t.Errorf("verifying has sent %d changes", n-sent)
	}
	if diff := cmp.Diff(files, r.snapshot()); diff != "" {
		t.Errorf("verifying has changed files (-before +after):\n%s", diff)
	}
}

// snapshot is every file of the folder, with what the ledger holds.
func (r *rig) snapshot() map[string]string {
	r.t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(r.dir)
	must(r.t, err)
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		raw, err := os.ReadFile(r.path(e.Name()))
		must(r.t, err)
		files[e.Name()] = string(raw)
	}
	return files
}

// The answers go into a file like a result; another file is not written over.
func TestVerifyWritesAFile(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{ShowAllPermissions: true})
	verifyWorld(r)
	off := r.write("off.csv", "\ufeff"+strings.ReplaceAll(strings.ReplaceAll(verifyRows(), ",", ";"), "\n", "\r\n"))
	r.runs(exitDone, "run", off)
	out := r.path("off.verified.csv")
	for range 2 {
		got := r.runs(exitDone, "verify", off, "-o", out)
		if got.stdout != "" {
			t.Errorf("standard output has %q", got.stdout)
		}
	}
	raw, err := os.ReadFile(out)
	must(t, err)
	text := string(raw)
	head := "\ufeff" + strings.TrimSuffix(strings.ReplaceAll(verifyHead, ",", ";"), "\n") + ";line;result;holds;code;message\r\n"
	if !strings.HasPrefix(text, head) || strings.Count(text, "\r\n") != 11 || !strings.Contains(text, ";11;unchanged;yes;;\r\n") {
		t.Errorf("the file is\n%s", text)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, name := range []string{off, r.path("off.results.csv"), r.path("off.ledger.db"), r.write("other.csv", "a,b\n1,2\n")} {
		r.runs(exitRefused, "verify", off, "-o", name)
	}
	must(t, os.Remove(off)) // the sheet need not be there
	r.runs(exitDone, "verify", off)
}

// A changed event is found, and told with exit code 3, whatever the rows say.
func TestVerifyFindsABrokenChain(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"changed": "UPDATE event SET body = replace(body, 'done', 'lost') WHERE seq = (SELECT max(seq) FROM event WHERE kind = 'confirm')",
		"dropped": "DELETE FROM event WHERE seq = 3",
		"cut off": "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)",
		"swapped": "UPDATE event SET seq = CASE seq WHEN 3 THEN -4 WHEN 4 THEN -3 END WHERE seq IN (3, 4); UPDATE event SET seq = -seq WHERE seq < 0",
		"put in":  "INSERT INTO event SELECT seq + 1, at, kind, body, prev, hash FROM event ORDER BY seq DESC LIMIT 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{ShowAllPermissions: true})
			verifyWorld(r)
			off := r.write("off.csv", verifyRows())
			r.runs(exitDone, "run", off)
			r.tamper(change)
			got := r.runs(exitStopped, "verify", off)
			if !strings.Contains(got.stderr, "is broken: event ") || !strings.Contains(got.stderr, "hint: ") || strings.Contains(got.stderr, "is whole") {
				t.Errorf("it says\n%s", got.stderr)
			}
			if len(holds(t, got.stdout)) != 10 {
				t.Errorf("the rows are not answered for:\n%s", got.stdout)
			}
			r.runs(exitRefused, "undo", off)
		})
	}
}

// tamper runs SQL on the ledger behind its back.
func (r *rig) tamper(script string) {
	r.t.Helper()
	db, err := sql.Open("sqlite", r.path("off.ledger.db"))
	must(r.t, err)
	_, err = db.Exec(script)
	must(r.t, err)
	must(r.t, db.Close())
}

// What was never done, and what nobody can tell, is not said to hold.
func TestVerifyTellsWhatItCanNotTell(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	verifyWorld(r)
	r.server.SeedZoho("Quotes", zohoRecord(4), crm.Grant{Kind: "user", ID: zohoUser(1), Access: crm.Read, Through: "Accounts/" + zohoRecord(50)})
	off := r.write("off.csv", verifyHead+strings.Join([]string{
		"crm,revoke,Quotes," + zohoRecord(4) + ",," + zohoUser(1) + ",,,",                // 2, inherited
		"lsq,revoke,lead,7001," + guidOf('c', 1) + "," + guidOf('u', 1) + ",read,,",      // 3, done
		"lsq,share,lead,7001," + guidOf('c', 1) + "," + guidOf('u', 1) + ",write,,",      // 4, in doubt
		"lsq,revoke,lead,7002," + guidOf('c', 2) + "," + guidOf('u', 2) + ",sometimes,,", // 5, invalid
		"lsq,revoke,lead,7003," + guidOf('c', 3) + "," + guidOf('u', 3) + ",read,,", "",  // 6, its Id is forgotten
	}, "\n"))
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Share", Kind: sandbox.FaultResetAfter})
	r.runs(exitOpen, "run", "--skip-invalid", off)
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Status", Kind: sandbox.FaultException, Type: "MXInvalidInputException", Text: "Parameter Name: id"})
	got := r.runs(exitOpen, "verify", off)
	wantHolds(t, got.stdout, map[string]string{
		"2": "no never_done", "3": "unknown in_doubt", "4": "unknown in_doubt", "5": "no never_done", "6": "unknown MXInvalidInputException",
	})
	if !strings.Contains(got.stderr, "0 hold, 0 no longer hold, 2 were never done, of 3 nobody can tell") {
		t.Errorf("the summary is\n%s", got.stderr)
	}
}

// An account that can not be asked ends with code 3, and the other one is asked all
// the same. A run that holds the ledger or the account ends it with code 4.
func TestVerifyOfAccountsThatCanNotBeAsked(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{ShowAllPermissions: true})
	verifyWorld(r)
	off := r.write("off.csv", verifyRows())
	r.runs(exitRefused, "verify", off) // no ledger yet
	r.runs(exitDone, "run", off)
	r.env["BULKREVOKE_STATE"] = r.path("state2") // forgets who owns the keys
	r.server.Fault(sandbox.Fault{Op: "Authentication", Kind: sandbox.FaultException, Status: 401, Type: "MXInvalidCredentialsException", Text: "no"})
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Status", Kind: sandbox.FaultException, Status: 401, Type: "MXInvalidCredentialsException", Text: "no"})
	got := r.runs(exitStopped, "verify", off)
	for line, answer := range holds(t, got.stdout) {
		zoho := slices.Contains([]string{"2", "3", "4", "5", "11"}, line)
		if zoho && answer != "yes" {
			t.Errorf("line %s: %s", line, answer)
		}
		if !zoho && !strings.HasPrefix(answer, "unknown ") {
			t.Errorf("line %s: %s, want unknown", line, answer)
		}
	}
	r.server.ClearFaults()
	l, err := acquireLock(t.Context(), lockOptions{what: "ledger", path: r.path("off.ledger.db.lock"), remove: true, holder: me("off.csv")})
	must(t, err)
	r.runs(exitHeld, "verify", off)
	r.runs(exitHeld, "undo", off)
	must(t, l.release())
	locks, err := filepath.Glob(r.path("state2/*/lock"))
	must(t, err)
	if len(locks) != 2 {
		t.Fatalf("the accounts' locks are %v", locks)
	}
	l, err = acquireLock(t.Context(), lockOptions{what: "account", path: locks[0], holder: me("other.csv")})
	must(t, err)
	if got := r.runs(exitHeld, "verify", off); !strings.Contains(got.stderr, "other.csv") {
		t.Errorf("it does not name the holder:\n%s", got.stderr)
	}
	must(t, l.release())
	must(t, os.Mkdir(r.path("off.ledger.db.lock"), 0o700)) // no lock can be made
	r.runs(exitDone, "verify", off)
	r.configure(strings.Replace(rigConfig, "  crm:\n", "  other:\n", 1))
	if got := r.runs(exitRefused, "verify", off); !strings.Contains(got.stderr, `"crm"`) {
		t.Errorf("it does not name the missing account:\n%s", got.stderr)
	}
}

// The sandbox of earlier runs is asked, and what others did not do still holds.
func TestVerifyInTheSandbox(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := dir + "/offboarding.csv"
	must(t, os.WriteFile(path, readSample(t, "offboarding.csv"), 0o600))
	for _, args := range [][]string{{"run", "--sandbox", path, "--progress", "never", "--share", "1"}, {"verify", "--sandbox", path, "--share", "1"}} {
		o := &outside{stdin: strings.NewReader("")}
		if code := o.execute(t.Context(), args...); code != exitDone {
			t.Fatalf("%q ended with %d:\n%s%s", args, code, o.stdout.String(), o.stderr.String())
		}
	}
}
