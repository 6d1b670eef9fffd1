package sandbox

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// zohoLimits is how many entries of a kind a record may have.
var zohoLimits = map[string]int{crm.KindUser: 10, crm.KindGroup: 5, crm.KindRole: 5}

// zohoList is a record's list as somebody else made it.
type zohoList struct {
	Module string      `json:"module"`
	Record string      `json:"record"`
	At     time.Time   `json:"at"`
	Grants []crm.Grant `json:"grants"`
}

// zohoJob is a write that was accepted.
type zohoJob struct {
	Key     string      `json:"key"` // of the record
	Verb    string      `json:"verb"`
	At      time.Time   `json:"at"`
	Due     time.Time   `json:"due"`               // when it takes effect
	Entries []crm.Grant `json:"entries,omitempty"` // those that succeeded
	Spared  []crm.Grant `json:"spared,omitempty"`  // recipients who keep what they have, though they are no entries
	Never   bool        `json:"never,omitempty"`   // the record stays busy
	Void    bool        `json:"void,omitempty"`    // it ends without effect
	Mails   int         `json:"mails,omitempty"`
}

// held is an entry of a record's list.
type held struct {
	crm.Grant
	since time.Time
}

// same says that two entries are about one recipient.
func same(a, b crm.Grant) bool { return a.Kind == b.Kind && a.ID == b.ID }

func contains(list []crm.Grant, g crm.Grant) bool {
	return slices.ContainsFunc(list, func(other crm.Grant) bool { return same(other, g) })
}

// zohoRecord is who has a record, in the order in which they got it.
type zohoRecord struct {
	known bool // it was seeded or written
	list  []held
	job   *zohoJob // accepted, without effect so far
	owner string   // "" for the owner of the token, or of its run

	changes int  // how often the list changed
	looked  bool // read by the client since its last attempt to write
	seen    int  // changes at that time
}

// record returns the record of a key, which is empty if nobody has it.
func (z *zoho) record(key string) *zohoRecord {
	rec, ok := z.records[key]
	if !ok {
		rec = &zohoRecord{}
		z.records[key] = rec
	}
	return rec
}

// advance lets the record's job take effect if it is due.
func (rec *zohoRecord) advance(now time.Time) {
	job := rec.job
	if job == nil || job.Never || job.Due.After(now) {
		return
	}
	rec.job = nil
	if !job.Void {
		rec.list = job.apply(rec.list)
		rec.changes++
	}
}

// apply returns a list as the job leaves it. Inherited access is beyond the reach
// of a record's own calls.
func (job *zohoJob) apply(list []held) []held {
	var next []held
	for _, h := range list {
		entry := slices.IndexFunc(job.Entries, func(g crm.Grant) bool { return same(g, h.Grant) })
		switch {
		case h.Through != "":
		case job.Verb == http.MethodPost:
		case entry >= 0:
			h.Grant = job.Entries[entry]
		case !contains(job.Spared, h.Grant):
			continue
		}
		next = append(next, h)
	}
	for _, g := range job.Entries {
		if !slices.ContainsFunc(next, func(h held) bool { return h.Through == "" && same(h.Grant, g) }) {
			next = append(next, held{g, job.Due})
		}
	}
	return next
}

// direct returns the entries that are on the record itself.
func (rec *zohoRecord) direct() []crm.Grant {
	return slices.DeleteFunc(rec.grants(), func(g crm.Grant) bool { return g.Through != "" })
}

// grants returns the whole list.
func (rec *zohoRecord) grants() (list []crm.Grant) {
	for _, h := range rec.list {
		list = append(list, h.Grant)
	}
	return list
}

// put replaces the list by somebody else's hand. Entries that stay keep their time
// and place.
func (rec *zohoRecord) put(grants []crm.Grant, at time.Time) {
	before := rec.list
	rec.list = nil
	for _, g := range grants {
		h := held{normalised(g), at}
		i := slices.IndexFunc(before, func(old held) bool { return same(old.Grant, h.Grant) && old.Through == h.Through })
		if i >= 0 {
			h.since = before[i].since
		}
		rec.list = append(rec.list, h)
	}
	rec.known = true
	rec.changes++
}

