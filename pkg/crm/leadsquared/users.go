package leadsquared

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// mostUserBytes bounds the user list, which the vendor sends as one reply without
// paging, an entry being about 500 bytes; crm.MostUsers bounds what is kept of it where
// entries are shorter, mostEntryBytes what is read of an entry that does not end, mostOther
// what is kept of a reply that is no list.
const (
	mostUserBytes  = 64 << 20
	mostEntryBytes = 256 << 10
	mostOther      = 64 << 10
)

// wireUser is an entry of the list. The id's name differs between the services.
type wireUser struct {
	ID           text
	UserID       text
	EmailAddress text // may be null
	StatusCode   text // 0 active, 1 not
}

// Users lists everybody, inactive people too, with one request; of people who were
// deleted the CRM knows no list. The whole list is read before the first user is given
// out, because a reply that breaks off is asked for again from its start. Entries without
// a GUID are left out: nothing could be sent for them. The error is an *crm.AccountError
// where the account has ended.
func (r *reader) Users(ctx context.Context, part crm.Part) iter.Seq2[crm.User, error] {
	return func(yield func(crm.User, error) bool) {
		if part == crm.Deleted {
			return
		}
		var list userList
		resp, err := r.client.Read(ctx, transport.Request{
			Op: "Users.Get", Method: http.MethodGet, Path: pathUsers,
			MaxBody: mostUserBytes, Stream: list.read,
		})
		if err != nil || resp.Status != http.StatusOK || !list.whole {
			yield(crm.User{}, fmt.Errorf("list users: %w", r.listError(ctx, list, resp, err)))
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
	users   [][]byte // see add
	entries int      // with those that have no usable id
	whole   bool
	over    bool   // it is longer than what is read of it
	other   []byte // the beginning of a reply that is no list
}

// read reads a reply from its start and forgets what another has given.
func (l *userList) read(body io.Reader) error {
	*l = userList{}
	in := bufio.NewReaderSize(body, mostOther)
	head, err := in.Peek(mostOther)
	if !bytes.HasPrefix(transport.TrimJSON(head), []byte("[")) {
		if l.other = head; errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	}
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		_, _ = in.Discard(3)
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

const (
	idLength = 36       // of a GUID
	keptSize = 32 << 10 // of the portions in which users are kept
)

// add keeps a user, as bytes in portions that growing does not copy, a third of what texts
// of their own would take: the id, whether they are active, and the address behind its
// length.
func (l *userList) add(u crm.User) {
	n := len(l.users)
	if n == 0 || len(l.users[n-1]) > keptSize-256 {
		l.users, n = append(l.users, make([]byte, 0, keptSize)), n+1
	}
	kept := append(l.users[n-1], u.ID...) // readGUID has passed it
	kept = append(kept, map[bool]byte{true: 1}[u.Active])
	kept = binary.AppendUvarint(kept, uint64(len(u.Email)))
	l.users[n-1] = append(kept, u.Email...)
}

// all returns the users in the order of the list.
func (l *userList) all() iter.Seq[crm.User] {
	return func(yield func(crm.User) bool) {
		for _, kept := range l.users {
			for len(kept) > 0 {
				n, size := binary.Uvarint(kept[idLength+1:])
				begin := idLength + 1 + size
				end := begin + int(n)
				if !yield(crm.User{ID: string(kept[:idLength]), Active: kept[idLength] == 1, Email: string(kept[begin:end])}) {
					return
				}
				kept = kept[end:]
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
func (r *reader) listError(ctx context.Context, list userList, resp *transport.Response, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil && list.over:
		return crm.ErrTooManyUsers
	case err == nil && resp.Body == nil:
		resp = &transport.Response{Status: resp.Status, Header: resp.Header, Body: list.other}
	}
	f := r.clean(classify(kindLook, resp, err))
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
