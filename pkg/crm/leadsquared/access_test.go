package leadsquared

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	revokePath = "POST /v2/EntityAccess.svc/Revoke"
	sharePath  = "POST /v2/EntityAccess.svc/Share"
	requestID  = "4c224152d0e74190b29038397e3d93af"

	// The vendor's own samples.
	leadBody = `[{"UserId":"0203f172-8642-11e7-9bed-069b743e848f","Entity":1,"EntityType":3,"EntityId":"869196",
		"ContextEntity":1,"ContextEntityId":"f2dbf1d5-bbab-418b-bddc-4c92ecdef214","AccessType":2}]`
	dealBody = `[{"UserId":"96105aa0-61f2-11ea-8109-022edb41208c","Entity":5,"EntityType":3,
		"EntityId":"f85f3b60-bec7-47c8-8fcd-ae5d9df2d0e5","AccessType":2}]`
)

// withMinutes makes a share's body of a revoke's.
func withMinutes(body string) string {
	return strings.Replace(body, `"AccessType":2`, `"AccessType":2,"DurationInMinutes":30`, 1)
}

// textless compares outcomes without the words of their messages.
var textless = cmpopts.IgnoreFields(crm.Outcome{}, "Message", "Ended")

// do runs a call in a bubble against a script and returns what came of it.
func do(t *testing.T, cfg Config, call crm.Call, steps ...step) (out []crm.Outcome, s *script) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s = newScript(t, steps...)
		out = newTestProvider(t, cfg, s).Do(t.Context(), call, s)
	})
	noSecret(t, out)
	return out, s
}

// intents fails unless every change was announced right before it was sent.
func intents(t *testing.T, s *script) {
	t.Helper()
	for i, e := range s.events {
		if strings.HasPrefix(e, "POST") && (i == 0 || s.events[i-1] != "intend") {
			t.Errorf("a change was sent without an intent right before it: %v", s.events)
		}
	}
}