// normalised returns a grant with what it leaves out filled in.
func normalised(g crm.Grant) crm.Grant {
	g.Kind, g.Type, g.Access = cmp.Or(g.Kind, crm.KindUser), cmp.Or(g.Type, "private"), max(g.Access, crm.Read)
	if g.Kind == crm.KindPublic {
		g.Type, g.ID = "public", ""
	}
	return g
}

// enlist puts a list in force that somebody else made, and the people on it into
// the user list.
func (z *zoho) enlist(l *zohoList) {
	z.modules[l.Module] = true
	rec := z.record(l.Module + "/" + l.Record)
	rec.advance(l.At)
	rec.put(l.Grants, l.At)
	z.appears(l.Module, l.Record)
	for _, h := range rec.list {
		if h.Kind == crm.KindUser {
			z.people.named(h.ID)
		}
	}
}

// take takes up a job that was accepted, now or in an earlier process.
func (z *zoho) take(job *zohoJob) {
	rec := z.record(job.Key)
	rec.advance(job.At)
	rec.known = true
	rec.job = job
	module, record, _ := strings.Cut(job.Key, "/")
	z.appears(module, record)
	z.modules[module] = true
	for _, g := range job.Entries {
		z.touched[crm.Target{Object: module, Record: record, User: g.ID}] = true
	}
	z.mails += job.Mails
}

// seed makes the world of an operation and says whether that changed anything. The
// first revoke that names a record also gives it to a colleague, who is told from
// the record's id alone.
func (z *zoho) seed(sd seed) bool {
	op, changed := sd.Op, false
	if op.User != "" {
		op.User, changed = z.people.named(op.User)
	}
	rec := z.record(op.Object + "/" + op.Record)
	rec.advance(sd.At)
	changed = changed || !z.modules[op.Object] || !rec.known
	z.modules[op.Object] = true
	first := !rec.known
	rec.known = true
	z.appears(op.Object, op.Record)
	if z.touched[op.Target()] {
		return changed
	}
	z.touched[op.Target()] = true
	if op.Action == crm.Share {
		return true
	}
	list := rec.grants()
	if first {
		list = append(list, z.colleague(op, 0))
	}
	leaver := normalised(crm.Grant{Kind: crm.KindUser, ID: op.User, Access: op.Access})
	if op.Action == crm.Keep && op.User == "" {
		leaver = normalised(crm.Grant{Kind: crm.KindPublic})
	}
	users := 0
	for _, g := range list {
		if g.Kind == crm.KindUser && g.Through == "" {
			users++
		}
	}
	switch {
	case op.Action == crm.RevokeAll && first:
		list = append(list, z.colleague(op, 1))
	case op.Action == crm.RevokeAll || contains(list, leaver):
	case leaver.Kind == crm.KindPublic, users < zohoLimits[crm.KindUser]:
		list = append(list, leaver)
	case strings.HasPrefix(list[0].ID, colleagueIDs): // a list that is full of leavers stays as it is
		list = append(list[1:], leaver)
	}
	rec.put(list, sd.At)
	return true
}

// colleagueIDs is how the ids begin of those who are on seeded records beside the
// people of the sheet.
const colleagueIDs = "500000000000000010"

// colleague returns the entry of the nth colleague who has the record of op, and
// makes sure that he exists.
func (z *zoho) colleague(op crm.Operation, n int) crm.Grant {
	sum := sha256.Sum256([]byte(op.Object + "/" + op.Record))
	who := (int(sum[0]) + n) % 10
	if op.User == fmt.Sprintf("%s%d", colleagueIDs, who) {
		who = (who + 5) % 10
	}
	id := fmt.Sprintf("%s%d", colleagueIDs, who)
	if _, ok := z.people.find(id); !ok {
		z.people.put(person{User: crm.User{ID: id, Email: fmt.Sprintf("colleague%d@sandbox.example", who), Active: true}})
	}
	return normalised(crm.Grant{
		Kind: crm.KindUser, ID: id, Access: crm.Read + crm.Access(sum[1])%3, Related: sum[2]%2 == 1,
	})
}
