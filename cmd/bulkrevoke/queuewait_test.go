package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// submit --wait ends as the sheet does, whatever becomes of it.
func TestSubmitWaitsForWhateverComes(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	off := r.sheet(leads(3)...)

	// Cancelled.
	waits := r.begin("submit", "--wait", off)
	r.becomesQueued("off")
	r.runs(exitDone, "cancel", off)
	if got := waits.wait(); got.code != exitStopped || !strings.Contains(got.stderr, "cancelled") {
		t.Errorf("ended with %d:\n%s", got.code, got.stderr)
	}
	r.wantWords("result", "not_attempted", "not_attempted", "not_attempted")

	// Interrupted: it stays queued.
	waits = r.begin("submit", "--wait", off)
	r.becomesQueued("off")
	if got := waits.end(&signalError{syscall.SIGINT}); got.code != exitInterrupt {
		t.Errorf("ended with %d:\n%s", got.code, got.stderr)
	}
	if s := r.statusOf("off"); s.State != "queued" {
		t.Errorf("it is %s", s.State)
	}

	// A second one waits for the first, and finds all done.
	waits = r.begin("submit", "--wait", off)
	w := r.begin("worker", "--quiet")
	if got := waits.wait(); got.code != exitDone {
		t.Errorf("ended with %d:\n%s", got.code, got.stderr)
	}
	r.wantWords("result", "done", "done", "done")
	if n := r.changes(); n != 3 {
		t.Errorf("%d changes", n)
	}

	// What else is a sheet.
	data, err := os.ReadFile(off)
	must(t, err)
	o := &outside{stdin: strings.NewReader(string(data)), env: r.env}
	if code := o.execute(t.Context(), "submit", "--wait", "-", "-o", r.path("in.csv"), "--ledger", "in"); code != exitDone {
		t.Fatalf("ended with %d:\n%s", code, o.stderr.String())
	}
	if n := len(r.results("in.csv")); n != 3 {
		t.Errorf("%d results of standard input", n)
	}
	r.runs(exitDone, "submit", "--wait", r.path("off.results.csv"))
	r.wantWords("result", "done", "done", "done")
	book := r.workbook("book.xlsx", []string{"November", "December"}, [][]string{{lead("revoke", 1)}, {lead("revoke", 2)}}, nil)
	r.runs(exitDone, "submit", "--wait", "--sheet", "december", book)
	if n := len(r.results("book.December.results.csv")); n != 1 {
		t.Errorf("%d results of a workbook", n)
	}
	r.runs(exitDone, "status", "--ledger", "book.December")
	r.runs(exitDone, "undo", "--sheet", "December", book)
	r.runs(exitDone, "submit", "--wait", r.path("book.December.undo.csv"))
	none := r.write("none.csv", rigHead)
	r.runs(exitRefused, "submit", "--wait", none)
	r.runs(exitDone, "submit", "--wait", "--allow-empty", none)
	must(t, os.Remove(off)) // the sheet itself is in the database
	r.runs(exitDone, "status", off)
	r.runs(exitDone, "results", off)
	if got := w.end(sigterm); got.code != exitDone {
		t.Errorf("the worker ended with %d:\n%s", got.code, got.stderr)
	}

	// Refused where it is to be done.
	protects := r.env["BULKREVOKE_CONFIG"]
	r.env["BULKREVOKE_CONFIG"] = r.write("protects.yaml", "protect: ["+guidOf('u', 5)+"]\n"+strings.ReplaceAll(rigConfig, "BASE", r.base))
	r.begin("worker", "--quiet")
	r.env["BULKREVOKE_CONFIG"] = protects
	five := r.write("five.csv", rigHead+lead("revoke", 5)+"\n")
	r.runs(exitRefused, "submit", "--wait", five).says(t, "needs somebody", "protect", "bulkrevoke retry five")
	// Of several sheets, the strongest code.
	a := r.write("a.csv", rigHead+lead("revoke", 6)+"\n")
	r.runs(exitRefused, "submit", "--wait", a, five)
	r.becomes("a", "done")
}

// becomesQueued waits until a sheet has been submitted.
func (r *rig) becomesQueued(name string) {
	r.t.Helper()
	until(r.t, name+" is not queued", func() bool {
		got := r.run("status", "--json", "--ledger", name)
		return strings.Contains(got.stdout, `"queued"`)
	})
}

// The other commands that call a CRM claim its accounts too.
func TestCheckAndFindOnADatabase(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	r.seedGroup(1, 1, 2)
	r.runs(exitDone, "check")
	people := r.write("people.csv", "user\n"+guidOf('u', 1)+"\n")
	got := r.run("find", people)
	if got.code != exitDone && got.code != exitOpen {
		t.Fatalf("ended with %d:\n%s", got.code, got.stderr)
	}
	found := r.path("people.found.csv")
	r.runs(exitDone, "submit", found)
	r.begin("worker", "--quiet")
	r.becomes("people.found", "done")
	if n := r.changes(); n != 1 {
		t.Errorf("%d changes, want one", n)
	}
	if s := r.runs(exitDone, "status").stdout; !strings.Contains(s, "people.found") {
		t.Errorf("status says:\n%s", s)
	}
}
