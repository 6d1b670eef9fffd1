package batch

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// roster is who an organisation's users are, by id. It is filled by the listing that
// resolves addresses, where there is one, and otherwise when a revoke would end as
// unchanged: an id with a slip in it has no access to anything, and a leaver who is
// meant by it keeps theirs. It holds at most crm.MostUsers ids.
type roster struct {
	turn    chan struct{} // holds the right to all below, and to make a listing
	ids     map[uint64]struct{}
	read    bool  // ids has everybody
	deleted bool  // those whom the organisation has deleted too
	err     error // why nothing more is to be had in this run
}

func newRoster() *roster { return &roster{turn: make(chan struct{}, 1)} }

// seed makes the hashes of all rosters of this process.
var seed = maphash.MakeSeed()

// fill takes in a listing that was made for something else, person by person; whole
// says that there were no more.
func (r *roster) fill(id string) {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	r.add(id)
}

func (r *roster) whole() {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	r.read = len(r.ids) > 0
}

func (r *roster) add(id string) {
	if r.ids == nil {
		r.ids = make(map[uint64]struct{})
	}
	r.ids[maphash.String(seed, id)] = struct{}{}
}

// has says whether the organisation has, or had, a user. It asks the CRM for its list
// the first time, and for the list of those who were deleted only if somebody is not
// in the other one. An error is what keeps it from being known in this run; ctx and
// the account's end apart, it is found once.
func (r *roster) has(ctx context.Context, p crm.Provider, id string) (bool, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	if r.holds(id) {
		return true, nil
	}
	if r.err != nil {
		return false, r.err
	}
	if !r.read {
		if err := r.list(ctx, p, crm.Current); err != nil {
			return false, err
		}
		if len(r.ids) == 0 { // somebody has given us the keys
			r.err = errors.New("the CRM lists nobody")
			return false, r.err
		}
		r.read = true
	}
	if !r.deleted && !r.holds(id) {
		if err := r.list(ctx, p, crm.Deleted); err != nil {
			return false, err
		}
		r.deleted = true
	}
	return r.holds(id), nil
}

func (r *roster) holds(id string) bool {
	_, ok := r.ids[maphash.String(seed, id)]
	return ok
}

// list adds the people of a list. The turn is held.
func (r *roster) list(ctx context.Context, p crm.Provider, part crm.Part) error {
	for user, err := range p.Users(ctx, part) {
		if err != nil {
			if _, ended := errors.AsType[*crm.AccountError](err); !ended && ctx.Err() == nil {
				r.err = err
			}
			return err
		}
		r.add(user.ID)
	}
	return nil
}

// knowUsers fails the revokes that would end as unchanged for a user id that the
// organisation does not have. Where that can not be found out, it is told, and where
// the run or the account has ended meanwhile, the row waits for another run.
func (c *call) knowUsers(items []crm.Item, outcomes []crm.Outcome) {
	l := c.loop
	for i := range outcomes {
		o, op := &outcomes[i], items[i].Op
		if o.Status != crm.Unchanged || op.Action != crm.Revoke || op.User == "" {
			continue
		}
		known, err := l.acc.roster.has(l.ctx, l.acc.Provider, op.User)
		ended, over := errors.AsType[*crm.AccountError](err)
		switch {
		case known, errors.Is(err, crm.ErrNoUserList):
		case err == nil:
			o.Status, o.Code = crm.Failed, crm.CodeUnknownUser
			o.Message = fmt.Sprintf("nobody in the organisation has the user id %s, so that nothing was taken from anybody: correct the id, or take the row out", op.User)
		case over:
			*o = crm.Outcome{Status: crm.Pending, Code: ended.Code, Message: "whether the organisation has this user could not be found out", Ended: ended}
		case l.ctx.Err() != nil:
			*o = crm.Outcome{Status: crm.Pending}
		default:
			o.Message = crm.Join(o.Message, fmt.Sprintf("whether the organisation has a user %s could not be found out: %s", op.User, err))
		}
	}
}
