package sandbox

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Share is access of one user to one record, or an entry of a request for it.
// Identifiers are in lower case.
type Share struct {
	Object  string     `json:"object"`
	Record  string     `json:"record"`
	Context string     `json:"context,omitempty"` // leads: the activity
	User    string     `json:"user"`
	Access  crm.Access `json:"access,omitempty"`  // in JSON 1 for read, 2 for write
	Minutes int        `json:"minutes,omitempty"` // how long it lasts; 0 in a revoke
	// Permissions are those of a member of a sales group, in JSON a set of bits.
	Permissions crm.Permissions `json:"permissions,omitempty"`
}

// Request is a change that was accepted, as it stands at one moment.
type Request struct {
	ID      string    `json:"id"` // what the client was told
	At      time.Time `json:"at"`
	Due     time.Time `json:"due"`  // when it takes effect, if ever
	Kind    string    `json:"kind"` // "share" or "revoke"
	Entries []Share   `json:"entries"`
	Status  int       `json:"status"`          // its ShareStatus
	Error   string    `json:"error,omitempty"` // its ErrorMessage
	// Callback is the address that a change of a sales group named.
	Callback string `json:"callback,omitempty"`
}

// request is a change that was accepted, as the journal has it: without Status and
// Error, which view fills in.
type request struct {
	Request
	Never bool   `json:"never,omitempty"` // it stays pending
	Fails string `json:"fails,omitempty"` // its ErrorMessage when it is due, instead of an effect
	Stuck int    `json:"stuck,omitempty"` // its ShareStatus for ever
}

// failure is the ShareStatus of a request that failed in processing.
const failure = 7

// grant is a share in force.
type grant struct {
	Share
	until time.Time
}

// never is when a membership of a sales group runs out.
var never = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// add takes up a request that was accepted, now or in an earlier process. The
// status of a change of a sales group can not be asked for. Of requests that are due
// at once, the one accepted first acts first.
func (l *leadSquared) add(req *request) {
	l.requests = append(l.requests, req)
	if req.Entries[0].Object != crm.SalesGroup {
		l.byID[req.ID] = req
	}
	for _, s := range req.Entries {
		l.touched[s.target()] = true
	}
	if req.Never || req.Fails != "" {
		return
	}
	i := sort.Search(len(l.waiting), func(i int) bool { return l.waiting[i].Due.After(req.Due) })
	l.waiting = slices.Insert(l.waiting, i, req)
}

// advance lets everything take effect that is due.
func (l *leadSquared) advance(now time.Time) {
	for len(l.waiting) > 0 && !l.waiting[0].Due.After(now) {
		req := l.waiting[0]
		l.waiting = l.waiting[1:]
		for _, s := range req.Entries {
			l.effect(req.Kind, s, req.Due)
		}
	}
}

// effect lets an entry of a change take effect.
func (l *leadSquared) effect(kind string, s Share, at time.Time) {
	target, until := s.target(), at.Add(time.Duration(s.Minutes)*time.Minute)
	old, in := l.held[target]
	if s.Object == crm.SalesGroup {
		l.records[s.Object+"/"+s.Record] = true
		until = never
	}
	switch {
	case kind == kindShare && s.Object == crm.SalesGroup && in && l.cfg.KeepPermissions:
	case kind == kindShare:
		l.held[target] = grant{s, until}
	case s.Object != crm.SalesGroup && l.cfg.RevokeExact && old.Access != s.Access:
	default:
		delete(l.held, target)
	}
}

// shares returns what is in force at now.
func (l *leadSquared) shares(now time.Time) []Share {
	l.advance(now)
	var list []Share
	for _, g := range l.held {
		if now.Before(g.until) {
			list = append(list, g.Share)
		}
	}
	slices.SortFunc(list, func(a, b Share) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Record, b.Record),
			cmp.Compare(a.Context, b.Context), cmp.Compare(a.User, b.User))
	})
	return list
}

// view returns a request as it stands at now. The pending codes divide the time of
// its processing evenly, so that it does not matter how often somebody asks.
func (l *leadSquared) view(req *request, now time.Time) Request {
	v, codes := req.Request, l.cfg.Pending
	v.Entries = slices.Clone(req.Entries)
	switch {
	case req.Stuck != 0:
		v.Status = req.Stuck
	case now.Before(req.Due):
		part := float64(now.Sub(req.At)) / float64(req.Due.Sub(req.At))
		v.Status = codes[min(int(max(0, part)*float64(len(codes))), len(codes)-1)]
	case req.Never:
		v.Status = codes[len(codes)-1]
	case req.Fails != "":
		v.Status, v.Error = failure, req.Fails
	default:
		v.Status = l.cfg.Success
	}
	return v
}

// seed makes the world of an operation and says whether that changed anything.
func (l *leadSquared) seed(sd seed) bool {
	op, changed := sd.Op, false
	target := Share{Object: op.Object, Record: lower(op.Record), Context: lower(op.Context)}
	if op.User != "" {
		target.User, changed = l.people.named(op.User)
	}
	names := []string{target.Object + "/" + target.Record}
	if target.Context != "" {
		names = append(names, "activity/"+target.Context)
	}
	for _, name := range names {
		changed = changed || !l.records[name]
		l.records[name] = true
	}
	if l.touched[target] {
		return changed
	}
	l.touched[target] = true
	if op.Action == crm.Revoke || op.Action == crm.Keep && op.User != "" {
		s := target
		if s.Object == crm.SalesGroup {
			s.Permissions = op.Permissions
		} else {
			s.Access, s.Minutes = max(op.Access, crm.Read), defaultMinutes
		}
		l.effect(kindShare, s, sd.At)
	}
	return true
}
