package zoho

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// TestContradictions: one field is never believed against another. A look whose parts
// do not agree shows nothing, least of all that nobody has the record; a write whose
// parts do not agree is neither done nor refused.
func TestContradictions(t *testing.T) {
	t.Parallel()
	const (
		ok    = successBody
		mixed = `{"code":"INVALID_DATA","details":{},"message":"x","status":"success"}`
		five  = `{"shared_with":{"id":"5","type":"users"},"permission":"read_only","type":"private"}`
	)
	bad := envelope("INVALID_DATA", "x")
	tests := []struct {
		name   string
		verb   verb
		size   int
		status int
		body   string
		want   class
	}{
		// A list and what stands beside it.
		{"empty list beside an error", verbLook, 0, 200, `{"share":[],"status":"error","code":"INVALID_DATA","message":"x"}`, refused},
		{"empty list beside an internal error", verbLook, 0, 200, `{"share":[],"status":"error","code":"INTERNAL_ERROR"}`, uncertain},
		{"empty list beside a code alone", verbLook, 0, 200, `{"share":[],"code":"NO_PERMISSION"}`, refused},
		{"empty list beside a code that nobody knows", verbLook, 0, 200, `{"share":[],"code":"WHO_KNOWS"}`, uncertain},
		{"empty list beside the word alone", verbLook, 0, 200, `{"share":[],"status":"error"}`, refused},
		{"empty list beside the older error", verbLook, 0, 200, `{"share":[],"error":"invalid_request"}`, refused},
		{"empty list beside success and a refusal", verbLook, 0, 200, `{"share":[],"status":"success","code":"INVALID_DATA"}`, uncertain},
		{"list beside an error", verbLook, 0, 200, `{"share":[` + five + `],"status":"error","code":"INTERNAL_ERROR"}`, uncertain},
		{"list beside a busy record", verbLook, 0, 200, `{"share":[],"status":"error","code":"INVALID_DATA","message":"Scheduler is running."}`, busy},
		{"list beside a success", verbLook, 0, 200, `{"share":[` + five + `],"status":"success","code":"SUCCESS"}`, shown},
		// A list and the HTTP status.
		{"empty list in a 500", verbLook, 0, 500, `{"share":[]}`, uncertain},
		{"empty list in a 400", verbLook, 0, 400, `{"share":[]}`, uncertain},
		{"empty list of something accepted", verbLook, 0, 202, `{"share":[]}`, uncertain},
		{"empty list of a part", verbLook, 0, 206, `{"share":[]}`, uncertain},
		{"no content with a list", verbLook, 0, 204, `{"share":[` + five + `]}`, uncertain},
		{"no content with an error", verbLook, 0, 204, envelope("WHO_KNOWS", "x"), refused},
		// A list and what it says of itself.
		{"fewer than it counts", verbLook, 0, 200, `{"share":[],"info":{"count":1,"more_records":false}}`, uncertain},
		{"as many as it counts", verbLook, 0, 200, `{"share":[` + five + `],"info":{"count":1,"more_records":false}}`, shown},
		{"another page", verbLook, 0, 200, `{"share":[],"info":{"page":2,"more_records":false}}`, uncertain},
		{"more to come, as a text", verbLook, 0, 200, `{"share":[],"info":{"more_records":"TRUE"}}`, uncertain},
		{"more to come, as a number", verbLook, 0, 200, `{"share":[],"info":{"more_records":1}}`, uncertain},
		{"more to come, and no more", verbLook, 0, 200, `{"share":[],"info":{"more_records":true},"info":{"more_records":false}}`, uncertain},
		{"more to come, given twice", verbLook, 0, 200, `{"share":[],"info":{"more_records":true,"more_records":false}}`, uncertain},
		{"a count that is none", verbLook, 0, 200, `{"share":[],"info":{"count":"several"}}`, uncertain},
		{"two counts", verbLook, 0, 200, `{"share":[],"info":{"count":1,"count":0}}`, uncertain},
		{"a page that is none", verbLook, 0, 200, `{"share":[],"info":{"page":"last"}}`, uncertain},
		{"what it says can not be read", verbLook, 0, 200, `{"share":[],"info":"more"}`, uncertain},
		{"nothing said", verbLook, 0, 200, `{"share":[],"info":null}`, shown},
		// Empty, missing, null, twice.
		{"null", verbLook, 0, 200, `{"share":null}`, uncertain},
		{"missing", verbLook, 0, 200, `{"info":{"count":0}}`, uncertain},
		{"a text", verbLook, 0, 200, `{"share":""}`, uncertain},
		{"two lists, the last one empty", verbLook, 0, 200, `{"share":[` + five + `],"share":[]}`, uncertain},
		{"two lists, in other letters", verbLook, 0, 200, `{"share":[` + five + `],"Share":[]}`, uncertain},
		{"another thing unknown", verbLook, 0, 200, `{"share":[` + five + `],"shareable_user":[{"id":"6"}]}`, shown},
		// Entries.
		{"a user whose id has been rounded", verbLook, 0, 200, `{"share":[{"shared_with":{"id":5.55e17,"type":"users"},"permission":"read_only"}]}`, uncertain},
		{"a user whose id is a word", verbLook, 0, 200, `{"share":[{"shared_with":{"id":"zcrm_5","type":"users"},"permission":"read_only"}]}`, uncertain},
		{"two recipients of one entry", verbLook, 0, 200, `{"share":[{"shared_with":{"id":"6","type":"users"},"user":{"id":"5"},"permission":"read_only"}]}`, uncertain},
		{"one recipient by two names", verbLook, 0, 200, `{"share":[{"shared_with":{"id":"5","type":"users"},"user":{"id":"5"},"permission":"read_only"}]}`, shown},
		{"a recipient given twice", verbLook, 0, 200, `{"share":[{"shared_with":{"id":"5","type":"users"},"shared_with":{"id":"6","type":"users"},"permission":"read_only"}]}`, uncertain},
		{"an id given twice", verbLook, 0, 200, `{"share":[{"shared_with":{"id":"5","id":"6","type":"users"},"permission":"read_only"}]}`, uncertain},
		// Words of writes.
		{"success with another code", verbPut, 1, 200, `{"share":[` + mixed + `]}`, partial},
		{"error with the code of success", verbPut, 1, 200, `{"share":[{"code":"SUCCESS","status":"error"}]}`, partial},
		{"success without a code", verbPost, 1, 201, `{"share":[{"status":"success"}]}`, partial},
		{"an internal error of an entry", verbPut, 1, 400, `{"share":[` + envelope("INTERNAL_ERROR", "x") + `]}`, partial},
		{"success beside an error", verbPut, 1, 200, `{"share":[` + ok + `],"status":"error","code":"INTERNAL_ERROR"}`, partial},
		{"no results beside an error", verbPut, 1, 400, `{"share":[],"status":"error","code":"INVALID_DATA","message":"x"}`, refused},
		{"success in a 400", verbPut, 1, 400, `{"share":[` + ok + `]}`, partial},
		{"success in a 500", verbPost, 1, 500, `{"share":[` + ok + `]}`, partial},
		{"one success in a 400, for the whole", verbPut, 1, 400, ok, uncertain},
		{"a refusal that calls itself a success", verbPut, 1, 400, mixed, uncertain},
		{"an expired token that calls itself a success", verbPut, 1, 200, `{"code":"INVALID_TOKEN","status":"success"}`, uncertain},
		{"a success given a second status", verbPut, 1, 200, `{"share":[{"code":"SUCCESS","status":"success","status":"error"}]}`, partial},
		// Numbers of results.
		{"more results than entries", verbPut, 1, 200, `{"share":[` + ok + `,` + ok + `]}`, partial},
		{"fewer results than entries", verbPost, 3, 200, `{"share":[` + ok + `,` + ok + `]}`, partial},
		{"two lists of results", verbPut, 1, 200, `{"share":[` + bad + `],"share":[` + ok + `]}`, uncertain},
		// DELETE.
		{"deleted, two records", verbDelete, 0, 200, `{"share":{"code":"SUCCESS","details":{"id":"7"},"details":{"id":"` + record + `"},"status":"success"}}`, uncertain},
		{"deleted, another record", verbDelete, 0, 200, `{"share":{"code":"SUCCESS","details":{"id":"7"},"status":"success"}}`, uncertain},
		{"deleted, in a 500", verbDelete, 0, 500, `{"share":{"code":"SUCCESS","status":"success"}}`, uncertain},
		{"deleted, beside an error", verbDelete, 0, 200, `{"share":{"code":"SUCCESS","status":"success"},"status":"error","code":"CANNOT_PROCESS"}`, uncertain},
		{"deleted, and the code says no", verbDelete, 0, 200, `{"share":` + mixed + `}`, uncertain},
		{"two records deleted", verbDelete, 0, 200, `{"share":[` + ok + `,` + ok + `]}`, uncertain},
		// Other reads.
		{"users beside an error", verbRead, 0, 200, `{"users":[{"id":"5"}],"status":"error","code":"NO_PERMISSION"}`, refused},
		{"users beside the word alone", verbRead, 0, 200, `{"users":[{"id":"5"}],"status":"error"}`, refused},
		{"no content with users", verbRead, 0, 204, `{"users":[{"id":"5"}]}`, uncertain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := classify(tt.verb, record, tt.size, &transport.Response{Status: tt.status, Header: http.Header{}, Body: []byte(tt.body)}, nil)
			if got.Class != tt.want {
				t.Errorf("class %d code %q (%s), want class %d", got.Class, got.Code, got.Text, tt.want)
			}
			if tt.want != partial {
				return
			}
			for i, r := range got.results {
				if !r.doubtful() {
					t.Errorf("entry %d counts as %d (%s), want neither done nor refused", i, r.said, r.Code)
				}
			}
		})
	}
}

