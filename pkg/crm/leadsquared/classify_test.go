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
		class  class
		code   string // or the id, where class is took
		says   string
	}{
		{"accepted", kindAccess, 200, accepted(id), took, id, ""},
		{"accepted, other case", kindAccess, 200, `{"status":"SUCCESS","message":{"id":"` + id + `"}}`, took, id, ""},
		{"accepted, with a BOM", kindAccess, 200, "\ufeff" + accepted(id), took, id, ""},
		{"accepted, 202", kindAccess, 202, accepted(id), took, id, ""},
		{"group accepted", kindGroup, 200, groupOK, took, team, ""},
		{"the group's Id is none of a share", kindAccess, 200, groupOK, lost, codeNoAnswer, "request Id"},
		{"a share's Id is none of a group", kindGroup, 200, accepted(id), lost, codeNoAnswer, "request Id"},

		{"429", kindAccess, 429, limitBody, throttled, "", ""},
		{"429 with nothing", kindAccess, 429, "", throttled, "", ""},
		{"429 that speaks of success", kindAccess, 429, accepted(id), lost, codeNoAnswer, "contradicts"},
		{"400 that speaks of success", kindAccess, 400, accepted(id), lost, codeNoAnswer, "contradicts"},
		{"401 that speaks of success", kindAccess, 401, accepted(id), lost, codeNoAnswer, "contradicts"},
		{"403 that speaks of success", kindGroup, 403, groupOK, lost, codeNoAnswer, "contradicts"},
		{"404 that speaks of success", kindAccess, 404, accepted(id), lost, codeNoAnswer, "contradicts"},
		{"500 that speaks of success", kindAccess, 500, accepted(id), lost, codeNoAnswer, "contradicts"},
		{"a refusal with a request Id", kindAccess, 500, `{"Status":"Error","ExceptionType":"MXInvalidInputException","Message":{"Id":"` + id + `"}}`, lost, codeNoAnswer, "contradicts"},
		{"an error with a request Id", kindGroup, 200, `{"Status":"Error","Response":{"RequestId":"` + team + `"}}`, lost, codeNoAnswer, "contradicts"},
		{"the limit with a request Id", kindAccess, 200, `{"Status":"Success","ExceptionType":"MXAPIRateLimitExceededException","Message":{"Id":"` + id + `"}}`, lost, codeNoAnswer, "contradicts"},
		{"a status given twice", kindAccess, 200, `{"Status":"Error","status":"Success","Message":{"Id":"` + id + `"}}`, lost, codeNoAnswer, ""},
		{"success beside an exception's words", kindAccess, 200, `{"Status":"Success","ExceptionMessage":"not now","Message":{"Id":"` + id + `"}}`, lost, codeNoAnswer, "contradicts"},
		{"two messages", kindAccess, 200, `{"Status":"Success","Message":{"Id":"a"},"Message":{"Id":"b"}}`, lost, codeNoAnswer, "request Id"},
		{"two responses", kindGroup, 200, `{"Status":"Success","Response":{"RequestId":"a"},"Response":{"RequestId":"b"}}`, lost, codeNoAnswer, "request Id"},
		{"an Id given twice", kindAccess, 200, `{"Status":"Success","Message":{"Id":"a","ID":"b"}}`, lost, codeNoAnswer, "request Id"},

		{"limit in a 200", kindAccess, 200, limitBody, throttled, "", ""},
		{"limit in a 403", kindAccess, 403, limitBody, throttled, "", ""},
		{"limit by text in a 403", kindAccess, 403, `{"Status":"Error","Message":"API calls exceeded the limit of 72 in 5 second(s)"}`, throttled, "", ""},
		{"limit by text in a 500", kindAccess, 500, exception("MXOther", "API calls exceeded the limit of 10 in 5 second(s)"), throttled, "", ""},
		{"limit in plain text", kindAccess, 503, "API calls exceeded the limit of 10 in 5 second(s)", throttled, "", ""},
		{"limit by type alone", kindAccess, 200, exception("MXAPIRateLimitExceededException", ""), throttled, "", ""},
		{"limit in another field", kindAccess, 403, `{"error":"API calls exceeded the limit of 20 in 5 second(s)"}`, throttled, "", ""},
		{"limit in a list", kindAccess, 403, `[{"Message":"API calls exceeded the limit of 20 in 5 second(s)"}]`, throttled, "", ""},
		{"limit in the words of somebody", kindLook, 200, `[{"Name":"exceeded the limit of 20 in 5 seconds"}]`, lost, codeNoAnswer, ""},
		{"limit in a 401", kindAccess, 401, limitBody, throttled, "", ""},

		{"mandatory attribute", kindAccess, 500, exception("MXMandatoryAttributeMissingException", "'leadId' is mandatory"), refused, "MXMandatoryAttributeMissingException", "mandatory"},
		{"invalid input", kindAccess, 500, exception("MXInvalidInputException", "Invalid Input! Parameter Name: x"), refused, "MXInvalidInputException", "Invalid"},
		{"invalid activity", kindAccess, 500, exception("MXInvalidActivityException", "Event Code is invalid or empty"), refused, "MXInvalidActivityException", "Event"},
		{"invalid activity fields", kindAccess, 500, exception("MXInvalidActivityFieldsException", "missing"), refused, "MXInvalidActivityFieldsException", ""},
		{"unknown activity", kindAccess, 500, exception("MXUnknownProspectActivityException", "gone"), refused, "MXUnknownProspectActivityException", ""},
		{"unknown attribute", kindAccess, 500, exception("MXUnknownAttributeException", "x"), refused, "MXUnknownAttributeException", ""},
		{"unknown anything", kindAccess, 500, exception("MXUnknownWidgetException", "x"), refused, "MXUnknownWidgetException", ""},
		{"duplicate in a 500", kindAccess, 500, exception("MXDuplicateEntryException", "x"), refused, "MXDuplicateEntryException", ""},
		{"duplicate in a 200", kindAccess, 200, exception("MXDuplicateEntryException", "x"), refused, "MXDuplicateEntryException", ""},
		{"invalid lead", kindAccess, 500, exception("MXInvalidLeadException", "x"), refused, "MXInvalidLeadException", ""},
		{"invalid field", kindAccess, 500, exception("MXInvalidFieldException", "x"), refused, "MXInvalidFieldException", ""},
		{"mail delivery", kindAccess, 500, exception("MXMailDeliveryException", "x"), refused, "MXMailDeliveryException", ""},
		{"any other MX", kindAccess, 500, exception("MXNeverSeenException", "x"), refused, "MXNeverSeenException", ""},
		{"MX in a 403", kindAccess, 403, exception("MXInvalidInputException", "x"), refused, "MXInvalidInputException", ""},
		{"MX in a 502", kindAccess, 502, exception("MXInvalidInputException", "x"), refused, "MXInvalidInputException", ""},
		{"MX beside a success", kindAccess, 200, `{"Status":"Success","Message":{"Id":"1"},"ExceptionType":"MXInvalidInputException"}`, lost, codeNoAnswer, "contradicts"},
		{"MX beside odd fields", kindGroup, 500, `{"Response":"x","Message":[1],"Status":7,"ExceptionType":"MXInvalidInputException","ExceptionMessage":null}`, refused, "MXInvalidInputException", ""},
		{"error without a type, 500", kindAccess, 500, `{"Status":"Error","Message":"An error has occurred."}`, lost, codeNoAnswer, "An error"},
		{"error without a type, 400", kindAccess, 400, `{"Status":"Error","Message":"no such user"}`, refused, codeError, "no such user"},
		{"error without a type, 200", kindAccess, 200, `{"Status":"Error","Message":"no such user"}`, refused, codeError, "no such user"},
		{"400 with a type", kindAccess, 400, exception("MXInvalidInputException", "try again"), refused, "MXInvalidInputException", ""},
		{"400 without", kindAccess, 400, "Bad Request", refused, "http_400", ""},
		{"405", kindAccess, 405, "", refused, "http_405", ""},

		{"401, unauthorized", kindAccess, 401, exception("MXUnAuthorizedAccessException", "use host api-us11.leadsquared.com"), ended, crm.EndKeys, "api-us11.leadsquared.com"},
		{"401, authentication", kindAccess, 401, exception("MXAuthenticationFailedException", "x"), ended, crm.EndKeys, ""},
		{"401 with nothing", kindAccess, 401, "", ended, crm.EndKeys, "401"},
		{"unauthorized in a 500", kindAccess, 500, exception("MXUnAuthorizedAccessException", "x"), ended, crm.EndKeys, ""},
		{"keys without a status, 400", kindAccess, 400, `{"Message":"Invalid AccessKey or SecretKey"}`, ended, crm.EndKeys, "AccessKey"},
		{"keys without a status, 500", kindAccess, 500, `{"Message":"Invalid AccessKey or SecretKey"}`, ended, crm.EndKeys, ""},
		{"keys in another field, 400", kindAccess, 400, `{"error":"Invalid access key"}`, ended, crm.EndKeys, ""},
		{"keys in another field, 500", kindAccess, 500, `{"error":"Share(String accessKey) in line 7"}`, lost, codeNoAnswer, ""},
		{"a gateway that repeats the address", kindAccess, 504, `no answer from /v2/EntityAccess.svc/Share?accessKey=***`, lost, codeNoAnswer, ""},
		{"a row's parameter of that name", kindAccess, 400, `{"Status":"Error","ExceptionType":"MXInvalidInputException","ExceptionMessage":"x","Parameters":["accessKey"]}`, refused, "MXInvalidInputException", ""},
		{"keys in plain text, 400", kindAccess, 400, "Invalid AccessKey or SecretKey", ended, crm.EndKeys, ""},
		{"keys in plain text, 500", kindAccess, 500, "Invalid AccessKey or SecretKey", lost, codeNoAnswer, ""},
		{"keys in a 200 of another status", kindAccess, 200, `{"Status":"Fail","Message":"AccessKey is invalid"}`, ended, crm.EndKeys, ""},
		{"keys in a success", kindAccess, 200, `{"Status":"Success","Message":{"Id":"` + id + `","ResponseText":"AccessKey"}}`, took, id, ""},
		{"keys on somebody's page", kindAccess, 502, "<html>your access key to the network", lost, codeNoAnswer, ""},
		{"keys in what was asked for", kindLook, 200, `{"AccessKey":"x"}`, took, "", ""},
		{"404 of something unknown", kindLook, 404, exception("MXUnknownRequestException", "no such request"), refused, "MXUnknownRequestException", ""},
		{"404 of a change", kindAccess, 404, exception("MXUnknownRequestException", "x"), ended, crm.EndHost, ""},
		{"404 page for a look", kindLook, 404, "<html>", ended, crm.EndHost, ""},
		{"unavailable input", kindAccess, 500, exception("MXInvalidInputException", "EntityId is unavailable"), refused, "MXInvalidInputException", ""},
		{"text about keys in a 500", kindAccess, 500, exception("MXInvalidInputException", "Invalid AccessKey"), ended, crm.EndKeys, "AccessKey"},
		{"text about keys in a 200", kindAccess, 200, `{"Status":"Error","Message":"Secret key is wrong"}`, ended, crm.EndKeys, ""},
		{"text about access details", kindAccess, 500, exception("MXOther", "Invalid access details"), ended, crm.EndKeys, ""},
		{"403 without a type", kindAccess, 403, "<html>Forbidden</html>", ended, crm.EndKeys, "403"},
		{"404", kindAccess, 404, "<html>", ended, crm.EndHost, "404"},
		{"redirect", kindAccess, 307, accepted(id), ended, crm.EndRedirect, "evil.example"},

		{"empty 500", kindAccess, 500, "", lost, codeNoAnswer, "500"},
		{"502 page", kindAccess, 502, "<html>Bad Gateway</html>", lost, codeNoAnswer, "502"},
		{"503 page", kindAccess, 503, "<html>", lost, codeNoAnswer, "503"},
		{"504 with an error without a type", kindAccess, 504, `{"Status":"Error","Message":"upstream"}`, lost, codeNoAnswer, "upstream"},
		{"500 of the system", kindAccess, 500, exception("SqlException", "unable to connect to DB"), lost, "SqlException", "DB"},
		{"500 that speaks of success", kindAccess, 500, accepted(id), lost, codeNoAnswer, "500"},
		{"408", kindAccess, 408, "", lost, codeNoAnswer, "408"},
		{"200 with nothing", kindAccess, 200, "", lost, codeNoAnswer, "200"},
		{"200 page", kindAccess, 200, "<html>", lost, codeNoAnswer, ""},
		{"200 {}", kindAccess, 200, "{}", lost, codeNoAnswer, ""},
		{"200 without Id", kindAccess, 200, `{"Status":"Success","Message":{}}`, lost, codeNoAnswer, ""},
		{"200 with an empty Id", kindAccess, 200, `{"Status":"Success","Message":{"Id":"  "}}`, lost, codeNoAnswer, ""},
		{"200 with null", kindAccess, 200, `{"Status":"Success","Message":{"Id":null}}`, lost, codeNoAnswer, ""},
		{"200 with an object for an Id", kindAccess, 200, `{"Status":"Success","Message":{"Id":{"a":1}}}`, lost, codeNoAnswer, ""},
		{"200 with another status", kindAccess, 200, `{"Status":"Queued","Message":{"Id":"1"}}`, lost, codeNoAnswer, ""},
		{"200 cut off", kindAccess, 200, accepted(id)[:40], lost, codeNoAnswer, ""},
		{"200 with an array", kindAccess, 200, "[" + accepted(id) + "]", lost, codeNoAnswer, ""},
		{"MX that may pass: timeout", kindAccess, 500, exception("MXDataException", "Execution Timeout expired"), lost, "MXDataException", "Timeout"},
		{"MX that may pass: deadlock", kindAccess, 500, exception("MXDataException", "was deadlocked"), lost, "MXDataException", ""},
		{"MX that may pass: try again", kindAccess, 500, exception("MXDataException", "Please try again"), lost, "MXDataException", ""},
		{"MX that may pass: unavailable", kindAccess, 200, exception("MXDataException", "Service Unavailable"), lost, "MXDataException", ""},

		{"a look", kindLook, 200, `{"Status":"Success","ShareStatus":6}`, took, "", ""},
		{"a look at a page", kindLook, 200, "<html>", lost, codeNoAnswer, ""},
		{"a look refused", kindLook, 500, exception("MXUnknownRequestException", "x"), refused, "MXUnknownRequestException", ""},
		{"a request's error is not the look's", kindLook, 200, `{"Status":"Success","ShareStatus":7,"ErrorMessage":"API calls exceeded the limit of 2 in 5 second(s); AccessKey"}`, took, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := &transport.Response{Status: c.status, Body: []byte(c.body), Header: http.Header{"Location": {"https://evil.example/x?accessKey=1"}}}
			f := classify(c.kind, r, nil)
			got := f.code
			if f.class == took {
				got = f.id
			}
			if f.class != c.class || got != c.code || !strings.Contains(f.text, c.says) {
				t.Errorf("got class %d, %q, %q; want class %d, %q, text with %q", f.class, got, f.text, c.class, c.code, c.says)
			}
			if (f.class == ended) != (f.ended != nil) || f.ended != nil && f.ended.Code != c.code {
				t.Errorf("ended = %v in class %d", f.ended, f.class)
			}
			if strings.Contains(f.text, "accessKey=1") {
				t.Errorf("the text repeats the redirect's query: %q", f.text)
			}
			// The account pauses for a limit in an answer that contradicts itself too.
			if got := inspect(r).Throttled; got != (c.class == throttled) && c.says != "contradicts" {
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
		class     class
		attempted bool
		ended     bool
	}{
		{"never sent", &transport.Error{Op: "x", Err: errors.New("connection refused")}, unsent, false, false},
		{"cancelled before", &transport.Error{Op: "x", Err: context.Canceled}, unsent, false, false},
		{"time ran out", &transport.Error{Op: "x", Sent: true, Timeout: true, Err: errors.New("timeout")}, lost, true, false},
		{"reset", &transport.Error{Op: "x", Sent: true, Err: errReset}, lost, true, false},
		{"account ended", quota, ended, false, true},
		{"account ended before sending", &transport.Error{Op: "x", Err: quota}, ended, false, true},
		{"account ended by a lost answer", &transport.Error{Op: "x", Sent: true, Err: quota}, lost, true, true},
		{"an error that says nothing", errors.New("odd"), lost, true, false},
		{"nothing at all", nil, lost, true, false},
	} {
		f := classify(kindAccess, nil, c.err)
		if f.class != c.class || f.attempted != c.attempted || (f.ended != nil) != c.ended {
			t.Errorf("%s: class %d, attempted %v, ended %v; want %d, %v, %v", c.name, f.class, f.attempted, f.ended, c.class, c.attempted, c.ended)
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
	if got := transport.Shorten("short"); got != "short" {
		t.Errorf("cut = %q", got)
	}
	if got := transport.Shorten("x" + strings.Repeat("é", 2000)); len(got) > 2060 || !strings.HasSuffix(got, "é…") {
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
			if got.class != took {
				continue
			}
			if !ok || got.id == "" || !strings.Contains(lower, "id") {
				t.Errorf("took %q from %d %q", got.id, status, body)
			}
		}
		inspect(r)
		look := p.clean(classify(kindLook, r, nil))
		if look.class != took {
			return
		}
		if o := p.status(look, 1); o.Verdict == crm.Done && (!ok || !strings.Contains(body, "6")) || o.Verdict == crm.Unknown {
			t.Errorf("status is %v from %d %q", o.Verdict, status, body)
		}
		if m, why := readMembers(look.body, team); (m == nil) == (why == "") {
			t.Errorf("members %v, %q", m, why)
		}
		if id, err := p.identify(look.body); err == nil && !isGUID(id.User) {
			t.Errorf("identified %q", id.User)
		}
	})
}
