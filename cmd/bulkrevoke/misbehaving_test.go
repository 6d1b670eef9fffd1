package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// victims are the kinds of change that differ in what a fault does to them.
var victims = [...]struct{ name, op, row string }{
	{"revoke", "EntityAccess.Revoke", fmt.Sprintf("revoke,lead,7,%s,%s,read\n", guidOf('c', 1), guidOf('b', 1))},
	{"share", "EntityAccess.Share", fmt.Sprintf("share,lead,7,%s,%s,read\n", guidOf('c', 1), guidOf('b', 1))},
	{"group", "UserGroup.RemoveUsers", fmt.Sprintf("revoke,sales_group,%s,,%s,\n", guidOf('e', 1), guidOf('b', 1))},
	{"zoho", "Zoho.Share.Put", fmt.Sprintf("revoke,Quotes,%s,,%s,\n", zohoRecord(1), zohoUser(1))},
}

// fates say what becomes of a LeadSquared revoke, a LeadSquared share, a change of
// a sales group and one of a Zoho record: the state, and how often the change
// arrives at the CRM where that is certain.
type fates [len(victims)]string

var (
	fine       = fates{"done 1", "done 1", "done 1", "done 1"}
	again      = fates{"done 2", "in_doubt 1", "done 2", "done 2"} // lost, and not carried out
	seen       = fates{"done 2", "in_doubt 1", "done 1", "done 1"} // lost, and carried out
	givenUp    = fates{"failed 3", "in_doubt 1", "failed 3", "failed 3"}
	stillSeen  = fates{"failed 3", "in_doubt 1", "done 1", "done 1"}
	refusedRow = fates{"failed 1", "failed 1", "failed 1", "failed 1"}
	waited     = fates{"done 2", "done 2", "done 2", "done 2"}
	used       = fates{"quota", "quota", "quota", "quota"}
)

// mishap is a fault, and what becomes of a row that meets it once, and always.
type mishap struct {
	name         string
	fault        sandbox.Fault
	once, always fates
	pause        time.Duration // at least, if the fault is met once
}

func mishaps() []mishap {
	refusal := func(after string) sandbox.Fault {
		f := sandbox.Fault{Kind: sandbox.FaultThrottle}
		if after != "" {
			f.Header = map[string]string{"Retry-After": after}
		}
		return f
	}
	at := time.Date(2000, 1, 1, 0, 0, 40, 0, time.UTC).Format(http.TimeFormat) // a bubble begins at midnight
	return []mishap{
		{"500 without a body", sandbox.Fault{Kind: sandbox.FaultEmpty500}, again, givenUp, 0},
		{"500 without a body, carried out", sandbox.Fault{Kind: sandbox.FaultEmpty500, Processed: true}, seen, stillSeen, 0},
		{"HTML page with 200", sandbox.Fault{Kind: sandbox.FaultHTML}, again, givenUp, 0},
		{"HTML page with 200, carried out", sandbox.Fault{Kind: sandbox.FaultHTML, Processed: true}, seen, stillSeen, 0},
		{"{}", sandbox.Fault{Kind: sandbox.FaultEmptyObject}, again, givenUp, 0},
		{"success without an Id", sandbox.Fault{Kind: sandbox.FaultNoID}, again, givenUp, 0},
		{"success without an Id, carried out", sandbox.Fault{Kind: sandbox.FaultNoID, Processed: true}, seen, stillSeen, 0},
		{"truncated body", sandbox.Fault{Kind: sandbox.FaultTruncate}, seen, stillSeen, 0},
		{"reset before processing", sandbox.Fault{Kind: sandbox.FaultResetBefore}, again, givenUp, 0},
		{"reset after processing", sandbox.Fault{Kind: sandbox.FaultResetAfter}, seen, stillSeen, 0},
		{"hang", sandbox.Fault{Kind: sandbox.FaultHang}, again, givenUp, 0},
		{"hang, carried out", sandbox.Fault{Kind: sandbox.FaultHang, Processed: true}, seen, stillSeen, 0},
		{"body that trickles", sandbox.Fault{Kind: sandbox.FaultTrickle, Delay: 2 * time.Second}, seen, stillSeen, 0},
		{"slow, within the limit", sandbox.Fault{Kind: sandbox.FaultSlow, Delay: 15 * time.Second}, fine, fine, 15 * time.Second},
		{"slow, beyond the limit", sandbox.Fault{Kind: sandbox.FaultSlow, Delay: 30 * time.Second}, seen, stillSeen, 0},
		{"body of 1 GiB", sandbox.Fault{Kind: sandbox.FaultHuge, Bytes: 1 << 30}, again, givenUp, 0},
		{"503 with Retry-After", sandbox.Fault{Kind: sandbox.FaultVerbatim, Status: 503, Header: map[string]string{"Retry-After": "5"}}, again, givenUp, 0},
		{"429 with seconds", refusal("7"), waited, used, 7 * time.Second},
		{"429 with a date", refusal(at), waited, fates{}, 30 * time.Second},
		{"429 with nonsense", refusal("soon"), waited, used, time.Second},
		{"429 with 10^23", refusal("1" + strings.Repeat("0", 23)), waited, used, time.Second},
		{"429 without Retry-After", refusal(""), waited, used, time.Second},
		{"error of the application", sandbox.Fault{Kind: sandbox.FaultException, Type: "MXNoException", Text: "no"}, refusedRow, refusedRow, 0},
	}
}

