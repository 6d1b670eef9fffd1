package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

const undoHead = "action,object,record_id,user,context_id,access,duration_minutes,share_related,group_permissions,account,note,undo_of\n"

// undoRows returns the rows of an undo sheet by record and user, each as what it
// asks for.
func undoRows(t *testing.T, path string) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for _, row := range table(t, path) {
		words := []string{row["action"], row["access"], row["share_related"], row["group_permissions"], row["duration_minutes"], row["account"]}
		key := row["record_id"] + " " + row["user"]
		if rows[key] != "" {
			t.Errorf("%s comes twice", key)
		}
		rows[key] = strings.Join(words, "/")
	}
	return rows
}

// The command writes a sheet of the right shape, which run takes, and which puts
// back what a run has changed on both CRMs.
func TestUndoCommand(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{ShowAllPermissions: true})
	verifyWorld(r)
	before := standing(r.server, nil)
	off := r.write("off.csv", verifyRows())
	r.runs(exitRefused, "undo", off) // no ledger yet
	r.runs(exitDone, "run", off)
	sent := r.changes()
	got := r.runs(exitDone, "undo", off)
	out := r.path("off.undo.csv")
	u1, g1 := guidOf('u', 1), guidOf('g', 1)
	want := map[string]string{
		zohoRecord(1) + " " + zohoUser(1): "share/read/false///crm",
		zohoRecord(1) + " " + zohoUser(2): "revoke/////crm",
		zohoRecord(2) + " " + zohoUser(1): "share/read/false///crm",
		zohoRecord(2) + " " + zohoUser(2): "share/full/false///crm",
		zohoRecord(2) + " " + zohoUser(3): "revoke/////crm",
		g1 + " " + u1:                     "share/////lsq",
		g1 + " " + guidOf('u', 2):         "revoke/////lsq",
		"7001 " + u1:                      "share/read////lsq",
		guidOf('o', 1) + " " + u1:         "share/read////lsq",
	}
	if diff := cmp.Diff(want, undoRows(t, out)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	raw, err := os.ReadFile(out)
	must(t, err)
	if !strings.HasPrefix(string(raw), undoHead) || strings.Count(string(raw), "for how long it was shared is not known") != 2 {
		t.Errorf("the sheet is\n%s", raw)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if n := r.changes(); n != sent {
		t.Errorf("undo has sent %d changes", n-sent)
	}
	for _, part := range []string{"9 rows written, nothing was sent", "3 rows where not all is known", "bulkrevoke run "} {
		if !strings.Contains(got.stderr, part) {
			t.Errorf("it says\n%s\nwant %q", got.stderr, part)
		}
	}
	r.runs(exitRefused, "undo", off) // the file is there
	r.runs(exitRefused, "undo", off, "-o", off)
	r.runs(exitRefused, "undo", off, "-o", r.path("back.xlsx"))
	r.runs(exitDone, "run", out)
	if diff := cmp.Diff(before, standing(r.server, nil)); diff != "" {
		t.Errorf("after the undo (-before the first run +now):\n%s", diff)
	}
}

// What a revoke_all has taken from others than users, and what was sent to
// LeadSquared without an answer, can not be put back by a row: it is listed, with
// exit code 1. A share of one's own that went although the record is inherited is
// put back.
func TestUndoTellsWhatIsLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{ShowAllPermissions: true})
	account := "Accounts/" + zohoRecord(50)
	r.server.SeedZoho("Quotes", zohoRecord(1),
		crm.Grant{Kind: "user", ID: zohoUser(1), Access: crm.Full, Related: true},
		crm.Grant{Kind: "group", ID: zohoUser(900), Access: crm.Write},
		crm.Grant{Kind: "role", ID: zohoUser(901), Access: crm.Read})
	r.server.SeedZoho("Quotes", zohoRecord(2),
		crm.Grant{Kind: "user", ID: zohoUser(1), Access: crm.Write},
		crm.Grant{Kind: "user", ID: zohoUser(1), Access: crm.Read, Through: account},
		crm.Grant{Kind: "user", ID: zohoUser(2), Access: crm.Read})
	off := r.write("off.csv", verifyHead+strings.Join([]string{
		"crm,revoke_all,Quotes," + zohoRecord(1) + ",,,,,",
		"crm,revoke,Quotes," + zohoRecord(2) + ",," + zohoUser(1) + ",,,",
		"crm,revoke,Quotes," + zohoRecord(2) + ",," + zohoUser(3) + ",,,", // was never there
		"lsq,share,lead,7001," + guidOf('c', 1) + "," + guidOf('u', 1) + ",write,,", "",
	}, "\n"))
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Share", Kind: sandbox.FaultResetAfter})
	r.runs(exitOpen, "run", off)
	r.runs(exitOpen, "run", off) // the inherited one is looked at once more
	got := r.runs(exitOpen, "undo", off)
	want := map[string]string{
		zohoRecord(1) + " " + zohoUser(1): "share/full/true///crm",
		zohoRecord(2) + " " + zohoUser(1): "share/write/false///crm",
	}
	if diff := cmp.Diff(want, undoRows(t, r.path("off.undo.csv"))); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	for _, row := range table(t, r.path("off.undo.csv")) {
		if noted := strings.Contains(row["note"], account); noted != (row["record_id"] == zohoRecord(2)) {
			t.Errorf("record %s has the note %q", row["record_id"], row["note"])
		}
	}
	for _, part := range []string{
		"by hand: crm Quotes " + zohoRecord(1) + ": line 2: group " + zohoUser(900) + " had the record (write)",
		"role " + zohoUser(901) + " had the record (read)",
		"by hand: lsq lead 7001 " + guidOf('u', 1) + ": line 5: it was sent",
		"3 things left",
	} {
		if !strings.Contains(got.stderr, part) {
			t.Errorf("it says\n%s\nwant %q", got.stderr, part)
		}
	}
}

