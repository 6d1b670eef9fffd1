package leadsquared

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const statusPath = "GET /v2/EntityAccess.svc/Status/Get?id=" + requestID

func confirm(t *testing.T, cfg Config, ticket string, ops []crm.Operation, steps ...step) (out []crm.Outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t, steps...)
		var asked []crm.Item
		for _, op := range ops {
			asked = append(asked, crm.Item{Op: op, Ticket: ticket})
		}
		var state crm.State
		out, state = newTestProvider(t, cfg, s).Confirm(t.Context(), asked)
		if state.Looked && ops[0].Object != crm.SalesGroup {
			t.Errorf("a status is told as a look: %+v", state)
		}
		if strings.Contains(strings.Join(s.events, " "), "intend") {
			t.Error("a look was announced as a change")
		}
	})
	noSecret(t, out)
	return out
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	body := func(code, errorMessage string) step {
		return step{reply: `{"Status":"Success","Message":{"ResponseText":"text"},"ShareStatus":` + code + `,"ErrorMessage":` + errorMessage + `}`}
	}
	page := step{status: 502, reply: "<html>"}
	accepted := func(status int, code, message string) crm.Outcome {
		return crm.Outcome{Status: crm.Accepted, RequestID: requestID, Ticket: requestID, Code: code, Message: message, HTTPStatus: status}
	}
	settled := func(v crm.Status, code, message string) crm.Outcome {
		// Of two rows that went together, one may be the only one that failed.
		return crm.Outcome{Status: v, RequestID: requestID, Code: code, Message: message, HTTPStatus: 200, Uncertain: v == crm.Failed}
	}
	const together = " (said of 2 rows that went in one request; running again sends them one by one)"
	learned := Config{SuccessCodes: []int{6, 8}, FailureCodes: []int{7}}
	for name, c := range map[string]struct {
		cfg   Config
		steps []step
		want  crm.Outcome
	}{
		"the vendor's sample": {Config{}, []step{{reply: `{"Status":"Success","Message":{"ResponseText":"Request processed successfully."},"ShareStatus":6,"ErrorMessage":null}`}},
			settled(crm.Done, "status_6", "Request processed successfully.")},
		"empty error message":            {Config{}, []step{body("6", `""`)}, settled(crm.Done, "status_6", "text")},
		"code as a text":                 {Config{}, []step{body(`"6"`, "null")}, settled(crm.Done, "status_6", "text")},
		"unlisted":                       {Config{}, []step{body("1", "null")}, accepted(200, "status_1", "text")},
		"zero":                           {Config{}, []step{body("0", "null")}, accepted(200, "status_0", "text")},
		"error with the code of success": {Config{}, []step{body("6", `"lead not found"`)}, settled(crm.Failed, "status_6", "lead not found"+together)},
		"error with another code":        {Config{}, []step{body("3", `"lead not found"`)}, settled(crm.Failed, "status_3", "lead not found"+together)},
		"a learned failure":              {learned, []step{body("7", "null")}, settled(crm.Failed, "status_7", "text")},
		"a learned success":              {learned, []step{body("8", "null")}, settled(crm.Done, "status_8", "text")},
		"no code":                        {Config{}, []step{{reply: `{"Status":"Success","Message":{"ResponseText":"text"}}`}}, accepted(200, "status_missing", "text")},
		"null code":                      {Config{}, []step{body("null", "null")}, accepted(200, "status_missing", "text")},
		"odd code":                       {Config{}, []step{body("[6]", "null")}, accepted(200, "status_unreadable", "text")},
		"a fraction":                     {Config{}, []step{body("6.5", "null")}, accepted(200, "status_unreadable", "text")},
		"code inside the message":        {Config{}, []step{{reply: `{"Status":"Success","Message":{"ShareStatus":6}}`}}, accepted(200, "status_missing", "")},
		"the call itself is unclear":     {Config{}, []step{{reply: `{"ShareStatus":6}`}}, accepted(200, "status_6", "")},
		"success beside an exception":    {Config{}, []step{{reply: `{"Status":"Success","ExceptionMessage":"not now","ShareStatus":6}`}}, accepted(200, "status_6", "not now")},
		"two codes":                      {Config{}, []step{{reply: `{"Status":"Success","ShareStatus":3,"ShareStatus":6}`}}, accepted(200, "status_unreadable", "")},
		"unknown Id":                     {Config{}, []step{{status: 500, reply: exception("MXUnknownRequestException", "unknown")}}, accepted(500, "MXUnknownRequestException", "unknown")},
		"throttled":                      {Config{}, []step{{reply: limitBody}, body("6", "null")}, settled(crm.Done, "status_6", "text")},
		"a lost look is repeated":        {Config{}, []step{page, body("6", "null")}, settled(crm.Done, "status_6", "text")},
		"no look comes through":          {Config{}, []step{page, page, page}, accepted(502, "no_answer", "HTTP 502 with a body that can not be read as an answer")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range c.steps {
				c.steps[i].want = statusPath
			}
			out := confirm(t, c.cfg, requestID, []crm.Operation{leadRevoke(), dealRevoke()}, c.steps...)
			if diff := cmp.Diff([]crm.Outcome{c.want, c.want}, out); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfirmEscapesAndEnds(t *testing.T) {
	t.Parallel()
	out := confirm(t, Config{}, "a&b=c/../d", []crm.Operation{leadRevoke()},
		step{want: "GET /v2/EntityAccess.svc/Status/Get?id=a%26b%3Dc%2F..%2Fd", status: 401, reply: exception("MXUnAuthorizedAccessException", "no")})
	o := out[0]
	if o.Status != crm.Accepted || o.Ticket != "a&b=c/../d" || o.Ended == nil || o.Ended.Code != crm.EndKeys {
		t.Errorf("outcome %+v, want accepted with its ticket, and the account ended", o)
	}
	// A request Id that looks like a group's ticket is still asked about.
	out = confirm(t, Config{}, "group:x", []crm.Operation{leadRevoke()}, step{want: "GET /v2/EntityAccess.svc/Status/Get?id=group%3Ax", reply: "{}"})
	if o := out[0]; o.Status != crm.Accepted || o.Code != "status_missing" {
		t.Errorf("outcome %+v, want accepted", o)
	}
	if out := confirm(t, Config{}, "", []crm.Operation{leadRevoke()}); out[0].Status != crm.Accepted || out[0].Code != "ticket" {
		t.Errorf("an empty ticket gives %+v", out[0])
	}
	if out := confirm(t, Config{}, "", nil); len(out) != 0 {
		t.Errorf("no items give %+v", out)
	}
}
