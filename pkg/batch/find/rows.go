package find

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The values of the column found.
const (
	FoundSeen      = "seen"      // the CRM showed it
	FoundOurs      = "ours"      // an earlier ledger gave it
	FoundInherited = "inherited" // seen, and it comes from a parent record
	FoundGroup     = "group"     // seen, and it is that of a group
	FoundRole      = "role"      // seen, and it is that of a role
	FoundPublic    = "public"    // seen, and everybody has it
)

// Row is a row of the sheet that is made.
type Row struct {
	// Action is Revoke or Share; the zero value where no row can take away what was found.
	Action crm.Action
	// Record and User are empty of nothing but what everybody has.
	Object, Record, User, Context string
	Access                        crm.Access
	Related                       crm.Choice
	Permissions                   crm.Permissions
	Account, LastDay              string
	Found                         string // one of the Found constants; "" of a successor's row
	SeenAt                        time.Time
	Note                          string
	Carried                       []string
}

// subject is a person who is asked about, as an account knows them.
type subject struct {
	person    *Person
	user      crm.User
	successor string // the user id of who takes over; "" for nobody
}

// sighting is what a look at a record showed that is about somebody who is asked about.
type sighting struct {
	Object string      `json:"o"`
	Record string      `json:"r"`
	At     int64       `json:"at"` // milliseconds since 1970
	Grants []crm.Grant `json:"g,omitempty"`
}

func (s *sighting) id() crm.RecordID { return crm.RecordID{Object: s.Object, Record: s.Record} }

// world is who is who on an account, as far as rows depend on it.
type world struct {
	account  string
	subjects map[string]*subject // by folded id
	groups   map[string][]*subject
	names    map[string]string // of groups
	roles    map[string][]*subject
	wanted   map[string]bool // folded ids of subjects and successors
}

// relevant returns those of a record's grants that say something of the people who are
// asked about, or of their successors.
func (w *world) relevant(grants []crm.Grant) (some []crm.Grant) {
	asked := false // a successor alone is no reason to remember a record
	for _, g := range grants {
		is := false
		switch g.Kind {
		case crm.KindUser:
			is = w.subjects[foldID(g.ID)] != nil
			if !is && w.wanted[foldID(g.ID)] {
				some = append(some, g)
			}
		case crm.KindGroup:
			is = len(w.groups[g.ID]) > 0
		case crm.KindRole:
			is = len(w.roles[g.ID]) > 0
		case crm.KindPublic:
			is = true
		}
		if is {
			some, asked = append(some, g), true
		}
	}
	if !asked {
		return nil
	}
	return some
}

// access is what one person has of a record, by all ways.
type access struct {
	who    *subject
	direct *crm.Grant
	others []way
}

// way is a way to a record that no row can close.
type way struct {
	found, note string
	grant       crm.Grant
}

