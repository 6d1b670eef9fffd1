package report

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	if diff := cmp.Diff(read(t, path), got); diff != "" {
		t.Errorf("%s (-want +got, -update writes it anew):\n%s", path, diff)
	}
}

// pageLayout is a sheet with everything that a page looks for.
var pageLayout = sheet.Layout{
	Delimiter: ",", Newline: "\n", Columns: []string{"Operation", "object", "EntityId", "user", "reason"}, Keep: []int{0, 1, 2, 3, 4},
}

// pageRow is a row of a page's sheet.
type pageRow struct {
	account, named string
	op             crm.Operation
	settle         ledger.Outcome
	code, problem  string // an invalid row
	untouched      bool   // a pending row
	lastDay        string // which was over at midnight
}

func (r pageRow) cells() []string {
	return []string{r.op.Action.String(), r.op.Object, r.op.Record, r.named, "left"}
}

// allNew decides that every row of a sheet is new and goes by itself.
func allNew(iter.Seq2[ledger.Entry, error], func(past, rows []ledger.Entry, recordLevel bool, choices []ledger.Choice) error) error {
	return nil
}

// pageLedger returns a ledger that has gone through the rows, at a fixed time.
func pageLedger(tb testing.TB, rows []pageRow) *ledger.Ledger {
	tb.Helper()
	ctx := tb.Context()
	led, err := ledger.Open(filepath.Join(tb.TempDir(), "sheet.ledger.db"), ledger.Options{Create: true, Now: func() time.Time { return at }})
	must(tb, err)
	tb.Cleanup(func() { must(tb, led.Close()) })
	must(tb, led.Bind(ctx, ledger.Binding{Account: "main", CRM: "leadsquared", Host: "api-in21.leadsquared.com", Org: "31842"}))
	stage, err := led.Import(ctx)
	must(tb, err)
	for i, r := range rows {
		row := ledger.ImportRow{Line: i + 2, Cells: r.cells(), Account: r.account, Op: r.op, Code: r.code, Problem: r.problem, LastDay: r.lastDay}
		if r.lastDay != "" {
			row.Due = at.Truncate(24 * time.Hour)
		}
		must(tb, stage.Add(row))
	}
	must(tb, stage.Match(ctx, allNew))
	text, err := json.Marshal(pageLayout)
	must(tb, err)
	must(tb, stage.Commit(ctx, ledger.Source{Name: "off.csv", SHA256: strings.Repeat("5e", 32), Layout: text}))
	for range 2 {
		run, err := led.BeginRun(ctx, ledger.RunInfo{Version: "1.4.0", Operator: "nina.schmidt"})
		must(tb, err)
		if run == 1 {
			must(tb, led.EndRun(ctx, run, nil))
		}
	}
	for res, err := range led.Results(ctx) {
		must(tb, err)
		r := rows[res.Ord-1]
		if res.Invalid || r.untouched {
			continue
		}
		call := fmt.Sprintf("call-%d", res.Ord)
		must(tb, led.Intend(ctx, ledger.Intent{CallID: call, Account: r.account, Ops: []ledger.Op{opOf(res)}, Attempt: 1, At: at}))
		s := r.settle
		s.Op, s.CallID, s.SentAt = opOf(res), call, at
		s.Attempts = max(1, s.Attempts)
		must(tb, led.Record(ctx, []ledger.Outcome{s}))
	}
	return led
}

