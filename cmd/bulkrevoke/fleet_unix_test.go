//go:build fleet && unix

package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// What takes seconds because leases and heartbeats do, all at one time: it waits, mostly.
func TestFleet(t *testing.T) {
	t.Parallel()
	pgtest.Shared(t)
	c := newCrowd(t)
	defer c.wait()
	for name, test := range map[string]func(t *testing.T){
		"killed run is equal": testKilledRunIsEqual, "worker is watched": testWorkerIsWatched, "worker is ended at once": testWorkerIsEndedAtOnce,
		"a bystander's loss is told": testBystandersLossIsTold,
		"submitted sheets travel":    testSubmittedSheetsTravelAsTheyAre, "workers take over": testWorkersTakeOver,
		"the account is at work": testSubmitWhileTheAccountIsAtWork, "the ledger is at work": testLedgerAtWorkIsNotMoved,
	} {
		c.run(name, test)
	}
}

// watched is a worker that tells how it does.
func (r *rig) watched(args ...string) (w *begun, get func(path string) (int, string)) {
	r.t.Helper()
	w = r.begin(append([]string{"worker", "--listen", ":0"}, args...)...)
	at := regexp.MustCompile(`url=(http://\S+)/metrics`)
	until(r.t, "the worker does not listen", func() bool { return at.MatchString(w.stderr.String()) })
	base := at.FindStringSubmatch(w.stderr.String())[1]
	if !strings.HasPrefix(base, "http://127.0.0.1:") {
		r.t.Errorf("it listens on %s, want this machine alone", base)
	}
	return w, func(path string) (int, string) {
		answer, err := http.Get(base + path)
		must(r.t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		must(r.t, err)
		return answer.StatusCode, string(text)
	}
}

// metricsOf reads metrics as Prometheus does: each with HELP and TYPE, once, before its
// samples, and no sample twice.
func metricsOf(t *testing.T, text string) map[string]string {
	t.Helper()
	samples, typed, helped := map[string]string{}, map[string]bool{}, map[string]bool{}
	sample := regexp.MustCompile(`^(([a-z_]+)(?:\{[a-z_]+="(?:[^"\\]|\\.)*"\})?) (-?[0-9.e+-]+)$`)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "# HELP "):
			if helped[words[2]] {
				t.Errorf("a second time: %s", line)
			}
			helped[words[2]] = true
		case strings.HasPrefix(line, "# TYPE "):
			if typed[words[2]] || !helped[words[2]] || words[3] != "gauge" {
				t.Errorf("a second time, or without HELP: %s", line)
			}
			typed[words[2]] = true
		default:
			m := sample.FindStringSubmatch(line)
			if m == nil || !typed[m[2]] {
				t.Errorf("no sample of a metric with a type: %q", line)
				continue
			}
			if _, twice := samples[m[1]]; twice {
				t.Errorf("a second time: %s", line)
			}
			samples[m[1]] = m[3]
		}
	}
	return samples
}

