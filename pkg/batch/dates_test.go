package batch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// calendar is a bench whose clock stands at a day's 03:00 in UTC; so does the CRM's.
type calendar struct {
	*bench
	f   *fake
	now time.Time
}

func newCalendar(t *testing.T) *calendar {
	f := newFake(t)
	c := &calendar{bench: newBench(t, f), f: f}
	c.opts.Zone = time.UTC
	c.opts.Now = func() time.Time { return c.now }
	c.night("2026-12-01")
	return c
}

func (c *calendar) night(day string) {
	c.t.Helper()
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		c.t.Fatal(err)
	}
	c.now = at.Add(3 * time.Hour)
	c.f.clock = c.now
}

// runs runs the rows and returns how each of them stands.
func (c *calendar) runs(rows ...string) string {
	c.t.Helper()
	_, results := c.run(c.t.Context(), rows...)
	return standings(results)
}

func standings(results []ledger.Result) string {
	var words []string
	for _, res := range results {
		word := res.Status.String()
		if res.Invalid {
			word = res.Code
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (c *calendar) want(got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("got %s, want %s", got, want)
	}
}

// A share now and a revoke with a date, on one target, over three nights.
func TestShareNowAndRevokeLater(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		second, third  []string // the sheet of the second and third night
		states2, sent2 string
		states3, sent3 string
	}{
		{
			name:   "the same sheet",
			second: []string{"share r1 u1 read", "revoke r1 u1 ## 2026-12-03"}, states2: "done not_due",
			third: []string{"share r1 u1 read", "revoke r1 u1 ## 2026-12-03"}, states3: "done done", sent3: "revoke r1 u1",
		},
		{
			name:   "a line inserted between",
			second: []string{"share r1 u1 read", "share r1 u1 write", "revoke r1 u1 ## 2026-12-03"}, states2: "done done not_due", sent2: "share r1 u1",
			third: []string{"share r1 u1 read", "share r1 u1 write", "revoke r1 u1 ## 2026-12-03"}, states3: "done done done", sent3: "revoke r1 u1",
		},
		{
			name:   "sorted the other way round",
			second: []string{"revoke r1 u1 ## 2026-12-03", "share r1 u1 read"}, states2: "not_due not_due",
			third: []string{"revoke r1 u1 ## 2026-12-03", "share r1 u1 read"}, states3: "done done", sent3: "revoke r1 u1, share r1 u1",
		},
		{
			name:   "the date moved on",
			second: []string{"share r1 u1 read", "revoke r1 u1 ## 2026-12-04"}, states2: "done not_due",
			third: []string{"share r1 u1 read", "revoke r1 u1 ## 2026-12-04"}, states3: "done not_due",
		},
		{
			name:   "the date moved here, and away again when all was done",
			second: []string{"share r1 u1 read", "revoke r1 u1 ## 2026-12-02"}, states2: "done done", sent2: "revoke r1 u1",
			third: []string{"share r1 u1 read", "revoke r1 u1 ## 2027-12-02"}, states3: "done done",
		},
		{
			name:   "the date taken out",
			second: []string{"share r1 u1 read", "revoke r1 u1"}, states2: "done done", sent2: "revoke r1 u1",
			third: []string{"share r1 u1 read", "revoke r1 u1"}, states3: "done done",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCalendar(t)
			c.want(c.runs("share r1 u1 read", "revoke r1 u1 ## 2026-12-03"), "done not_due")
			c.want(strings.Join(c.f.sentWords(), ", "), "share r1 u1")
			c.night("2026-12-02")
			c.want(c.runs(tc.second...), tc.states2)
			c.want(strings.Join(c.f.sentWords(), ", "), tc.sent2)
			c.night("2026-12-03")
			c.want(c.runs(tc.third...), tc.states3)
			c.want(strings.Join(c.f.sentWords(), ", "), tc.sent3)
		})
	}
}

