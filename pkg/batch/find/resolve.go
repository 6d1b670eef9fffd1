package find

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// directory is who an account's users are.
type directory struct {
	byID      map[string]crm.User // by folded id
	byAddress map[string][]string // ids, by address in lower case
	unlisted  bool                // the CRM lists nobody: ids are taken as they are
}

// read adds the people of a part of the organisation.
func (d *directory) read(ctx context.Context, f crm.Finder, part crm.Part) error {
	if d.byID == nil {
		d.byID, d.byAddress = make(map[string]crm.User), make(map[string][]string)
	}
	for user, err := range f.Users(ctx, part) {
		if errors.Is(err, crm.ErrNoUserList) {
			d.unlisted = true
			return nil
		}
		if err != nil {
			return err
		}
		if _, known := d.byID[foldID(user.ID)]; known || user.ID == "" {
			continue
		}
		d.byID[foldID(user.ID)] = user
		if address := strings.ToLower(user.Email); address != "" {
			d.byAddress[address] = append(d.byAddress[address], user.ID)
		}
	}
	return nil
}

// find returns the user of an id or an address. wrong says why it can not be told which one.
func (d *directory) find(name string) (user crm.User, ok bool, wrong string) {
	if !isAddress(name) {
		user, ok = d.byID[foldID(name)]
		if !ok && d.unlisted {
			return crm.User{ID: name}, true, ""
		}
		return user, ok, ""
	}
	ids := d.byAddress[strings.ToLower(name)]
	switch len(ids) {
	case 0:
		return user, false, ""
	case 1:
		return d.byID[foldID(ids[0])], true, ""
	}
	return user, false, fmt.Sprintf("several users have the address %s: %s; name the one meant by id", crm.Quote(name), strings.Join(ids, ", "))
}

// user returns the user of a person of the sheet.
func (a *account) user(p *Person) (user crm.User, ok bool, wrong string) {
	user, ok, wrong = a.users.find(a.plain(p.Name()))
	if ok && p.ID != "" && p.Address != "" && !strings.EqualFold(user.Email, p.Address) && !a.users.unlisted {
		return user, false, fmt.Sprintf("the address %s is not that of user %s, which is %s; leave one of them out (--map %q)",
			crm.Quote(p.Address), user.ID, crm.Quote(user.Email), "email=none")
	}
	return user, ok, wrong
}

// listUsers reads who the users of the accounts are, side by side.
func (f *Find) listUsers(ctx context.Context, part crm.Part, wanted func(*account) bool) error {
	return f.sideBySide(func(a *account) error {
		if a.ended != nil || !wanted(a) {
			return nil
		}
		err := a.users.read(ctx, a.Finder, part)
		ended, over := errors.AsType[*crm.AccountError](err)
		unseen, refused := errors.AsType[*crm.Unseen](err)
		switch {
		case over:
			a.ended = ended
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case refused && part == crm.Deleted:
			// Then nobody is found there.
		case refused || err != nil:
			if refused {
				err = unseen
			}
			a.ended = &crm.AccountError{Code: crm.EndUnreachable, Err: fmt.Errorf("who its users are could not be found out: %w", err), Hint: "Run again to go on."}
		}
		return nil
	})
}

// resolve finds the people on the accounts, and refuses those whom none knows.
func (f *Find) resolve(ctx context.Context) error {
	if f.opts.People == nil {
		f.everybody()
		return nil
	}
	people := f.opts.People
	missing := func() (lost []int) {
		for i := range people.All {
			if p := &people.All[i]; !f.known(p) {
				lost = append(lost, i)
			}
		}
		return lost
	}
	if lost := missing(); len(lost) > 0 {
		if err := f.listUsers(ctx, crm.Deleted, func(a *account) bool {
			return slices.ContainsFunc(lost, func(i int) bool { return a.meant(&people.All[i]) })
		}); err != nil {
			return err
		}
	}
	var wrong []error
	for i := range people.All {
		if reason := f.place(&people.All[i]); reason != "" {
			wrong = append(wrong, people.fault(&people.All[i], reason))
		}
	}
	for _, a := range f.accounts { // whoever takes over must not be somebody who leaves
		for _, who := range a.subjects {
			if other := a.subjects[foldID(who.successor)]; other != nil && who.successor != "" {
				wrong = append(wrong, people.fault(who.person, fmt.Sprintf("the successor is in the sheet too, in line %d, and is to lose access", other.person.Line)))
			}
		}
	}
	slices.SortStableFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return some(slices.CompactFunc(wrong, func(a, b error) bool { return a.Error() == b.Error() }))
}