// Whoever watches a worker is told whether it lives, whether it takes sheets, and how the
// queue stands; while the database is away it does not, and what it works on goes on after it.
func testWorkerIsWatched(t *testing.T) {
	server := startPostgres(t)
	r := newRig(t, sandbox.Config{})
	r.env["BULKREVOKE_DATABASE"] = server.NewDatabase(t)
	off := r.sheet(leads(4)...)
	w, get := r.watched()
	until(t, "the worker is not ready", func() bool { code, _ := get("/readyz"); return code == http.StatusOK })
	if code, text := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %s", code, text)
	}
	if code, _ := get("/nothing"); code != http.StatusNotFound {
		t.Errorf("/nothing: %d", code)
	}
	r.runs(exitDone, "submit", "--wait", off)
	code, text := get("/metrics")
	m := metricsOf(t, text)
	for name, want := range map[string]string{
		`bulkrevoke_sheets{state="done"}`: "1", `bulkrevoke_sheets{state="queued"}`: "0", `bulkrevoke_sheet_rows{result="done"}`: "4", "bulkrevoke_hosts": "1",
		"bulkrevoke_database_up": "1", "bulkrevoke_worker_may_send": "1", "bulkrevoke_worker_sheets": "0",
	} {
		if m[name] != want || code != http.StatusOK {
			t.Errorf("%s is %q, want %s (%d)", name, m[name], want, code)
		}
	}
	// The second row's answer comes when the database is away.
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: "7001", Kind: sandbox.FaultSlow, Delay: time.Second})
	r.runs(exitDone, "submit", "--fresh", "--workers", "1", off)
	until(t, "the second row is not sent", func() bool { return r.changes() == 6 })
	server.Stop(t, "immediate")
	until(t, "it says that it is ready", func() bool { code, _ := get("/readyz"); return code == http.StatusServiceUnavailable })
	_, text = get("/readyz")
	if goWords.MatchString(text) {
		t.Errorf("/readyz says %q", text)
	}
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	if n := r.changes(); n != 6 {
		t.Errorf("%d changes: something was sent without the database", n)
	}
	if _, text := get("/metrics"); metricsOf(t, text)["bulkrevoke_database_up"] != "0" || metricsOf(t, text)["bulkrevoke_worker_may_send"] != "0" {
		t.Errorf("/metrics say:\n%s", text)
	}
	server.Continue(t)
	r.becomes("off", "done")
	until(t, "the worker is not ready again", func() bool { code, _ := get("/readyz"); return code == http.StatusOK })
	if n := r.changes(); n != 8 {
		t.Errorf("%d changes for 4 rows twice", n)
	}
	if got := w.end(sigterm); got.code != exitDone {
		t.Errorf("the worker ended with %d:\n%s", got.code, got.stderr)
	}
}

// A bystander who lost access counts for whoever watches a worker and in status, also when the
// sheet was submitted again, until a run has seen that they have it.
func testBystandersLossIsTold(t *testing.T) {
	r := newDatabaseRig(t, sandbox.Config{})
	r.seedQuote(1, 1, 2, 3)
	r.server.Fault(sandbox.Fault{Op: "Zoho.Share.Put", Kind: sandbox.FaultDropEntry, Match: zohoUser(2), Times: 1})
	off := r.sheet(quote("revoke", 1, 1))
	alarms := func(when string, want int64) {
		t.Helper()
		var s statusJSON
		must(t, json.Unmarshal([]byte(r.runs(exitDone, "status", "--json").stdout), &s))
		if _, among := s.Sheets[0].Counts["alarms"]; s.Sheets[0].Alarms != want || among {
			t.Errorf("%s: status tells of %d alarms, want %d, and they are no count of rows: %v", when, s.Sheets[0].Alarms, want, s.Sheets[0].Counts)
		}
	}
	watched := func(when, want string) (end func()) {
		t.Helper()
		w, get := r.watched()
		r.becomes("off", "done")
		if _, text := get("/metrics"); metricsOf(t, text)["bulkrevoke_sheet_alarms"] != want {
			t.Errorf("%s: /metrics say, want %s alarms:\n%s", when, want, text)
		}
		return func() {
			if got := w.end(sigterm); got.code != exitDone {
				t.Errorf("the worker ended with %d:\n%s", got.code, got.stderr)
			}
		}
	}
	r.runs(exitDone, "submit", off)
	alarms("before the run", 0)
	watched("after it", "1")()
	alarms("after it", 1)
	r.runs(exitDone, "submit", off)
	alarms("submitted again", 1)
	r.server.SeedZoho("Quotes", zohoRecord(1), readers(2, 3)...)
	watched("given back", "0")()
	alarms("given back", 0)
}

// A second signal ends a worker at once; its sheet goes on elsewhere when it is known to be dead.
func testWorkerIsEndedAtOnce(t *testing.T) {
	r := newDatabaseRig(t, sandbox.Config{})
	off := r.sheet(leads(3)...)
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: "7001", Kind: sandbox.FaultHang, Processed: true, Times: 1})
	r.runs(exitDone, "submit", "--workers", "1", off)
	p := r.start("worker")
	until(t, "the second row is not sent", func() bool { return r.changes() == 2 })
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	time.Sleep(2 * signalsTogether) // two that come together count as one
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	if code := p.wait(); code != exitTerminated && code != -1 {
		t.Errorf("ended with %d:\n%s", code, p.stderr.String())
	}
	r.begin("worker", "--quiet")
	until(t, "it is not done", func() bool { time.Sleep(300 * time.Millisecond); return r.statusOf("off").State == "done" })
	r.runs(exitDone, "results", off)
	r.wantWords("result", "done", "done", "done")
	r.wantWords("attempts", "1", "2", "1")
}

