package main

import (
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
)

// No secret is in the database, in whatever form, nor what a run has written.
func TestNoSecretIsInTheDatabase(t *testing.T) {
	t.Parallel()
	pgtest.Shared(t)
	r, v := newLeakRig(t, "header")
	onDatabase(t, r)
	v.secrets["marker"] = "Uk1+zq/8s=W&password-of-db" // of the database itself
	r.env["DBPW"] = v.secrets["marker"]
	r.configure("database_password: env:DBPW\n" + rigConfig)
	v.searchAll(t, r, r.leakRun())
	r.begin("worker", "--quiet", "--log-level", "debug")
	got := r.run("submit", "--skip-invalid", "--confirm-timeout", "1s", "--fresh", r.path("off.csv"))
	v.searchAll(t, r, got)
	r.becomes("off", "done")
	v.searchAll(t, r, r.run("status", "--json"))
	dump := []byte(pgtest.Shared(t).Dump(t, r.env["BULKREVOKE_DATABASE"]))
	v.search(t, "the database", dump)
}
