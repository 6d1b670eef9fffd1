package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// mixedRow is a row of a sheet over both CRMs.
type mixedRow struct {
	op    crm.Operation
	email bool // the user is named by address
}

func (r mixedRow) text() string {
	user := r.op.User
	if r.email {
		user = addressOf(user)
	}
	return fmt.Sprintf("%v,%s,%s,%s,%s,%v,%v,%v\n", r.op.Action, r.op.Object, r.op.Record, r.op.Context, user, r.op.Access, r.op.Related, r.op.Permissions)
}

const mixedHead = "action,object,record_id,context_id,user,access,share_related,group_permissions\n"

func addressOf(user string) string { return "user." + user + "@mixed.example" }

// Ids count from one: that of a zeroth ends in zeros as if a spreadsheet had rounded it.
func zohoUser(n int) string { return fmt.Sprintf("4150868000001%06d", n+1) }

func zohoRecord(n int) string { return fmt.Sprintf("4150868000002%06d", n+1) }

// mixed is a world, a sheet over it, and what is to be in force afterwards.
type mixed struct {
	rng     *rand.Rand
	rows    []mixedRow
	grants  map[string][]crm.Grant // Zoho: what each record has at the start, by "Quotes/id"
	members map[string]map[string]crm.Permissions
	shares  []crm.Operation // LeadSquared: seeded for these revokes
}

// newMixed draws a sheet with rows of every kind.
func newMixed(rng *rand.Rand, records int) *mixed {
	m := &mixed{rng: rng, grants: make(map[string][]crm.Grant), members: make(map[string]map[string]crm.Permissions)}
	for n := range records {
		m.zohoRows(n)
		if n%6 == 0 {
			m.groupRows(n)
		}
		m.accessRows(n)
	}
	rng.Shuffle(len(m.rows), func(i, j int) { m.rows[i], m.rows[j] = m.rows[j], m.rows[i] })
	return m
}

func (m *mixed) add(op crm.Operation) { m.rows = append(m.rows, mixedRow{op, m.rng.IntN(8) == 0}) }

// zohoRows makes a record with bystanders and leavers, a group that has it too at
// times, and rows about it: revokes, shares, other permissions, what is so already.
func (m *mixed) zohoRows(n int) {
	record := zohoRecord(n)
	key := "Quotes/" + record
	has := 1 + m.rng.IntN(6)
	for u := range has {
		m.grants[key] = append(m.grants[key], crm.Grant{
			Kind: "user", ID: zohoUser(u), Access: crm.Read + crm.Access(m.rng.IntN(3)), Related: m.rng.IntN(2) == 0, Type: "private",
		})
	}
	if m.rng.IntN(4) == 0 {
		m.grants[key] = append(m.grants[key], crm.Grant{Kind: "group", ID: zohoUser(900), Access: crm.Write, Type: "private"})
	}
	op := crm.Operation{Object: "Quotes", Record: record}
	if m.rng.IntN(12) == 0 {
		op.Action = crm.RevokeAll
		m.rows = append(m.rows, mixedRow{op: op})
		return
	}
	for range 1 + m.rng.IntN(4) {
		op.Action, op.Access, op.Related, op.User = crm.Revoke, crm.AccessUnset, crm.Unsaid, zohoUser(m.rng.IntN(has+3))
		if m.rng.IntN(3) == 0 {
			op.Action, op.Access = crm.Share, crm.Read+crm.Access(m.rng.IntN(3))
			op.Related = crm.Choice(m.rng.IntN(3))
		}
		m.add(op)
		if m.rng.IntN(5) == 0 {
			m.add(op)
		}
	}
}

// groupRows makes a sales group with members, and rows that add and remove.
func (m *mixed) groupRows(n int) {
	group := guidOf('g', n)
	m.members[group] = make(map[string]crm.Permissions)
	for u := range 4 {
		m.members[group][guidOf('u', u)] = 0
	}
	for range 3 {
		op := crm.Operation{Action: crm.Revoke, Object: crm.SalesGroup, Record: group, User: guidOf('u', m.rng.IntN(7))}
		if m.rng.IntN(2) == 0 {
			op.Action, op.Permissions = crm.Share, crm.Permissions(m.rng.IntN(16))<<2
		}
		m.add(op)
	}
}

// accessRows makes rows about leads and opportunities.
func (m *mixed) accessRows(n int) {
	op := crm.Operation{Action: crm.Revoke, Object: crm.Opportunity, Record: guidOf('o', n), User: guidOf('u', n%5), Access: crm.Read}
	if m.rng.IntN(2) == 0 {
		op.Object, op.Record, op.Context = crm.Lead, fmt.Sprint(9000+n), guidOf('c', n)
	}
	m.shares = append(m.shares, op)
	m.add(op)
	if m.rng.IntN(4) == 0 {
		op.Action, op.Access = crm.Share, crm.Write
		m.add(op)
	}
}

func (m *mixed) sheet() string {
	var b strings.Builder
	b.WriteString(mixedHead)
	for _, r := range m.rows {
		b.WriteString(r.text())
	}
	return b.String()
}

// seed makes the world in the server.
func (m *mixed) seed(s *sandbox.Server) {
	for _, r := range m.rows {
		if u := r.op.User; u != "" {
			s.AddUser(crm.User{ID: u, Email: addressOf(u), Active: true}, roleOf(r.op))
		}
	}
	for key, grants := range m.grants {
		module, record, _ := strings.Cut(key, "/")
		for _, g := range grants {
			if g.Kind == "user" {
				s.AddUser(crm.User{ID: g.ID, Email: addressOf(g.ID), Active: true}, "Standard")
			}
		}
		s.SeedZoho(module, record, grants...)
	}
	for group, members := range m.members {
		for user, permissions := range members {
			s.AddUser(crm.User{ID: user, Email: addressOf(user), Active: true}, "Sales_User")
			s.Seed(crm.Operation{Action: crm.Revoke, Object: crm.SalesGroup, Record: group, User: user, Permissions: permissions})
		}
	}
	for _, op := range m.shares {
		s.Seed(op)
	}
}

