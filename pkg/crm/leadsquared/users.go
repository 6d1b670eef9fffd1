package leadsquared

import (
	"bufio"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// mostUserBytes bounds the user list, which the vendor sends as one reply without
// paging, an entry being about 500 bytes; crm.MostUsers bounds what is kept of it where
// entries are shorter, mostEntryBytes what is read of an entry that does not end.
const (
	mostUserBytes  = 64 << 20
	mostEntryBytes = 256 << 10
)

// wireUser is an entry of the list. The id's name differs between the services.
type wireUser struct {
	ID           text
	UserID       text
	EmailAddress text // may be null
	StatusCode   text // 0 active, 1 not
}

// Users lists everybody, inactive people too, with one request; of people who were
// deleted the CRM knows no list. The whole list is
// read before the first user is given out, because a reply that breaks off is asked
// for again from its start; what is kept of it is three short fields. Entries
// without a GUID are left out: nothing could be sent for them. The error is an
// *crm.AccountError where the account has ended.
func (p *Provider) Users(ctx context.Context, part crm.Part) iter.Seq2[crm.User, error] {
	return func(yield func(crm.User, error) bool) {
		if part == crm.Deleted {
			return
		}
		var list userList
		r, err := p.client.Read(ctx, transport.Request{
			Op: "Users.Get", Method: http.MethodGet, Path: "/v2/UserManagement.svc/Users.Get",
			MaxBody: mostUserBytes, Stream: list.read,
		})
		if err != nil || r.Status != http.StatusOK || !list.whole {
			yield(crm.User{}, fmt.Errorf("list users: %w", p.listError(ctx, list, r, err)))
			return
		}
		if list.entries == 0 {
			yield(crm.User{}, errors.New("list users: the CRM lists nobody, not even whose keys these are"))
			return
		}
		for u := range list.all() {
			if !yield(u, nil) {
				return
			}
		}
	}
}

// userList is what a reply has given so far.
type userList struct {
	users   [][]listed // in portions, which growing does not copy
	emails  []byte     // the addresses, one behind the other
	entries int        // with those that have no usable id
	whole   bool
	over    bool   // it is longer than what is read of it
	other   []byte // the beginning of a reply that is no list
}

// read reads a reply from its start and forgets what another has given.
func (l *userList) read(body io.Reader) error {
	*l = userList{}
	in := bufio.NewReader(body)
	if mark, err := in.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		_, _ = in.Discard(3)
	}
	first, err := in.Peek(1)
	for err == nil && strings.ContainsAny(string(first), " \t\r\n") {
		_, _ = in.Discard(1)
		first, err = in.Peek(1)
	}
	if err != nil || first[0] != '[' {
		l.other, err = io.ReadAll(io.LimitReader(in, 64<<10))
		return err
	}
	portion := &portions{from: in, left: mostEntryBytes}
	d := json.NewDecoder(portion)
	_, err = d.Token()
	for err == nil && d.More() {
		var u wireUser
		if err = d.Decode(&u); err != nil {
			break
		}
		portion.left = mostEntryBytes
		if l.entries++; l.entries > crm.MostUsers {
			l.over = true // another answer would be no shorter
			return nil
		}
		if user, ok := u.user(); ok {
			l.add(user)
		}
	}
	if err == nil {
		_, err = d.Token()
	}
	if err == nil {
		// A list with something behind it is not what was asked for.
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("something follows the list")
		}
	}
	if err != nil {
		return fmt.Errorf("read the list: %w", err)
	}
	l.whole = true
	return nil
}

// listed is a user as the list keeps it: a third of what its texts would take.
type listed struct {
	id     [16]byte
	email  uint32 // where the address ends; it begins where the one before ends
	active bool
}

// usersPerPortion is how many are kept in a row.
const usersPerPortion = 1024

// add keeps a user.
func (l *userList) add(u crm.User) {
	one := listed{active: u.Active}
	_, _ = hex.Decode(one.id[:], []byte(strings.ReplaceAll(u.ID, "-", ""))) // readGUID has passed it
	l.emails = append(l.emails, u.Email...)
	one.email = uint32(len(l.emails)) // the body is bounded far below that
	if n := len(l.users); n == 0 || len(l.users[n-1]) == usersPerPortion {
		l.users = append(l.users, make([]listed, 0, usersPerPortion))
	}
	last := len(l.users) - 1
	l.users[last] = append(l.users[last], one)
}

// all returns the users in the order of the list.
func (l *userList) all() iter.Seq[crm.User] {
	return func(yield func(crm.User) bool) {
		begin := uint32(0)
		for _, portion := range l.users {
			for _, one := range portion {
				d := one.id
				u := crm.User{
					ID:    fmt.Sprintf("%x-%x-%x-%x-%x", d[:4], d[4:6], d[6:8], d[8:10], d[10:]),
					Email: string(l.emails[begin:one.email]), Active: one.active,
				}
				if begin = one.email; !yield(u) {
					return
				}
			}
		}
	}
}

// portions reads up to left bytes and then fails, until left is set anew: a decoder
// holds a whole entry in memory, and one without an end must not fill it.
type portions struct {
	from io.Reader
	left int
}

// Read implements io.Reader.
func (p *portions) Read(b []byte) (int, error) {
	if p.left <= 0 {
		return 0, errors.New("an entry is longer than expected")
	}
	n, err := p.from.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}

// user returns the entry as the domain knows it; false where it has no usable id.
func (u wireUser) user() (crm.User, bool) {
	id, ok := readGUID(string(cmp.Or(u.ID, u.UserID)))
	if other, _ := readGUID(string(u.UserID)); u.ID != "" && u.UserID != "" && other != id {
		ok = false // it may be either
	}
	return crm.User{ID: id, Email: string(u.EmailAddress), Active: u.StatusCode == "0"}, ok
}

// listError says why a read brought nothing of use.
func (p *Provider) listError(ctx context.Context, list userList, r *transport.Response, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil && list.over {
		return crm.ErrTooManyUsers
	}
	if err == nil && r != nil && r.Body == nil {
		with := *r
		with.Body, r = list.other, &with
	}
	f := p.clean(classify(kindLook, r, err))
	switch {
	case f.Ended != nil:
		return f.Ended
	case f.Class == transport.Shown:
		return errors.New("the answer is not a list")
	case f.Code == "" || f.Code == crm.CodeNoAnswer:
		return errors.New(f.Text)
	}
	return fmt.Errorf("%s: %s", f.Code, f.Text)
}
