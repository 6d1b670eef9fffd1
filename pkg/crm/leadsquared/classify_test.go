package leadsquared

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const limitBody = `{"Status":"Error","ExceptionType":"MXAPIRateLimitExceededException","ExceptionMessage":"API calls exceeded the limit of 20 in 5 second(s)"}`

func TestClassify(t *testing.T) {
	t.Parallel()
	const id = "4c224152d0e74190b29038397e3d93af"
	groupOK := `{"Status":"Success","Response":{"RequestType":"Remove Group Users","RequestId":"` + team + `"}}`
	for _, c := range []struct {
		name   string
		kind   kind
		status int
		body   string
		class  transport.Class
		code   string // or the id, where it is accepted
		says   string
	}{
		{"accepted", kindAccess, 200, accepted(id), transport.Accepted, id, ""},
		{"accepted, other case", kindAccess, 200, `{"status":"SUCCESS","message":{"id":"` + id + `"}}`, transport.Accepted, id, ""},
		{"accepted, with a BOM", kindAccess, 200, "\ufeff" + accepted(id), transport.Accepted, id, ""},
		{"accepted, 202", kindAccess, 202, accepted(id), transport.Accepted, id, ""},
		{"group accepted", kindGroup, 200, groupOK, transport.Accepted, team, ""},
		{"the group's Id is none of a share", kindAccess, 200, groupOK, transport.Uncertain, crm.CodeNoAnswer, "request Id"},
		{"a share's Id is none of a group", kindGroup, 200, accepted(id), transport.Uncertain, crm.CodeNoAnswer, "request Id"},

		{"429", kindAccess, 429, limitBody, transport.Throttled, "", ""},
		{"429 with nothing", kindAccess, 429, "", transport.Throttled, "", ""},
		{"429 that speaks of success", kindAccess, 429, accepted(id), transport.Uncertain, crm.CodeNoAnswer, "contradicts"},
		{"400 that speaks of success", kindAccess, 400, accepted(id), transport.Uncertain, crm.CodeNoAnswer, "contradicts"},
		{"401 that speaks of success", kindAccess, 401, accepted(id), transport.Uncertain, crm.CodeNoAnswer, "contradicts"},
		{"403 that speaks of success", kindGroup, 403, groupOK, transport.Uncertain, crm.CodeNoAnswer, "contradicts"},
		{"404 that speaks of success", kindAccess, 404, accepted(id), transport.Uncertain, crm.CodeNoAnswer, "contradicts"},
		{"500 that speaks of success", kindAccess, 500, accepted(id), transport.Uncertain, crm.CodeNoAnswer, "contradicts"},
		{"a refusal with a request Id", kindAccess, 500, `{"Status":"Error","ExceptionType":"MXInvalidInputException","Message":{"Id":"` + id + `"}}`, transport.Uncertain, crm.CodeNoAnswer, "contradicts"},
		{"an error with a request Id", kindGroup, 200, `{"Status":"Error","Response":{"RequestId":"` + team + `"}}`, transport.Uncertain, crm.CodeNoAnswer, "contradicts"},
		{"the limit with a request Id", kindAccess, 200, `{"Status":"Success","ExceptionType":"MXAPIRateLimitExceededException","Message":{"Id":"` + id + `"}}`, transport.Uncertain, crm.CodeNoAnswer, "contradicts"},
		{"a status given twice", kindAccess, 200, `{"Status":"Error","status":"Success","Message":{"Id":"` + id + `"}}`, transport.Uncertain, crm.CodeNoAnswer, ""},
		{"success beside an exception's words", kindAccess, 200, `{"Status":"Success","ExceptionMessage":"not now","Message":{"Id":"` + id + `"}}`, transport.Uncertain, crm.CodeNoAnswer, "contradicts"},
		{"two messages", kindAccess, 200, `{"Status":"Success","Message":{"Id":"a"},"Message":{"Id":"b"}}`, transport.Uncertain, crm.CodeNoAnswer, "request Id"},
		{"two responses", kindGroup, 200, `{"Status":"Success","Response":{"RequestId":"a"},"Response":{"RequestId":"b"}}`, transport.Uncertain, crm.CodeNoAnswer, "request Id"},
		{"an Id given twice", kindAccess, 200, `{"Status":"Success","Message":{"Id":"a","ID":"b"}}`, transport.Uncertain, crm.CodeNoAnswer, "request Id"},

		{"limit in a 200", kindAccess, 200, limitBody, transport.Throttled, "", ""},
		{"limit in a 403", kindAccess, 403, limitBody, transport.Throttled, "", ""},
		{"limit by text in a 403", kindAccess, 403, `{"Status":"Error","Message":"API calls exceeded the limit of 72 in 5 second(s)"}`, transport.Throttled, "", ""},
		{"limit by text in a 500", kindAccess, 500, exception("MXOther", "API calls exceeded the limit of 10 in 5 second(s)"), transport.Throttled, "", ""},
		{"limit in plain text", kindAccess, 503, "API calls exceeded the limit of 10 in 5 second(s)", transport.Throttled, "", ""},
		{"limit by type alone", kindAccess, 200, exception("MXAPIRateLimitExceededException", ""), transport.Throttled, "", ""},
		{"limit in another field", kindAccess, 403, `{"error":"API calls exceeded the limit of 20 in 5 second(s)"}`, transport.Throttled, "", ""},
		{"limit in a list", kindAccess, 403, `[{"Message":"API calls exceeded the limit of 20 in 5 second(s)"}]`, transport.Throttled, "", ""},
		{"limit in the words of somebody", kindLook, 200, `[{"Name":"exceeded the limit of 20 in 5 seconds"}]`, transport.Uncertain, crm.CodeNoAnswer, ""},
		{"limit in a 401", kindAccess, 401, limitBody, transport.Throttled, "", ""},

		{"mandatory attribute", kindAccess, 500, exception("MXMandatoryAttributeMissingException", "'leadId' is mandatory"), transport.Refused, "MXMandatoryAttributeMissingException", "mandatory"},
		{"invalid input", kindAccess, 500, exception("MXInvalidInputException", "Invalid Input! Parameter Name: x"), transport.Refused, "MXInvalidInputException", "Invalid"},
		{"invalid activity", kindAccess, 500, exception("MXInvalidActivityException", "Event Code is invalid or empty"), transport.Refused, "MXInvalidActivityException", "Event"},
		{"invalid activity fields", kindAccess, 500, exception("MXInvalidActivityFieldsException", "missing"), transport.Refused, "MXInvalidActivityFieldsException", ""},
		{"unknown activity", kindAccess, 500, exception("MXUnknownProspectActivityException", "gone"), transport.Refused, "MXUnknownProspectActivityException", ""},
		{"unknown attribute", kindAccess, 500, exception("MXUnknownAttributeException", "x"), transport.Refused, "MXUnknownAttributeException", ""},
		{"unknown anything", kindAccess, 500, exception("MXUnknownWidgetException", "x"), transport.Refused, "MXUnknownWidgetException", ""},
		{"duplicate in a 500", kindAccess, 500, exception("MXDuplicateEntryException", "x"), transport.Refused, "MXDuplicateEntryException", ""},
		{"duplicate in a 200", kindAccess, 200, exception("MXDuplicateEntryException", "x"), transport.Refused, "MXDuplicateEntryException", ""},
		{"invalid lead", kindAccess, 500, exception("MXInvalidLeadException", "x"), transport.Refused, "MXInvalidLeadException", ""},
		{"invalid field", kindAccess, 500, exception("MXInvalidFieldException", "x"), transport.Refused, "MXInvalidFieldException", ""},
		{"mail delivery", kindAccess, 500, exception("MXMailDeliveryException", "x"), transport.Refused, "MXMailDeliveryException", ""},
		{"any other MX", kindAccess, 500, exception("MXNeverSeenException", "x"), transport.Refused, "MXNeverSeenException", ""},
		{"MX in a 403", kindAccess, 403, exception("MXInvalidInputException", "x"), transport.Refused, "MXInvalidInputException", ""},
		{"MX in a 502", kindAccess, 502, exception("MXInvalidInputException", "x"), transport.Refused, "MXInvalidInputException", ""},
		{"MX beside a success", kindAccess, 200, `{"Status":"Success","Message":{"Id":"1"},"ExceptionType":"MXInvalidInputException"}`, transport.Uncertain, crm.CodeNoAnswer, "contradicts"},
		{"MX beside odd fields", kindGroup, 500, `{"Response":"x","Message":[1],"Status":7,"ExceptionType":"MXInvalidInputException","ExceptionMessage":null}`, transport.Refused, "MXInvalidInputException", ""},
		{"error without a type, 500", kindAccess, 500, `{"Status":"Error","Message":"An error has occurred."}`, transport.Uncertain, crm.CodeNoAnswer, "An error"},
		{"error without a type, 400", kindAccess, 400, `{"Status":"Error","Message":"no such user"}`, transport.Refused, crm.CodeError, "no such user"},
		{"error without a type, 200", kindAccess, 200, `{"Status":"Error","Message":"no such user"}`, transport.Refused, crm.CodeError, "no such user"},
		{"400 with a type", kindAccess, 400, exception("MXInvalidInputException", "try again"), transport.Refused, "MXInvalidInputException", ""},
		{"400 without", kindAccess, 400, "Bad Request", transport.Refused, "http_400", ""},
		{"405", kindAccess, 405, "", transport.Refused, "http_405", ""},

		{"401, unauthorized", kindAccess, 401, exception("MXUnAuthorizedAccessException", "use host api-us11.leadsquared.com"), transport.Ended, crm.EndKeys, "api-us11.leadsquared.com"},
		{"401, authentication", kindAccess, 401, exception("MXAuthenticationFailedException", "x"), transport.Ended, crm.EndKeys, ""},
		{"401 with nothing", kindAccess, 401, "", transport.Ended, crm.EndKeys, "401"},
		{"unauthorized in a 500", kindAccess, 500, exception("MXUnAuthorizedAccessException", "x"), transport.Ended, crm.EndKeys, ""},
		{"keys without a status, 400", kindAccess, 400, `{"Message":"Invalid AccessKey or SecretKey"}`, transport.Ended, crm.EndKeys, "AccessKey"},
		{"keys without a status, 500", kindAccess, 500, `{"Message":"Invalid AccessKey or SecretKey"}`, transport.Ended, crm.EndKeys, ""},
		{"keys in another field, 400", kindAccess, 400, `{"error":"Invalid access key"}`, transport.Ended, crm.EndKeys, ""},
		{"keys in another field, 500", kindAccess, 500, `{"error":"Share(String accessKey) in line 7"}`, transport.Uncertain, crm.CodeNoAnswer, ""},
		{"a gateway that repeats the address", kindAccess, 504, `no answer from /v2/EntityAccess.svc/Share?accessKey=***`, transport.Uncertain, crm.CodeNoAnswer, ""},
		{"a row's parameter of that name", kindAccess, 400, `{"Status":"Error","ExceptionType":"MXInvalidInputException","ExceptionMessage":"x","Parameters":["accessKey"]}`, transport.Refused, "MXInvalidInputException", ""},
		{"keys in plain text, 400", kindAccess, 400, "Invalid AccessKey or SecretKey", transport.Ended, crm.EndKeys, ""},
		{"keys in plain text, 500", kindAccess, 500, "Invalid AccessKey or SecretKey", transport.Uncertain, crm.CodeNoAnswer, ""},
		{"keys in a 200 of another status", kindAccess, 200, `{"Status":"Fail","Message":"AccessKey is invalid"}`, transport.Ended, crm.EndKeys, ""},
		{"keys in a success", kindAccess, 200, `{"Status":"Success","Message":{"Id":"` + id + `","ResponseText":"AccessKey"}}`, transport.Accepted, id, ""},
		{"keys on somebody's page", kindAccess, 502, "<html>your access key to the network", transport.Uncertain, crm.CodeNoAnswer, ""},
		{"keys in what was asked for", kindLook, 200, `{"AccessKey":"x"}`, transport.Shown, "", ""},
		{"404 of something unknown", kindLook, 404, exception("MXUnknownRequestException", "no such request"), transport.Refused, "MXUnknownRequestException", ""},
		{"404 of a change", kindAccess, 404, exception("MXUnknownRequestException", "x"), transport.Ended, crm.EndHost, ""},
		{"404 page for a look", kindLook, 404, "<html>", transport.Ended, crm.EndHost, ""},
		{"unavailable input", kindAccess, 500, exception("MXInvalidInputException", "EntityId is unavailable"), transport.Refused, "MXInvalidInputException", ""},
		{"text about keys in a 500", kindAccess, 500, exception("MXInvalidInputException", "Invalid AccessKey"), transport.Ended, crm.EndKeys, "AccessKey"},
		{"text about keys in a 200", kindAccess, 200, `{"Status":"Error","Message":"Secret key is wrong"}`, transport.Ended, crm.EndKeys, ""},
		{"text about access details", kindAccess, 500, exception("MXOther", "Invalid access details"), transport.Ended, crm.EndKeys, ""},
		{"403 without a type", kindAccess, 403, "<html>Forbidden</html>", transport.Ended, crm.EndKeys, "403"},
		{"404", kindAccess, 404, "<html>", transport.Ended, crm.EndHost, "404"},
		{"redirect", kindAccess, 307, accepted(id), transport.Ended, crm.EndRedirect, "evil.example"},

		{"empty 500", kindAccess, 500, "", transport.Uncertain, crm.CodeNoAnswer, "500"},
		{"502 page", kindAccess, 502, "<html>Bad Gateway</html>", transport.Uncertain, crm.CodeNoAnswer, "502"},
		{"503 page", kindAccess, 503, "<html>", transport.Uncertain, crm.CodeNoAnswer, "503"},
		{"504 with an error without a type", kindAccess, 504, `{"Status":"Error","Message":"upstream"}`, transport.Uncertain, crm.CodeNoAnswer, "upstream"},
		{"500 of the system", kindAccess, 500, exception("SqlException", "unable to connect to DB"), transport.Uncertain, "SqlException", "DB"},
		{"500 that speaks of success", kindAccess, 500, accepted(id), transport.Uncertain, crm.CodeNoAnswer, "500"},
		{"408", kindAccess, 408, "", transport.Uncertain, crm.CodeNoAnswer, "408"},
		{"200 with nothing", kindAccess, 200, "", transport.Uncertain, crm.CodeNoAnswer, "200"},
		{"200 page", kindAccess, 200, "<html>", transport.Uncertain, crm.CodeNoAnswer, ""},
		{"200 {}", kindAccess, 200, "{}", transport.Uncertain, crm.CodeNoAnswer, ""},
		{"200 without Id", kindAccess, 200, `{"Status":"Success","Message":{}}`, transport.Uncertain, crm.CodeNoAnswer, ""},
		{"200 with an empty Id", kindAccess, 200, `{"Status":"Success","Message":{"Id":"  "}}`, transport.Uncertain, crm.CodeNoAnswer, ""},
		{"200 with null", kindAccess, 200, `{"Status":"Success","Message":{"Id":null}}`, transport.Uncertain, crm.CodeNoAnswer, ""},
		{"200 with an object for an Id", kindAccess, 200, `{"Status":"Success","Message":{"Id":{"a":1}}}`, transport.Uncertain, crm.CodeNoAnswer, ""},
		{"200 with another status", kindAccess, 200, `{"Status":"Queued","Message":{"Id":"1"}}`, transport.Uncertain, crm.CodeNoAnswer, ""},
		{"200 cut off", kindAccess, 200, accepted(id)[:40], transport.Uncertain, crm.CodeNoAnswer, ""},
		{"200 with an array", kindAccess, 200, "[" + accepted(id) + "]", transport.Uncertain, crm.CodeNoAnswer, ""},
		{"MX that may pass: timeout", kindAccess, 500, exception("MXDataException", "Execution Timeout expired"), transport.Uncertain, "MXDataException", "Timeout"},
		{"MX that may pass: deadlock", kindAccess, 500, exception("MXDataException", "was deadlocked"), transport.Uncertain, "MXDataException", ""},
		{"MX that may pass: try again", kindAccess, 500, exception("MXDataException", "Please try again"), transport.Uncertain, "MXDataException", ""},
		{"MX that may pass: unavailable", kindAccess, 200, exception("MXDataException", "Service Unavailable"), transport.Uncertain, "MXDataException", ""},

		{"a look", kindLook, 200, `{"Status":"Success","ShareStatus":6}`, transport.Shown, "", ""},
		{"a look at a page", kindLook, 200, "<html>", transport.Uncertain, crm.CodeNoAnswer, ""},
		{"a look refused", kindLook, 500, exception("MXUnknownRequestException", "x"), transport.Refused, "MXUnknownRequestException", ""},
		{"a request's error is not the look's", kindLook, 200, `{"Status":"Success","ShareStatus":7,"ErrorMessage":"API calls exceeded the limit of 2 in 5 second(s); AccessKey"}`, transport.Shown, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := &transport.Response{Status: c.status, Body: []byte(c.body), Header: http.Header{"Location": {"https://evil.example/x?accessKey=1"}}}
			f := classify(c.kind, r, nil)
			got := f.Code
			if f.Class == transport.Accepted {
				got = f.id
			}
			if f.Class != c.class || got != c.code || !strings.Contains(f.Text, c.says) {
				t.Errorf("got class %d, %q, %q; want class %d, %q, text with %q", f.Class, got, f.Text, c.class, c.code, c.says)
			}
			if (f.Class == transport.Ended) != (f.Ended != nil) || f.Ended != nil && f.Ended.Code != c.code {
				t.Errorf("ended = %v in class %d", f.Ended, f.Class)
			}
			if strings.Contains(f.Text, "accessKey=1") {
				t.Errorf("the text repeats the redirect's query: %q", f.Text)
			}
			// The account pauses for a limit in an answer that contradicts itself too.
			if got := inspect(r).Throttled; got != (c.class == transport.Throttled) && c.says != "contradicts" {
				t.Errorf("inspect says throttled = %v", got)
			}
		})
	}
}