func roleOf(op crm.Operation) string {
	if routeByObject(op.Object) == crmZoho {
		return "Standard"
	}
	return "Sales_User"
}

// wanted returns what each Zoho record is to have once every row was done in order.
func (m *mixed) wanted() map[string][]crm.Grant {
	want := make(map[string][]crm.Grant)
	for key, grants := range m.grants {
		want[key] = slices.Clone(grants)
	}
	for _, r := range m.rows {
		op := r.op
		key := op.Object + "/" + op.Record
		if _, ours := want[key]; !ours {
			continue
		}
		at := slices.IndexFunc(want[key], func(g crm.Grant) bool { return g.Kind == "user" && g.ID == op.User })
		switch {
		case op.Action == crm.RevokeAll:
			want[key] = nil
		case op.Action == crm.Revoke && at >= 0:
			want[key] = slices.Delete(want[key], at, at+1)
		case op.Action == crm.Share && at >= 0:
			want[key][at].Access = op.Access
			if op.Related != crm.Unsaid {
				want[key][at].Related = op.Related == crm.Yes
			}
		case op.Action == crm.Share:
			want[key] = append(want[key], crm.Grant{Kind: "user", ID: op.User, Access: op.Access, Related: op.Related == crm.Yes, Type: "private"})
		}
	}
	return want
}

// wantedShares returns what LeadSquared is to have, a line each.
func (m *mixed) wantedShares() []string {
	last := make(map[crm.Target]crm.Operation)
	for group, members := range m.members {
		for user, permissions := range members {
			op := crm.Operation{Action: crm.Share, Object: crm.SalesGroup, Record: group, User: user, Permissions: permissions}
			last[op.Target()] = op
		}
	}
	for _, r := range m.rows {
		if routeByObject(r.op.Object) != crmZoho {
			last[r.op.Target()] = r.op
		}
	}
	var lines []string
	for _, op := range last {
		if op.Action == crm.Share {
			lines = append(lines, fmt.Sprintf("%s %s %s %v %v", op.Object, op.Record, op.User, op.Access, op.Permissions))
		}
	}
	slices.Sort(lines)
	return lines
}

// check holds the server's state against what the sheet asks for.
func (m *mixed) check(t testing.TB, s *sandbox.Server) {
	t.Helper()
	for key, want := range m.wanted() {
		module, record, _ := strings.Cut(key, "/")
		got := s.Grants(module, record)
		byID := func(a, b crm.Grant) int { return strings.Compare(a.Kind+a.ID, b.Kind+b.ID) }
		slices.SortFunc(got, byID)
		slices.SortFunc(want, byID)
		if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
			t.Errorf("%s in force (-want +got):\n%s", key, diff)
		}
	}
	var got []string
	for _, share := range s.Shares() {
		got = append(got, fmt.Sprintf("%s %s %s %v %v", share.Object, share.Record, share.User, share.Access, share.Permissions))
	}
	slices.Sort(got)
	if diff := cmp.Diff(m.wantedShares(), got); diff != "" {
		t.Errorf("LeadSquared in force (-want +got):\n%s", diff)
	}
	if n := s.Mails(); n > 0 {
		t.Errorf("%d mails were sent", n)
	}
	if n := s.WritesWithoutLook(); n > 0 {
		t.Errorf("%d writes without a fresh look", n)
	}
	if n := s.OpenOnOneTarget(); n > 0 {
		t.Errorf("%d times two changes of one target were under way", n)
	}
}

// A sheet of hundreds of rows over both CRMs leaves exactly what it asks for, and
// everybody else as they were.
func TestMixedSheetEndsAsAsked(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 11))
				m := newMixed(rng, 60)
				delay := func() time.Duration { return time.Duration(rand.Int64N(int64(3 * time.Second))) }
				e := newEngine(t, sandbox.Config{Processing: delay, ShowAllPermissions: true, Zoho: sandbox.ZohoConfig{BusyReads: seed%2 == 0}},
					transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
				e.addZoho()
				m.seed(e.server)
				s := e.run(t.Context(), m.sheet())
				if s.Counts.Done+s.Counts.Unchanged != int64(len(m.rows)) {
					for r, err := range e.led.Results(t.Context()) {
						if err != nil {
							t.Fatal(err)
						}
						if r.Status != crm.Done && r.Status != crm.Unchanged {
							t.Errorf("line %d %v: %v %s %s", r.Line, r.Op, r.Status, r.Code, r.Message)
						}
					}
					t.Fatalf("counts %+v, want all %d done or unchanged", s.Counts, len(m.rows))
				}
				m.check(t, e.server)
				before := len(e.server.Arrivals())
				e.run(t.Context(), m.sheet())
				if again := e.server.Arrivals()[before:]; slices.ContainsFunc(again, changes) {
					t.Errorf("the same sheet again sent changes")
				}
			})
		})
	}
}

// changes reports whether an arrival asked for a change.
func changes(a sandbox.Arrival) bool {
	switch a.Op {
	case "EntityAccess.Share", "EntityAccess.Revoke", "UserGroup.AddUsers", "UserGroup.RemoveUsers",
		"Zoho.Share.Post", "Zoho.Share.Put", "Zoho.Share.Delete":
		return true
	}
	return false
}