func TestRowsWaitForTheirDates(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		rows   []string
		states string
		why    []string // the messages of the rows
	}{
		{"due", []string{"revoke r1 u1 ## 2026-12-01"}, "done", []string{""}},
		{"at this very moment", []string{"revoke r1 u1 ## 2026-12-01T03:00:00Z"}, "done", []string{""}},
		{"a second later", []string{"revoke r1 u1 ## 2026-12-01T03:00:01Z"}, "not_due", []string{"due from 2026-12-01T03:00:01Z"}},
		{"by another clock on the wall", []string{"revoke r1 u1 ## 2026-12-01T08:00:00+05:30"}, "done", []string{""}},
		{
			"a later row of the target waits", []string{"revoke r1 u1 ## 2026-12-05", "share r1 u1 read", "share r2 u1 read", "share r1 u2 read"}, "not_due not_due done done",
			[]string{"due from 2026-12-05T00:00:00Z", "waits for line 2, which is due from 2026-12-05T00:00:00Z", "", ""},
		},
		{
			"one that is due later still", []string{"revoke r1 u1 ## 2026-12-05", "share r1 u1 read ## 2026-12-07"}, "not_due not_due",
			[]string{"due from 2026-12-05T00:00:00Z", "waits for line 2, and is due from 2026-12-07T00:00:00Z"},
		},
		{"of equal rows, each has its date", []string{"revoke r1 u1", "revoke r1 u1 ## 2026-12-05"}, "done not_due", []string{"", "due from 2026-12-05T00:00:00Z"}},
		{
			"a record as a whole", []string{"revoke_all r1 ## 2026-12-05", "revoke r1 u7"}, "not_due not_due",
			[]string{"due from 2026-12-05T00:00:00Z", "waits for line 2, which is due from 2026-12-05T00:00:00Z"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCalendar(t)
			_, results := c.run(t.Context(), tc.rows...)
			c.want(standings(results), tc.states)
			for i, res := range results {
				if res.Status == crm.NotDue && (res.Message != tc.why[i] || res.Code != crm.CodeNotDue) {
					t.Errorf("row %d says %s %q, want %q", i+1, res.Code, res.Message, tc.why[i])
				}
			}
		})
	}
}

// What is due when is told by day: the first ten, then a sum.
func TestPlanTellsDates(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	var rows []string
	for i := range 30 {
		rows = append(rows, fmt.Sprintf("revoke r%d u1 ## 2026-12-%02d", i, 31-i))
	}
	rows = append(rows, "revoke r97 u1 ## 2026-12-02T23:59:59Z", "revoke r98 u1 ## 2026-11-20", "revoke r99 u1")
	_, p, err := c.prepare(rows...)
	if err != nil {
		t.Fatal(err)
	}
	var want []DueDay
	for day := 2; day <= 11; day++ {
		want = append(want, DueDay{Day: fmt.Sprintf("2026-12-%02d", day), Rows: 1})
	}
	want[0].Rows = 2
	if diff := cmp.Diff(want, p.DueDays); diff != "" {
		t.Errorf("days (-want +got):\n%s", diff)
	}
	oldest := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	if p.NotDue != 31 || p.DueLater != 20 || p.Overdue != 1 || p.OldestDue == nil || !p.OldestDue.Equal(oldest) || p.ToSend != 2 {
		t.Errorf("got %+v", p)
	}
}

// The date is part of what is approved, and no part of what an operation is.
// A last day that stands for none comes after all others.
func TestPlanTellsTheEndOfTime(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	batch, err := c.loadText("action,object,record_id,user,last_day\nrevoke,thing,r1,u1,9999-12-31\nrevoke,thing,r2,u1,2026-12-05\n")
	if err != nil {
		t.Fatal(err)
	}
	p, err := batch.Prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]DueDay{{Day: "2026-12-06", Rows: 1}, {Day: "10000-01-01", Rows: 1}}, p.DueDays); diff != "" {
		t.Errorf("days (-want +got):\n%s", diff)
	}
}