// meeting is a row of one kind that has met a fault.
type meeting struct {
	summary  batch.Summary
	result   ledger.Result
	arrivals int // of the change
	took     time.Duration
}

// meet runs a sheet of one row, whose change meets the fault so many times, 0 for
// always, under a bubble's clock.
func meet(t *testing.T, victim int, fault sandbox.Fault, times int) (m meeting) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, sandbox.Config{}, transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
		e.addZoho()
		e.server.Seed(crm.Operation{Action: crm.Revoke, Object: crm.SalesGroup, Record: guidOf('e', 1), User: guidOf('b', 1)})
		var grants []crm.Grant
		for _, u := range []int{1, 2} {
			e.server.AddUser(crm.User{ID: zohoUser(u), Active: true}, "Standard")
			grants = append(grants, crm.Grant{Kind: "user", ID: zohoUser(u), Access: crm.Read, Type: "private"})
		}
		e.server.SeedZoho("Quotes", zohoRecord(1), grants...)
		fault.Op, fault.Times = victims[victim].op, times
		if fault.Kind == sandbox.FaultException && victims[victim].name == "zoho" {
			fault.Type, fault.Status = "NO_PERMISSION", http.StatusForbidden
		}
		e.server.Fault(fault)
		begun := time.Now()
		m.summary = e.run(t.Context(), sheetHead+victims[victim].row)
		m.took = time.Since(begun)
		for _, a := range e.server.Arrivals() {
			if a.Op == fault.Op {
				m.arrivals++
			}
		}
		for r, err := range e.led.Results(t.Context()) {
			must(t, err)
			m.result = r
		}
	})
	return m
}

// fate is what has become of the row, as fates have it.
func (m meeting) fate() string {
	for _, a := range m.summary.Accounts {
		if a.Ended != nil && m.result.Status == crm.Pending {
			return a.Ended.Code
		}
	}
	return fmt.Sprintf("%v %d", m.result.Status, m.arrivals)
}

// Whatever the CRM does to a change, once or always: the row has the right state,
// the change is sent no oftener than is safe, in bounded time.
func TestFaultsLeaveTheRightState(t *testing.T) {
	t.Parallel()
	for _, m := range mishaps() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for v, victim := range victims {
				for _, times := range []int{1, 0} {
					want := m.once[v]
					if times == 0 {
						want = m.always[v]
					}
					if want == "" {
						continue
					}
					got := meet(t, v, m.fault, times)
					if got.fate() != want {
						t.Errorf("%s, %d times: %s (%s %s), want %s", victim.name, times, got.fate(), got.result.Code, got.result.Message, want)
					}
					if most := m.pause + 35*time.Second*time.Duration(cmp.Or(got.result.Attempts, 4)); got.took > most*11/10 {
						t.Errorf("%s, %d times: took %v, want at most %v", victim.name, times, got.took, most)
					}
					if times == 1 && got.took < m.pause {
						t.Errorf("%s: took %v, want at least %v", victim.name, got.took, m.pause)
					}
					if got.result.Attempts > 1 && got.result.Status == crm.Done && v != 3 && v != 2 && !strings.Contains(got.result.Message+got.result.Note, "sent again") {
						t.Errorf("%s: sent %d times, and says %q", victim.name, got.result.Attempts, got.result.Message)
					}
				}
			}
		})
	}
}

