package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// directories turn addresses into users. An account's user list is read at most
// once, and only if some address is not known from an earlier run or stands in a
// row that is still to be sent.
type directories struct {
	b  *Batch
	mu sync.Mutex // guards users while lists are read side by side
	// users are, by account and address in lower case, the ids of those who have it.
	users map[string]map[string][]string
	// met are the protected addresses that somebody has, by their place in the options.
	met map[int]bool
}

func newDirectories(b *Batch) *directories {
	return &directories{b: b, users: make(map[string]map[string][]string), met: make(map[int]bool)}
}

// listAll reads the user lists of accounts side by side.
func (d *directories) listAll(ctx context.Context, wanted func(acc *account) bool) error {
	return d.b.sideBySide(func(acc *account) error {
		if !wanted(acc) {
			return nil
		}
		_, err := d.list(ctx, acc)
		return err
	})
}

// list reads the account's user list. After an error that ends the account, the
// list is nil and so is the error.
func (d *directories) list(ctx context.Context, acc *account) (map[string][]string, error) {
	d.mu.Lock()
	users, ok := d.users[acc.Name]
	d.mu.Unlock()
	if ok || acc.end() != nil {
		return users, nil
	}
	users = make(map[string][]string)
	for user, err := range acc.Provider.Users(ctx, crm.Current) {
		if err != nil {
			return nil, d.b.endOrFail(ctx, acc, unlisted(ctx, err))
		}
		acc.roster.fill(user.ID)
		address := strings.ToLower(user.Email)
		if address == "" || user.ID == "" {
			continue
		}
		if !slices.Contains(users[address], user.ID) {
			users[address] = append(users[address], user.ID)
		}
	}
	acc.roster.whole()
	d.mu.Lock()
	d.users[acc.Name] = users
	d.mu.Unlock()
	d.b.log.Info("users listed", "account", acc.Name, "addresses", len(users))
	return users, nil
}

// unlisted makes what kept an account from listing its users the end of the account:
// the others go on, and its rows wait for another run.
func unlisted(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*crm.AccountError](err); ok || ctx.Err() != nil || errors.Is(err, crm.ErrNoUserList) {
		return err
	}
	return &crm.AccountError{
		Code: crm.EndUnreachable, Err: fmt.Errorf("who has which address could not be found out: %w", err),
		Hint: "Run again to go on; rows that name users by id, in a sheet of their own, need no list.",
	}
}

// resolve gives every address of the imported sheet its user: the one that the ledger has
// bound it to, else the one that the CRM's list has. Rows whose address leads nowhere become
// invalid, but for those that only keep something.
func (d *directories) resolve(ctx context.Context) error {
	if err := d.listUnbound(ctx); err != nil {
		return err
	}
	for e, err := range d.b.importing.Addresses(ctx, false) {
		if err != nil {
			return err
		}
		acc := d.b.accounts[e.Account]
		// Of an account that is asked nothing tonight, an address that is new is one of
		// rows that ask for nothing: nobody needs to know whose it is.
		id, bound, err := d.b.reader.EmailBinding(ctx, e.Account, e.Email)
		if err != nil {
			return err
		}
		if !bound && acc.needed {
			users, err := d.list(ctx, acc)
			if err != nil {
				return err
			}
			if users == nil {
				_, err = d.b.importing.Reject(ctx, ledger.Where{Account: e.Account, Email: e.Email, Changes: true}, ledger.Rejection{
					Code: acc.end().Code, Problem: "user: the account could not be asked who has this address", Unavailable: true,
				})
			} else if found := users[e.Email]; len(found) == 0 {
				err = d.reject(ctx, e, crm.CodeUnknownUser, fmt.Sprintf("user: nobody on account %s has the address %s", acc.Name, crm.Quote(e.Email)))
			} else if len(found) > 1 {
				err = d.reject(ctx, e, crm.CodeAmbiguousAddress, fmt.Sprintf("user: several users of account %s have the address %s; name the one meant by id", acc.Name, crm.Quote(e.Email)))
			} else {
				id, bound = found[0], true
			}
			if err != nil {
				return err
			}
		}
		if !bound {
			continue
		}
		if err := d.bind(ctx, e, id); err != nil {
			return err
		}
	}
	return nil
}

// listUnbound reads the lists that resolve needs, where several accounts could need one.
func (d *directories) listUnbound(ctx context.Context) error {
	if len(d.b.Used()) < 2 {
		return nil
	}
	wanted := make(map[string]bool)
	for e, err := range d.b.importing.Addresses(ctx, false) {
		if err != nil {
			return err
		}
		if wanted[e.Account] {
			continue
		}
		_, bound, err := d.b.reader.EmailBinding(ctx, e.Account, e.Email)
		if err != nil {
			return err
		}
		wanted[e.Account] = !bound
	}
	return d.listAll(ctx, func(acc *account) bool { return wanted[acc.Name] })
}

