package sandbox

import (
	"cmp"
	"container/heap"
	"slices"
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

// request is a change that was accepted, as the journal has it.
type request struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	Due     time.Time `json:"due"`
	Kind    string    `json:"kind"`
	Entries []Share   `json:"entries"`
	Never   bool      `json:"never,omitempty"` // it stays pending
	Fails   string    `json:"fails,omitempty"` // its ErrorMessage when it is due, instead of an effect
	Stuck   int       `json:"stuck,omitempty"` // its ShareStatus for ever

	Callback string `json:"callback,omitempty"`
}

// grant is a share in force.
type grant struct {
	access  crm.Access
	minutes int
	until   time.Time

	permissions crm.Permissions // sales groups
}

// dueQueue is a heap of requests, the one that is due first on top; of those due
// at once, the one accepted first.
type dueQueue []queued

type queued struct {
	*request
	n int
}

func (q dueQueue) Len() int      { return len(q) }
func (q dueQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q dueQueue) Less(i, j int) bool {
	return cmp.Or(q[i].Due.Compare(q[j].Due), cmp.Compare(q[i].n, q[j].n)) < 0
}
func (q *dueQueue) Push(x any) { *q = append(*q, x.(queued)) }
func (q *dueQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// add takes up a request that was accepted, now or in an earlier process. The
// status of a change of a sales group can not be asked for.
func (l *leadSquared) add(req *request) {
	l.requests = append(l.requests, req)
	if req.Entries[0].Object != crm.SalesGroup {
		l.byID[req.ID] = req
	}
	for _, s := range req.Entries {
		l.settled[s.target()] = true
	}
	if !req.Never && req.Fails == "" {
		heap.Push(&l.waiting, queued{req, len(l.requests)})
	}
}

// settle lets everything take effect that is due.
func (l *leadSquared) settle(now time.Time) {
	for len(l.waiting) > 0 && !l.waiting[0].Due.After(now) {
		req := heap.Pop(&l.waiting).(queued)
		for _, s := range req.Entries {
			l.effect(req.Kind, s, req.Due)
		}
	}
}

func (l *leadSquared) effect(kind string, s Share, at time.Time) {
	target := s.target()
	if s.Object == crm.SalesGroup {
		l.regroup(kind, s)
		return
	}
	if kind == kindShare {
		l.held[target] = grant{access: s.Access, minutes: s.Minutes, until: at.Add(time.Duration(s.Minutes) * time.Minute)}
		return
	}
	if l.cfg.RevokeExact && l.held[target].access != s.Access {
		return
	}
	delete(l.held, target)
}

// shares returns what is in force at now.
func (l *leadSquared) shares(now time.Time) []Share {
	l.settle(now)
	var list []Share
	for target, g := range l.held {
		if !now.Before(g.until) {
			continue
		}
		target.Access, target.Minutes, target.Permissions = g.access, g.minutes, g.permissions
		list = append(list, target)
	}
	slices.SortFunc(list, func(a, b Share) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Record, b.Record),
			cmp.Compare(a.Context, b.Context), cmp.Compare(a.User, b.User))
	})
	return list
}

func (l *leadSquared) requestsAt(now time.Time) []Request {
	list := make([]Request, len(l.requests))
	for i, req := range l.requests {
		list[i] = l.view(req, now)
	}
	return list
}

// view returns a request as it stands at now. The pending codes divide the time of
// its processing evenly, so that it does not matter how often somebody asks.
func (l *leadSquared) view(req *request, now time.Time) Request {
	v := Request{ID: req.ID, At: req.At, Due: req.Due, Kind: req.Kind, Entries: slices.Clone(req.Entries), Callback: req.Callback}
	codes := l.cfg.Pending
	switch {
	case req.Stuck != 0:
		v.Status = req.Stuck
	case now.Before(req.Due):
		part := float64(now.Sub(req.At)) / float64(req.Due.Sub(req.At))
		v.Status = codes[min(int(max(0, part)*float64(len(codes))), len(codes)-1)]
	case req.Never:
		v.Status = codes[len(codes)-1]
	case req.Fails != "":
		v.Status, v.Error = l.cfg.Failure, req.Fails
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
	if l.settled[target] {
		return changed
	}
	l.settled[target] = true
	if op.Action == crm.Revoke {
		l.effect(kindShare, Share{Object: target.Object, Record: target.Record, Context: target.Context,
			User: target.User, Access: max(op.Access, crm.Read), Minutes: defaultMinutes}, sd.At)
	}
	return true
}
