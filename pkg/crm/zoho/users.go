package zoho

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	// usersPerPage is the most that the vendor allows.
	usersPerPage = 200
	// mostUserBytes bounds a page of 200 users, of a few kilobytes each.
	mostUserBytes = 4 << 20
)

// usersReply is a page of users.
type usersReply struct {
	Users once `json:"users"`
	Info  once `json:"info"`
}

// userPage is a page that can be relied on.
type userPage struct {
	users []wireUser
	about info
	told  bool // it says whether there are more pages
}

type wireUser struct {
	ID       text `json:"id"`
	Email    text `json:"email"`
	Status   text `json:"status"`
	FullName text `json:"full_name"`
}

// Users lists everybody, inactive people too, or those who were deleted, whom the list
// of all users leaves out; page by page: a request for each 200 users. Entries without an id are left out: nothing could be sent for them. A list
// that has no end, or does not get on, ends with an error, and so does one that has
// nobody: somebody has given us the token. The error is an *crm.AccountError where the
// account has ended.
func (p *Provider) Users(ctx context.Context, part crm.Part) iter.Seq2[crm.User, error] {
	kind, mayBeEmpty := "AllUsers", false
	if part == crm.Deleted {
		kind, mayBeEmpty = "DeletedUsers", true
	}
	return func(yield func(crm.User, error) bool) {
		fail := func(err error) { yield(crm.User{}, fmt.Errorf("list users: %w", err)) }
		seen := map[string]bool{}
		for page := 1; ; page++ {
			got, err := p.users(ctx, page, url.Values{
				"type": {kind}, "page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(usersPerPage)},
			})
			switch {
			case err != nil:
				fail(err)
				return
			case len(got.users) == 0 && page == 1 && !mayBeEmpty:
				fail(errors.New("the CRM lists nobody, not even whose token it is"))
				return
			case len(got.users) == 0:
				return
			}
			before := len(seen)
			for _, u := range got.users {
				user, ok := u.user()
				if !ok || seen[user.ID] {
					continue
				}
				if seen[user.ID] = true; len(seen) > crm.MostUsers {
					fail(crm.ErrTooManyUsers)
					return
				}
				if !yield(user, nil) {
					return
				}
			}
			switch {
			case got.told && !got.about.more():
				return
			case len(seen) == before:
				fail(fmt.Errorf("the CRM sends the same people again and again (page %d has nobody new, and says that more follow)", page))
				return
			}
		}
	}
}

// user returns the entry as the domain knows it; false where it has no usable id.
func (u wireUser) user() (crm.User, bool) {
	return crm.User{ID: string(u.ID), Email: string(u.Email), Active: strings.EqualFold(string(u.Status), "active")}, number.MatchString(string(u.ID))
}

// users asks for one page. There is none where the CRM answers 204.
func (p *Provider) users(ctx context.Context, page int, query url.Values) (userPage, error) {
	f := p.read(ctx, verbRead, "", transport.Request{
		Op: "Users", Path: "/crm/" + p.dialect.version + "/users", Query: query, MaxBody: mostUserBytes,
	})
	switch {
	case ctx.Err() != nil && f.Class != shown:
		return userPage{}, context.Cause(ctx)
	case f.Ended != nil:
		return userPage{}, f.Ended
	case f.Class == refused:
		f = p.explainRead(f, scopeUsers)
		return userPage{}, &refusal{f.Code, f.Text}
	case f.Class != shown:
		return userPage{}, errors.New(f.Text)
	case nobody(f.Status, f.body):
		return userPage{}, nil
	}
	return readUsers(f.body, page)
}

// readUsers reads a page of users. One that says of itself that it is another page, or
// holds less than it counts, is none.
func readUsers(body []byte, page int) (got userPage, err error) {
	var wire usersReply
	if json.Unmarshal(body, &wire) != nil || wire.Users.Absent() || json.Unmarshal(wire.Users, &got.users) != nil {
		return userPage{}, errors.New("the answer is not a list of users")
	}
	whole := false
	got.about, whole = readInfo(wire.Info)
	got.told = got.about.More != ""
	switch {
	case !whole || !got.about.fits(page, len(got.users)):
		return userPage{}, fmt.Errorf("page %d of the list is not whole, or another page", page)
	case len(got.users) == 0 && got.about.more():
		return userPage{}, fmt.Errorf("page %d of the list is empty, and says that more follow", page)
	}
	return got, nil
}

// refusal is a read that the CRM refused.
type refusal struct{ code, text string }

func (e *refusal) Error() string { return e.code + ": " + e.text }