// TestContradictionsAreLookedAt: what a write whose answer contradicts itself has come
// to is found out by looks, and nothing is told as done or refused before.
func TestContradictionsAreLookedAt(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"another code":            `{"share":[{"code":"INVALID_DATA","details":{},"message":"x","status":"success"}]}`,
		"success in an error":     `{"share":[` + successBody + `],"status":"error","code":"INTERNAL_ERROR"}`,
		"results for others":      `{"share":[` + successBody + `,` + successBody + `,` + successBody + `]}`,
		"the word without a code": `{"share":[{"status":"success"}]}`,
	}
	for name, body := range answers {
		for _, carriedOut := range []bool{true, false} {
			for verb, c := range map[string]struct {
				before []share
				op     crm.Operation
				after  []string
			}{
				"PUT":  {[]share{user("5", "read_only"), user("6", "read_only")}, revoke("5"), []string{"6 read_only"}},
				"POST": {[]share{user("6", "read_only")}, give("5", crm.Read), []string{"6 read_only", "5 read_only"}},
			} {
				t.Run(name+", "+verb+map[bool]string{true: " carried out", false: " without effect"}[carriedOut], func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						f := newFake(t)
						f.lists[quotes] = c.before
						f.steps = []step{{verb, func(_ *fake, carryOut func() answer) answer {
							if carriedOut {
								carryOut()
							}
							return says(200, body)
						}}}
						out := provider(t, f, Config{}, nil).Do(t.Context(), callOf(c.op), &journal{})
						want := "done x1"
						if !carriedOut {
							want = "accepted x2" // sent again, after looks that did not show it
						}
						if got := brief(out[0]); got != want {
							t.Errorf("got %s (%s), want %s", got, out[0].Message, want)
						}
						if diff := cmp.Diff(c.after, f.who(quotes)); diff != "" {
							t.Errorf("list afterwards (-want +got):\n%s", diff)
						}
					})
				})
			}
		}
	}
}

