package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/find"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// zohoMany is the id of the nth record of many.
func zohoMany(module, n int) string { return fmt.Sprintf("41508680000%02d%06d", 10+module, n+1) }

// zohoLeaver are the people that finds in a rig are about: a leaver, a successor, and
// somebody else.
const (
	findLeaver    = 20
	findSuccessor = 21
	findOther     = 22
)

// seedModules makes three modules of n records: the leaver is on some of the first directly,
// on some by inheritance, by group, and on some that everybody has.
func (r *rig) seedModules(n, direct, inherited, group, public int) []string {
	modules := []string{"Leads", "Deals", "Contacts"}
	for _, u := range []int{9, findLeaver, findSuccessor, findOther} {
		r.server.AddUser(crm.User{ID: zohoUser(u), Email: addressOf(zohoUser(u)), Active: true}, "Standard")
	}
	r.server.AddZohoGroup(sandbox.ZohoGroup{ID: zohoRecord(900), Name: "Night shift", Users: []string{zohoUser(findLeaver)}})
	for m, module := range modules {
		r.server.SeedZohoRecords(module, zohoMany(m, 0), n, zohoUser(findOther))
	}
	at := 0
	give := func(times int, grants ...crm.Grant) {
		for range times {
			r.server.SeedZoho(modules[at%3], zohoMany(at%3, 3*at), grants...)
			at++
		}
	}
	other := crm.Grant{Kind: crm.KindUser, ID: zohoUser(findOther), Access: crm.Full}
	give(direct, crm.Grant{Kind: crm.KindUser, ID: zohoUser(findLeaver), Access: crm.Write, Related: true}, other)
	give(inherited, crm.Grant{Kind: crm.KindUser, ID: zohoUser(findLeaver), Access: crm.Read, Through: "Accounts/" + zohoRecord(901)}, other)
	give(group, crm.Grant{Kind: crm.KindGroup, ID: zohoRecord(900), Access: crm.Read}, other)
	give(public, crm.Grant{Kind: crm.KindPublic, Access: crm.Read})
	return modules
}

// coverage reads a coverage file of the folder.
func (r *rig) coverage(name string) (c find.Coverage) {
	r.t.Helper()
	text, err := os.ReadFile(r.path(name))
	must(r.t, err)
	must(r.t, json.Unmarshal(text, &c))
	return c
}

// found returns the rows of a sheet that find wrote, without its column seen_at.
func (r *rig) found(name string) []map[string]string {
	r.t.Helper()
	rows := readResults(r.t, r.path(name))
	for _, row := range rows {
		delete(row, "seen_at")
	}
	return rows
}

// TestFindAndRun is the whole way of a leaver: found, taken away, and found no more.
func TestFindAndRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{Zoho: sandbox.ZohoConfig{Credits: 100_000}})
	r.seedModules(1000, 37, 5, 3, 2)
	people := r.write("people.csv", "Employee no,user,last_day\n007,"+addressOf(zohoUser(findLeaver))+",2020-01-31\n")
	args := []string{"find", people, "--account", "crm", "--modules", "Leads,Deals,Contacts"}

	planned := r.runs(exitDone, append(args, "--dry-run")...)
	stated := int64(0)
	if _, err := fmt.Sscanf(planned.stdout[strings.Index(planned.stdout, "about ")+6:], "%d", &stated); err != nil {
		t.Fatalf("the dry run does not say how many calls it takes: %v\n%s", err, planned.stdout)
	}
	credits := 0
	if _, text, _ := strings.Cut(planned.stdout, " calls and "); text == "" {
		t.Fatalf("the dry run does not say how many credits it takes:\n%s", planned.stdout)
	} else if _, err := fmt.Sscanf(text, "%d credits", &credits); err != nil {
		t.Fatal(err)
	}
	r.only("people.csv")

	before, arrived, used := r.server.Records(), len(r.server.Arrivals()), r.server.ZohoCredits()
	got := r.runs(exitDone, args...)
	if used = r.server.ZohoCredits() - used; used < credits*95/100 || used > credits*105/100 {
		t.Errorf("%d credits were used, and about %d stated", used, credits)
	}
	made := int64(len(r.server.Arrivals()) - arrived)
	if made < stated*95/100 || made > stated*105/100 {
		t.Errorf("%d calls were made, and about %d stated", made, stated)
	}
	if n := r.changes(); n > 0 {
		t.Errorf("find sent %d changes", n)
	}
	if fmt.Sprint(before) != fmt.Sprint(r.server.Records()) {
		t.Error("find changed records")
	}
	rows := r.found("people.found.csv")
	if len(rows) != 37 {
		t.Fatalf("%d rows, want 37\n%s", len(rows), got.stderr)
	}
	want := map[string]string{
		"action": "revoke", "object": "Contacts", "record_id": zohoMany(2, 6), "user": zohoUser(findLeaver), "context_id": "", "access": "write",
		"share_related": "true", "group_permissions": "", "account": "crm", "last_day": "2020-01-31", "found": "seen", "note": "", "person_Employee no": "007",
	}
	if !slices.ContainsFunc(rows, func(row map[string]string) bool { return fmt.Sprint(row) == fmt.Sprint(want) }) {
		t.Errorf("no row is %v; the last is %v", want, rows[len(rows)-1])
	}
	c := r.coverage("people.found.coverage.json")
	if told := c.Rows.Inherited + c.Rows.Group + c.Rows.Role + c.Rows.Public; told != 10 || !c.Complete {
		t.Errorf("told %d, complete %v, want 10 and true: %+v", told, c.Complete, c)
	}
	r.only("people.csv", "people.found.csv", "people.found.coverage.json")

	r.runs(exitDone, "run", r.path("people.found.csv"), "--timezone", "UTC")
	changed := r.changes()
	r.runs(exitDone, args...)
	if rows := r.found("people.found.csv"); len(rows) != 0 {
		t.Errorf("found again: %v", rows)
	}
	if c := r.coverage("people.found.coverage.json"); !c.Complete || c.Rows.Inherited != 5 {
		t.Errorf("coverage of the second find: %+v", c)
	}
	if r.changes() != changed {
		t.Error("the second find sent a change")
	}
}