// A row waits for the latest date before it, and is not overdue while it waits.
func TestPlanTellsWhatWaits(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	rows := []string{"share r1 u1 read ## 2026-12-05", "revoke r1 u1 ## 2026-12-09", "share r1 u1 read ## 2026-11-20", "revoke r1 u1 ## 2026-12-07"}
	_, p, err := c.prepare(rows...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]DueDay{{Day: "2026-12-05", Rows: 1}, {Day: "2026-12-09", Rows: 3}}, p.DueDays); diff != "" || p.Overdue != 0 || p.NotDue != 4 {
		t.Errorf("%d overdue, %d not due, days (-want +got):\n%s", p.Overdue, p.NotDue, diff)
	}
	_, results := c.run(t.Context(), rows...)
	c.want(results[2].Message, "waits for line 3, which is due from 2026-12-09T00:00:00Z")
	c.want(results[3].Message, "waits for line 3, which is due from 2026-12-09T00:00:00Z")
}

func TestMovedDateChangesTheDigest(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	digest := func(row string) string {
		_, p, err := c.prepare(row)
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest
	}
	if digest("revoke r1 u1 ## 2026-12-05") == digest("revoke r1 u1 ## 2026-12-06") || digest("revoke r1 u1") == digest("revoke r1 u1 ## 2026-11-05") {
		t.Error("sheets with other dates have one digest")
	}
	if digest("revoke r1 u1 ## 2026-12-05") != digest("revoke r1 u1 ## 2026-12-05T00:00:00Z") {
		t.Error("one moment, written in two ways, has two digests")
	}
}

// On a night on which nothing is due, nobody is asked anything; but for the list that tells
// whose address it is, once.
func TestNothingIsDue(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	c.f.preErr = &crm.AccountError{Code: crm.EndKeys, Err: errors.New("asked")}
	s, results := c.run(t.Context(), "revoke r1 u1 ## 2026-12-05", "keep r2 u2", "keep r3 you@x.de")
	c.want(standings(results), "not_due unchanged unchanged")
	if s.Accounts[0].Ended != nil || c.f.lists > 0 || c.f.looks > 0 {
		t.Errorf("the account was asked: %+v, %d lists, %d looks", s.Accounts[0], c.f.lists, c.f.looks)
	}
	c.f.preErr = nil
	c.f.users = []crm.User{{ID: "u9", Email: "me@x.de", Active: true}}
	for range 2 {
		c.want(c.runs("revoke r1 me@x.de ## 2026-12-05"), "not_due")
		if c.f.lists != 1 {
			t.Errorf("%d lists, want 1", c.f.lists)
		}
	}
	// The address has been given to somebody else since: what is due then is not theirs.
	c.f.users[0].ID = "u10"
	c.night("2026-12-05")
	c.opts.SkipInvalid = true
	c.want(c.runs("revoke r1 me@x.de ## 2026-12-05"), crm.CodeReassignedAddress)
}

// What was done in one place does not count in another, also on a night on which the account
// is asked nothing.
func TestNothingIsDueElsewhere(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	c.want(c.runs("revoke r1 u1"), "done")
	c.opts.Accounts[0].Host = "elsewhere.example"
	_, _, err := c.prepare("revoke r1 u1 ## 2026-12-05")
	if _, ok := errors.AsType[*ledger.BindingError](err); !ok {
		t.Errorf("got %v, want a BindingError", err)
	}
}