// startPostgres is a server of the test's own, which it may stop.
func startPostgres(t *testing.T) *pgtest.Server {
	t.Helper()
	return pgtest.Start(t)
}

// Whatever the sheet is written in, it travels as it is.
func testSubmittedSheetsTravelAsTheyAre(t *testing.T) {
	r := newDatabaseRig(t, sandbox.Config{})
	text := rigHead + lead("revoke", 1) + "\n" + lead("revoke", 2) + "\n"
	utf16 := []byte{0xff, 0xfe}
	for _, c := range strings.ReplaceAll(text, ",", "\t") {
		utf16 = append(utf16, byte(c), 0)
	}
	sheets := map[string]string{
		"bom": "\ufeff" + text, "semicolon": strings.ReplaceAll(text, ",", ";"), "pipe": strings.ReplaceAll(text, ",", "|"), "crlf": strings.ReplaceAll(text, "\n", "\r\n"),
		"utf16": string(utf16), "quotes": "note," + strings.Replace(strings.Replace(text, "lsq,", "\"a \"\"b\"\"\nc, d\",lsq,", 1), "\nlsq,", "\n\" =x; | \",lsq,", 1),
		"above": "Leavers of November\n" + text, "names": strings.Replace(text, "record_id", "Lead No", 1),
	}
	var args []string
	for name, text := range sheets {
		ext := ".csv"
		if name == "utf16" {
			ext = ".txt"
		}
		path := r.write(name+ext, text)
		switch name {
		case "above":
			r.runs(exitDone, "submit", "--header-row", "2", path)
		case "names":
			r.runs(exitDone, "submit", "--map", "Lead No=record_id", path)
		default:
			args = append(args, path)
		}
	}
	book := r.workbook("book.xlsx", []string{"November", "Leavers December"}, [][]string{{lead("revoke", 1)}, {lead("revoke", 1), lead("revoke", 2)}}, nil)
	r.runs(exitRefused, "submit", book)
	r.runs(exitDone, "submit", "--sheet", "leavers december", book)
	o := &outside{stdin: strings.NewReader(text), env: r.env}
	if code := o.execute(t.Context(), "submit", "-", "-o", r.path("in.results.csv"), "--ledger", "in"); code != exitDone {
		t.Fatalf("ended with %d:\n%s", code, o.stderr.String())
	}
	r.runs(exitDone, append([]string{"submit"}, args...)...)
	w := r.begin("worker", "--quiet")
	for name := range sheets {
		if s := r.becomes(name, "done"); s.Counts["done"] != 2 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	r.becomes("in", "done")
	r.becomes("book.Leavers December", "done")
	if n := r.changes(); n != 2*(len(sheets)+2) {
		t.Errorf("%d changes of %d sheets with 2 rows", n, len(sheets)+2)
	}
	for name, text := range sheets {
		path := r.path(name + ".csv")
		if name == "utf16" {
			path = r.path(name + ".txt")
		}
		r.runs(exitDone, "results", path)
		// A run with files writes the same.
		env := r.env["BULKREVOKE_DATABASE"]
		delete(r.env, "BULKREVOKE_DATABASE")
		args := []string{"run", path, "-o", r.path("files.csv"), "--ledger", r.path(name + ".ledger.db")}
		if name == "above" {
			args = append(args, "--header-row", "2")
		} else if name == "names" {
			args = append(args, "--map", "Lead No=record_id")
		}
		r.runs(exitDone, args...)
		r.env["BULKREVOKE_DATABASE"] = env
		got, err := os.ReadFile(r.path(name + ".results.csv"))
		must(t, err)
		want, err := os.ReadFile(r.path("files.csv"))
		must(t, err)
		if diff := cmp.Diff(plainBytes(string(want)), plainBytes(string(got))); diff != "" {
			t.Errorf("%s (%q): (-files +database)\n%s", name, text, diff)
		}
		must(t, os.Remove(r.path("files.csv")))
	}
	// And back again.
	r.runs(exitDone, "undo", r.path("bom.csv"))
	r.runs(exitDone, "submit", "--wait", r.path("bom.undo.csv"))
	r.runs(exitOpen, "verify", r.path("bom.csv"))
	r.runs(exitDone, "submit", "--wait", r.path("bom.csv"))
	r.runs(exitDone, "verify", r.path("bom.csv"))
	if got := w.end(sigterm); got.code != exitDone {
		t.Errorf("the worker ended with %d:\n%s", got.code, got.stderr)
	}
}

var someGUID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// plainBytes is a result as it is written, without times and ids.
func plainBytes(text string) string {
	text = someTime.ReplaceAllString(text, "TIME")
	text = someHash.ReplaceAllString(someGUID.ReplaceAllString(text, "ID"), "ID")
	return someCall.ReplaceAllString(text, "CALL")
}

// A worker that is asked to end gives back what it has not finished, and another goes on.
func testWorkersTakeOver(t *testing.T) {
	r := newDatabaseRig(t, sandbox.Config{})
	off := r.sheet(leads(12)...)
	slow := sandbox.Fault{Op: "EntityAccess.Revoke", Match: "7003", Kind: sandbox.FaultSlow, Delay: 8 * time.Second}
	r.server.Fault(slow)
	r.runs(exitDone, "submit", "--workers", "1", off)
	first := r.begin("worker")
	until(t, "the fourth row is not sent", func() bool { return r.changes() == 4 })
	var s statusJSON
	must(t, json.Unmarshal([]byte(r.runs(exitDone, "status", "--json").stdout), &s))
	if len(s.Hosts) != 1 || s.Hosts[0].Host == "" || s.Hosts[0].LastSeen.IsZero() || !cmp.Equal(s.Hosts[0].Sheets, []string{"off"}) || s.Sheets[0].Host != s.Hosts[0].Host {
		t.Errorf("the status is %+v", s)
	}
	r.runs(exitRefused, "retry", off).says(t, "off", "running")
	r.runs(exitHeld, "submit", off).says(t, "off is running on")
	r.runs(exitHeld, "run", off)
	r.runs(exitDone, "results", off)
	if got := first.end(sigterm); got.code != exitDone {
		t.Errorf("the worker ended with %d:\n%s", got.code, got.stderr)
	}
	if s := r.statusOf("off"); s.State != "queued" || s.Tries != 0 {
		t.Errorf("the sheet is %+v", s)
	}
	if n := r.changes(); n != 4 {
		t.Fatalf("%d changes, want the one that was open ended and no other", n)
	}
	second := r.begin("worker")
	r.becomes("off", "done")
	if n := r.changes(); n != 12 {
		t.Errorf("%d changes for 12 rows", n)
	}
	r.runs(exitDone, "results", off)
	for _, row := range r.results("off.results.csv") {
		if row["attempts"] != "1" {
			t.Errorf("line %s was sent %s times", row["line"], row["attempts"])
		}
	}
	slow.Delay = time.Second
	r.server.ClearFaults()
	r.server.Fault(slow)
	// One that is cancelled stops, and goes on when it is submitted again.
	r.runs(exitDone, "submit", "--fresh", "--workers", "1", off)
	until(t, "the fourth row is not sent", func() bool { return r.changes() == 16 })
	r.runs(exitDone, "cancel", off)
	r.becomes("off", "cancelled")
	if n := r.changes(); n != 16 {
		t.Fatalf("%d changes, want no other", n)
	}
	r.runs(exitRefused, "cancel", off).says(t, "off", "cancelled")
	r.runs(exitRefused, "retry", off).says(t, "off", "cancelled")
	r.runs(exitDone, "status") // nobody is needed
	r.server.ClearFaults()
	r.runs(exitDone, "submit", "--wait", off)
	if n := r.changes(); n != 24 {
		t.Errorf("%d changes for 24 rows", n)
	}
	if got := second.end(sigterm); got.code != exitDone {
		t.Errorf("the worker ended with %d:\n%s", got.code, got.stderr)
	}
}

// An account that is at work for one sheet is not asked for another: that one is queued, and
// a run is told who has the account.
func testSubmitWhileTheAccountIsAtWork(t *testing.T) {
	r := newDatabaseRig(t, sandbox.Config{})
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: "7001", Kind: sandbox.FaultSlow, Delay: 9 * time.Second, Times: 1})
	off := r.sheet(leads(3)...)
	run := r.begin("run", "--workers", "1", off)
	until(t, "the second row is not sent", func() bool { return r.changes() == 2 })
	other := r.write("other.csv", rigHead+lead("revoke", 7)+"\n")
	r.runs(exitHeld, "run", other).says(t, `account "lsq"`, "off.csv", "--wait")
	r.runs(exitHeld, "check").says(t, "lsq")
	r.runs(exitDone, "submit", other).says(t, "at work", "is queued")
	// It says who works here.
	got := r.runs(exitDone, "status")
	if !strings.Contains(got.stdout, "host ") || !strings.Contains(got.stdout, "other") {
		t.Errorf("status says:\n%s", got.stdout)
	}
	r.begin("worker", "--quiet")
	if got := run.wait(); got.code != exitDone {
		t.Errorf("the run ended with %d:\n%s", got.code, got.stderr)
	}
	r.becomes("other", "done")
	if n := r.changes(); n != 4 {
		t.Errorf("%d changes of 4 rows", n)
	}
}