// examplePage is a run with something of everything.
func examplePage() ([]pageRow, batch.Summary, Facts) {
	users := []struct{ id, address string }{
		{"e6b8a9b2-51d0-4f1e-9a55-0f4f8f1f2d01", "asha.rao@example.com"}, {"0d2c7a64-8f2b-4a90-b6f1-93ab10aa7702", "leaver.b@example.com"},
		{"77aa0e1b-3c5d-4d61-8a11-5b0f6f0c9d03", "omar.haddad@example.com"}, {"a91f1c02-6b1f-4f0e-9f6c-2f6d1f0a1e04", "li.wei@example.com"},
	}
	var rows []pageRow
	for i := range 60 {
		u := users[(i*i+i/7)%len(users)]
		r := pageRow{account: "main", named: u.address, settle: ledger.Outcome{
			Status: crm.Done, HTTPStatus: 200, RequestID: fmt.Sprintf("4c0b-%04d", i), ConfirmedAt: at.Add(time.Duration(800+37*i) * time.Millisecond),
		}}
		r.op = crm.Operation{
			Action: crm.Revoke, Object: crm.Lead, Record: fmt.Sprint(869196 + i), User: u.id, Access: crm.Read,
			Context: fmt.Sprintf("cf6f8a10-1d5e-4d3c-8a4b-2b60f7a1c%03d", i),
		}
		switch {
		case i%19 == 7:
			r.settle = ledger.Outcome{Status: crm.Failed, HTTPStatus: 500, RequestID: r.settle.RequestID, Code: "MXInvalidEntityException", Message: "Lead with the given ProspectAutoId does not exist"}
		case i == 20:
			r.op.Action, r.settle = crm.Share, ledger.Outcome{Status: crm.Uncertain, Code: "no_answer", Message: "the connection broke while the answer was awaited", Attempts: 2}
		case i == 31:
			r.settle = ledger.Outcome{Status: crm.Accepted, HTTPStatus: 200, RequestID: r.settle.RequestID, Note: "sent again after a lost answer"}
		case i == 40:
			r.op.User, r.code, r.problem = "", "invalid", `context_id: is empty; a lead is shared in the context of an activity`
		case i == 11:
			r.settle.Note = "sent again after a lost answer"
		case i == 12:
			r.settle.Code, r.settle.Message = "stayer_lost", "user 5a1c lost access to the lead and could not be given it back"
		case i >= 57:
			r.untouched = true
		case i%5 == 0:
			r.settle.Status = crm.Unchanged
		}
		rows = append(rows, r)
	}
	calls := []int64{20, 20, 19, 20, 20, 0, 7, 14, 15, 15, 16, 16, 17, 3}
	s := batch.Summary{
		Run: 2, Started: at, Ended: at.Add(68 * time.Second), Sent: 56, Alarms: 1, HeadSeq: 1234, Head: strings.Repeat("c4", 32),
		Accounts: []batch.SummaryAccount{{
			Account: "main", CRM: "leadsquared", Host: "api-in21.leadsquared.com",
			Usage:    crm.Usage{Calls: 202, Refused: 1, Repeats: 2, Limit: 20, Window: 5 * time.Second},
			Timeline: crm.Timeline{Start: at, Step: 5 * time.Second, Calls: calls, Pauses: []crm.Pause{{From: at.Add(24 * time.Second), Until: at.Add(31 * time.Second)}}},
		}},
		Stopped: errors.New("the time of --max-duration is over"),
	}
	return rows, s, Facts{
		Sheet: "/srv/crm/offboarding.csv", Operator: "nina.schmidt", Version: "1.4.0 (9b4d42e1c0aa, 2026-11-20T10:11:12Z)", Host: "jobs-01",
		Args:     []string{"run", "/srv/crm/offboarding.csv", "--yes", "--max-duration", "1m", "--report", "/srv/crm/Q4 report.html"},
		Plan:     &batch.Plan{Rows: 60, ToSend: 57, Done: 2, Digest: strings.Repeat("d1", 32), Accounts: []batch.PlanAccount{{Account: "main", Calls: 171, Duration: 43 * time.Second}}},
		ExitCode: 3, Again: "bulkrevoke run /srv/crm/offboarding.csv", Files: Files{Results: "/srv/crm/offboarding.results.csv", Ledger: "/srv/crm/offboarding.ledger.db"},
	}
}

// writtenPage writes a report and returns it, with the ledger's id replaced.
func writtenPage(t *testing.T, led *ledger.Ledger, s batch.Summary, facts Facts) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	must(t, WriteHTML(t.Context(), led, s, facts, path))
	return strings.ReplaceAll(read(t, path), led.ID(), "00000000-0000-4000-8000-000000000000")
}

func TestReportIsAPage(t *testing.T) {
	t.Parallel()
	rows, s, facts := examplePage()
	golden(t, "report.html", writtenPage(t, pageLedger(t, rows), s, facts))
}