// Where the clocks differ, rows whose date has come are not attempted, nor what stands
// behind them; all others are done.
func TestWrongClock(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		off   time.Duration
		wrong bool
	}{
		{"an hour fast", -time.Hour, true},
		{"an hour slow", time.Hour, true},
		{"six minutes", 6 * time.Minute, true},
		{"five minutes", 5 * time.Minute, false},
		{"four minutes", -4 * time.Minute, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCalendar(t)
			c.f.clock = c.now.Add(tc.off)
			rows := []string{"revoke r1 u1 ## 2026-12-01", "share r1 u1 read", "revoke r2 u1", "revoke r3 u1 ## 2026-12-05"}
			s, results := c.run(t.Context(), rows...)
			if !tc.wrong {
				c.want(standings(results), "done done done not_due")
				return
			}
			c.want(standings(results), "not_attempted not_attempted done not_due")
			if results[0].Code != crm.CodeClock || !strings.Contains(results[0].Message, "apart") || !strings.Contains(results[1].Message, "line 2") || s.Accounts[0].Clock == nil {
				t.Errorf("got %q, %q, %+v", results[0].Message, results[1].Message, s.Accounts[0].Clock)
			}
			if s.Counts.NotAttempted != 2 || s.Counts.NotDue != 1 {
				t.Errorf("counts %+v", s.Counts)
			}
			c.f.clock = c.now
			c.want(c.runs(rows...), "done done done not_due")
		})
	}
}

// A CRM that does not say what time it is leaves it to this machine's clock.
func TestNoClock(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	c.f.clock = time.Time{}
	c.want(c.runs("revoke r1 u1 ## 2026-12-01"), "done")
}

// What was sent without an answer is in doubt, whatever its date says later; what failed is
// not tried before its new date.
func TestMovedDateOfWhatWasTried(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	c.f.answer = func(item crm.Item) crm.Outcome {
		if item.Op.Record == "r1" {
			return crm.Outcome{Status: crm.Uncertain, Code: crm.CodeNoAnswer, Attempts: 1}
		}
		return crm.Outcome{Status: crm.Failed, Code: "NO", Attempts: 1}
	}
	c.want(c.runs("revoke r1 u1", "revoke r2 u1"), "in_doubt failed")
	c.f.answer = nil
	c.f.sentWords()
	c.want(c.runs("revoke r1 u1 ## 2026-12-05", "revoke r2 u1 ## 2026-12-05"), "in_doubt not_due")
	c.want(strings.Join(c.f.sentWords(), ", "), "")
	c.night("2026-12-05")
	c.opts.RedoInDoubt = true
	c.want(c.runs("revoke r1 u1 ## 2026-12-05", "revoke r2 u1 ## 2026-12-05"), "done done")
}

// What the CRM has accepted and not confirmed is asked about and not sent again before its
// new date, nor behind a row that is not due.
func TestMovedDateOfWhatWasAccepted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		confirmOff bool
		rows       []string
		want, sent string
	}{
		{"alone on its target", false, []string{"revoke r1 u1 ## 2026-12-05", "revoke r2 u1"}, "accepted accepted", "revoke r2 u1"},
		{"before a row of its target", false, []string{"revoke r1 u1 ## 2026-12-05", "share r1 u1 read"}, "accepted not_attempted", ""},
		{"before a row of its target, with --confirm off", true, []string{"revoke r1 u1 ## 2026-12-05", "share r1 u1 read"}, "accepted not_attempted", ""},
		{"behind a row that is not due", false, []string{"share r1 u1 read ## 2026-12-05", "revoke r1 u1"}, "not_due accepted", ""},
		{"on an account that is asked nothing", false, []string{"revoke r1 u1 ## 2026-12-05"}, "accepted", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCalendar(t)
				c.f.settle = func(crm.Item) crm.Outcome { return crm.Outcome{Status: crm.Accepted, Later: time.Second} }
				c.opts.ConfirmTimeout, c.opts.ConfirmOff = 10*time.Second, tc.confirmOff
				c.want(c.runs("revoke r1 u1"), "accepted")
				c.f.sentWords()
				_, p, err := c.prepare(tc.rows...)
				if err != nil {
					t.Fatal(err)
				}
				if !tc.confirmOff && p.Asked != 1 {
					t.Errorf("the plan asks about %d rows, want 1", p.Asked)
				}
				c.want(c.runs(tc.rows...), tc.want)
				c.want(strings.Join(c.f.sentWords(), ", "), tc.sent)
			})
		})
	}
}

