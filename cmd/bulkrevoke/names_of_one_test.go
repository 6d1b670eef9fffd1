package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// otherConfig adds an account with other keys for the organisation of the rig's.
const otherConfig = rigConfig + `
  lsq-other:
    crm: leadsquared
    host: BASE
    access_key: env:RIG_ACCESS_2
    secret_key: env:RIG_SECRET
`

// as gives a row another account.
func as(account, row string) string {
	_, rest, _ := strings.Cut(row, ",")
	return account + "," + rest
}

// Two names for the same keys in one place are refused, whether the sheet gives both or
// not: nobody could keep the order of their rows, or say what of them is done already.
func TestTwoNamesForTheSameKeysAreRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ names, twin string }{
		{`"lsq" and "lsq-twin"`, `
  lsq-twin:
    crm: leadsquared
    host: BASE/v2/
    access_key: env:RIG_ACCESS_2
    secret_key: env:RIG_SECRET
`},
		{`"crm" and "crm-twin"`, `
  crm-twin:
    crm: zoho
    api_url: BASE
    accounts_url: BASE
    client_id: env:RIG_CLIENT
    client_secret: env:RIG_CLIENT_SECRET
    refresh_token: env:RIG_REFRESH
`},
	} {
		t.Run(tc.names, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			r.configure(rigConfig + tc.twin)
			r.env["RIG_ACCESS_2"] = r.env["RIG_ACCESS"]
			got := r.runs(exitRefused, "run", r.sheet(lead("revoke", 1)))
			for _, want := range []string{tc.names + " have the same keys for ", "hint: Take one of them out of the configuration"} {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("the refusal says nothing of %q:\n%s", want, got.stderr)
				}
			}
			if len(r.server.Arrivals()) != 0 {
				t.Errorf("%d calls were made", len(r.server.Arrivals()))
			}
		})
	}
}

// Two accounts that work in one organisation with different keys can not keep the
// order of rows about one record, so that such a sheet is refused.
func TestTwoKeysOfOneOrganisationOnOneRecordAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.configure(otherConfig)
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
	r.configure(otherConfig)
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
