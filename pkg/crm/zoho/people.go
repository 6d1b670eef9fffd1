package zoho

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	// usersPerPage is the most that the vendor allows.
	usersPerPage = 200
	// mostUserBytes bounds a page of 200 users, of a few kilobytes each.
	mostUserBytes = 4 << 20
)

// userPage is a page of users that can be relied on.
type userPage struct {
	users []wireUser
	about info
}

type wireUser struct {
	ID       text `json:"id"`
	Email    text `json:"email"`
	Status   text `json:"status"`
	FullName text `json:"full_name"`
	Role     once `json:"role"` // {"name", "id"}
	Profile  struct {
		Name text `json:"name"`
	} `json:"profile"`
}

// user is the entry as the domain knows it.
func (w wireUser) user() crm.User {
	var role struct{ ID text }
	_ = json.Unmarshal(w.Role, &role) // what can not be read names no role
	if !number.MatchString(string(role.ID)) {
		role.ID = ""
	}
	return crm.User{ID: string(w.ID), Email: string(w.Email), Active: strings.EqualFold(string(w.Status), "active"), Role: string(role.ID)}
}

// Users lists everybody, inactive people too, or those who were deleted, whom the list
// of all users leaves out; page by page: a request for each 200 users. Entries without an
// id are left out: nothing could be sent for them. A list that has no end, or does not get
// on, ends with an error, and so does one that has nobody: somebody has given us the token.
// The error is an *crm.AccountError where the account has ended.
func (r *reader) Users(ctx context.Context, part crm.Part) iter.Seq2[crm.User, error] {
	kind, mayBeEmpty := "AllUsers", false
	if part == crm.Deleted {
		kind, mayBeEmpty = "DeletedUsers", true
	}
	return func(yield func(crm.User, error) bool) {
		fail := func(err error) { yield(crm.User{}, fmt.Errorf("list users: %w", err)) }
		seen := map[string]bool{}
		for page := 1; ; page++ {
			got, err := r.users(ctx, page, url.Values{
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
				id := string(u.ID)
				if seen[id] || !number.MatchString(id) {
					continue
				}
				if seen[id] = true; len(seen) > crm.MostUsers {
					fail(crm.ErrTooManyUsers)
					return
				}
				if !yield(u.user(), nil) {
					return
				}
			}
			switch {
			case got.about.More != "" && !got.about.more():
				return
			case len(seen) == before:
				fail(fmt.Errorf("the CRM sends the same people again and again (page %d has nobody new, and says that more follow)", page))
				return
			}
		}
	}
}

// users asks for one page. There is none where the CRM answers 204. A page that says of
// itself that it is another page, or holds less than it counts, is an error.
func (r *reader) users(ctx context.Context, page int, query url.Values) (got userPage, err error) {
	f, err := r.get(ctx, scopeUsers, transport.Request{Op: "Users", Path: "users", Query: query, MaxBody: mostUserBytes})
	if err != nil || nobody(f.Status, f.body) {
		return got, err
	}
	var wire struct {
		Users once `json:"users"`
		Info  once `json:"info"`
	}
	if json.Unmarshal(f.body, &wire) != nil || wire.Users.Absent() || json.Unmarshal(wire.Users, &got.users) != nil {
		return userPage{}, errors.New("the answer is not a list of users")
	}
	var whole bool
	got.about, whole = readInfo(wire.Info)
	switch {
	case !whole || !got.about.fits(page, len(got.users)):
		return userPage{}, fmt.Errorf("page %d of the list is not whole, or another page", page)
	case len(got.users) == 0 && got.about.more():
		return userPage{}, fmt.Errorf("page %d of the list is empty, and says that more follow", page)
	}
	return got, nil
}

// get reads something that is no list of shares, which takes the scope. The error is what
// ended ctx, an *crm.AccountError, a *refusal, or says why nothing of use came.
func (r *reader) get(ctx context.Context, scope string, req transport.Request) (finding, error) {
	req.Path = "/crm/" + r.dialect.version + "/" + req.Path
	f := r.read(ctx, verbRead, "", req)
	switch {
	case f.Class == shown:
		return f, nil
	case ctx.Err() != nil:
		return f, context.Cause(ctx)
	case f.Ended != nil:
		return f, f.Ended
	case f.Class == refused:
		f = r.explainRead(f, scope)
		return f, &refusal{f.Code, f.Text}
	}
	return f, errors.New(f.Text)
}

// refusal is a read that the CRM refused.
type refusal struct{ code, text string }

func (e *refusal) Error() string { return e.code + ": " + e.text }

// Identify asks whose token it is and of which organisation. A yes is remembered for 24
// hours. Whether the user may share records of a module only the calls on that module
// tell: administrators always may, other profiles with a permission that no answer shows.
// The error is an *crm.AccountError, or what ended ctx.
func (r *reader) Identify(ctx context.Context) (crm.Identity, error) {
	return r.store.Identity(number.MatchString, func() (crm.Identity, error) { return r.ask(ctx) })
}

// ask asks whose token it is.
func (r *reader) ask(ctx context.Context) (crm.Identity, error) {
	id, err := r.owner(ctx)
	if err == nil {
		return id, nil
	}
	if end, ok := errors.AsType[*crm.AccountError](err); ok {
		return crm.Identity{}, end
	}
	if ctx.Err() != nil {
		return crm.Identity{}, context.Cause(ctx)
	}
	end := &crm.AccountError{
		Code: crm.EndUnreachable, Err: errors.New("whose token it is could not be found out: " + err.Error()),
		Hint: "Check the data centre or the API URL of the account, and whether ca_file is needed to trust its certificate.",
	}
	if no, ok := errors.AsType[*refusal](err); ok {
		end = &crm.AccountError{
			Code: crm.EndKeys, Err: fmt.Errorf("the CRM does not tell whose token it is: %w", no),
			Hint: "Authorise the client again with the scopes ZohoCRM.share.all, " + scopeUsers + " and " + scopeOrg + ".",
		}
	}
	return crm.Identity{}, end
}

// Clock returns what time it is for the CRM, by its last answer.
func (r *reader) Clock(ctx context.Context) (time.Time, error) {
	if _, answered := r.client.Clock(); !answered {
		if _, err := r.ask(ctx); err != nil {
			return time.Time{}, err
		}
	}
	now, _ := r.client.Clock()
	return now, nil
}

// owner asks whose token it is. Reading the organisation takes a scope of its own,
// which nothing else here needs: where it was not granted, the user stands for the
// organisation, to which every user id belongs. Another host than the configured
// one is that of a test environment, and counts as another organisation.
func (r *reader) owner(ctx context.Context) (id crm.Identity, err error) {
	got, err := r.users(ctx, 1, url.Values{"type": {"CurrentUser"}})
	if err != nil {
		return id, err
	}
	if len(got.users) != 1 || got.about.more() || !number.MatchString(string(got.users[0].ID)) {
		return id, errors.New("the answer does not name one user")
	}
	u := got.users[0]
	org := "user " + string(u.ID)
	f, err := r.get(ctx, scopeOrg, transport.Request{Op: "Org", Path: "org"})
	switch _, no := errors.AsType[*refusal](err); {
	case err != nil && !no:
		return id, err
	case err == nil:
		var wire struct {
			Org once `json:"org"`
		}
		var orgs []struct {
			ID   text `json:"id"`
			ZGID text `json:"zgid"`
		}
		if json.Unmarshal(f.body, &wire) != nil || json.Unmarshal(wire.Org, &orgs) != nil || len(orgs) != 1 {
			return id, errors.New("the answer does not name one organisation")
		}
		if org = string(cmp.Or(orgs[0].ID, orgs[0].ZGID)); org == "" {
			return id, errors.New("the answer does not name the organisation")
		}
	}
	if host := r.tokens.host(); host != r.configured.Host {
		org += " at " + host
	}
	id = crm.Identity{
		User: string(u.ID), Email: r.redact.String(string(u.Email)), Name: r.redact.Clean(string(u.FullName)), Org: r.redact.Clean(org),
		Role: r.redact.Clean(string(u.Profile.Name)),
	}
	if id.Role == "Administrator" {
		id.Shares = crm.Yes
	}
	return id, nil
}