func TestDatesThatMakeRowsInvalid(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ date, want string }{
		{"30.11.2026", `not_before: "30.11.2026" is not a date that can be read in one way only`},
		{"46356", `not_before: "46356" is not a date`},
		{"soon", `not_before: "soon" is not a date`},
		{"2026-11-31", `not_before: "2026-11-31" is not a date`},
	} {
		c := newCalendar(t)
		_, _, err := c.prepare("revoke r1 u1 ## " + tc.date)
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || !strings.HasPrefix(invalid.First[0].Reason, tc.want) || invalid.First[0].Column != "not_before" || invalid.First[0].Value != tc.date {
			t.Errorf("%s: got %v", tc.date, err)
		}
	}
	c := newCalendar(t)
	c.opts.Zone = nil
	_, _, err := c.prepare("share r1 u1 read ## 2026-12-30")
	if invalid, ok := errors.AsType[*InvalidError](err); !ok || !strings.Contains(invalid.First[0].Reason, "timezone") {
		t.Errorf("a date without a zone: %v", err)
	}
	if _, _, err := c.prepare("share r1 u1 read ## 2026-12-30T00:00:00Z"); err != nil {
		t.Errorf("a moment without a zone: %v", err)
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	c.f.inForce[crm.Target{Object: "thing", Record: "r1", User: "u1"}] = crm.Operation{Action: crm.Share}
	s, results := c.run(t.Context(), "keep r1 u1", "revoke r1 u2", "certify r2 ", "keep r1 u1 read")
	c.want(standings(results), "unchanged done unchanged unchanged")
	if r := results[0]; r.Code != crm.CodeKept || r.Attempts != 0 || r.Op.Action != crm.Keep || r.Op.User != "u1" {
		t.Errorf("got %+v", r)
	}
	if s.Counts.Unchanged != 3 || s.Counts.Done != 1 || s.Sent != 1 {
		t.Errorf("counts %+v, %d sent", s.Counts, s.Sent)
	}
	c.want(strings.Join(c.f.sentWords(), ", "), "revoke r1 u2")
	// Somebody has decided otherwise: what was kept is revoked, and what was revoked is not
	// given back by keeping it.
	c.want(c.runs("revoke r1 u1", "keep r1 u2"), "done unchanged")
	c.want(strings.Join(c.f.sentWords(), ", "), "revoke r1 u1")
	c.want(c.runs("keep r1 u1", "keep r1 u2"), "unchanged unchanged")
	c.want(c.runs("revoke r1 u1", "revoke r1 u2"), "done done")
	c.want(strings.Join(c.f.sentWords(), ", "), "")
}

// The digest of a plan does not depend on whether anybody had to be asked tonight who has the
// address of a row that keeps something.
func TestKeptAddressInTheDigest(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	c.f.users = []crm.User{{ID: "u9", Email: "me@x.de", Active: true}, {ID: "u8", Email: "you@x.de", Active: true}}
	digest := func(keep string) string {
		_, p, err := c.prepare("keep r3 "+keep, "revoke r1 u1 ## 2026-12-05")
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest
	}
	before, other := digest("me@x.de"), digest("you@x.de")
	c.night("2026-12-05")
	if after := digest("me@x.de"); after != before || after == other {
		t.Errorf("the digest is %s, was %s, and for another address %s", after, before, other)
	}
}

func TestKeepBesideAChange(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	c.f.users = []crm.User{{ID: "u1", Email: "me@x.de", Active: true}}
	c.opts.SkipInvalid = true
	c.want(c.runs("keep r1 u1", "revoke r1 me@x.de", "revoke r1 u2", "keep r2 u1", "revoke_all r2"),
		strings.Join([]string{crm.CodeKeptAndChanged, crm.CodeKeptAndChanged, "done", crm.CodeKeptAndChanged, crm.CodeKeptAndChanged}, " "))
}

// A protected user may be kept.
func TestKeepOfTheProtected(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	c.opts.Protect = []string{"u1"}
	c.want(c.runs("keep r1 u1", "revoke r1 u2"), "unchanged done")
}

