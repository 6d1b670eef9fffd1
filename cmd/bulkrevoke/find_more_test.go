package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A successor ends with what the leaver had, and never with less than they had.
func TestFindHandsOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedQuote(0, findLeaver, findSuccessor, findOther)
	leaver := func(a crm.Access) crm.Grant {
		return crm.Grant{Kind: crm.KindUser, ID: zohoUser(findLeaver), Access: a}
	}
	successor := func(a crm.Access) crm.Grant {
		return crm.Grant{Kind: crm.KindUser, ID: zohoUser(findSuccessor), Access: a}
	}
	r.server.SeedZoho("Quotes", zohoRecord(1), leaver(crm.Write))
	r.server.SeedZoho("Quotes", zohoRecord(2), leaver(crm.Write), successor(crm.Read))
	r.server.SeedZoho("Quotes", zohoRecord(3), leaver(crm.Read), successor(crm.Full))
	r.server.SeedZoho("Quotes", zohoRecord(4), successor(crm.Read))
	people := r.write("people.csv", "email,handover_to\n"+addressOf(zohoUser(findLeaver))+","+addressOf(zohoUser(findSuccessor))+"\n")
	ids := "Record Id,Quote Name\n"
	for i := range 5 {
		ids += fmt.Sprintf("zcrm_%s,Q\n", zohoRecord(i))
	}
	r.runs(exitDone, "find", people, "--records", r.write("Quotes_2026_11.csv", ids))
	var got []string
	for _, row := range r.found("people.found.csv") {
		got = append(got, strings.Join([]string{row["action"], row["record_id"][16:], row["user"][16:], row["access"]}, " "))
	}
	want := "revoke 001 021 read, revoke 002 021 write, share 002 022 write, revoke 003 021 write, share 003 022 write, revoke 004 021 read"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("rows\n%s\nwant\n%s", s, want)
	}
	r.runs(exitDone, "run", r.path("people.found.csv"))
	for i, want := range []crm.Access{crm.Read, crm.Write, crm.Write, crm.Full, crm.Read} {
		for _, g := range r.server.Grants("Quotes", zohoRecord(i)) {
			if g.ID == zohoUser(findLeaver) || g.ID == zohoUser(findSuccessor) && g.Access != want {
				t.Errorf("record %d: %+v, want the successor alone with %s", i, g, want)
			}
		}
	}
	r.runs(exitDone, "find", people, "--records", r.path("Quotes_2026_11.csv"))
	if rows := r.found("people.found.csv"); len(rows) != 0 {
		t.Errorf("found again: %v", rows)
	}
}