// One refusal pauses the whole account once: what else was on its way is answered,
// and nothing more is sent until the pause is over.
func TestARefusalPausesTheWholeAccountOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		latency := func() time.Duration { return 300 * time.Millisecond }
		e := newEngine(t, sandbox.Config{Latency: latency}, transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
		e.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultThrottle, Times: 1, After: 3, Header: map[string]string{"Retry-After": "60"}})
		s := e.run(t.Context(), leadRevokes(60))
		if s.Counts.Done != 60 || s.Accounts[0].Usage.Refused != 1 {
			t.Errorf("counts %+v with %d refusals, want all done and one", s.Counts, s.Accounts[0].Usage.Refused)
		}
		var refusedAt, next time.Time
		inPause := 0
		for _, a := range e.server.Arrivals() {
			switch {
			case a.Refused:
				refusedAt = a.At.Add(latency())
			case !refusedAt.IsZero() && a.At.After(refusedAt) && a.At.Before(refusedAt.Add(time.Minute)):
				inPause++
			case !refusedAt.IsZero() && next.IsZero() && a.At.After(refusedAt):
				next = a.At
			}
		}
		if wait := next.Sub(refusedAt); inPause > 0 || wait < time.Minute || wait > 67*time.Second {
			t.Errorf("%d calls arrived within the pause, the next one after %v; want none, and it after 60 s and a tenth at most", inPause, wait)
		}
	})
}

// A CRM that accepts everything and does nothing is noticed by the early
// confirmations, and stops the run by the guard as it is by default.
func TestCRMThatAcceptsEverythingAndDoesNothing(t *testing.T) {
	t.Parallel()
	const rows = 1500
	var quotes strings.Builder
	quotes.WriteString(sheetHead)
	for i := range rows {
		fmt.Fprintf(&quotes, "revoke,Quotes,%s,,%s,\n", zohoRecord(i), zohoUser(1))
	}
	const taken = `{"share":[{"code":"SUCCESS","details":{},"message":"record will be shared successfully","status":"success"}]}`
	for _, tc := range []struct {
		name  string
		fault sandbox.Fault
		sheet string
		most  int // changes until it is noticed
	}{
		{"LeadSquared, failing in processing", sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultProcessFailed, Text: "no"}, leadRevokes(rows), 400},
		{"LeadSquared, never processing", sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultNeverProcess}, leadRevokes(rows), 900},
		{"Zoho, without effect", sandbox.Fault{Op: "Zoho.Share.Put", Kind: sandbox.FaultVerbatim, Body: taken}, quotes.String(), 900},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, sandbox.Config{}, transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
				e.addZoho()
				e.opts.Guard = newOptions().guard.Guard
				e.opts.ConfirmTimeout = 2 * time.Minute
				if strings.HasPrefix(tc.name, "Zoho") {
					for _, u := range []int{1, 2} {
						e.server.AddUser(crm.User{ID: zohoUser(u), Active: true}, "Standard")
					}
					for i := range rows {
						e.server.SeedZoho("Quotes", zohoRecord(i), crm.Grant{Kind: "user", ID: zohoUser(1), Access: crm.Read, Type: "private"},
							crm.Grant{Kind: "user", ID: zohoUser(2), Access: crm.Read, Type: "private"})
					}
				}
				e.server.Fault(tc.fault)
				s := e.run(t.Context(), tc.sheet)
				sent := 0
				for _, a := range e.server.Arrivals() {
					if changes(a) {
						sent++
					}
				}
				if _, ok := errors.AsType[*batch.GuardError](s.Stopped); !ok || sent > tc.most || s.Counts.NotAttempted == 0 || s.Counts.Done > 0 {
					t.Errorf("%d changes were sent, stopped by %v, counts %+v; want the guard to stop it after %d at most", sent, s.Stopped, s.Counts, tc.most)
				}
			})
		})
	}
}

// A CRM that is down: at most 3 attempts for each row, a budget of repeats of a
// tenth of the calls and 10, and a breaker that pauses and then ends the account.
func TestCRMThatIsDown(t *testing.T) {
	t.Parallel()
	for _, kind := range []sandbox.FaultKind{sandbox.FaultEmpty500, sandbox.FaultResetBefore, sandbox.FaultHang, sandbox.FaultHTML} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, sandbox.Config{}, transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
				e.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: kind})
				e.opts.Guard = batch.Guard{}
				begun := time.Now()
				s := e.run(t.Context(), leadRevokes(400))
				u := s.Accounts[0].Usage
				if u.Repeats > u.Calls/10+10 {
					t.Errorf("%d repeats of %d calls", u.Repeats, u.Calls)
				}
				for r, err := range e.led.Results(t.Context()) {
					must(t, err)
					if r.Attempts > 3 {
						t.Errorf("line %d was sent %d times", r.Line, r.Attempts)
					}
				}
				if kind == sandbox.FaultHTML {
					return // an answer, of a proxy perhaps: every row is tried
				}
				if s.Accounts[0].Ended == nil || s.Accounts[0].Ended.Code != crm.EndUnreachable || s.Counts.NotAttempted < 300 {
					t.Errorf("account ended by %v, counts %+v; want it unreachable before long", s.Accounts[0].Ended, s.Counts)
				}
				if took := time.Since(begun); took > 10*time.Minute || u.Calls > 100 {
					t.Errorf("%d calls in %v until the account was given up", u.Calls, took)
				}
			})
		})
	}
}

