package main

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A worker says what is wrong with it before it takes a sheet.
func TestWorkerIsRefused(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	for _, tc := range []struct {
		name string
		set  func(env map[string]string) []string
		says string
	}{
		{"no secret", func(env map[string]string) []string { delete(env, "RIG_REFRESH"); return nil }, "RIG_REFRESH"},
		{"no database", func(env map[string]string) []string { delete(env, "BULKREVOKE_DATABASE"); return nil }, "needs a database"},
		{"no place to listen", func(env map[string]string) []string { return []string{"--listen", "256.0.0.1:1"} }, "--listen 256.0.0.1:1"},
		{"no port", func(env map[string]string) []string { return []string{"--listen", "9464"} }, "--listen 9464: missing port"},
		{"no such port", func(env map[string]string) []string { return []string{"--listen", ":http-or-so"} }, "--listen 127.0.0.1:http-or-so"},
		{"none at once", func(env map[string]string) []string { return []string{"--at-once", "0"} }, "--at-once: 0"},
		{"no drain", func(env map[string]string) []string { return []string{"--drain", "0s"} }, "--drain"},
		{"a sheet", func(env map[string]string) []string { return []string{"off.csv"} }, "worker takes no argument"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			env := maps.Clone(r.env)
			args := append([]string{"worker"}, tc.set(env)...)
			o := &outside{stdin: strings.NewReader(""), env: env}
			got := ran{code: o.execute(t.Context(), args...), stderr: o.stderr.String()}
			if got.code != exitRefused {
				t.Errorf("ended with %d", got.code)
			}
			got.says(t, tc.says)
			if goWords.MatchString(got.stderr) {
				t.Errorf("it speaks of the program's inside:\n%s", got.stderr)
			}
		})
	}
}

// A sheet whose account the worker does not have needs somebody, and is done when they have
// mended it.
func TestWorkerWithoutTheAccount(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	r.seedQuote(1, 1)
	off := r.sheet(lead("revoke", 1), quote("revoke", 1, 1))
	r.runs(exitDone, "submit", off)
	with := r.env["BULKREVOKE_CONFIG"]
	before, _, _ := strings.Cut(rigConfig, "  crm:\n    crm: zoho")
	r.env["BULKREVOKE_CONFIG"] = r.write("other.yaml", strings.ReplaceAll(before, "BASE", r.base))
	w := r.begin("worker", "--quiet")
	r.env["BULKREVOKE_CONFIG"] = with
	s := r.becomes("off", "refused")
	if s.ExitCode != exitRefused || !strings.Contains(s.Why, "the first in line 3: account: no account is called \"crm\"") || r.changes() != 0 {
		t.Errorf("after %d changes the status is %+v", r.changes(), s)
	}
	if got := w.end(sigterm); got.code != exitDone {
		t.Errorf("the worker ended with %d:\n%s", got.code, got.stderr)
	}
	r.begin("worker", "--quiet")
	r.runs(exitDone, "retry", off)
	r.becomes("off", "done")
	if n := r.changes(); n != 2 {
		t.Errorf("%d changes", n)
	}
}

// A sheet whose account ends early is tried again, when that can help.
func TestSheetsThatEndEarly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		fault       sandbox.Fault
		args        []string
		state       string
		least, most time.Duration // until it is tried again
		code        int
		says        string
	}{
		{
			"unreachable", sandbox.Fault{Op: "*", Kind: sandbox.FaultResetBefore}, nil, "waiting", 50 * time.Second, time.Minute, exitStopped, "lsq",
		},
		{
			"unconfirmed", sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultNeverProcess}, []string{"--confirm-timeout", "1s"}, "waiting", 14 * time.Minute, 15 * time.Minute, exitOpen, "accepted",
		},
		{
			"keys refused", sandbox.Fault{Op: "*", Kind: sandbox.FaultVerbatim, Status: 401, Body: `{"Status":"Error","ExceptionType":"MXInvalidAPICredentialsException","ExceptionMessage":"no"}`},
			nil, "stopped", 0, 0, exitStopped, "lsq",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newDatabaseRig(t, sandbox.Config{})
			off := r.sheet(lead("revoke", 1))
			r.runs(exitDone, append([]string{"submit", off}, tc.args...)...)
			must(t, clearState(r)) // the worker's host knows nothing of the keys
			r.server.Fault(tc.fault)
			r.begin("worker", "--quiet")
			s := r.becomes("off", tc.state)
			if s.ExitCode != tc.code || !strings.Contains(s.Why, tc.says) || goWords.MatchString(s.Why) {
				t.Errorf("the status is %+v", s)
			}
			if tc.state == "waiting" {
				if in := time.Until(*s.NextTry); in < tc.least || in > tc.most {
					t.Errorf("it is tried again in %v, want %v to %v", in, tc.least, tc.most)
				}
				got := r.runs(exitDone, "status", off)
				if !strings.Contains(got.stdout, "waiting") || !strings.Contains(got.stdout, s.Why) {
					t.Errorf("status says:\n%s", got.stdout)
				}
				r.runs(exitHeld, "submit", off).says(t, "off is waiting already")
			}
			r.server.ClearFaults()
			r.runs(exitDone, "retry", off)
			r.becomes("off", "done")
			r.runs(exitDone, "results", off)
			r.wantWords("result", "done")
		})
	}
}

// What a sheet means is decided where it is submitted, whatever the worker's configuration has.
func TestSheetMeansWhatItSaidWhereItWasSubmitted(t *testing.T) {
	t.Parallel()
	r := newDatabaseRig(t, sandbox.Config{})
	r.seedQuote(1, 1, 2)
	config := strings.ReplaceAll(rigConfig, "BASE", r.base)
	r.env["BULKREVOKE_CONFIG"] = r.write("here.yaml", strings.Replace(config, "default: lsq", "default: crm\ntimezone: Asia/Kolkata\nprotect: ["+zohoUser(2)+"]\ncolumns:\n  Quote No: record_id\n  Who: user", 1))
	off := r.write("off.csv", "action,object,Quote No,Who,user_of_theirs\nrevoke,Quotes,"+zohoRecord(1)+","+zohoUser(1)+",x\n")
	r.runs(exitDone, "submit", off)
	other := r.write("other.csv", "action,object,Quote No,Who\nrevoke,Quotes,"+zohoRecord(1)+","+zohoUser(2)+"\n")
	r.runs(exitRefused, "submit", other)
	// The worker's has another default, and other names.
	submits := r.env["BULKREVOKE_CONFIG"]
	r.env["BULKREVOKE_CONFIG"] = r.write("there.yaml", config+"\ncolumns:\n  user_of_theirs: user\nprotect: ["+zohoUser(9)+"]\n")
	r.begin("worker", "--quiet")
	r.env["BULKREVOKE_CONFIG"] = submits
	if s := r.becomes("off", "done"); s.Counts["done"] != 1 {
		t.Errorf("the status is %+v", s)
	}
	if got := r.server.Grants("Quotes", zohoRecord(1)); len(got) != 1 || got[0].ID != zohoUser(2) {
		t.Errorf("the record is shared with %v, want user 2 alone", got)
	}
	third := r.write("third.csv", "action,object,Quote No,Who,access\nshare,Quotes,"+zohoRecord(1)+","+zohoUser(9)+",read\n")
	r.runs(exitRefused, "submit", "--wait", third).says(t, "protect")
}