// rows turns what was seen of a record into rows, by person; what everybody has comes last.
func (w *world) rows(s *sighting) (rows []Row) {
	people := make(map[string]*access)
	of := func(who *subject) *access {
		a := people[who.user.ID]
		if a == nil {
			a = &access{who: who}
			people[who.user.ID] = a
		}
		return a
	}
	var public *crm.Grant
	has := make(map[string]crm.Grant) // what users have themselves, by folded id
	for _, g := range s.Grants {
		who := w.subjects[foldID(g.ID)]
		switch {
		case g.Kind == crm.KindPublic:
			public = &g
		case g.Kind == crm.KindGroup:
			for _, who := range w.groups[g.ID] {
				a := of(who)
				a.others = append(a.others, way{FoundGroup, crm.Join("the record is shared with group "+named(g.ID, w.names[g.ID]), through(g)), g})
			}
		case g.Kind == crm.KindRole:
			for _, who := range w.roles[g.ID] {
				a := of(who)
				a.others = append(a.others, way{FoundRole, crm.Join("the record is shared with role "+g.ID, through(g)), g})
			}
		case g.Kind == crm.KindUser && g.Through != "":
			if who != nil {
				a := of(who)
				a.others = append(a.others, way{FoundInherited, through(g), g})
			}
		case g.Kind == crm.KindUser:
			has[foldID(g.ID)] = g
			if who != nil {
				of(who).direct = &g
			}
		}
	}
	for _, a := range sorted(people) {
		row := Row{Object: s.Object, Record: s.Record, SeenAt: time.UnixMilli(s.At).UTC()}
		w.about(&row, a.who)
		if a.direct != nil {
			direct := row
			direct.Action, direct.Found, direct.Access, direct.Related = crm.Revoke, FoundSeen, a.direct.Access, choice(a.direct.Related)
			for _, other := range a.others {
				direct.Note = crm.Join(direct.Note, "access remains: "+other.note)
			}
			if public != nil {
				direct.Note = crm.Join(direct.Note, "access remains: everybody has the record")
			}
			share, note := handOver(&direct, a.who.successor, has)
			direct.Note = crm.Join(direct.Note, note)
			rows = append(append(rows, direct), share...)
		}
		for _, other := range a.others {
			row.Found, row.Note, row.Access = other.found, other.note, other.grant.Access
			rows = append(rows, row)
		}
	}
	if public != nil {
		rows = append(rows, Row{
			Object: s.Object, Record: s.Record, SeenAt: time.UnixMilli(s.At).UTC(), Account: w.account, Access: public.Access,
			Found: FoundPublic, Note: crm.Join("everybody in the organisation has the record", through(*public)),
		})
	}
	return rows
}

// about fills in whom a row is about.
func (w *world) about(row *Row, who *subject) {
	row.Account, row.User = w.account, who.user.ID
	row.LastDay, row.Carried = who.person.LastDay, who.person.Carried
}

// sorted returns people by id, and what each has by other ways in a fixed order.
func sorted(people map[string]*access) []*access {
	var all []*access
	for _, a := range people {
		slices.SortFunc(a.others, func(a, b way) int {
			return cmp.Or(cmp.Compare(a.found, b.found), cmp.Compare(a.note, b.note), cmp.Compare(a.grant.Access, b.grant.Access))
		})
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b *access) int { return cmp.Compare(a.who.user.ID, b.who.user.ID) })
	return all
}

// handOver returns the row that gives a successor what a revoke takes from somebody: never
// less than they have, which has says, and none where they have as much. has learns what
// they have afterwards. The note is why there is no row although there ought to be one.
func handOver(revoke *Row, successor string, has map[string]crm.Grant) (rows []Row, note string) {
	switch {
	case successor == "":
		return nil, ""
	case revoke.Access == crm.AccessUnset:
		return nil, "nothing is handed over to " + successor + ": the level is not known"
	}
	now, there := has[foldID(successor)]
	want := crm.Grant{
		Kind: crm.KindUser, ID: successor,
		Access: max(now.Access, revoke.Access), Related: now.Related || revoke.Related == crm.Yes,
	}
	if there && now.Access == want.Access && now.Related == want.Related {
		return nil, ""
	}
	has[foldID(successor)] = want
	share := successorRow(revoke, successor)
	share.Access = want.Access
	if revoke.Related != crm.Unsaid {
		share.Related = choice(want.Related)
	}
	return []Row{share}, ""
}

// successorRow is a share of what a revoke is about, without what is shared.
func successorRow(revoke *Row, successor string) Row {
	return Row{
		Action: crm.Share, Object: revoke.Object, Record: revoke.Record, User: successor, Account: revoke.Account,
		LastDay: revoke.LastDay, SeenAt: revoke.SeenAt, Carried: revoke.Carried, Note: "takes over from user " + revoke.User,
	}
}