// bind writes the address's user into its rows, and refuses the rows that name
// another user beside it.
func (d *directories) bind(ctx context.Context, e ledger.Address, id string) error {
	other := ledger.Where{Account: e.Account, Email: e.Email, User: id, Other: true}
	reason := fmt.Sprintf("user: the address %s belongs to user %s, not to the one named by id", crm.Quote(e.Email), id)
	if _, err := d.b.importing.Reject(ctx, other, ledger.Rejection{Code: crm.CodeUserMismatch, Problem: reason}); err != nil {
		return err
	}
	return d.b.importing.Resolve(ctx, e.Account, e.Email, id)
}

func (d *directories) reject(ctx context.Context, e ledger.Address, code, reason string) error {
	_, err := d.b.importing.Reject(ctx, ledger.Where{Account: e.Account, Email: e.Email, Changes: true}, ledger.Rejection{Code: code, Problem: reason})
	return err
}

// recheck looks, for the addresses of rows that are still to be sent, whether they
// are still those of the users they were bound to. An address may have been freed
// and given to a new colleague. Rows that are done already keep their outcome. It
// reports whether it made rows invalid.
func (d *directories) recheck(ctx context.Context) (moved bool, err error) {
	wanted := make(map[string]bool)
	for e, err := range d.b.importing.Addresses(ctx, true) {
		if err != nil {
			return false, err
		}
		wanted[e.Account] = true
	}
	if err := d.listAll(ctx, func(acc *account) bool { return wanted[acc.Name] }); err != nil {
		return false, err
	}
	for e, err := range d.b.importing.Addresses(ctx, true) {
		if err != nil {
			return false, err
		}
		users, err := d.list(ctx, d.b.accounts[e.Account])
		if err != nil {
			return false, err
		}
		bound, ok, err := d.b.reader.EmailBinding(ctx, e.Account, e.Email)
		if err != nil {
			return false, err
		}
		found := users[e.Email]
		if !ok || len(found) == 0 || slices.Contains(found, bound) {
			continue
		}
		now := found[0]
		reason := fmt.Sprintf("user: the address %s was that of user %s when this ledger first saw it and is now that of %s; name the one meant by id", crm.Quote(e.Email), bound, now)
		if _, err := d.b.importing.Reject(ctx, ledger.Where{Account: e.Account, Email: e.Email, Unsent: true}, ledger.Rejection{Code: crm.CodeReassignedAddress, Problem: reason}); err != nil {
			return false, err
		}
		moved = true
	}
	return moved, nil
}

// whoKeeps fills in the user of an operation that asks for nothing and whose row names an
// address, which nobody had to be asked about before. It stays the address where nobody, or
// more than one, has that.
func (d *directories) whoKeeps(ctx context.Context, acc *account, op *crm.Operation, email string) error {
	if acc == nil || op.Action != crm.Keep || op.User != "" || email == "" {
		return nil
	}
	user, bound, err := d.b.reader.EmailBinding(ctx, acc.Name, email)
	if err == nil && !bound {
		var users map[string][]string
		users, err = d.list(ctx, acc)
		if found := users[email]; len(found) == 1 {
			user = found[0]
		}
		if errors.Is(err, crm.ErrNoUserList) {
			err = nil
		}
	}
	op.User = cmp.Or(user, email)
	return err
}

// isAddress tells an e-mail address from an id.
func isAddress(name string) bool { return strings.Contains(name, "@") }

// protected returns the ids of the users that no row of the account may touch.
func (d *directories) protected(ctx context.Context, acc *account) ([]string, error) {
	var ids []string
	if acc.identity.User != "" {
		ids = append(ids, acc.identity.User)
	}
	for n, name := range d.b.opts.Protect {
		if !isAddress(name) {
			ids = append(ids, strings.ToLower(name))
			continue
		}
		if !acc.needed {
			continue
		}
		users, err := d.list(ctx, acc)
		if err != nil {
			return nil, err
		}
		found := users[strings.ToLower(name)]
		d.met[n] = d.met[n] || len(found) > 0
		ids = append(ids, found...)
	}
	return ids, nil
}

// warnOfStrangers says which protected addresses nobody has on any account of the
// sheet, by their place: a slip there protects nobody.
func (d *directories) warnOfStrangers() {
	for n, name := range d.b.opts.Protect {
		if isAddress(name) && !d.met[n] && len(d.users) > 0 {
			d.b.log.Warn("a protected address is nobody's on the accounts of this sheet", "entry", n+1)
		}
	}
}
