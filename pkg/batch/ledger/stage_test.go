package ledger

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestStageKeepsRows(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	rows := []Staged{
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
	s := stageOf(t, l, rows)
	if s.Len() != len(rows) {
		t.Errorf("got %d rows, want %d", s.Len(), len(rows))
	}
	var want []StagedRow
	for i, r := range rows {
		if r.Cells == nil {
			r.Cells = []string{}
		}
		want = append(want, StagedRow{Ord: int64(i + 1), Staged: r})
	}
	for range 2 { // the stream can be read again
		seq := s.Rows(t.Context())
		if diff := cmp.Diff(want, collect(t, seq)); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, collect(t, seq)); diff != "" {
			t.Errorf("rows, read again (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(want[2:3], collect(t, s.Invalid(t.Context(), 0))); diff != "" {
		t.Errorf("invalid rows (-want +got):\n%s", diff)
	}
}

func TestStagePages(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	s, err := l.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 2*pageRows + 17
	for i := range n {
		r := Staged{Line: i + 2, Account: "main", Cells: []string{"c"}, Email: fmt.Sprintf("U%05d@x", i), Op: lead("r1")}
		if i%2 == 1 {
			r.Code, r.Problem = "user", "odd"
		}
		if err := s.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range collect(t, s.Rows(t.Context())) {
		if r.Ord != int64(i+1) || r.Line != i+2 {
			t.Fatalf("row %d came as ordinal %d, line %d", i+1, r.Ord, r.Line)
		}
	}
	for _, tt := range []struct{ limit, want int }{{0, n / 2}, {1, 1}, {pageRows, pageRows}, {pageRows + 3, pageRows + 3}, {n, n / 2}} {
		if got := len(collect(t, s.Invalid(t.Context(), tt.limit))); got != tt.want {
			t.Errorf("Invalid(%d): got %d rows, want %d", tt.limit, got, tt.want)
		}
	}
	emails := collect(t, s.Emails(t.Context()))
	if len(emails) != n-n/2 || emails[1].Email != "u00002@x" || !emails[1].Need {
		t.Errorf("got %d addresses, the second %+v", len(emails), emails[1])
	}
}

func TestResolveAndSpoil(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	row := func(account, email, user string) Staged {
		return Staged{Account: account, Email: email, Cells: []string{}, Op: crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "1", User: user}}
	}
	rows := []Staged{
		row("main", "A@x", ""), row("main", "a@X", ""), row("main", "a@x", "7"), row("main", "a@x", "8"), row("eu", "a@x", ""),
		row("main", "b@x", "9"), row("main", "", "7"), row("main", "c@x", ""), row("main", "d@x", ""), row("main", "", "10"),
	}
	for i := range rows {
		rows[i].Line = i + 2
	}
	rows[8].Code, rows[8].Problem = "object", "unknown object"
	s := stageOf(t, l, rows)
	want := []StagedEmail{
		{"eu", "a@x", 6, true}, {"main", "a@x", 2, true}, {"main", "b@x", 7, false}, {"main", "c@x", 9, true},
	}
	if diff := cmp.Diff(want, collect(t, s.Emails(t.Context()))); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if err := s.Resolve(t.Context(), "main", "a@X", "7"); err != nil {
		t.Fatal(err)
	}
	for _, sp := range []struct {
		where Where
		code  string
	}{
		{Where{Account: "main", Email: "A@x", User: "7", Other: true}, "other"},
		{Where{Account: "main", Email: "c@x"}, "unknown"},
		{Where{Account: "main", Email: "c@x"}, "again"},
		{Where{Account: "main", User: "9"}, "protected"},
		{Where{Ord: 10}, "row"},
		{Where{Ord: 9}, "row"},
		{Where{Ord: 8}, "row"},
	} {
		if err := s.Spoil(t.Context(), sp.where, sp.code, "p"); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range collect(t, s.Rows(t.Context())) {
		got = append(got, fmt.Sprintf("%d %s %s", r.Ord, r.Op.User, r.Code))
	}
	wantRows := []string{
		"1 7 ", "2 7 ", "3 7 ", "4 8 other", "5  ", "6 9 protected", "7 7 ", "8  unknown", "9  object", "10 10 row",
	}
	if diff := cmp.Diff(wantRows, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		account, user string
		line          int
	}{{"main", "7", 2}, {"main", "8", 0}, {"main", "9", 0}, {"main", "10", 0}, {"eu", "7", 0}, {"main", "", 0}} {
		line, ok, err := s.Touching(t.Context(), tt.account, tt.user)
		if err != nil || line*int(bit(ok)) != tt.line {
			t.Errorf("Touching(%s, %s): got line %d, %v, %v; want %d", tt.account, tt.user, line, ok, err, tt.line)
		}
	}

	if err := s.Index(t.Context(), recordKey, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Match(t.Context(), overlap); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(t.Context(), Source{}); err != nil {
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
	invalid := collect(t, l.Results(t.Context()))[7]
	if !invalid.Invalid || invalid.Code != "unknown" || invalid.Message != "p" || invalid.Account != "main" || invalid.Line != 9 || invalid.ID != 0 {
		t.Errorf("got the invalid row as %+v", invalid)
	}
}

func TestStageOrder(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	old := stageOf(t, l, stagedRows("r1a"))
	s := matched(t, l, stagedRows("r1a"))
	if err := old.Flush(); err == nil {
		t.Error("an older stage still takes rows")
	}
	if err := old.Close(); err != nil {
		t.Errorf("close an older stage: %v", err)
	}
	if s.Add(Staged{}) == nil || s.Index(t.Context(), recordKey, nil) == nil || s.Resolve(t.Context(), "", "a", "b") == nil {
		t.Error("a matched stage still takes rows, keys or users")
	}
	if err := s.Adopt(t.Context(), Source{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(t.Context(), Source{}); err == nil {
		t.Error("a stage was adopted twice")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	for _, err := range s.Rows(t.Context()) {
		if err == nil {
			t.Error("a dropped stage still has rows")
		}
	}
}

// TestRecheck makes rows invalid after Match, as is done when an address has come
// to belong to somebody else: what was done before stays.
func TestRecheck(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	row := func(record, email string) Staged {
		op := lead("r1")
		op.Record = record
		return Staged{Line: 2, Cells: []string{record}, Account: "main", Op: op, Email: email}
	}
	stage := func(rows ...Staged) *Stage {
		s := stageOf(t, l, rows)
		for _, email := range []string{"a@x", "b@x"} {
			if err := s.Resolve(t.Context(), "main", email, email[:1]); err != nil {
				t.Fatal(err)
			}
		}
		match(t, s)
		return s
	}
	if err := stage(row("1", "a@x"), row("2", "b@x"), row("3", "a@x")).Adopt(t.Context(), Source{}); err != nil {
		t.Fatal(err)
	}
	begun(t, l)
	ops := todo(t, l)
	finish(t, l, ops[0], Done)
	finish(t, l, ops[1], Done)

	s := stage(row("1", "A@x"), row("2", "b@x"), row("3", "a@x"), row("4", "a@x"))
	want := []StagedEmail{{"main", "a@x", 2, true}}
	if diff := cmp.Diff(want, collect(t, s.EmailsToSend(t.Context()))); diff != "" {
		t.Errorf("addresses of rows to send (-want +got):\n%s", diff)
	}
	if err := s.SpoilUnsent(t.Context(), "main", "A@X", "user", "somebody else"); err != nil {
		t.Fatal(err)
	}
	if err := s.Rewind(t.Context()); err != nil {
		t.Fatal(err)
	}
	match(t, s)
	if got := collect(t, s.EmailsToSend(t.Context())); len(got) != 0 {
		t.Errorf("still to be sent: %+v", got)
	}
	if err := s.Adopt(t.Context(), Source{}); err != nil {
		t.Fatal(err)
	}
	if got, want := states(t, l), "1:done 2:done 3:invalid 4:invalid"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPackDamaged(t *testing.T) {
	t.Parallel()
	cells := packCells([]string{"a", "", strings.Repeat("b", 300)})
	op := packOp(lead("r1a"))
	for n := range cells {
		_, err := unpackCells(cells[:n])
		wantIs(t, err, ErrDamaged)
	}
	for n := range op {
		_, err := unpackOp(op[:n], "")
		wantIs(t, err, ErrDamaged)
	}
	_, err := unpackCells(append(cells, 0))
	wantIs(t, err, ErrDamaged)
	_, err = unpackCells([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	wantIs(t, err, ErrDamaged)
}

// TestHashes pins the hashes: they are in every ledger on disk.
func TestHashes(t *testing.T) {
	t.Parallel()
	if hashParts("a", "bc") == hashParts("ab", "c") || hashParts("") == hashParts() {
		t.Error("the hash does not tell where a part ends")
	}
	if got, want := hashParts("target", "main", "lead"), int64(1850481938222610423); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	if hasher(hashParts).bundle("main", "") != 0 || hasher(hashParts).bundle("main", "x") == 0 {
		t.Error("no bundle must be 0, and only that")
	}
}