func TestReportShowsNothingAsItCame(t *testing.T) {
	t.Parallel()
	const evil = "<script>alert(1)</script>\"'`\x1b[2J\u202e\x00\r\n-->"
	rows := []pageRow{
		{account: "main", named: evil, op: crm.Operation{Action: crm.Revoke, Object: evil, Record: evil, Context: evil, User: evil}, settle: ledger.Outcome{
			Status: crm.Failed, Code: evil, Message: evil, Note: evil, RequestID: evil, HTTPStatus: 500,
		}},
		{account: "main", named: evil + "2", op: crm.Operation{Action: crm.Revoke, Object: evil, Record: evil}, code: evil, problem: evil},
	}
	s := batch.Summary{
		Run: 2, Started: at, Ended: at, Head: evil, HeadSeq: 3, Stopped: errors.New(evil),
		Accounts: []batch.SummaryAccount{{
			Account: evil, CRM: evil, Host: evil, Ended: &crm.AccountError{Code: evil, Err: errors.New(evil), Hint: evil},
			Usage: crm.Usage{Calls: 1, Limit: 1, Window: time.Second}, Timeline: crm.Timeline{Start: at, Step: time.Second, Calls: []int64{1}},
		}},
	}
	facts := Facts{
		Sheet: evil, Operator: evil, Version: evil, Host: evil, Args: []string{evil}, Plan: &batch.Plan{Digest: evil},
		Failure: errors.New(evil), Again: evil, Files: Files{Results: evil, Ledger: evil},
	}
	got := writtenPage(t, pageLedger(t, rows), s, facts)
	for _, bad := range []string{"<script", "\x1b", "\u202e", "\x00", "\r"} {
		if i := strings.Index(got, bad); i >= 0 {
			t.Errorf("the page has %q: ...%q", bad, got[max(0, i-80):i+40])
		}
	}
	if n := strings.Count(got, "&lt;script&gt;"); n < 20 {
		t.Errorf("the text is on the page %d times, want it wherever it belongs", n)
	}
	for _, bad := range []string{"http://", "https://", "src=", "url(", "@import", "<link"} {
		if strings.Contains(got, bad) {
			t.Errorf("the page is not self-contained, it has %q", bad)
		}
	}
}

func TestReportSaysWhetherAllIsWell(t *testing.T) {
	t.Parallel()
	done := ledger.Outcome{Status: crm.Done, ConfirmedAt: at.Add(time.Second)}
	row := func(n int, s ledger.Outcome) pageRow {
		return pageRow{account: "main", op: revoke(n), settle: s}
	}
	for _, tc := range []struct {
		name       string
		rows       []pageRow
		sum        batch.Summary
		facts      Facts
		want, lack []string
	}{
		{"one row done", []pageRow{row(1, done)}, batch.Summary{}, Facts{Again: "again"},
			[]string{`banner good`, "The one row is as the sheet asks.", "100 %"}, []string{`id="open"`, "Why rows are open", "<code>again<", "A trial"}},
		{"two rows done, in the sandbox", []pageRow{row(1, done), row(2, ledger.Outcome{Status: crm.Unchanged})}, batch.Summary{}, Facts{Sandbox: true},
			[]string{`banner good`, "All 2 rows are as the sheet asks.", "A trial."}, nil},
		{"no row", nil, batch.Summary{}, Facts{},
			[]string{`banner good`, "The sheet has no row: there was nothing to do."}, []string{`id="open"`, "as the sheet asks"}},
		{"one of two failed", []pageRow{row(1, done), row(2, ledger.Outcome{Status: crm.Failed})}, batch.Summary{}, Facts{Again: "again"},
			[]string{`banner open`, "1 row of 2 is open.", "<code>again</code>"}, nil},
		{"accepted is enough", []pageRow{row(1, done), row(2, ledger.Outcome{Status: crm.Accepted})}, batch.Summary{}, Facts{AcceptedIsDone: true},
			[]string{`banner open`, "1 row is accepted by the CRM and not confirmed; nothing else is open.", "--confirm off"}, nil},
		{"somebody else lost access", []pageRow{row(1, ledger.Outcome{Status: crm.Done, Code: "stayer_lost", Message: "user 6"})}, batch.Summary{Alarms: 1}, Facts{Again: "again"},
			[]string{`banner stopped`, "By 1 row a bystander, whom no row is about, lost a record and was not given it back.", "Access lost by somebody else: 1 row", "user 6"}, []string{"nothing, every row"}},
		{"the command failed", []pageRow{row(1, done)}, batch.Summary{}, Facts{Failure: errors.New("disk full")},
			[]string{`banner stopped`, "The command ended with an error: disk full."}, nil},
		{"done by the CRM's own words", []pageRow{row(1, ledger.Outcome{Status: crm.Done, Code: "status_6", Message: "Success"})}, batch.Summary{}, Facts{},
			nil, []string{"with a remark", "status_6"}},
		{"done with a remark", []pageRow{row(1, ledger.Outcome{Status: crm.Done, Message: "a role has the record too"})}, batch.Summary{}, Facts{},
			[]string{`banner good`, "Done, with a remark: 1 row", "a role has the record too"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := writtenPage(t, pageLedger(t, tc.rows), tc.sum, tc.facts)
			got = got[strings.Index(got, "<body>"):]
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("the page lacks %q", want)
				}
			}
			for _, bad := range tc.lack {
				if strings.Contains(got, bad) {
					t.Errorf("the page has %q", bad)
				}
			}
		})
	}
}