// TestNoWriteFollowsAListBesideAnError: such a list is not "nobody has it".
func TestNoWriteFollowsAListBesideAnError(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"a refusal":         `{"share":[],"status":"error","code":"INVALID_DATA","message":"x"}`,
		"an internal error": `{"share":[],"status":"error","code":"INTERNAL_ERROR","message":"x"}`,
		"a count":           `{"share":[],"info":{"count":3}}`,
		"two lists":         `{"share":[{"shared_with":{"id":"5","type":"users"},"permission":"read_only"}],"share":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				for range mostReads {
					f.steps = append(f.steps, refuses("GET", 200, body))
				}
				out := provider(t, f, Config{}, nil).Do(t.Context(), callOf(give("6", crm.Read), revoke("5")), &journal{})
				f.steps = nil
				for _, o := range out {
					if o.Status != crm.Failed && o.Status != crm.Pending || o.Attempts != 0 {
						t.Errorf("got %s (%s), want failed or not sent", brief(o), o.Message)
					}
				}
			})
		})
	}
}

// TestCompositePartsThatContradict: a part that was not carried out has no answer, and
// its record is looked at by itself.
func TestCompositePartsThatContradict(t *testing.T) {
	t.Parallel()
	part := func(status, code string, http int, body string) string {
		return `{"code":"` + code + `","status":"` + status + `","details":{"response":{"status_code":` + map[int]string{200: "200", 204: "204"}[http] + `,"body":` + body + `}}}`
	}
	good := part("success", "SUCCESS", 200, `{"share":[]}`)
	for name, c := range map[string]struct {
		parts string
		want  string // which of two are answers
	}{
		"both":                      {good + "," + good, "yy"},
		"an error with a list":      {part("error", "REQUEST_TIMEOUT", 200, `{"share":[]}`) + "," + good, "ny"},
		"success with another code": {part("success", "NOT_SUPPORTED", 200, `{"share":[]}`) + "," + good, "ny"},
		"two HTTP statuses":         {strings.Replace(good, `"status_code":200`, `"status_code":500,"status_code":200`, 1) + "," + good, "ny"},
		"one for two":               {good, "nn"},
		"three for two":             {good + "," + good + "," + good, "nn"},
	} {
		got := ""
		parts, _ := readComposite([]byte(`{"__composite_requests":[`+c.parts+`]}`), 2)
		for _, r := range parts {
			got += map[bool]string{true: "y", false: "n"}[r != nil]
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	with204, _ := readComposite([]byte(`{"__composite_requests":[`+part("success", "SUCCESS", 204, `{"share":[{"shared_with":{"id":"5","type":"users"},"permission":"read_only"}]}`)+`]}`), 1)
	if f := classify(verbLook, record, 0, with204[0], nil); f.Class == shown {
		t.Errorf("no content with a list shows %v, want nothing", f.list)
	}
}

// TestRefusedBystanderIsNamed: a list that the CRM refuses because of somebody who is to
// keep the record changes nothing, and the row names them and says what would do it.
func TestRefusedBystanderIsNamed(t *testing.T) {
	t.Parallel()
	for _, says := range []string{"cannot share to the user", "invalid user Id"} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			f.lists[quotes] = []share{user("5", "read_only"), user("66", "read_only")}
			f.refuse["66"] = says
			o := provider(t, f, Config{}, nil).Do(t.Context(), callOf(revoke("5")), &journal{})[0]
			if o.Status != crm.Failed || !strings.Contains(o.Message, "because of user 66: "+says) || !strings.Contains(o.Message, "activate them") {
				t.Errorf("got %s (%s), want a failure that names user 66", brief(o), o.Message)
			}
			if diff := cmp.Diff([]string{"5 read_only", "66 read_only"}, f.who(quotes)); diff != "" {
				t.Errorf("list afterwards (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRefusedListNamesBystanders: where one error stands for the whole list, it names the
// entry, or whoever is to keep the record may be it. A share's own entry is no bystander.
func TestRefusedListNamesBystanders(t *testing.T) {
	t.Parallel()
	at := func(n string) string {
		return `{"code":"INVALID_DATA","details":{"api_name":"shared_with","json_path":"$.share[` + n + `].shared_with"},"message":"invalid data","status":"error"}`
	}
	tests := []struct {
		name, body string
		op         crm.Operation
		says       string // "" for what the CRM said alone
	}{
		{"named", at("1"), revoke("5"), "because of user 67: invalid data; if they were deactivated"},
		{"named by nothing", envelope("INVALID_DATA", "invalid data"), revoke("5"), "and does not say because of whom (user 66, user 67): invalid data"},
		{"out of the list", at("9"), revoke("5"), ""},
		{"a share that is at fault itself", at("0"), give("5", crm.Write), ""},
		{"a share that somebody else stops", at("2"), give("5", crm.Write), "because of user 67"},
		{"about the caller", envelope("NO_PERMISSION", "permission denied"), revoke("5"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.lists[quotes] = []share{user("5", "read_only"), user("66", "read_only"), user("67", "read_only")}
				f.steps = []step{refuses("PUT", 400, tt.body)}
				o := provider(t, f, Config{}, nil).Do(t.Context(), callOf(tt.op), &journal{})[0]
				if named := strings.Contains(o.Message, "those who stay"); o.Status != crm.Failed || !strings.Contains(o.Message, tt.says) || named != (tt.says != "") {
					t.Errorf("got %s (%s), want %q in it", brief(o), o.Message, tt.says)
				}
			})
		})
	}
}