// membershipRows are the rows about the groups that people can be taken out of. groups is
// what is known of each user's groups, by folded id.
func (w *world) membershipRows(object string, groups map[string]memberships) (rows []Row) {
	// What successors have, by group; it grows with what they are given.
	has := make(map[string]map[string]crm.Membership)
	for user, m := range groups {
		has[user] = make(map[string]crm.Membership)
		for _, g := range m.groups {
			has[user][g.ID] = g
		}
	}
	type member struct {
		who   *subject
		at    time.Time
		group crm.Membership
	}
	var all []member
	for id, who := range w.subjects {
		for _, g := range groups[id].groups {
			all = append(all, member{who, groups[id].at, g})
		}
	}
	slices.SortFunc(all, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.group.ID, b.group.ID), cmp.Compare(a.who.user.ID, b.who.user.ID))
	})
	for _, m := range all {
		row := Row{Action: crm.Revoke, Object: object, Record: m.group.ID, Found: FoundSeen, SeenAt: m.at, Permissions: m.group.Permissions}
		w.about(&row, m.who)
		if m.group.Name != "" {
			row.Note = "group " + m.group.Name
		}
		if !m.group.PermissionsKnown {
			row.Note = crm.Join(row.Note, "what they may do in it is not known")
		}
		successor := m.who.successor
		if successor == "" {
			rows = append(rows, row)
			continue
		}
		known, asked := has[foldID(successor)]
		now, there := known[m.group.ID]
		want := now.Permissions | m.group.Permissions
		share := successorRow(&row, successor)
		share.Permissions = want
		switch {
		case !asked || groups[foldID(successor)].refused != "":
			row.Note = crm.Join(row.Note, "nothing is handed over to "+successor+": their own groups are not known")
			rows = append(rows, row)
		case there && !now.PermissionsKnown:
			row.Note = crm.Join(row.Note, "nothing is handed over to "+successor+": they are in the group, and what they may do in it is not known")
			rows = append(rows, row)
		case there && now.Permissions == want:
			rows = append(rows, row)
		default:
			known[m.group.ID] = crm.Membership{ID: m.group.ID, Permissions: want, PermissionsKnown: true}
			rows = append(rows, row, share)
		}
	}
	return rows
}

// givenRows are the rows about what earlier ledgers gave, of which skip says what is known
// better from the CRM itself.
func (w *world) givenRows(all []given, skip func(crm.Operation) bool) (rows []Row) {
	type place struct{ object, record, context string }
	has := make(map[place]map[string]crm.Grant)
	for _, g := range all {
		at := place{g.op.Object, g.op.Record, g.op.Context}
		if has[at] == nil {
			has[at] = make(map[string]crm.Grant)
		}
		has[at][foldID(g.op.User)] = crm.Grant{Kind: crm.KindUser, ID: g.op.User, Access: g.op.Access, Related: g.op.Related == crm.Yes}
	}
	for _, g := range all {
		who := w.subjects[foldID(g.op.User)]
		if who == nil || skip(g.op) {
			continue
		}
		op := g.op
		row := Row{
			Action: crm.Revoke, Object: op.Object, Record: op.Record, Context: op.Context, Access: op.Access, Related: op.Related,
			Permissions: op.Permissions, Found: FoundOurs, SeenAt: g.at.UTC(), Note: g.note,
		}
		w.about(&row, who)
		var share []Row
		switch {
		case who.successor == "":
		case op.Context != "":
			row.Note = crm.Join(row.Note, "nothing is handed over to "+who.successor+": it is shared in the context of an activity, and they need one of their own")
		case op.Access == crm.AccessUnset: // a group
			s := successorRow(&row, who.successor)
			s.Permissions = op.Permissions
			share = []Row{s}
		default:
			var note string
			share, note = handOver(&row, who.successor, has[place{op.Object, op.Record, op.Context}])
			row.Note = crm.Join(row.Note, note)
		}
		for i := range share {
			share[i].Context = op.Context
		}
		rows = append(append(rows, row), share...)
	}
	return rows
}

// named is an id with the name beside it, if there is one.
func named(id, name string) string {
	if name == "" {
		return id
	}
	return fmt.Sprintf("%s (%s)", name, id)
}

// through says where an inherited grant comes from.
func through(g crm.Grant) string {
	if g.Through == "" {
		return ""
	}
	return "inherited through " + g.Through
}

func choice(yes bool) crm.Choice {
	if yes {
		return crm.Yes
	}
	return crm.No
}
