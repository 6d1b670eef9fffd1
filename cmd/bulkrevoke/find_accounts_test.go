package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// Somebody who is known on both accounts is looked for on both, five looks to a request
// where the account allows it, and protected people get no row.
func TestFindOnAllAccounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.configure(strings.Replace(rigConfig, "    max_in_flight: 8\n", "    max_in_flight: 8\n    composite: true\n", 1) + "protect: [boss@rig.example]\n")
	r.seedModules(200, 9, 1, 0, 0)
	r.seedGroup(1, findLeaver)
	r.server.AddUser(crm.User{ID: guidOf('u', findLeaver), Email: "leaver@rig.example", Active: false}, "Sales_User")
	r.server.AddUser(crm.User{ID: zohoUser(findLeaver), Email: "leaver@rig.example", Active: false}, "Standard")
	r.server.AddUser(crm.User{ID: zohoUser(40), Email: "boss@rig.example", Active: true}, "Standard")
	people := r.write("people.csv", "user\nLeaver@rig.example\nboss@rig.example\n")
	args := []string{"find", people, "--modules", "Leads,Deals,Contacts", "--log-format", "json"}
	before := len(r.server.Arrivals())
	got := r.runs(exitDone, args...)
	made := len(r.server.Arrivals()) - before
	looks := 0
	for _, a := range r.server.Arrivals()[before:] {
		if strings.Contains(a.Path, "composite") {
			looks++
		}
	}
	paths := make(map[string]int)
	for _, a := range r.server.Arrivals()[before:] {
		paths[a.Op]++
	}
	t.Log(paths)
	if looks != 120 {
		t.Errorf("%d composite calls for 600 records, want 120", looks)
	}
	if !strings.Contains(got.stderr, `"msg":"find planned"`) || !strings.Contains(got.stderr, fmt.Sprintf(`"complete":true,"calls":%d}`, made)) {
		t.Errorf("%d calls, %v, and the log says\n%s", made, paths, got.stderr)
	}
	count := make(map[string]int)
	for _, row := range r.found("people.found.csv") {
		count[row["account"]+" "+row["user"]]++
	}
	if count["crm "+zohoUser(findLeaver)] != 9 || count["lsq "+guidOf('u', findLeaver)] != 1 || len(count) != 2 {
		t.Errorf("rows: %v", count)
	}
	if c := r.coverage("people.found.coverage.json"); !strings.Contains(fmt.Sprint(c.NotCovered), "boss@rig.example of line 3 is protected") {
		t.Errorf("nobody is told that somebody is protected: %v", c.NotCovered)
	}
}

// An account whose credits are used up ends early, with what was seen until then in the
// sheet; the same command goes on, and the other account is not held up.
func TestFindOutOfCredits(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newRig(t, sandbox.Config{Now: func() time.Time { return now }, Zoho: sandbox.ZohoConfig{Concurrency: -1, TokenLimit: -1, Credits: 150}})
	r.now = func() time.Time { return now }
	r.seedModules(100, 30, 0, 0, 0)
	r.seedGroup(1, findLeaver)
	people := r.write("people.csv", "user,account\n"+zohoUser(findLeaver)+",crm\n"+guidOf('u', findLeaver)+",lsq\n")
	args := []string{"find", people, "--modules", "Leads,Deals,Contacts"}
	got := r.runs(exitStopped, args...)
	c := r.coverage("people.found.coverage.json")
	if c.Complete || c.Accounts[0].Ended == "" || !c.Accounts[1].Parts[0].Complete {
		t.Errorf("coverage: %+v\n%s", c, got.stderr)
	}
	rows := len(r.found("people.found.csv"))
	if rows < 2 || rows > 30 {
		t.Errorf("%d rows in part, want some", rows)
	}
	for range 4 {
		now = now.Add(25 * time.Hour)
		if r.run(args...).code == exitDone {
			break
		}
	}
	if rows := len(r.found("people.found.csv")); rows != 31 || !r.coverage("people.found.coverage.json").Complete {
		t.Errorf("%d rows in the end, want 31", rows)
	}
}

// Throttling pauses a find, and costs nothing that was seen.
func TestFindThrottled(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedModules(40, 12, 0, 0, 0)
	people := r.write("people.csv", "user\n"+zohoUser(findLeaver)+"\n")
	r.server.Fault(sandbox.Fault{Op: "Zoho.Share.Get", Kind: sandbox.FaultThrottle, After: 10, Times: 3})
	r.runs(exitDone, "find", people, "--account", "crm", "--modules", "Leads,Deals,Contacts")
	if rows := len(r.found("people.found.csv")); rows != 12 {
		t.Errorf("%d rows, want 12", rows)
	}
}

// Where no account can be worked with, the sheet of another day stays as it is.
func TestFindWithoutKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedModules(10, 3, 0, 0, 0)
	people := r.write("people.csv", "user\n"+zohoUser(findLeaver)+"\n")
	args := []string{"find", people, "--account", "crm", "--modules", "Leads,Deals,Contacts"}
	r.runs(exitDone, args...)
	r.server.Fault(sandbox.Fault{Kind: sandbox.FaultVerbatim, Status: 401, Body: `{"code":"INVALID_TOKEN","status":"error","message":"invalid oauth token","details":{}}`})
	r.runs(exitStopped, args...)
	if rows := len(r.found("people.found.csv")); rows != 3 {
		t.Errorf("%d rows, want those of before", rows)
	}
}