// Keys that are refused in mid-run end the account: the rest is not attempted, no
// more calls fail than there are workers, and other accounts go on.
func TestRefusedKeysInMidRunEndTheirAccount(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{Latency: func() time.Duration { return 20 * time.Millisecond }})
	const workers = 4
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", After: 10, Kind: sandbox.FaultVerbatim, Status: http.StatusUnauthorized, Body: `{"Status":"Error","ExceptionType":"MXUnauthorizedAccessException","ExceptionMessage":"no"}`})
	var rows []string
	for i := range 40 {
		rows = append(rows, lead("revoke", i))
		r.seedQuote(i, 1, 2)
		rows = append(rows, quote("revoke", i, 1))
	}
	got := r.runs(exitStopped, "run", "--workers", fmt.Sprint(workers), r.sheet(rows...))
	if !strings.Contains(got.stderr, "account lsq ended: keys: ") {
		t.Errorf("the summary says:\n%s", got.stderr)
	}
	refused, taken := 0, 0
	for _, a := range r.server.Arrivals() {
		switch {
		case a.Op == "EntityAccess.Revoke" && a.Status == http.StatusUnauthorized:
			refused++
		case a.Op == "EntityAccess.Revoke":
			taken++
		}
	}
	if refused == 0 || refused > workers || taken != 10 {
		t.Errorf("%d calls were taken and %d refused, want 10 and at most %d", taken, refused, workers)
	}
	for i, word := range r.words("result") {
		if want := map[bool]string{true: "done", false: "not_attempted"}[i%2 == 1]; word != want && (i%2 == 1 || i >= 2*(10+workers)) {
			t.Errorf("line %d is %s, want %s", i+2, word, want)
		}
	}
	r.server.ClearFaults()
	r.runs(exitDone, "run", r.path("off.csv"))
}

// A Zoho access token that dies in mid-run is replaced once, for all calls that
// meet it, and the run goes on.
func TestExpiredTokenInMidRunIsRenewedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{
		Latency: func() time.Duration { return 20 * time.Millisecond },
		Zoho:    sandbox.ZohoConfig{Concurrency: -1, TokenLimit: -1, TokenCalls: 60},
	})
	var rows []string
	for i := range 30 {
		r.seedQuote(i, 1, 2)
		rows = append(rows, quote("revoke", i, 1))
	}
	r.runs(exitDone, "run", r.sheet(rows...))
	tokens, refused := 0, 0
	for _, a := range r.server.Arrivals() {
		switch {
		case a.Op == "Zoho.Token":
			tokens++
		case a.Status == http.StatusUnauthorized:
			refused++
		}
	}
	if tokens != 2 || refused == 0 || refused > 8 {
		t.Errorf("%d tokens were fetched after %d refusals, want a second one", tokens, refused)
	}
}

// A user list that can not be had ends its account: nothing is sent there, and the
// others go on.
func TestUserListThatFailsEndsItsAccountAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.seedQuote(1, 1, 2)
	r.server.Fault(sandbox.Fault{Op: "Users.Get", Kind: sandbox.FaultEmpty500})
	named := strings.Replace(lead("revoke", 1), guidOf('u', 1), "u1@rig.example", 1)
	got := r.runs(exitStopped, "run", r.sheet(named, lead("revoke", 2), quote("revoke", 1, 1)))
	if words := strings.Join(r.words("result"), " "); words != "not_attempted not_attempted done" {
		t.Errorf("results %s:\n%s", words, got.stderr)
	}
	r.server.ClearFaults()
	r.server.AddUser(crm.User{ID: guidOf('u', 1), Email: "u1@rig.example", Active: true}, "Sales_User")
	r.runs(exitDone, "run", r.path("off.csv"))
}