// While a run is at work on either side, the ledger stays where it is.
func testLedgerAtWorkIsNotMoved(t *testing.T) {
	r := newDatabaseRig(t, sandbox.Config{})
	database := r.env["BULKREVOKE_DATABASE"]
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: "7001", Kind: sandbox.FaultSlow, Delay: 7 * time.Second, Times: 1})
	off := r.sheet(leads(3)...)
	run := r.begin("run", "--workers", "1", off)
	until(t, "the second row is not sent", func() bool { return r.changes() == 2 })
	r.runs(exitHeld, "results", "--move", "--ledger-file", r.path("off.ledger.db"), off).says(t, "ledger off", "--wait")
	r.runs(exitDone, "results", "--ledger-file", r.path("copy.ledger.db"), off)
	if got := run.wait(); got.code != exitDone {
		t.Errorf("the run ended with %d:\n%s", got.code, got.stderr)
	}
	led, err := ledger.Open(r.path("copy.ledger.db"), ledger.Options{ReadOnly: true})
	must(t, err)
	must(t, errors.Join(led.VerifyChain(t.Context()), led.VerifyRows(t.Context()), led.Close()))

	must(t, os.Remove(r.path("off.results.csv")))
	r.offline()
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: "7001", Kind: sandbox.FaultSlow, Delay: 3 * time.Second, Times: 1})
	other := r.write("other.csv", rigHead+strings.Join(leads(3), "\n")+"\n")
	env := r.env["BULKREVOKE_STATE"]
	run = r.begin("run", "--workers", "1", other)
	until(t, "the second row is not sent", func() bool { return r.changes() == 5 })
	r.online(database)
	r.env["BULKREVOKE_STATE"] = env
	r.runs(exitHeld, "submit", "--ledger-file", r.path("other.ledger.db")).says(t, "other.ledger.db")
	if got := run.wait(); got.code != exitDone {
		t.Errorf("the run ended with %d:\n%s", got.code, got.stderr)
	}
	r.runs(exitDone, "submit", "--ledger-file", r.path("other.ledger.db"))
	r.runs(exitDone, "run", other)
	if n := r.changes(); n != 6 {
		t.Errorf("%d changes of 6 rows", n)
	}
}

// What was in flight when a run was killed comes to the same too.
func testKilledRunIsEqual(t *testing.T) {
	play(t, sandbox.Config{}, func(s *story) {
		off := s.sheet(leads(6)...)
		s.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Match: "7003", Kind: sandbox.FaultHang, Processed: true, Times: 1})
		p := s.start("run", off)
		until(t, "the fourth row has not been sent", func() bool { return s.changes() == 4 })
		must(t, p.cmd.Process.Kill())
		p.wait()
		s.do(exitDone, "run", "--wait", "1m", "--quiet", off)
		s.do(exitDone, "verify", off)
		s.do(exitDone, "run", off)
	})
}