func TestClassifyErrors(t *testing.T) {
	t.Parallel()
	quota := &crm.AccountError{Code: crm.EndQuota, Err: errors.New("used up")}
	for _, c := range []struct {
		name      string
		err       error
		class     transport.Class
		attempted bool
		ended     bool
	}{
		{"never sent", &transport.Error{Op: "x", Err: errors.New("connection refused")}, transport.Unsent, false, false},
		{"cancelled before", &transport.Error{Op: "x", Err: context.Canceled}, transport.Unsent, false, false},
		{"time ran out", &transport.Error{Op: "x", Sent: true, Timeout: true, Err: errors.New("timeout")}, transport.Uncertain, true, false},
		{"reset", &transport.Error{Op: "x", Sent: true, Err: errReset}, transport.Uncertain, true, false},
		{"account ended", quota, transport.Ended, false, true},
		{"account ended before sending", &transport.Error{Op: "x", Err: quota}, transport.Ended, false, true},
		{"account ended by a lost answer", &transport.Error{Op: "x", Sent: true, Err: quota}, transport.Uncertain, true, true},
		{"an error that says nothing", errors.New("odd"), transport.Uncertain, true, false},
		{"nothing at all", nil, transport.Uncertain, true, false},
	} {
		f := classify(kindAccess, nil, c.err)
		if f.Class != c.class || f.Attempted != c.attempted || (f.Ended != nil) != c.ended {
			t.Errorf("%s: class %d, attempted %v, ended %v; want %d, %v, %v", c.name, f.Class, f.Attempted, f.Ended, c.class, c.attempted, c.ended)
		}
	}
}

