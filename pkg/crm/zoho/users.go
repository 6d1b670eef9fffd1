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
	Users []wireUser      `json:"users"`
	Info  json.RawMessage `json:"info"`
}

type wireUser struct {
	ID       text `json:"id"`
	Email    text `json:"email"`
	Status   text `json:"status"`
	FullName text `json:"full_name"`
}

// Users lists everybody, inactive and deleted people too, page by page: a request
// for each 200 users. Entries without an id are left out: nothing could be sent for
// them. The error is an *crm.AccountError where the account has ended.
func (p *Provider) Users(ctx context.Context) iter.Seq2[crm.User, error] {
	return func(yield func(crm.User, error) bool) {
		last := ""
		for page := 1; ; page++ {
			got, err := p.users(ctx, url.Values{
				"type": {"AllUsers"}, "page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(usersPerPage)},
			})
			if err != nil {
				yield(crm.User{}, fmt.Errorf("list users: %w", err))
				return
			}
			for _, u := range got.Users {
				user, ok := u.user()
				if ok && !yield(user, nil) {
					return
				}
			}
			if len(got.Users) == 0 || !more(got.Info) {
				return
			}
			first := string(got.Users[0].ID)
			if first == last {
				yield(crm.User{}, errors.New("list users: the CRM sends the same page again and again"))
				return
			}
			last = first
		}
	}
}

// user returns the entry as the domain knows it; false where it has no usable id.
func (u wireUser) user() (crm.User, bool) {
	return crm.User{ID: string(u.ID), Email: string(u.Email), Active: strings.EqualFold(string(u.Status), "active")}, number.MatchString(string(u.ID))
}

// users asks for one page. There is none where the CRM answers 204.
func (p *Provider) users(ctx context.Context, query url.Values) (usersReply, error) {
	var got usersReply
	f := p.read(ctx, verbRead, "", transport.Request{
		Op: "Users", Path: "/crm/" + p.dialect.version + "/users", Query: query, MaxBody: mostUserBytes,
	})
	switch {
	case ctx.Err() != nil && f.class != shown:
		return got, context.Cause(ctx)
	case f.ended != nil:
		return got, f.ended
	case f.class == refused:
		return got, &refusal{f.code, f.text}
	case f.class != shown:
		return got, errors.New(f.text)
	case len(f.body) == 0:
		return got, nil
	}
	if err := json.Unmarshal(f.body, &got); err != nil || got.Users == nil {
		return got, errors.New("the answer is not a list of users")
	}
	return got, nil
}

// refusal is a read that the CRM refused.
type refusal struct{ code, text string }

func (e *refusal) Error() string { return e.code + ": " + e.text }
