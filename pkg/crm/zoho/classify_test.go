package zoho

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// envelope is the vendor's form of an error.
func envelope(code, message string) string {
	return `{"code":"` + code + `","details":{},"message":"` + message + `","status":"error"}`
}

func entryError(code, message string) string {
	return `{"share":[` + envelope(code, message) + `]}`
}

func TestClassify(t *testing.T) {
	t.Parallel()
	const ok = `{"code":"SUCCESS","details":{},"message":"record will be shared successfully","status":"success"}`
	tests := []struct {
		name   string
		verb   verb
		size   int
		status int
		body   string
		want   class
		code   string
	}{
		// Whole requests.
		{"record id wrong", verbLook, 0, 400, envelope("INVALID_DATA", "ENTITY_ID_INVALID"), refused, "INVALID_DATA"},
		{"record id wrong, as a code", verbPut, 1, 400, envelope("ENTITY_ID_INVALID", ""), refused, "ENTITY_ID_INVALID"},
		{"bad module", verbLook, 0, 400, envelope("INVALID_MODULE", "the module name given seems to be invalid"), refused, "INVALID_MODULE"},
		{"unsupported module", verbLook, 0, 400, envelope("INVALID_MODULE", "The given module is not supported in API"), refused, "INVALID_MODULE"},
		{"module without shares", verbPost, 1, 400, envelope("NOT_ALLOWED", "not supported"), refused, "NOT_ALLOWED"},
		{"module without record shares", verbPut, 1, 403, envelope("NOT_ALLOWED", "Record Level Sharing is not supported for this module"), refused, "NOT_ALLOWED"},
		{"wrong verb", verbPut, 1, 400, envelope("INVALID_REQUEST_METHOD", "The http request method type is not a valid one"), refused, "INVALID_REQUEST_METHOD"},
		{"bad path", verbLook, 0, 404, envelope("INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one"), refused, "INVALID_URL_PATTERN"},
		{"scope", verbLook, 0, 401, envelope("OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL"), refused, "OAUTH_SCOPE_MISMATCH"},
		{"token expired", verbLook, 0, 401, envelope("INVALID_TOKEN", "invalid oauth token"), token, "INVALID_TOKEN"},
		{"token expired, as a success", verbPut, 1, 200, envelope("INVALID_TOKEN", "invalid oauth token"), token, "INVALID_TOKEN"},
		{"no token", verbPut, 1, 401, envelope("AUTHENTICATION_FAILURE", ""), token, "AUTHENTICATION_FAILURE"},
		{"401 of an unknown kind", verbPut, 1, 401, envelope("UNHEARD_OF", ""), token, "UNHEARD_OF"},
		{"bare 401", verbPut, 1, 401, "", token, crm.CodeNoAnswer},
		{"profile may not", verbLook, 0, 403, envelope("NO_PERMISSION", "permission denied - access the api"), refused, "NO_PERMISSION"},
		{"caller can not see the record", verbLook, 0, 403, `{"code":"NO_PERMISSION","details":{"permissions":["Crm_Implied_View_Leads"]},"message":"permission denied","status":"error"}`, refused, "NO_PERMISSION"},
		{"caller lacks privilege", verbDelete, 0, 400, envelope("AUTHORIZATION_FAILED", "User does not have sufficient privilege to revoke records"), refused, "AUTHORIZATION_FAILED"},
		{"caller holds it by a share", verbPost, 1, 403, envelope("INVALID_DATA", "Shared record cannot be shared to other users"), refused, "INVALID_DATA"},
		{"busy write", verbPut, 1, 400, envelope("CANNOT_PROCESS", "Scheduler is running"), busy, "CANNOT_PROCESS"},
		{"busy write, newer", verbPost, 1, 403, envelope("CANNOT_PROCESS", "Scheduler is running"), busy, "CANNOT_PROCESS"},
		{"busy look", verbLook, 0, 400, envelope("INVALID_DATA", "Scheduler is running."), busy, "INVALID_DATA"},
		{"busy delete, any code", verbDelete, 0, 400, envelope("BAD_REQUEST", "scheduler is running"), busy, "BAD_REQUEST"},
		{"busy, told in a list", verbLook, 0, 400, entryError("INVALID_DATA", "Scheduler is running."), busy, "INVALID_DATA"},
		{"nothing to revoke", verbDelete, 0, 400, envelope("BAD_REQUEST", "No sharing through this record is available to revoke."), nothing, "BAD_REQUEST"},
		{"nothing to revoke, newer", verbDelete, 0, 400, envelope("CANNOT_PROCESS", "No sharing through this record is available to revoke"), nothing, "CANNOT_PROCESS"},
		{"those words for another verb", verbPut, 1, 400, envelope("CANNOT_PROCESS", "No sharing through this record is available to revoke"), refused, "CANNOT_PROCESS"},
		{"too many users", verbPost, 1, 403, envelope("SHARE_LIMIT_EXCEEDED", "Cannot share a record to more than 10 users."), refused, "SHARE_LIMIT_EXCEEDED"},
		{"limit of shares is no throttling", verbPost, 1, 403, envelope("LIMIT_EXCEEDED", "The record sharing limit has been reached"), refused, "LIMIT_EXCEEDED"},
		{"public and others", verbPut, 2, 400, envelope("AMBIGUITY_DURING_PROCESSING", "For public sharing more than one json object is given"), refused, "AMBIGUITY_DURING_PROCESSING"},
		{"too many entries", verbPut, 21, 400, `{"code":"INVALID_DATA","details":{"api_name":"share","json_path":"$.share","maximum_length":20},"message":"invalid data","status":"error"}`, refused, "INVALID_DATA"},
		{"notification", verbPut, 1, 403, envelope("NOT_ALLOWED", "Feeds is not enabled for this org"), refused, "NOT_ALLOWED"},
		{"bad query", verbLook, 0, 400, envelope("PATTERN_NOT_MATCHED", "Please check whether the input values are correct"), refused, "PATTERN_NOT_MATCHED"},
		{"version", verbLook, 0, 400, envelope("API_NOT_SUPPORTED", "not in this version"), refused, "API_NOT_SUPPORTED"},
		{"server error at a look", verbLook, 0, 500, envelope("INTERNAL_ERROR", "Internal Server Error"), uncertain, "INTERNAL_ERROR"},
		{"server error at a write", verbPut, 1, 500, envelope("INTERNAL_ERROR", "Internal Server Error"), uncertain, "INTERNAL_ERROR"},
		{"unknown code in a 500", verbPut, 1, 500, envelope("WHO_KNOWS", ""), uncertain, "WHO_KNOWS"},
		{"unknown code in a 400", verbPut, 1, 400, envelope("WHO_KNOWS", ""), refused, "WHO_KNOWS"},
		{"duplicate", verbPost, 1, 400, envelope("DUPLICATE_DATA", ""), refused, "DUPLICATE_DATA"},
		{"throttled", verbPut, 1, 429, envelope("TOO_MANY_REQUESTS", "x"), throttled, ""},
		{"throttled without JSON", verbPut, 1, 429, "slow down", throttled, ""},
		{"throttled in a 200", verbPut, 1, 200, envelope("TOO_MANY_REQUESTS", "x"), throttled, ""},
		{"throttled with a number", verbPut, 1, 400, `{"code":429,"message":"x"}`, throttled, ""},
		{"throttled as error", verbPut, 1, 400, `{"error":"TOO_MANY_REQUESTS"}`, throttled, ""},
		{"redirect", verbPut, 1, 302, "", ended, crm.EndRedirect},
		{"no such path", verbLook, 0, 404, "<html>", ended, crm.EndHost},
		{"a proxy's refusal", verbPut, 1, 403, "<html>", refused, "http_403"},
		{"request timeout", verbPut, 1, 408, "", uncertain, crm.CodeNoAnswer},
		{"bad gateway", verbPut, 1, 502, "<html>", uncertain, crm.CodeNoAnswer},
		// Looks.
		{"no shares", verbLook, 0, 204, "", shown, ""},
		{"empty list", verbLook, 0, 200, `{"share":[]}`, shown, ""},
		{"list", verbLook, 0, 200, `{"share":[{"shared_with":{"id":"5","type":"users"},"permission":"read_only","type":"private"}]}`, shown, ""},
		{"part of a list", verbLook, 0, 200, `{"share":[],"info":{"more_records":true}}`, uncertain, crm.CodeNoAnswer},
		{"200 without a body", verbLook, 0, 200, "", uncertain, crm.CodeNoAnswer},
		{"list of something else", verbLook, 0, 200, `{"share":[{"a":1}]}`, uncertain, crm.CodeNoAnswer},
		{"no list", verbLook, 0, 200, `{"share":{}}`, uncertain, crm.CodeNoAnswer},
		{"entry without an id", verbLook, 0, 200, `{"share":[{"shared_with":{},"permission":"read_only"}]}`, uncertain, crm.CodeNoAnswer},
		// Writes.
		{"taken, 201", verbPost, 1, 201, `{"share":[` + ok + `]}`, accepted, ""},
		{"taken, 200", verbPut, 2, 200, `{"share":[` + ok + `,` + ok + `]}`, accepted, ""},
		{"taken, 207", verbPut, 1, 207, `{"share":[` + ok + `]}`, accepted, ""},
		{"deleted", verbDelete, 0, 200, `{"share":{"code":"SUCCESS","details":{"id":"` + record + `"},"message":"Sharing Revoked","status":"success"}}`, accepted, ""},
		{"deleted, as a list", verbDelete, 0, 200, `{"share":[` + ok + `]}`, accepted, ""},
		{"success of one entry for two", verbPut, 2, 201, `{"share":[` + ok + `]}`, partial, ""},
		{"success without saying of what", verbPut, 1, 200, ok, uncertain, crm.CodeNoAnswer},
		{"no results", verbPut, 1, 200, `{"share":[]}`, uncertain, crm.CodeNoAnswer},
		{"empty object", verbPut, 1, 200, `{}`, uncertain, crm.CodeNoAnswer},
		{"empty body", verbDelete, 0, 200, "", uncertain, crm.CodeNoAnswer},
		{"cut off", verbPut, 1, 200, `{"share":[{"code":"SUCC`, uncertain, crm.CodeNoAnswer},
		// Entries.
		{"mixed", verbPut, 2, 207, `{"share":[` + ok + `,` + envelope("INVALID_DATA", "invalid data") + `]}`, partial, ""},
		{"required field", verbPost, 1, 400, entryError("MANDATORY_NOT_FOUND", "required field not found"), partial, ""},
		{"bad enumeration", verbPost, 1, 400, entryError("INVALID_DATA", "invalid data"), partial, ""},
		{"unknown recipient", verbPost, 1, 400, entryError("INVALID_DATA", "invalid user Id"), partial, ""},
		{"unknown group", verbPut, 1, 400, entryError("INVALID_DATA", "invalid group Id"), partial, ""},
		{"unknown role", verbPut, 1, 400, entryError("INVALID_DATA", "invalid role Id"), partial, ""},
		{"perhaps visible", verbPost, 1, 400, entryError("INVALID_DATA", "cannot share to the user"), partial, ""},
		{"visible", verbPost, 1, 400, entryError("INVALID_DATA", "record is already visible to the user."), partial, ""},
		{"bad permission", verbPost, 1, 400, entryError("INVALID_DATA", "Permission is invalid"), partial, ""},
		{"no related records", verbPost, 1, 400, entryError("INVALID_DATA", "cannot share the related records"), partial, ""},
		{"limit of a kind", verbPost, 1, 400, entryError("LIMIT_EXCEEDED", "limit"), partial, ""},
		{"every entry busy", verbPost, 1, 400, entryError("CANNOT_PROCESS", "Scheduler is running"), busy, "CANNOT_PROCESS"},
		// Other reads.
		{"users", verbRead, 0, 200, `{"users":[]}`, shown, ""},
		{"no users", verbRead, 0, 204, "", shown, ""},
		{"users, not JSON", verbRead, 0, 200, "<html>", uncertain, crm.CodeNoAnswer},
		{"users, no scope", verbRead, 0, 401, envelope("OAUTH_SCOPE_MISMATCH", "x"), refused, "OAUTH_SCOPE_MISMATCH"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := classify(tt.verb, record, tt.size, &transport.Response{Status: tt.status, Header: http.Header{}, Body: []byte(tt.body)}, nil)
			if got.Class != tt.want || got.Code != tt.code {
				t.Errorf("class %d code %q (%s), want class %d code %q", got.Class, got.Code, got.Text, tt.want, tt.code)
			}
			if (got.Ended != nil) != (tt.want == ended) {
				t.Errorf("ended %v for class %d", got.Ended, got.Class)
			}
		})
	}
}

func TestClassifyWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	end := &crm.AccountError{Code: crm.EndQuota, Err: errors.New("x")}
	tests := []struct {
		name      string
		err       error
		want      class
		attempted bool
		ended     bool
	}{
		{"nothing known", errors.New("x"), uncertain, true, false},
		{"sent", &transport.Error{Sent: true, Err: errors.New("x")}, uncertain, true, false},
		{"never left", &transport.Error{Err: errors.New("x")}, unsent, false, false},
		{"kept back", &transport.Error{Err: errStale}, stale, false, false},
		{"account over", end, ended, false, true},
		{"account over, on the way", &transport.Error{Sent: true, Err: end}, uncertain, true, true},
		{"neither", nil, uncertain, true, false},
	}
	for _, tt := range tests {
		got := classify(verbPut, record, 1, nil, tt.err)
		if got.Class != tt.want || got.Attempted != tt.attempted || (got.Ended != nil) != tt.ended {
			t.Errorf("%s: %+v, want class %d, attempted %v, ended %v", tt.name, got, tt.want, tt.attempted, tt.ended)
		}
	}
}

func TestResultsFindTheirEntries(t *testing.T) {
	t.Parallel()
	body := `{"share":[
		{"code":"INVALID_DATA","details":{"json_path":"$.share[2].shared_with.id"},"message":"invalid user Id","status":"error"},
		{"code":"SUCCESS","details":{},"message":"","status":"success"}]}`
	got := classify(verbPut, record, 3, &transport.Response{Status: 207, Body: []byte(body)}, nil)
	var codes []string
	for _, r := range got.results {
		codes = append(codes, string(r.Code))
	}
	if got, want := strings.Join(codes, " "), "no_answer SUCCESS INVALID_DATA"; got != want {
		t.Errorf("results %s, want %s", got, want)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	header := http.Header{}
	header.Set("X-API-CREDITS-REMAINING", "0")
	tests := []struct {
		name   string
		status int
		header http.Header
		body   string
		want   transport.Signal
	}{
		{"concurrency", 429, nil, envelope("TOO_MANY_REQUESTS", "the concurrency limit is exceeded"), transport.Signal{Throttled: true, Throttle: transport.Throttle{Concurrency: true}}},
		{"credits", 429, nil, envelope("TOO_MANY_REQUESTS", "API request count for 24 hours exceeded"), transport.Signal{Throttled: true, Throttle: transport.Throttle{Quota: true}}},
		{"credits by header", 429, header, "busy", transport.Signal{Throttled: true, Throttle: transport.Throttle{Quota: true}}},
		{"both named", 429, nil, envelope("TOO_MANY_REQUESTS", "24 hour count or concurrency limit exceeded"), transport.Signal{Throttled: true}},
		{"neither named", 429, nil, envelope("TOO_MANY_REQUESTS", "slow down"), transport.Signal{Throttled: true, Throttle: transport.Throttle{Concurrency: true}}},
		{"where the result of a DELETE is", 400, nil, `{"share":{"code":"TOO_MANY_REQUESTS","details":{},"message":"x","status":"error"}}`, transport.Signal{Throttled: true, Throttle: transport.Throttle{Concurrency: true}}},
		{"where the results of entries are", 400, nil, `{"share":[{"code":"TOO_MANY_REQUESTS","message":"x","status":"error"},{"code":"429","status":"error"}]}`, transport.Signal{Throttled: true, Throttle: transport.Throttle{Concurrency: true}}},
		{"one entry of two", 207, nil, `{"share":[{"code":"TOO_MANY_REQUESTS","message":"x","status":"error"},` + successBody + `]}`, transport.Signal{}},
		{"no JSON", 429, nil, "<html>concurrent</html>", transport.Signal{Throttled: true, Throttle: transport.Throttle{Concurrency: true}}},
		{"tokens, 200", 200, nil, `{"error":"Access Denied","error_description":"You have made too many requests continuously. Please try again after some time.","status":"failure"}`, transport.Signal{Throttled: true, Throttle: transport.Throttle{After: 10 * time.Minute}}},
		{"tokens, 400", 400, nil, `{"error":"Access Denied","error_description":"You have made too many requests continuously."}`, transport.Signal{Throttled: true, Throttle: transport.Throttle{After: 10 * time.Minute}}},
		{"share limit", 403, nil, envelope("LIMIT_EXCEEDED", "x"), transport.Signal{Answered: true}},
		{"internal error", 500, nil, envelope("INTERNAL_ERROR", "x"), transport.Signal{}},
		{"success", 200, nil, `{"share":[]}`, transport.Signal{}},
	}
	for _, tt := range tests {
		got := inspect(&transport.Response{Status: tt.status, Header: tt.header, Body: []byte(tt.body)})
		got.Throttle.Text = ""
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestReadList(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       entry
	}{
		{
			"sample of v7", `[{"shared_with":{"name":"Jane Smith","id":"3652397000000281001","type":"users","zuid":"679952958"},"share_related_records":true,
			"shared_through":{"module":{"name":"Contacts","id":"3652397000000002179"},"id":"3652397000000649013","name":"Patricia"},
			"permission":"full_access","type":"private"}]`,
			entry{kind: "users", id: "3652397000000281001", permission: "full_access", related: crm.Yes, sort: "private", through: "Contacts/3652397000000649013"},
		},
		{
			"of v2, an id as a number", `[{"user":{"id":3652397000000281001},"permission":"read_only","share_related_records":false,"shared_through":{"id":"` + record + `"}}]`,
			entry{kind: "users", id: "3652397000000281001", permission: "read_only", related: crm.No},
		},
		{"public", `[{"type":"public","permission":"read_only"}]`, entry{permission: "read_only", sort: "public"}},
		{"public with an empty recipient", `[{"type":"public","shared_with":null,"permission":"read_only"}]`, entry{permission: "read_only", sort: "public"}},
		{
			"newer name of the module", `[{"shared_with":{"id":"9","type":"groups"},"permission":"x","type":"private","shared_through":{"id":"7","module":{"api_name":"Deals","name":"Potentials"}}}]`,
			entry{kind: "groups", id: "9", permission: "x", sort: "private", through: "Deals/7"},
		},
	}
	for _, tt := range tests {
		got, err := readList([]byte(tt.body), record)
		if err != nil || len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

// FuzzReply: no reply makes the provider panic, claim a success that is not there,
// or write back less than it was shown.
func FuzzReply(f *testing.F) {
	for _, body := range []string{
		`{"share":[{"shared_with":{"id":"5","type":"users"},"permission":"read_only","share_related_records":true,"type":"private"}]}`,
		`{"share":{"code":"SUCCESS","details":{"id":"1"},"message":"Sharing Revoked","status":"success"}}`,
		`{"share":[{"code":"SUCCESS","status":"success"},{"code":"INVALID_DATA","details":{"json_path":"$.share[0]"},"status":"error"}]}`,
		`{"share":[{"type":"public"}]}`, `{"code":"INVALID_TOKEN"}`, `{"error":"Access Denied"}`, `[]`, ``, "\xef\xbb\xbf{}",
	} {
		for _, status := range []int{200, 201, 204, 207, 400, 401, 403, 404, 429, 500} {
			f.Add(status, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		r := &transport.Response{Status: status, Header: http.Header{}, Body: body}
		inspect(r)
		for v := verbLook; v <= verbDelete; v++ {
			got := classify(v, record, 2, r, nil)
			switch {
			case got.Class == accepted && v <= verbRead, got.Class == shown && v > verbRead:
				t.Errorf("verb %d has come to class %d", v, got.Class)
			case got.Class == accepted && !strings.Contains(strings.ToLower(string(body)), "success"):
				t.Errorf("a success without the word: %q", body)
			case got.Class == partial && len(got.results) != 2:
				t.Errorf("%d results for 2 entries", len(got.results))
			case got.Class == ended && got.Ended == nil:
				t.Error("an end without a reason")
			}
			if v != verbLook || got.Class != shown {
				continue
			}
			rulings, c := plan(got.list, []crm.Operation{revoke("5"), give("6", crm.Read)}, bounds{})
			if c.verb == verbPut && len(c.entries) == 0 {
				t.Error("an empty PUT")
			}
			kept := 0
			for _, e := range got.list {
				if e.direct() && !(e.isUser("5") && rulings[0].standing == open) && !e.isUser("6") {
					kept++
				}
			}
			if stay := strings.Count(owners(c), "-"); c.verb == verbPut && stay != kept {
				t.Errorf("%d bystanders written back, want %d", stay, kept)
			}
			confirmed(revoke("5"), crm.Item{Bystanders: []crm.Grant{{Kind: "user", ID: "6"}}}, got)
		}
	})
}

// owners is who asks for the entries of a write, "-" for nobody.
func owners(c change) string {
	var b strings.Builder
	for _, n := range c.owner {
		if n < 0 {
			b.WriteByte('-')
		} else {
			b.WriteByte('+')
		}
	}
	return b.String()
}
