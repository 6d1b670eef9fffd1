package crm

import (
	"errors"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]Action{
		"revoke": Revoke, "Remove": Revoke, "un-share": Revoke, "share": Share, "GRANT": Share, " add ": Share,
		"revoke_all": RevokeAll, "Revoke All": RevokeAll, "delete": 0, "": 0,
	} {
		if got, ok := ParseAction(word); got != want || ok != (want != 0) {
			t.Errorf("action %q is %v, %v; want %v", word, got, ok, want)
		}
	}
	for word, want := range map[string]Access{
		"": AccessUnset, "read": Read, "1": Read, "read_only": Read, "Read-Only": Read, "write": Write, "2": Write, "read_write": Write,
		"full": Full, "full access": Full,
	} {
		if got, ok := ParseAccess(word); got != want || !ok {
			t.Errorf("access %q is %v, %v; want %v", word, got, ok, want)
		}
	}
	for _, word := range []string{"3", "admin", "readwriter"} {
		if got, ok := ParseAccess(word); ok {
			t.Errorf("access %q is taken for %v", word, got)
		}
	}
	for word, want := range map[string]Choice{"": Unsaid, "TRUE": Yes, "1": Yes, "yes": Yes, "False": No, "0": No, "n": No} {
		if got, ok := ParseChoice(word); got != want || !ok {
			t.Errorf("choice %q is %v, %v; want %v", word, got, ok, want)
		}
	}
	if _, ok := ParseChoice("maybe"); ok {
		t.Error("maybe is taken for a choice")
	}
}

func TestPermissionsReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	all := Permissions(0)
	for i, name := range PermissionNames() {
		p, ok := ParsePermission(name)
		if !ok || p != 1<<i || p.String() != name {
			t.Errorf("permission %s is %v (%v), written %q", name, p, ok, p.String())
		}
		all |= p
	}
	if want := "ViewAllAccountsOfGroup;ModifyAllAccountsOfGroup;ViewAllLeadsOfGroup;ModifyAllLeadsOfGroup;AddUsersToGroup;CreateGroupAutomation"; all.String() != want {
		t.Errorf("all permissions are written %q", all)
	}
	if _, ok := ParsePermission("root"); ok {
		t.Error("root is taken for a permission")
	}
}

func TestZeroValuesPromiseNothing(t *testing.T) {
	t.Parallel()
	if (Outcome{}).Status != Uncertain {
		t.Error("an outcome that nobody filled in is more than unknown")
	}
	if a := (Operation{}).Action; a == Revoke || a == Share || a == RevokeAll {
		t.Errorf("an operation that nobody filled in is a %v", a)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	op := Operation{Action: Revoke, Object: Lead, Record: "1", Context: "c", User: "u", Access: Read}
	other := op
	other.Action, other.Access = Share, Write
	if op.Target() != other.Target() || op == other {
		t.Error("a revoke and a share of one user on one record are not two operations on one target")
	}
	if whole := op.Target().Whole(); whole != (Target{Object: Lead, Record: "1"}) {
		t.Errorf("the record as a whole is %v", whole)
	}
}

func TestAccountErrorWraps(t *testing.T) {
	t.Parallel()
	cause := errors.New("no route")
	var err error = &AccountError{Code: EndUnreachable, Err: cause}
	if !errors.Is(err, cause) || err.Error() != "unreachable: no route" {
		t.Errorf("%v does not tell its cause", err)
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	for _, tc := range [][3]string{
		{"", "", ""}, {"a", "", "a"}, {"A CRM's sentence.", "", "A CRM's sentence."}, {"", "b", "b"}, {"a", "b", "a; b"},
		{"Request processed successfully.", "sent again after a lost answer", "Request processed successfully; sent again after a lost answer"},
	} {
		if got := Join(tc[0], tc[1]); got != tc[2] {
			t.Errorf("Join(%q, %q) is %q, want %q", tc[0], tc[1], got, tc[2])
		}
	}
}
