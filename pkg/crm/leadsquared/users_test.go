package leadsquared

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const usersPath = "GET /v2/UserManagement.svc/Users.Get"

func TestUsers(t *testing.T) {
	t.Parallel()
	page := step{status: 502, reply: "<html>"}
	list := step{reply: `[
		{"ID":"` + strings.ToUpper(leaver) + `","FirstName":"Bob","EmailAddress":"bobdoe@example.com","StatusCode":0,"MemberOfGroups":["Test"],"Tag":null},
		{"UserId":"` + colleague + `","EmailAddress":null,"StatusCode":1},
		{"id":"` + activity + `","emailaddress":"c@example.com","statuscode":"0"},
		{"ID":"system","EmailAddress":"x@example.com","StatusCode":0}]`}
	users := []crm.User{
		{ID: leaver, Email: "bobdoe@example.com", Active: true},
		{ID: colleague},
		{ID: activity, Email: "c@example.com", Active: true},
	}
	for name, c := range map[string]struct {
		steps []step
		want  []crm.User
		err   string
		ended string
	}{
		"the vendor's shape":       {[]step{list}, users, "", ""},
		"with a BOM":               {[]step{{reply: "\ufeff \n" + list.reply}}, users, "", ""},
		"nobody":                   {[]step{{reply: "[]"}}, nil, "lists nobody", ""},
		"an error behind the list": {[]step{{reply: list.reply + `{"Status":"Error"}`}}, nil, "list users", ""},
		"not a 200":                {[]step{{status: 202, reply: list.reply}}, nil, "HTTP 202", ""},
		"throttled in a 200":       {[]step{{reply: limitBody}, list}, users, "", ""},
		"a page, then the list":    {[]step{page, list}, users, "", ""},
		"only pages":               {[]step{page, page, page}, nil, "502", ""},
		"refused":                  {[]step{{status: 500, reply: exception("MXInvalidInputException", "no")}}, nil, "MXInvalidInputException: no", ""},
		"refused keys":             {[]step{{status: 401, reply: "{}"}}, nil, "401", crm.EndKeys},
		"an object":                {[]step{{reply: `{"Users":[]}`}}, nil, "not a list", ""},
		"cut off within an entry":  {[]step{{reply: `[{"ID":"` + leaver + `","StatusCode":0},{"ID":`}}, nil, "list users", ""},
		"cut off between entries":  {[]step{{reply: `[{"ID":"` + leaver + `","StatusCode":0}`}}, nil, "list users", ""},
		"ids that contradict":      {[]step{{reply: `[{"ID":"` + leaver + `","UserId":"` + colleague + `","EmailAddress":"x@example.com"},{"ID":"` + activity + `","UserId":"` + strings.ToUpper(activity) + `"}]`}}, []crm.User{{ID: activity}}, "", ""},
		"an id given twice":        {[]step{{reply: `[{"ID":"` + leaver + `","Id":"` + colleague + `"},{"ID":"` + activity + `"}]`}}, []crm.User{{ID: activity}}, "", ""},
		"an entry that is no user": {[]step{{reply: `[7]`}}, nil, "list users", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range c.steps {
				c.steps[i].want = usersPath
			}
			synctest.Test(t, func(t *testing.T) {
				s := newScript(t, c.steps...)
				var got []crm.User
				var failed error
				for u, err := range newTestProvider(t, Config{}, s).Users(t.Context(), crm.Current) {
					if err != nil {
						failed = err
						continue
					}
					got = append(got, u)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("users (-want +got):\n%s", diff)
				}
				if (failed == nil) != (c.err == "") || failed != nil && !strings.Contains(failed.Error(), c.err) {
					t.Errorf("error %v, want %q", failed, c.err)
				}
				if end, ok := errors.AsType[*crm.AccountError](failed); ok != (c.ended != "") || ok && end.Code != c.ended {
					t.Errorf("error %v ends the account: %v", failed, ok)
				}
			})
		})
	}
}

// TestUsersAtTheBound: as many people as a list may have are all given out, one more is
// refused by name, and nobody is given out then.
func TestUsersAtTheBound(t *testing.T) {
	t.Parallel()
	list := func(n int) step {
		text := strings.Builder{}
		for i := range n {
			fmt.Fprintf(&text, `%c{"ID":"00000000-0000-4000-8000-%012x"}`, "[,"[min(i, 1)], i)
		}
		return step{want: usersPath, reply: text.String() + "]"}
	}
	for _, c := range []struct {
		people, given int
		err           error
	}{{crm.MostUsers, crm.MostUsers, nil}, {crm.MostUsers + 1, 0, crm.ErrTooManyUsers}} {
		synctest.Test(t, func(t *testing.T) {
			given := map[string]bool{}
			var failed error
			for u, err := range newTestProvider(t, Config{}, newScript(t, list(c.people))).Users(t.Context(), crm.Current) {
				if err != nil {
					failed = err
				} else {
					given[u.ID] = true
				}
			}
			if len(given) != c.given || !errors.Is(failed, c.err) {
				t.Errorf("of %d people %d were given out, with error %v; want %d and %v", c.people, len(given), failed, c.given, c.err)
			}
		})
	}
}

func TestUsersStopsWhenAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t, step{want: usersPath, reply: `[{"ID":"` + leaver + `"},{"ID":"` + colleague + `"}]`})
		n := 0
		for range newTestProvider(t, Config{}, s).Users(t.Context(), crm.Current) {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%d users came, want 1", n)
		}
	})
}

func TestNobodyIsListedAsDeleted(t *testing.T) {
	t.Parallel()
	for u, err := range newTestProvider(t, Config{}, newScript(t)).Users(t.Context(), crm.Deleted) {
		t.Errorf("got %+v, %v, want nobody and nothing asked", u, err)
	}
}
