package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// seedInherited makes a Zoho record that users 1, 2 and 3 have, and user 4 through a
// parent. User 5 is known.
func (r *rig) seedInherited() {
	r.seedQuote(1, 1, 2, 3, 4, 5)
	r.server.SeedZoho("Quotes", zohoRecord(1), append(readers(1, 2, 3), crm.Grant{Kind: "user", ID: zohoUser(4), Access: crm.Read, Type: "private", Through: "Accounts/" + zohoRecord(50)})...)
}

// readers are shares with users, to read.
func readers(users ...int) (grants []crm.Grant) {
	for _, u := range users {
		grants = append(grants, crm.Grant{Kind: "user", ID: zohoUser(u), Access: crm.Read, Type: "private"})
	}
	return grants
}

// wantWords fails the test unless the column has these words, from the first row on.
func (r *rig) wantWords(column string, want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.words(column)); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", column, diff)
	}
}

const revokeEverybody = "crm,revoke_all,Quotes,"

// What a revoke_all has taken is taken, although its row fails because somebody has the
// record through a parent: the same sheet sends nothing more, gives nothing back in
// between, and undo knows who had the record before.
func TestFailedRevokeAllHasHappened(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedInherited()
	off := r.sheet(quote("revoke", 1, 4), quote("share", 1, 5), revokeEverybody+zohoRecord(1)+",,,")
	undo := func() {
		t.Helper()
		r.runs(exitDone, "undo", off, "-o", r.path("undo.csv"))
		want := map[string]string{}
		for u := 1; u <= 3; u++ {
			want[zohoRecord(1)+" "+zohoUser(u)] = "share/read/false///crm"
		}
		if diff := cmp.Diff(want, undoRows(t, r.path("undo.csv"))); diff != "" {
			t.Errorf("undo (-want +got):\n%s", diff)
		}
		must(t, os.Remove(r.path("undo.csv")))
	}
	r.runs(exitOpen, "run", off)
	r.wantWords("result", "failed", "done", "failed")
	undo()
	sent := r.changes()
	for range 2 {
		r.runs(exitOpen, "run", off)
		r.wantWords("result", "failed", "done", "failed")
		r.wantWords("code", "inherited", "", "inherited")
	}
	if n := r.changes() - sent; n != 0 {
		t.Errorf("%d changes were sent again", n)
	}
	undo()

	// The parent is seen to: a look is all that it takes.
	r.server.SeedZoho("Quotes", zohoRecord(1))
	r.runs(exitDone, "run", off)
	r.wantWords("result", "unchanged", "done", "done")
	if n := r.changes() - sent; n != 0 {
		t.Errorf("%d changes were sent again", n)
	}
}

// What comes after what has happened stays, also when access by another way has ended.
func TestShareAfterAFailedRevokeAllStays(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedInherited()
	off := r.sheet(revokeEverybody+zohoRecord(1)+",,,", quote("share", 1, 5))
	r.runs(exitOpen, "run", off)
	sent := r.changes()
	r.runs(exitOpen, "run", off)
	r.wantWords("result", "failed", "done")
	r.server.SeedZoho("Quotes", zohoRecord(1), crm.Grant{Kind: "user", ID: zohoUser(5), Access: crm.Write, Type: "private"})
	r.runs(exitDone, "run", off)
	r.wantWords("result", "done", "done")
	if n := r.changes() - sent; n != 0 {
		t.Errorf("%d changes were sent again", n)
	}
}

// A share that a failed revoke_all has taken again is given again when the revoke_all is
// no longer in the sheet.
func TestFailedRevokeAllUndoesAShare(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedInherited()
	r.runs(exitDone, "run", r.sheet(quote("share", 1, 5)))
	r.runs(exitOpen, "run", r.sheet(quote("share", 1, 5), revokeEverybody+zohoRecord(1)+",,,"))
	r.wantWords("result", "done", "failed")
	off := r.sheet(quote("share", 1, 5))
	r.runs(exitDone, "run", off)
	r.wantWords("result", "done")
	r.runs(exitDone, "verify", off)
}

// What was never sent, because the user had the record by another way only, is sent when
// they have been given the record itself.
func TestFailedRevokeThatWasNeverSentIsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedInherited()
	off := r.sheet(quote("revoke", 1, 4))
	r.runs(exitOpen, "run", off)
	r.server.SeedZoho("Quotes", zohoRecord(1), readers(1, 4)...)
	r.runs(exitDone, "run", off)
	if diff := cmp.Diff(readers(1), r.server.Grants("Quotes", zohoRecord(1))); diff != "" {
		t.Errorf("in force (-want +got):\n%s", diff)
	}
	// And what was sent is not sent again: somebody else has given it back.
	r.seedInherited()
	off = r.write("all.csv", rigHead+revokeEverybody+zohoRecord(1)+",,,\n")
	r.runs(exitOpen, "run", off)
	sent := r.changes()
	r.seedInherited()
	r.runs(exitOpen, "run", off)
	if row := r.results("all.results.csv")[0]; row["result"] != "failed" || !strings.Contains(row["message"], "given again since") {
		t.Errorf("the row is %s: %s", row["result"], row["message"])
	}
	if n := r.changes() - sent; n != 0 {
		t.Errorf("%d changes were sent again", n)
	}
}

// Of rows that went in one request of which one part failed, the others may be done:
// they go one by one in the next run, and undo tells of them until then.
func TestRowsOfAFailedRequestMayHaveHappened(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.configure(strings.Replace(rigConfig, "    secret_key: env:RIG_SECRET\n", "    secret_key: env:RIG_SECRET\n    max_entries_per_call: 5\n    workers: 1\n", 1))
	off := r.sheet(leads(5)...)
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultProcessFailed, Text: "Lead is locked", Times: 1})
	r.runs(exitOpen, "run", off)
	if n := r.count("failed"); n != 5 {
		t.Fatalf("%d rows failed, want 5: %v", n, r.words("message"))
	}
	if got := r.runs(exitOpen, "undo", off); strings.Count(got.stdout+got.stderr, "it was sent, and no answer says") != 5 {
		t.Errorf("undo says\n%s%s", got.stdout, got.stderr)
	}
	sent := r.changes()
	r.runs(exitDone, "run", off)
	r.wantWords("result", "done", "done", "done", "done", "done")
	if n := r.changes() - sent; n != 5 {
		t.Errorf("%d requests, want one for each row", n)
	}
	for _, message := range r.words("message") {
		if !strings.Contains(message, "an earlier sending may have taken effect") {
			t.Errorf("a row says %q", message)
		}
	}
}