func TestRedirectTarget(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]string{
		"https://Evil.Example:8443/p?accessKey=1": "evil.example",
		"/v2/elsewhere?accessKey=1":               "another path of the same host",
		"":                                        "another path of the same host",
		"https://a_b%0a.example/":                 "another path of the same host",
		"https://a_b.example/":                    "a host whose name can not be shown",
	} {
		r := &transport.Response{Status: 302, Header: http.Header{"Location": {location}}}
		if got := r.RedirectedTo(); got != want {
			t.Errorf("target of %q = %q, want %q", location, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	if got := (*transport.Redactor)(nil).Clean("short"); got != "short" {
		t.Errorf("cut = %q", got)
	}
	if got := (*transport.Redactor)(nil).Clean("x" + strings.Repeat("é", 2000)); len(got) > 2060 || !strings.HasSuffix(got, "é…") {
		t.Errorf("cut leaves %d bytes ending in %q", len(got), got[len(got)-8:])
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		want transport.Throttle
	}{
		{limitBody, transport.Throttle{Limit: 20, Window: 5 * time.Second, Text: "API calls exceeded the limit of 20 in 5 second(s)"}},
		{"API calls exceeded the limit of 72 in 5 second(s)", transport.Throttle{Limit: 72, Window: 5 * time.Second}},
		{"", transport.Throttle{}},
		{`{"Message":"exceeded the limit of 0 in 5 second(s)"}`, transport.Throttle{Text: "exceeded the limit of 0 in 5 second(s)"}},
		{"exceeded the limit of 99999999999999999999 in 5 second(s)", transport.Throttle{}},
	} {
		got := inspect(&transport.Response{Status: 429, Body: []byte(c.body)})
		if want := (transport.Signal{Throttled: true, Throttle: c.want}); got != want {
			t.Errorf("inspect(%q) = %+v, want %+v", c.body, got, want)
		}
	}
	for body, want := range map[string]bool{exception("MXInvalidInputException", "x"): true, "<html>": false, "{}": false} {
		if got := inspect(&transport.Response{Status: 502, Body: []byte(body)}); got.Answered != want || got.Throttled {
			t.Errorf("inspect(502 %s) = %+v, want answered %v", body, got, want)
		}
	}
	list := `[{"FirstName":"exceeded the limit of 20 in 5 second(s)"}]`
	if got := inspect(&transport.Response{Status: 200, Body: []byte(list)}); got.Throttled {
		t.Error("a name in a list is taken for a refusal")
	}
}

// FuzzReply feeds replies to everything that reads them: nothing panics, and no
// change is accepted, and no request done, without the words that say so.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		accepted("4c224152d0e74190b29038397e3d93af"), limitBody, "", "{}", "null", "[]", `{"Status":"Success","Message":"x"}`,
		`{"Status":"Success","Message":{"ResponseText":"Request processed successfully."},"ShareStatus":6,"ErrorMessage":null}`,
		`{"Status":"Success","ShareStatus":"6","ErrorMessage":[]}`, `{"Status":{},"ShareStatus":6e0}`,
		`{"RecordCount":1,"GroupUsers":[{"UserId":"` + leaver + `","AddUsersToGroup":true}]}`,
		exception("MXInvalidInputException", "x"), `{"Message":{"Id":"a"},"Status":"success"}`,
	} {
		f.Add(200, seed)
		f.Add(500, seed)
	}
	p := newTestProvider(f, Config{}, nil)
	f.Fuzz(func(t *testing.T, status int, body string) {
		r := &transport.Response{Status: status, Body: []byte(body), Header: http.Header{}}
		ok := status >= 200 && status < 300
		lower := strings.ToLower(body)
		for _, k := range []kind{kindAccess, kindGroup} {
			got := classify(k, r, nil)
			if got.Class == transport.Shown {
				t.Errorf("a change is taken for a look: %d %q", status, body)
			}
			if got.Class != transport.Accepted {
				continue
			}
			if !ok || got.id == "" || !strings.Contains(lower, "id") {
				t.Errorf("took %q from %d %q", got.id, status, body)
			}
		}
		inspect(r)
		look := p.clean(classify(kindLook, r, nil))
		if look.Class == transport.Accepted {
			t.Errorf("a look is taken for a change: %d %q", status, body)
		}
		if look.Class != transport.Shown {
			return
		}
		if o := p.status(look, 1); o.Status == crm.Done && (!ok || !strings.Contains(body, "6")) || o.Status == crm.Uncertain {
			t.Errorf("status is %v from %d %q", o.Status, status, body)
		}
		if m, why := readMembers(look.body, team); (m == nil) == (why == "") {
			t.Errorf("members %v, %q", m, why)
		}
		if id, err := p.owner(look.body); err == nil && !isGUID(id.User) {
			t.Errorf("identified %q", id.User)
		}
	})
}
