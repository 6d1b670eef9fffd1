package batch

import (
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/google/go-cmp/cmp"
)

// echo are rules that take everything as it is, but send no access with a
// revoke of a module: what batch itself makes of a row is what these tests are about.
type echo struct{ crm.Rules }

func (echo) Check(op crm.Operation) (crm.Operation, error) {
	if op.Action == crm.Revoke && (op.Object == "Quotes" || op.Object == "Leads") {
		op.Access = crm.AccessUnset
	}
	return op, nil
}

func TestRow(t *testing.T) {
	t.Parallel()
	b := &Batch{accounts: map[string]*account{"a": {Account: Account{Name: "a", Rules: echo{}}}}}
	b.opts.Default = "a"
	all := crm.ViewAllAccountsOfGroup | crm.AddUsersToGroup
	for _, tc := range []struct {
		name   string
		fields sheet.Fields
		want   crm.Operation
		email  string
		wrong  string // part of the problem
	}{
		{name: "revoke", fields: sheet.Fields{Action: "Revoke", Object: "lead", Record: "1", Context: "c", User: "u", Access: "2"},
			want: crm.Operation{Action: crm.Revoke, Object: "lead", Record: "1", Context: "c", User: "u", Access: crm.Write}},
		{name: "aliases", fields: sheet.Fields{Action: "un-share", Object: "opportunity", Record: "1", User: "u", Access: "read_only"},
			want: crm.Operation{Action: crm.Revoke, Object: "opportunity", Record: "1", User: "u", Access: crm.Read}},
		{name: "share columns on a revoke are not read", fields: sheet.Fields{Action: "revoke", Object: "Leads", Record: "1", User: "u", Duration: "soon", Related: "perhaps", Permissions: "everything", Permission: [6]string{"?"}},
			want: crm.Operation{Action: crm.Revoke, Object: "Leads", Record: "1", User: "u"}},
		{name: "access that is not sent is not read", fields: sheet.Fields{Action: "revoke", Object: "Quotes", Record: "1", User: "u", Access: "some"},
			want: crm.Operation{Action: crm.Revoke, Object: "Quotes", Record: "1", User: "u"}},
		{name: "nor with a module that is called as a lead is", fields: sheet.Fields{Action: "revoke", Object: "Leads", Record: "1", User: "u", Access: "some"},
			want: crm.Operation{Action: crm.Revoke, Object: "Leads", Record: "1", User: "u"}},
		{name: "access that is sent is", fields: sheet.Fields{Action: "revoke", Object: "1", Record: "1", User: "u", Access: "some"}, wrong: `access: "some"`},
		{name: "revoke all", fields: sheet.Fields{Action: "revoke_all", Object: "Quotes", Record: "1"},
			want: crm.Operation{Action: crm.RevokeAll, Object: "Quotes", Record: "1"}},
		{name: "revoke all names nobody", fields: sheet.Fields{Action: "revoke all", Object: "Quotes", Record: "1", User: "u"}, wrong: "user: revoke_all"},
		{name: "minutes", fields: sheet.Fields{Action: "share", Object: "lead", Record: "1", User: "u", Access: "read", Duration: "90"},
			want: crm.Operation{Action: crm.Share, Object: "lead", Record: "1", User: "u", Access: crm.Read, Minutes: 90}},
		{name: "hours", fields: sheet.Fields{Action: "grant", Object: "lead", Record: "1", User: "u", Duration: "12h"},
			want: crm.Operation{Action: crm.Share, Object: "lead", Record: "1", User: "u", Minutes: 720}},
		{name: "days", fields: sheet.Fields{Action: "add", Object: "lead", Record: "1", User: "u", Duration: "30 D"},
			want: crm.Operation{Action: crm.Share, Object: "lead", Record: "1", User: "u", Minutes: 43200}},
		{name: "no time at all", fields: sheet.Fields{Action: "share", Object: "lead", Record: "1", User: "u", Duration: "0"}, wrong: "duration_minutes"},
		{name: "back in time", fields: sheet.Fields{Action: "share", Object: "lead", Record: "1", User: "u", Duration: "-5"}, wrong: "duration_minutes"},
		{name: "half an hour", fields: sheet.Fields{Action: "share", Object: "lead", Record: "1", User: "u", Duration: "0.5h"}, wrong: "duration_minutes"},
		{name: "for ever", fields: sheet.Fields{Action: "share", Object: "lead", Record: "1", User: "u", Duration: "99999999d"}, wrong: "duration_minutes"},
		{name: "an overflow", fields: sheet.Fields{Action: "share", Object: "lead", Record: "1", User: "u", Duration: "99999999999999999999"}, wrong: "duration_minutes"},
		{name: "related", fields: sheet.Fields{Action: "share", Object: "Quotes", Record: "1", User: "u", Related: "TRUE"},
			want: crm.Operation{Action: crm.Share, Object: "Quotes", Record: "1", User: "u", Related: crm.Yes}},
		{name: "permissions", fields: sheet.Fields{Action: "share", Object: "sales_group", Record: "g", User: "u", Permissions: "view all accounts of group; |AddUsersToGroup"},
			want: crm.Operation{Action: crm.Share, Object: "sales_group", Record: "g", User: "u", Permissions: all}},
		{name: "permission columns", fields: sheet.Fields{Action: "share", Object: "sales_group", Record: "g", User: "u", Permission: [6]string{"true", "false", "", "no", "yes", ""}},
			want: crm.Operation{Action: crm.Share, Object: "sales_group", Record: "g", User: "u", Permissions: all}},
		{name: "yes and no to a permission", fields: sheet.Fields{Action: "share", Object: "sales_group", Record: "g", User: "u", Permissions: "AddUsersToGroup", Permission: [6]string{"", "", "", "", "no", ""}}, wrong: "AddUsersToGroup: says no"},
		{name: "no such permission", fields: sheet.Fields{Action: "share", Object: "sales_group", Record: "g", User: "u", Permissions: "root"}, wrong: "ViewAllAccountsOfGroup"},
		{name: "address", fields: sheet.Fields{Action: "revoke", Object: "x", Record: "1", Email: "Bob@X.example"},
			want: crm.Operation{Action: crm.Revoke, Object: "x", Record: "1"}, email: "bob@x.example"},
		{name: "two columns, one address", fields: sheet.Fields{Action: "revoke", Object: "x", Record: "1", User: "BOB@x.example", Email: "bob@x.example"},
			want: crm.Operation{Action: crm.Revoke, Object: "x", Record: "1"}, email: "bob@x.example"},
		{name: "two addresses", fields: sheet.Fields{Action: "revoke", Object: "x", Record: "1", User: "eve@x.example", Email: "bob@x.example"}, wrong: "two addresses"},
		{name: "the columns the wrong way round", fields: sheet.Fields{Action: "revoke", Object: "x", Record: "1", User: "eve@x.example", Email: "0203f172-8642-11e7-9bed-069b743e848f"}, wrong: "the one for ids the address"},
		{name: "not an address", fields: sheet.Fields{Action: "revoke", Object: "x", Record: "1", Email: "bob @x"}, wrong: "not an e-mail address"},
		{name: "a line break in an address", fields: sheet.Fields{Action: "revoke", Object: "x", Record: "1", Email: "bob@x\r\nHost: y"}, wrong: "not an e-mail address"},
		{name: "nobody", fields: sheet.Fields{Action: "revoke", Object: "x", Record: "1"}, wrong: "user: is empty"},
		{name: "no action", fields: sheet.Fields{Object: "x", Record: "1", User: "u"}, wrong: "action: is empty"},
		{name: "unknown action", fields: sheet.Fields{Action: "delete", Object: "x", Record: "1", User: "u"}, wrong: `action: "delete"`},
		{name: "no object", fields: sheet.Fields{Action: "revoke", Record: "1", User: "u"}, wrong: "object: is empty"},
		{name: "unknown account", fields: sheet.Fields{Action: "revoke", Object: "x", Record: "1", User: "u", Account: "b"}, wrong: `account: no account is called "b"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, err := b.row(sheet.Record{Line: 7, Fields: tc.fields})
			if err != nil {
				t.Fatal(err)
			}
			if tc.wrong != "" {
				if r.Code == "" || !strings.Contains(r.Problem, tc.wrong) {
					t.Errorf("row %+v, want it invalid for %q", r, tc.wrong)
				}
				return
			}
			if diff := cmp.Diff(Row{Line: 7, Account: "a", Op: tc.want, Email: tc.email}, r, cmp.AllowUnexported(Row{})); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRowOfASheetThatLostDigits(t *testing.T) {
	t.Parallel()
	b := &Batch{accounts: map[string]*account{"a": {Account: Account{Name: "a", Rules: echo{}}}}}
	b.opts.Default = "a"
	r, err := b.row(sheet.Record{Line: 2, Problem: &sheet.Problem{Column: "record_id", Reason: "is a number"}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != crm.CodeInvalid || r.Problem != "record_id: is a number" {
		t.Errorf("row %+v, want the sheet's problem", r)
	}
}

func TestAccountOfARow(t *testing.T) {
	t.Parallel()
	b := &Batch{accounts: map[string]*account{"a": {Account: Account{Name: "a"}}, "b": {Account: Account{Name: "b"}}}}
	if _, err := b.accountOf(sheet.Fields{}); err == nil {
		t.Error("a row without account finds one where there is no default")
	}
	b.opts.Words.Route = func(object string) string { return map[string]string{"lead": "a"}[object] }
	for object, want := range map[string]string{"lead": "a", "Quotes": ""} {
		acc, err := b.accountOf(sheet.Fields{Object: object})
		if got := accountName(acc); got != want || (err != nil) != (want == "") {
			t.Errorf("object %s goes to %q (%v), want %q", object, got, err, want)
		}
	}
	b.opts.Default = "b"
	if acc, _ := b.accountOf(sheet.Fields{Object: "lead"}); accountName(acc) != "b" {
		t.Errorf("the default counts before the route: got %q", accountName(acc))
	}
	if acc, _ := b.accountOf(sheet.Fields{Account: "a"}); accountName(acc) != "a" {
		t.Errorf("the row's own account counts first: got %q", accountName(acc))
	}
}

func accountName(a *account) string {
	if a == nil {
		return ""
	}
	return a.Name
}