func TestDoSendsTheVendorsSamples(t *testing.T) {
	t.Parallel()
	share := func(o *crm.Operation) { o.Action, o.Minutes = crm.Share, 30 }
	for name, c := range map[string]struct {
		op         crm.Operation
		path, body string
		query      bool
	}{
		"revoke a lead":             {leadRevoke(), revokePath, leadBody, false},
		"revoke an opportunity":     {dealRevoke(), revokePath, dealBody, false},
		"share a lead":              {with(leadRevoke(), share), sharePath, withMinutes(leadBody), false},
		"share an opportunity":      {with(dealRevoke(), share), sharePath, withMinutes(dealBody), false},
		"share for the default":     {with(dealRevoke(), asShare), sharePath, dealBody, false},
		"revoke with keys in query": {leadRevoke(), revokePath, leadBody, true},
		"revoke of read": {
			with(dealRevoke(), func(o *crm.Operation) { o.Access = crm.Read }), revokePath,
			strings.Replace(dealBody, `"AccessType":2`, `"AccessType":1`, 1), false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, s := do(t, Config{Query: c.query}, items(c.op), step{want: c.path, body: c.body, reply: accepted(requestID)})
			want := []crm.Outcome{{Status: crm.Accepted, RequestID: requestID, Ticket: requestID, HTTPStatus: 200, Attempts: 1}}
			if diff := cmp.Diff(want, out); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"intend", c.path}, s.events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]crm.State{{}}, s.states); diff != "" {
				t.Errorf("state before (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDoOneRow(t *testing.T) {
	t.Parallel()
	revoke, share := items(leadRevoke()), items(with(leadRevoke(), asShare))
	prior := func(c crm.Call, p crm.Prior) crm.Call {
		it := c.Items[0]
		it.Prior, it.Ticket = p, "oldticket"
		return crm.Call{ID: c.ID, Items: []crm.Item{it}}
	}
	ok := step{reply: accepted(requestID)}
	page := step{status: 502, reply: "<html>"}
	limit := step{status: 429, reply: limitBody}
	took := crm.Outcome{Status: crm.Accepted, RequestID: requestID, Ticket: requestID, HTTPStatus: 200}
	attempts := func(o crm.Outcome, n int) crm.Outcome { o.Attempts = n; return o }
	for name, c := range map[string]struct {
		call  crm.Call
		steps []step
		want  crm.Outcome
		says  string
	}{
		"refused": {revoke, []step{{status: 500, reply: exception("MXInvalidLeadException", "no such lead")}},
			crm.Outcome{Status: crm.Failed, Code: "MXInvalidLeadException", HTTPStatus: 500, Attempts: 1}, "no such lead"},
		"refused without a type": {revoke, []step{{reply: `{"Status":"Error","Message":"no"}`}},
			crm.Outcome{Status: crm.Failed, Code: "error", HTTPStatus: 200, Attempts: 1}, "no"},
		"share throttled and taken":  {share, []step{limit, {status: 200, reply: limitBody}, ok}, attempts(took, 1), ""},
		"revoke throttled and taken": {revoke, []step{{status: 403, reply: limitBody}, ok}, attempts(took, 1), ""},
		"revoke lost once":           {revoke, []step{{err: errReset}, ok}, attempts(took, 2), "sent again after a lost answer"},
		"revoke lost, then refused": {revoke, []step{page, {status: 500, reply: exception("MXUnknownShareException", "not shared")}},
			crm.Outcome{Status: crm.Failed, Code: "MXUnknownShareException", HTTPStatus: 500, Attempts: 2, Uncertain: true}, "not shared; sent again"},
		"revoke lost, throttled, lost, taken": {revoke, []step{page, limit, {reply: "{}"}, ok}, attempts(took, 3), "sent again"},
		"revoke lost three times": {revoke, []step{page, {reply: `{"Status":"Success"}`}, page},
			crm.Outcome{Status: crm.Failed, Code: "no_answer", HTTPStatus: 502, Attempts: 3, Uncertain: true}, "running again tries again; sent again after a lost answer"},
		"revoke with a passing exception": {revoke, []step{{status: 500, reply: exception("MXDataException", "deadlock")}, ok}, attempts(took, 2), "sent again"},
		"revoke with an exception that does not pass": {revoke, []step{
			{status: 500, reply: exception("MXDataException", "deadlock")}, {status: 500, reply: exception("MXDataException", "deadlock")},
			{status: 500, reply: exception("MXDataException", "deadlock")},
		}, crm.Outcome{Status: crm.Failed, Code: "MXDataException", HTTPStatus: 500, Attempts: 3, Uncertain: true}, "deadlock"},
		"share lost":                     {share, []step{{err: errReset}}, crm.Outcome{Status: crm.Uncertain, Code: "no_answer", Attempts: 1}, "reset"},
		"share with a page":              {share, []step{page}, crm.Outcome{Status: crm.Uncertain, Code: "no_answer", HTTPStatus: 502, Attempts: 1}, "502"},
		"share without an Id":            {share, []step{{reply: `{"Status":"Success"}`}}, crm.Outcome{Status: crm.Uncertain, Code: "no_answer", HTTPStatus: 200, Attempts: 1}, ""},
		"share with a passing exception": {share, []step{{status: 500, reply: exception("MXDataException", "timeout")}}, crm.Outcome{Status: crm.Uncertain, Code: "MXDataException", HTTPStatus: 500, Attempts: 1}, "timeout"},
		"share refused":                  {share, []step{{status: 500, reply: exception("MXInvalidLeadException", "x")}}, crm.Outcome{Status: crm.Failed, Code: "MXInvalidLeadException", HTTPStatus: 500, Attempts: 1}, ""},

		"share lost earlier":                              {prior(share, crm.PriorUnanswered), nil, crm.Outcome{Status: crm.Uncertain, Code: "no_answer"}, "not sent again"},
		"share lost earlier, and to be sent all the same": {prior(share, crm.PriorRedo), []step{ok}, attempts(took, 1), "sent again after a lost answer"},
		"share accepted earlier":                          {prior(share, crm.PriorAccepted), nil, crm.Outcome{Status: crm.Accepted, RequestID: "oldticket", Ticket: "oldticket"}, "not sent again"},
		"revoke lost earlier":                             {prior(revoke, crm.PriorUnanswered), []step{ok}, attempts(took, 1), "sent again after a lost answer"},
		"revoke accepted earlier":                         {prior(revoke, crm.PriorAccepted), []step{ok}, attempts(took, 1), "sent again after it stayed unconfirmed"},
		"revoke uncertain":                                {prior(revoke, crm.PriorUncertain), []step{ok}, attempts(took, 1), "sent again, as an earlier sending may have taken effect"},
		"share uncertain":                                 {prior(share, crm.PriorUncertain), nil, crm.Outcome{Status: crm.Uncertain, Code: "no_answer"}, "nothing says whether it took effect; a share is not sent again"},
		"revoke lost earlier, now refused": {prior(revoke, crm.PriorUnanswered), []step{{status: 500, reply: exception("MXInvalidLeadException", "x")}},
			crm.Outcome{Status: crm.Failed, Code: "MXInvalidLeadException", HTTPStatus: 500, Attempts: 1, Uncertain: true}, "x; sent again after a lost answer"},

		"an address is never sent": {items(with(leadRevoke(), func(o *crm.Operation) { o.User = "bob@example.com" })), nil, crm.Outcome{Status: crm.Failed, Code: "invalid"}, "user"},
		"an odd id is never sent":  {items(with(leadRevoke(), func(o *crm.Operation) { o.Record = `1","x":"` })), nil, crm.Outcome{Status: crm.Failed, Code: "invalid"}, "record_id"},
		"keys echoed as an Id":     {share, []step{{reply: accepted(accessKey)}}, crm.Outcome{Status: crm.Uncertain, Code: "no_answer", HTTPStatus: 200, Attempts: 1}, ""},
		"keys echoed in a text":    {revoke, []step{{status: 500, reply: exception("MXInvalidLeadException", "got "+secretKey)}}, crm.Outcome{Status: crm.Failed, Code: "MXInvalidLeadException", HTTPStatus: 500, Attempts: 1}, "got ["},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range c.steps {
				c.steps[i].want, c.steps[i].body = revokePath, leadBody
				if c.call.Items[0].Op.Action == crm.Share {
					c.steps[i].want = sharePath
				}
			}
			out, s := do(t, Config{}, c.call, c.steps...)
			if diff := cmp.Diff([]crm.Outcome{c.want}, out, textless); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if !strings.Contains(out[0].Message, c.says) || (c.says == "") != (out[0].Message == "") && c.want.Status == crm.Accepted {
				t.Errorf("message %q, want it to say %q", out[0].Message, c.says)
			}
			intents(t, s)
		})
	}
}

