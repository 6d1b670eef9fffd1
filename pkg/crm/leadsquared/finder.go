package leadsquared

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"sync"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// Finder sees which sales groups people are in. Who has a lead or an opportunity no API
// tells. It is safe for concurrent use.
type Finder struct {
	*reader
	members memberLists
}

var _ crm.Finder = (*Finder)(nil)

// NewFinder returns a finder that reads through a client of its own, made from tr as New
// does. store may be nil; then who owns the keys is not remembered.
func NewFinder(cfg Config, tr transport.Config, store *transport.Store) (*Finder, error) {
	r, client, err := cfg.connect(tr, store)
	if err != nil {
		return nil, fmt.Errorf("leadsquared: %w", err)
	}
	// By name: the vendor has GETs that change users.
	r.client = transport.NewReader(client, transport.Reads{Gets: []string{
		pathOwner, pathUsers, pathGroups, pathMembers,
	}})
	return &Finder{reader: r, members: memberLists{of: map[string]*memberList{}}}, nil
}

// Sees implements crm.Finder.
func (f *Finder) Sees() crm.Sight {
	return crm.Sight{
		Groups: true, GroupObject: crm.SalesGroup, GroupCalls: 1,
		Never: []string{
			"leads that are shared with somebody, which no API of LeadSquared lists",
			"opportunities that are shared with somebody, which no API of LeadSquared lists",
		},
	}
}

// notListed is what LeadSquared says to whoever asks who has records.
func notListed() *crm.Unseen {
	return &crm.Unseen{Message: "no API of LeadSquared lists whom leads and opportunities are shared with"}
}

// Modules implements crm.Finder: there are none whose records could be looked at.
func (f *Finder) Modules(context.Context) ([]crm.Module, error) { return nil, notListed() }

// Records implements crm.Finder.
func (f *Finder) Records(context.Context, string, string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", notListed()) }
}

// Count implements crm.Finder.
func (f *Finder) Count(context.Context, string) (int64, error) { return 0, notListed() }

// Owned implements crm.Finder.
func (f *Finder) Owned(context.Context, string) (map[string]int64, error) { return nil, notListed() }

// Look implements crm.Finder.
func (f *Finder) Look(_ context.Context, records []crm.RecordID) []crm.Look {
	return slices.Repeat([]crm.Look{{Refused: notListed()}}, len(records))
}

// documented are the permissions that the vendor's page shows of a member. The two others
// are about accounts; where they are not shown, the member counts as without them.
const documented = crm.ViewAllLeadsOfGroup | crm.ModifyAllLeadsOfGroup | crm.AddUsersToGroup | crm.CreateGroupAutomation

// Memberships asks for the groups of a user, and for the members of each group that nobody
// has asked for: the groups do not say what their member may do. A group whose members are
// not shown, or do not have the user, which happens where somebody has just left, is one
// whose permissions are not known.
func (f *Finder) Memberships(ctx context.Context, user string) ([]crm.Membership, error) {
	id, ok := readGUID(user)
	if !ok {
		return nil, &crm.Unseen{Code: crm.CodeInvalid, Message: crm.Quote(user) + " is no LeadSquared user id"}
	}
	var groups []crm.Membership
	seen := f.list(ctx, transport.Request{
		Op: "UserGroup.Retrieve", Path: pathGroups, Query: url.Values{"UserId": {id}},
	}, "the list of somebody's sales groups", func(body []byte) (why string) {
		groups, why = readGroupList(body)
		return why
	})
	if err := notSeen(ctx, seen); err != nil {
		return nil, err
	}
	for i := range groups {
		g := &groups[i]
		g.Name = f.redact.Clean(g.Name)
		all, seen := f.members.get(ctx, f.reader, g.ID)
		if err := notSeen(ctx, seen); err != nil {
			if _, unseen := errors.AsType[*crm.Unseen](err); unseen {
				continue
			}
			return nil, err
		}
		who, in := all[id]
		g.PermissionsKnown = in && who.shown&documented == documented
		if g.PermissionsKnown {
			g.Permissions = who.has
		}
	}
	return groups, nil
}

// notSeen is the error of a read that showed nothing, nil where it showed something: what
// ended ctx, an *crm.AccountError, or an *crm.Unseen.
func notSeen(ctx context.Context, f finding) error {
	switch {
	case f.Class == transport.Shown:
		return nil
	case f.Ended != nil:
		return f.Ended
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return &crm.Unseen{Code: cmp.Or(f.Code, crm.CodeNoAnswer), Message: f.Text}
}

// mostKept is how many members of groups are kept in all: a member takes some 100 bytes.
const mostKept = 100_000

// memberLists keeps the members of groups, so that several people of one group cost one
// call. What did not come is not kept, but for a refusal, which would come again.
type memberLists struct {
	mu   sync.Mutex // guards what follows
	of   map[string]*memberList
	kept int
}

// memberList is the members of one group, once they are there.
type memberList struct {
	one  chan struct{} // holds a place for whoever asks
	seen bool
	all  members
	f    finding
}

// get returns the members of a group.
func (l *memberLists) get(ctx context.Context, r *reader, group string) (members, finding) {
	l.mu.Lock()
	list := l.of[group]
	if list == nil {
		list = &memberList{one: make(chan struct{}, 1)}
		l.of[group] = list
	}
	l.mu.Unlock()
	select {
	case list.one <- struct{}{}:
		defer func() { <-list.one }()
	case <-ctx.Done():
		return nil, finding{Finding: transport.Stopped(ctx)}
	}
	if list.seen {
		return list.all, list.f
	}
	all, f := r.members(ctx, group)
	if f.Class != transport.Shown && f.Class != transport.Refused {
		return all, f
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept += len(all) + 1; l.kept > mostKept {
		// Others that are under way stay with those who wait for them.
		l.of, l.kept = map[string]*memberList{}, 0
		return all, f
	}
	f.body = nil
	list.seen, list.all, list.f = true, all, f
	return all, f
}