func TestUndecided(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	rows := []string{"keep r1 u1", "- r2 u1", "revoke r3 u1", "- r4 u1"}
	text := "decision,object,record_id,user\nkeep,thing,r1,u1\n,thing,r2,u1\nrevoke,thing,r3,u1\n \u00a0,thing,r4,u1\n"
	load := func() (*Batch, error) { return c.load(text) }
	_, err := load()
	invalid, ok := errors.AsType[*InvalidError](err)
	if !ok || invalid.Total != 2 || invalid.First[0].Line != 3 || invalid.First[0].Code != crm.CodeUndecided {
		t.Errorf("%v: got %v", rows, err)
	}
	c.opts.SkipInvalid = true
	b, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var results []ledger.Result
	for res, err := range c.led.Results(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, res)
	}
	c.want(standings(results), "unchanged undecided done undecided")
}

func TestRequire(t *testing.T) {
	t.Parallel()
	const text = "action,object,record_id,user,user email,Reviewer,reason\n" +
		"keep,thing,r1,u1,,boss@x.de,needs it\n" +
		"revoke,thing,r2,u1,,,left\n" +
		"revoke,thing,r3,u1,,boss@x.de,\u200b\n" +
		"keep,thing,r4,u1,,U1,I need it\n" +
		"keep,thing,r5,u1,me@x.de, Me@X.de ,I need it\n"
	load := func(require ...string) error {
		c := newCalendar(t)
		c.opts.Require = require
		_, err := c.load(text)
		return err
	}
	if err := load(); err != nil {
		t.Errorf("without --require: %v", err)
	}
	invalid, ok := errors.AsType[*InvalidError](load("reviewer", "reason"))
	var got []string
	if ok {
		for _, row := range invalid.First {
			got = append(got, fmt.Sprintf("%d %s %s", row.Line, row.Code, row.Column))
		}
	}
	want := []string{"3 required Reviewer", "4 required reason", "5 self_review Reviewer", "6 self_review Reviewer"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if refused, ok := errors.AsType[*sheet.Error](load("reviewed by")); !ok || !strings.Contains(refused.Error(), `"reviewed by"`) {
		t.Errorf("a column that there is not: %v", load("reviewed by"))
	}
}

// Nobody decides about themselves, whichever name stands where.
func TestSelfReviewByAnotherName(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	c.f.users = []crm.User{{ID: "u1", Email: "Me@x.de", Active: true}, {ID: "u2", Email: "boss@x.de", Active: true}}
	c.opts.Require, c.opts.SkipInvalid = []string{"reviewer"}, true
	text := "action,object,record_id,user,reviewer\n" +
		"revoke,thing,r1,u1,me@X.de\n" +
		"keep,thing,r2,u1,boss@x.de\n" +
		"revoke,thing,r3,me@x.de,u1\n" +
		"revoke,thing,r4,me@x.de,u2\n" +
		"keep,thing,r5,u1,somebody@else.de\n"
	b, err := c.load(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for row, err := range b.importing.Invalid(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d %s %s", row.Line, row.Code, row.Problem))
	}
	want := []string{
		`2 self_review reviewer: "me@X.de" is the user whom the row is about: somebody else has to decide`,
		`4 self_review reviewer: "u1" is the user whom the row is about: somebody else has to decide`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("invalid rows (-want +got):\n%s", diff)
	}
}

// What is kept needs no user that the CRM knows: nothing is sent, on whatever night.
func TestKeepOfSomebodyUnknown(t *testing.T) {
	t.Parallel()
	c := newCalendar(t)
	c.f.users = []crm.User{{ID: "u1", Email: "me@x.de", Active: true}}
	c.want(c.runs("keep r1 who@x.de"), "unchanged")
	c.want(c.runs("keep r1 who@x.de", "revoke r2 me@x.de"), "unchanged done")
	c.opts.SkipInvalid = true
	c.want(c.runs("keep r1 who@x.de", "revoke r3 who@x.de"), "unchanged "+crm.CodeUnknownUser)
}