func TestDoEndsTheAccount(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step step
		code string
		says string
	}{
		"keys":      {step{status: 401, reply: exception("MXUnAuthorizedAccessException", "use api-us11.leadsquared.com")}, crm.EndKeys, "api-us11"},
		"forbidden": {step{status: 403, reply: "<html>"}, crm.EndKeys, "403"},
		"keys echoed": {step{status: 500, reply: exception("MXOther", "AccessKey "+accessKey+" is wrong")},
			crm.EndKeys, "AccessKey ["},
		"path":     {step{status: 404, reply: "x"}, crm.EndHost, "404"},
		"redirect": {step{status: 302, header: http.Header{"Location": {"https://evil.example:1/p?q=1"}}}, crm.EndRedirect, "to evil.example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The share behind the revoke must not be sent any more.
			c.step.want, c.step.body = revokePath, leadBody
			out, s := do(t, Config{}, items(leadRevoke(), with(dealRevoke(), asShare)), c.step)
			for i, o := range out {
				if o.Status != crm.Pending || o.Ended == nil || o.Ended.Code != c.code || o.Uncertain || o.Later != 0 {
					t.Errorf("outcome %d = %+v, want not sent and the account ended by %q", i, o, c.code)
				} else if !strings.Contains(o.Ended.Error(), c.says) || !strings.Contains(o.Message, c.says) {
					t.Errorf("outcome %d says %q and %q, want %q in both", i, o.Ended, o.Message, c.says)
				}
				noSecret(t, o.Ended.Error(), o.Ended.Hint)
			}
			if out[0].Attempts != 1 || out[1].Attempts != 0 {
				t.Errorf("attempts %d and %d, want 1 and 0", out[0].Attempts, out[1].Attempts)
			}
			intents(t, s)
		})
	}
}

// leads returns revokes of one user on leads 1 to n, and the body for some of them.
func leads(numbers string) (ops []crm.Operation, body string) {
	var entries []string
	for _, n := range numbers {
		ops = append(ops, with(leadRevoke(), func(o *crm.Operation) { o.Record = string(n) }))
		entries = append(entries, strings.Trim(strings.Replace(leadBody, "869196", string(n), 1), "[]"))
	}
	return ops, "[" + strings.Join(entries, ",") + "]"
}