// Sales groups are found by person, and what earlier ledgers gave.
func TestFindGroupsAndLedgers(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedGroup(1, findLeaver, findSuccessor)
	r.seedGroup(2, findLeaver)
	r.runs(exitDone, "run", r.sheet(
		fmt.Sprintf("lsq,share,opportunity,%s,,%s,write", guidOf('o', 1), guidOf('u', findLeaver)),
		fmt.Sprintf("lsq,share,opportunity,%s,,%s,write", guidOf('o', 2), guidOf('u', findLeaver)),
		fmt.Sprintf("lsq,share,lead,7001,%s,%s,read", guidOf('c', 1), guidOf('u', findLeaver)),
		fmt.Sprintf("lsq,share,lead,7002,%s,%s,read", guidOf('c', 2), guidOf('u', findOther)),
		fmt.Sprintf("lsq,revoke,opportunity,%s,,%s,", guidOf('o', 2), guidOf('u', findLeaver)),
	))
	changed := r.changes()
	people := r.write("people.csv", "user,successor\n"+strings.ToUpper(guidOf('u', findLeaver))+","+guidOf('u', findSuccessor)+"\n")
	got := r.runs(exitDone, "find", people, "--ledgers", r.dir)
	if r.changes() != changed {
		t.Error("find sent a change")
	}
	var rows []string
	for _, row := range r.found("people.found.csv") {
		rows = append(rows, strings.Join([]string{row["action"], row["object"], row["record_id"], row["user"], row["access"], row["found"]}, " "))
	}
	leaver, successor := guidOf('u', findLeaver), guidOf('u', findSuccessor)
	want := []string{
		"revoke sales_group " + guidOf('e', 1) + " " + leaver + "  seen",
		"revoke sales_group " + guidOf('e', 2) + " " + leaver + "  seen",
		"share sales_group " + guidOf('e', 2) + " " + successor + "  ",
		"revoke lead 7001 " + leaver + " read ours",
		"revoke opportunity " + guidOf('o', 1) + " " + leaver + " write ours",
		"share opportunity " + guidOf('o', 1) + " " + successor + " write ",
	}
	if strings.Join(rows, "\n") != strings.Join(want, "\n") {
		t.Errorf("rows\n%s\nwant\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(got.stderr, "opportunities that are shared with somebody, which no API of LeadSquared lists") {
		t.Errorf("what is never covered is not told:\n%s", got.stderr)
	}
	r.runs(exitDone, "run", r.path("people.found.csv"))
	r.runs(exitDone, "find", people, "--ledgers", r.dir)
	if rows := r.found("people.found.csv"); len(rows) != 0 {
		t.Errorf("found again: %v", rows)
	}
	// A ledger that can not be read may have given something.
	r.write("bad.ledger.db", "no ledger")
	r.runs(exitOpen, "find", people, "--ledgers", r.dir)
	if p := r.coverage("people.found.coverage.json").Accounts[1].Parts[1]; p.Complete || p.Refused != 1 || p.Note != "bad.ledger.db: it is no ledger" {
		t.Errorf("coverage of the ledgers: %+v", p)
	}
}

// A review has all that was seen, and the decisions that somebody chooses are run.
func TestFindReview(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedModules(50, 3, 1, 1, 1)
	people := r.write("people.csv", "user\n"+zohoUser(findLeaver)+"\n")
	args := []string{"find", people, "--account", "crm", "--modules", "all", "--review", "-o", r.path("review.xlsx")}
	r.runs(exitDone, args...)
	book, err := excelize.OpenFile(r.path("review.xlsx"))
	must(t, err)
	rows, err := book.GetRows("Found")
	must(t, err)
	if len(rows) != 7 || rows[0][0] != "decision" {
		t.Fatalf("%d rows with the header, want 7: %q", len(rows), rows)
	}
	lists, err := book.GetDataValidations("Found")
	must(t, err)
	if len(lists) != 1 || !strings.Contains(lists[0].Formula1, "revoke,share,keep") || !strings.HasPrefix(lists[0].Sqref, "A2:") {
		t.Errorf("drop-downs: %+v", lists)
	}
	panes, err := book.GetPanes("Found")
	must(t, err)
	if !panes.Freeze || panes.YSplit != 1 {
		t.Errorf("the header is not frozen: %+v", panes)
	}
	at := func(name string) int {
		for i, column := range rows[0] {
			if column == name {
				return i
			}
		}
		t.Fatalf("no column %s in %q", name, rows[0])
		return 0
	}
	kept := 0
	for i, row := range rows[1:] {
		decision := "keep"
		if row[at("found")] == "seen" && i > 0 {
			decision = "revoke"
		} else {
			kept++
		}
		must(t, book.SetCellStr("Found", fmt.Sprintf("A%d", i+2), decision))
		must(t, book.SetCellStr("Found", fmt.Sprintf("%c%d", 'A'+at("reviewer"), i+2), "boss@example.com"))
		must(t, book.SetCellStr("Found", fmt.Sprintf("%c%d", 'A'+at("reason"), i+2), "left"))
	}
	must(t, book.Save())
	must(t, book.Close())

	// Nobody's decisions are written over.
	got := r.runs(exitRefused, args...)
	if !strings.Contains(got.stderr, "somebody has changed it") {
		t.Errorf("the refusal is\n%s", got.stderr)
	}
	r.runs(exitDone, "run", r.path("review.xlsx"), "--account", "crm", "--require", "reviewer,reason")
	res := r.results("review.results.csv")
	words := make(map[string]int)
	for _, row := range res {
		words[row["result"]+" "+row["code"]]++
	}
	if words["unchanged kept"] != kept || words["done "] != 6-kept {
		t.Errorf("results: %v, want %d kept", words, kept)
	}
	r.runs(exitDone, "results", r.path("review.xlsx"), "--by-person")
	if evidence := readResults(t, r.path("review.people.csv")); len(evidence) == 0 || evidence[len(evidence)-1]["taken"] == "0" {
		t.Errorf("evidence by person: %v", evidence)
	}
	// Whether everybody still has a record, verify does not ask.
	if got := r.runs(exitOpen, "verify", r.path("review.xlsx")); !strings.Contains(got.stdout+got.stderr, "5 hold, 0 no longer hold") {
		t.Errorf("verify says\n%s%s", got.stdout, got.stderr)
	}
}

// What can not be looked at is told, and what nobody can know is refused.
func TestFindRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedModules(30, 3, 0, 0, 0)
	r.server.AddUser(crm.User{ID: zohoUser(30), Email: "two@rig.example", Active: true}, "Standard")
	r.server.AddUser(crm.User{ID: zohoUser(31), Email: "two@rig.example", Active: true}, "Standard")
	leaver := zohoUser(findLeaver)
	for _, c := range []struct {
		name, people string
		args         []string
		want         string
	}{
		{"nobody", "user\nghost@rig.example\n", nil, "people.csv:2: \"ghost@rig.example\" is nobody on account crm"},
		{"two", "user\ntwo@rig.example\n", nil, "people.csv:2: on account crm, several users have the address"},
		{"no column", "name\nJo\n", nil, "no column says who the people are; it has name"},
		{"names nobody", "user,x\n,1\n", nil, "people.csv:2: names nobody"},
		{"twice", "user\n" + leaver + "\n" + addressOf(leaver) + "\n", nil, "people.csv:3: names the same person as line 2"},
		{"date", "user,last_day\n" + leaver + ",03/04/2026\n", nil, "people.csv:2: last_day: \"03/04/2026\" is not a date"},
		{"successor", "user,successor\n" + leaver + ",ghost\n", nil, "people.csv:2: nobody on account crm is the successor"},
		{"oneself", "user,successor\n" + leaver + "," + leaver + "\n", nil, "the successor is the person themselves"},
		{"chain", "user,successor\n" + leaver + "," + zohoUser(findOther) + "\n" + zohoUser(findOther) + ",\n", nil, "the successor is in the sheet too, in line 3"},
		{"mismatch", "user,email\n" + leaver + "," + addressOf(zohoUser(findOther)) + "\n", nil, "is not that of user " + leaver},
		{"account", "user,account\n" + leaver + ",crmm\n", nil, "account: there is no account \"crmm\"; did you mean crm?"},
		{"module", "user\n" + leaver + "\n", []string{"--modules", "Leeds"}, "there is no module \"Leeds\""},
		{"calls", "user\n" + leaver + "\n", []string{"--modules", "all", "--max-calls", "50"}, "more than --max-calls 50"},
		{"nothing", "user\n" + leaver + "\n", []string{"--no"}, "unknown flag: --no"},
		{"records", "user\n" + leaver + "\n", []string{"--records", r.write("Leads.csv", "Record Id\n4.15E+18\n")}, "Leads.csv:2: "},
	} {
		people := r.write("people.csv", c.people)
		args := append([]string{"find", people, "--account", "crm"}, c.args...)
		if len(c.args) == 0 {
			args = append(args, "--modules", "Leads")
		}
		got := r.runs(exitRefused, args...)
		if !strings.Contains(got.stderr, c.want) {
			t.Errorf("%s: want %q in\n%s", c.name, c.want, got.stderr)
		}
		if _, err := os.Stat(r.path("people.found.csv")); err == nil {
			t.Errorf("%s: a sheet was written", c.name)
		}
		r.only("people.csv", "Leads.csv")
	}
	people := r.write("people.csv", "user\n"+leaver+"\n")
	got := r.runs(exitRefused, "find", people, "--account", "crm")
	if !strings.Contains(got.stderr, "there is nothing to look at") {
		t.Errorf("nothing in scope:\n%s", got.stderr)
	}
}

