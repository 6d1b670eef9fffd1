package find

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// op makes an operation of a word such as "share read u1" or "revoke_all".
func op(words string) crm.Operation {
	o := crm.Operation{Object: "opportunity", Record: "r"}
	for i, word := range strings.Fields(words) {
		if action, ok := crm.ParseAction(word); ok && i == 0 {
			o.Action = action
		} else if access, ok := crm.ParseAccess(word); ok {
			o.Access = access
		} else {
			o.User = word
		}
	}
	return o
}

func TestStanding(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	did := func(status crm.Status, words string) tried {
		return tried{Tried: ledger.Tried{Op: op(words), Status: status, SentAt: now.Add(-time.Hour)}, at: now.Add(-time.Hour), file: "x"}
	}
	lasting := func(minutes int) tried {
		one := did(crm.Done, "share read u")
		one.Op.Minutes = minutes
		return one
	}
	failed := func(happened, uncertain bool, words string) tried {
		one := did(crm.Failed, words)
		one.Happened, one.Uncertain = happened, uncertain
		return one
	}
	for _, c := range []struct {
		name    string
		history []tried
		want    []string // user, level, note
	}{
		{"given", []tried{did(crm.Done, "share read u")}, []string{"u read given by x"}},
		{"accepted", []tried{did(crm.Accepted, "share read u")}, []string{"u read given by x; accepted by the CRM, and never confirmed"}},
		{"refused", []tried{did(crm.Failed, "share read u")}, nil},
		{"never sent", []tried{did(crm.Pending, "share read u")}, nil},
		{"taken", []tried{did(crm.Done, "share read u"), did(crm.Done, "revoke u")}, nil},
		{"was gone", []tried{did(crm.Done, "share read u"), did(crm.Unchanged, "revoke u")}, nil},
		{"given again", []tried{did(crm.Done, "share read u"), did(crm.Done, "revoke u"), did(crm.Done, "share write u")}, []string{"u write given by x"}},
		{"taken in doubt", []tried{did(crm.Done, "share read u"), did(crm.Uncertain, "revoke u")}, []string{"u read given by x; in doubt: a later revoke has no outcome that is known"}},
		{"taking accepted", []tried{did(crm.Done, "share read u"), did(crm.Accepted, "revoke u")}, []string{"u read given by x; in doubt: a later revoke has no outcome that is known"}},
		{"taking refused", []tried{did(crm.Done, "share read u"), did(crm.Failed, "revoke u")}, []string{"u read given by x"}},
		{"taken, and access remains", []tried{did(crm.Done, "share read u"), failed(true, false, "revoke u")}, nil},
		{"taking failed, perhaps", []tried{did(crm.Done, "share read u"), failed(false, true, "revoke u")}, []string{"u read given by x; in doubt: a later revoke has no outcome that is known"}},
		{"share in doubt", []tried{did(crm.Sent, "share read u")}, []string{"u read in doubt: x says that the share was sent, and no answer says what became of it"}},
		{"from all", []tried{did(crm.Done, "share read u"), did(crm.Done, "share read v"), did(crm.Done, "revoke_all")}, nil},
		{"from another", []tried{did(crm.Done, "share read u"), did(crm.Done, "revoke v")}, []string{"u read given by x"}},
		{"ended by itself", []tried{lasting(59)}, nil},
		{"to end by itself", []tried{lasting(61)}, []string{"u read given by x; it ends by itself at 2026-11-27T12:01:00Z"}},
	} {
		var got []string
		for _, g := range standing(c.history, now) {
			got = append(got, fmt.Sprintf("%s %s %s", g.op.User, g.op.Access, g.note))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestRowsOfARecord(t *testing.T) {
	t.Parallel()
	one := &subject{person: &Person{LastDay: "2026-01-31", Carried: []string{"c"}}, user: crm.User{ID: "U1", Role: "sales"}, successor: "S"}
	two := &subject{person: &Person{}, user: crm.User{ID: "u2"}, successor: "S"}
	w := &world{
		account: "a", subjects: map[string]*subject{"u1": one, "u2": two}, groups: map[string][]*subject{"g": {one}}, names: map[string]string{"g": "Night"},
		roles: map[string][]*subject{"sales": {one}}, wanted: map[string]bool{"u1": true, "u2": true, "s": true},
	}
	user := func(id string, a crm.Access) crm.Grant { return crm.Grant{Kind: crm.KindUser, ID: id, Access: a} }
	related := func(g crm.Grant) crm.Grant { g.Related = true; return g }
	inherited := func(g crm.Grant) crm.Grant { g.Through = "Accounts/1"; return g }
	for _, c := range []struct {
		name   string
		grants []crm.Grant
		want   []string // action, user, level, related, found, note
	}{
		{"nobody asked about", []crm.Grant{user("x", crm.Full), user("S", crm.Read)}, nil},
		{"handed over", []crm.Grant{user("U1", crm.Write)}, []string{"revoke U1 write false seen", "share S write false  takes over from user U1"}},
		{"in other spelling", []crm.Grant{user("u1", crm.Write)}, []string{"revoke U1 write false seen", "share S write false  takes over from user U1"}},
		{"has less", []crm.Grant{user("U1", crm.Write), user("s", crm.Read)}, []string{"revoke U1 write false seen", "share S write false  takes over from user U1"}},
		{"has as much", []crm.Grant{user("U1", crm.Write), user("S", crm.Write)}, []string{"revoke U1 write false seen"}},
		{"has more", []crm.Grant{user("U1", crm.Write), user("S", crm.Full)}, []string{"revoke U1 write false seen"}},
		{"has more, without the related records", []crm.Grant{related(user("U1", crm.Read)), user("S", crm.Full)}, []string{"revoke U1 read true seen", "share S full true  takes over from user U1"}},
		{"has less, with the related records", []crm.Grant{user("U1", crm.Write), related(user("S", crm.Read))}, []string{"revoke U1 write false seen", "share S write true  takes over from user U1"}},
		{"from two", []crm.Grant{user("u2", crm.Read), user("U1", crm.Write)}, []string{"revoke U1 write false seen", "share S write false  takes over from user U1", "revoke u2 read false seen"}},
		{"level not known", []crm.Grant{user("U1", crm.AccessUnset)}, []string{"revoke U1  false seen nothing is handed over to S: the level is not known"}},
		{"inherited", []crm.Grant{inherited(user("U1", crm.Read))}, []string{" U1 read  inherited inherited through Accounts/1"}},
		{"both", []crm.Grant{user("u2", crm.Read), inherited(user("u2", crm.Read)), user("S", crm.Read)}, []string{
			"revoke u2 read false seen access remains: inherited through Accounts/1", " u2 read  inherited inherited through Accounts/1",
		}},
		{"successor by inheritance only", []crm.Grant{user("u2", crm.Read), inherited(user("S", crm.Full))}, []string{"revoke u2 read false seen", "share S read false  takes over from user u2"}},
		{"group, role, public", []crm.Grant{{Kind: crm.KindGroup, ID: "g", Access: crm.Read}, {Kind: crm.KindRole, ID: "sales", Access: crm.Write}, {Kind: crm.KindPublic, Access: crm.Read}}, []string{
			" U1 read  group the record is shared with group Night (g)", " U1 write  role the record is shared with role sales", "  read  public everybody in the organisation has the record",
		}},
		{"strange groups", []crm.Grant{{Kind: crm.KindGroup, ID: "h", Access: crm.Read}, {Kind: crm.KindRole, ID: "r", Access: crm.Write}}, nil},
	} {
		var got []string
		if some := w.relevant(c.grants); len(some) > 0 {
			for _, r := range w.rows(&sighting{Object: "Leads", Record: "1", Grants: some}) {
				action := ""
				if r.Action != 0 {
					action = r.Action.String()
				}
				got = append(got, strings.TrimSuffix(strings.Join([]string{action, r.User, r.Access.String(), r.Related.String(), r.Found, r.Note}, " "), " "))
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestGroupsHandedOver(t *testing.T) {
	t.Parallel()
	const view, modify = crm.ViewAllLeadsOfGroup, crm.ModifyAllLeadsOfGroup
	in := func(p crm.Permissions) crm.Membership {
		return crm.Membership{ID: "g", Permissions: p, PermissionsKnown: true}
	}
	unknown := crm.Membership{ID: "g"}
	for _, c := range []struct {
		name      string
		leaver    crm.Membership
		successor []crm.Membership
		refused   string
		share     bool
		want      crm.Permissions
		note      string
	}{
		{"not in it", in(view), nil, "", true, view, ""},
		{"in it, with less", in(view), []crm.Membership{in(modify)}, "", true, view | modify, ""},
		{"in it, with as much", in(view), []crm.Membership{in(view | modify)}, "", false, 0, ""},
		{"in it, not known with what", in(view), []crm.Membership{unknown}, "", false, 0, "they are in the group"},
		{"not shown", in(view), nil, "no", false, 0, "their own groups are not known"},
		{"the leaver's not known", unknown, nil, "", true, 0, "what they may do in it is not known"},
	} {
		w := &world{account: "a", subjects: map[string]*subject{"u": {person: &Person{}, user: crm.User{ID: "u"}, successor: "s"}}}
		rows := w.membershipRows("sales_group", map[string]memberships{"u": {groups: []crm.Membership{c.leaver}}, "s": {groups: c.successor, refused: c.refused}})
		if shared := len(rows) == 2; shared != c.share || rows[0].Action != crm.Revoke || !strings.Contains(rows[0].Note, c.note) || shared && (rows[1].Permissions != c.want || rows[1].User != "s") {
			t.Errorf("%s: %+v", c.name, rows)
		}
	}
}

// readPeople reads a sheet of people from a text.
func readPeople(t testing.TB, text string, own ...sheet.Mapping) (*People, error) {
	t.Helper()
	r, err := sheet.Open(strings.NewReader(text), "p.csv", sheet.Options{AnyHeader: true})
	must(t, err)
	return ReadPeople(r, "p.csv", own)
}

func TestReadPeople(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, want string
		own        []sheet.Mapping
	}{
		{"user\nU1\n", "[{2 U1     []}]", nil},
		{"Work Email,Handover-To,Exit Date,Dept\n A@x.example ,b@x.example,2026-01-31, x \n", "[{2  a@x.example b@x.example 2026-01-31  [ x ]}]", nil},
		{"user_id;email;crm\nU1;A@x.example;main\n", "[{2 U1 a@x.example   main []}]", nil},
		{"leaver,note\nU1,n\n", "[{2 U1     [n]}]", nil},
		{"Employee,email\nU1,private@x.example\n", "[{2 U1     [private@x.example]}]", []sheet.Mapping{{Header: "Employee", Column: "user"}, {Header: "email", Column: "none"}}},
		{"work_email,email\nA@x.example,p@x.example\n", "[{2  a@x.example    [p@x.example]}]", nil},
		{"user,last_day\nU1,30.11.2026\n", "p.csv:2: last_day: \"30.11.2026\" is not a date", nil},
		{"user,user\nU1,U2\n", "say the same", nil},
		{"name\nU1\n", "no column says who the people are", nil},
		{"user\nU1\nu1\n", "p.csv:3: names the same person as line 2", nil},
		{"user,x\n,1\n", "p.csv:2: names nobody", nil},
	} {
		people, err := readPeople(t, c.text, c.own...)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprint(people.All)
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%q: got %s, want %s", c.text, got, c.want)
		}
	}
	people, err := readPeople(t, "user,Cost centre,user_name\nU1,a,b\n")
	must(t, err)
	if diff := cmp.Diff([]string{"person_Cost centre", "person_user_name"}, people.Carried); diff != "" {
		t.Error(diff)
	}
}

func TestRecordsFiles(t *testing.T) {
	t.Parallel()
	read := func(object, id string) (crm.RecordID, error) {
		if id == "" {
			return crm.RecordID{}, crm.Fault("record_id", "is empty")
		}
		return crm.RecordID{Object: object, Record: id}, nil
	}
	for _, c := range []struct{ name, text, module, want string }{
		{"Leads.csv", "record_id\n1\n2\n", "", "[{Leads 1} {Leads 2}]"},
		{"Deals_2026_11_27.csv", "Record Id,Name\n1,x\n", "", "[{Deals 1}]"},
		{"Sales_Orders (3).csv", "x,Id\ny,1\n", "", "[{Sales_Orders 1}]"},
		{"export.csv", "Lead Id\n1\n", "Leads", "[{Leads 1}]"},
		{"export.csv", "Module,ID\nDeals,1\n,2\n", "Leads", "[{Deals 1} {Leads 2}]"},
		{"Leads.csv", "Name\nx\n", "", "no column holds record ids"},
		{"Leads.csv", "id,x\n,1\n", "", "Leads.csv:2: record_id: is empty"},
		{"Leads.csv", "id\n4150868000000010000\n4150868000000020000\n", "", "2 of 2 long ids end in zeros"},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		must(t, os.WriteFile(path, []byte(c.text), 0o600))
		f, err := OpenRecords(path, c.module, sheet.Options{}, read)
		var ids []crm.RecordID
		if err == nil {
			for id, err := range f.records(0, read) {
				must(t, err)
				ids = append(ids, id)
			}
			if int64(len(ids)) != f.ids {
				t.Errorf("%s: %d ids, counted %d", c.name, len(ids), f.ids)
			}
		}
		got := fmt.Sprint(ids)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s %q: got %s, want %s", c.name, c.text, got, c.want)
		}
	}
}
