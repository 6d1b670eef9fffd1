package main

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/google/go-cmp/cmp"
)

// A colleague who loses the record by a change that the CRM took in full is named
// by the row, and the run does not end well.
func TestBystanderLostInProcessingIsNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedQuote(1, 1, 2, 3)
	r.server.Fault(sandbox.Fault{Op: "Zoho.Share.Put", Kind: sandbox.FaultDropEntry, Match: zohoUser(2)})
	got := r.runs(exitOpen, "run", r.sheet(quote("revoke", 1, 1)))
	r.checkBystanderLost(got, zohoUser(2))
}

// The same where nobody was left to look: the answer was lost, and no look could be
// made before the run ended.
func TestBystanderLostBeforeARestartIsNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedQuote(1, 1, 2, 3)
	r.server.Fault(sandbox.Fault{Op: "Zoho.Share.Put", Kind: sandbox.FaultResetAfter})
	r.server.Fault(sandbox.Fault{Op: "Zoho.Share.Get", Kind: sandbox.FaultHang, After: 1})
	path := r.sheet(quote("revoke", 1, 1))
	p := r.start("run", path)
	until(t, "the change did not take effect", func() bool { return len(r.server.Grants("Quotes", zohoRecord(1))) == 2 })
	must(t, p.cmd.Process.Kill())
	p.wait()
	r.server.ClearFaults()
	r.server.SeedZoho("Quotes", zohoRecord(1), crm.Grant{Kind: "user", ID: zohoUser(3), Access: crm.Read, Type: "private"})
	r.checkBystanderLost(r.runs(exitOpen, "run", path), zohoUser(2))
}

// A bystander who lost access and was not given it back counts on every night, with or
// without the row, until a look shows that they have it again.
func TestLostBystanderCountsUntilTheyHaveItAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedQuote(1, 1, 2, 3)
	r.seedQuote(2, 1, 2)
	metrics := r.path("m.prom")
	alarms := func(want string) {
		t.Helper()
		text, err := os.ReadFile(metrics)
		must(t, err)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "bulkrevoke_last_run_alarms{") {
				if !strings.HasSuffix(line, " "+want+"\n") {
					t.Errorf("want %s alarms: %s", want, line)
				}
				return
			}
		}
		t.Errorf("no alarms in\n%s", text)
	}
	r.server.Fault(sandbox.Fault{Op: "Zoho.Share.Put", Kind: sandbox.FaultDropEntry, Match: zohoUser(2), Times: 1})
	off := r.sheet(quote("revoke", 1, 1))
	for range 3 {
		r.checkBystanderLost(r.runs(exitOpen, "run", off, "--metrics-file", metrics), zohoUser(2))
		alarms("1")
		if got := r.runs(exitOpen, "verify", off); !strings.Contains(got.stderr, "by 1 row a bystander") {
			t.Errorf("verify says\n%s", got.stderr)
		}
	}

	// The row leaves the sheet: the log names who lost the record.
	off = r.sheet(quote("revoke", 2, 1))
	if got := r.runs(exitOpen, "run", off, "--metrics-file", metrics); !strings.Contains(got.stderr, "id="+zohoUser(2)) {
		t.Errorf("nobody is named:\n%s", got.stderr)
	}
	alarms("1")
	off = r.sheet(quote("revoke", 1, 1), quote("revoke", 2, 1))
	r.runs(exitOpen, "run", off)

	// Somebody gives it back.
	r.server.SeedZoho("Quotes", zohoRecord(1), readers(2, 3)...)
	r.runs(exitDone, "verify", off)
	r.runs(exitDone, "run", off, "--metrics-file", metrics)
	alarms("0")
	r.wantWords("result", "done", "done")
	r.wantWords("code", "", "")
	r.runs(exitDone, "verify", off)
}

// Whom a later row takes the record from is no bystander any more.
func TestLostBystanderOfALaterRow(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedQuote(1, 1, 2, 3)
	r.server.Fault(sandbox.Fault{Op: "Zoho.Share.Put", Kind: sandbox.FaultDropEntry, Match: zohoUser(2), Times: 1})
	r.runs(exitOpen, "run", r.sheet(quote("revoke", 1, 1)))
	r.runs(exitDone, "run", r.sheet(quote("revoke", 1, 1), quote("revoke", 1, 2)))
	r.wantWords("code", "", "")
}

func (r *rig) checkBystanderLost(got ran, user string) {
	r.t.Helper()
	row := r.results("off.results.csv")[0]
	if row["result"] != "done" || row["code"] != "stayer_lost" || !strings.Contains(row["message"], "user "+user) {
		r.t.Errorf("the row is %s %s: %s", row["result"], row["code"], row["message"])
	}
	if strings.Contains(row["message"], zohoUser(3)) {
		r.t.Errorf("somebody who has the record is named: %s", row["message"])
	}
	if !strings.Contains(got.stderr, "took access from a bystander, whom no row is about") {
		r.t.Errorf("the summary says nothing of it:\n%s", got.stderr)
	}
}

// What others do to a record while a limit keeps its change back is no harm that the
// change has done.
func TestOthersChangesDuringAPauseAreNoAlarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, sandbox.Config{}, transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
		e.addZoho()
		grant := func(users ...int) (grants []crm.Grant) {
			for _, u := range users {
				grants = append(grants, crm.Grant{Kind: "user", ID: zohoUser(u), Access: crm.Read, Type: "private"})
			}
			return grants
		}
		e.server.SeedZoho("Quotes", zohoRecord(1), grant(1, 2, 3)...)
		e.server.Fault(sandbox.Fault{Op: "Zoho.Share.Put", Kind: sandbox.FaultThrottle, Header: map[string]string{"Retry-After": "30"}, Times: 1})
		time.AfterFunc(10*time.Second, func() { e.server.SeedZoho("Quotes", zohoRecord(1), grant(1, 2)...) })
		s := e.run(t.Context(), sheetHead+"revoke,Quotes,"+zohoRecord(1)+",,"+zohoUser(1)+",\n")
		if s.Counts.Done != 1 || s.Alarms != 0 {
			t.Errorf("counts %+v, %d alarms, want the row done and none", s.Counts, s.Alarms)
		}
		if diff := cmp.Diff(grant(2), e.server.Grants("Quotes", zohoRecord(1))); diff != "" {
			t.Errorf("in force (-want +got):\n%s", diff)
		}
	})
}