// Records that vanish count as looked at, a module that is closed does not, and an account
// that ends early goes on with the same command.
func TestFindInPart(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedModules(40, 6, 0, 0, 0)
	r.server.SetZohoModule(sandbox.ZohoModule{Name: "Deals", NoShares: true})
	r.server.SetZohoModule(sandbox.ZohoModule{Name: "Vendors", ShareType: "public"})
	r.server.SeedZohoRecords("Vendors", zohoMany(9, 0), 7)
	r.server.SetZohoModule(sandbox.ZohoModule{Name: "Cases", NoQueries: true})
	people := r.write("people.csv", "user\n"+zohoUser(findLeaver)+"\n")
	ids := "id\n" + zohoMany(0, 0) + "\n" + zohoRecord(77) + "\n"
	r.server.SeedZoho("Leads", zohoRecord(77))
	r.server.VanishZoho("Leads", zohoRecord(77))
	r.runs(exitOpen, "find", people, "--account", "crm", "--modules", "Leads,Deals,Contacts,Vendors,Cases", "--records", r.write("Leads extra.csv", ids))
	c := r.coverage("people.found.coverage.json")
	parts := make(map[string]string)
	for _, p := range c.Accounts[0].Parts {
		parts[p.Part+" "+p.Scope] = fmt.Sprint(p.Listed, p.LookedAt, p.Gone, p.Refused, p.Skipped, p.Complete)
	}
	for name, want := range map[string]string{
		"module Leads": "40 40 0 0 0 true", "module Contacts": "40 40 0 0 0 true", "module Deals": "40 0 0 40 0 false",
		"module Cases": "0 0 0 0 0 false", "module Vendors": "0 0 0 0 7 false", "records Leads of Leads extra.csv": "2 2 1 0 0 true",
	} {
		if parts[name] != want {
			t.Errorf("%s: %s, want %s", name, parts[name], want)
		}
	}
	if rows := r.found("people.found.csv"); len(rows) != 4 || c.Complete {
		t.Errorf("%d rows, want 4 (each record once); complete %v", len(rows), c.Complete)
	}
}

