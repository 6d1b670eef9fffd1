package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// twinConfig adds a second name for the keys of each account of the rig, and one
// with other keys for the same organisation.
const twinConfig = rigConfig + `
  lsq-twin:
    crm: leadsquared
    host: BASE
    access_key: env:RIG_ACCESS
    secret_key: env:RIG_SECRET
  lsq-other:
    crm: leadsquared
    host: BASE
    access_key: env:RIG_ACCESS_2
    secret_key: env:RIG_SECRET
  crm-twin:
    crm: zoho
    api_url: BASE
    accounts_url: BASE
    client_id: env:RIG_CLIENT
    client_secret: env:RIG_CLIENT_SECRET
    refresh_token: env:RIG_REFRESH
    verify_after: 10ms
`

// as gives a row another account.
func as(account, row string) string {
	_, rest, _ := strings.Cut(row, ",")
	return account + "," + rest
}

// Rows about one record act in sheet order whatever name of the organisation they
// give, in one run and over two; they are one account's calls and figures.
func TestTwoNamesOfOneOrganisationKeepTheOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.configure(twinConfig)
	r.env["RIG_ACCESS_2"] = "u$r-access-key-2"
	var rows []string
	for i := range 8 {
		r.seedQuote(i, 1)
		rows = append(rows, quote("share", i, 9), as("crm-twin", quote("revoke", i, 9)), as("crm-twin", quote("revoke", i, 1)),
			lead("revoke", i), as("lsq-twin", lead("share", i)), as("lsq-twin", lead("revoke", i)))
	}
	got := r.runs(exitDone, "run", r.sheet(rows...))
	for i := range 8 {
		if left := r.server.Grants("Quotes", zohoRecord(i)); len(left) > 0 {
			t.Errorf("quote %d is shared with %v", i, left)
		}
	}
	if left := r.server.Shares(); len(left) > 0 {
		t.Errorf("leads are shared: %v", left)
	}
	if n := r.server.OpenOnOneTarget(); n > 0 {
		t.Errorf("%d times two changes of one target were under way", n)
	}
	if strings.Contains(got.stderr, "twin") {
		t.Errorf("the summary has both names of an account:\n%s", got.stderr)
	}
	sent := r.changes()
	for i := range rows { // all names turned around
		rows[i] = strings.NewReplacer("crm-twin,", "crm,", "lsq-twin,", "lsq,", "crm,", "crm-twin,", "lsq,", "lsq-twin,").Replace(rows[i])
	}
	r.runs(exitDone, "run", r.sheet(rows...))
	if r.changes() != sent {
		t.Errorf("%d changes were sent again under another name of the account", r.changes()-sent)
	}
}

// Two accounts that work in one organisation with different keys can not keep the
// order of rows about one record, so that such a sheet is refused.
func TestTwoKeysOfOneOrganisationOnOneRecordAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.configure(twinConfig)
	r.env["RIG_ACCESS_2"] = "u$r-access-key-2"
	got := r.runs(exitRefused, "run", r.sheet(lead("revoke", 1), lead("revoke", 2), as("lsq-other", lead("share", 1))))
	for _, want := range []string{"lines 2 and 4", `"lsq" and "lsq-other"`, "hint: Give the rows about one record one account."} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("the refusal says nothing of %q:\n%s", want, got.stderr)
		}
	}
	if r.changes() != 0 {
		t.Errorf("%d changes were sent", r.changes())
	}
	r.runs(exitDone, "run", r.sheet(lead("revoke", 1), as("lsq-other", lead("revoke", 2))))
}

// A secret that is missing is no fault of the rows: the run is refused, with or
// without --skip-invalid.
func TestMissingSecretRefusesTheRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.configure(twinConfig)
	path := r.sheet(lead("revoke", 1), as("lsq-other", lead("revoke", 2)))
	for _, flags := range [][]string{nil, {"--skip-invalid"}} {
		got := r.runs(exitRefused, append([]string{"run", path}, flags...)...)
		if want := fmt.Sprintf("account %q", "lsq-other"); !strings.Contains(got.stderr, want) || !strings.Contains(got.stderr, "RIG_ACCESS_2 is not set") {
			t.Errorf("the refusal with %q says:\n%s", flags, got.stderr)
		}
	}
	if r.changes() != 0 {
		t.Errorf("%d changes were sent", r.changes())
	}
	r.runs(exitDone, "run", r.sheet(lead("revoke", 1))) // nobody names it
}