// Rows that are not due are not said to be as the sheet asks, on the page and in the workbook.
func TestReportSaysWhatIsNotDue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		counts batch.Counts
		want   string
	}{
		{batch.Counts{Rows: 1, NotDue: 1}, "Nothing is due yet."},
		{batch.Counts{Rows: 3, NotDue: 3}, "Nothing is due yet."},
		{batch.Counts{Rows: 3, Done: 1, Unchanged: 1, NotDue: 1}, "Every row that is due is as the sheet asks; 1 row of 3 is not due yet."},
		{batch.Counts{Rows: 3, Done: 1, NotDue: 2}, "Every row that is due is as the sheet asks; 2 rows of 3 are not due yet."},
		{batch.Counts{Rows: 3, Failed: 1, NotDue: 2}, "1 row of 3 is open."},
	} {
		p := page{Summary: batch.Summary{Counts: tc.counts}}
		p.say(0, new(Reasons))
		if b := (bookSummary{counts: tc.counts}); p.Headline != tc.want || b.headline() != tc.want {
			t.Errorf("%+v: the page says %q, the workbook %q, want %q", tc.counts, p.Headline, b.headline(), tc.want)
		}
	}
}

// Why dates do not count stands beside the rows that wait for it.
func TestReportSaysThatClocksDiffer(t *testing.T) {
	t.Parallel()
	clock := &crm.AccountError{Code: crm.CodeClock, Err: errors.New("clocks are 2h apart"), Hint: "Set it right."}
	sum := batch.Summary{Accounts: []batch.SummaryAccount{{Account: "main", Clock: clock}}}
	got := writtenPage(t, pageLedger(t, []pageRow{{account: "main", op: revoke(1)}}), sum, Facts{})
	if want := "<p>Account main: clocks are 2h apart. Set it right.</p>"; !strings.Contains(got, want) {
		t.Errorf("the page lacks %q", want)
	}
}

func TestReportCountsOnePerson(t *testing.T) {
	t.Parallel()
	rows, s, facts := examplePage()
	led := pageLedger(t, rows[:1])
	if page := writtenPage(t, led, s, facts); !strings.Contains(page, `<b>1</b><span>person</span>`) {
		t.Error("the page does not count 1 person")
	}
}

func TestReportCutsLongLists(t *testing.T) {
	t.Parallel()
	rows := make([]pageRow, shownRows+shownPeople+50)
	for i := range rows {
		rows[i] = pageRow{account: "main", named: fmt.Sprintf("user%d@example.com", i), code: fmt.Sprintf("code%d", i), problem: "user: is wrong"}
	}
	got := writtenPage(t, pageLedger(t, rows), batch.Summary{}, Facts{})
	for _, want := range []string{
		"The first 1,000 are listed; 250 more are in the result file.",
		"And 1,050 further people with 1,050 rows, of which 1,050 are open.",
		"Rarer reasons are left out here; rows that have one of them: 1225.",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := strings.Count(got, "user: is wrong"); n != shownRows+shownReasons {
		t.Errorf("the page lists %d rows and reasons, want %d", n, shownRows+shownReasons)
	}
}
