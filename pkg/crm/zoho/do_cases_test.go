package zoho

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const quotes = "Quotes/" + record

// brief is an outcome in short.
func brief(o crm.Outcome) string {
	s := o.Status.String()
	if o.Code != "" {
		s += " " + o.Code
	}
	if o.Uncertain {
		s += " maybe"
	}
	if o.Ended != nil {
		s += " ended:" + o.Ended.Code
	}
	return fmt.Sprintf("%s x%d", s, o.Attempts)
}

func briefs(out []crm.Outcome) []string {
	var s []string
	for _, o := range out {
		s = append(s, brief(o))
	}
	return s
}

const (
	schedulerBody = `{"code":"CANNOT_PROCESS","details":{},"message":"Scheduler is running","status":"error"}`
	limitBody     = `{"code":"SHARE_LIMIT_EXCEEDED","details":{},"message":"Cannot share a record to more than 10 users.","status":"error"}`
	throttleBody  = `{"code":"TOO_MANY_REQUESTS","details":{},"message":"concurrency limit exceeded","status":"error"}`
)

func TestDo(t *testing.T) {
	t.Parallel()
	all := crm.Operation{Action: crm.RevokeAll, Object: "Quotes", Record: record}
	withRelated := give("5", crm.Read)
	withRelated.Related = crm.Yes
	tests := []struct {
		name string
		cfg  Config
		// protected are users whom no call may take anything from.
		protected []string
		list      []share
		refuse    map[string]string
		steps     []step
		items     []crm.Item
		ops       []crm.Operation
		want      []string
		methods   string
		after     []string
		message   string // part of the first outcome's
	}{
		{
			name: "revoke one of three", list: []share{user("5", "read_only"), user("6", "full_access"), group("9")},
			ops: []crm.Operation{revoke("5")}, want: []string{"accepted x1"},
			methods: "GET PUT", after: []string{"6 full_access", "9+ read_only"},
		},
		{
			name: "revoke several of one record at once", list: []share{user("5", "read_only"), user("6", "read_write"), user("7", "full_access")},
			ops: []crm.Operation{revoke("5"), revoke("7"), revoke("8")}, want: []string{"accepted x1", "accepted x1", "unchanged x0"},
			methods: "GET PUT", after: []string{"6 read_write"},
		},
		{
			name: "revoke the last user", list: []share{user("5", "read_only")},
			ops: []crm.Operation{revoke("5")}, want: []string{"accepted x1"}, methods: "GET DELETE", after: []string{},
		},
		{
			name: "the last user beside an inherited one", list: []share{user("5", "read_only"), inherited(user("6", "read_only"))},
			ops: []crm.Operation{revoke("5")}, want: []string{"accepted x1"}, methods: "GET DELETE", after: []string{"6 read_only"},
		},
		{
			name: "nothing to revoke", ops: []crm.Operation{revoke("5")}, want: []string{"unchanged x0"}, methods: "GET", after: []string{},
		},
		{
			name: "not there, but a group is", list: []share{group("9")}, ops: []crm.Operation{revoke("5")},
			want: []string{"unchanged x0"}, methods: "GET", after: []string{"9+ read_only"}, message: "group 9",
		},
		{
			name: "only inherited", list: []share{inherited(user("5", "read_only"))}, ops: []crm.Operation{revoke("5"), give("5", crm.Read)},
			want: []string{"failed inherited x0", "not_attempted x0"}, methods: "GET", after: []string{"5 read_only"}, message: "Contacts/649013",
		},
		{
			name: "share with somebody who has it inherited", list: []share{inherited(user("5", "read_only"))}, ops: []crm.Operation{give("5", crm.Read)},
			want: []string{"failed inherited x0"}, methods: "GET", after: []string{"5 read_only"}, message: "Contacts/649013",
		},
		{
			name: "public", list: []share{everybody()}, ops: []crm.Operation{revoke("5"), give("6", crm.Read)},
			want: []string{"failed public x0", "failed public x0"}, methods: "GET", after: []string{"everybody read_only"},
		},
		{
			name: "pure additions", list: []share{user("6", "read_only")}, ops: []crm.Operation{give("5", crm.Write), give("7", crm.Full)},
			want: []string{"accepted x1", "accepted x1"}, methods: "GET POST", after: []string{"6 read_only", "5 read_write", "7 full_access"},
		},
		{
			name: "share that is so", list: []share{user("5", "read_write")}, ops: []crm.Operation{give("5", crm.Write)},
			want: []string{"unchanged x0"}, methods: "GET", after: []string{"5 read_write"},
		},
		{
			name: "other permission", list: []share{user("5", "read_write"), user("6", "read_only")}, ops: []crm.Operation{give("5", crm.Read)},
			want: []string{"accepted x1"}, methods: "GET PUT", after: []string{"5 read_only", "6 read_only"},
		},
		{
			name: "other related flag", list: []share{user("5", "read_only"), user("6", "read_only")}, ops: []crm.Operation{withRelated},
			want: []string{"accepted x1"}, methods: "GET PUT", after: []string{"5+ read_only", "6 read_only"},
		},
		{
			name: "revoke_all", list: []share{user("5", "read_only"), group("9"), everybody()}, ops: []crm.Operation{all},
			want: []string{"accepted x1"}, methods: "GET DELETE", after: []string{},
		},
		{
			name: "revoke_all over a protected user", protected: []string{"7", "6"},
			list: []share{user("5", "read_only"), user("6", "read_only")}, ops: []crm.Operation{all},
			want: []string{"failed protected x0"}, methods: "GET", after: []string{"5 read_only", "6 read_only"},
		},
		{
			name: "busy at the look", steps: []step{refuses("GET", 400, `{"code":"INVALID_DATA","details":{},"message":"Scheduler is running.","status":"error"}`)},
			ops: []crm.Operation{revoke("5")}, want: []string{"not_attempted INVALID_DATA x0"}, methods: "GET", after: []string{},
		},
		{
			name: "busy at the write", list: []share{user("5", "read_only")}, steps: []step{refuses("DELETE", 403, schedulerBody)},
			ops: []crm.Operation{revoke("5")}, want: []string{"not_attempted CANNOT_PROCESS x1"}, methods: "GET DELETE", after: []string{"5 read_only"},
		},
		{
			name: "nothing left to delete", list: []share{user("5", "read_only")},
			steps: []step{{"DELETE", func(f *fake, carryOut func() answer) answer { carryOut(); return carryOut() }}},
			ops:   []crm.Operation{revoke("5")}, want: []string{"accepted CANNOT_PROCESS x1"}, methods: "GET DELETE", after: []string{},
		},
		{
			name: "lost on the way there", list: []share{user("5", "read_only"), user("6", "read_only")}, steps: []step{lose("PUT", false)},
			ops: []crm.Operation{revoke("5")}, want: []string{"accepted x2"}, methods: "GET PUT GET GET GET GET PUT", after: []string{"6 read_only"},
			message: "sent again after a lost answer",
		},
		{
			name: "lost on the way back", list: []share{user("5", "read_only"), user("6", "read_only")}, steps: []step{lose("PUT", true)},
			ops: []crm.Operation{revoke("5")}, want: []string{"done x1"}, methods: "GET PUT GET", after: []string{"6 read_only"},
		},
		{
			name: "lost three times", list: []share{user("5", "read_only"), user("6", "read_only")},
			steps: []step{lose("PUT", false), lose("PUT", false), lose("PUT", false)},
			ops:   []crm.Operation{revoke("5")}, want: []string{"failed no_answer maybe x3"}, after: []string{"5 read_only", "6 read_only"},
		},
		{
			name: "an answer that can not be read", list: []share{user("5", "read_only"), user("6", "read_only")},
			steps: []step{{"PUT", func(f *fake, carryOut func() answer) answer { carryOut(); return says(200, "<html>") }}},
			ops:   []crm.Operation{revoke("5")}, want: []string{"done x1"}, methods: "GET PUT GET", after: []string{"6 read_only"},
		},
		{
			name: "throttled, and somebody else was added meanwhile", list: []share{user("5", "read_only"), user("6", "read_only")},
			steps: []step{{"PUT", func(f *fake, _ func() answer) answer {
				f.lists[quotes] = append(f.lists[quotes], user("7", "read_write"))
				return says(429, throttleBody)
			}}},
			ops: []crm.Operation{revoke("5")}, want: []string{"accepted x1"}, methods: "GET PUT GET PUT", after: []string{"6 read_only", "7 read_write"},
		},
		{
			name: "token refused at the write, and somebody else revoked meanwhile", list: []share{user("5", "read_only"), user("6", "read_only"), user("7", "read_only")},
			steps: []step{{"PUT", func(f *fake, _ func() answer) answer {
				f.lists[quotes] = f.lists[quotes][:2]
				clear(f.valid)
				return says(401, `{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}`)
			}}},
			ops: []crm.Operation{revoke("5")}, want: []string{"accepted x1"}, methods: "GET PUT GET PUT", after: []string{"6 read_only"},
		},
		{
			name: "an unknown user among additions", list: nil, refuse: map[string]string{"8": "invalid user Id"},
			ops:  []crm.Operation{give("5", crm.Read), give("8", crm.Read)},
			want: []string{"done x1", "failed INVALID_DATA x1"}, methods: "GET POST GET", after: []string{"5 read_only"},
		},
		{
			name: "the only addition is refused while another goes", list: []share{user("6", "read_only")}, refuse: map[string]string{"8": "invalid user Id"},
			ops:  []crm.Operation{revoke("6"), give("8", crm.Read)},
			want: []string{"accepted x2", "failed INVALID_DATA x1"}, methods: "GET PUT GET DELETE", after: []string{},
		},
		{
			name: "shared meanwhile by somebody else, with another permission", list: []share{user("6", "read_only")},
			steps: []step{{"POST", func(f *fake, carryOut func() answer) answer {
				f.lists[quotes] = append(f.lists[quotes], user("5", "read_only"))
				return carryOut()
			}}},
			ops: []crm.Operation{give("5", crm.Full)}, want: []string{"accepted x2"}, methods: "GET POST GET PUT", after: []string{"6 read_only", "5 full_access"},
		},
		{
			name: "too many users: the revoke goes alone", list: []share{user("5", "read_only"), user("6", "read_only")},
			steps: []step{refuses("PUT", 403, limitBody)},
			ops:   []crm.Operation{revoke("5"), give("7", crm.Read)},
			want:  []string{"accepted x2", "not_attempted x1"}, methods: "GET PUT GET PUT", after: []string{"6 read_only"},
		},
		{
			name: "too many users: the shares one by one", list: []share{user("6", "read_only")},
			steps: []step{refuses("POST", 403, limitBody), refuses("POST", 403, limitBody)},
			ops:   []crm.Operation{give("5", crm.Read), give("7", crm.Read)},
			want:  []string{"failed SHARE_LIMIT_EXCEEDED x2", "accepted x2"}, methods: "GET POST GET POST GET POST", after: []string{"6 read_only", "7 read_only"},
		},
		{
			name: "a bare refusal of somebody who has it by now",
			steps: []step{{"POST", func(f *fake, _ func() answer) answer {
				f.lists[quotes] = []share{user("5", "read_only")}
				return says(400, envelope("INVALID_DATA", "record is already visible to the user."))
			}}},
			ops: []crm.Operation{give("5", crm.Read)}, want: []string{"done x1"}, methods: "GET POST GET", after: []string{"5 read_only"},
		},
		{
			name: "visible by a way that no look shows", refuse: map[string]string{"5": "record is already visible to the user."},
			ops: []crm.Operation{give("5", crm.Read)}, want: []string{"failed INVALID_DATA x1"}, methods: "GET POST GET", after: []string{},
		},
		{
			name: "one entry busy", refuse: map[string]string{"5": "Scheduler is running"},
			ops: []crm.Operation{give("5", crm.Read), give("6", crm.Read)}, want: []string{"not_attempted INVALID_DATA x1", "done x1"},
			methods: "GET POST GET", after: []string{"6 read_only"},
		},
		{
			name: "not allowed: no use in trying fewer", list: []share{user("6", "read_only")},
			steps: []step{refuses("POST", 403, envelope("NO_PERMISSION", "permission denied"))},
			ops:   []crm.Operation{give("5", crm.Read), give("7", crm.Read)},
			want:  []string{"failed NO_PERMISSION x1", "failed NO_PERMISSION x1"}, methods: "GET POST", after: []string{"6 read_only"},
		},
		{
			name: "v2 where nobody knows v8", cfg: Config{Version: "v2"}, list: []share{user("5", "read_only")},
			steps: []step{refuses("GET", 404, envelope("INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one"))},
			ops:   []crm.Operation{revoke("5")}, want: []string{"failed needs_v8 x0"}, methods: "GET", after: []string{"5 read_only"},
		},
		{
			name: "no look to be had", steps: []step{refuses("GET", 502, ""), refuses("GET", 502, ""), refuses("GET", 502, "")},
			ops: []crm.Operation{revoke("5")}, want: []string{"not_attempted no_answer x0"}, methods: "GET GET GET", after: []string{},
		},
		{
			name: "redirect", steps: []step{{"GET", func(*fake, func() answer) answer {
				return answer{status: 302, header: http.Header{"Location": {"https://evil.example/x"}}}
			}}},
			ops: []crm.Operation{revoke("5")}, want: []string{"not_attempted redirect ended:redirect x0"}, methods: "GET", after: []string{}, message: "evil.example",
		},
		{
			name: "credits used up", steps: []step{refuses("GET", 429, envelope("TOO_MANY_REQUESTS", "24 hours request count exceeded"))},
			ops: []crm.Operation{revoke("5")}, want: []string{"not_attempted quota ended:quota x0"}, methods: "GET", after: []string{},
		},
		{
			name: "scope", steps: []step{refuses("GET", 401, `{"code":"OAUTH_SCOPE_MISMATCH","details":{},"message":"invalid oauth scope to access this URL","status":"error"}`)},
			ops: []crm.Operation{revoke("5")}, want: []string{"failed OAUTH_SCOPE_MISMATCH x0"}, methods: "GET", after: []string{},
		},
		{
			name: "an earlier sending was lost and has worked", items: []crm.Item{{Op: revoke("5"), Prior: crm.PriorUnanswered}},
			want: []string{"done x0"}, methods: "GET", after: []string{},
		},
		{
			name: "an earlier sending was lost and has not worked", list: []share{user("5", "read_only")}, items: []crm.Item{{Op: revoke("5"), Prior: crm.PriorUnanswered}},
			want: []string{"accepted x1"}, methods: "GET DELETE", after: []string{}, message: "sent again after a lost answer",
		},
		{
			name: "an earlier sending may have worked and has not", list: []share{user("5", "read_only")}, items: []crm.Item{{Op: revoke("5"), Prior: crm.PriorUncertain}},
			want: []string{"accepted x1"}, methods: "GET DELETE", after: []string{}, message: "sent again, as an earlier sending may have taken effect",
		},
		{
			name: "v2 with users only", cfg: Config{Version: "v2"}, list: []share{user("5", "read_only"), user("6", "read_write")},
			ops: []crm.Operation{revoke("5")}, want: []string{"accepted x1"}, methods: "GET PUT", after: []string{"6 read_write"},
		},
		{
			name: "v2 with a group", cfg: Config{Version: "v2"}, list: []share{user("5", "read_only"), group("9")},
			ops: []crm.Operation{revoke("5"), give("6", crm.Read)}, want: []string{"failed needs_v8 x0", "accepted x1"}, methods: "GET POST",
			after: []string{"5 read_only", "9+ read_only", "6 read_only"},
		},
		{
			name: "an entry that can not be written back", list: []share{user("5", "read_only"), user("6", "")},
			ops: []crm.Operation{revoke("5")}, want: []string{"failed unreadable x0"}, methods: "GET", after: []string{"5 read_only", "6 "},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.lists[quotes], f.steps = tt.list, tt.steps
				if tt.refuse != nil {
					f.refuse = tt.refuse
				}
				p := provider(t, f, tt.cfg, nil)
				call := callOf(tt.ops...)
				call.Items, call.Protected = append(call.Items, tt.items...), tt.protected
				j := &journal{}
				out := p.Do(t.Context(), call, j)
				if diff := cmp.Diff(tt.want, briefs(out)); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s\n%+v", diff, out)
				}
				if diff := cmp.Diff(tt.after, f.who(quotes)); diff != "" {
					t.Errorf("list afterwards (-want +got):\n%s", diff)
				}
				if got := f.methods(); tt.methods != "" && got != tt.methods {
					t.Errorf("requests %s, want %s", got, tt.methods)
				}
				if !strings.Contains(out[0].Message, tt.message) {
					t.Errorf("message %q, want %q in it", out[0].Message, tt.message)
				}
				writes := len(strings.Fields(f.methods())) - strings.Count(f.methods(), "GET")
				if len(j.states) != writes {
					t.Errorf("%d intents for %d writes", len(j.states), writes)
				}
				for _, o := range out {
					if o.Status == crm.Accepted && o.Ticket != quotes {
						t.Errorf("ticket %q, want %q", o.Ticket, quotes)
					}
					if o.Status == crm.Accepted && o.Later != 2*time.Second || strings.Contains(o.Message, "Scheduler") && o.Later != 2*time.Second {
						t.Errorf("come back after %v, want 2s", o.Later)
					}
				}
			})
		})
	}
}
