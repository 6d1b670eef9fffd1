package zoho

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func collect(p *Provider, ctx context.Context) ([]crm.User, error) {
	var users []crm.User
	for u, err := range p.Users(ctx, crm.Current) {
		if err != nil {
			return users, err
		}
		users = append(users, u)
	}
	return users, nil
}

func TestUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.steps = []step{
			refuses("GET", 200, `{"users":[{"id":"554023000000691003","email":"a@b.example","status":"active"},{"id":"2","email":null,"status":"disabled"},{"email":"none@b.example"}],"info":{"more_records":true}}`),
			refuses("GET", 429, throttleBody),
			refuses("GET", 200, `{"users":[{"id":"3","email":"c@b.example","status":"deleted"}],"info":{"more_records":false}}`),
		}
		p := provider(t, f, Config{}, nil)
		got, err := collect(p, t.Context())
		want := []crm.User{{ID: "554023000000691003", Email: "a@b.example", Active: true}, {ID: "2"}, {ID: "3", Email: "c@b.example"}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v, users (-want +got):\n%s", err, diff)
		}
		wantLog := []string{
			"GET /crm/v8/users?page=1&per_page=200&type=AllUsers",
			"GET /crm/v8/users?page=2&per_page=200&type=AllUsers",
			"GET /crm/v8/users?page=2&per_page=200&type=AllUsers",
		}
		if diff := cmp.Diff(wantLog, f.log); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// The list of those who were deleted is another one, and may be empty.
func TestDeletedUsers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reply step
		want  []crm.User
	}{
		{refuses("GET", 200, `{"users":[{"id":"3","email":"c@b.example","status":"deleted"}],"info":{"more_records":false}}`), []crm.User{{ID: "3", Email: "c@b.example"}}},
		{refuses("GET", 204, ""), nil},
	} {
		f := newFake(t)
		f.steps = []step{tt.reply}
		var got []crm.User
		for u, err := range provider(t, f, Config{}, nil).Users(t.Context(), crm.Deleted) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, u)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("users (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"GET /crm/v8/users?page=1&per_page=200&type=DeletedUsers"}, f.log); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	}
}

func TestUsersThatCanNotBeListed(t *testing.T) {
	t.Parallel()
	page := refuses("GET", 200, `{"users":[{"id":"1"}],"info":{"more_records":true}}`)
	tests := []struct {
		name  string
		steps []step
		says  string // "" for no error
	}{
		{"nobody", []step{refuses("GET", 204, "")}, "lists nobody"},
		{"an empty list", []step{refuses("GET", 200, `{"users":[]}`)}, "lists nobody"},
		{"a list beside an error", []step{refuses("GET", 200, `{"users":[{"id":"1"}],"status":"error"}`)}, "error"},
		{"a list given twice", []step{refuses("GET", 200, `{"users":[{"id":"1"}],"users":[]}`)}, "not a list"},
		{"fewer than it counts", []step{refuses("GET", 200, `{"users":[{"id":"1"}],"info":{"count":2,"more_records":false}}`)}, "not whole"},
		{"a count that is none", []step{refuses("GET", 200, `{"users":[{"id":"1"}],"info":{"count":"all","more_records":false}}`)}, "not whole"},
		{"more and no more", []step{refuses("GET", 200, `{"users":[{"id":"1"}],"info":{"more_records":true},"info":{"more_records":false}}`)}, "not whole"},
		{"another page", []step{refuses("GET", 200, `{"users":[{"id":"1"}],"info":{"page":2,"more_records":false}}`)}, "another page"},
		{"empty, with more to come", []step{page, refuses("GET", 200, `{"users":[],"info":{"more_records":true}}`)}, "says that more follow"},
		{"nothing is said of more, and no more come", []step{refuses("GET", 200, `{"users":[{"id":"1"}]}`), refuses("GET", 204, "")}, ""},
		{"no scope", []step{refuses("GET", 401, envelope("OAUTH_SCOPE_MISMATCH", "invalid oauth scope"))}, "OAUTH_SCOPE_MISMATCH"},
		{"a page", []step{refuses("GET", 200, "<html>")}, "can not be read"},
		{"no list", []step{refuses("GET", 200, `{"a":1}`)}, "not a list"},
		{"the same page again", []step{page, page}, "again and again"},
		{"wrong host", []step{refuses("GET", 404, "")}, "404"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.steps = tt.steps
				_, err := collect(provider(t, f, Config{}, nil), t.Context())
				if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v, want %q", err, tt.says)
				}
				if _, ended := errors.AsType[*crm.AccountError](err); ended != (tt.says == "404") {
					t.Errorf("got %v, ended %v", err, ended)
				}
			})
		})
	}
}