// meant says whether a person may be found on the account.
func (a *account) meant(p *Person) bool {
	name := p.Account
	if name == "" {
		name = a.find.opts.Only
	}
	return name == "" || strings.EqualFold(name, a.Name)
}

// known says whether some account has a person, or can not say.
func (f *Find) known(p *Person) bool {
	return slices.ContainsFunc(f.accounts, func(a *account) bool {
		_, ok, wrong := a.user(p)
		return a.meant(p) && (ok || wrong != "" || a.ended != nil)
	})
}

// place puts a person into the worlds of the accounts that know them, and says what is wrong
// with their line.
func (f *Find) place(p *Person) (wrong string) {
	met, unsure := 0, false
	var names []string
	for _, a := range f.accounts {
		if !a.meant(p) {
			continue
		}
		names = append(names, a.Name)
		if a.ended != nil {
			unsure = true
			continue
		}
		user, ok, wrong := a.user(p)
		if wrong != "" {
			return fmt.Sprintf("on account %s, %s", a.Name, wrong)
		}
		if !ok {
			continue
		}
		met++
		if a.isProtected(user) {
			a.told = append(a.told, fmt.Sprintf("%s of line %d is protected: no row takes anything from them", p.Name(), p.Line))
			continue
		}
		who := &subject{person: p, user: user}
		if other := a.subjects[foldID(user.ID)]; other != nil {
			return fmt.Sprintf("names the same person as line %d: user %s of account %s", other.person.Line, user.ID, a.Name)
		}
		if p.Successor != "" {
			next, ok, wrong := a.users.find(a.plain(p.Successor))
			switch {
			case wrong != "":
				return fmt.Sprintf("on account %s, %s", a.Name, wrong)
			case !ok:
				return fmt.Sprintf("nobody on account %s is the successor %s", a.Name, crm.Quote(p.Successor))
			case foldID(next.ID) == foldID(user.ID):
				return "the successor is the person themselves"
			case a.isProtected(next):
				a.told = append(a.told, fmt.Sprintf("%s, the successor of %s of line %d, is protected: nothing is handed over", p.Successor, p.Name(), p.Line))
			default:
				who.successor = next.ID
			}
		}
		a.subjects[foldID(user.ID)] = who
	}
	switch {
	case met > 0 || unsure:
		return ""
	case len(names) == 0:
		return fmt.Sprintf("there is no account %s", crm.Quote(p.Account))
	}
	return fmt.Sprintf("%s is nobody on account %s", crm.Quote(p.Name()), strings.Join(names, ", nor on "))
}

// everybody asks about all users of all accounts.
func (f *Find) everybody() {
	for _, a := range f.accounts {
		for id, user := range a.users.byID {
			if a.isProtected(user) {
				a.told = append(a.told, fmt.Sprintf("user %s is protected: no row takes anything from them", user.ID))
				continue
			}
			a.subjects[id] = &subject{person: &Person{ID: user.ID}, user: user}
		}
		slices.Sort(a.told)
	}
}

// isProtected says whether no row may take anything from a user.
func (a *account) isProtected(user crm.User) bool {
	return foldID(user.ID) == foldID(a.identity.User) || slices.ContainsFunc(a.find.opts.Protect, func(name string) bool {
		return strings.EqualFold(a.plain(name), user.ID) || user.Email != "" && strings.EqualFold(name, user.Email)
	})
}

// plain is a user's id in the one spelling that the account gives it.
func (a *account) plain(id string) string {
	if a.PlainID == nil {
		return id
	}
	return a.PlainID(id)
}