// A sheet that has changed nothing gives no undo sheet.
func TestUndoOfNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.server.AddUser(crm.User{ID: zohoUser(1), Email: "u1@rig.example", Active: true}, "Standard")
	r.server.SeedZoho("Quotes", zohoRecord(1), crm.Grant{Kind: "user", ID: zohoUser(9), Access: crm.Full})
	off := r.write("off.csv", verifyHead+"crm,revoke,Quotes,"+zohoRecord(1)+",,"+zohoUser(1)+",,,\n")
	r.runs(exitDone, "run", off)
	if got := r.runs(exitDone, "undo", off); !strings.Contains(got.stderr, "nothing that a sheet could put back") {
		t.Errorf("it says\n%s", got.stderr)
	}
	r.only("off.csv", "off.ledger.db", "off.results.csv")
}

// results --open writes the rows that need somebody, and no others.
func TestOpenResults(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	off := r.sheet(lead("revoke", 1), lead("share", 2), "lsq,revoke,lead,x,,,", lead("revoke", 3), lead("revoke", 4))
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Share", Kind: sandbox.FaultResetAfter})
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: guidOf('u', 3), Kind: sandbox.FaultException, Type: "MXInvalidInputException", Text: "no"})
	r.runs(exitOpen, "run", "--skip-invalid", off)
	kept, err := os.ReadFile(r.path("off.results.csv"))
	must(t, err)
	want := map[string]string{"3": "in_doubt", "4": "invalid", "5": "failed"}
	got := r.runs(exitDone, "results", "--open", off)
	must(t, os.WriteFile(r.path("printed.csv"), []byte(got.stdout), 0o600))
	r.runs(exitDone, "results", "--open", off, "-o", r.path("open.csv"))
	for _, name := range []string{"printed.csv", "open.csv"} {
		words := map[string]string{}
		for _, row := range table(t, r.path(name)) {
			words[row["line"]] = row["result"]
		}
		if diff := cmp.Diff(want, words); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	head, _, _ := strings.Cut(string(kept), "\n")
	if !strings.HasPrefix(got.stdout, head+"\n") {
		t.Errorf("the header is not the result's: %q", got.stdout)
	}
	if now, err := os.ReadFile(r.path("off.results.csv")); err != nil || string(now) != string(kept) {
		t.Errorf("the result file was touched: %v", err)
	}
}
