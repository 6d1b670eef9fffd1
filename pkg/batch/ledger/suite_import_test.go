package ledger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func testImportKeepsRows(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	rows := []ledger.ImportRow{
		{Line: 2, Cells: []string{"revoke", "", "ü\x00\t=1+1"}, Account: "main", Op: crm.Operation{
			Action: crm.Revoke, Object: crm.Opportunity, Record: "R", Context: "C", User: "U", Access: crm.Write,
		}},
		{Line: 4, Cells: nil, Account: "eu", Op: crm.Operation{
			Action: crm.Share, Object: "Leads", Record: "123456789012345678901", User: "7", Access: crm.Full, Minutes: 1 << 40,
			Related: crm.Yes, Permissions: 63,
		}},
		{Line: 5, Cells: []string{strings.Repeat("x", 70_000)}, Account: "main", Code: "action", Problem: "unknown action"},
		{Line: 6, Cells: []string{"a"}, Account: "main", Op: crm.Operation{Action: crm.Share, Object: crm.Lead, Record: "1"}, Email: "a@x.de"},
		{Line: 7, Cells: []string{"b"}, Account: "main", Op: crm.Operation{Action: crm.RevokeAll, Object: "Leads", Record: "1"}},
	}
	s := Import(t, l, rows)
	if s.Len() != len(rows) {
		t.Errorf("got %d rows, want %d", s.Len(), len(rows))
	}
	var want []ledger.ImportRow
	for i, r := range rows {
		r.Ord, r.Cells = int64(i+1), nil // the cells are not handed out
		want = append(want, r)
	}
	for range 2 { // the stream can be read again
		seq := s.Rows(t.Context())
		if diff := cmp.Diff(want, Collect(t, seq)); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, Collect(t, seq)); diff != "" {
			t.Errorf("rows, read again (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(want[2:3], Collect(t, s.Invalid(t.Context(), 0))); diff != "" {
		t.Errorf("invalid rows (-want +got):\n%s", diff)
	}
	Match(t, s)
	Must(t, s.Commit(t.Context(), ledger.Source{}))
	for i, got := range Collect(t, l.Results(t.Context())) {
		want := ledger.Result{Ord: int64(i + 1), Line: rows[i].Line, Cells: append([]string{}, rows[i].Cells...), Account: rows[i].Account, Op: rows[i].Op, Email: rows[i].Email, Status: crm.Pending}
		if rows[i].Code != "" {
			want.Invalid, want.Code, want.Message = true, rows[i].Code, rows[i].Problem
		} else {
			want.ID, want.Turn, want.Open = int64(i+1), ledger.TurnNormal, true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("row %d as committed (-want +got):\n%s", i+1, diff)
		}
	}
}

func testImportPages(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	s, err := l.Import(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 2*pageRows + 17
	for i := range n {
		r := ledger.ImportRow{Line: i + 2, Account: "main", Cells: []string{"c"}, Email: fmt.Sprintf("U%05d@x", i), Op: Lead("r1")}
		if i%2 == 1 {
			r.Code, r.Problem = "user", "odd"
		}
		if err := s.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range Collect(t, s.Rows(t.Context())) {
		if r.Ord != int64(i+1) || r.Line != i+2 {
			t.Fatalf("row %d came as ordinal %d, line %d", i+1, r.Ord, r.Line)
		}
	}
	for _, tt := range []struct{ limit, want int }{{0, n / 2}, {1, 1}, {pageRows, pageRows}, {pageRows + 3, pageRows + 3}, {n, n / 2}} {
		if got := len(Collect(t, s.Invalid(t.Context(), tt.limit))); got != tt.want {
			t.Errorf("Invalid(%d): got %d rows, want %d", tt.limit, got, tt.want)
		}
	}
	emails := Collect(t, s.Addresses(t.Context(), false))
	if len(emails) != n-n/2 || emails[1].Email != "u00002@x" || !emails[1].Need {
		t.Errorf("got %d addresses, the second %+v", len(emails), emails[1])
	}
}

func testResolveAndReject(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	row := func(account, email, user string) ledger.ImportRow {
		return ledger.ImportRow{Account: account, Email: email, Cells: []string{}, Op: crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "1", User: user}}
	}
	rows := []ledger.ImportRow{
		row("main", "A@x", ""), row("main", "a@X", ""), row("main", "a@x", "7"), row("main", "a@x", "8"), row("eu", "a@x", ""),
		row("main", "b@x", "9"), row("main", "", "7"), row("main", "c@x", ""), row("main", "d@x", ""), row("main", "", "10"),
	}
	for i := range rows {
		rows[i].Line = i + 2
	}
	rows[8].Code, rows[8].Problem = "object", "unknown object"
	s := Import(t, l, rows)
	want := []ledger.Address{
		{Account: "eu", Email: "a@x", Line: 6, Need: true}, {Account: "main", Email: "a@x", Line: 2, Need: true}, {Account: "main", Email: "b@x", Line: 7, Need: false}, {Account: "main", Email: "c@x", Line: 9, Need: true},
	}
	if diff := cmp.Diff(want, Collect(t, s.Addresses(t.Context(), false))); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if err := s.Resolve(t.Context(), "main", "a@X", "7"); err != nil {
		t.Fatal(err)
	}
	for _, sp := range []struct {
		where ledger.Where
		code  string
	}{
		{ledger.Where{Account: "main", Email: "A@x", User: "7", Other: true}, "other"},
		{ledger.Where{Account: "main", Email: "c@x"}, "unknown"},
		{ledger.Where{Account: "main", Email: "c@x"}, "again"},
		{ledger.Where{Account: "main", User: "9"}, "protected"},
		{ledger.Where{Ord: 10}, "row"},
		{ledger.Where{Ord: 9}, "row"},
		{ledger.Where{Ord: 8}, "row"},
	} {
		if _, err := s.Reject(t.Context(), sp.where, ledger.Rejection{Code: sp.code, Problem: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range Collect(t, s.Rows(t.Context())) {
		got = append(got, fmt.Sprintf("%d %s %s", r.Ord, r.Op.User, r.Code))
	}
	wantRows := []string{
		"1 7 ", "2 7 ", "3 7 ", "4 8 other", "5  ", "6 9 protected", "7 7 ", "8  unknown", "9  object", "10 10 row",
	}
	if diff := cmp.Diff(wantRows, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	all := []ledger.AccountUser{{"main", "8"}, {"main", "9"}, {"main", "10"}, {"eu", "7"}, {"main", ""}}
	many := make([]ledger.AccountUser, 200)
	for i := range many {
		many[i] = ledger.AccountUser{Account: "main", User: fmt.Sprint("none", i)}
	}
	seven := ledger.AccountUser{Account: "main", User: "7"}
	for _, tt := range []struct {
		users []ledger.AccountUser
		line  int
	}{{nil, 0}, {all, 0}, {many, 0}, {[]ledger.AccountUser{seven}, 2}, {append(slices.Clone(all), seven), 2}, {append(slices.Clone(many), seven, all[0]), 2}} {
		touched, line, ok, err := s.Touching(t.Context(), tt.users)
		if err != nil || line != tt.line || ok != (tt.line > 0) || ok && touched != seven {
			t.Errorf("Touching(%d users): got %v, line %d, %v, %v; want line %d of %v", len(tt.users), touched, line, ok, err, tt.line, seven)
		}
	}

	Match(t, s)
	if err := s.Commit(t.Context(), ledger.Source{}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ account, email, user string }{
		{"main", "a@x", "7"}, {"main", "A@X", "7"}, {"main", "b@x", ""}, {"main", "c@x", ""}, {"main", "d@x", ""}, {"eu", "a@x", ""},
	} {
		user, ok, err := l.EmailBinding(t.Context(), tt.account, tt.email)
		if err != nil || user != tt.user || ok != (tt.user != "") {
			t.Errorf("EmailBinding(%s, %s): got %q, %v, %v; want %q", tt.account, tt.email, user, ok, err, tt.user)
		}
	}
	invalid := Collect(t, l.Results(t.Context()))[7]
	if !invalid.Invalid || invalid.Code != "unknown" || invalid.Message != "p" || invalid.Account != "main" || invalid.Line != 9 || invalid.ID != 0 {
		t.Errorf("got the invalid row as %+v", invalid)
	}
}

func testRejectTakesTheRowsOfAMark(t *testing.T, newStore NewStore) {
	s := Import(t, Open(t, newStore(t)), []ledger.ImportRow{
		{Line: 2, Account: "a", Op: Lead("r1"), Marks: []ledger.Mark{{Name: "odd", Column: "record_id", Value: "1"}, {Name: "odd", Column: "user", Value: "2"}, {Name: "other", Column: "user", Value: "2"}}},
		{Line: 3, Account: "a", Op: Lead("r1"), Marks: []ledger.Mark{{Name: "other", Column: "user", Value: "3"}}},
		{Line: 4, Account: "b", Op: Lead("r1"), Marks: []ledger.Mark{{Name: "odd", Column: "record_id", Value: "4"}}},
		{Line: 5, Account: "b", Op: crm.Operation{}, Code: "invalid", Problem: "user: is empty", Column: "user", Marks: []ledger.Mark{{Name: "odd", Column: "record_id", Value: "5"}}},
		{Line: 6, Account: "b", Op: Lead("r1")},
	})
	if diff := cmp.Diff([]string{"odd", "other"}, Collect(t, s.Marks(t.Context()))); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	if rows := Collect(t, s.Invalid(t.Context(), 0)); len(rows) != 1 {
		t.Fatalf("marks alone make rows invalid: %+v", rows)
	}
	for _, want := range []map[string]int64{{"a": 1, "b": 1}, {}} { // rejecting again changes nothing
		got, err := s.Reject(t.Context(), ledger.Where{Mark: "odd"}, ledger.Rejection{Code: "odd_id", Problem: "is odd"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rejected (-want +got):\n%s", diff)
		}
	}
	if got, err := s.Reject(t.Context(), ledger.Where{Mark: "of nothing"}, ledger.Rejection{Code: "x", Problem: "y"}); err != nil || len(got) > 0 {
		t.Errorf("a mark that no row has: %v, %v", got, err)
	}
	var told []string
	for _, r := range Collect(t, s.Invalid(t.Context(), 0)) {
		told = append(told, fmt.Sprintf("%d %s %s %s=%s", r.Line, r.Code, r.Problem, r.Column, r.Value))
	}
	want := []string{
		`2 odd_id record_id: "1" is odd record_id=1`, `4 odd_id record_id: "4" is odd record_id=4`, `5 invalid user: is empty user=`,
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("invalid (-want +got):\n%s", diff)
	}
}

func testMarksArePaged(t *testing.T, newStore NewStore) {
	var rows []ledger.ImportRow
	for i := range 2*pageRows + 3 {
		rows = append(rows, ledger.ImportRow{Line: i + 2, Account: "a", Op: Lead("r1"), Marks: []ledger.Mark{{Name: fmt.Sprintf("m%05d", i/2)}}})
	}
	s := Import(t, Open(t, newStore(t)), rows)
	if got, want := len(Collect(t, s.Marks(t.Context()))), pageRows+2; got != want {
		t.Errorf("%d marks, want %d", got, want)
	}
}

func testImportOrder(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	old := Import(t, l, Rows("r1a"))
	s := Matched(t, l, Rows("r1a"))
	if err := old.Resolve(t.Context(), "main", "a@x", "a"); err == nil {
		t.Error("an older import still takes rows")
	}
	if err := old.Close(); err != nil {
		t.Errorf("close an older import: %v", err)
	}
	if s.Add(ledger.ImportRow{}) == nil || s.Resolve(t.Context(), "", "a", "b") == nil {
		t.Error("a matched import still takes rows or users")
	}
	if err := s.Commit(t.Context(), ledger.Source{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), ledger.Source{}); err == nil {
		t.Error("a sheet was committed twice")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	for _, err := range s.Rows(t.Context()) {
		if err == nil {
			t.Error("a dropped import still has rows")
		}
	}
}

// testRecheck makes rows invalid after Match, as is done when an address has come
// to belong to somebody else: what was done before stays.
func testRecheck(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	row := func(record, email string) ledger.ImportRow {
		op := Lead("r1")
		op.Record = record
		return ledger.ImportRow{Line: 2, Cells: []string{record}, Account: "main", Op: op, Email: email}
	}
	imported := func(rows ...ledger.ImportRow) *ledger.Import {
		s := Import(t, l, rows)
		for _, email := range []string{"a@x", "b@x"} {
			if err := s.Resolve(t.Context(), "main", email, email[:1]); err != nil {
				t.Fatal(err)
			}
		}
		Match(t, s)
		return s
	}
	if err := imported(row("1", "a@x"), row("2", "b@x"), row("3", "a@x")).Commit(t.Context(), ledger.Source{}); err != nil {
		t.Fatal(err)
	}
	Begin(t, l)
	ops := Next(t, l)
	Finish(t, l, ops[0], crm.Done)
	Finish(t, l, ops[1], crm.Done)

	s := imported(row("1", "A@x"), row("2", "b@x"), row("3", "a@x"), row("4", "a@x"))
	want := []ledger.Address{{Account: "main", Email: "a@x", Line: 2, Need: true}}
	if diff := cmp.Diff(want, Collect(t, s.Addresses(t.Context(), true))); diff != "" {
		t.Errorf("addresses of rows to send (-want +got):\n%s", diff)
	}
	if _, err := s.Reject(t.Context(), ledger.Where{Account: "main", Email: "A@X", Unsent: true}, ledger.Rejection{Code: "user", Problem: "somebody else"}); err != nil {
		t.Fatal(err)
	}
	Match(t, s)
	if got := Collect(t, s.Addresses(t.Context(), true)); len(got) != 0 {
		t.Errorf("still to be sent: %+v", got)
	}
	if err := s.Commit(t.Context(), ledger.Source{}); err != nil {
		t.Fatal(err)
	}
	if got, want := States(t, l), "1:done 2:done 3:invalid 4:invalid"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// testReachAndShared counts people and records of valid rows, and the records that
// several rows are to be sent about.
func testReachAndShared(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	rows := Rows("r1a s1b r1b r2a r2b r3a *4 s4a s4b r5c r6d")
	rows[9].Code, rows[9].Problem = "invalid", "odd"
	rows[10].Account = "eu"
	s := Import(t, l, rows)
	people, records, err := s.Reach(t.Context())
	if people != 3 || records != 5 || err != nil {
		t.Errorf("got %d people on %d records, %v, want 3 on 5", people, records, err)
	}
	Match(t, s)
	shared := func(s *ledger.Import, want []ledger.Shared) {
		t.Helper()
		got, err := s.Shared(t.Context())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	one := func(action crm.Action, ops, targets int64) ledger.Shared {
		return ledger.Shared{Account: "main", Op: crm.Operation{Action: action, Object: crm.Lead}, Ops: ops, Targets: targets, Records: 1}
	}
	shared(s, []ledger.Shared{one(crm.Revoke, 2, 2), one(crm.Revoke, 3, 2), one(crm.RevokeAll, 3, 1)})
	Must(t, s.Commit(t.Context(), ledger.Source{}))
	Begin(t, l)
	Finish(t, l, Next(t, l)[0], crm.Done)
	shared(Matched(t, l, rows), []ledger.Shared{one(crm.Revoke, 2, 1), one(crm.Revoke, 2, 2), one(crm.RevokeAll, 3, 1)})
}
