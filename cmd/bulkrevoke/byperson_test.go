package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// Evidence by person has one line for each, however the sheet names them and on whatever
// accounts, and claims no end time where a row is open.
func TestByPerson(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	ann := addressOf(zohoUser(1))
	r.server.AddUser(crm.User{ID: guidOf('u', 1), Email: ann, Active: true}, "Sales_User")
	r.server.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: zohoUser(1), Email: ann, Active: true}})
	r.server.SeedZoho("Quotes", zohoRecord(1), crm.Grant{Kind: crm.KindUser, ID: zohoUser(1), Access: crm.Read})
	r.server.SeedZoho("Quotes", zohoRecord(2), crm.Grant{Kind: crm.KindUser, ID: zohoUser(1), Access: crm.Read})
	r.server.SeedZoho("Quotes", zohoRecord(3), crm.Grant{Kind: crm.KindUser, ID: zohoUser(2), Access: crm.Read})
	due := time.Now().UTC().AddDate(0, 0, -3)
	gone := due.Format(time.DateOnly)
	byID := func(n int, action, date string) string {
		return strings.Replace(lead(action, n), guidOf('u', n), guidOf('u', 1), 1) + "," + date
	}
	off := r.dated(
		strings.Replace(byID(1, "revoke", gone), guidOf('u', 1), strings.ToUpper(ann), 1),
		byID(2, "revoke", gone),
		byID(3, "keep", ""),
		"crm,revoke,Quotes,"+zohoRecord(1)+",,"+ann+",,"+gone,
		"crm,revoke,Quotes,"+zohoRecord(2)+",,"+zohoUser(1)+",,"+gone,
		lead("revoke", 7)+","+day(5),
		lead("share", 8)+",",
		"crm,revoke_all,Quotes,"+zohoRecord(3)+",,,,",
		"crm,revoke,Quotes,"+zohoRecord(4)+",,nobody@x.example,,",
	)
	r.runs(exitOpen, "run", "--skip-invalid", "--timezone", "UTC", "--report", r.path("off.html"), "--sla", "24h", off)
	out := r.runs(exitDone, "results", "--by-person", "--sla", "24h", off)
	if !strings.Contains(out.stdout+out.stderr, "off.people.csv: 4 people, 2 with open rows, 1 of them late") {
		t.Errorf("it says\n%s%s", out.stdout, out.stderr)
	}
	var got []string
	for _, row := range readResults(t, r.path("off.people.csv")) {
		for _, column := range []string{"first_sent_at", "last_confirmed_at"} {
			if row[column] != "" {
				row[column] = "at"
			}
		}
		if row["hours"] != "" {
			row["hours"] = "h"
		}
		if !strings.HasPrefix(row["not_covered"], "Not covered: ownership, roles") {
			t.Errorf("it says of what is not covered: %q", row["not_covered"])
		}
		var cells []string
		for _, column := range []string{"person", "email", "last_day", "taken", "given", "kept", "open", "first_sent_at", "last_confirmed_at", "hours", "late"} {
			cells = append(cells, row[column])
		}
		got = append(got, strings.Join(cells, ","))
	}
	want := []string{
		"everybody on the record,,,1,0,0,0,at,at,,no",
		guidOf('u', 7) + ",," + day(5) + ",0,0,0,1,,,,no",
		guidOf('u', 8) + ",,,0,1,0,0,at,at,,no",
		zohoUser(1) + "; " + guidOf('u', 1) + "," + ann + "," + gone + ",4,0,1,0,at,at,h,yes",
		"nobody@x.example,nobody@x.example,,0,0,0,1,,,,no",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
	page, err := os.ReadFile(r.path("off.html"))
	must(t, err)
	for _, want := range []string{ann, "last day " + gone, "hours after it was due", `<strong class="late">late</strong>`, "Not covered: ownership"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Count(string(page), `<strong class="late">`) != 1 {
		t.Error("the page marks others as late than those who were")
	}

	// It is written again over itself, and over nothing else.
	r.runs(exitDone, "results", "--by-person", off)
	other := r.write("other.csv", "person,email\n")
	r.runs(exitRefused, "results", "--by-person", "-o", other, off)
	r.runs(exitRefused, "results", "--by-person", "--open", off)
	r.runs(exitRefused, "results", "--by-person", "-o", r.path("people.xlsx"), off)
}

// An accepted row claims no end time.
func TestByPersonWithAnAcceptedRow(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{Processing: func() time.Duration { return time.Hour }})
	off := r.sheet(lead("revoke", 1))
	r.runs(exitDone, "run", "--confirm", "off", off)
	r.runs(exitDone, "results", "--by-person", off)
	if row := readResults(t, r.path("off.people.csv"))[0]; row["last_confirmed_at"] != "" || row["open"] != "1" || row["first_sent_at"] == "" || row["taken"] != "0" {
		t.Errorf("got %v", row)
	}
}