// TestUsersWithoutEnd: a list whose pages all have new people ends after as many as a
// list may have; one that comes back to people it has had ends there.
func TestUsersWithoutEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		page  func(page int) string
		says  string
		calls int
	}{
		"ever new people": {func(page int) string {
			users := make([]string, usersPerPage)
			for i := range users {
				users[i] = fmt.Sprintf(`{"id":"%d"}`, page*1000+i)
			}
			return fmt.Sprintf(`{"users":[%s],"info":{"count":200,"page":%d,"more_records":true}}`, strings.Join(users, ","), page)
		}, "more than 100000 people", crm.MostUsers/usersPerPage + 1},
		"as many as a list may have": {func(page int) string {
			users := make([]string, usersPerPage)
			for i := range users {
				users[i] = fmt.Sprintf(`{"id":"%d"}`, page*1000+i)
			}
			return fmt.Sprintf(`{"users":[%s],"info":{"more_records":%v}}`, strings.Join(users, ","), page*usersPerPage < crm.MostUsers)
		}, "", crm.MostUsers / usersPerPage},
		"two pages in turn": {func(page int) string {
			return fmt.Sprintf(`{"users":[{"id":"%d"}],"info":{"more_records":true}}`, page%2+1)
		}, "again and again", 3},
		"people without an id": {func(int) string { return `{"users":[{"email":"a@b.example"}],"info":{"more_records":true}}` }, "again and again", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.users = c.page
				n := 0
				var failed error
				for _, err := range provider(t, f, Config{}, nil).Users(t.Context(), crm.Current) {
					if failed = err; err == nil {
						n++
					}
				}
				if c.says == "" && (failed != nil || n != crm.MostUsers) || c.says != "" && (failed == nil || !strings.Contains(failed.Error(), c.says)) || n > crm.MostUsers || len(f.log) != c.calls {
					t.Errorf("%d people in %d calls, %v; want %q after %d calls", n, len(f.log), failed, c.says, c.calls)
				}
			})
		})
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	me := refuses("GET", 200, `{"users":[{"id":"554023000000691003","email":"admin@b.example","full_name":"A B","status":"active","zuid":"9"}]}`)
	org := refuses("GET", 200, `{"org":[{"id":"60012345678","zgid":"7","company_name":"B"}]}`)
	tests := []struct {
		name  string
		host  string
		steps []step
		want  crm.Identity
		end   string
	}{
		{name: "plain", steps: []step{me, org}, want: crm.Identity{User: "554023000000691003", Email: "admin@b.example", Name: "A B", Org: "60012345678"}},
		{
			name: "without the scope for the organisation", steps: []step{me, refuses("GET", 401, envelope("OAUTH_SCOPE_MISMATCH", "x"))},
			want: crm.Identity{User: "554023000000691003", Email: "admin@b.example", Name: "A B", Org: "user 554023000000691003"},
		},
		{
			name: "a test environment", host: "https://sandbox.zohoapis.eu", steps: []step{me, org},
			want: crm.Identity{User: "554023000000691003", Email: "admin@b.example", Name: "A B", Org: "60012345678 at sandbox.zohoapis.eu"},
		},
		{name: "no scope", steps: []step{refuses("GET", 401, envelope("OAUTH_SCOPE_MISMATCH", "x"))}, end: crm.EndKeys},
		{name: "nobody", steps: []step{refuses("GET", 204, "")}, end: crm.EndUnreachable},
		{name: "several", steps: []step{refuses("GET", 200, `{"users":[{"id":"1"},{"id":"2"}]}`)}, end: crm.EndUnreachable},
		{name: "no organisation", steps: []step{me, refuses("GET", 200, `{"org":[]}`)}, end: crm.EndUnreachable},
		{name: "wrong host", steps: []step{refuses("GET", 404, "")}, end: crm.EndHost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := openStore(t)
			f := newFake(t)
			f.steps = tt.steps
			if tt.host != "" {
				f.apiHost = tt.host
			}
			got, err := provider(t, f, Config{}, store).Identify(t.Context())
			if tt.end != "" {
				if end, ok := errors.AsType[*crm.AccountError](err); !ok || end.Code != tt.end {
					t.Errorf("got %v, want the account ended with %s", err, tt.end)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Fatalf("%v, identity (-want +got):\n%s", err, diff)
			}
			asked := len(f.log)
			p := provider(t, f, Config{}, store)
			if again, err := p.Identify(t.Context()); err != nil || again != got || len(f.log) != asked {
				t.Errorf("the second time %+v, %v after %d more requests; want the same from memory", again, err, len(f.log)-asked)
			}
		})
	}
}