func TestDoSplitsARefusedBundle(t *testing.T) {
	t.Parallel()
	ops, _ := leads("12345")
	bad := step{status: 500, reply: exception("MXInvalidLeadException", "lead 4")}
	send := func(numbers string, st step) step {
		st.want = revokePath
		_, st.body = leads(numbers)
		return st
	}
	out, s := do(t, Config{MaxEntries: 4}, items(ops...),
		send("1234", bad), send("12", step{reply: accepted("a")}),
		send("34", bad), send("3", step{reply: accepted("b")}), send("4", bad),
		send("5", step{reply: accepted("c")}))
	want := []crm.Outcome{
		{Status: crm.Accepted, RequestID: "a", Ticket: "a", HTTPStatus: 200, Attempts: 2},
		{Status: crm.Accepted, RequestID: "a", Ticket: "a", HTTPStatus: 200, Attempts: 2},
		{Status: crm.Accepted, RequestID: "b", Ticket: "b", HTTPStatus: 200, Attempts: 3},
		{Status: crm.Failed, Code: "MXInvalidLeadException", Message: "lead 4", HTTPStatus: 500, Attempts: 3},
		{Status: crm.Accepted, RequestID: "c", Ticket: "c", HTTPStatus: 200, Attempts: 1},
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	intents(t, s)
}

func TestDoKeepsOutcomesInOrder(t *testing.T) {
	t.Parallel()
	ops, both := leads("12")
	share := with(dealRevoke(), asShare)
	out, s := do(t, Config{MaxEntries: 2}, items(ops[0], share, dealRevoke(), ops[1]),
		step{want: revokePath, body: both, reply: accepted("leads")},
		step{want: sharePath, body: dealBody, reply: accepted("share")},
		step{want: revokePath, body: dealBody, reply: accepted("deal")})
	var got []string
	for _, o := range out {
		got = append(got, o.RequestID)
	}
	if diff := cmp.Diff([]string{"leads", "share", "deal", "leads"}, got); diff != "" {
		t.Errorf("request Ids (-want +got):\n%s", diff)
	}
	intents(t, s)
}

func TestDoStopsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		s := newScript(t, step{
			want: revokePath, body: leadBody, status: 502, reply: "<html>",
			hook: func() { cancel(cause) },
		})
		out := newTestProvider(t, Config{}, s).Do(ctx, items(leadRevoke(), dealRevoke()), s)
		want := []crm.Outcome{
			{Status: crm.Pending, Code: "no_answer", HTTPStatus: 502, Attempts: 1, Uncertain: true},
			{Status: crm.Pending},
		}
		if diff := cmp.Diff(want, out, textless); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if !strings.Contains(out[1].Message, "interrupted") {
			t.Errorf("message %q does not name the cause", out[1].Message)
		}
	})
}

func TestDoSendsNothingWithoutAnIntent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		s.refuse = errors.New("disk full")
		out := newTestProvider(t, Config{}, s).Do(t.Context(), items(leadRevoke()), s)
		if o := out[0]; o.Status != crm.Pending || o.Attempts != 0 || o.Uncertain || !strings.Contains(o.Message, "disk full") {
			t.Errorf("outcome %+v, want not sent because of the journal", o)
		}
		if diff := cmp.Diff([]string{"intend"}, s.events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// always is a server with one answer.
type always string

func (a always) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(string(a)))}, nil
}

func TestDoGivesUpOnAQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate, err := transport.NewGate(transport.GateConfig{Limit: 25, Window: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer gate.Close()
		p, err := New(Config{Host: "api.leadsquared.com", AccessKey: transport.NewSecret(accessKey), SecretKey: transport.NewSecret(secretKey)},
			transport.Config{Gate: gate, RoundTripper: always(limitBody)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		out := p.Do(t.Context(), items(with(leadRevoke(), asShare), dealRevoke()), newScript(t))
		for i, o := range out {
			if o.Status != crm.Pending || o.Attempts != 0 || o.Uncertain || o.Ended == nil || o.Ended.Code != crm.EndQuota {
				t.Errorf("outcome %d = %+v, want not sent and the account ended by its quota", i, o)
			}
		}
		if took := time.Since(begin); took < 2*time.Minute || took > 3*time.Minute {
			t.Errorf("gave up after %v, want about two minutes", took)
		}
	})
}