// A find that is killed at random instants goes on, and ends with the same sheet; what was
// under way is all that is looked at again.
func TestFindKilledAtRandomInstants(t *testing.T) {
	t.Parallel()
	var looks atomic.Int64
	r := newRig(t, sandbox.Config{}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/actions/share") {
				looks.Add(1)
				time.Sleep(time.Millisecond)
			}
			next.ServeHTTP(w, q)
		})
	})
	const records = 360
	r.seedModules(records/3, 30, 5, 3, 2)
	people := r.write("people.csv", "user,successor\n"+zohoUser(findLeaver)+","+zohoUser(findSuccessor)+"\n")
	args := []string{"find", people, "--account", "crm", "--modules", "Leads,Deals,Contacts", "--review", "-o"}
	r.runs(exitDone, append(args, r.path("whole.csv"))...)
	want := fmt.Sprint(r.found("whole.csv"))
	looks.Store(0)
	killed, sheets := 0, 0
	for ; killed < kills(t); sheets++ {
		name := fmt.Sprintf("%d.csv", sheets)
		for code := -1; code != exitDone; {
			p := r.start(append(args, r.path(name))...)
			over := make(chan int, 1)
			go func() { over <- p.wait() }()
			// Some die while they find out who is who, most while they look.
			at := looks.Load() + rand.Int64N(60)
			for code = -2; code == -2; {
				select {
				case code = <-over:
				case <-time.After(time.Millisecond):
					if looks.Load() > at {
						_ = p.cmd.Process.Kill()
						killed++
						at = math.MaxInt64
					}
				}
			}
			if code != exitDone && code != -1 {
				t.Fatalf("ended with %d:\n%s", code, p.stderr.String())
			}
		}
		if got := fmt.Sprint(r.found(name)); got != want {
			t.Fatalf("after %d kills the sheet is\n%s\nwant\n%s", killed, got, want)
		}
		if !r.coverage(fmt.Sprintf("%d.coverage.json", sheets)).Complete {
			t.Errorf("sheet %d is not complete", sheets)
		}
	}
	again := looks.Load() - int64(sheets*records)
	if again > int64(killed*50) {
		t.Errorf("%d looks again over %d kills, want those that were under way", again, killed)
	}
	t.Logf("%d kills over %d sheets: %d looks again", killed, sheets, again)
}

// A signal leaves a sheet of what was seen so far, and the same command goes on.
func TestFindInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	looks := 0
	r := newRig(t, sandbox.Config{}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/actions/share") {
				if looks++; looks == 60 {
					cancel(&signalError{os.Interrupt})
				}
			}
			next.ServeHTTP(w, q)
		})
	})
	r.seedModules(100, 20, 0, 0, 0)
	people := r.write("people.csv", "user\n"+zohoUser(findLeaver)+"\n")
	args := []string{"find", people, "--account", "crm", "--modules", "Leads,Deals,Contacts", "--workers", "1", "--log-format", "json"}
	got := r.runUnder(ctx, args...)
	if got.code != exitInterrupt {
		t.Fatalf("ended with %d:\n%s", got.code, got.stderr)
	}
	if c := r.coverage("people.found.coverage.json"); c.Complete {
		t.Errorf("complete after an interrupt: %+v", c)
	}
	if lines := strings.Split(strings.TrimSpace(got.stderr), "\n"); !strings.Contains(lines[len(lines)-1], `"msg":"find ended","exit_code":130`) {
		t.Errorf("the last line is %s", lines[len(lines)-1])
	}
	r.runs(exitDone, args...)
	if rows := r.found("people.found.csv"); len(rows) != 20 {
		t.Errorf("%d rows, want 20", len(rows))
	}
	r.only("people.csv", "people.found.csv", "people.found.coverage.json")
}
